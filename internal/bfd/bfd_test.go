package bfd

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"vipd/internal/loop"
)

var (
	_     loop.Machine = (*Sessions)(nil)
	epoch              = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	left               = netip.MustParseAddr("10.0.0.1")
	right              = netip.MustParseAddr("10.0.0.2")
)

func config(change ...func(*Config)) Config {
	cfg := Config{Name: "b", Neighbor: right, Source: left, MinRx: 10 * time.Millisecond, MinTx: 10 * time.Millisecond, IdleTx: time.Second, Multiplier: 5, TTL: 255}
	for _, f := range change {
		f(&cfg)
	}
	return cfg
}

// line is a cable between two machines in arithmetic time.
type line struct {
	t       *testing.T
	now     time.Time
	ends    [2]*Sessions
	cfgs    [2]Config
	cut     bool
	flights []flight
	changes []string // "0 up"
	sent    [2][]time.Time
	packets []Packet
}

type flight struct {
	at   time.Time
	to   int
	data []byte
}

func newLine(t *testing.T, change ...func(l, r *Config)) *line {
	l := &line{t: t, now: epoch}
	l.cfgs[0] = config()
	l.cfgs[1] = config(func(c *Config) { c.Neighbor, c.Source = left, right })
	for _, f := range change {
		f(&l.cfgs[0], &l.cfgs[1])
	}
	for i := range l.ends {
		l.ends[i] = New(rand.New(rand.NewPCG(uint64(i), 1)))
		l.ends[i].Set(l.now, []Config{l.cfgs[i]})
		l.drain(i)
	}
	return l
}

func (l *line) drain(i int) {
	for _, e := range l.ends[i].Take() {
		switch e := e.(type) {
		case Send:
			p, err := Parse(e.Packet)
			if err != nil {
				l.t.Fatalf("it sent %x: %v", e.Packet, err)
			}
			l.packets = append(l.packets, p)
			l.sent[i] = append(l.sent[i], l.now)
			if !l.cut && e.Session == "b" {
				l.flights = append(l.flights, flight{l.now.Add(100 * time.Microsecond), 1 - i, e.Packet})
			}
		case Change:
			l.changes = append(l.changes, string(rune('0'+i))+map[bool]string{true: " up", false: " down: " + e.Why}[e.Up])
		}
	}
}

func (l *line) run(d time.Duration) {
	for end := l.now.Add(d); ; {
		who, next := -1, end
		for i, s := range l.ends {
			if at := s.Next(); !at.IsZero() && !at.After(next) {
				who, next = i, at
			}
		}
		if len(l.flights) > 0 && !l.flights[0].at.After(next) {
			f := l.flights[0]
			l.flights, l.now = l.flights[1:], f.at
			l.ends[f.to].Receive(l.now, Arrival{From: l.cfgs[1-f.to].Source, To: l.cfgs[f.to].Source, TTL: 255, Data: f.data})
			l.drain(f.to)
			continue
		}
		if who < 0 {
			l.now = end
			return
		}
		l.now = next
		l.ends[who].Tick(l.now)
		l.drain(who)
	}
}

func (l *line) expect(when string, changes ...string) {
	l.t.Helper()
	if !slices.Equal(l.changes, changes) {
		l.t.Errorf("%s: %q, want %q", when, l.changes, changes)
	}
	l.changes = nil
}

func TestTwoSessionsComeUpAndNoticeWithinTheDetectionTime(t *testing.T) {
	l := newLine(t)
	l.run(3 * time.Second)
	l.expect("both speak", "0 up", "1 up")
	for i, s := range l.ends {
		if st := s.Status()[0]; st.State != Up || st.DetectAfter != 50*time.Millisecond || st.SendEvery != 10*time.Millisecond {
			t.Errorf("%d: %+v", i, st)
		}
	}
	l.run(10 * time.Second)
	l.expect("nothing happens")
	l.cut, l.flights = true, nil
	l.run(60 * time.Millisecond)
	slices.Sort(l.changes)
	l.expect("cut", "0 down: Control Detection Time Expired", "1 down: Control Detection Time Expired")
	l.run(time.Second)
	l.cut = false
	l.run(3 * time.Second)
	slices.Sort(l.changes)
	l.expect("healed", "0 up", "1 up")
}

func TestTheIntervalIsJitteredAndNeverLonger(t *testing.T) {
	for _, mult := range []uint8{5, 1} {
		l := newLine(t, func(a, b *Config) {
			a.Multiplier, a.MinTx, a.MinRx = mult, 100*time.Millisecond, 100*time.Millisecond
			b.MinRx = 100 * time.Millisecond
		})
		l.run(3 * time.Second)
		l.sent[0] = nil
		l.run(20 * time.Second)
		least, most := 75*time.Millisecond, 100*time.Millisecond
		if mult == 1 {
			most = 90 * time.Millisecond
		}
		for i := 1; i < len(l.sent[0]); i++ {
			if d := l.sent[0][i].Sub(l.sent[0][i-1]); d < least || d > most {
				t.Fatalf("multiplier %d: an interval of %s", mult, d)
			}
		}
		if len(l.sent[0]) < 150 {
			t.Errorf("%d packets", len(l.sent[0]))
		}
	}
}

func TestTheSlowerOneDecides(t *testing.T) {
	l := newLine(t, func(a, b *Config) {
		a.MinTx = 20 * time.Millisecond
		b.MinRx, b.MinTx, b.Multiplier = 300*time.Millisecond, 50*time.Millisecond, 3
	})
	l.run(4 * time.Second)
	if st := l.ends[0].Status()[0]; st.SendEvery != 300*time.Millisecond || st.DetectAfter != 150*time.Millisecond {
		t.Errorf("%+v", st)
	}
	if st := l.ends[1].Status()[0]; st.SendEvery != 50*time.Millisecond || st.DetectAfter != 1500*time.Millisecond {
		t.Errorf("%+v", st)
	}
}

func TestAPassiveSystemWaitsForTheOther(t *testing.T) {
	l := newLine(t, func(a, b *Config) { a.Passive, b.Passive = true, true })
	l.run(10 * time.Second)
	if len(l.packets) != 0 {
		t.Errorf("%d packets from two passive systems", len(l.packets))
	}
	l = newLine(t, func(a, _ *Config) { a.Passive = true })
	l.run(4 * time.Second)
	slices.Sort(l.changes)
	l.expect("one is active", "0 up", "1 up")
	l.cut, l.flights = true, nil
	l.run(100 * time.Millisecond)
	l.sent[0] = nil
	l.run(10 * time.Second)
	if len(l.sent[0]) > 1 {
		t.Errorf("the passive one sent %d packets to a neighbour that is gone", len(l.sent[0]))
	}
}

func TestAnAdministrativelyDownNeighbourIsNoNews(t *testing.T) {
	l := newLine(t)
	l.run(3 * time.Second)
	l.changes = nil
	s := l.ends[0].Status()[0]
	p := Packet{State: AdminDown, Diag: 7, DetectMult: 5, MyDiscr: s.RemoteDiscr, YourDiscr: s.Discr, MinTx: time.Second, MinRx: 10 * time.Millisecond}
	l.ends[0].Receive(l.now, Arrival{From: right, To: left, TTL: 255, Data: p.Append(nil)})
	l.drain(0)
	l.expect("AdminDown")
	if st := l.ends[0].Status()[0]; st.State != Down || st.Diag != NeighborDown || st.Discr == s.Discr {
		t.Errorf("%+v", st)
	}
}

func TestAReloadKeepsASessionUpAndPollsAboutNewTimers(t *testing.T) {
	l := newLine(t)
	l.run(3 * time.Second)
	l.changes, l.packets = nil, nil
	l.cfgs[0].MinTx, l.cfgs[0].MinRx = 200*time.Millisecond, 100*time.Millisecond
	l.ends[0].Set(l.now, []Config{l.cfgs[0], config(func(c *Config) { c.Name, c.Neighbor = "other", netip.MustParseAddr("10.0.0.9") })})
	if st := l.ends[0].Status()[0]; st.SendEvery != 10*time.Millisecond {
		t.Errorf("the longer interval is used before the neighbour knows of it: %+v", st)
	}
	l.drain(0)
	l.run(3 * time.Second)
	l.expect("a reload")
	if !slices.ContainsFunc(l.packets, func(p Packet) bool { return p.Poll && p.MinTx == 200*time.Millisecond }) {
		t.Error("no poll sequence")
	}
	if st := l.ends[0].Status()[0]; st.SendEvery != 200*time.Millisecond {
		t.Errorf("%+v", st)
	}
	if st := l.ends[1].Status()[0]; st.DetectAfter != time.Second || st.SendEvery != 100*time.Millisecond {
		t.Errorf("%+v", st)
	}
	l.ends[0].Set(l.now, nil)
	l.run(2 * time.Second)
	l.expect("the session is gone", "1 down: Control Detection Time Expired")
}

// RFC 5880 §6.8.6, one line each.
func TestStates(t *testing.T) {
	for _, c := range []struct{ have, heard, want State }{
		{Down, Down, Init}, {Down, Init, Up}, {Down, Up, Down}, {Down, AdminDown, Down},
		{Init, Down, Init}, {Init, Init, Up}, {Init, Up, Up}, {Init, AdminDown, Down},
		{Up, Down, Down}, {Up, Init, Up}, {Up, Up, Up}, {Up, AdminDown, Down},
	} {
		s := New(rand.New(rand.NewPCG(1, 1)))
		s.Set(epoch, []Config{config()})
		n := s.sessions[0]
		n.state = c.have
		p := Packet{State: c.heard, DetectMult: 3, MyDiscr: 7, YourDiscr: n.discr, MinTx: time.Second, MinRx: time.Second}
		s.Receive(epoch, Arrival{From: right, To: left, TTL: 255, Data: p.Append(nil)})
		if n.state != c.want {
			t.Errorf("%s hears %s: %s, want %s", c.have, c.heard, n.state, c.want)
		}
	}
}

func TestWhichPacketsASessionTakes(t *testing.T) {
	other := netip.MustParseAddr("10.0.0.9")
	for _, c := range []struct {
		name   string
		change func(*Config)
		a      Arrival
		p      Packet
		reason string
	}{
		{"by address", nil, Arrival{From: right, To: left, TTL: 255}, Packet{State: Down, MyDiscr: 1, DetectMult: 1}, ""},
		{"of another", nil, Arrival{From: other, To: left, TTL: 255}, Packet{State: Down, MyDiscr: 1, DetectMult: 1}, "no session"},
		{"to another address", nil, Arrival{From: right, To: other, TTL: 255}, Packet{State: Down, MyDiscr: 1, DetectMult: 1}, "no session"},
		{"any source", func(c *Config) { c.Source = netip.Addr{} }, Arrival{From: right, To: other, TTL: 255}, Packet{State: Down, MyDiscr: 1, DetectMult: 1}, ""},
		{"another discriminator", nil, Arrival{From: right, To: left, TTL: 255}, Packet{State: Down, MyDiscr: 1, YourDiscr: 5, DetectMult: 1}, "no session"},
		{"from a hop away", nil, Arrival{From: right, To: left, TTL: 254}, Packet{State: Down, MyDiscr: 1, DetectMult: 1}, "ttl"},
		{"one hop is allowed", func(c *Config) { c.MaxHops = 1 }, Arrival{From: right, To: left, TTL: 254}, Packet{State: Down, MyDiscr: 1, DetectMult: 1}, ""},
		{"a neighbour that sends with less", func(c *Config) { c.PeerTTL = 64 }, Arrival{From: right, To: left, TTL: 64}, Packet{State: Down, MyDiscr: 1, DetectMult: 1}, ""},
		{"and is too far", func(c *Config) { c.PeerTTL = 64 }, Arrival{From: right, To: left, TTL: 63}, Packet{State: Down, MyDiscr: 1, DetectMult: 1}, "ttl"},
		{"any is allowed", func(c *Config) { c.MaxHops = -1 }, Arrival{From: right, To: left, TTL: 1}, Packet{State: Down, MyDiscr: 1, DetectMult: 1}, ""},
		{"the other port", nil, Arrival{From: right, To: left, TTL: 255, Multihop: true}, Packet{State: Down, MyDiscr: 1, DetectMult: 1}, "no session"},
		{"multihop", func(c *Config) { c.Multihop = true }, Arrival{From: right, To: left, TTL: 255, Multihop: true}, Packet{State: Down, MyDiscr: 1, DetectMult: 1}, ""},
		{"no multiplier", nil, Arrival{From: right, To: left, TTL: 255}, Packet{State: Down, MyDiscr: 1}, "malformed"},
	} {
		cfg := config()
		if c.change != nil {
			c.change(&cfg)
		}
		s := New(rand.New(rand.NewPCG(1, 1)))
		s.Set(epoch, []Config{cfg})
		c.a.Data = c.p.Append(nil)
		s.Receive(epoch, c.a)
		if st := s.Status()[0]; (st.RemoteDiscr != 0) != (c.reason == "") || c.reason != "" && s.Discarded()[c.reason] != 1 {
			t.Errorf("%s: %+v, discarded %v", c.name, st, s.Discarded())
		}
	}
}

func TestTheLinesAreKeepaliveds(t *testing.T) {
	s := New(rand.New(rand.NewPCG(1, 1)))
	s.Set(epoch, []Config{config()})
	hear := func(state State) {
		p := Packet{State: state, DetectMult: 5, MyDiscr: 7, YourDiscr: s.sessions[0].discr, MinTx: 10 * time.Millisecond, MinRx: 10 * time.Millisecond}
		s.Receive(epoch, Arrival{From: right, To: left, TTL: 255, Data: p.Append(nil)})
	}
	hear(Init)
	s.Tick(epoch.Add(50 * time.Millisecond))
	var lines []string
	for _, e := range s.Take() {
		if say, ok := e.(Say); ok && !strings.Contains(say.Text, "Detection time") {
			lines = append(lines, say.Text)
		}
	}
	want := []string{"(b) Entering Up state", "(b) Expired after 50 ms (0 usec overdue)",
		"(b) Entering Down state (Local diagnostic - Control Detection Time Expired, Remote diagnostic - No Diagnostic)"}
	if !slices.Equal(lines, want) {
		t.Errorf("%q", lines)
	}
}
