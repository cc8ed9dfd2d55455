package xdp

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"vipd/internal/connsync"
	"vipd/internal/lb"
	"vipd/internal/need"
	"vipd/internal/plane"
)

// changes is how many connections change in a second.
const changes = 50_000

// toldToMany makes datagrams of changes connections, all in one state.
func toldToMany(state lb.State) [][]byte {
	p := connsync.Packer{MaxLen: 1472}
	for i := range changes {
		c := connsync.Conn{Protocol: lb.TCP, Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 60, byte(i >> 8), byte(i)}), uint16(1024+i>>16)),
			Virtual: netip.MustParseAddrPort("10.0.8.9:80"), Real: netip.MustParseAddrPort("10.0.8.12:80"), State: state, Timeout: 900}
		if state != lb.Established {
			c.Flags = connsync.Inactive
		}
		p.Add(&c)
	}
	p.Flush()
	return p.Take()
}

// BenchmarkFiftyThousandChanges is what a second of both sides costs when so many connections change: a backup reads datagrams and
// learns; a master looks at the table and packs what it tells. core-% is the part of one processor.
func BenchmarkFiftyThousandChanges(b *testing.B) {
	need.BPF(b)
	dir := filepath.Join("/sys/fs/bpf", "syncbench"+strconv.Itoa(os.Getpid()), "one")
	p, err := Open(Options{PinDir: dir, TableSize: 1 << 18})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := p.Remove(); err != nil {
			b.Error(err)
		}
		os.Remove(filepath.Dir(dir))
	})
	for _, op := range add(syncService("tcp 10.0.8.9:80", 0), real12(80, lb.Route)) {
		if err := p.Apply([]plane.Op{op}); err != nil {
			b.Fatal(err)
		}
	}
	states := [][][]byte{toldToMany(lb.Established), toldToMany(lb.FinWait)}
	learn := func(datagrams [][]byte) (learned, refused int) {
		for _, d := range datagrams {
			var conns []connsync.Conn
			connsync.Decode(d, 0, func(c connsync.Conn) { conns = append(conns, c) }, func(connsync.Reason) { refused++ })
			if err := p.Learn(conns, func(int, connsync.Sight) { learned++ }, func(connsync.Conn, connsync.Reason) { refused++ }); err != nil {
				b.Fatal(err)
			}
		}
		return learned, refused
	}
	b.Run("backup", func(b *testing.B) {
		for i := range b.N {
			if learned, refused := learn(states[i%2]); learned != changes || refused != 0 {
				b.Fatalf("%d learned, %d refused", learned, refused)
			}
		}
		b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(time.Second)*100, "core-%")
	})
	b.Run("master", func(b *testing.B) {
		s := connsync.NewSelector(connsync.DefaultPolicy, p.Ticks)
		s.Retell = true
		for i := range b.N {
			b.StopTimer()
			learn(states[i%2])
			b.StartTimer()
			packer, told := connsync.Packer{MaxLen: 1472}, 0
			for look := range 10 { // a second's looks: nine find nothing
				for cursor := 0; cursor >= 0; {
					if cursor, err = p.Look(cursor, s.Look, func(c connsync.Conn) { told++; packer.Add(&c) }, func() bool { return true }); err != nil {
						b.Fatal(err)
					}
				}
				packer.Flush()
				if n := len(packer.Take()); look > 0 && n != 0 {
					b.Fatalf("%d datagrams at look %d: nothing has changed since", n, look)
				}
			}
			if i > 0 && told != changes {
				b.Fatalf("%d told", told)
			}
		}
		b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(time.Second)*100, "core-%")
	})
}

// BenchmarkLook is a look at a table of the usual size that finds nothing to tell, with so many connections in it.
func BenchmarkLook(b *testing.B) {
	need.BPF(b)
	dir := filepath.Join("/sys/fs/bpf", "lookbench"+strconv.Itoa(os.Getpid()), "one")
	p, err := Open(Options{PinDir: dir})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := p.Remove(); err != nil {
			b.Error(err)
		}
		os.Remove(filepath.Dir(dir))
	})
	for _, op := range add(syncService("tcp 10.0.8.9:80", 0), real12(80, lb.Route)) {
		if err := p.Apply([]plane.Op{op}); err != nil {
			b.Fatal(err)
		}
	}
	have := 0
	for _, n := range []int{1000, 100_000, 1_000_000} {
		var conns []connsync.Conn
		for ; have < n; have++ {
			conns = append(conns, connsync.Conn{Protocol: lb.TCP, Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(60 + have>>16), byte(have >> 8), byte(have)}), 1024),
				Virtual: netip.MustParseAddrPort("10.0.8.9:80"), Real: netip.MustParseAddrPort("10.0.8.12:80"), State: lb.Established, Timeout: 900})
		}
		s := connsync.NewSelector(connsync.DefaultPolicy, p.Ticks)
		if err := p.Learn(conns, s.Learned, func(connsync.Conn, connsync.Reason) {}); err != nil { // a part of the table may be full

			b.Fatal(err)
		}
		look := func() (told int) {
			for cursor := 0; cursor >= 0; {
				if cursor, err = p.Look(cursor, s.Look, func(connsync.Conn) { told++ }, func() bool { return true }); err != nil {
					b.Fatal(err)
				}
			}
			return told
		}
		look()
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for range b.N {
				if told := look(); told != 0 {
					b.Fatalf("%d are told", told)
				}
			}
		})
	}
}
