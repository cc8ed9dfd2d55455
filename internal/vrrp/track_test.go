package vrrp

import (
	"math"
	"slices"
	"testing"
	"time"
)

func followed(kind Kind, weight int, reverse bool) Tracked {
	return Tracked{Thing: Thing{kind, "x"}, Weight: weight, Reverse: reverse}
}

// Expectations are read off keepalived 2.2.7, which was run with each of them.
func TestWhatAVerdictCounts(t *testing.T) {
	type want struct {
		weight int
		fault  bool
	}
	for _, c := range []struct {
		name     string
		t        Tracked
		up, down want
	}{
		{"no weight", followed(TrackScript, 0, false), want{}, want{fault: true}},
		{"no weight, reverse", followed(TrackScript, 0, true), want{fault: true}, want{}},
		{"weight", followed(TrackInterface, 20, false), want{weight: 20}, want{}},
		{"negative", followed(TrackProcess, -20, false), want{}, want{weight: -20}},
		{"weight, reverse", followed(TrackBFD, 20, true), want{weight: -20}, want{}},
		{"negative, reverse", followed(TrackScript, -20, true), want{}, want{weight: 20}},
	} {
		for _, ok := range []bool{true, false} {
			expected := c.down
			if ok {
				expected = c.up
			}
			if weight, fault := c.t.Counts(Up(ok)); (want{weight, fault}) != expected {
				t.Errorf("%s, up %t: %d %t, want %+v", c.name, ok, weight, fault, expected)
			}
		}
		if weight, fault := c.t.Counts(Verdict{}); weight != 0 || fault {
			t.Errorf("%s, not known: %d %t", c.name, weight, fault)
		}
	}
}

func TestWhatANumberInAFileCounts(t *testing.T) {
	for _, c := range []struct {
		value   int64
		weight  int
		reverse bool
		want    int
		fault   bool
	}{
		{0, 1, false, 0, false}, {7, 1, false, 7, false}, {-7, 2, false, -14, false}, {7, -2, false, -14, false}, {7, 2, true, -14, false},
		{253, 1, false, 253, false}, {254, 1, false, 253, false}, {1000, 254, false, 253, false},
		{-253, 1, false, -253, false}, {-254, 1, false, 0, true}, {-127, 2, false, 0, true}, {-1000, 1, false, 0, true}, {127, -2, false, 0, true},
		{math.MinInt32, -254, false, 253, false}, {math.MaxInt32, -254, false, 0, true},
		{0, 0, false, 0, false}, {1, 0, false, 0, true}, {-1, 0, false, 0, true}, {0, 0, true, 0, true}, {1, 0, true, 0, false},
	} {
		weight, fault := followed(TrackFile, c.weight, c.reverse).Counts(FileValue(c.value))
		if weight != c.want || fault != c.fault {
			t.Errorf("%d × %d (reverse %t): %d %t, want %d %t", c.value, c.weight, c.reverse, weight, fault, c.want, c.fault)
		}
	}
}

func TestAnInstancesLineCountsOnlyWithoutWeightIfItsGroupHasOneToo(t *testing.T) {
	a, b := Thing{TrackScript, "a"}, Thing{TrackScript, "b"}
	got := Merge([]Tracked{{a, 0, false}, {b, 5, false}}, []Tracked{{a, 7, false}, {b, 9, true}, {Thing{TrackFile, "a"}, 1, false}})
	want := []Tracked{{a, 0, false}, {b, 9, true}, {Thing{TrackFile, "a"}, 1, false}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

// tracking is VI_1 and VI_2 with the same trackers.
func tracking(t *testing.T, things ...Tracked) (*Speaker, *Trackers) {
	t.Helper()
	s := speaker(t, named("VI_1", "eth0", 51), named("VI_2", "eth1", 51))
	tr := NewTrackers(s)
	tr.Follow(epoch, []Follower{{"VI_1", things}, {"VI_2", things}})
	return s, tr
}

func TestTheStartWaitsForScriptsThatCouldBeAFault(t *testing.T) {
	chk := Thing{TrackScript, "chk"}
	s, tr := tracking(t, Tracked{Thing: chk}, followed(TrackFile, 0, false), Tracked{Thing: Thing{TrackScript, "weighs"}, Weight: 5})
	s.Start(epoch, noVIPs)
	expectChanges(t, "not known", plays(s, epoch))
	if w := s.Router("VI_1").Status().Waiting; w != "script chk has not run yet" {
		t.Errorf("waits for %q", w)
	}
	tr.Observe(at(time.Second), chk, Up(true))
	expectChanges(t, "success", plays(s, at(time.Second)), "VI_1 BACKUP", "VI_2 BACKUP")
	tr.Observe(at(2*time.Second), chk, Up(true))
	expectChanges(t, "the same again", plays(s, at(2*time.Second)))
	tr.Observe(at(3*time.Second), chk, Up(false))
	expectChanges(t, "failure", plays(s, at(3*time.Second)), "VI_1 FAULT", "VI_2 FAULT")
	if st := s.Router("VI_2").Status(); !slices.Equal(st.Faults, []string{"script chk failed"}) || st.Why != "script chk failed" {
		t.Errorf("%+v", st)
	}
}

func TestAStartWithAFailedScriptIsAFault(t *testing.T) {
	s, tr := tracking(t, followed(TrackScript, 0, false))
	s.Start(epoch, noVIPs)
	tr.Observe(at(time.Second), Thing{TrackScript, "x"}, Up(false))
	expectChanges(t, "failure", plays(s, at(10*time.Second)), "VI_1 FAULT", "VI_2 FAULT")
}

func TestTwoTrackersAreTwoFaultsAndTwoWeights(t *testing.T) {
	chk, link := Thing{TrackScript, "x"}, Thing{TrackInterface, "x"}
	s, tr := tracking(t, Tracked{Thing: chk, Weight: -10}, Tracked{Thing: link, Weight: -20})
	tr.Observe(epoch, chk, Up(false))
	tr.Observe(epoch, link, Up(false))
	st := s.Router("VI_1").Status()
	if st.Priority != 70 || !slices.Equal(st.Weights, []Weight{{"script x", -10}, {"interface x", -20}}) {
		t.Errorf("%+v", st)
	}
	tr.Observe(epoch, chk, Up(true))
	if p := s.Router("VI_2").Status().Priority; p != 80 {
		t.Errorf("priority %d", p)
	}
}

func TestAReloadKeepsWhatIsKnownAndForgetsWhatIsNotFollowed(t *testing.T) {
	chk, file := Tracked{Thing: Thing{TrackScript, "chk"}}, Tracked{Thing: Thing{TrackFile, "f"}, Weight: 1}
	s, tr := tracking(t, chk, file)
	tr.Observe(epoch, chk.Thing, Up(false))
	tr.Observe(epoch, file.Thing, FileValue(5))
	s.Start(epoch, noVIPs)
	takenOf(s)
	now := at(time.Second)
	tr.Follow(now, []Follower{{"VI_1", []Tracked{chk, file}}, {"VI_2", []Tracked{file}}})
	expectChanges(t, "VI_2 follows no script", plays(s, now), "VI_2 BACKUP")
	chk.Weight = -30
	tr.Follow(now, []Follower{{"VI_1", []Tracked{chk}}})
	expectChanges(t, "the script weighs", plays(s, now), "VI_1 BACKUP")
	for name, want := range map[string]uint8{"VI_1": 70, "VI_2": 100} {
		if p := s.Router(name).Status().Priority; p != want {
			t.Errorf("%s has priority %d", name, p)
		}
	}
	if tr.Known(file.Thing).Known {
		t.Error("a file that nobody follows is remembered")
	}
	tr.Follow(now, []Follower{{"VI_1", []Tracked{chk, {Thing: Thing{TrackScript, "new"}}}}})
	expectChanges(t, "a script that is new at a reload", plays(s, now))
	if st := s.Router("VI_1").Status(); st.Waiting != "" || st.State != Backup {
		t.Errorf("%+v", st)
	}
}

func TestTrackersAreListed(t *testing.T) {
	_, tr := tracking(t, followed(TrackFile, 1, false), followed(TrackInterface, 0, false))
	tr.Observe(epoch, Thing{TrackFile, "x"}, FileValue(3))
	got := tr.Status()
	if len(got) != 2 || got[0].Kind != TrackInterface || got[0].Known || got[1].Value != 3 || !slices.Equal(got[1].Followers, []string{"VI_1", "VI_2"}) {
		t.Errorf("%+v", got)
	}
	if names := tr.Interfaces(); !slices.Equal(names, []string{"x"}) {
		t.Errorf("%v", names)
	}
}
