package connsync

import (
	"net/netip"
	"testing"
	"time"

	"vipd/internal/lb"
)

// What a connection costs of all that needs no kernel: ns/op and allocs/op are of one.

// many are connections of as many clients.
func many(n int) []Conn {
	all := make([]Conn, n)
	for i := range all {
		all[i] = Conn{Protocol: lb.TCP, Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 1000),
			Virtual: netip.MustParseAddrPort("10.0.8.9:80"), Real: netip.MustParseAddrPort("10.0.8.12:80"), State: lb.Established, Timeout: 900, Flags: NoOutput | Flags(lb.Route)}
	}
	return all
}

// each has fn work on so many of all at a time, b.N in all.
func each(b *testing.B, all []Conn, fn func([]Conn)) {
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; left -= len(all) {
		fn(all[:min(left, len(all))])
	}
}

func BenchmarkPack(b *testing.B) {
	p := Packer{MaxLen: 1472}
	each(b, many(2000), func(all []Conn) {
		for i := range all {
			p.Add(&all[i])
		}
		p.Flush()
		p.Take()
	})
}

func BenchmarkDecode(b *testing.B) {
	p := Packer{MaxLen: 1472}
	all := many(2000)
	for i := range all {
		p.Add(&all[i])
	}
	p.Flush()
	datagrams, conns := p.Take(), make([]Conn, 0, len(all))
	each(b, all, func(all []Conn) {
		conns = conns[:0]
		for _, d := range datagrams {
			if len(conns) < len(all) {
				Decode(d, 0, func(c Conn) { conns = append(conns, c) }, func(why Reason) { b.Fatal(why) })
			}
		}
	})
}

// BenchmarkStream is both ends of one: a look that finds every connection changed, its datagrams, and what the other makes of them.
func BenchmarkStream(b *testing.B) {
	for name, key := range map[string][]byte{"open": nil, "signed": []byte("of at least sixteen bytes")} {
		b.Run(name, func(b *testing.B) {
			now, conns := time.Unix(1000, 0), many(2000)
			cfg := StreamConfig{Key: key, Interval: 100 * time.Millisecond, MaxLen: 1332, Threshold: 3, Ticks: ticks}
			x := NewStream(now, cfg)
			y := NewStream(now.Add(time.Microsecond), cfg)
			got := 0
			swap := func() {
				for quiet := false; !quiet; {
					quiet = true
					for _, s := range []*Stream{x, y} {
						s.Tick(now)
						for _, e := range s.Take() {
							switch e := e.(type) {
							case Send:
								quiet = false
								if s == x {
									y.Receive(now, e.Datagram)
								} else {
									x.Receive(now, e.Datagram)
								}
							case Learn:
								got += len(e.Conns)
							}
						}
					}
				}
			}
			for range 10 {
				now = now.Add(cfg.Interval)
				swap()
			}
			state := lb.Established
			want := 0
			each(b, conns, func(all []Conn) {
				now = now.Add(cfg.Interval)
				state = lb.Established + lb.FinWait - state
				x.Begin(now, len(conns))
				for i := range all {
					if x.Look(0, i, Sight{Generation: 1, Packets: 3, Timeout: 900 * tick, Expires: 900 * tick, Protocol: lb.TCP, State: state}) {
						x.Tell(now, all[i])
						want++
					}
				}
				x.End(now)
				swap()
			})
			if got != want || want < b.N/2 {
				b.Errorf("%d told, %d learned", want, got)
			}
		})
	}
}
