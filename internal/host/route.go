package host

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Route is what the kernel says of the way to an address, or of an entry of its routing tables that changed.
type Route struct {
	Dst     netip.Prefix
	Via     netip.Addr // the gateway; zero if Dst is on the link
	Src     netip.Addr // the source address that the host would use
	Ifindex int
	MTU     int // of the route, or of what was learned on the way; 0: the interface's
	Table   int
	Type    uint8 // RTN_ number: unicast 1, local 2, …
}

// Local tells that the destination is this host itself.
func (r Route) Local() bool { return r.Type == unix.RTN_LOCAL }

// RouteTo asks the kernel for the way to addr.
func RouteTo(addr netip.Addr) (Route, error) {
	b := make([]byte, rtmsgLen)
	b[0], b[1] = family(addr), uint8(addr.BitLen())
	bodies, err := request(unix.RTM_GETROUTE, 0, append(b, attr(unix.RTA_DST, addr.AsSlice())...))
	if err != nil {
		return Route{}, fmt.Errorf("route to %s: %w", addr, err)
	}
	for _, body := range bodies {
		if r, ok := parseRoute(body); ok {
			return r, nil
		}
	}
	return Route{}, fmt.Errorf("route to %s: no answer", addr)
}

// parseRoute reads an rtmsg. Only IPv4 and IPv6 routes are of interest; of several paths the answer to a look-up
// carries the chosen one alone.
func parseRoute(b []byte) (Route, bool) {
	if len(b) < rtmsgLen || b[0] != unix.AF_INET && b[0] != unix.AF_INET6 {
		return Route{}, false
	}
	dst := netip.IPv4Unspecified()
	if b[0] == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	r := Route{Table: int(b[4]), Type: b[7]}
	eachAttr(b[rtmsgLen:], func(typ uint16, val []byte) {
		switch typ {
		case unix.RTA_DST:
			dst = address(val)
		case unix.RTA_GATEWAY:
			r.Via = address(val)
		case unix.RTA_VIA: // an IPv4 route by an IPv6 gateway, RFC 5549: the family first
			if len(val) > 2 {
				r.Via = address(val[2:])
			}
		case unix.RTA_OIF:
			r.Ifindex = int(number(val))
		case unix.RTA_PREFSRC:
			r.Src = address(val)
		case unix.RTA_METRICS:
			eachAttr(val, func(metric uint16, val []byte) {
				if metric == unix.RTAX_MTU {
					r.MTU = int(number(val))
				}
			})
		case unix.RTA_TABLE:
			r.Table = int(number(val))
		}
	})
	r.Dst = netip.PrefixFrom(dst, int(b[1]))
	return r, r.Dst.IsValid()
}

func (r Route) unicast() bool { return r.Type == unix.RTN_UNICAST }
