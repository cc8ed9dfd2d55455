package host

import (
	"encoding/binary"
	"maps"
	"testing"

	"golang.org/x/sys/unix"
)

// stack is a host with eth0 and what stands on it.
func stack() map[int]Link {
	links := map[int]Link{}
	for i, l := range []Link{
		{Name: "eth0"},
		{Name: "eth0.100", Kind: "vlan", Lower: 1, Tag: 100},
		{Name: "service", Kind: "vlan", Lower: 1, Tag: TagAD | 7},
		{Name: "service.5", Kind: "vlan", Lower: 3, Tag: 5},
		{Name: "service.5.6", Kind: "vlan", Lower: 4, Tag: 6},
		{Name: "vrrp.51", Kind: "macvlan", Lower: 1},
		{Name: "vrrp.52", Kind: "macvlan", Lower: 2},
		{Name: "br0", Kind: "bridge"},
		{Name: "br0.9", Kind: "vlan", Lower: 8, Tag: 9},
		{Name: "guest", Kind: "vlan", Lower: 99, Tag: 9},
		{Name: "veth0", Kind: "veth", Lower: 1},
	} {
		l.Index, l.MAC, l.Up, l.Running, l.Ethernet = i+1, MAC{2, 0, 0, 0, 0, byte(i + 1)}, true, true, true
		links[l.Index] = l
	}
	return links
}

func TestCarriers(t *testing.T) {
	links := stack()
	for name, want := range map[string]Carrier{
		"eth0": {1, [2]uint16{}}, "eth0.100": {1, [2]uint16{100}}, "service": {1, [2]uint16{TagAD | 7}},
		"service.5": {1, [2]uint16{TagAD | 7, 5}}, "service.5.6": {}, "vrrp.51": {1, [2]uint16{}}, "vrrp.52": {1, [2]uint16{100}},
		"br0": {8, [2]uint16{}}, "br0.9": {9, [2]uint16{}}, "guest": {10, [2]uint16{}}, "veth0": {11, [2]uint16{}},
	} {
		for _, l := range links {
			if l.Name != name {
				continue
			}
			if got, ok := carrierOf(l, links); got != want || ok != (want != Carrier{}) {
				t.Errorf("%s: %+v %v, want %+v", name, got, ok, want)
			}
		}
	}
	down := links[2]
	down.Up = false
	links[2] = down
	want := map[Station]int{
		{Carrier{1, [2]uint16{TagAD | 7}}, links[3].MAC}:    3,
		{Carrier{1, [2]uint16{TagAD | 7, 5}}, links[4].MAC}: 4,
		{Carrier{1, [2]uint16{}}, links[6].MAC}:             6,
		{Carrier{1, [2]uint16{100}}, links[7].MAC}:          7,
	}
	if got := stations(links); !maps.Equal(got, want) {
		t.Errorf("stations %v, want %v", got, want)
	}
	loop := map[int]Link{1: {Index: 1, Kind: "vlan", Lower: 2, Tag: 1}, 2: {Index: 2, Kind: "macvlan", Lower: 1}}
	if p, ok := carrierOf(loop[1], loop); ok {
		t.Errorf("links in a circle: %+v", p)
	}
}

func TestHopByAVLAN(t *testing.T) {
	links := stack()
	route := Route{Type: unix.RTN_UNICAST, Ifindex: 4}
	neigh := Neighbour{Ifindex: 4, MAC: MAC{2, 0, 0, 0, 0, 99}, State: unix.NUD_REACHABLE}
	h := hopTo(addr("10.0.0.1"), route, nil, links, neigh)
	if !h.OK || h.Carrier != (Carrier{1, [2]uint16{TagAD | 7, 5}}) || h.IfName != "service.5" || h.Src != links[4].MAC {
		t.Errorf("%+v", h)
	}
	route.Ifindex = 5
	if h := hopTo(addr("10.0.0.1"), route, nil, links, neigh); h.OK || h.Why != "interface service.5.6 has more than two VLAN tags" {
		t.Errorf("%+v", h)
	}
}

func TestLinkInfo(t *testing.T) {
	info := func(kind string, proto uint16, id uint16) []byte {
		data := append(attr(unix.IFLA_VLAN_ID, native.AppendUint16(nil, id)), attr(unix.IFLA_VLAN_PROTOCOL, binary.BigEndian.AppendUint16(nil, proto))...)
		return append(attrString(unix.IFLA_INFO_KIND, kind), attr(unix.IFLA_INFO_DATA, data)...)
	}
	for _, row := range []struct {
		info []byte
		kind string
		tag  uint16
	}{
		{info("vlan", 0x8100, 100), "vlan", 100},
		{info("vlan", 0x88a8, 7), "vlan", TagAD | 7},
		{info("macvlan", 0x88a8, 7), "macvlan", 0},
		{attrString(unix.IFLA_INFO_KIND, "bridge"), "bridge", 0},
		{append(attrString(unix.IFLA_INFO_KIND, "vlan"), attr(unix.IFLA_INFO_DATA, attr(unix.IFLA_VLAN_ID, []byte{1}))...), "vlan", 0},
		{nil, "", 0},
	} {
		if kind, tag := parseLinkInfo(row.info); kind != row.kind || tag != row.tag {
			t.Errorf("% x: %q %#x, want %q %#x", row.info, kind, tag, row.kind, row.tag)
		}
	}
}
