package vrrp

import (
	"testing"
	"time"
)

const cause = "61 % of the connections of 10.0.8.3"

// hearsWeaker has a router hear a weaker master once a second from one second to another, and tells when it became master.
func hearsWeaker(s *Speaker, from1, to int) (master time.Duration) {
	for i := from1; i < to; i++ {
		for ms := range 10 {
			now := at(time.Duration(i)*time.Second + time.Duration(ms)*100*time.Millisecond)
			s.Tick(now)
			if s.Router("VI_1").state == Master {
				return now.Sub(epoch)
			}
		}
		s.Receive(at(time.Duration(i+1)*time.Second), "eth0", from("10.0.8.3", 50))
	}
	return 0
}

func withheld(t *testing.T, change func(c *Config)) *Speaker {
	t.Helper()
	cfg := named("VI_1", "eth0", 51)
	if change != nil {
		change(&cfg)
	}
	s := speaker(t, cfg)
	s.Router("VI_1").Withhold(epoch, cause, 30*time.Second)
	s.Start(epoch, noVIPs)
	return s
}

func TestAStrongerRouterHoldsBackUntilItIsLet(t *testing.T) {
	for name, change := range map[string]func(c *Config){
		"as backup": nil,
		"an owner":  func(c *Config) { c.Priority, c.InitialMaster = 255, true },
	} {
		s := withheld(t, change)
		r := s.Router("VI_1")
		s.Receive(at(500*time.Millisecond), "eth0", from("10.0.8.3", 50))
		if got := hearsWeaker(s, 0, 20); got != 0 {
			t.Fatalf("%s: master after %s", name, got)
		}
		st := r.Status()
		if st.HoldsBack != cause || !st.HoldsUntil.Equal(at(30500*time.Millisecond)) {
			t.Errorf("%s: %q until %s", name, st.HoldsBack, st.HoldsUntil.Sub(epoch))
		}
		r.Withhold(at(20*time.Second), "", 0)
		if st := r.Status(); st.HoldsBack != "" {
			t.Errorf("%s: %q", name, st.HoldsBack)
		}
		if got := hearsWeaker(s, 20, 30); got == 0 || got > 25*time.Second {
			t.Errorf("%s: let, it was master after %s", name, got)
		}
	}
}

func TestHoldingBackHasABoundFromTheFirstWeakerAdvert(t *testing.T) {
	s := withheld(t, nil)
	s.Receive(at(time.Second), "eth0", from("10.0.8.3", 50))
	if got := hearsWeaker(s, 1, 60); got < 31*time.Second || got > 36*time.Second {
		t.Errorf("master after %s", got)
	}
}

func TestWhoHoldsBackTakesOverWhenTheMasterVanishes(t *testing.T) {
	s := withheld(t, nil)
	s.Receive(at(time.Second), "eth0", from("10.0.8.3", 50))
	hearsWeaker(s, 1, 10)
	expectChanges(t, "the master has gone", plays(s, at(14*time.Second)), "VI_1 BACKUP", "VI_1 MASTER")
	if st := s.Router("VI_1").Status(); st.HoldsBack != "" {
		t.Errorf("%q", st.HoldsBack)
	}
}

func TestWhoIsAloneOrStrongerDoesNotHoldBack(t *testing.T) {
	s := withheld(t, nil)
	expectChanges(t, "alone", plays(s, at(4*time.Second)), "VI_1 BACKUP", "VI_1 MASTER")
	s.Receive(at(5*time.Second), "eth0", from("10.0.8.3", 50))
	if s.Router("VI_1").state != Master {
		t.Error("a master gave way")
	}
	r := withheld(t, nil).Router("VI_1") // a stronger master is followed, and nothing is held back
	r.Receive(at(time.Second), from("10.0.8.3", 200))
	if st := r.Status(); st.HoldsBack != "" || st.State != Backup {
		t.Errorf("%+v", st)
	}
}

// A stream that breaks again and again does not keep a router for longer than it may.
func TestCausesThatComeAndGoHoldNoLongerThanOne(t *testing.T) {
	s := withheld(t, nil)
	r := s.Router("VI_1")
	s.Receive(at(500*time.Millisecond), "eth0", from("10.0.8.3", 50))
	for i := range 35 {
		if i%3 == 2 {
			r.Withhold(at(time.Duration(i)*time.Second), "", 30*time.Second)
			r.Withhold(at(time.Duration(i)*time.Second+time.Millisecond), cause, 30*time.Second)
		}
		if got := hearsWeaker(s, i, i+1); got != 0 {
			if got < 30*time.Second {
				t.Errorf("master after %s", got)
			}
			return
		}
	}
	t.Error("it never becomes master")
}

func TestWithoutAWaitNothingIsSaidOfOne(t *testing.T) {
	s := speaker(t, named("VI_1", "eth0", 51))
	r := s.Router("VI_1")
	r.Withhold(epoch, cause, 0)
	s.Start(epoch, noVIPs)
	s.Receive(at(500*time.Millisecond), "eth0", from("10.0.8.3", 50))
	if st := r.Status(); st.HoldsBack != "" {
		t.Errorf("holds back: %s", st.HoldsBack)
	}
	if got := hearsWeaker(s, 0, 10); got == 0 {
		t.Error("it does not take over")
	}
}
