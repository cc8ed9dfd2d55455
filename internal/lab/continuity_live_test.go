package lab

import (
	"context"
	"strings"
	"testing"
	"time"
)

// liveScene is a scene that somebody watches, of which a director is killed at 100 s and things are calm before and after. Each second 20
// short connections begin.
func liveScene() *LiveContinuity {
	c := (&Lab{Site: NewSite("x")}).newContinuity(ContinuityConfig{PerSecond: 20})
	c.live = true
	v := &LiveContinuity{continuity: c, ctx: context.Background(), stop: func() {}}
	calm := func(from, to int) ContinuityStep {
		return ContinuityStep{Name: "steady", idle: true, From: second(from), To: second(to)}
	}
	v.report.Steps = []ContinuityStep{calm(0, 60), calm(60, 100), {Name: "kill", Host: "director1", ByHand: true, From: second(100), To: second(110), young: true, died: second(100), gone: second(104)}}
	now := calm(110, 0)
	v.now = &now
	return v
}

func second(n int) time.Time { return time.Unix(1000+int64(n), 0) }

func (v *LiveContinuity) hear(from, to int, broken ...BrokenConn) {
	for at := from; at < to; at++ {
		r := newCrowdReport()
		r.At = second(at).Add(200 * time.Millisecond)
		r.Open[KindSession] = 40
		r.Began[KindShort], r.Answers[KindShort] = 20, 20
		if at == to-1 {
			r.Broken = broken
		}
		v.heard = append(v.heard, r)
		v.crowd.add(r)
	}
}

// TestWhatIsWatchedForLongNeedsNoMoreRoom: what was said is dropped when its step's figures are final, and calm steps become one; the
// figures stay what they are without that.
func TestWhatIsWatchedForLongNeedsNoMoreRoom(t *testing.T) {
	v := liveScene()
	v.hear(0, 112, BrokenConn{Kind: KindShort, Cause: CauseReset, Began: second(102), Waited: second(102)}, BrokenConn{Kind: KindSession, Cause: CauseReset, Began: second(1), Waited: second(50)})
	want := v.judged(v.report, v.now, v.said())
	v.settle(second(125))
	if len(v.report.Steps) != 2 || len(v.heard) > 4 {
		t.Fatalf("%d steps, %d reports: %+v", len(v.report.Steps), len(v.heard), v.report.Steps)
	}
	got := v.judged(v.report, v.now, v.said())
	calm, kill := got.Steps[0], got.Steps[1]
	if n := want.Steps[0].Began[KindShort] + want.Steps[1].Began[KindShort]; calm.Began[KindShort] != n || n != 2000 {
		t.Errorf("%d began, want %d", calm.Began[KindShort], n)
	}
	if calm.Broken[KindSession][CauseReset] != 1 || calm.OK || calm.Open[KindSession] != 0 || !calm.To.Equal(second(100)) {
		t.Errorf("the calm: %+v", calm)
	}
	if kill.Young != 1 || kill.Broke() != 1 || !kill.OK || kill.Began[KindShort] != 200 || kill.Open[KindSession] != 40 {
		t.Errorf("the kill: %+v", kill)
	}
	// What is not final yet is not forgotten.
	v = liveScene()
	v.hear(0, 112)
	v.settle(second(111))
	if len(v.report.Steps) != 2 || !v.report.Steps[0].final || v.report.Steps[1].final || len(v.heard) < 11 || v.heard[0].At.After(second(100)) {
		t.Errorf("%d reports from %v: %+v", len(v.heard), v.heard[0].At, v.report.Steps)
	}
}

// TestWhatAPersonDoesIsNotTheScene: it counts, and says nothing about whether the scene held.
func TestWhatAPersonDoesIsNotTheScene(t *testing.T) {
	v := liveScene()
	v.hear(0, 112, BrokenConn{Kind: KindSession, Cause: CauseStall, Began: second(1), Waited: second(101)})
	v.report.Steps = append(v.report.Steps, ContinuityStep{Name: "steady", From: second(110), To: second(111)}, ContinuityStep{Round: 1, Name: "stop", From: second(111), To: second(112)})
	r := v.judged(v.report, nil, v.said())
	if s := r.Steps[2]; s.OK || s.Broke() != 1 {
		t.Errorf("by hand: %+v", s)
	}
	if !r.OK || r.OfYoung != 0 {
		t.Errorf("the scene: %v %v, of young %d", r.OK, r.Complaints(), r.OfYoung)
	}
	var out strings.Builder
	if err := r.WriteTable(&out); err != nil || !strings.Contains(out.String(), "kill by hand") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestTheTallyAddsUpAndForgets all but two minutes, and the last of what broke.
func TestTheTallyAddsUpAndForgets(t *testing.T) {
	v := liveScene()
	var many []BrokenConn
	for range liveEvents + 5 {
		many = append(many, BrokenConn{Kind: KindShort, Cause: CauseRefused, At: second(1)})
	}
	v.hear(0, 300, many...)
	v.hear(300, 302, BrokenConn{Kind: KindShort, Cause: CauseReset, At: second(301)})
	m := v.crowd.moment()
	if n := len(m.Seconds); n != liveSeconds || !m.Seconds[n-1].At.Equal(second(300)) || m.Seconds[n-2].Broken != len(many) || m.Seconds[n-1].Answers[KindShort] != 20 {
		t.Errorf("%d seconds, the last %+v", n, m.Seconds[n-2:])
	}
	short := m.Kinds[2]
	if short.Began != 302*20 || short.PerSecond != 20 || short.Broken[CauseRefused] != len(many) || short.Broken[CauseReset] != 1 || m.Kinds[1].Open != 40 {
		t.Errorf("%+v", m.Kinds)
	}
	if len(m.Last) != liveEvents || m.Last[0].Cause != CauseReset {
		t.Errorf("%d, the newest %+v", len(m.Last), m.Last[0])
	}
}
