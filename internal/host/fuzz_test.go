package host

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzNetlink gives a datagram to every parser of netlink messages. What comes out must hold what the callers rely on.
func FuzzNetlink(f *testing.F) {
	link := append(make([]byte, ifinfomsgLen), attrString(unix.IFLA_IFNAME, "eth0")...)
	link[4] = 2
	address, err := newAddress(Address{Prefix: netip.MustParsePrefix("fd00::1/128"), Scope: "link"}, 2)
	if err != nil {
		f.Fatal(err)
	}
	neigh := append([]byte{unix.AF_INET, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0}, attr(unix.NDA_DST, []byte{10, 0, 0, 1})...)
	neigh = append(neigh, attr(unix.NDA_LLADDR, []byte{2, 0, 0, 0, 0, 1})...)
	route := append([]byte{unix.AF_INET, 32, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0}, attr(unix.RTA_DST, []byte{10, 0, 0, 1})...)
	route = append(route, attr(unix.RTA_VIA, append([]byte{10, 0}, make([]byte, 16)...))...)
	for typ, body := range map[uint16][]byte{unix.RTM_NEWLINK: link, unix.RTM_NEWADDR: address, unix.RTM_DELNEIGH: neigh, unix.RTM_NEWROUTE: route} {
		f.Add(datagram(typ, body))
		f.Add(append(datagram(typ, body), datagram(typ, body[:len(body)-3])...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		eachMessage(b, func(m message) {
			tell(m, func(e Event) { lookAt(t, e) })
		})
	})
}

func lookAt(t *testing.T, e Event) {
	switch e := e.(type) {
	case LinkEvent:
		if e.Index <= 0 || e.Name == "" {
			t.Fatalf("got %+v", e)
		}
	case AddressEvent:
		if e.Ifindex <= 0 || !e.Prefix.IsValid() {
			t.Fatalf("got %+v", e)
		}
	case RouteEvent:
		if !e.Dst.IsValid() || !e.next(addr("10.0.0.1")).IsValid() {
			t.Fatalf("got %+v", e)
		}
	case NeighbourEvent:
		if e.Ifindex <= 0 || !e.Addr.IsValid() || e.Usable() && e.MAC == (MAC{}) {
			t.Fatalf("got %+v", e)
		}
	}
}

func datagram(typ uint16, body []byte) []byte {
	b := native.AppendUint32(nil, uint32(nlmsghdrLen+len(body)))
	b = native.AppendUint16(b, typ)
	return append(append(b, make([]byte, 10)...), body...)
}

func TestMalformedDatagramsAreNoticed(t *testing.T) {
	whole := datagram(unix.RTM_NEWLINK, make([]byte, 16))
	count := func(b []byte) (n int, ok bool) {
		ok = eachMessage(b, func(message) { n++ })
		return n, ok
	}
	if n, ok := count(append(whole, whole...)); n != 2 || !ok {
		t.Errorf("two messages: %d %v", n, ok)
	}
	if n, ok := count(whole[:len(whole)-1]); n != 0 || ok {
		t.Errorf("a cut message: %d %v", n, ok)
	}
	if n, ok := count(append(whole, 1, 2, 3)); n != 1 || ok {
		t.Errorf("a tail: %d %v", n, ok)
	}
}
