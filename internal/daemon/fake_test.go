package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"vipd/internal/health"
	"vipd/internal/host"
	"vipd/internal/lb"
	"vipd/internal/plane"
	"vipd/internal/plane/xdp"
	"vipd/internal/vrrp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeHost is a machine with one interface whose cable is a channel.
type fakeHost struct {
	mu        sync.Mutex
	up        bool
	dead      bool // its driver says that there is no link
	addrs     map[netip.Prefix]bool
	announced []netip.Addr
	wire      *fakeWire
	refuse    error         // of AddAddress
	slow      time.Duration // that it takes
	notes     []string
	missing   map[string]bool // interfaces that are not there
	fakeFollowed
}

func newFakeHost() *fakeHost {
	return &fakeHost{up: true, addrs: map[netip.Prefix]bool{}, wire: &fakeWire{in: make(chan []byte, 64), out: make(chan []byte, 1024), closed: make(chan struct{})}}
}

func (h *fakeHost) Link(name string) (host.Link, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	up, known := h.up, name == "eth0"
	if !known {
		up, known = h.links[name], h.links != nil
	}
	known = known && !h.missing[name]
	if !known {
		return host.Link{}, &host.NoInterfaceError{Name: name}
	}
	return host.Link{Index: 2, Name: name, Up: up, Running: up, Ethernet: true}, nil
}

func (h *fakeHost) FindLinkbeat(string, host.Linkbeat) (host.Linkbeat, error) {
	return host.LinkbeatMII, nil
}

func (h *fakeHost) LinkbeatUp(string, host.Linkbeat) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.dead
}

func (h *fakeHost) Source(_ string, v6 bool, _ []netip.Addr) (netip.Addr, error) {
	if v6 {
		return netip.MustParseAddr("fe80::25"), nil
	}
	return netip.MustParseAddr("10.0.8.25"), nil
}

func (h *fakeHost) IsOwn(a netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.missing[a.String()]
}

func (h *fakeHost) AddAddress(a host.Address) error {
	time.Sleep(h.slow)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse != nil {
		return h.refuse
	}
	h.addrs[a.Prefix] = true
	return nil
}

func (h *fakeHost) DelAddress(a host.Address) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.addrs, a.Prefix)
	return nil
}

func (h *fakeHost) AddRoute(r host.NewRoute) error { return h.note("+" + r.String()) }
func (h *fakeHost) DelRoute(r host.NewRoute) error { return h.note("-" + r.String()) }
func (h *fakeHost) AddRule(r host.NewRule) error   { return h.note("+" + r.String()) }
func (h *fakeHost) DelRule(r host.NewRule) error   { return h.note("-" + r.String()) }

func (h *fakeHost) SetSysctl(name, value string) (string, error) {
	return "0", h.note(name + "=" + value)
}

func (h *fakeHost) Sysctl(string) (string, error) { return "0", nil }

func (h *fakeHost) VMACs() ([]host.VMAC, []string, error) { return nil, []string{"lo", "eth0"}, nil }

func (h *fakeHost) MakeVMAC(v host.VMAC) (bool, error) { return true, h.note("make " + v.Name) }
func (h *fakeHost) RemoveVMAC(name string) error       { return h.note("remove " + name) }
func (h *fakeHost) SwitchOn(name string) error         { return h.note("up " + name) }
func (h *fakeHost) Quiet(parents map[int]int) error    { return h.note(fmt.Sprint("quiet ", parents)) }

func (h *fakeHost) DropTo(all []netip.Addr) error { return h.note(fmt.Sprint("drop ", all)) }

// note keeps what was asked for besides addresses.
func (h *fakeHost) note(what string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notes = append(h.notes, what)
	return nil
}

func (h *fakeHost) HasAddress(a host.Address) (bool, error) { return h.holds(a.Prefix), nil }

func (h *fakeHost) holds(p netip.Prefix) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.addrs[p]
}

func (h *fakeHost) Announce(_ string, a netip.Addr) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.announced = append(h.announced, a)
	return nil
}

// announcements is how many have left.
func (h *fakeHost) announcements() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.announced)
}

func (h *fakeHost) OpenVRRP(host.Endpoint) (Wire, error) { return h.wire, nil }

func (h *fakeHost) Watch(ctx context.Context, _ func(host.Event)) error {
	<-ctx.Done()
	return nil
}

type fakeWire struct {
	in, out chan []byte
	closed  chan struct{}
	once    sync.Once
}

func (w *fakeWire) Send(p []byte, _ netip.Addr) error {
	w.out <- bytes.Clone(p)
	return nil
}

func (w *fakeWire) Recv(buf []byte) (int, error) {
	select {
	case p := <-w.in:
		return copy(buf, p), nil
	case <-w.closed:
		return 0, os.ErrClosed
	}
}

func (w *fakeWire) TryRecv(buf []byte) (int, error) {
	select {
	case p := <-w.in:
		return copy(buf, p), nil
	default:
		return 0, nil
	}
}

func (w *fakeWire) Interface() int  { return 2 }
func (w *fakeWire) Descriptor() int { return -1 }

func (w *fakeWire) Join(netip.Addr) error { return nil }

func (w *fakeWire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

// sent takes the adverts that have left since the last call.
func (w *fakeWire) sent(t *testing.T) (all []vrrp.Advert) {
	t.Helper()
	for {
		select {
		case p := <-w.out:
			a, err := vrrp.Parse(p)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, a)
		default:
			return all
		}
	}
}

// fakePlane is the memory plane with next hops.
type fakePlane struct {
	*plane.Memory
	hops      map[netip.Addr]xdp.Hop
	ports     map[int]xdp.Port
	stations  map[xdp.Station]int
	directors map[netip.Addr][6]byte
	removed   bool
	own       bool
}

func newFakePlane() *fakePlane {
	return &fakePlane{Memory: plane.NewMemory(), hops: map[netip.Addr]xdp.Hop{}}
}

func (p *fakePlane) Hops() []netip.Addr {
	var all []netip.Addr
	have, _ := p.Read()
	for _, pool := range have {
		for _, r := range pool.Reals {
			all = append(all, r.Addr.Addr())
		}
	}
	return all
}
func (p *fakePlane) NoteLink(int, [6]byte) error { return nil }

func (p *fakePlane) SetPorts(ports map[int]xdp.Port, stations map[xdp.Station]int) error {
	p.ports, p.stations = ports, stations
	return nil
}

func (p *fakePlane) SetDirectors(d map[netip.Addr][6]byte) error { p.directors = d; return nil }

func (p *fakePlane) SetHop(a netip.Addr, h xdp.Hop) error { p.hops[a] = h; return nil }
func (p *fakePlane) ClearHop(a netip.Addr) error          { delete(p.hops, a); return nil }
func (p *fakePlane) Sample(time.Time) error               { return nil }
func (p *fakePlane) Reasons() ([]xdp.Reason, error) {
	return []xdp.Reason{{Name: "forward_hit", Verdict: "forward", Packets: 7}}, nil
}
func (p *fakePlane) BalanceOwn(on bool) error { p.own = on; return nil }
func (p *fakePlane) OwnConnections() ([]xdp.Outcome, error) {
	return []xdp.Outcome{{Name: "sent", Count: 3}}, nil
}
func (p *fakePlane) Attach(string) (xdp.Mode, error) { return xdp.Native, nil }
func (p *fakePlane) TableSize() int                  { return 64 }
func (p *fakePlane) Remove() error                   { p.removed = true; return nil }

// fakeProber answers every check at once with what health says of its target.
type fakeProber struct {
	mu   sync.Mutex
	down map[netip.AddrPort]bool
}

func (f *fakeProber) set(a netip.AddrPort, down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down[a] = down
}

func (f *fakeProber) Start(c health.Checker, done func(health.Result)) {
	f.mu.Lock()
	r := health.Result{OK: !f.down[c.Target]}
	f.mu.Unlock()
	if !r.OK {
		r.Why = "connection refused"
	}
	go done(r)
}

// journal is a log that tests read.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) has(text string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Contains(j.buf.String(), text)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

func quiet(t *testing.T, w io.Writer) events {
	t.Helper()
	ev, err := newEvents(w, "text", false)
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

var (
	vip     = netip.MustParsePrefix("10.0.8.9/32")
	webKey  = lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:80")}
	real12  = netip.MustParseAddrPort("10.0.8.12:80")
	real13  = netip.MustParseAddrPort("10.0.8.13:80")
	errTest = errors.New("refused by the test")
)

func siteInstance() vrrp.Config {
	return vrrp.Config{Name: "VI_1", Interface: "eth0", VRID: 51, Priority: 100, AdvertInt: time.Second, AuthType: vrrp.AuthPass, AuthPass: "1111",
		VIPs: []vrrp.Address{{Prefix: vip}}}
}

func siteHealth() health.Config {
	check := func(a netip.AddrPort) health.Real {
		return health.Real{Real: lb.Real{Addr: a, Forward: lb.Route, Weight: 2}, Checkers: []health.Checker{{Kind: health.TCPCheck, Target: a,
			ConnectTimeout: 3 * time.Second, Retry: 3, DelayBeforeRetry: 3 * time.Second, DelayLoop: 6 * time.Second}}}
	}
	return health.Config{Services: []health.Service{{Service: lb.Service{ServiceKey: webKey, Scheduler: "wrr"}, DelayLoop: 6 * time.Second,
		Quorum: 1, Reals: []health.Real{check(real12), check(real13)}}}}
}
