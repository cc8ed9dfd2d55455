package connsync

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"vipd/internal/lb"
)

func someVerdicts() []Verdict {
	at, at6 := netip.MustParseAddrPort, netip.MustParseAddrPort("[2001:db8::9]:443")
	return []Verdict{
		{lb.ServiceKey{Protocol: lb.TCP, Addr: at("10.0.8.9:80")}, at("10.0.8.12:80"), true, time.Hour, time.Second, "TCP_CHECK 10.0.8.12:80 succeeded in 3ms"},
		{lb.ServiceKey{Protocol: lb.UDP, Addr: at6}, at("[2001:db8::12]:443"), false, time.Minute, 20 * time.Millisecond, "connection refused"},
		{lb.ServiceKey{Mark: 7, V6: true}, at("10.0.8.13:0"), true, 0, 0, ""},
	}
}

// verdictsOf are those that an end has heard and not taken yet.
func verdictsOf(s *Stream) (all []Verdict) {
	for _, e := range s.Take() {
		if v, is := e.(Verdicts); is {
			all = append(all, v.All...)
		}
	}
	return all
}

// tellTo has one end tell the other.
func (w *world) tellTo(from, to int, all []Verdict) (datagrams [][]byte, got []Verdict) {
	w.ends[from].s.TellVerdicts(w.now, all)
	for _, e := range w.ends[from].s.Take() {
		d := e.(Send).Datagram
		datagrams = append(datagrams, d)
		w.ends[to].s.Receive(w.now, d)
		got = append(got, verdictsOf(w.ends[to].s)...)
	}
	return datagrams, got
}

func TestVerdictsArriveAsTheyWereTold(t *testing.T) {
	for _, key := range []string{"", "0123456789abcdef0123456789abcdef"} {
		w := newWorld(t, 20)
		w.cfg.Key = []byte(key)
		w.born(0)
		w.born(1)
		if sent, _ := w.tellTo(0, 1, someVerdicts()); len(sent) != 0 {
			t.Error("told without a session")
		}
		w.run(time.Second)
		sent, got := w.tellTo(0, 1, someVerdicts())
		if !reflect.DeepEqual(got, someVerdicts()) {
			t.Errorf("%+v", got)
		}
		before := w.ends[1].s.counts.Refused[Replayed]
		w.ends[1].s.Receive(w.now, sent[0])
		if got := verdictsOf(w.ends[1].s); len(got) > 0 || w.ends[1].s.counts.Refused[Replayed] != before+1 {
			t.Errorf("a repetition gives %+v", got)
		}
		w.born(1)
		w.run(time.Second)
		w.ends[1].s.Receive(w.now, sent[0])
		if got := verdictsOf(w.ends[1].s); len(got) > 0 {
			t.Errorf("another session's give %+v", got)
		}
		if _, got := w.tellTo(0, 1, someVerdicts()); len(got) != 3 {
			t.Errorf("%d verdicts in the next session", len(got))
		}
	}
}

func TestManyVerdictsGoInDatagramsThatFit(t *testing.T) {
	w := newWorld(t, 21)
	w.run(time.Second)
	var all []Verdict
	for n := range 5000 {
		v := someVerdicts()[n%3]
		v.Why = strings.Repeat("ä", 300)
		all = append(all, v)
	}
	sent, got := w.tellTo(0, 1, all)
	if len(got) != len(all) {
		t.Fatalf("%d of %d", len(got), len(all))
	}
	for _, d := range sent {
		if len(d) > w.cfg.MaxLen {
			t.Fatalf("%d bytes", len(d))
		}
	}
	if got[4].Why != strings.Repeat("ä", 60) {
		t.Errorf("a long reason is %q", got[4].Why)
	}
}

// What later versions add to an entry or to the kinds is passed over; what is no verdict is refused whole.
func TestVerdictsOfOtherVersionsAndLies(t *testing.T) {
	v := someVerdicts()[0]
	entry := v.append(nil)
	longer := append(slices.Clone(entry), 1, 2, 3)
	longer[1] += 3
	one := func(entry []byte) []byte { return append([]byte{0, 1, 0, 0}, entry...) }
	if got, why := readVerdicts(one(longer)); why != "" || !reflect.DeepEqual(got, []Verdict{v}) {
		t.Errorf("%s %+v", why, got)
	}
	for n := range len(entry) {
		cut := slices.Clone(entry[:n])
		if got, why := readVerdicts(one(cut)); why == "" {
			t.Fatalf("%d bytes give %+v", n, got)
		}
		if n >= 2 {
			cut[0], cut[1] = 0, byte(n)
			if got, why := readVerdicts(one(cut)); why == "" {
				t.Fatalf("%d bytes that say so give %+v", n, got)
			}
		}
	}
	evil := v
	evil.Why = "a\x1b[2Jb\nc\xffd"
	if got, _ := readVerdicts(one(evil.append(nil))); got[0].Why != "a?[2Jb?c?d" {
		t.Errorf("%q", got[0].Why)
	}
	w := newWorld(t, 22)
	w.run(time.Second)
	h := header{kind: 9, epoch: w.ends[0].s.epoch, echo: w.ends[1].s.epoch, number: 1}
	w.ends[1].s.Receive(w.now, h.seal(h.begin(0), nil))
	if n := w.ends[1].s.counts.Refused[OtherProtocol]; n != 1 || !w.ends[1].s.Status(w.now).Alive {
		t.Errorf("a kind of a later version: %d refused", n)
	}
}

func FuzzVerdicts(f *testing.F) {
	for n := range 4 {
		b := []byte{0, byte(n), 0, 0}
		for i := range n {
			v := someVerdicts()[i]
			b = v.append(b)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, why := readVerdicts(b)
		if why != "" {
			return
		}
		again := []byte{byte(len(all) >> 8), byte(len(all)), 0, 0}
		for i := range all {
			again = all[i].append(again)
		}
		got, why := readVerdicts(again)
		if why != "" || fmt.Sprint(got) != fmt.Sprint(all) {
			t.Fatalf("%+v\nbecame %+v %s", all, got, why)
		}
	})
}
