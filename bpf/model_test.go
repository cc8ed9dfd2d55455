package bpf

import (
	"flag"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
)

var rushFor = flag.Duration("rush", 3*time.Second, "how long the tests with many CPUs go on, each")

// TestModelAgreesWhateverTheCPUsDo gives each of eight goroutines clients of its own, in a table that they share, with sweeps,
// the timer, removals and time in between. What nobody else can have touched must be as its owner's model says: forwarded or
// not, to which real server, in which state; and in the end all of it, once.
func TestModelAgreesWhateverTheCPUsDo(t *testing.T) {
	r := newRig(t, 4)
	m := &model{crowd: crowd{rig: r}, next: stateTable(t), removals: map[uint32]*removal{}, began: time.Now()}
	for i, scheduler := range []LbScheduler{LbSchedulerSCHED_RR, LbSchedulerSCHED_WLC, LbSchedulerSCHED_SH} {
		at := netip.AddrPortFrom(vip.Addr(), uint16(80+i))
		s := r.serve(at, tcpProto, scheduler)
		for range 3 {
			real := s.add(2)
			m.reals = append(m.reals, real)
			m.removals[real] = &removal{}
		}
		m.services = append(m.services, at)
	}
	r.test(r.StartSweep, make([]byte, 14))
	var flows []*flow
	var wg sync.WaitGroup
	before, end := m.total(), time.Now().Add(*rushFor)
	for g := range 8 {
		own := make([]*flow, 8) // all flows of all have room in one region
		for i := range own {
			own[i] = &flow{from: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 50, byte(g), byte(i)}), 1000), to: m.services[i%3]}
		}
		flows = append(flows, own...)
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 9))
			for time.Now().Before(end) && !t.Failed() {
				m.step(rnd, own[rnd.IntN(len(own))])
			}
		})
	}
	wg.Wait()
	if got := m.total() - before; got != m.packets.Load() {
		t.Errorf("%d packets were counted, %d were run", got, m.packets.Load())
	}
	for _, f := range flows {
		age := m.now() - f.touched
		if m.removals[f.real].begun.Load() != f.over || !f.lives || age > float64(ipvsTimeouts().Tcp[f.state])-2*ticksPerSecond {
			continue
		}
		if c, found := m.find(f); !found || c.state() != f.state || c.Real != f.real {
			t.Errorf("in the end the table has %+v, the model %+v", c, *f)
		}
	}
	m.settle()
	t.Logf("%d answers were foretold, %d could not be; %d found no lock", m.certain.Load(), m.open.Load(), m.busy.Load())
	if m.certain.Load() < m.open.Load() {
		t.Error("the model knew too little")
	}
}

type model struct {
	crowd
	next     map[uint8][]int // by TCP flags, by state
	removals map[uint32]*removal
	began    time.Time
	offset   atomic.Uint32
	time     sync.RWMutex // held for writing while time leaps

	certain, open, busy atomic.Uint64
}

// removal counts the walks that end a real server's connections: when they begin, and when they are over.
type removal struct{ begun, over atomic.Uint64 }

// flow is a client's connection as its owner believes it to be.
type flow struct {
	from, to netip.AddrPort
	lives    bool
	state    int
	real     uint32
	touched  float64 // ticks
	over     uint64  // removals of its real server that were over when its last packet was sent
}

// stateTable reads what a client's packet does to a connection of direct routing.
func stateTable(t *testing.T) map[uint8][]int {
	t.Helper()
	text, err := os.ReadFile("testdata/input_only.txt")
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(string(text)), "\n")
	all := map[uint8][]int{}
	for i, event := range strings.Fields(rows[0])[1:] {
		flags, known := map[string]uint8{"SYN": syn, "FIN": fin | ack, "ACK": ack, "RST": rst}[event]
		if !known {
			continue
		}
		all[flags] = make([]int, len(stateNames))
		for _, row := range rows[1:] {
			words := strings.Fields(row)
			all[flags][stateNumber(words[0])] = stateNumber(words[1+i])
		}
	}
	if len(all) != 4 {
		t.Fatalf("input_only.txt has events %s", rows[0])
	}
	return all
}

func stateNumber(name string) int {
	for i, n := range stateNames {
		if n == name {
			return i
		}
	}
	panic("no state " + strconv.Quote(name))
}

func (m *model) step(rnd *rand.Rand, f *flow) {
	switch n := rnd.IntN(1000); {
	case n < 4:
		m.sweep()
	case n < 7:
		real := m.reals[rnd.IntN(len(m.reals))]
		m.removals[real].begun.Add(1)
		m.order(m.Forget, LbOrder{Real: real})
		m.removals[real].over.Add(1)
	case n < 20:
		m.leap(uint32(rnd.IntN(20 * ticksPerSecond)))
	default:
		m.send(f, []uint8{syn, syn, ack, ack, ack, fin | ack, rst}[rnd.IntN(7)])
	}
}

func (m *model) leap(ticks uint32) {
	m.time.Lock()
	defer m.time.Unlock()
	m.offset.Add(ticks)
	m.tune(func(t *LbTunables) { t.Offset += ticks })
}

func (m *model) now() float64 {
	return time.Since(m.began).Seconds()*tableHZ/32 + float64(m.offset.Load()) // config.h: a tick is 2^5 jiffies
}

// send passes one packet and compares. What another could have changed is looked up afterwards.
func (m *model) send(f *flow, flags uint8) {
	m.time.RLock()
	defer m.time.RUnlock()
	age, timeout := m.now()-f.touched, float64(ipvsTimeouts().Tcp[f.state])
	over := make(map[uint32]uint64, len(m.removals))
	for real, r := range m.removals {
		over[real] = r.over.Load()
	}
	o := ebpf.RunOptions{Data: frame{from: f.from, to: f.to, flags: flags}.bytes(), DataOut: make([]byte, 128)}
	verdict, err := m.Lb.Run(&o)
	if err != nil {
		m.Errorf("run: %v", err)
		return
	}
	m.packets.Add(1)
	unsure := f.lives && (m.removals[f.real].begun.Load() != f.over || age > timeout-2*ticksPerSecond && age < timeout+2*ticksPerSecond)
	was := *f
	if f.lives && age > timeout {
		f.lives = false
	}
	opened := flags == syn && (!f.lives || f.state == timeWait || f.state == closed)
	switch {
	case verdict == xdpDrop:
		m.busy.Add(1)
		m.look(f)
		return
	case unsure:
		m.open.Add(1)
		m.look(f)
		return
	case opened && verdict == xdpTX:
		f.lives, f.state, f.real = true, synRecv, uint32(o.DataOut[5])
		m.certain.Add(1)
	case f.lives && verdict == xdpTX && uint32(o.DataOut[5]) == f.real:
		f.state = m.next[flags][f.state]
		m.certain.Add(1)
	case !f.lives && verdict == xdpPass:
		m.certain.Add(1)
	default:
		m.Errorf("%v, %#x, %.0f ticks after %+v: verdict %d, to % x", f.from, flags, age, was, verdict, o.DataOut[:6])
	}
	f.touched, f.over = m.now(), over[f.real]
	if m.packets.Load()%32 != 0 || !f.lives {
		return
	}
	if c, found := m.find(f); m.removals[f.real].begun.Load() == f.over && (!found || c.state() != f.state || c.Real != f.real) {
		m.Errorf("%v, %#x, after %+v: the table has %+v, the model %+v", f.from, flags, was, c, *f)
	}
}

// look makes the table's word the model's. A line whose time has come may lie there yet; it is none.
func (m *model) look(f *flow) {
	overs := map[uint32]uint64{} // as they were before: a removal that goes on may still come upon the line
	for real, r := range m.removals {
		overs[real] = r.over.Load()
	}
	c, found := m.find(f)
	left := float64(int32(c.Expires - m.tick()))
	if f.lives = found && left > 0; !f.lives {
		f.state, f.real = none, m.reals[0]
	} else {
		f.state, f.real = c.state(), c.Real
	}
	f.over, f.touched = overs[f.real], m.now()
	if f.lives {
		f.touched -= float64(ipvsTimeouts().Tcp[f.state]) - left
	}
}

func (m *model) find(f *flow) (LbConn, bool) {
	for i := range uint32(m.regions) {
		bytes, err := m.Regions.LookupBytes(i)
		if err != nil {
			m.Error(err)
		}
		for _, c := range unsafe.Slice((*LbConn)(unsafe.Pointer(&bytes[0])), LbNumberREGION_LINES) {
			if c.phase() == LbPhasePHASE_LIVE && c.Addr[0] == addr4(f.from.Addr()) && c.from() == f.from.Port() && c.toPort() == f.to.Port() {
				return c, true
			}
		}
	}
	return LbConn{}, false
}
