package connsync

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"vipd/internal/lb"
)

const tick = 8 // a second

func ticks(d time.Duration) uint32 { return uint32(d * tick / time.Second) }

// tcp is a sight of a connection that has had so many packets, the last one at a moment.
func tcp(state lb.State, packets int, at uint32) Sight {
	return Sight{Generation: 1, Packets: uint32(packets), Expires: at + 900*tick, Timeout: 900 * tick, Protocol: lb.TCP, State: state}
}

// told are the packets of an established connection after which it is told, by looks at every packet or at every n-th.
func told(p Policy, packets, every int) (at []int) {
	s := NewSelector(p, ticks)
	s.Look(0, 0, tcp(lb.SynRecv, 1, 0))
	for n := 2; n <= packets; n++ {
		if n%every == 0 && s.Look(uint32(n), 0, tcp(lb.Established, n, uint32(n))) {
			at = append(at, n)
		}
	}
	return at
}

// Golden 519: the third packet, and every fiftieth after it.
func TestAConnectionIsToldAtTheKernelsPackets(t *testing.T) {
	for _, tc := range []struct {
		p     Policy
		every int
		want  []int
	}{
		{DefaultPolicy, 1, []int{3, 53, 103, 153}},
		{DefaultPolicy, 20, []int{20, 60, 120, 160}},
		{Policy{Threshold: 3}, 1, []int{3}},
		{Policy{Threshold: 0, Period: 1}, 1, nil}, // every one: below
		{Policy{Threshold: 2, Period: 100}, 1, []int{2, 102}},
	} {
		got := told(tc.p, 170, tc.every)
		if tc.p.Period == 1 {
			if len(got) != 169 {
				t.Errorf("%+v: told %d times", tc.p, len(got))
			}
			continue
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%+v, looked at every %d: %v, want %v", tc.p, tc.every, got, tc.want)
		}
	}
}

func TestAChangeOfStateIsToldAtOnceAndOnce(t *testing.T) {
	for state, want := range map[lb.State]bool{lb.FinWait: true, lb.TimeWait: true, lb.Close: true, lb.CloseWait: true, lb.SynRecv: false, lb.SynSent: false, lb.LastAck: false} {
		s := NewSelector(DefaultPolicy, ticks)
		if !s.Look(0, 7, tcp(lb.Established, 3, 0)) {
			t.Error("the third packet is not told")
		}
		if got := s.Look(1, 7, tcp(state, 4, 1)); got != want {
			t.Errorf("state %d: told %v, want %v", state, got, want)
		}
		if s.Look(2, 7, tcp(state, 4, 1)) {
			t.Errorf("state %d: told twice", state)
		}
	}
}

func TestAConnectionThatIsEstablishedLateIsTold(t *testing.T) {
	s := NewSelector(DefaultPolicy, ticks)
	if s.Look(0, 0, tcp(lb.SynRecv, 5, 0)) || !s.Look(0, 0, tcp(lb.Established, 6, 0)) {
		t.Error("want it told once it is established")
	}
	if s.Look(0, 0, tcp(lb.Established, 7, 0)) {
		t.Error("told again")
	}
}

// ipvs tells of the 53rd packet, and the other director has forgotten the connection by then.
func TestAConnectionThatSaysLittleIsToldBeforeTheOtherDirectorForgetsIt(t *testing.T) {
	for _, tc := range []struct {
		p    Policy
		want []int // minutes
	}{
		{DefaultPolicy, []int{0, 4, 8, 12, 16, 20}},
		{Policy{Threshold: 3}, []int{0}},
		{Policy{Threshold: 3, Period: 50, Refresh: time.Hour}, []int{0}}, // who says how far an end must move is obeyed
	} {
		s := NewSelector(tc.p, ticks)
		var got []int
		for minute := range 21 { // a packet a minute
			at := uint32(minute * 60 * tick)
			if s.Look(at, 0, tcp(lb.Established, 3+minute, at)) {
				got = append(got, minute)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%+v: told after %v minutes, want %v", tc.p, got, tc.want)
		}
	}
}

func TestWhatIsToldLateIsToldWithTheTimeThatItHasLeft(t *testing.T) {
	for _, tc := range []struct {
		now      uint32
		template bool
		want     uint32
	}{
		{0, false, 900}, {1, false, 900}, {tick, false, 899}, {tick + 1, false, 899}, {899*tick + 1, false, 1}, {900 * tick, false, 1}, {tick * 60, true, 900},
	} {
		s := NewSelector(DefaultPolicy, ticks)
		sight := tcp(lb.Established, 3, 0)
		c := Conn{Timeout: 900}
		if sight.Template = tc.template; tc.template {
			c.Flags = Template
		}
		if !s.Look(tc.now, 0, sight) {
			t.Errorf("%+v: not told", tc)
		}
		if s.Timed(&c); c.Timeout != tc.want {
			t.Errorf("%+v: %d", tc, c.Timeout)
		}
	}
}

func TestAnotherPolicyHoldsFromThenOn(t *testing.T) {
	s := NewSelector(DefaultPolicy, ticks)
	s.Look(0, 0, tcp(lb.Established, 3, 0))
	if s.Look(1, 0, tcp(lb.Established, 4, 1)) {
		t.Error("the fourth packet is told")
	}
	s.SetPolicy(Policy{Threshold: 0, Period: 1})
	if !s.Look(2, 0, tcp(lb.Established, 5, 2)) {
		t.Error("the fifth is not, with every one to be")
	}
	s.SetPolicy(Policy{Threshold: 0, Period: 1, Refresh: time.Minute})
	if s.Look(3, 0, tcp(lb.Established, 6, 3)) || !s.Look(61*tick, 0, tcp(lb.Established, 7, 61*tick)) {
		t.Error("the end has to move by a minute")
	}
}

func TestSCTPAndUDP(t *testing.T) {
	s := NewSelector(DefaultPolicy, ticks)
	sctp := Sight{Generation: 1, Protocol: lb.SCTP, State: lb.SCTPInit1, Packets: 9}
	if s.Look(0, 0, sctp) {
		t.Error("INIT1 is told")
	}
	for _, state := range []lb.State{lb.SCTPEstablished, 9, 10, 11, lb.SCTPClosed} {
		if sctp.State = state; !s.Look(0, 0, sctp) {
			t.Errorf("state %d is not told", state)
		}
	}
	udp := Sight{Generation: 1, Protocol: lb.UDP, Packets: 2}
	if s.Look(0, 1, udp) {
		t.Error("two datagrams are told")
	}
	if udp.Packets = 3; !s.Look(0, 1, udp) {
		t.Error("three are not")
	}
}

func TestATemplateIsToldWheneverItWasUsed(t *testing.T) {
	s := NewSelector(DefaultPolicy, ticks)
	c := Sight{Generation: 1, Template: true, Expires: 100, Timeout: 800}
	for i, want := range []bool{true, false, true, false} {
		if i == 2 {
			c.Expires += 8
		}
		if got := s.Look(0, 0, c); got != want {
			t.Errorf("look %d: %v", i, got)
		}
	}
	if c.State = 1; !s.Look(0, 0, c) {
		t.Error("not told that it is assured")
	}
}

func TestAnotherConnectionInTheSameLineIsAnother(t *testing.T) {
	s := NewSelector(DefaultPolicy, ticks)
	s.Look(0, 0, tcp(lb.Established, 60, 0))
	c := tcp(lb.Established, 4, 0)
	c.Generation++
	if !s.Look(0, 0, c) {
		t.Error("not told")
	}
}

func TestFULLNATIsNotToldInTheKernelsProtocol(t *testing.T) {
	s := NewSelector(DefaultPolicy, ticks)
	for _, c := range []Sight{tcp(lb.Established, 3, 0), {Generation: 1, Template: true}} {
		c.Rewritten = true
		if s.Look(0, 0, c) {
			t.Errorf("told: %+v", c)
		}
	}
}

func TestPersistModeTellsTemplatesAlone(t *testing.T) {
	s := NewSelector(Policy{Threshold: 3, Period: 50, PersistOnly: true}, ticks)
	c := tcp(lb.FinWait, 9, 0)
	c.Controlled = true
	if s.Look(0, 0, c) || !s.Look(0, 1, tcp(lb.FinWait, 9, 0)) || !s.Look(0, 2, Sight{Generation: 1, Template: true}) {
		t.Error("want connections without a template, and templates")
	}
}

// sync_refresh_period: at most once in that time while nothing else happens, and sync_retries more, each an eighth of it after
// the one before.
func TestRefreshPeriodHoldsBack(t *testing.T) {
	for retries, want := range map[uint8][]int{0: {1, 31, 61}, 2: {1, 5, 9, 39, 43, 47, 77, 81, 85}} {
		s := NewSelector(Policy{Threshold: 3, Refresh: 30 * time.Second, Retries: retries}, ticks)
		var at []int
		for second := 1; second < 90; second++ { // a packet each second
			now := uint32(second * tick)
			if s.Look(now, 0, tcp(lb.Established, second+3, now)) {
				at = append(at, second)
			}
		}
		if !slices.Equal(at, want) {
			t.Errorf("%d retries: %v, want %v", retries, at, want)
		}
	}
}

func TestWhatWasLearnedIsNotToldBack(t *testing.T) {
	for _, retell := range []bool{false, true} {
		s := NewSelector(DefaultPolicy, ticks)
		s.Retell = retell
		c := tcp(lb.Established, 3, 0)
		c.Synced = true
		if got := s.Look(0, 0, c); got != retell {
			t.Errorf("retell %v: told %v at first sight", retell, got)
		}
		c.State = lb.FinWait
		s.Learned(0, c)
		if s.Look(0, 0, c) {
			t.Error("what was just learned is told back")
		}
		if c.Packets, c.State = 4, lb.Close; !s.Look(0, 0, c) {
			t.Error("what came of it here is not told")
		}
	}
}

func TestConnectionsWaitForTheirServerUntilTheyWouldHaveEnded(t *testing.T) {
	w, now := NewWaiting(), time.Unix(0, 0)
	c := Conn{Protocol: lb.TCP, Client: netip.MustParseAddrPort("10.0.0.1:1"), Virtual: netip.MustParseAddrPort("10.0.0.2:80")}
	for i := range 3 {
		c.Client = netip.AddrPortFrom(c.Client.Addr(), uint16(i))
		w.Add(now, c, time.Duration(10*(i+1))*time.Second)
		w.Add(now, c, time.Duration(10*(i+1))*time.Second) // the same
	}
	var left []uint32
	w.All(now.Add(15*time.Second), func(c Conn) { left = append(left, c.Timeout) })
	if slices.Sort(left); fmt.Sprint(left) != "[5 15]" {
		t.Errorf("left %v s", left)
	}
	w.Offer(now.Add(15*time.Second), func(c Conn) bool { return c.Client.Port() == 2 })
	if w.Len() != 1 {
		t.Errorf("%d wait", w.Len())
	}
	for k := range w.conns {
		delete(w.conns, k)
	}
	dated := c
	dated.Timeout, dated.Dated, dated.Idle = 900, true, 500*time.Second
	w.Add(now, dated, 400*time.Second)
	w.All(now.Add(time.Second), func(c Conn) {
		if c.Timeout != 399 {
			t.Errorf("listed with %d s left", c.Timeout)
		}
	})
	w.Offer(now.Add(time.Second), func(c Conn) bool {
		if c.Timeout != 900 || c.Idle != 501*time.Second {
			t.Errorf("%d s, unused for %s", c.Timeout, c.Idle)
		}
		return false
	})
	for i := range MostWaiting + 10 {
		c.Mark, c.Client = 1, netip.AddrPortFrom(netip.AddrFrom4([4]byte{11, 0, byte(i >> 16), byte(i >> 8)}), uint16(i&255))
		if ok := w.Add(now, c, time.Hour); ok != (i < MostWaiting-1) {
			t.Fatalf("%d: %v", i, ok)
		}
	}
}
