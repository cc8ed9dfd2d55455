package vrrp

import (
	"strings"
	"testing"
	"time"
)

func TestABackupDoesNotTakeItsOwnAbsenceForTheMastersDeath(t *testing.T) {
	r := started()
	r.Receive(epoch, from("10.0.8.3", 200))
	taken(r)
	due := r.Next()
	now := due.Add(2800 * time.Millisecond)
	r.Stalled(now, 2800*time.Millisecond)
	r.Tick(now)
	if r.State() != Backup {
		t.Fatal("it took over although it had not listened")
	}
	expectLine(t, taken(r), "(VI_1) not scheduled for 2.8 s: waiting one more advert interval for the master")
	if want := now.Add(time.Second + 156*time.Second/256); r.Next() != want {
		t.Errorf("it waits until %s after, want %s", r.Next().Sub(now), want.Sub(now))
	}
	r.Tick(r.Next())
	taken(r)
	if st := r.Status(); st.State != Master || !strings.Contains(st.Why, "2.8 s of which this machine was not scheduled") {
		t.Errorf("%s: %s", st.State, st.Why)
	}
}

func TestALittleLatenessIsNoAbsence(t *testing.T) {
	r := started()
	now := r.Next().Add(200 * time.Millisecond)
	r.Stalled(now, 200*time.Millisecond)
	r.Tick(now)
	taken(r)
	if r.State() != Master {
		t.Error("it waits for longer")
	}
}

// keepalived: timer_expired_backup N: after a stall in which a router of priority N would have taken over, a master
// steps down.
func TestALateMasterStepsDownIfItIsTold(t *testing.T) {
	for _, c := range []struct {
		expired int
		stall   time.Duration
		want    State
	}{{0, time.Minute, Master}, {150, 3400 * time.Millisecond, Master}, {150, 3500 * time.Millisecond, Backup}, {1, 3500 * time.Millisecond, Master}} {
		r := mastered(func(c2 *Config) { c2.TimerExpired, c2.NoPreempt = c.expired, true })
		now := r.sentAt.Add(c.stall)
		r.Stalled(now, c.stall-time.Second)
		if r.State() != c.want {
			t.Errorf("%d, after %s: %s, want %s", c.expired, c.stall, r.State(), c.want)
		}
	}
}
