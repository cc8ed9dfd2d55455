package conf

import (
	"net/netip"
	"time"

	"vipd/internal/health"
	"vipd/internal/lb"
)

// checker is a TCP_CHECK while it is read. Other checkers are recognised, but nothing is kept of them.
type checker struct {
	health.Checker
	timing
	place
	ip    netip.Addr
	port  uint16
	bind  netip.Addr
	bport uint16
	alpha *bool
}

func beginCheck(l *loader, s *stmt) {
	l.ck = &checker{timing: noTiming(), place: place{s.file, s.words[0]}}
	l.ck.Kind = health.TCPCheck
}

func endCheck(l *loader) {
	l.rs.checkers = append(l.rs.checkers, l.ck)
	l.ck = nil
}

// otherCheck says that a checker is not performed.
func otherCheck(l *loader, s *stmt) {
	d := l.warn(s.words[0], "check-not-performed", s.text(0)+" is not performed by this version: the real server counts as up unless a TCP_CHECK fails")
	d.Hint = "add a TCP_CHECK beside it"
}

// retryByOldName takes nb_get_retry in TCP_CHECK, where keepalived has no such keyword.
// keepalived: "Unknown keyword 'nb_get_retry'", and retry stays 1. Here the evident meaning counts.
func retryByOldName(l *loader, s *stmt) {
	d := l.notice(s.words[0], "nb-get-retry", "nb_get_retry counts as retry in TCP_CHECK")
	d.Hint = "keepalived ignores it here and retries once; write retry"
	setCheckRetry(l, s)
}

var setCheckRetry = number(0, 1<<32-1, "Invalid retry connection value '{value}'", func(l *loader, v int64) { l.ck.retry = v })

func setCheckAddr(what string, put func(c *checker, a netip.Addr)) setter {
	return func(l *loader, s *stmt) {
		a, ok := address(s.text(1))
		if !ok {
			l.badValue(s, 1, "", "Invalid "+what+" address {value} - ignoring").Expected = "an address"
			return
		}
		put(l.ck, a)
	}
}

// defaults are keepalived's for TCP_CHECK. The warm-up is the interval unless set.
var defaults = timing{retry: 1, delayBeforeRetry: time.Second, warmup: -1, connect: 5 * time.Second, interval: time.Minute}

// settle resolves what the checker takes from its real server, its service and keepalived's defaults. to is the real
// server as the file has it, before a port that does not fit was reset.
func (c *checker) settle(v *service, r *realServer, to netip.AddrPort) health.Checker {
	t := c.timing.or(r.timing).or(v.timing).or(defaults)
	out := c.Checker
	out.Retry, out.DelayBeforeRetry, out.Warmup = int(t.retry), t.delayBeforeRetry, t.warmup
	out.ConnectTimeout, out.DelayLoop = t.connect, t.interval
	if t.warmup < 0 {
		out.Warmup = t.interval
	}
	if c.ip.IsValid() {
		to = netip.AddrPortFrom(c.ip, to.Port())
	}
	if c.port != 0 {
		to = netip.AddrPortFrom(to.Addr(), c.port)
	}
	out.Target = to
	if c.bind.IsValid() || c.bport != 0 {
		out.Bind = netip.AddrPortFrom(c.bindAddr(to), c.bport)
	}
	out.Alpha = first(v.Alpha, r.alpha, c.alpha)
	return out
}

// bindAddr is the address to bind to; with a port alone, the unspecified one of the target's family.
func (c *checker) bindAddr(to netip.AddrPort) netip.Addr {
	switch {
	case c.bind.IsValid():
		return c.bind
	case to.Addr().Is6():
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// first gives the most particular setting there is.
func first(base bool, more ...*bool) bool {
	for _, m := range more {
		if m != nil {
			base = *m
		}
	}
	return base
}

// endpointOf names a real server as keepalived does.
func (v *service) endpointOf(r *realServer) string { return lb.EndpointName(v.Protocol, r.Addr) }
