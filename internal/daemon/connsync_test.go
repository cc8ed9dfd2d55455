package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vipd/internal/conf"
	"vipd/internal/connsync"
	"vipd/internal/host"
	"vipd/internal/lb"
	"vipd/internal/plane"
	"vipd/internal/vrrp"
)

// fakeTable is a plane with a list for its connection table.
type fakeTable struct {
	*plane.Memory
	lines   []connsync.Sight
	conns   []connsync.Conn
	learned []connsync.Conn
	unknown netip.Addr // a real server that is not configured
	awaits  time.Duration
}

func (f *fakeTable) Ticks(d time.Duration) uint32 { return uint32(d / time.Second) }

func (f *fakeTable) Look(cursor int, look func(uint32, int, connsync.Sight) bool, tell func(connsync.Conn), more func() bool) (int, error) {
	for i := cursor; i < len(f.lines); i++ {
		if !more() {
			return i, nil
		}
		if look(0, i, f.lines[i]) {
			tell(f.conns[i])
		}
	}
	return -1, nil
}

func (f *fakeTable) Room() (int, int) { return len(f.lines), 1 << 20 }

func (f *fakeTable) Learn(conns []connsync.Conn, taken func(int, connsync.Sight), refused func(connsync.Conn, connsync.Reason)) error {
	for _, c := range conns {
		if c.Real.Addr() == f.unknown {
			refused(c, connsync.UnknownServer)
			continue
		}
		f.learned = append(f.learned, c)
		taken(len(f.learned), connsync.Sight{Generation: 1})
	}
	return nil
}

// syncPipe is a group with one listener.
type syncPipe struct {
	ch     chan []byte
	closed chan struct{}
	once   sync.Once
	fail   error
	most   atomic.Int64 // datagrams that were sent at once
}

// pipeRoom is what a datagram has; the rest is cut off.
const pipeRoom = 1500

func (p *syncPipe) Send(datagrams [][]byte) (sent int, err error) {
	if p.fail != nil {
		return 0, p.fail
	}
	p.most.Store(max(p.most.Load(), int64(len(datagrams))))
	for _, b := range datagrams {
		select {
		case p.ch <- slices.Clone(b):
			sent++
		default:
			return sent, os.ErrDeadlineExceeded
		}
	}
	return sent, nil
}

func (p *syncPipe) Recv(take func([]byte)) error {
	select {
	case b := <-p.ch:
		take(b[:min(len(b), pipeRoom)])
		return nil
	case <-p.closed:
		return os.ErrClosed
	}
}

func (p *syncPipe) Close() error { p.once.Do(func() { close(p.closed) }); return nil }

func newSyncPipe() *syncPipe {
	return &syncPipe{ch: make(chan []byte, 1000), closed: make(chan struct{})}
}

// locked executes what a loop would.
type locked struct {
	sync.Mutex
	ended bool
}

func (l *locked) ask(fn func() error) error {
	l.Lock()
	defer l.Unlock()
	if l.ended {
		return errStopping
	}
	return fn()
}

// director is one with a table, whose wires are w.
func director(t *testing.T, w *syncPipe) (*syncing, *fakeTable, *locked) {
	t.Helper()
	table, l := &fakeTable{Memory: plane.NewMemory()}, &locked{}
	s := newSyncing(events{slog.New(slog.NewTextHandler(io.Discard, nil))}, table, l.ask)
	s.open = func(lb.SyncDaemon, uint16, int) (syncWire, error) { return w, nil }
	s.mtu = func(dev string) (int, error) {
		if dev == "nosuch0" {
			return 0, absent(&host.NoInterfaceError{Name: dev})
		}
		return ethernet(dev)
	}
	s.rouse = func(netip.Addr) (bool, error) { return false, nil }
	t.Cleanup(func() {
		_ = l.ask(func() error { s.end(); l.ended = true; return nil })
		s.wait()
	})
	return s, table, l
}

func (f *fakeTable) fill(n int) {
	for i := range n {
		c := connsync.Conn{Protocol: lb.TCP, Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 1000),
			Virtual: netip.MustParseAddrPort("10.0.8.9:80"), Real: netip.MustParseAddrPort("10.0.8.12:80"), State: lb.Established, Timeout: 900}
		f.conns = append(f.conns, c)
		f.lines = append(f.lines, connsync.Sight{Generation: 1, Packets: 3, Expires: 900, Timeout: 900, Protocol: lb.TCP, State: lb.Established})
	}
}

func TestWhatOneTableShowsTheOtherLearns(t *testing.T) {
	w := newSyncPipe()
	a, from, la := director(t, w)
	b, to, lb2 := director(t, w)
	from.fill(5000) // more than a burst
	if err := la.ask(func() error { return a.StartSync(lb.SyncDaemon{Master: true, Interface: "eth0", ID: 3}) }); err != nil {
		t.Fatal(err)
	}
	if err := lb2.ask(func() error { return b.StartSync(lb.SyncDaemon{Interface: "eth0", ID: 3}) }); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are learned", func() (done bool) {
		_ = lb2.ask(func() error { done = len(to.learned) == 5000; return nil })
		return done
	})
	_ = lb2.ask(func() error {
		if !slices.Equal(from.conns, to.learned) {
			t.Error("what was learned is not what was told")
		}
		if b.counts.learned != 5000 || b.counts.heard != 125 { // 40 in each
			t.Errorf("%+v", b.counts)
		}
		return nil
	})
	eventually(t, "the sender has counted", func() (done bool) {
		_ = la.ask(func() error { done = a.counts.told == 5000 && a.counts.sent == 125 && a.counts.unsent == 0; return nil })
		return done
	})
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("not within 30 s: %s", what)
}

// TestTheSettingsOfTheSyncDaemonHold: sync_ports and sync_sock_size from its start on, the others at once.
func TestTheSettingsOfTheSyncDaemonHold(t *testing.T) {
	w := newSyncPipe()
	a, table, l := director(t, w)
	table.fill(5000)
	set := func(name string, value uint32) {
		if err := table.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	var ports []uint16
	a.open = func(d lb.SyncDaemon, port uint16, buffer int) (syncWire, error) {
		if ports = append(ports, port); buffer != 1<<20 {
			t.Errorf("a buffer of %d bytes", buffer)
		}
		return w, nil
	}
	_ = l.ask(func() error {
		set("sync_ports", 4)
		set("sync_sock_size", 1<<20)
		set("sync_version", 0)
		set("sync_qlen_max", 3)
		return a.StartSync(lb.SyncDaemon{Master: true, Interface: "eth0", ID: 3, Port: 9000})
	})
	if !slices.Equal(ports, []uint16{9000, 9001, 9002, 9003}) {
		t.Errorf("ports %v", ports)
	}
	told := func() (n int) { _ = l.ask(func() error { n = int(a.counts.told); return nil }); return n }
	eventually(t, "all are told", func() bool { return told() == 5000 })
	datagrams := func(version0 bool) (conns int) {
		for {
			select {
			case d := <-w.ch:
				if (d[0] != 0) != version0 {
					t.Errorf("% x", d[:8])
				}
				connsync.Decode(d, 3, func(connsync.Conn) { conns++ }, func(why connsync.Reason) { t.Error(why) })
			default:
				return conns
			}
		}
	}
	all := 0
	eventually(t, "all have come", func() bool { all += datagrams(true); return all == 5000 })
	if most := w.most.Load(); most > 3 {
		t.Errorf("%d datagrams waited", most)
	}
	_ = l.ask(func() error {
		set("sync_version", 1)
		if err := plane.SetThreshold(table, 0, 1); err != nil {
			t.Fatal(err)
		}
		table.lines[7].Packets++
		return nil
	})
	eventually(t, "every packet is told", func() bool { return told() == 5001 })
	eventually(t, "it has come", func() bool { return datagrams(false) == 1 })
	_ = l.ask(func() error {
		set("sync_persist_mode", 1)
		table.lines[7].Packets++
		table.lines[7].Controlled = true
		table.lines[8].Packets++
		return nil
	})
	eventually(t, "a client that is not persistent is told", func() bool { return told() == 5002 })
}

func TestAPeerThatTalksNonsenseIsCounted(t *testing.T) {
	w := newSyncPipe()
	s, table, l := director(t, w)
	table.unknown = netip.MustParseAddr("10.0.8.99")
	_ = l.ask(func() error { return s.StartSync(lb.SyncDaemon{Interface: "eth0", ID: 3}) })
	p := connsync.Packer{ID: 3, MaxLen: 1472}
	c := connsync.Conn{Protocol: lb.TCP, Client: netip.MustParseAddrPort("10.0.4.1:9"), Virtual: netip.MustParseAddrPort("10.0.8.9:80"),
		Real: netip.MustParseAddrPort("10.0.8.99:80"), State: lb.Established, Timeout: 60}
	p.Add(&c)
	p.Flush()
	if _, err := w.Send(append(p.Take(), []byte("x"), []byte("nonsense"), make([]byte, 5000))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are heard", func() (done bool) { _ = l.ask(func() error { done = s.counts.heard == 4; return nil }); return done })
	_ = l.ask(func() error {
		if got := fmt.Sprint(s.counts.refused); got != "map[short-datagram:1 wrong-size:2]" {
			t.Error(got)
		}
		all := s.unbound(time.Now())
		if len(all) != 1 || all[0].Client != c.Client || all[0].StateName() != "ESTABLISHED" || s.counts.learned != 0 {
			t.Errorf("%+v", all)
		}
		table.unknown = netip.Addr{} // it is configured
		s.sample(time.Now())
		if len(table.learned) != 1 || s.waiting.Len() != 0 {
			t.Errorf("%v, %d wait", table.learned, s.waiting.Len())
		}
		return nil
	})
}

func TestHalvesStartAndStopByTheirRules(t *testing.T) {
	s, _, l := director(t, newSyncPipe())
	_ = l.ask(func() error {
		for _, step := range []struct {
			do   func() error
			want error
		}{
			{func() error { return s.StopSync(true) }, plane.ErrNoSync},
			{func() error { return s.StartSync(lb.SyncDaemon{Master: true, Interface: "nosuch0"}) }, plane.ErrNoInterface},
			{func() error { return s.StartSync(lb.SyncDaemon{Master: true, Interface: "eth0"}) }, nil},
			{func() error { return s.StartSync(lb.SyncDaemon{Master: true, Interface: "eth0"}) }, plane.ErrSyncRuns},
			{func() error { return s.StopSync(true) }, nil},
			{func() error { return s.StopSync(true) }, plane.ErrNoSync},
		} {
			if err := step.do(); !errors.Is(err, step.want) || (err == nil) != (step.want == nil) {
				t.Errorf("%v, want %v", err, step.want)
			}
		}
		return nil
	})
}

func TestWhatCannotBeSentIsCounted(t *testing.T) {
	w := newSyncPipe()
	w.fail = errors.New("network is down")
	s, table, l := director(t, w)
	table.fill(50)
	_ = l.ask(func() error { return s.StartSync(lb.SyncDaemon{Master: true, Interface: "eth0"}) })
	eventually(t, "it is counted", func() (done bool) { _ = l.ask(func() error { done = s.counts.unsent == 2; return nil }); return done })
}

// keepalived: the VRID is the sync ID unless one is said; a master tells and a backup listens; without an instance it is both.
func TestTheSyncDaemonFollowsItsInstance(t *testing.T) {
	cfg := &conf.Config{Instances: []vrrp.Config{{Name: "VI_1", VRID: 51}}}
	parts := func(w syncWish) (s string) {
		for _, master := range []bool{true, false} {
			if d, runs := w.wants(master); runs {
				s += fmt.Sprintf("%s %d ", d.Part(), d.ID)
			}
		}
		return s
	}
	for _, tc := range []struct {
		daemon conf.SyncDaemon
		master bool
		want   string
	}{
		{conf.SyncDaemon{ID: -1}, true, ""},
		{conf.SyncDaemon{Interface: "eth0", ID: -1}, true, "master 0 backup 0 "},
		{conf.SyncDaemon{Interface: "eth0", ID: 7}, false, "master 7 backup 7 "},
		{conf.SyncDaemon{Interface: "eth0", ID: -1, Instance: "VI_1"}, true, "master 51 "},
		{conf.SyncDaemon{Interface: "eth0", ID: -1, Instance: "VI_1"}, false, "backup 51 "},
		{conf.SyncDaemon{Interface: "eth0", ID: 0, Instance: "VI_1"}, false, "backup 0 "},
		{conf.SyncDaemon{Interface: "eth0", ID: 0, Instance: "VI_2"}, true, ""},
	} {
		cfg.Global.SyncDaemon = tc.daemon
		if got := parts(syncWishOf(cfg, func(string) bool { return tc.master })); got != tc.want {
			t.Errorf("%+v, master %v: %q, want %q", tc.daemon, tc.master, got, tc.want)
		}
	}
}

func TestHalvesTurnWithTheInstanceAndWithTheFile(t *testing.T) {
	s, _, l := director(t, newSyncPipe())
	m := &pool{events: s.events, plane: &fakePlane{}, syncs: s}
	running := func() (list string) {
		all, _ := s.Syncs()
		for _, d := range all {
			list += d.Part() + " "
		}
		return list
	}
	w := syncWish{daemon: lb.SyncDaemon{Interface: "eth0", ID: 51}, instance: "VI_1"}
	_ = l.ask(func() error {
		for _, step := range []struct {
			change func()
			want   string
		}{
			{func() {}, "backup "},
			{func() { w.master = true }, "master "},
			{func() { w.master = false }, "backup "},
			{func() { w.instance = "" }, "master backup "},
			{func() { w.daemon.Interface = "nosuch0" }, ""},
			{func() { w.daemon.Interface = "eth0" }, "master backup "},
			{func() { w = syncWish{} }, ""},
		} {
			step.change()
			m.wish(w)
			if got := running(); got != step.want {
				t.Errorf("%+v: %q, want %q", w, got, step.want)
			}
			if failed := w.daemon.Interface == "nosuch0"; failed != (m.syncFailed != "") {
				t.Errorf("%+v: failed %q", w, m.syncFailed)
			}
		}
		if err := s.StartSync(lb.SyncDaemon{Interface: "eth0"}); err != nil {
			t.Fatal(err)
		}
		m.wish(syncWish{})
		if got := running(); got != "backup " {
			t.Errorf("what was started by hand is stopped: %q", got)
		}
		return nil
	})
}

func TestClientsOfNATAreMadeKnownWithinBounds(t *testing.T) {
	var asked []netip.Addr
	via := false
	r := newRouser(func(a netip.Addr) (bool, error) { asked = append(asked, a); return via, nil })
	now := time.Unix(1000, 0)
	conn := func(i int, forward lb.Forward) connsync.Conn {
		return connsync.Conn{Protocol: lb.TCP, Flags: connsync.Flags(forward), Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 9)}
	}
	r.learned(now, []connsync.Conn{conn(1, lb.Masq), conn(1, lb.Masq), conn(2, lb.Masq), conn(3, lb.Route)})
	if len(asked) != 2 {
		t.Errorf("%v", asked)
	}
	via = true
	r.learned(now.Add(2*rouseAgain), []connsync.Conn{conn(1, lb.Masq), conn(2, lb.Masq)})
	if len(asked) != 3 {
		t.Errorf("behind one gateway: %v", asked)
	}
	via, asked = false, nil
	for i := range 70000 {
		r.learned(now.Add(4*rouseAgain), []connsync.Conn{conn(i%65536, lb.Masq)})
	}
	if len(asked) != rouseRate || len(r.known) > rouseMost {
		t.Errorf("%d asked, %d known", len(asked), len(r.known))
	}
}

// TestClientsAreSpreadOverThePorts also where their own ports are all even, as Linux gives them to who connects.
func TestClientsAreSpreadOverThePorts(t *testing.T) {
	const clients = 4096
	client := map[string]func(i int) netip.AddrPort{
		"one address, even ports": func(i int) netip.AddrPort {
			return netip.AddrPortFrom(netip.MustParseAddr("10.0.4.200"), uint16(32768+2*i))
		},
		"one port, of IPv4": func(i int) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 1024)
		},
		"one port, of IPv6": func(i int) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0xfd, 14: byte(i >> 8), 15: byte(i)}), 1024)
		},
		"templates of networks": func(i int) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 0)
		},
	}
	for name, of := range client {
		for _, ports := range []int{2, 4, 8, 16, 32, 64} {
			told := make([]int, ports)
			for i := range clients {
				told[partOfClient(of(i))%ports]++
			}
			if least, most := slices.Min(told), slices.Max(told); least < clients/ports/2 || most > clients/ports*2 {
				t.Errorf("%s, %d ports: %d to %d", name, ports, least, most)
			}
		}
	}
}
