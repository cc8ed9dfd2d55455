package plane

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// threeReals are those of the recorded picks: weights 3, 2, 1 in order of addition, so the newest has 1.
var threeReals = []MaglevReal{
	{netip.MustParseAddrPort("10.0.8.13:80"), 1}, {netip.MustParseAddrPort("10.0.8.12:80"), 2}, {netip.MustParseAddrPort("10.0.8.11:80"), 3}}

// What Linux 6.1 IPVS picked with these three servers for clients 10.50.0.1 and on, by scheduler mh with and without port.
func TestMaglevPicksAreThoseOfIPVS(t *testing.T) {
	want := []byte{13, 13, 13, 13, 13, 11, 11, 11, 12, 12, 13, 12, 12, 11, 11, 12, 11, 11, 11, 11} // mh-port, port 5000
	table := Maglev(false, threeReals)
	client := netip.MustParseAddr("10.50.0.1")
	for _, host := range want {
		slot := sipHash13(addrNumber(false, client)+5000, maglevOffset) % MaglevSlots
		if got := threeReals[table[slot]].Addr.Addr().As4()[3]; got != host {
			t.Errorf("client %s goes to %d, want %d", client, got, host)
		}
		client = client.Next()
	}
}

func share(table []int) map[int]int {
	n := map[int]int{}
	for _, at := range table {
		n[at]++
	}
	return n
}

func TestMaglevSharesAreTheWeights(t *testing.T) {
	for _, c := range []struct {
		name    string
		weights [3]int32
		want    [3]int
	}{
		{"equal", [3]int32{1, 1, 1}, [3]int{1365, 1364, 1364}},
		{"one, two, three", [3]int32{1, 2, 3}, [3]int{683, 1364, 2046}},
		{"a common divisor is nothing", [3]int32{10, 20, 30}, [3]int{683, 1364, 2046}},
		{"a server without weight has none", [3]int32{0, 1, 1}, [3]int{0, 2047, 2046}},
		{"a small weight beside great ones has one turn of 63", [3]int32{1, 1000, 1000}, [3]int{33, 2046, 2014}},
	} {
		t.Run(c.name, func(t *testing.T) {
			reals := append([]MaglevReal{}, threeReals...)
			for i := range reals {
				reals[i].Weight = c.weights[i]
			}
			n := share(Maglev(false, reals))
			for i, want := range c.want {
				if n[i] != want {
					t.Errorf("server %d has %d slots, want %d", i, n[i], want)
				}
			}
		})
	}
	for _, none := range [][]MaglevReal{nil, {{threeReals[0].Addr, 0}}} {
		if n := share(Maglev(false, none)); n[-1] != MaglevSlots {
			t.Errorf("%v: %v", none, n)
		}
	}
}

// A server that goes takes its clients along and hardly any other: that is what the table is for.
func TestMaglevMovesFewClientsOfOthers(t *testing.T) {
	var reals []MaglevReal
	for i := range byte(20) {
		reals = append(reals, MaglevReal{netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 8, 20 - i}), 80), 1})
	}
	before, after := Maglev(false, reals), Maglev(false, append(append([]MaglevReal{}, reals[:7]...), reals[8:]...))
	moved := 0
	for slot := range before {
		now := after[slot]
		if now >= 7 {
			now++
		}
		if before[slot] != 7 && now != before[slot] {
			moved++
		}
	}
	t.Logf("of 20 servers one went: %d of %d slots had it, %d others moved (%.1f %%)", share(before)[7], MaglevSlots, moved, 100*float64(moved)/MaglevSlots)
	if moved > MaglevSlots/10 {
		t.Errorf("%d slots of others moved", moved)
	}
}

// What Linux 6.1 IPVS does with a real server of IPv6 in a service of IPv4: the first word of its address alone counts.
func TestMaglevOfAnotherFamily(t *testing.T) {
	real6 := netip.MustParseAddrPort("[fd00:8::10]:80")
	for _, c := range []struct {
		name  string
		six   bool
		alike string
	}{
		{"behind IPv4", false, "253.0.0.8:80"}, {"behind IPv6", true, "253.0.0.24:80"},
	} {
		t.Run(c.name, func(t *testing.T) {
			mixed := append([]MaglevReal{{real6, 4}}, threeReals...)
			alike := append([]MaglevReal{{netip.MustParseAddrPort(c.alike), 4}}, threeReals...)
			if diff := cmp.Diff(Maglev(c.six, alike), Maglev(c.six, mixed)); diff != "" {
				t.Errorf("it has other slots than %s:\n%s", c.alike, diff)
			}
		})
	}
}
