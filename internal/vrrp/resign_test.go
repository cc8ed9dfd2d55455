package vrrp

import (
	"strings"
	"testing"
	"time"
)

func resigned(t *testing.T, names ...string) *Speaker {
	t.Helper()
	s := groupMaster(t)
	if err := s.Resign(at(10*time.Second), names...); err != nil {
		t.Fatal(err)
	}
	return s
}

// The addresses stay until somebody else is master, and a stronger router does not take back what it has given away.
func TestAMasterResigns(t *testing.T) {
	s := speaker(t, named("VI_1", "eth0", 51))
	s.Start(epoch, noVIPs)
	plays(s, at(4*time.Second))
	if err := s.Resign(at(10*time.Second), "VI_1"); err != nil {
		t.Fatal(err)
	}
	r := s.Router("VI_1")
	expect(t, r, "resign", "send 0", "MASTER→BACKUP")
	s.Receive(at(10500*time.Millisecond), "eth0", from("10.0.8.3", 50))
	expect(t, r, "another is master", "remove")
	for i := 11; i < 30; i++ { // and stays it, weaker as it is
		s.Tick(at(time.Duration(i) * time.Second))
		s.Receive(at(time.Duration(i)*time.Second), "eth0", from("10.0.8.3", 50))
		expect(t, r, "it stays")
	}
	r.Return()
	s.Receive(at(30*time.Second), "eth0", from("10.0.8.3", 50))
	expectChanges(t, "after the return", plays(s, at(34*time.Second)), "VI_1 MASTER")
}

func TestWhoeverResignsInVainGoesOn(t *testing.T) {
	s := resigned(t, "VI_1")
	expectChanges(t, "resign and wait", plays(s, at(14*time.Second)), "VI_1 BACKUP", "VI_2 BACKUP", "G BACKUP", "VI_2 MASTER", "VI_1 MASTER", "G MASTER")
	for _, r := range s.Routers() {
		if !r.holding || r.resigned {
			t.Errorf("%s holds its addresses: %v, has resigned: %v", r.cfg.Name, r.holding, r.resigned)
		}
	}
}

// When the other one goes, whoever has resigned takes over as anybody would.
func TestWhoeverHasResignedTakesOverFromADeadMaster(t *testing.T) {
	s := resigned(t, "VI_2")
	for i := range 5 {
		for _, ifname := range []string{"eth0", "eth1"} {
			s.Receive(at(time.Duration(11+i)*time.Second), ifname, from("10.0.8.3", 50))
		}
	}
	plays(s, at(15*time.Second))
	expectChanges(t, "silence", plays(s, at(20*time.Second)), "VI_2 MASTER", "VI_1 MASTER", "G MASTER")
}

func TestOnlyAMasterResigns(t *testing.T) {
	s := pair(t)
	s.Start(epoch, noVIPs)
	for name, want := range map[string]string{"VI_1": "VI_1 is BACKUP and not MASTER", "VI_9": "there is no instance VI_9"} {
		if err := s.Resign(at(time.Second), name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
