// Package probe makes the health checks: the part that touches the network. Run makes one check and tells what it
// found; a Runner makes many at a time and hands over their results. What a result means, when to check and how often
// is decided in internal/health.
//
// There is one file for each kind of checker. Every check is bounded in time by its connect_timeout and ends at once
// when its context does; a failure always comes with a reason in words that a person can act on.
//
// The daemon calls it: health.Probe effects go to Runner.Start, results come back to health.Pools.Observe.
package probe

import (
	"context"
	"fmt"
	"time"

	"vipd/internal/health"
)

// kinds has the checkers that can be run. A new one is a row here and a file.
var kinds = map[health.Kind]func(context.Context, health.Checker) health.Result{
	health.TCPCheck:  tcp,
	health.HTTPGet:   web,
	health.SSLGet:    web,
	health.SMTPCheck: smtp,
	health.DNSCheck:  dns,
	health.UDPCheck:  udp,
	health.PingCheck: ping,
	health.FileCheck: file,

	health.RedisCheck:      redis,
	health.MemcachedCheck:  memcached,
	health.MySQLCheck:      mysql,
	health.PostgreSQLCheck: postgres,
	health.FTPCheck:        ftp,
	health.GRPCCheck:       grpc,
	health.AgentCheck:      agent,
}

// Run makes one check and waits for its end. It never fails otherwise than in the result: where the check could not be
// made at all, or ctx ended first, the result is inconclusive.
func Run(ctx context.Context, c health.Checker) health.Result {
	return run(ctx, c, nil)
}

func run(ctx context.Context, c health.Checker, ready Commands) health.Result {
	check, ok := kinds[c.Kind]
	if c.Kind == health.MiscCheck {
		check, ok = func(ctx context.Context, c health.Checker) health.Result { return misc(ctx, c, ready) }, true
	}
	if !ok {
		return health.Result{Inconclusive: true, Why: fmt.Sprintf("%s is not supported", c.Kind)}
	}
	start := time.Now()
	res := check(ctx, c)
	res.Took = time.Since(start)
	return res
}
