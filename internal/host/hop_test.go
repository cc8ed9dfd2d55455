package host

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHopsCarryWhatTunnelsNeed: the MTU of the route if it has one, else the interface's; and the source address.
func TestHopsCarryWhatTunnelsNeed(t *testing.T) {
	body := append([]byte{unix.AF_INET, 32, 0, 0, 254, 0, 0, unix.RTN_UNICAST, 0, 0, 0, 0}, attr(unix.RTA_DST, []byte{10, 0, 8, 12})...)
	body = append(body, attrUint32(unix.RTA_OIF, 2)...)
	body = append(body, attr(unix.RTA_PREFSRC, []byte{10, 0, 8, 2})...)
	link := Link{Index: 2, Name: "eth0", MAC: MAC{2, 0, 0, 0, 0, 1}, MTU: 1500, Up: true, Running: true, Ethernet: true}
	neigh := Neighbour{Ifindex: 2, MAC: MAC{2, 0, 0, 0, 0, 2}, State: unix.NUD_REACHABLE}
	addr := netip.MustParseAddr("10.0.8.12")
	for want, metrics := range map[int][]byte{
		1500: nil,
		1400: attr(unix.RTA_METRICS, append(attrUint32(unix.RTAX_HOPLIMIT, 7), attrUint32(unix.RTAX_MTU, 1400)...)),
	} {
		route, ok := parseRoute(append(body, metrics...))
		if !ok {
			t.Fatal("not a route")
		}
		h := hopTo(addr, route, nil, map[int]Link{2: link}, neigh)
		if !h.OK || h.MTU != want || h.Source != netip.MustParseAddr("10.0.8.2") {
			t.Errorf("%+v, want MTU %d", h, want)
		}
	}
}
