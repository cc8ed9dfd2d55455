package vrrp

import (
	"slices"
	"testing"
	"time"
)

func counted(t *testing.T, cfg ProcessConfig) (*Speaker, *Trackers, *Processes) {
	t.Helper()
	s, tr := tracking(t, Tracked{Thing: Thing{TrackProcess, "p"}, Weight: -20})
	p := NewProcesses(tr)
	cfg.Name = "p"
	p.Set([]ProcessConfig{cfg})
	return s, tr, p
}

func TestAQuorumOfProcesses(t *testing.T) {
	for _, c := range []struct {
		quorum, most int
		counts       []int
		want         []bool
	}{
		{1, -1, []int{0, 1, 2, 0}, []bool{false, true, true, false}},
		{2, 3, []int{1, 2, 3, 4, 3, 1}, []bool{false, true, true, false, true, false}},
		{0, 0, []int{0, 1, 0}, []bool{true, false, true}},
	} {
		_, tr, p := counted(t, ProcessConfig{Quorum: c.quorum, QuorumMax: c.most})
		for i, n := range c.counts {
			p.Count(at(time.Duration(i)*time.Second), "p", n)
			if v := tr.Known(Thing{TrackProcess, "p"}); !v.Known || v.OK != c.want[i] {
				t.Errorf("quorum %d to %d, count %d: %+v", c.quorum, c.most, n, v)
			}
		}
	}
}

func TestAChangeOfTheQuorumCountsAfterItsDelay(t *testing.T) {
	s, tr, p := counted(t, ProcessConfig{Quorum: 1, QuorumMax: -1, TerminateDelay: 2 * time.Second, ForkDelay: time.Second})
	p.Count(epoch, "p", 1)
	takenOf(s)
	p.Count(at(time.Second), "p", 0)
	if v := tr.Known(Thing{TrackProcess, "p"}); !v.OK || p.Next() != at(3*time.Second) {
		t.Fatalf("%+v until %s", v, p.Next())
	}
	p.Count(at(2*time.Second), "p", 1) // restarted in time
	if !p.Next().IsZero() || takenOf(s) != nil {
		t.Error("a process that is back in time is news")
	}
	p.Count(at(3*time.Second), "p", 0)
	p.Tick(p.Next())
	p.Count(at(6*time.Second), "p", 1)
	p.Tick(p.Next())
	want := []string{"Quorum lost for tracked process p", "(VI_1) Changing effective priority from 100 to 80", "(VI_2) Changing effective priority from 100 to 80",
		"Quorum gained for tracked process p", "(VI_1) Changing effective priority from 80 to 100", "(VI_2) Changing effective priority from 80 to 100"}
	if got := said(takenOf(s), false); !slices.Equal(got, want) {
		t.Errorf("said %q", got)
	}
	p.Count(at(9*time.Second), "p", 0)
	p.Set([]ProcessConfig{{Name: "p", Quorum: 1, QuorumMax: -1}, {Name: "q", Quorum: 1, QuorumMax: -1}})
	if p.Next() != at(11*time.Second) {
		t.Errorf("a reload forgot the delay: %s", p.Next())
	}
}
