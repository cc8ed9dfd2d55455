package xdp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"

	"vipd/bpf"
	"vipd/internal/connsync"
	"vipd/internal/lb"
	"vipd/internal/plane"
	"vipd/internal/plane/planetest"
)

// another makes this program one of another layout until the test is over, or until back is called.
func another(t *testing.T) (back func()) {
	t.Helper()
	was := layout
	layout++
	back = func() { layout = was }
	t.Cleanup(back)
	return back
}

// shown are connections without the count of their packets, which a change of the layout does not keep, and when each of them ends.
func shown(t *testing.T, p *Plane) (all []string, ends map[string]time.Time) {
	t.Helper()
	ends = map[string]time.Time{}
	for _, c := range conns(t, p) {
		name := fmt.Sprint(c.Protocol, c.Client, c.Virtual, c.Real, c.Forward, c.State, c.Template, c.Assured)
		all = append(all, name)
		ends[name] = time.Now().Add(c.Expires)
	}
	slices.Sort(all)
	return all, ends
}

func withoutPersist(reals []plane.Real) []plane.Real {
	all := slices.Clone(reals)
	for i := range all {
		all[i].Persist = 0
	}
	return all
}

// TestAnotherLayoutIsTakenOver: with services, connections, counters, settings and interfaces, by a program of another layout, and by
// the first one again.
func TestAnotherLayoutIsTakenOver(t *testing.T) {
	near, _ := cable(t)
	opts := small
	opts.PinDir = pinDir(t)
	first := opened(t, opts)
	sticky := planetest.Web
	sticky.Persistence, sticky.Wild = 10*time.Minute, lb.WildOf(24, false)
	drained := planetest.Server(14, 3)
	do(t, first, add(sticky, planetest.Server(12, 1), planetest.Server(13, 2), drained)...)
	drained.Weight = 0
	do(t, first, plane.Op{Verb: plane.EditReal, Service: sticky, Real: drained})
	do(t, first, add(planetest.DNS, planetest.Server(12, 1))...)
	if err := errors.Join(first.SetTimeouts(lb.Timeouts{UDP: 700 * time.Second}), first.Set("sloppy_tcp", 1)); err != nil {
		t.Fatal(err)
	}
	traffic := runner{first}
	for i := range uint16(20) {
		traffic.Connect(t, sticky, port(40000+i))
	}
	traffic.Connect(t, planetest.DNS, port(40001))
	_, to := traffic.pass(t, sticky.ServiceKey, port(40000), "A")
	if err := first.Zero(&planetest.DNS.ServiceKey); err != nil {
		t.Fatal(err)
	}
	traffic.Connect(t, planetest.DNS, port(40002))
	if _, err := first.Attach(near); err != nil {
		t.Fatal(err)
	}
	ifi, err := net.InterfaceByName(near)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := first.Read()
	listed, ends := shown(t, first)
	program := programOn(t, near)
	kill(first)

	back := another(t)
	if err := Adoptable(opts); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		p := opened(t, opts)
		m, ok := p.Migrated()
		if !ok || m.Connections != len(listed) || m.Lost != 0 || !p.Adopted() {
			t.Errorf("round %d: %+v, %v", round, m, ok)
		}
		after, err := p.Read()
		if err != nil {
			t.Fatal(err)
		}
		for i := range before { // a template is held by nothing then, as one that another director has told
			if before[i].Service != after[i].Service || before[i].Total != after[i].Total || !slices.Equal(withoutPersist(before[i].Reals), withoutPersist(after[i].Reals)) {
				t.Errorf("round %d: before %+v\nafter %+v", round, before[i], after[i])
			}
		}
		again, end := shown(t, p)
		if d := cmp.Diff(listed, again); d != "" {
			t.Errorf("round %d: %s", round, d)
		}
		for name, at := range ends { // a tick and a moment of reading on either side; a template that was held gets its whole time
			if off := end[name].Sub(at); off < -3*time.Second || off > 3*time.Second && !strings.Contains(name, " true") {
				t.Errorf("round %d: %s ends %s off", round, name, off)
			}
		}
		if last := p.services[sticky.ServiceKey].reals[2].lastWeight; last != 3 {
			t.Errorf("round %d: the drained one had weight %d", round, last)
		}
		if d, _ := p.Timeouts(); d.UDP != 700*time.Second {
			t.Errorf("round %d: timeouts %+v", round, d)
		}
		if s, _ := p.Settings(); s["sloppy_tcp"] != 1 {
			t.Errorf("round %d: settings %v", round, s)
		}
		verdict, now := runner{p}.pass(t, sticky.ServiceKey, port(40000), "A")
		if verdict != xdpTX || now != to {
			t.Errorf("round %d: verdict %d, to %x; before to %x", round, verdict, now, to)
		}
		before, _ = p.Read()
		_, ends = shown(t, p)
		if next := programOn(t, near); next == program || next == 0 || !slices.Equal(p.Attached(), []int{ifi.Index}) {
			t.Errorf("round %d: program %d at the interface, it was %d; attached %v", round, next, program, p.Attached())
		}
		if _, err := os.Stat(opts.PinDir + "~"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("round %d: the other layout is still there: %v", round, err)
		}
		sweeps(t, p)
		program = programOn(t, near)
		if round == 0 {
			kill(p)
			back()
		}
	}
}

// TestFULLNATOfAnotherLayoutIsTakenOver: each connection goes on from its local end, and the PROXY header is not sent again.
func TestFULLNATOfAnotherLayoutIsTakenOver(t *testing.T) {
	opts := small
	opts.PinDir = pinDir(t)
	first := opened(t, opts)
	s4, r4, c4 := rewriting(t, false, true)
	s6, r6, c6 := rewriting(t, true, true)
	do(t, first, append(add(s4, r4), add(s6, r6)...)...)
	ends := map[netip.AddrPort]netip.AddrPort{}
	for i := range uint16(10) {
		for _, one := range []struct {
			s      lb.Service
			r      lb.Real
			client netip.AddrPort
		}{{s4, r4, netip.AddrPortFrom(c4.Addr(), 40000+i)}, {s6, r6, netip.AddrPortFrom(c6.Addr(), 40000+i)}} {
			end := sentFrom(t, first, one.s.ServiceKey, one.client, "S")
			answer(t, first, one.s, one.r, end)
			ends[one.client] = end
			if again := sentFrom(t, first, one.s.ServiceKey, one.client, "A"); again != end {
				t.Fatalf("from %v, then from %v", end, again)
			}
		}
	}
	kill(first)
	back := another(t)
	for round := range 2 {
		p := opened(t, opts)
		if m, ok := p.Migrated(); !ok || m.Connections != len(ends) || m.Lost != 0 {
			t.Errorf("round %d: %+v, %v", round, m, ok)
		}
		for client, end := range ends {
			s := s4
			if client.Addr().Is6() {
				s = s6
			}
			if got := sentFrom(t, p, s.ServiceKey, client, "A"); got != end {
				t.Errorf("round %d: %v goes on from %v, want %v", round, client, got, end)
			}
		}
		for _, c := range streamed(t, p) {
			if (c.Begun != connsync.Begun{State: connsync.ProxyDue, Initial: 1}) {
				t.Errorf("round %d: %+v", round, c)
			}
		}
		if round == 0 {
			kill(p)
			back()
		}
	}
}

// TestWhatIsLeftOfAHalfDoneChangeTakesNoInterfaceAway: a process is killed when the links have a second pin.
func TestWhatIsLeftOfAHalfDoneChangeTakesNoInterfaceAway(t *testing.T) {
	near, _ := cable(t)
	opts := small
	opts.PinDir = pinDir(t)
	first := opened(t, opts)
	if _, err := first.Attach(near); err != nil {
		t.Fatal(err)
	}
	temp := opts.PinDir + "~"
	if err := errors.Join(os.Mkdir(temp, 0o700), pinAlso(opts.PinDir, temp)); err != nil {
		t.Fatal(err)
	}
	if len(pinned(temp)) != 1 {
		t.Fatalf("pinned: %v", pinned(temp))
	}
	kill(first)
	second := opened(t, opts)
	if programOn(t, near) == 0 || len(second.Attached()) != 1 {
		t.Error("the interface is without a program")
	}
	if _, err := os.Stat(temp); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is there: %v", temp, err)
	}
}

// TestMembersAreFoundByTheirNames: moved, widened, new and gone ones, also within arrays.
func TestMembersAreFoundByTheirNames(t *testing.T) {
	number := func(size uint32) btf.Type { return &btf.Int{Name: fmt.Sprintf("u%d", size*8), Size: size} }
	member := func(name string, at uint32, of btf.Type) btf.Member {
		return btf.Member{Name: name, Type: of, Offset: btf.Bits(at * 8)}
	}
	pair := &btf.Struct{Name: "pair", Size: 4, Members: []btf.Member{member("x", 0, number(2)), member("y", 2, number(2))}}
	riap := &btf.Struct{Name: "pair", Size: 4, Members: []btf.Member{member("y", 0, number(2)), member("x", 2, number(2))}}
	theirs := &btf.Struct{Name: "s", Size: 20, Members: []btf.Member{member("old", 0, number(4)), member("a", 4, number(4)), member("b", 8, number(2)),
		member("pairs", 12, &btf.Array{Type: pair, Nelems: 2})}}
	ours := &btf.Struct{Name: "s", Size: 24, Members: []btf.Member{member("b", 0, number(4)), member("a", 4, number(4)), member("new", 8, number(4)),
		member("pairs", 12, &btf.Array{Type: riap, Nelems: 3})}}
	s, err := shapeOf(theirs, ours)
	if err != nil {
		t.Fatal(err)
	}
	got := s.of([]byte{1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 0, 0, 10, 11, 12, 13, 20, 21, 22, 23})
	want := []byte{6, 7, 0, 0, 2, 3, 4, 5, 0, 0, 0, 0, 12, 13, 10, 11, 22, 23, 20, 21, 0, 0, 0, 0}
	if !slices.Equal(got, want) {
		t.Errorf("\n%v, want\n%v", got, want)
	}
	if _, err := shapeOf(ours, theirs); err == nil {
		t.Error("a number that does not fit was taken")
	}
	if name := lacks(theirs, ours); name != "new" {
		t.Errorf("it lacks %q", name)
	}
}

// TestEveryMapThatIsCopiedHasItsTypes: a later program finds members by the names that a map's BTF has.
func TestEveryMapThatIsCopiedHasItsTypes(t *testing.T) {
	p := opened(t, small)
	for _, name := range []string{bpf.LbMapServices, bpf.LbMapPools, bpf.LbMapMembers, bpf.LbMapReals, bpf.LbMapClasses, bpf.LbMapTuning, bpf.LbMapLinks,
		bpf.LbMapStations, bpf.LbMapPeers, bpf.LbMapRegions, bpf.LbMapRealCounters, bpf.LbMapServiceIndex, bpf.LbMapServiceIndex6} {
		all, err := types(p.maps[name])
		if err != nil || all == nil {
			t.Errorf("map %s: %v, %v", name, all, err)
		}
	}
}
