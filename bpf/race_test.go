package bpf

import (
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// TestManyCPUs lets packets, expiry, sweeps, the timer and vanishing servers at one small table at once, and then holds the
// table against the counts: no connection in two lines, every count exact, every packet counted once.
func TestManyCPUs(t *testing.T) {
	for name, persist := range map[string]int{"connections": 0, "with templates": 3} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 4)
			c := &crowd{rig: r}
			for _, proto := range []uint8{tcpProto, udpProto} {
				for _, scheduler := range []LbScheduler{LbSchedulerSCHED_RR, LbSchedulerSCHED_WRR, LbSchedulerSCHED_SH} {
					at := netip.AddrPortFrom(vip.Addr(), 80+uint16(scheduler))
					s := r.serve(at, proto, scheduler)
					s.persist, s.netmask = persist, 0x00ffffff // the last byte aside
					for range 3 {
						c.reals = append(c.reals, s.add(2))
					}
					c.services = append(c.services, at)
				}
			}
			r.test(r.StartSweep, make([]byte, 14))
			c.rush(*rushFor)
			c.settle()
		})
	}
}

// TestEveryCPUAtFullSpeed is the same for one service, with frames that are made in the kernel: tens of times the packets, on
// so few connections that CPUs meet on a line all the time.
func TestEveryCPUAtFullSpeed(t *testing.T) {
	for name, persist := range map[string]int{"connections": 0, "with templates": 3} {
		t.Run(name, func(t *testing.T) {
			n := loadBench(t, int(LbNumberREGION_LINES))
			s := n.serve(vip, tcpProto, LbSchedulerSCHED_WRR)
			s.persist = persist
			c := &crowd{rig: n.rig, reals: []uint32{s.add(2), s.add(1)}}
			tuning := ipvsTimeouts()
			tuning.Tcp[closed] = 0 // a reset leaves a line that the next SYN, of anybody, takes over
			n.put(n.Tuning, 0, tuning)
			n.aim(frame{})
			n.assign(map[*ebpf.Variable]uint32{n.object.Flows: 64, n.object.Base: 0, n.object.Made: 1})
			n.put(n.object.RaceOn, 0, n.object.BenchPath)
			n.storm(c, *rushFor*2/3)
			c.settle()
		})
	}
}

// storm runs packets on all CPUs but lets a sweep or a vanishing server in between.
func (n *bench) storm(c *crowd, d time.Duration) {
	n.Helper()
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for g := range max(4, 2*runtime.NumCPU()) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 8))
			for time.Now().Before(end) {
				if _, err := n.object.RacePath.Run(&ebpf.RunOptions{Data: frame{}.bytes(), Repeat: 1 << 14}); err != nil {
					c.Errorf("run: %v", err)
				}
				switch rnd.IntN(8) {
				case 0:
					c.sweep()
				case 1:
					c.flip(c.reals[0])
				}
			}
		})
	}
	wg.Wait()
}

type crowd struct {
	*rig
	services []netip.AddrPort
	reals    []uint32
	packets  atomic.Uint64
}

func (c *crowd) rush(d time.Duration) {
	start := c.total()
	c.packets.Store(0)
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for g := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 7))
			for time.Now().Before(end) {
				c.act(rnd)
			}
		})
	}
	wg.Wait()
	if got := c.total() - start; got != c.packets.Load() {
		c.Errorf("%d packets were counted, %d were run", got, c.packets.Load())
	}
}

func (c *crowd) total() (n uint64) {
	for _, v := range c.reasonCounts() {
		n += v
	}
	return n
}

// act is mostly a packet of a random flow, and now and then something that happens to the table.
func (c *crowd) act(rnd *rand.Rand) {
	switch n := rnd.IntN(1000); {
	case n < 5:
		c.sweep()
	case n < 7:
		c.order(c.Forget, LbOrder{Real: c.reals[rnd.IntN(len(c.reals))]})
	case n < 12:
		c.flip(c.reals[rnd.IntN(len(c.reals))])
	case n < 32:
		t := get[LbTunables](c.rig, c.Tuning, 0)
		t.Offset += uint32(rnd.IntN(20 * ticksPerSecond))
		c.put(c.Tuning, 0, t)
	default:
		c.packet(rnd)
	}
}

func (c *crowd) packet(rnd *rand.Rand) {
	flags := [...]uint8{syn, syn, ack, ack, ack | psh, fin | ack, rst, 0}
	f := frame{
		proto: []uint8{tcpProto, udpProto}[rnd.IntN(2)], flags: flags[rnd.IntN(len(flags))], to: c.services[rnd.IntN(len(c.services))],
		from: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 50, byte(rnd.IntN(2)), byte(rnd.IntN(8))}), uint16(1000+rnd.IntN(4))),
	}
	// Once: a repeated run goes on with the frame as it was left, and begins anew after a signal.
	if _, err := c.Lb.Run(&ebpf.RunOptions{Data: f.bytes()}); err != nil {
		c.Errorf("run: %v", err)
	}
	c.packets.Add(1)
}

// flip makes a real server gone, or brings it back.
func (c *crowd) flip(real uint32) {
	r := get[LbReal](c.rig, c.Reals, real)
	r.Flags ^= uint8(LbRealFlagREAL_GONE)
	c.put(c.Reals, real, r)
}

// settle compares every count with what lies in the table. What was due is swept first, so that the timer finds nothing.
func (c *crowd) settle() {
	c.sweep()
	for range 3 {
		c.checkTable()
		want := map[uint32][3]uint32{}
		live := c.conns()
		for _, conn := range live {
			n := want[conn.Real]
			switch {
			case conn.flags()&LbConnFlagCONN_TEMPLATE != 0:
				n[2]++
			case conn.flags()&LbConnFlagCONN_INACTIVE != 0:
				n[1]++
			default:
				n[0]++
			}
			want[conn.Real] = n
		}
		for _, real := range c.reals {
			if got := c.counts(real); got != want[real] {
				c.Errorf("real server %d: active, inactive, persist %v; the table has %v", real, got, want[real])
			}
		}
		if len(live) == 0 {
			c.Log("the table was empty in the end")
		}
	}
	c.order(c.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
	for _, real := range c.reals {
		if got := c.counts(real); got != [3]uint32{} {
			c.Errorf("real server %d: %v after all connections have ended", real, got)
		}
	}
	c.Logf("%d packets: %v", c.total(), c.byName())
}

func (r *rig) byName() map[string]uint64 {
	all := map[string]uint64{}
	for i, n := range r.reasonCounts() {
		if n > 0 {
			all[LbReason(i).name()] = n
		}
	}
	return all
}
