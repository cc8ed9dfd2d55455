package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"vipd/internal/health"
)

// patience is how many connect_timeouts an answer may take altogether.
//
// keepalived: each piece of an answer may take a connect_timeout, and a server that sends a byte at a time holds its check
// for ever.
const patience = 4

// converse connects and lets talk use the connection, which is closed at the end of ctx or of the patience. If another process
// is to talk, the connection is handed over to it.
func converse(all context.Context, c health.Checker, talk func(conn net.Conn, timeout time.Duration) health.Result) health.Result {
	conn, res := connect(all, c)
	if conn == nil {
		return res
	}
	if e := errandOf(all); e != nil {
		defer conn.Close()
		return e.run(all, c, conn)
	}
	timeout := patienceOf(c)
	defer farewell(conn, c)
	ctx, cancel := context.WithTimeout(all, patience*timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	res = talk(watch(all, conn), timeout)
	switch {
	case res.OK || ctx.Err() == nil:
	case ended(all):
		res = health.Result{Inconclusive: true, Why: "cancelled"}
	default:
		res.Why, res.Timeout = "the answer took longer than "+(patience*timeout).String(), true
	}
	return res
}

// unread is a failure of reading or writing in a few words.
func unread(err error, timeout time.Duration) health.Result {
	var network net.Error
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return health.Result{Why: "the connection was closed"}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return health.Result{Why: "no answer within " + timeout.String(), Timeout: true}
	case errors.Is(err, net.ErrClosed):
		return health.Result{Why: "the connection was closed"}
	}
	return health.Result{Why: reason(err)}
}

// said adds keepalived's words to a result.
func said(r health.Result, words string) health.Result {
	r.Said = words
	return r
}
