package connsync

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"vipd/internal/lb"
)

// An end is a director with a table of lines that live for ever, in ticks of an eighth of a second.
type end struct {
	s        *Stream
	name     string
	lines    []endLine
	at       map[netip.AddrPort]int
	cursor   int // of a look that goes on; -1: none does
	nextLook time.Time
	loss     float64
	refuses  netip.AddrPort // a client of whom nothing is kept
	older    bool           // of a version that says nothing of what it understands
}

type endLine struct {
	Conn
	packets uint32
	used    time.Time
	gen     uint32
}

// world carries datagrams between two ends, with losses, delays and repetitions.
type world struct {
	*testing.T
	now   time.Time
	start time.Time
	ends  [2]*end
	wire  []flight
	rnd   *rand.Rand
	delay time.Duration // at most
	twice float64
	cut   bool
	step  time.Duration
	cfg   StreamConfig
	spied [][]byte
}

type flight struct {
	at   time.Time
	to   int
	data []byte
}

const eighth = time.Second / 8

func newWorld(t *testing.T, seed uint64) *world {
	start := time.Unix(1_700_000_000, 0)
	w := &world{T: t, now: start, start: start, rnd: rand.New(rand.NewPCG(seed, 1)), delay: time.Millisecond, step: time.Millisecond,
		cfg: StreamConfig{Interval: 100 * time.Millisecond, MaxLen: 1400, Threshold: 3, Ticks: func(d time.Duration) uint32 { return uint32(d / eighth) }}}
	for i := range w.ends {
		w.born(i)
	}
	return w
}

// born begins a life of an end with an empty table.
func (w *world) born(i int) {
	w.ends[i] = &end{s: w.life(i), name: string(rune('a' + i)), at: map[netip.AddrPort]int{}, cursor: -1}
}

func (w *world) life(i int) *Stream {
	cfg := w.cfg
	if cfg.Lives == nil { // no two begin at the same moment
		cfg.Lives = func(now time.Time) uint64 { return uint64(now.UnixNano()) + uint64(i) }
	}
	return NewStream(w.now, cfg)
}

func (w *world) tick() uint32 { return 1000 + uint32(w.now.Sub(w.start)/eighth) }

func (e *end) sight(w *world, i int) Sight {
	l := &e.lines[i]
	return Sight{Generation: l.gen, Packets: l.packets, Timeout: 8 * l.Timeout, Expires: w.tick() + 8*l.Timeout - uint32(w.now.Sub(l.used)/eighth), Protocol: l.Protocol, State: l.State,
		Rewritten: l.Local.IsValid()}
}

// packet is one of a client's, here.
func (w *world) packet(i int, client netip.AddrPort, state lb.State) {
	e := w.ends[i]
	n, there := e.at[client]
	if !there {
		n = len(e.lines)
		e.at[client] = n
		e.lines = append(e.lines, endLine{gen: 1, Conn: Conn{Protocol: lb.TCP, Client: client, Virtual: netip.MustParseAddrPort("10.0.8.9:80"),
			Real: netip.MustParseAddrPort("10.0.8.12:80"), Timeout: 900}})
	}
	l := &e.lines[n]
	l.State, l.packets, l.used = state, l.packets+3, w.now
}

func (w *world) learn(e *end, conns []Conn) {
	for _, c := range conns {
		if c.Client == e.refuses {
			e.s.Refused(1)
			continue
		}
		n, there := e.at[c.Client]
		used := w.now.Add(-c.Idle)
		switch {
		case !there:
			n = len(e.lines)
			e.at[c.Client] = n
			e.lines = append(e.lines, endLine{gen: 1})
		case used.Before(e.lines[n].used):
			continue // later here
		}
		if !c.Dated {
			w.Fatal("a connection of a stream that is not dated")
		}
		c.Dated, c.Idle = false, 0
		e.lines[n] = endLine{c, 3, used, e.lines[n].gen}
		e.s.Learned(n, e.sight(w, n))
	}
}

func (w *world) drain(i int) {
	e := w.ends[i]
	for _, effect := range e.s.Take() {
		switch x := effect.(type) {
		case Learn:
			w.learn(e, x.Conns)
		case Send:
			if len(x.Datagram) > w.cfg.MaxLen {
				w.Fatalf("%d bytes", len(x.Datagram))
			}
			if e.older && x.Datagram[5] == kindState {
				clear(x.Datagram[116:120])
			}
			w.spied = append(w.spied, x.Datagram)
			for range 1 + map[bool]int{true: 1}[w.rnd.Float64() < w.twice] {
				if !w.cut && w.rnd.Float64() >= e.loss {
					w.wire = append(w.wire, flight{w.now.Add(time.Duration(w.rnd.Int64N(int64(w.delay)))), 1 - i, x.Datagram})
				}
			}
		}
	}
}

// pass looks at the table, as far as there is room.
func (w *world) pass(i int) {
	e := w.ends[i]
	if e.cursor < 0 {
		e.s.Begin(w.now, len(e.lines))
		e.cursor = 0
	}
	for ; e.cursor < len(e.lines) && e.s.Room(); e.cursor++ {
		if e.s.Look(w.tick(), e.cursor, e.sight(w, e.cursor)) {
			e.s.Tell(w.now, e.lines[e.cursor].Conn)
		}
	}
	if e.cursor < len(e.lines) {
		e.s.Flush(w.now)
		e.nextLook = w.now.Add(10 * time.Millisecond)
		return
	}
	e.s.End(w.now)
	e.cursor, e.nextLook = -1, w.now.Add(100*time.Millisecond)
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(w.step) {
		flying := w.wire
		w.wire = nil
		for _, f := range flying {
			if f.at.After(w.now) {
				w.wire = append(w.wire, f)
				continue
			}
			w.ends[f.to].s.Receive(w.now, f.data)
			w.drain(f.to)
		}
		for i, e := range w.ends {
			if !e.nextLook.After(w.now) {
				w.pass(i)
			}
			if !e.s.Next().After(w.now) {
				e.s.Tick(w.now)
			}
			w.drain(i)
		}
	}
}

func clientOf(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)}), 1000)
}

// same holds that both tables say the same.
func (w *world) same() {
	w.Helper()
	show := func(e *end) map[netip.AddrPort]lb.State {
		all := map[netip.AddrPort]lb.State{}
		for _, l := range e.lines {
			all[l.Client] = l.State
		}
		return all
	}
	if a, b := show(w.ends[0]), show(w.ends[1]); !maps.Equal(a, b) {
		w.Errorf("a has %d connections, b %d, and they are not the same", len(a), len(b))
	}
}

func TestWhatOneDirectorHasTheOtherGetsWhole(t *testing.T) {
	for _, key := range []string{"", "0123456789abcdef0123456789abcdef"} {
		w := newWorld(t, 1)
		w.cfg.Key = []byte(key)
		w.born(0)
		w.born(1)
		for n := range 5000 {
			w.packet(0, clientOf(n), lb.Established)
		}
		w.run(time.Second)
		w.same()
		b := w.ends[1].s.Status(w.now)
		if !b.Alive || !b.CaughtUp || b.Taken != 5000 || b.TheirTotal != 5000 || len(b.Counts.Refused) != 0 {
			t.Errorf("%+v", b)
		}
		a := w.ends[0].s.Status(w.now)
		if a.Total != 5000 || a.Has != 5000 || a.Lag < 0 || a.Lag > 300*time.Millisecond || !a.CaughtUp || a.Counts.Bulks != 1 || a.Counts.Told != 5000 {
			t.Errorf("%+v", a)
		}
		if b.Counts.Told != 0 {
			t.Errorf("%d were told back to who had told them", b.Counts.Told)
		}
	}
}

func TestLossDelayAndRepetitionAreRepaired(t *testing.T) {
	for seed := range uint64(3) {
		w := newWorld(t, seed)
		w.delay, w.twice = 30*time.Millisecond, 0.1
		w.ends[0].loss, w.ends[1].loss = 0.2, 0.2
		for round := range 20 {
			for range 100 {
				n := w.rnd.IntN(4000)
				w.packet(round/10, clientOf(n), []lb.State{lb.Established, lb.FinWait, lb.TimeWait}[w.rnd.IntN(3)])
			}
			w.run(100 * time.Millisecond)
			if round == 9 {
				w.run(time.Second) // as a failover takes
			}
		}
		w.run(3 * time.Second)
		w.same()
		for _, e := range w.ends {
			if st := e.s.Status(w.now); !st.CaughtUp || st.Counts.Resyncs != 0 || st.Has != st.Total || len(st.Counts.Refused) != 0 && st.Counts.Refused[Replayed] == 0 {
				t.Errorf("seed %d, %s: %+v", seed, e.name, st)
			}
		}
		if w.ends[0].s.counts.Resent == 0 || w.ends[1].s.counts.Repeated == 0 {
			t.Errorf("seed %d: nothing was sent again, or nothing came twice", seed)
		}
	}
}

func TestADirectorThatComesBackGetsWhatItMissed(t *testing.T) {
	w := newWorld(t, 3)
	for n := range 3000 {
		w.packet(0, clientOf(n), lb.Established)
	}
	w.run(time.Second)
	w.born(1) // it was killed, and begins with nothing
	w.run(time.Second)
	w.same()
	if st := w.ends[1].s.Status(w.now); !st.CaughtUp || st.Taken != 3000 {
		t.Errorf("%+v", st)
	}
	// Now the first is killed and the second serves, with connections that the first never saw.
	w.born(0)
	w.packet(1, clientOf(9000), lb.Established)
	w.run(time.Second)
	w.same()
	if st := w.ends[0].s.Status(w.now); !st.CaughtUp || st.Taken != 3001 {
		t.Errorf("%+v", st)
	}
}

func TestACutIsNoticedAndWhatHappenedMeanwhileFollows(t *testing.T) {
	w := newWorld(t, 4)
	w.packet(0, clientOf(1), lb.Established)
	w.run(time.Second)
	w.cut = true
	w.run(5 * time.Second)
	for n := range 2000 {
		w.packet(0, clientOf(n), lb.Established)
	}
	if st := w.ends[1].s.Status(w.now); st.Alive || st.CaughtUp {
		t.Errorf("%+v", st)
	}
	if st := w.ends[0].s.Status(w.now); st.Lag < 2*time.Second || st.Alive {
		t.Errorf("%+v", st)
	}
	w.cut = false
	for caught := false; !caught; {
		w.run(10 * time.Millisecond)
		if caught = w.ends[1].s.Status(w.now).CaughtUp; caught {
			w.same() // never before
		}
		if w.now.Sub(w.start) > 10*time.Second {
			t.Fatal("it never catches up")
		}
	}
	if got := w.ends[0].s.counts.Bulks; got != 1 {
		t.Errorf("the whole table was told %d times", got)
	}
}

// Changes say for how long they wait up to mostAge: what is older is told anew, each with the time since it was used.
func TestAfterALongCutTheWholeTableIsTold(t *testing.T) {
	w := newWorld(t, 4)
	w.packet(0, clientOf(1), lb.Established)
	w.run(time.Second)
	w.cut = true
	for n := range 100 {
		w.packet(0, clientOf(n), lb.Established)
	}
	w.run(mostAge + time.Second)
	w.cut = false
	w.run(2 * time.Second)
	if got := w.ends[0].s.counts.Bulks; got != 2 {
		t.Errorf("the whole table was told %d times", got)
	}
	if !w.ends[1].s.Status(w.now).CaughtUp {
		t.Error("it has not caught up")
	}
	w.same()
}

// What was used later holds: a director that returns with an old table changes nothing at the one that went on.
func TestAnOldTableDoesNotOverwriteALaterOne(t *testing.T) {
	w := newWorld(t, 5)
	w.packet(0, clientOf(1), lb.Established)
	w.run(time.Second)
	w.cut = true
	w.run(5 * time.Second)
	w.packet(0, clientOf(1), lb.TimeWait)
	old := w.ends[1]
	w.ends[1] = &end{s: w.life(1), lines: old.lines, at: old.at, cursor: -1} // another process with the same table
	w.cut = false
	w.run(2 * time.Second)
	w.same()
	if got := w.ends[0].lines[0].State; got != lb.TimeWait {
		t.Errorf("state %d", got)
	}
}

func TestACaughtUpDirectorHasAllThatThePeerHad(t *testing.T) {
	for seed := range uint64(3) {
		w := newWorld(t, seed)
		w.ends[0].loss, w.delay = 0.3, 20*time.Millisecond
		for n := range 20_000 {
			w.packet(0, clientOf(n), lb.Established)
		}
		w.run(500 * time.Millisecond)
		w.born(1)
		for range 20_000 {
			w.run(time.Millisecond)
			if w.ends[1].s.Status(w.now).CaughtUp {
				break
			}
		}
		if n := len(w.ends[1].lines); n != 20_000 {
			t.Errorf("seed %d: caught up with %d", seed, n)
		}
	}
}

func TestWhatThePeerCouldNotKeepIsSaidByIt(t *testing.T) {
	w := newWorld(t, 6)
	w.ends[1].refuses = clientOf(7)
	for n := range 10 {
		w.packet(0, clientOf(n), lb.Established)
	}
	w.run(time.Second)
	if st := w.ends[0].s.Status(w.now); st.Refused != 1 || st.Total != 10 {
		t.Errorf("%+v", st)
	}
}

// TestOnlyThePolicysConnectionsAreTold: per service.
func TestOnlyThePolicysConnectionsAreTold(t *testing.T) {
	w := newWorld(t, 7)
	s := w.ends[0].s
	tcp := func(tell lb.Telling, state lb.State, packets uint32) Sight {
		return Sight{Protocol: lb.TCP, Telling: tell, State: state, Packets: packets}
	}
	for i, tc := range []struct {
		c    Sight
		want bool
	}{
		{tcp(lb.TellUsual, lb.Established, 2), false}, {tcp(lb.TellUsual, lb.Established, 3), true}, {tcp(lb.TellUsual, lb.SynRecv, 9), false},
		{tcp(lb.TellEstablished, lb.Established, 1), true}, {tcp(lb.TellEstablished, lb.SynRecv, 1), false},
		{tcp(lb.TellAll, lb.SynRecv, 1), true}, {tcp(lb.TellNone, lb.Established, 100), false},
		{Sight{Protocol: lb.UDP, Packets: 1}, false}, {Sight{Protocol: lb.UDP, Packets: 1, Telling: lb.TellEstablished}, true},
		{Sight{Template: true}, true}, {Sight{Template: true, Telling: lb.TellNone}, false},
		{Sight{Protocol: lb.SCTP, State: 1, Packets: 3}, false}, {Sight{Protocol: lb.SCTP, State: lb.SCTPEstablished, Packets: 3}, true},
	} {
		if got := s.tells(tc.c); got != tc.want {
			t.Errorf("%d: %+v: %v", i, tc.c, got)
		}
	}
}

// A long connection is told again when a quarter of its time has passed, and not for every packet.
func TestALongConnectionIsToldNowAndThen(t *testing.T) {
	w := newWorld(t, 8)
	w.step = 20 * time.Millisecond
	for range 500 { // 1000 s of packets, of 900 s each
		w.packet(0, clientOf(1), lb.Established)
		w.run(2 * time.Second)
	}
	if told := w.ends[0].s.counts.Told; told < 4 || told > 6 {
		t.Errorf("told %d times", told)
	}
	if left := w.ends[1].lines[0].used; w.now.Sub(left) > 230*time.Second {
		t.Errorf("the peer has it as idle for %s", w.now.Sub(left))
	}
}

func TestNothingOfAnotherSessionIsTaken(t *testing.T) {
	w := newWorld(t, 9)
	w.cfg.Key = []byte("0123456789abcdef0123456789abcdef")
	w.born(0)
	w.born(1)
	for n := range 100 {
		w.packet(0, clientOf(n), lb.Established)
	}
	w.run(time.Second)
	recorded := slices.Clone(w.spied)
	replay := func(what string) {
		t.Helper()
		before := w.ends[1].s.Status(w.now)
		for _, d := range recorded {
			w.ends[1].s.Receive(w.now, d)
			w.ends[0].s.Receive(w.now, d)
		}
		after := w.ends[1].s.Status(w.now)
		if after.Taken != before.Taken || len(w.ends[1].lines) > 100 {
			t.Errorf("%s: %d connections were taken", what, after.Taken-before.Taken)
		}
		w.run(time.Second)
		if !w.ends[1].s.Status(w.now).CaughtUp || !w.ends[0].s.Status(w.now).CaughtUp {
			t.Errorf("%s: the session did not survive it", what)
		}
	}
	replay("in the same session")
	w.ends[1].lines, w.ends[1].at = nil, map[netip.AddrPort]int{}
	w.ends[1].s = w.life(1)
	w.run(time.Second)
	w.same()
	replay("after a restart of the receiver")
	old := w.ends[0]
	w.ends[0] = &end{s: w.life(0), lines: old.lines, at: old.at, cursor: -1}
	w.run(time.Second)
	replay("after a restart of the sender")
}

func TestWhatIsNotSignedWithTheKeyIsRefused(t *testing.T) {
	w := newWorld(t, 10)
	w.packet(0, clientOf(1), lb.Established)
	w.cfg.Key = []byte("0123456789abcdef0123456789abcdef")
	w.born(1)
	w.run(time.Second)
	if st := w.ends[1].s.Status(w.now); st.Alive || len(w.ends[1].lines) != 0 || st.Counts.Refused[BadMAC] == 0 {
		t.Errorf("%+v", st)
	}
}

// A host whose clock has gone back begins a life that is earlier than the one that its peer knows.
func TestAClockThatWentBackEndsInASessionAllTheSame(t *testing.T) {
	w := newWorld(t, 11)
	w.packet(0, clientOf(1), lb.Established)
	w.run(time.Second)
	w.cfg.Lives = func(time.Time) uint64 { return 7 }
	w.born(1)
	w.run(time.Second)
	w.same()
	if st := w.ends[1].s.Status(w.now); !st.CaughtUp || st.Taken != 1 {
		t.Errorf("%+v", st)
	}
}

// What a peer says of itself cannot make this side send, keep or wait beyond its bounds.
func TestAPeerThatLiesGetsNowhere(t *testing.T) {
	w := newWorld(t, 12)
	for n := range 100 {
		w.packet(0, clientOf(n), lb.Established)
	}
	w.run(time.Second)
	liar, s := w.ends[1].s, w.ends[0].s
	say := func(change func(st *state)) {
		var st state
		liar.number++
		liar.in.say(w.now, &st)
		liar.out.say(w.now, &st)
		change(&st)
		h := header{kind: kindState, epoch: liar.epoch, echo: liar.theirs, number: liar.number}
		s.Receive(w.now, h.seal(st.append(h.begin(stateSize)), nil))
	}
	sent := s.counts.Resent
	say(func(st *state) { st.ack = 1 << 60 })
	say(func(st *state) {
		st.gaps = []gap{{0, 1<<32 - 1}, {1, 1<<32 - 1}, {1 << 63, 1<<32 - 1}, {1<<64 - 1, 1<<32 - 1}}
	})
	say(func(st *state) { st.last = 1 << 61 })
	say(func(st *state) { st.until = 1 << 50 })
	say(func(st *state) { st.last = 1<<64 - 1 })
	say(func(st *state) { st.serve, st.base, st.last, st.until = 1, 1<<64-streamWindow, 1<<64-1, 0 }) // where numbers wrap
	if s.counts.Resent != sent || s.counts.Refused[BadState] != 3 {
		t.Errorf("%+v", s.counts)
	}
	for n := range uint64(3 * streamWindow) {
		h := header{kind: kindChanges, epoch: liar.epoch, echo: liar.theirs, number: s.in.next + 1 + n}
		s.Receive(w.now, h.seal(append(h.begin(100), make([]byte, 100)...), nil))
	}
	if len(s.in.early) >= streamWindow || s.counts.Refused[BeyondWindow] < 2*streamWindow {
		t.Errorf("%d datagrams wait, %+v", len(s.in.early), s.counts)
	}
	for n := range 100 {
		say(func(st *state) { st.want = uint64(1000 + n) })
	}
	w.run(10 * time.Second) // and it heals when the lies end
	if st := w.ends[0].s.Status(w.now); !st.Alive || !st.CaughtUp || st.Counts.Resyncs == 0 {
		t.Errorf("%+v", st)
	}
}

func TestAllThatAStateSaysIsRead(t *testing.T) {
	want := state{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 20, []gap{{13, 14}, {15, 16}}}
	h := header{kind: kindState, epoch: 17, echo: 18, number: 19}
	d := h.seal(want.append(h.begin(stateSize)), nil)
	got, body, why := openDatagram(d, nil)
	st, ok := readState(body)
	if why != "" || !ok || got != h || fmt.Sprint(st) != fmt.Sprint(want) || len(d) != headerSize+stateSize+2*gapSize {
		t.Errorf("%+v %+v %s %v", got, st, why, ok)
	}
	for n := range d {
		cut := slices.Clone(d[:n])
		if n >= 8 {
			binary.BigEndian.PutUint16(cut[6:], uint16(n))
		}
		if _, body, why := openDatagram(cut, nil); why == "" {
			if _, ok := readState(body); ok {
				t.Errorf("%d bytes were taken", n)
			}
		}
	}
}

// rewritten are connections of FULLNAT of both families, with and without what is known of the PROXY header.
func rewritten() []Conn {
	four := Conn{Protocol: lb.TCP, Client: netip.MustParseAddrPort("10.0.4.1:5000"), Virtual: netip.MustParseAddrPort("10.0.8.9:80"),
		Real: netip.MustParseAddrPort("10.0.8.12:80"), State: lb.Established, Timeout: 900, Local: netip.MustParseAddrPort("10.0.8.25:1024")}
	proxy := four
	proxy.Begun = Begun{ProxyDone, 0xfedcba98}
	six := everything()
	six.Local, six.Begun = netip.MustParseAddrPort("[2001:db8:8::25]:32767"), Begun{ProxyDue, 1}
	return []Conn{four, proxy, six}
}

func TestTheLocalEndOfAConnectionIsToldByTheStreamAlone(t *testing.T) {
	p := Packer{MaxLen: 1400}
	all := rewritten()
	for i := range all {
		all[i].Dated = true
		p.Add(&all[i])
	}
	againDated(t, all)
	p.Flush()
	if conns, refused := decodeAll(p.Take()[0], 0); len(conns) != 0 || !slices.Equal(refused, []Reason{UnknownOption, UnknownOption, UnknownOption}) {
		t.Errorf("the kernel's protocol: taken %v, refused %v", conns, refused)
	}
	// Byte by byte, as the table of docs/sync.md has it.
	want := []byte{optionLocal, 12, 4, 0, 2, 0, 0xfe, 0xdc, 0xba, 0x98, 10, 0, 8, 25}
	if got := appendDated(make([]byte, 4), &all[1])[4+datedSize+entry4:]; !slices.Equal(got[:len(want)], want) || len(got) != 16 {
		t.Errorf("% x", got)
	}
}

func TestALocalEndThatNoneCanBeIsRefused(t *testing.T) {
	const option = 4 + datedSize + entry4
	for name, tc := range map[string]struct {
		c    int
		bad  func(b []byte)
		want Reason
	}{
		"port 0":             {0, func(b []byte) { b[option+2], b[option+3] = 0, 0 }, LocalEnd},
		"no such state":      {1, func(b []byte) { b[option+4] = 3 }, LocalEnd},
		"of a template":      {0, func(b []byte) { b[4+datedSize+6] |= 0x10 }, LocalEnd},
		"PROXY of UDP":       {1, func(b []byte) { b[4+datedSize+1], b[4+datedSize+9] = 17, 0 }, LocalEnd},
		"the other family's": {0, func(b []byte) { b[4+datedSize+3] += 2; b[option+1] += 2 }, OptionSize},
		"without an address": {0, func(b []byte) { b[option+1] = localSize; b[4+datedSize+3] -= 4 }, OptionSize},
	} {
		c := rewritten()[tc.c]
		b := append(appendDated([]byte{0, 1, 0, 0}, &c), 0, 0, 0, 0)
		tc.bad(b)
		var refused []Reason
		readChanges(b, 0, func(c Conn) { t.Errorf("%s: taken %+v", name, c) }, func(r Reason) { refused = append(refused, r) })
		if !slices.Equal(refused, []Reason{tc.want}) {
			t.Errorf("%s: %v", name, refused)
		}
	}
}

// TestFULLNATIsToldToWhoUnderstandsIt: with losses too; an older director gets all others, and counts as having all.
func TestFULLNATIsToldToWhoUnderstandsIt(t *testing.T) {
	for _, older := range []bool{false, true} {
		w := newWorld(t, 8)
		w.ends[1].older, w.ends[0].loss = older, 0.2
		for n := range 200 {
			w.packet(0, clientOf(n), lb.Established)
			if l := &w.ends[0].lines[n]; n%2 == 1 {
				l.Local = netip.AddrPortFrom(netip.MustParseAddr("10.0.8.25"), uint16(1024+n))
				l.Begun = Begun{ProxyDone, uint32(n)}
			}
		}
		w.run(2 * time.Second)
		got := uint32(0)
		for _, l := range w.ends[1].lines {
			if first := w.ends[0].lines[w.ends[0].at[l.Client]]; l.Local != first.Local || l.Begun != first.Begun {
				t.Errorf("%+v\nbecame %+v", first, l)
			}
			if l.Local.IsValid() {
				got++
			}
		}
		want := map[bool]uint32{false: 100, true: 0}[older]
		if st := w.ends[0].s.Status(w.now); got != want || st.Total != 100+want || st.Has != 100+want || st.Refused != 0 || !w.ends[1].s.Status(w.now).CaughtUp {
			t.Errorf("older %v: %d of FULLNAT, %+v", older, got, st)
		}
	}
}

func FuzzStream(f *testing.F) {
	w := newWorld(&testing.T{}, 1)
	for n := range 50 {
		w.packet(0, clientOf(n), lb.Established)
	}
	w.run(time.Second)
	for _, d := range w.spied[:20] {
		f.Add(d[headerSize:], d[5], uint64(1))
	}
	c := everything()
	f.Add(appendDated([]byte{0, 1, 0, 0}, &c), uint8(kindChanges), uint64(1))
	for _, c := range rewritten() {
		f.Add(appendDated([]byte{0, 1, 0, 0}, &c), uint8(kindChanges), uint64(1))
	}
	f.Fuzz(func(t *testing.T, body []byte, kind uint8, ahead uint64) {
		w := newWorld(t, 1)
		w.run(300 * time.Millisecond)
		liar, s := w.ends[1].s, w.ends[0].s
		h := header{kind: kind, epoch: liar.epoch, echo: s.epoch, number: s.theirNumber + ahead}
		if kind == kindChanges {
			h.number = s.in.next + ahead
		}
		s.Receive(w.now, h.seal(append(h.begin(len(body)), body...), nil))
		for _, e := range s.Take() {
			if l, is := e.(Learn); is {
				againDated(t, l.Conns)
			}
		}
		w.run(300 * time.Millisecond)
	})
}

// againDated holds that what was taken can be told to the next, who takes the same.
func againDated(t *testing.T, conns []Conn) {
	b := []byte{byte(len(conns) >> 8), byte(len(conns)), 0, 0}
	for i := range conns {
		b = appendDated(b, &conns[i])
	}
	var got []Conn
	readChanges(b, 0, func(c Conn) { got = append(got, c) }, func(r Reason) { t.Fatalf("%x: %s", b, r) })
	if !slices.Equal(got, conns) {
		t.Fatalf("%+v\nbecame %+v", conns, got)
	}
}
