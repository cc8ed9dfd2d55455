package health

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var peer1, peer2 = netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")

// paired is a service of two real servers, checked every 6 s with a retry, started, that adopts what peers say.
func paired(s Service, c Checker) *Pools {
	c.Retry, c.DelayLoop = 1, 6*time.Second
	cfg := oneService(s, checked(rip1, c), checked(rip2, c))
	cfg.AdoptPeers = true
	p := New(cfg, nil)
	p.Start(epoch)
	p.Take()
	return p
}

func tell(p *Pools, now time.Time, peer netip.Addr, up1, up2 bool) {
	p.Told(now, peer, []Verdict{{Service: siteKey, Real: rip1, Up: up1, Why: "refused"}, {Service: siteKey, Real: rip2, Up: up2, Why: "refused"}})
}

// runs has every check that is due find the same.
func runs(p *Pools, now time.Time, ok bool) {
	p.Tick(now)
	for _, probe := range probes(p) {
		p.Observe(now, probe.ID, Result{OK: ok, Why: "no answer"})
	}
}

func in(p *Pools) (all []bool) {
	for _, r := range p.Status()[0].Reals {
		all = append(all, r.InPool)
	}
	return all
}

func TestAFreshDirectorBeginsWithWhatItsPeersFound(t *testing.T) {
	for _, row := range []struct {
		name  string
		alpha bool
		tell  func(p *Pools)
		want  []bool
		rules string // of the first
	}{
		{"a peer has one down", false, func(p *Pools) { tell(p, at(0), peer1, false, true) }, []bool{false, true}, "peer"},
		{"under alpha a peer has one up", true, func(p *Pools) { tell(p, at(0), peer1, true, false) }, []bool{true, false}, "peer"},
		{"of two peers one has it up", false, func(p *Pools) { tell(p, at(0), peer1, false, false); tell(p, at(0), peer2, true, false) }, []bool{true, false}, "peer"},
		{"nobody has told", true, func(*Pools) {}, []bool{false, false}, "alpha"},
		{"of nobody's server", true, func(p *Pools) { p.Told(at(0), peer1, []Verdict{{Service: siteKey, Real: sorryAddr, Up: true}}) }, []bool{false, false}, "alpha"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := paired(Service{}, Checker{Alpha: row.alpha})
			row.tell(p)
			if got := in(p); !slices.Equal(got, row.want) {
				t.Errorf("%v, want %v", got, row.want)
			}
			if got, _, _ := strings.Cut(story(t, p, 0), " "); got != row.rules {
				t.Errorf("decides %s, want %s", got, row.rules)
			}
			runs(p, at(time.Second), true) // its own checks count for more
			tell(p, at(2*time.Second), peer1, false, false)
			if got := in(p); !slices.Equal(got, []bool{true, true}) || story(t, p, 0) != "check" {
				t.Errorf("after its own checks: %v, %s", got, story(t, p, 0))
			}
		})
	}
}

func TestWhatAPeerHasUpIsDefendedByRetries(t *testing.T) {
	p := paired(Service{}, Checker{Alpha: true})
	tell(p, at(0), peer1, true, true)
	runs(p, at(time.Second), false)
	if got := in(p); !slices.Equal(got, []bool{true, true}) {
		t.Errorf("after the first failure: %v", got)
	}
	runs(p, at(2*time.Second), false)
	if got := in(p); !slices.Equal(got, []bool{false, false}) {
		t.Errorf("after the second: %v", got)
	}
	told := 0
	for _, e := range p.Take() {
		if _, down := e.(RealDown); down {
			told++
		}
	}
	if told != 2 {
		t.Errorf("%d are told to be down", told)
	}
}

func TestWithoutTheOptionPeersAreShownAlone(t *testing.T) {
	p := New(oneService(Service{}, checked(rip1, Checker{}), checked(rip2, Checker{})), nil)
	p.Start(epoch)
	tell(p, at(0), peer1, false, true)
	tell(p, at(time.Second), peer1, true, true)
	tell(p, at(time.Second), peer2, false, true)
	st := p.Status()[0].Reals[0]
	if !st.InPool || len(st.Peers) != 2 || !st.Peers[0].Up || st.Peers[1].String() != "peer 10.0.0.3 says down: refused" {
		t.Errorf("%+v", st)
	}
}

// Who finds no real server while a peer does is not to take over; who finds one is, and so is who has lost as much as the peer.
func TestADirectorIsShortOfWhatItsPeerHas(t *testing.T) {
	p := paired(Service{}, Checker{})
	short := func(now time.Time) string {
		service, peer, is := p.Short(now)
		if !is {
			return ""
		}
		return service + " " + peer.String()
	}
	want := func(now time.Time, want string) {
		t.Helper()
		if got := short(now); got != want {
			t.Errorf("at %s short of %q, want %q", now.Sub(epoch), got, want)
		}
	}
	all := "[10.0.8.9]:tcp:80 10.0.0.2"
	tell(p, at(0), peer1, true, true)
	want(at(0), "") // it takes its own for up until its checks say otherwise
	for now := at(time.Second); !slices.Equal(in(p), []bool{false, false}); now = now.Add(time.Second) {
		if now.After(at(60 * time.Second)) {
			t.Fatal("its checks do not fail")
		}
		runs(p, now, false)
	}
	want(at(30*time.Second), all)
	tell(p, at(30*time.Second), peer1, false, false)
	want(at(30*time.Second), "") // the peer has lost them too
	tell(p, at(31*time.Second), peer1, false, true)
	want(at(31*time.Second), all)
	want(at(31*time.Second).Add(PeerKept+time.Second), "") // what a peer no longer says does not count
	tell(p, at(100*time.Second), peer1, true, true)
	for now := at(100 * time.Second); !slices.Contains(in(p), true); now = now.Add(time.Second) {
		if now.After(at(160 * time.Second)) {
			t.Fatal("its checks do not succeed")
		}
		runs(p, now, true)
	}
	want(at(130*time.Second), "")
}

func TestOnlyWhatWasFoundIsTold(t *testing.T) {
	p := paired(Service{}, Checker{})
	tell(p, at(0), peer1, false, true) // which is no finding of this director
	if all := p.Verdicts(at(0)); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	p.Tick(at(time.Second))
	all := probes(p)
	p.Observe(at(time.Second), all[0].ID, Result{OK: true})
	got := p.Verdicts(at(3 * time.Second))
	if len(got) != 1 || !got[0].Up || got[0].Real != rip1 || got[0].Age != 2*time.Second || got[0].For != 2*time.Second {
		t.Errorf("%+v", got)
	}
	p.Observe(at(3*time.Second), all[1].ID, Result{Why: "refused"})
	if got := p.Verdicts(at(3 * time.Second)); len(got) != 1 {
		t.Errorf("what a peer said is told as found: %+v", got)
	}
	runs(p, at(4*time.Second), false)
	if got := p.Verdicts(at(4 * time.Second)); len(got) != 2 || got[1].Up || !strings.Contains(got[1].Why, "no answer") {
		t.Errorf("%+v", got)
	}
}

// A director that has not checked, as it had no address of the service, begins with what the one before found.
func TestWhoTakesOverBeginsWithWhatThePeerFound(t *testing.T) {
	p := paired(Service{HASuspend: true}, Checker{})
	p.Address(at(0), vip.Addr(), true)
	runs(p, at(time.Second), true)
	p.Address(at(2*time.Second), vip.Addr(), false)
	if all := p.Verdicts(at(2 * time.Second)); len(all) != 0 {
		t.Errorf("who does not check tells %+v", all)
	}
	tell(p, at(100*time.Second), peer1, false, true)
	if got := in(p); !slices.Equal(got, []bool{true, true}) {
		t.Errorf("before the takeover: %v", got)
	}
	p.Address(at(101*time.Second), vip.Addr(), true)
	if got := in(p); !slices.Equal(got, []bool{false, true}) || story(t, p, 0) != "peer" {
		t.Errorf("after it: %v, %s", got, story(t, p, 0))
	}
	p.Address(at(102*time.Second), vip.Addr(), false)
	p.Address(at(400*time.Second), vip.Addr(), true) // what was told is too old
	if got := in(p); !slices.Equal(got, []bool{false, true}) {
		t.Errorf("with old news: %v", got)
	}
}

func TestWhoIsCutOffSaysThatAPeerSeesThemWell(t *testing.T) {
	p := paired(Service{MaxEject: 50}, Checker{})
	runs(p, at(time.Second), true)
	p.Take()
	tell(p, at(7*time.Second), peer1, true, true)
	runs(p, at(7*time.Second), false)
	runs(p, at(8*time.Second), false)
	var lines []string
	for _, e := range p.Take() {
		if say, is := e.(Say); is {
			lines = append(lines, say.Text)
		}
	}
	if text := strings.Join(lines, "\n"); !strings.Contains(text, "fail at once, seen from here; peer 10.0.0.2 has 2 of them up") {
		t.Error(text)
	}
	tell(p, at(9*time.Second), peer1, true, true)
	e, _ := p.Explain(at(10*time.Second), siteKey)
	if says := e.Rulings[1][0].Says; !strings.HasSuffix(says, "; peer 10.0.0.2 says up") {
		t.Error(says)
	}
	e, _ = p.Explain(at(10*time.Second+PeerKept), siteKey)
	if says := e.Rulings[1][0].Says; !strings.HasSuffix(says, " are out") {
		t.Errorf("of a peer that has gone: %s", says)
	}
}

func TestPeersThatHaveGoneLeaveRoomForOthers(t *testing.T) {
	p := paired(Service{}, Checker{})
	for i := range byte(mostPeers) {
		tell(p, at(0), netip.AddrFrom4([4]byte{10, 0, 1, i}), true, true)
	}
	tell(p, at(PeerKept), peer1, true, true)
	if n := len(p.Status()[0].Reals[0].Peers); n != mostPeers {
		t.Errorf("%d are kept, of more", n)
	}
	tell(p, at(PeerKept+time.Second), peer1, true, true)
	if all := p.Status()[0].Reals[0].Peers; len(all) != 1 || all[0].Peer != peer1 {
		t.Errorf("%+v", all)
	}
}

func TestAReloadKeepsWhatPeersSaid(t *testing.T) {
	p := paired(Service{}, Checker{})
	tell(p, at(0), peer1, false, true)
	cfg := oneService(Service{}, checked(rip1, Checker{DelayLoop: 6 * time.Second, Retry: 1}), checked(rip2, Checker{DelayLoop: 6 * time.Second, Retry: 1}))
	cfg.AdoptPeers = true
	p.Update(at(500*time.Millisecond), cfg)
	if got := in(p); !slices.Equal(got, []bool{false, true}) || story(t, p, 0) != "peer" {
		t.Errorf("%v, %s", got, story(t, p, 0))
	}
}
