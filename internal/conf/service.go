package conf

import (
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"vipd/internal/health"
	"vipd/internal/lb"
)

// timing are the settings that go from a virtual_server to its real servers to their checkers. Negative: not set.
type timing struct {
	retry                                       int64
	delayBeforeRetry, warmup, connect, interval time.Duration
}

func noTiming() timing { return timing{-1, -1, -1, -1, -1} }

// or fills what is not set from o.
func (t timing) or(o timing) timing {
	if t.retry < 0 {
		t.retry = o.retry
	}
	for _, p := range [][2]*time.Duration{{&t.delayBeforeRetry, &o.delayBeforeRetry}, {&t.warmup, &o.warmup},
		{&t.connect, &o.connect}, {&t.interval, &o.interval}} {
		if *p[0] < 0 {
			*p[0] = *p[1]
		}
	}
	return t
}

// service is a virtual_server while it is read.
type service struct {
	health.Service
	timing
	place
	named   bool // it is a virtual_server group
	forward forwarding
	weight  int32
	reals   []*realServer
	sorry   *realServer
	proto   bool
}

// forwarding is what lb_kind says.
type forwarding struct {
	method lb.Forward
	tunnel lb.TunnelOptions
	set    bool
}

// realServer is a real_server or the sorry server while it is read.
type realServer struct {
	lb.Real
	timing
	place
	forward  forwarding
	inhibit  *bool
	alpha    *bool
	checkers []*checker
}

// beginService handles virtual_server IP [PORT] | fwmark N | group NAME.
func beginService(l *loader, s *stmt) {
	v := &service{timing: noTiming(), place: place{s.file, s.words[1]}, weight: 1}
	v.Quorum = 1
	switch s.text(1) {
	case "fwmark":
		n, ok := l.integer(s, 2, 0, math.MaxUint32, "virtual server fwmark '{value}' must be in [0, 4294967295] - ignoring")
		v.Mark = uint32(n)
		if ok && n == 0 {
			l.badValue(s, 2, "", "virtual server fwmark '{value}' marks nothing - ignoring").Expected = "1..4294967295"
		}
		l.skip = !ok || n == 0
	case "group":
		v.named = true
		l.warn(s.words[1], "not-yet", "virtual_server group is accepted without effect in this version").Hint = "write one virtual_server for each address of the group"
		l.quiet++
	default:
		a, ok := l.endpoint(s, 1, "Invalid virtual server IP address/port {value} - skipping")
		v.Addr = a
		v.V6 = false
		l.skip = !ok
	}
	l.vs = v
}

// endpoint reads IP [PORT] at argument i. Without a port it is 0. also is what keepalived says of a bad one.
func (l *loader) endpoint(s *stmt, i int, also string) (netip.AddrPort, bool) {
	ip, port := s.text(i), s.text(i+1)
	both := ip
	if port != "" {
		both += "/" + port
	}
	also = strings.ReplaceAll(also, "{value}", both)
	addr, ok := address(ip)
	if !ok {
		d := l.badValue(s, i, also, "")
		d.Code, d.Expected = "bad-address", "an IPv4 or IPv6 address, no names"
		return netip.AddrPort{}, false
	}
	n := int64(0)
	if port != "" && port != "0" {
		if n, ok = l.integer(s, i+1, 1, 65535, also); !ok {
			return netip.AddrPort{}, false
		}
	}
	return netip.AddrPortFrom(addr, uint16(n)), true
}

func endService(l *loader) {
	if l.vs.named {
		l.quiet--
	} else {
		l.vss = append(l.vss, l.vs)
	}
	l.vs = nil
}

// beginReal handles real_server IP [PORT].
func beginReal(l *loader, s *stmt) {
	a, ok := l.endpoint(s, 1, "Invalid real server ip address/port {value} - skipping")
	if ok && l.vs.Addr.IsValid() && a.Addr().Is4() != l.vs.Addr.Addr().Is4() && l.vs.forward.method != lb.Tunnel {
		d := l.warn(s.words[1], "mixed-families", fmt.Sprintf(
			"Address family of virtual server and real server %s don't match - skipping real server.", a.Addr()))
		d.Hint = "only lb_kind TUN joins IPv4 and IPv6"
		ok = false
	}
	l.rs = &realServer{timing: noTiming(), place: place{s.file, s.words[1]}}
	l.rs.Addr, l.rs.Weight = a, -1
	l.skip = !ok
}

func endReal(l *loader) {
	l.vs.reals = append(l.vs.reals, l.rs)
	l.rs = nil
}

func setSorry(l *loader, s *stmt) {
	a, ok := l.endpoint(s, 1, "Invalid sorry server IP address "+s.text(1)+" - skipping")
	if !ok {
		return
	}
	l.vs.sorry = &realServer{place: place{s.file, s.words[1]}}
	l.vs.sorry.Addr, l.vs.sorry.Weight = a, 1
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

// kind reads NAT | DR | TUN [options]; of names the block for the message.
func (l *loader) kind(s *stmt, of string) (f forwarding) {
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
		return f
	}
	f.set = true
	if len(s.words) > 2 && f.method != lb.Tunnel {
		l.badValue(s, 2, "", "Invalid tunnel option {value} for "+of+".").Hint = "only TUN takes options"
	} else if len(s.words) > 2 {
		l.tunnel(s, of, &f.tunnel)
	}
	return f
}

// tunnel reads [type ipip | gue port N | gre] [nocsum|csum|remcsum].
func (l *loader) tunnel(s *stmt, of string, t *lb.TunnelOptions) {
	types := map[string]lb.TunnelType{"ipip": lb.IPIP, "gue": lb.GUE, "gre": lb.GRE}
	for i := 2; i < len(s.words); i++ {
		switch s.text(i) {
		case "type":
			i++
			v, ok := types[s.text(i)]
			if !ok {
				l.badValue(s, i, "", "Unknown tunnel type {value} for "+of+".").Expected = "ipip, gue or gre"
				return
			}
			t.Type = v
		case "port":
			i++
			if v, ok := l.integer(s, i, 1, 65535, ""); ok {
				t.Port = uint16(v)
			}
		case "csum":
			t.Csum = true
		case "remcsum":
			t.RemCsum = true
		case "nocsum":
		default:
			l.badValue(s, i, "", "Invalid tunnel option {value} for "+of+".")
		}
	}
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

// setGranularity reads a netmask or a prefix length.
func setGranularity(l *loader, s *stmt) {
	text, v6 := s.text(1), l.vs.Addr.Addr().Is6()
	if a, err := netip.ParseAddr(text); err == nil && a.Is4() && !v6 {
		b := a.As4()
		m := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		n := bits.LeadingZeros32(^m)
		if n > 0 && m<<n == 0 {
			l.vs.MaskBits = uint8(n)
			return
		}
	} else if n, err := strconv.ParseUint(text, 10, 8); err == nil && n >= 1 && (n <= 32 || v6 && n <= 128) {
		l.vs.MaskBits = uint8(n)
		return
	}
	family := "IPv4"
	if v6 {
		family = "IPv6"
	}
	l.badValue(s, 1, "", "Invalid "+family+" persistence_granularity specified - {value}").Expected = "a netmask, or a length of 1..32 (IPv6: 1..128)"
}
