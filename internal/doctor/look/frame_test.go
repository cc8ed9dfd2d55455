package look

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"vipd/internal/doctor"
	"vipd/internal/realserver"
)

var (
	us4, them4 = netip.MustParseAddr("10.0.8.25"), netip.MustParseAddr("10.0.8.9")
	us6, them6 = netip.MustParseAddr("2001:db8:8::25"), netip.MustParseAddr("2001:db8:8::9")
)

// TestWhatIsSentIsReadBack: every packet, alone and in each tunnel, and as an ICMP error quotes it.
func TestWhatIsSentIsReadBack(t *testing.T) {
	for _, ends := range [][2]netip.Addr{{us4, them4}, {us6, them6}} {
		src, dst := netip.AddrPortFrom(ends[0], 20001), netip.AddrPortFrom(ends[1], 80)
		for name, p := range map[string]struct {
			bytes []byte
			proto uint8
			dport uint16
		}{
			"SYN":      {segment(src, dst, flagSYN, 7, 0), protoTCP, 80},
			"datagram": {datagram(src, dst, []byte("hello")), protoUDP, 80},
			"echo":     {echo(ends[0], ends[1], 20001, 1400), map[bool]uint8{false: protoICMP, true: protoICMP6}[ends[0].Is6()], 0},
		} {
			q := question{from: src, to: netip.AddrPortFrom(ends[1], p.dport), proto: p.proto}
			h := parse(p.bytes, 0)
			if !q.same(h) || p.proto == protoTCP && (h.flags != flagSYN || h.mss != 1460 || h.seq != 7) {
				t.Errorf("%s of %s: %+v", name, ends[0], h)
			}
			for _, tunnel := range []string{"ipip", "gue", "gre"} {
				n := realserver.Need{Tunnel: tunnel, TunPort: 6080}
				for _, outer := range [][2]netip.Addr{{us4, them4}, {us6, them6}} {
					if w := parse(wrap(outer[0], outer[1], n, p.bytes), 0); w == nil || !q.same(w.inside) {
						t.Errorf("%s in %s of %s: %+v", name, tunnel, outer[0], w)
					}
				}
			}
			quote := append([]byte{3, 2, 0, 0, 0, 0, 0, 0}, wrap(us4, them4, realserver.Need{Tunnel: "ipip"}, p.bytes)...)
			e := parse(packet(them4, us4, protoICMP, quote), 0)
			if e == nil || !e.isError() || e.about == nil || !q.same(e.about.inside) || !e.answer().NoProtocol {
				t.Errorf("%s quoted: %+v", name, e)
			}
		}
	}
}

func TestWhoHasIsAskedWithoutAClaim(t *testing.T) {
	mac := [6]byte{2, 0, 0, 0, 0, 1}
	a := arrival{src: mac, typ: etherARP, body: whoHas(mac, netip.Addr{}, them4)[14:]}
	if addr, _, _, ok := a.claimed(); ok {
		t.Errorf("the question claims %s", addr)
	}
	for _, from := range []netip.Addr{us6, {}} {
		b := whoHas(mac, from, them6)
		h := parse(b[14:], 0)
		if h == nil || h.src.IsUnspecified() == from.IsValid() || h.icmp != 135 || b[14+7] != 255 {
			t.Errorf("%+v", h)
		}
		if option := b[14+40+24:]; from.IsValid() && !slices.Equal(option, append([]byte{1, 1}, mac[:]...)) {
			t.Errorf("its options are %x", option)
		}
	}
}

// TestABusyDirectorForgetsNoAnswerAndNoClaim: of more frames than are kept none is passed over by who waits for one of them, and who
// said that he has an address is known to the end.
func TestABusyDirectorForgetsNoAnswerAndNoClaim(t *testing.T) {
	w := &wire{raw: -1, known: map[tell]bool{}, wake: make(chan struct{})}
	mac := [6]byte{2, 0, 0, 0, 0, 1}
	claim := whoHas(mac, netip.Addr{}, them4)
	copy(claim[14+14:], them4.AsSlice()) // whose sender has it
	w.keep(7, claim)
	w.keep(7, claim)
	const many = 3 * mostArrivals
	seen := make(chan int)
	go func() {
		n := 0
		w.await(time.Minute, func(a *arrival) (doctor.Answer, bool) {
			if a.ip != nil {
				n++
			}
			return doctor.Answer{}, a.ip != nil && a.ip.dport == 81
		})
		seen <- n
	}()
	frameTo := func(port uint16) []byte {
		return frame(mac, mac, segment(netip.AddrPortFrom(us4, 1), netip.AddrPortFrom(them4, port), flagSYN, 1, 0))
	}
	other, last := frameTo(80), frameTo(81)
	for range many {
		w.keep(7, other)
	}
	w.keep(7, last)
	if n := <-seen; n < mostArrivals/2 {
		t.Errorf("only %d frames were looked at", n)
	}
	if all := w.claims(); len(all) != 1 || all[0].ifindex != 7 || len(w.seen) > mostArrivals {
		t.Errorf("%d claims, %d frames", len(all), len(w.seen))
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(segment(netip.AddrPortFrom(us4, 1), netip.AddrPortFrom(them4, 2), flagSYN|flagACK, 1, 2))
	f.Add(wrap(us6, them6, realserver.Need{Tunnel: "gue", TunPort: 6080}, echo(us4, them4, 1, 0)))
	f.Add(packet(them4, us4, protoICMP, append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, datagram(netip.AddrPortFrom(us4, 1), netip.AddrPortFrom(them4, 2), nil)...)))
	f.Add(whoHas([6]byte{2}, netip.Addr{}, them6)[14:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if h := parse(b, 0); h != nil {
			h.answer()
			(&arrival{ip: h, body: b}).claimed()
		}
		(&arrival{typ: etherARP, body: b}).claimed()
	})
}
