package vrrp

import (
	"testing"
	"time"
)

// mastersHand is what a process leaves that was master with those settings.
func mastersHand(t *testing.T, change ...func(*Config)) Mastership {
	t.Helper()
	r := mastered(change...)
	m, ok := r.HandOver(at(10 * time.Second))
	if !ok {
		t.Fatal("a master cannot hand over")
	}
	expect(t, r, "hand over", "send")
	return m
}

// The next process is master from its first moment, without a state between.
func TestTheNextProcessGoesOnAsMaster(t *testing.T) {
	ah := func(c *Config) { c.AuthType, c.AuthPass = AuthAH, "secret" }
	m := mastersHand(t, ah)
	if m.Within != 3*time.Second {
		t.Errorf("nobody takes over within %s, want 3 s", m.Within)
	}
	r := NewRouter(site(ah, func(c *Config) { c.NoPreempt = true }))
	r.Hold(at(11*time.Second), "script chk", true) // of which nothing is known yet
	r.Resume(m)
	r.Start(at(11*time.Second), false)
	expect(t, r, "start", "add", "send", "announce", "INIT→MASTER")
	if r.sequence <= m.Sequence {
		t.Errorf("AH goes on with %d after %d: a replay", r.sequence, m.Sequence)
	}
}

func TestWhoIsNotMasterHandsNothingOver(t *testing.T) {
	r := started()
	if m, ok := r.HandOver(epoch); ok {
		t.Errorf("a backup hands %+v over", m)
	}
}

func TestAFaultGoesBeforeWhatWasHandedOver(t *testing.T) {
	r := NewRouter(site())
	r.Resume(mastersHand(t))
	r.Fault(at(11*time.Second), "eth0 down", true)
	r.Start(at(11*time.Second), true)
	expect(t, r, "start", "remove", "INIT→FAULT")
	r.Fault(at(12*time.Second), "eth0 down", false)
	expect(t, r, "the fault goes", "FAULT→BACKUP")
}

// Of a sync group all members go on as master or none does.
func TestAGroupGoesOnAsMasterAsAWhole(t *testing.T) {
	m := mastersHand(t)
	for _, c := range []struct {
		name string
		told []string
		want []string
	}{
		{"all", []string{"VI_1", "VI_2"}, []string{"VI_1 MASTER", "VI_2 MASTER", "G MASTER"}},
		{"one is new", []string{"VI_1"}, []string{"VI_1 BACKUP", "VI_2 BACKUP", "G BACKUP"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := pair(t)
			for _, name := range c.told {
				s.Router(name).Resume(m)
			}
			s.Start(at(11*time.Second), func(Config) bool { return true })
			expectChanges(t, "start", plays(s, at(11*time.Second)), c.want...)
		})
	}
}
