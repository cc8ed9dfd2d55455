package host

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// NewRoute is a route that is to be in a routing table, in the words of ip-route(8).
type NewRoute struct {
	V6       bool
	Type     string     // unicast, blackhole, … or a number. If empty, unicast.
	To       string     // ADDR[/LEN], default, any or all
	Via      netip.Addr // If zero, the destination is on the link.
	Dev      string     // If empty, what the gateway says.
	Table    string     // name or number. If empty, main.
	Source   netip.Addr // preferred source. If zero, the kernel's choice.
	Scope    string     // If empty, global; of a local route host.
	Metric   uint32     // If zero, the kernel's.
	OnLink   bool       // the gateway is on the link even if no prefix says so
	Options  [][2]string
	Nexthops []NewHop
}

// NewHop is one way of a route that has several.
type NewHop struct {
	Via     netip.Addr
	Dev     string
	Weight  int // If zero, 1.
	OnLink  bool
	Options [][2]string
}

func (r NewRoute) String() string {
	s := r.To
	if r.Via.IsValid() {
		s += " via " + r.Via.String()
	}
	if r.Dev != "" {
		s += " dev " + r.Dev
	}
	if r.Table != "" {
		s += " table " + r.Table
	}
	return s
}

// Equal tells that both are the same in every word.
func (r NewRoute) Equal(o NewRoute) bool { return reflect.DeepEqual(r, o) }

// AddRoute puts a route into its table, in place of one of the same destination, table and metric. An unknown interface
// is a *NoInterfaceError.
//
// keepalived: protocol 18 unless the line has another.
func AddRoute(r NewRoute) error {
	flags := unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	for _, o := range r.Options {
		switch o[1] {
		case "add":
			flags = unix.NLM_F_CREATE | unix.NLM_F_EXCL
		case "prepend":
			flags = unix.NLM_F_CREATE
		case "append":
			flags = unix.NLM_F_CREATE | unix.NLM_F_APPEND
		}
	}
	body, err := r.message(false)
	if err == nil {
		if _, err = request(unix.RTM_NEWROUTE, flags|unix.NLM_F_ACK, body); errors.Is(err, unix.EEXIST) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("add route %s: %w", r, gone(err, r.Dev))
	}
	return nil
}

// DelRoute takes a route out of its table. That it (or its interface) is not there is no error.
func DelRoute(r NewRoute) error {
	body, err := r.message(true)
	if errors.Is(err, ErrNoInterface) {
		return nil
	}
	if err == nil {
		_, err = request(unix.RTM_DELROUTE, unix.NLM_F_ACK, body)
	}
	if err == nil || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return fmt.Errorf("remove route %s: %w", r, err)
}

var routeTypes = map[string]uint64{"": unix.RTN_UNICAST, "unicast": unix.RTN_UNICAST, "local": unix.RTN_LOCAL, "broadcast": unix.RTN_BROADCAST,
	"brd": unix.RTN_BROADCAST, "anycast": unix.RTN_ANYCAST, "multicast": unix.RTN_MULTICAST, "blackhole": unix.RTN_BLACKHOLE,
	"unreachable": unix.RTN_UNREACHABLE, "prohibit": unix.RTN_PROHIBIT, "throw": unix.RTN_THROW, "nat": unix.RTN_NAT, "xresolve": unix.RTN_XRESOLVE}

// message is the rtmsg of a route with its attributes. gone says that it is to be removed, which leaves out what does
// not tell routes apart.
func (r NewRoute) message(gone bool) ([]byte, error) {
	b := &routeBody{v6: r.V6, hdr: make([]byte, rtmsgLen)}
	typ, ok := routeTypes[r.Type]
	if !ok {
		n, err := strconv.ParseUint(r.Type, 0, 8)
		if err != nil {
			return nil, fmt.Errorf("%q is no type of a route", r.Type)
		}
		typ = n
	}
	b.hdr[0], b.hdr[5], b.hdr[7] = familyOf(r.V6), Protocol, uint8(typ)
	for _, step := range []func() error{
		func() error { return b.prefix(unix.RTA_DST, 1, r.To) },
		func() error { return b.table(r.Table) },
		func() error { return b.scope(r, gone) },
		func() error { return b.hop(r.Via, r.Dev, r.OnLink) },
		func() error { return b.options(r.Options, gone) },
		func() error { return b.nexthops(r.Nexthops) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if r.Source.IsValid() {
		b.attrs = append(b.attrs, attr(unix.RTA_PREFSRC, r.Source.AsSlice())...)
	}
	if r.Metric != 0 {
		b.attrs = append(b.attrs, attrUint32(unix.RTA_PRIORITY, r.Metric)...)
	}
	return append(b.hdr, b.attrs...), nil
}

// routeBody is a message while it is made.
type routeBody struct {
	v6         bool
	hdr, attrs []byte
}

func familyOf(v6 bool) uint8 {
	if v6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// parsePrefix reads ADDR[/LEN]; the words for everything give the zero Prefix.
func parsePrefix(text string) (netip.Prefix, error) {
	switch text {
	case "default", "any", "all", "default6", "":
		return netip.Prefix{}, nil
	}
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		return netip.PrefixFrom(a, a.BitLen()), err
	}
	return netip.ParsePrefix(text)
}

// prefix sets a length in the header, and the address where there is one.
func (b *routeBody) prefix(typ uint16, at int, text string) error {
	p, err := parsePrefix(text)
	if err != nil || !p.IsValid() {
		return err
	}
	b.hdr[at] = uint8(p.Bits())
	b.attrs = append(b.attrs, attr(typ, p.Addr().AsSlice())...)
	return nil
}

func (b *routeBody) table(name string) error {
	if name == "" {
		name = "main"
	}
	n, err := Number("rt_tables", name, 32)
	if err != nil {
		return err
	}
	if n < 256 {
		b.hdr[4] = uint8(n)
	}
	b.attrs = append(b.attrs, attrUint32(unix.RTA_TABLE, uint32(n))...)
	return nil
}

// scope is global where the line has none; ip-route(8) would take link for a destination on the link.
func (b *routeBody) scope(r NewRoute, gone bool) error {
	switch {
	case r.Scope != "":
		n, err := Number("scope", r.Scope, 8)
		b.hdr[6] = uint8(n)
		return err
	case b.v6:
	case gone:
		b.hdr[6] = unix.RT_SCOPE_NOWHERE // any: rtnetlink(7)
	case b.hdr[7] == unix.RTN_LOCAL || b.hdr[7] == unix.RTN_NAT: // the kernel takes no other
		b.hdr[6] = unix.RT_SCOPE_HOST
	}
	return nil
}

// via is a gateway of the route's own family, or of the other one (RFC 8950).
func via(v6 bool, a netip.Addr) []byte {
	if a.Is6() == v6 {
		return attr(unix.RTA_GATEWAY, a.AsSlice())
	}
	return attr(unix.RTA_VIA, append(native.AppendUint16(nil, uint16(family(a))), a.AsSlice()...))
}

func (b *routeBody) hop(gateway netip.Addr, dev string, onLink bool) error {
	if gateway.IsValid() {
		b.attrs = append(b.attrs, via(b.v6, gateway)...)
	}
	if dev != "" {
		link, err := LinkByName(dev)
		if err != nil {
			return err
		}
		b.attrs = append(b.attrs, attrUint32(unix.RTA_OIF, uint32(link.Index))...)
	}
	if onLink {
		native.PutUint32(b.hdr[8:], unix.RTNH_F_ONLINK)
	}
	return nil
}

// nexthops are struct rtnexthop (length 2, flags 1, weight - 1, interface 4) each with its attributes: rtnetlink(7).
func (b *routeBody) nexthops(hops []NewHop) error {
	var all []byte
	for _, h := range hops {
		one := routeBody{v6: b.v6, hdr: make([]byte, rtmsgLen)}
		if err := one.hop(h.Via, "", h.OnLink); err != nil {
			return err
		}
		if err := one.options(h.Options, false); err != nil {
			return err
		}
		head := native.AppendUint16(nil, uint16(8+len(one.attrs)))
		head = append(head, one.hdr[8], uint8(max(h.Weight, 1)-1))
		index := 0
		if h.Dev != "" {
			link, err := LinkByName(h.Dev)
			if err != nil {
				return err
			}
			index = link.Index
		}
		all = append(append(all, native.AppendUint32(head, uint32(index))...), one.attrs...)
	}
	if len(all) > 0 {
		b.attrs = append(b.attrs, attr(unix.RTA_MULTIPATH, all)...)
	}
	return nil
}

// metrics are the words that become an RTAX_ attribute, with what a number with a unit of milliseconds is multiplied by
// (linux/rtnetlink.h: rtt in eighths, rttvar in quarters of a millisecond). 0: a plain number.
var metrics = map[string]struct {
	typ uint16
	ms  uint32
}{
	"mtu": {unix.RTAX_MTU, 0}, "window": {unix.RTAX_WINDOW, 0}, "rtt": {unix.RTAX_RTT, 8}, "rttvar": {unix.RTAX_RTTVAR, 4}, "ssthresh": {unix.RTAX_SSTHRESH, 0},
	"cwnd": {unix.RTAX_CWND, 0}, "advmss": {unix.RTAX_ADVMSS, 0}, "reordering": {unix.RTAX_REORDERING, 0}, "hoplimit": {unix.RTAX_HOPLIMIT, 0},
	"initcwnd": {unix.RTAX_INITCWND, 0}, "rto_min": {unix.RTAX_RTO_MIN, 1}, "initrwnd": {unix.RTAX_INITRWND, 0}, "quickack": {unix.RTAX_QUICKACK, 0},
	"fastopen_no_cookie": {unix.RTAX_FASTOPEN_NO_COOKIE, 0},
}

const featureECN = 1 // RTAX_FEATURE_ECN of linux/rtnetlink.h

// options writes the words that a line may have besides. With gone, only those that tell routes apart.
func (b *routeBody) options(list [][2]string, gone bool) error {
	var all []byte
	var locked uint32
	for _, o := range list {
		word, value := o[0], o[1]
		if isEncap(word) {
			continue
		}
		if m, ok := metrics[word]; ok {
			n, err := metric(value, m.ms)
			if err != nil {
				return fmt.Errorf("%s: %w", word, err)
			}
			all = append(all, attrUint32(m.typ, n)...)
			continue
		}
		switch word {
		case "lock":
			locked |= 1 << metricNumber(value)
		case "features":
			all = append(all, attrUint32(unix.RTAX_FEATURES, featureECN)...)
		case "congctl":
			all = append(all, attrString(unix.RTAX_CC_ALGO, value)...)
		default:
			if err := b.option(word, value); err != nil {
				return fmt.Errorf("%s %s: %w", word, value, err)
			}
		}
	}
	if locked != 0 {
		all = append(all, attrUint32(unix.RTAX_LOCK, locked)...)
	}
	if len(all) > 0 && !gone {
		b.attrs = append(b.attrs, attr(unix.RTA_METRICS, all)...)
	}
	return b.encap(list)
}

func metricNumber(word string) uint16 {
	if word == "congctl" {
		return unix.RTAX_CC_ALGO
	}
	return metrics[word].typ
}

// metric reads a number, or a time such as 5ms or 0.2s. Without a unit a time is the kernel's own number, as with ip-route(8).
func metric(text string, perMillisecond uint32) (uint32, error) {
	if perMillisecond > 0 && strings.HasSuffix(strings.ToLower(text), "s") || strings.HasSuffix(text, "sec") || strings.HasSuffix(text, "secs") {
		short := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(text), "ecs"), "ec")
		d, err := time.ParseDuration(short)
		return uint32(d.Milliseconds()) * perMillisecond, err
	}
	n, err := strconv.ParseUint(text, 0, 32)
	return uint32(n), err
}

var errUnsupported = errors.New("not supported in this version")

// option is a word that is no metric.
func (b *routeBody) option(word, value string) error {
	switch word {
	case "order":
	case "tos", "dsfield":
		n, err := Number("rt_dsfield", value, 8)
		b.hdr[3] = uint8(n)
		return err
	case "protocol":
		n, err := Number("rt_protos", value, 8)
		b.hdr[5] = uint8(n)
		return err
	case "realms":
		n, err := realms(value)
		b.attrs = append(b.attrs, attrUint32(unix.RTA_FLOW, n)...)
		return err
	case "from":
		return b.prefix(unix.RTA_SRC, 2, value)
	case "expires":
		n, err := strconv.ParseUint(value, 0, 32)
		b.attrs = append(b.attrs, attrUint32(unix.RTA_EXPIRES, uint32(n))...)
		return err
	case "pref":
		// RFC 4191 2.1: "01 High, 00 Medium (default), 11 Low"
		n, ok := map[string]uint64{"medium": 0, "high": 1, "low": 3}[value]
		if !ok {
			var err error
			if n, err = strconv.ParseUint(value, 0, 8); err != nil {
				return err
			}
		}
		b.attrs = append(b.attrs, attr(unix.RTA_PREF, []byte{uint8(n)})...)
	case "ttl-propagate":
		on := byte(0)
		if value == "enabled" {
			on = 1
		}
		b.attrs = append(b.attrs, attr(unix.RTA_TTL_PROPAGATE, []byte{on})...)
	case "vrf":
		return b.vrf(value)
	default:
		return errUnsupported
	}
	return nil
}

// vrf takes the table of a VRF device.
func (b *routeBody) vrf(name string) error {
	n, err := vrfTable(name)
	if err == nil {
		b.attrs = append(b.attrs, attrUint32(unix.RTA_TABLE, n)...)
	}
	return err
}

// realms reads [FROM/]TO: the first in the upper half of the number.
func realms(text string) (uint32, error) {
	from, to, two := strings.Cut(text, "/")
	if !two {
		from, to = "0", from
	}
	f, err := Number("rt_realms", from, 16)
	if err != nil {
		return 0, err
	}
	t, err := Number("rt_realms", to, 16)
	return uint32(f)<<16 | uint32(t), err
}
