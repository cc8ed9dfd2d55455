package conf

import (
	"math"
	"math/bits"
	"net/netip"
	"strings"
	"time"

	"vipd/internal/lb"
)

// timing are the settings that go from a virtual_server to its real servers to their checkers. Negative: not set.
type timing struct {
	retry, rise, jitter                         int64
	delayBeforeRetry, warmup, connect, interval time.Duration
}

func noTiming() timing { return timing{-1, -1, -1, -1, -1, -1, -1} }

// or fills what is not set from o.
func (t timing) or(o timing) timing {
	if t.retry < 0 {
		t.retry = o.retry
	}
	if t.rise < 0 {
		t.rise = o.rise
	}
	if t.jitter < 0 {
		t.jitter = o.jitter
	}
	for _, p := range [...]struct {
		of *time.Duration
		to time.Duration
	}{{&t.delayBeforeRetry, o.delayBeforeRetry}, {&t.warmup, o.warmup}, {&t.connect, o.connect}, {&t.interval, o.interval}} {
		if *p.of < 0 {
			*p.of = p.to
		}
	}
	return t
}

func (t timing) settled() Timing {
	return Timing{Retry: int(t.retry), DelayBeforeRetry: t.delayBeforeRetry, Warmup: t.warmup, ConnectTimeout: t.connect, DelayLoop: t.interval}
}

// service is a virtual_server while it is read.
type service struct {
	VirtualServer
	timing
	place
	named   bool // it is a virtual_server group
	grouped *ServiceGroup
	members []lb.ServiceKey // of the group, as far as they are not another service's
	forward forwarding
	reals   []*realServer
	sorry   *realServer
	proto   bool
	fam     uint8 // 0 until an address tells, then 4 or 6
	smtp    *bool
	slow    time.Duration // slow_start
	// checkPath is real, vip or both; empty: real.
	checkPath string
	orphans   []*Script // of checks whose real server was dropped; keepalived forgets to drop them
}

// forwarding is what lb_kind says.
type forwarding struct {
	method lb.Forward
	tunnel lb.TunnelOptions
	set    bool
}

// realServer is a real_server or the sorry server while it is read.
type realServer struct {
	RealServer
	timing
	place
	forward  forwarding
	inhibit  *bool
	alpha    *bool
	smtp     *bool
	checkers []*checker
	slow     *time.Duration
	bfds     []string
	asked    netip.AddrPort // the address as written
	// checkPath is real, vip or both; empty: the service's.
	checkPath string
}

// familyOf is 4 or 6.
func familyOf(a netip.Addr) uint8 {
	if a.Is6() {
		return 6
	}
	return 4
}

// beginService handles virtual_server IP [PORT] | fwmark N | group NAME.
func beginService(l *loader, s *stmt) {
	v := &service{timing: noTiming(), place: place{s.file, s.words[1]}}
	v.Weight, v.Quorum = 1, 1
	l.vs = v
	switch s.text(1) {
	case "fwmark":
		if _, ok := l.want(s, 2); !ok {
			l.skip = true
			return
		}
		n, ok := l.integer(s, 2, 0, math.MaxUint32, "virtual server fwmark '{value}' must be in [0, 4294967295] - ignoring")
		v.Mark = uint32(n)
		if ok && n == 0 {
			l.own(s.arg(2), "bad-value", "virtual server fwmark '"+s.text(2)+"' marks nothing - ignoring").Expected = "1..4294967295"
		}
		l.skip = !ok || n == 0 && l.pass == passAll
	case "group":
		v.named, v.Group = true, s.text(2)
	default:
		a, ok := l.endpoint(s, 1)
		if !ok {
			port, with := s.text(2), ""
			if strings.Trim(port, "0") != "" {
				with, port = "/port", "/"+port
			} else {
				port = ""
			}
			l.badEndpoint(s, 1, "Invalid virtual server IP address"+with+" "+s.text(1)+port+" - skipping")
			l.skip = true
			return
		}
		v.Addr, v.fam = a, familyOf(a.Addr())
	}
}

// endpoint reads IP [PORT] at argument i. Without a port, or with 0, it is 0.
func (l *loader) endpoint(s *stmt, i int) (netip.AddrPort, bool) {
	n := int64(0)
	if port := s.text(i + 1); i+1 < len(s.words) && strings.Trim(port, "0") != "" {
		bad := ""
		if n, bad = whole(port, 1, 65535, false, false); bad != "" {
			l.bad(s, i+1, "%s", bad)
			return netip.AddrPort{}, false
		}
	}
	addr, ok := plain(s.text(i))
	return netip.AddrPortFrom(addr, uint16(n)), ok
}

func (l *loader) badEndpoint(s *stmt, i int, text string) {
	d := l.bad(s, i, "%s", text)
	d.Code, d.Expected = "bad-address", "an IPv4 or IPv6 address, no names"
	if n := len(l.diags.list); n > 1 && l.diags.list[n-2].Code == "bad-value" && l.diags.list[n-2].line == d.line && l.pass == passAll {
		o := l.diags.list[n-2]
		o.More, l.diags.list = []string{text}, l.diags.list[:n-1]
	}
}

func endService(l *loader) {
	v := l.vs
	l.vs = nil
	if v.sorry != nil && v.sorry.forward.method != lb.Tunnel {
		if fam := familyOf(v.sorry.Addr.Addr()); v.fam == 0 {
			v.fam = fam
		} else if v.fam != fam {
			l.warn(v.sorry.tok, "mixed-families", "Address family of virtual server and sorry server "+v.sorry.Addr.Addr().String()+
				" don't match - skipping sorry server.")
			v.sorry = nil
		}
	}
	if v.fam == 0 && !v.named {
		v.settleFamily()
	}
	l.vss = append(l.vss, v)
}

// settleFamily takes the family of a mark's service from its tunnelled servers, if they agree; else it is IPv4.
func (v *service) settleFamily() {
	for _, r := range append(v.reals, v.sorry) {
		if r == nil {
			continue
		}
		if fam := familyOf(r.Addr.Addr()); v.fam == 0 {
			v.fam = fam
		} else if v.fam != fam {
			v.fam = 4
			return
		}
	}
	v.fam = max(v.fam, 4)
}

// beginReal handles real_server IP [PORT].
func beginReal(l *loader, s *stmt) {
	a, ok := l.endpoint(s, 1)
	if !ok {
		port := s.text(2)
		if len(s.words) < 3 {
			port = "(null)"
		}
		l.badEndpoint(s, 1, "Invalid real server ip address/port "+s.text(1)+"/"+port+" - skipping")
	}
	l.rs = &l.realRoom.take(1)[0]
	l.rs.timing, l.rs.place, l.rs.forward = noTiming(), place{s.file, s.words[1]}, l.vs.forward
	l.rs.Addr, l.rs.Weight = a, -1
	l.skip = !ok
}

func endReal(l *loader) {
	v, r := l.vs, l.rs
	l.rs = nil
	if r.forward.method != lb.Tunnel {
		if fam := familyOf(r.Addr.Addr()); v.fam == 0 {
			v.fam = fam
		} else if v.fam != fam {
			d := l.warn(r.tok, "mixed-families", "Address family of virtual server and real server "+r.Addr.Addr().String()+
				" don't match - skipping real server.")
			d.Hint = "only lb_kind TUN joins IPv4 and IPv6"
			for _, c := range r.checkers {
				v.orphans = append(v.orphans, c.Command)
			}
			return
		}
	}
	v.reals = append(v.reals, r)
}

func setSorry(l *loader, s *stmt) {
	a, ok := l.endpoint(s, 1)
	if !ok {
		l.badEndpoint(s, 1, "Invalid sorry server IP address "+s.text(1)+" - skipping")
		return
	}
	l.vs.sorry = &realServer{place: place{s.file, s.words[1]}, forward: l.vs.forward}
	l.vs.sorry.Addr, l.vs.sorry.Weight = a, 1
}

func setSorryInhibit(l *loader, s *stmt) {
	if l.vs.sorry == nil {
		l.warn(s.words[0], "no-sorry-server", "Ignoring sorry_server inhibit used before or without sorry_server").Hint = "put it below sorry_server"
		return
	}
	l.vs.sorry.InhibitOnFailure = true
}

func setSorryMethod(l *loader, s *stmt) {
	if l.vs.sorry == nil {
		l.warn(s.words[0], "no-sorry-server", "sorry_server forwarding used without sorry_server").Hint = "put it below sorry_server"
		return
	}
	if _, ok := l.want(s, 1); ok {
		l.kind(s, "sorry server", &l.vs.sorry.forward)
	}
}

var schedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "mh", "dh", "fo", "ovf", "sed", "nq", "twos"}

func setScheduler(l *loader, s *stmt) {
	for _, name := range schedulers {
		if s.text(1) == name {
			l.vs.Scheduler = name
			return
		}
	}
	d := l.badValue(s, 1, "", "Invalid lvs_scheduler '{value}' - ignoring")
	d.Expected = strings.Join(schedulers, " ")
}

// setFlag sets a flag of the scheduler. For sh and mh, flag 1 is fallback and flag 2 is port: ipvsadm(8).
func setFlag(name string, bit lb.SchedFlags) setter {
	return func(l *loader, s *stmt) {
		switch of, _, _ := strings.Cut(name, "-"); {
		case of == "flag" || of == l.vs.Scheduler:
			l.vs.Flags |= bit
		case l.vs.Scheduler == "sh" || l.vs.Scheduler == "mh":
			l.own(s.words[0], "other-scheduler", name+" means nothing to "+l.vs.Scheduler+" - ignoring")
		default:
			l.warn(s.words[0], "other-scheduler", name+" only applies to sh scheduler - ignoring").Hint = "put it below lb_algo " + of
		}
	}
}

func setHashed(l *loader, s *stmt) {
	if l.vs.Scheduler != "sh" && l.vs.Scheduler != "mh" {
		l.warn(s.words[0], "other-scheduler", "hashed only applies to sh scheduler - ignoring").Hint = "remove it; it never had an effect"
	}
}

func setProtocol(l *loader, s *stmt) {
	switch strings.ToUpper(s.text(1)) {
	case "TCP":
		l.vs.Protocol = lb.TCP
	case "UDP":
		l.vs.Protocol = lb.UDP
	case "SCTP":
		l.vs.Protocol = lb.SCTP
	default:
		l.badValue(s, 1, "", "Unknown protocol {value} - ignoring").Expected = "TCP, UDP or SCTP"
		return
	}
	l.vs.proto = true
}

func setFamily(l *loader, s *stmt) {
	fam := uint8(4)
	switch s.text(1) {
	case "inet":
	case "inet6":
		fam = 6
	default:
		l.badValue(s, 1, "", "unknown address family {value}").Expected = "inet or inet6"
		return
	}
	if l.vs.fam != 0 && l.vs.fam != fam {
		l.badValue(s, 1, "", "Virtual server specified family {value} conflicts with server family")
		return
	}
	l.vs.fam = fam
}

// kind reads NAT | DR | TUN [options]; of names the server for the message. What is wrong leaves the tunnel as it was.
func (l *loader) kind(s *stmt, of string, f *forwarding) {
	switch s.text(1) {
	case "NAT":
		f.method = lb.Masq
	case "DR":
		f.method = lb.Route
	case "TUN":
		f.method = lb.Tunnel
	default:
		d := l.badValue(s, 1, "", "PARSER : unknown [{value}] routing method for "+of+".")
		d.Expected = "NAT, DR or TUN, in capitals"
		return
	}
	f.set = true
	if t, ok := l.tunnel(s, of); ok {
		f.tunnel = t
	}
}

var tunnelTypes = map[string]lb.TunnelType{"ipip": lb.IPIP, "gue": lb.GUE, "gre": lb.GRE}

// tunnel reads [type ipip | gue port N | gre] [nocsum|csum|remcsum].
func (l *loader) tunnel(s *stmt, of string) (t lb.TunnelOptions, ok bool) {
	for i := 2; i < len(s.words); i++ {
		switch w := s.text(i); w {
		case "type", "port":
			i++
			switch {
			case i >= len(s.words) && w == "type":
				l.bad(s, i, "Missing tunnel type for %s.", of)
				return t, false
			case i >= len(s.words):
				l.bad(s, i, "Missing port for %s gue tunnel.", of)
				return t, false
			case w == "port":
				v, ok := l.integer(s, i, 1, 65535, "Invalid gue tunnel port {value} for "+of+".")
				if t.Port = uint16(v); !ok {
					return t, false
				}
				continue
			}
			v, known := tunnelTypes[s.text(i)]
			if t.Type = v; !known {
				l.bad(s, i, "Unknown tunnel type %s for %s.", s.text(i), of).Expected = "ipip, gue or gre"
				return t, false
			}
		case "csum", "remcsum", "nocsum":
			t.Csum, t.RemCsum = w == "csum", w == "remcsum"
		default:
			l.bad(s, i, "Invalid tunnel option %s for %s.", w, of).Expected = "type, port, csum, remcsum or nocsum"
			return t, false
		}
	}
	switch {
	case (t.Type == lb.GUE) != (t.Port != 0):
		l.bad(s, 1, "gue tunnels require port, otherwise cannot have port.")
	case t.Type == lb.IPIP && (t.Csum || t.RemCsum):
		l.bad(s, 1, "ipip tunnels do not support checksum option.")
	case t.Type == lb.GRE && t.RemCsum:
		l.bad(s, 1, "gre tunnels do not support remote checksum option.")
	default:
		return t, true
	}
	return t, false
}

func setPersistence(l *loader, s *stmt) {
	if len(s.words) < 2 {
		l.vs.Persistence = 360 * time.Second
		return
	}
	if v, ok := l.integer(s, 1, 1, 31*24*3600, "persistence_timeout invalid"); ok {
		l.vs.Persistence = time.Duration(v) * time.Second
	} else if s.text(1) == "0" {
		l.diags.list[len(l.diags.list)-1].Hint = "leave the line out for a service without persistence"
	}
}

// setGranularity reads a netmask or, for IPv6, a prefix length.
func setGranularity(l *loader, s *stmt) {
	text, fam := s.text(1), l.vs.fam
	if fam == 0 {
		if fam = 6; strings.Contains(text, ".") {
			fam = 4
		}
	}
	if fam == 6 {
		n, ok := l.integer(s, 1, 1, 128, "Invalid IPv6 persistence_granularity specified - {value}")
		if !ok {
			return
		}
		l.vs.Wild = lb.WildOf(int(n), true)
	} else if m, ok := netmask(text); !ok {
		l.badValue(s, 1, "", "Invalid IPv4 persistence_granularity specified - {value}").Expected = "a netmask such as 255.255.255.0"
		return
	} else if n := bits.LeadingZeros32(^m); m<<n != 0 || n == 0 {
		l.own(s.arg(1), "bad-value", "IPv4 persistence_granularity netmask is not solid - "+text).Expected = "a netmask such as 255.255.255.0"
	} else {
		l.vs.Wild = ^m
	}
	if l.vs.fam == 0 {
		l.vs.fam = fam
	}
	if l.vs.Persistence == 0 {
		l.vs.Persistence = 360 * time.Second
	}
}

// netmask reads a mask in any form that inet_aton(3) takes: up to four numbers with dots. A length up to 32 is taken as
// one too.
// keepalived: 24 is the address 0.0.0.24 to it, which the kernel takes for a mask.
func netmask(s string) (uint32, bool) {
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return 0, false
	}
	m := uint64(0)
	for i, p := range parts {
		neg, v, rest, over := cutNumber(p, true)
		width := uint(8)
		if i == len(parts)-1 {
			width = uint(8 * (5 - len(parts)))
		}
		if p == "" || neg || rest != "" || over || v >= 1<<width {
			return 0, false
		}
		m = m<<width | v
	}
	if len(parts) == 1 && m >= 1 && m <= 32 {
		m = math.MaxUint32 << (32 - m) & math.MaxUint32
	}
	return uint32(m), true
}

// setSegment reads mss_clamp [N].
func setSegment(l *loader, s *stmt) {
	if len(s.words) < 2 {
		l.vs.Segment = lb.FitSegment
		return
	}
	// Linux counts with no less than 88 (TCP_MIN_MSS); an IPv4 packet of 65,535 bytes has two headers.
	if v, ok := l.integer(s, 1, 88, 65495, "mss_clamp {value} is not from 88 to 65495 - ignoring"); ok {
		l.vs.Segment = uint16(v)
	}
}

// setFullNAT reads fullnat ADDR[-ADDR].
func setFullNAT(l *loader, s *stmt) {
	r, err := lb.ParseAddrRange(s.text(1))
	if err != nil {
		l.bad(s, 1, "fullnat %s is no address or range of addresses - ignoring", s.text(1)).Hint = "as in: fullnat 10.0.8.25-28"
		return
	}
	l.vs.Locals = r
}
