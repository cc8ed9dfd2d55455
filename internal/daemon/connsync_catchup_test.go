package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"vipd/internal/conf"
	"vipd/internal/connsync"
	"vipd/internal/lb"
	"vipd/internal/need"
	"vipd/internal/plane"
	"vipd/internal/plane/xdp"
)

// catchUp is how many connections the director that goes on has; VIPD_CATCH_UP says another number.
func catchUp(t *testing.T) int {
	text := os.Getenv("VIPD_CATCH_UP")
	if text == "" {
		return 20_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// realDirector is one with a packet path's table, on an address of loopback.
type realDirector struct {
	*peering
	plane *xdp.Plane
	loop  *locked
	mu    sync.Mutex
	cause string // why it holds back
	used  int    // lines of its table when it might take over first
	free  time.Time
}

func newRealDirector(t *testing.T, name, own, other string, lines int) *realDirector {
	t.Helper()
	dir := filepath.Join("/sys/fs/bpf", "catchup"+strconv.Itoa(os.Getpid()), name)
	p, err := xdp.Open(xdp.Options{PinDir: dir, TableSize: uint32(lines), Services: 16, Reals: 64})
	if err != nil {
		t.Fatal(err)
	}
	s := lb.Service{Scheduler: "rr", ServiceKey: lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:80")}}
	r := lb.Real{Addr: netip.MustParseAddrPort("10.0.8.12:80"), Forward: lb.Route, Weight: 1}
	if err := p.Apply([]plane.Op{{Verb: plane.AddService, Service: s}, {Verb: plane.AddReal, Service: s, Real: r}}); err != nil {
		t.Fatal(err)
	}
	d := &realDirector{plane: p, loop: &locked{}, cause: noPeer}
	sync := newSyncing(events{slog.New(slog.NewTextHandler(io.Discard, nil))}, realPlane{Plane: p}, d.loop.ask)
	cfg := conf.ConnectionSync{Source: netip.MustParseAddr(own), Peers: []netip.Addr{netip.MustParseAddr(other)}, Port: conf.PeerPort}
	d.peering = newPeering(sync, cfg, func(_ context.Context, cause string) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.cause = cause; cause == "" && d.free.IsZero() {
			d.free = time.Now()
			_ = d.loop.ask(func() error { d.used, _ = p.Room(); return nil })
		}
	}, func() bool { return true })
	t.Cleanup(func() {
		_ = d.loop.ask(func() error { d.end(); d.loop.ended = true; return nil })
		sync.wait()
		if err := p.Remove(); err != nil {
			t.Error(err)
		}
		os.Remove(filepath.Dir(dir))
	})
	return d
}

// realPlane is a packet path that only its table is used of.
type realPlane struct{ *xdp.Plane }

func (d *realDirector) begin() {
	_ = d.loop.ask(func() error { d.start(time.Now(), listenPeers); return nil })
}

// ownAddresses are two of loopback that no other process has.
func ownAddresses() (one, two string) {
	pid := os.Getpid()
	at := fmt.Sprintf("127.%d.%d.%d", 64+pid>>14, pid>>6&0xff, pid<<2&0xff)
	first := netip.MustParseAddr(at).Next()
	return first.String(), first.Next().String()
}

// fill makes connections as if their packets had come.
func (d *realDirector) fill(t *testing.T, n int) {
	t.Helper()
	for first := 0; first < n; first += 8192 {
		var conns []connsync.Conn
		for i := first; i < min(first+8192, n); i++ {
			conns = append(conns, connsync.Conn{Protocol: lb.TCP, Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(60 + i>>16), byte(i >> 8), byte(i)}), 1024),
				Virtual: netip.MustParseAddrPort("10.0.8.9:80"), Real: netip.MustParseAddrPort("10.0.8.12:80"), State: lb.Established, Timeout: 900})
		}
		err := d.plane.Learn(conns, func(int, connsync.Sight) {}, func(_ connsync.Conn, why connsync.Reason) { t.Errorf("refused: %s", why) })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhoReturnsMayTakeOverOnlyWhenItHasAll: over sockets, into a packet path's table. VIPD_CATCH_UP=1000000 is the long run.
func TestWhoReturnsMayTakeOverOnlyWhenItHasAll(t *testing.T) {
	need.BPF(t)
	n := catchUp(t)
	one, two := ownAddresses()
	a := newRealDirector(t, "a", one, two, 4*n)
	b := newRealDirector(t, "b", two, one, 4*n)
	a.fill(t, n)
	a.begin()
	began := time.Now()
	b.begin()
	for end := time.Now().Add(4 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		b.mu.Lock()
		free, used, cause := b.free, b.used, b.cause
		b.mu.Unlock()
		if !free.IsZero() {
			t.Logf("%d connections: caught up after %s", n, free.Sub(began).Round(time.Millisecond))
			if used < n {
				t.Errorf("it might have taken over with %d of %d connections", used, n)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatalf("it has not caught up: %s", cause)
		}
	}
	_ = a.loop.ask(func() error {
		st := a.peering.status(time.Now())[0]
		t.Logf("%+v", st)
		if st.TheyRefused != 0 || st.Resyncs != 0 {
			t.Errorf("%+v", st)
		}
		return nil
	})
	_ = b.loop.ask(func() error {
		if len(b.counts.refused) > 0 {
			t.Errorf("refused: %v", b.counts.refused)
		}
		return nil
	})
}
