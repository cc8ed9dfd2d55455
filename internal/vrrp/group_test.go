package vrrp

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// pair is a host with two instances in one sync group, on two links.
func pair(t *testing.T, change ...func(*Config)) *Speaker {
	t.Helper()
	var cfgs []Config
	for i, name := range []string{"VI_1", "VI_2"} {
		cfg := named(name, fmt.Sprintf("eth%d", i), 51)
		for _, f := range change {
			f(&cfg)
		}
		cfgs = append(cfgs, cfg)
	}
	s := speaker(t, cfgs...)
	s.SetGroups(epoch, []GroupConfig{{Name: "G", Instances: []string{"VI_1", "VI_2"}}})
	return s
}

func noVIPs(Config) bool { return false }

// plays runs s until end and returns the changes of state: "VI_1 MASTER", "G MASTER".
func plays(s *Speaker, end time.Time) (changes []string) {
	for {
		for _, e := range takenOf(s) {
			switch e := e.(type) {
			case Change:
				changes = append(changes, e.Instance+" "+e.To.String())
			case GroupChange:
				changes = append(changes, e.Group+" "+e.To.String())
			}
		}
		next := s.Next()
		if next.IsZero() || next.After(end) {
			return changes
		}
		s.Tick(next)
	}
}

func expectChanges(t *testing.T, when string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", when, got, want)
	}
}

// groupMaster is a pair that heard nobody.
func groupMaster(t *testing.T) *Speaker {
	t.Helper()
	s := pair(t)
	s.Start(epoch, noVIPs)
	plays(s, at(4*time.Second))
	return s
}

func TestAGroupIsMasterWhenAllOfItCanBe(t *testing.T) {
	s := pair(t)
	s.Start(epoch, noVIPs)
	expectChanges(t, "start", plays(s, at(3*time.Second)), "VI_1 BACKUP", "VI_2 BACKUP", "G BACKUP")
	// VI_2 hears a master until 10 s: VI_1 alone, whose timer fires again and again, stays BACKUP.
	for i := range 10 {
		s.Receive(at(time.Duration(i+1)*time.Second), "eth1", from("10.0.8.3", 150))
		expectChanges(t, "one hears a master", plays(s, at(time.Duration(i+1)*time.Second)))
	}
	expectChanges(t, "none hears one", plays(s, at(14*time.Second)), "VI_2 MASTER", "VI_1 MASTER", "G MASTER")
}

func TestAnAdvertMakesAnInstanceWantNoLonger(t *testing.T) {
	s := pair(t)
	s.Start(epoch, noVIPs)
	s.Receive(at(3*time.Second), "eth1", from("10.0.8.3", 150))
	plays(s, at(4*time.Second)) // VI_1 wants
	s.Receive(at(5*time.Second), "eth0", from("10.0.8.3", 150))
	// VI_2's timer fires at 6.6 s. VI_1 has a master again: the group waits until VI_1's has fired, at 8.6 s.
	expectChanges(t, "before", plays(s, at(8500*time.Millisecond)))
	expectChanges(t, "after", plays(s, at(9*time.Second)), "VI_1 MASTER", "VI_2 MASTER", "G MASTER")
}

func TestAMemberThatYieldsTakesTheOthersAlong(t *testing.T) {
	s := groupMaster(t)
	s.Receive(at(5*time.Second), "eth1", from("10.0.8.3", 150))
	if got := doings(takenOf(s)); !slices.Equal(got, []string{"remove", "MASTER→BACKUP", "remove", "MASTER→BACKUP"}) {
		t.Errorf("did %v: no priority 0, the stronger one takes it all", got)
	}
	for _, st := range s.Groups() {
		if st.State != Backup {
			t.Errorf("%+v", st)
		}
	}
}

func TestAFaultOfOneMemberIsTheFaultOfAll(t *testing.T) {
	s := groupMaster(t)
	s.Router("VI_2").Fault(at(5*time.Second), "interface eth1 down", true)
	effects := takenOf(s)
	if got := doings(effects); !slices.Equal(got, []string{"send 0", "remove", "MASTER→FAULT", "send 0", "remove", "MASTER→FAULT"}) {
		t.Errorf("did %v", got)
	}
	expectLine(t, effects, "VRRP_Group(G) Syncing instances to FAULT state")
	if st := s.Router("VI_1").Status(); !slices.Equal(st.Faults, []string{"sync group G: VI_2 interface eth1 down"}) || st.Group != "G" {
		t.Errorf("%+v", st)
	}
	s.Router("VI_1").Fault(at(6*time.Second), "script chk failed", true)
	s.Router("VI_2").Fault(at(7*time.Second), "interface eth1 down", false)
	expectChanges(t, "one fault is left", plays(s, at(8*time.Second)))
	s.Router("VI_1").Fault(at(9*time.Second), "script chk failed", false)
	expectChanges(t, "none is left", plays(s, at(12*time.Second)), "VI_1 BACKUP", "VI_2 BACKUP", "G BACKUP")
	expectChanges(t, "after a down time", plays(s, at(13*time.Second)), "VI_2 MASTER", "VI_1 MASTER", "G MASTER")
}

func TestAGroupStartsWithTheFaultsOfItsMembers(t *testing.T) {
	s := pair(t)
	s.Router("VI_2").Fault(epoch, "interface eth1 down", true)
	s.Start(epoch, noVIPs)
	expectChanges(t, "start", plays(s, at(10*time.Second)), "VI_1 FAULT", "VI_2 FAULT", "G FAULT")
}

func TestAStartWaitsForWhatHoldsAnyMember(t *testing.T) {
	s := pair(t)
	s.Router("VI_2").Hold(epoch, "script chk has not run yet", true)
	s.Start(epoch, noVIPs)
	expectChanges(t, "held", plays(s, at(10*time.Second)))
	if st := s.Router("VI_1").Status(); st.Waiting != "script chk has not run yet" || st.State != Init {
		t.Errorf("%+v", st)
	}
	s.Router("VI_2").Hold(at(10*time.Second), "script chk has not run yet", false)
	expectChanges(t, "let go", plays(s, at(13*time.Second)), "VI_2 BACKUP", "VI_1 BACKUP", "G BACKUP")
	expectChanges(t, "later", plays(s, at(14*time.Second)), "VI_1 MASTER", "VI_2 MASTER", "G MASTER")
}

func TestAFaultDoesNotWaitForAHold(t *testing.T) {
	r := NewRouter(site())
	r.Hold(epoch, "script a has not run yet", true)
	r.Hold(epoch, "script b has not run yet", true)
	r.Start(epoch, false)
	expect(t, r, "held", "remove")
	r.Fault(at(time.Second), "script a failed", true)
	r.Hold(at(time.Second), "script a has not run yet", false)
	expect(t, r, "fault", "INIT→FAULT")
	r.Fault(at(2*time.Second), "script a failed", false)
	expect(t, r, "still held")
	r.Hold(at(3*time.Second), "script b has not run yet", false)
	expect(t, r, "let go", "FAULT→BACKUP")
}

func TestStateMasterIsAHeadStartInAGroupAlone(t *testing.T) {
	s := pair(t, func(c *Config) { c.InitialMaster, c.Priority = true, 150 })
	s.Start(epoch, noVIPs)
	expectChanges(t, "at the start", plays(s, at(time.Second)), "VI_1 BACKUP", "VI_2 BACKUP", "G BACKUP")
	expectChanges(t, "one interval and 1/256 s later", plays(s, at(1004*time.Millisecond)), "VI_1 MASTER", "VI_2 MASTER", "G MASTER")
}

func TestAGroupOfOwnersIsMasterAtOnce(t *testing.T) {
	s := pair(t, func(c *Config) { c.InitialMaster, c.Priority = true, 255 })
	s.Start(epoch, noVIPs)
	expectChanges(t, "owners", plays(s, epoch), "VI_1 MASTER", "VI_2 MASTER", "G MASTER")
}

func TestAGroupStopsWhenAllOfItHasStopped(t *testing.T) {
	s := groupMaster(t)
	s.Stop(at(5 * time.Second))
	expectChanges(t, "stop", plays(s, at(10*time.Second)), "VI_1 INIT", "VI_2 INIT", "G INIT")
}

func TestAWeakerAdvertMakesTheWholeGroupAnnounceAgain(t *testing.T) {
	s := groupMaster(t)
	s.Receive(at(5*time.Second), "eth0", from("10.0.8.3", 50))
	var who []string
	for _, e := range takenOf(s) {
		if a, ok := e.(Announce); ok {
			who = append(who, a.Instance)
		}
	}
	if !slices.Equal(who, []string{"VI_1", "VI_2"}) {
		t.Errorf("announced %v", who)
	}
}

func TestAReloadRegroups(t *testing.T) {
	s := groupMaster(t)
	now := at(5 * time.Second)
	s.SetGroups(now, []GroupConfig{{Name: "G", Instances: []string{"VI_1", "VI_2"}}})
	expectChanges(t, "the same groups", plays(s, now))
	s.SetGroups(now, nil)
	s.Router("VI_2").Fault(now, "interface eth1 down", true)
	expectChanges(t, "no group", plays(s, now), "VI_2 FAULT")
	s.SetGroups(now, []GroupConfig{{Name: "H", Instances: []string{"VI_1", "VI_2", "VI_3"}}})
	expectChanges(t, "a new group of unequals", plays(s, now), "VI_1 FAULT", "H FAULT")
	s.SetGroups(now, nil)
	expectChanges(t, "alone again", plays(s, now), "VI_1 BACKUP")
}

// The words are keepalived's: captured from 2.2.7 with two instances in a group, -D. That a router is MASTER comes after
// its addresses here.
func TestAGroupSaysWhatKeepalivedSays(t *testing.T) {
	s := pair(t)
	s.Start(epoch, noVIPs)
	takenOf(s)
	for next := s.Next(); !next.After(at(4 * time.Second)); next = s.Next() {
		s.Tick(next)
	}
	var lines []string
	for _, line := range said(takenOf(s), false) {
		if !strings.Contains(line, "gratuitous") {
			lines = append(lines, line)
		}
	}
	want := []string{"(VI_1) Receive advertisement timeout", "(VI_2) Receive advertisement timeout", "(VI_2) setting VIPs.",
		"(VI_1) setting VIPs.", "(VI_2) Entering MASTER STATE", "VRRP_Group(G) Syncing instances to MASTER state", "(VI_1) Entering MASTER STATE"}
	if !slices.Equal(lines, want) {
		t.Errorf("said\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}
