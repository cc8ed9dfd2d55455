package test

import (
	"strings"
	"testing"
	"time"
)

// TestADirectorIsTakenOutOnPurpose: by vipd failover and vipd maintenance, with another director and without.
func TestADirectorIsTakenOutOnPurpose(t *testing.T) {
	if !alone(t, 4*time.Minute) {
		return
	}
	before := left(t)
	const one, two = "lab-director1", "lab-director2"
	state := func(director string) string {
		_, rest, _ := strings.Cut(vipd(t, "vrrp", "--instance", director).stdout, ": ")
		state, _, _ := strings.Cut(rest, " ")
		return state
	}
	becomes := func(director, want string) {
		t.Helper()
		eventually(t, 40*time.Second, director+" is "+want, func() bool { return state(director) == want })
	}
	pairOf(t)
	becomes(one, "MASTER")

	if out := vipd(t, "failover", "--instance", two); out.code == 0 || !strings.Contains(out.stderr, "no instance is MASTER here") {
		t.Errorf("a backup hands over: %s", out)
	}
	if out := vipd(t, "failover", "--instance", one); out.code != 0 || !strings.Contains(out.stderr, "is master, of priority 100, after ") ||
		!strings.Contains(out.stderr, "peer 10.0.8.55 has 100 % of ") || !strings.Contains(out.stderr, " ms behind") {
		t.Errorf("failover: %s", out)
	}
	becomes(two, "MASTER")
	time.Sleep(5 * time.Second)
	if a, b := state(one), state(two); a != "BACKUP" || b != "MASTER" {
		t.Errorf("five seconds later they are %s and %s", a, b)
	}
	works(t, "failover", "--instance", one, "--back")
	becomes(one, "MASTER")

	works(t, "maintenance", "on", "--instance", one)
	becomes(two, "MASTER")
	works(t, "reload", "--instance", one)
	if said := vipd(t, "vrrp", "--instance", one).stdout; !strings.Contains(said, "FAULT") || !strings.Contains(said, "maintenance") {
		t.Errorf("under maintenance, after a reload:\n%s", said)
	}
	works(t, "upgrade", "--instance", one)
	if got := state(one); got != "FAULT" {
		t.Errorf("under maintenance, after an upgrade: %s", got)
	}
	works(t, "maintenance", "off", "--instance", one)
	becomes(one, "MASTER")

	works(t, "lab", "stop", "director2")
	eventually(t, 20*time.Second, "the peer is missed", func() bool { return strings.Contains(vipd(t, "status", "--instance", one).stdout, "not heard for") })
	if out := vipd(t, "maintenance", "on", "--wait", "1s", "--instance", one); out.code == 0 || !strings.Contains(out.stderr, "not within 1s: peer 10.0.8.55 is not heard for") {
		t.Errorf("maintenance without a peer that has the connections: %s", out)
	}
	if out := vipd(t, "maintenance", "on", "--now", "--instance", one); out.code == 0 || !strings.Contains(out.stderr, "nobody took over") {
		t.Errorf("maintenance of the only director: %s", out)
	}
	becomes(one, "MASTER")
	if out := vipd(t, "maintenance", "on", "--force", "--wait", "1s", "--drain", "5s", "--instance", one); out.code != 0 || !strings.Contains(out.stderr, "nobody takes over: no new connections from now on") {
		t.Errorf("maintenance of the only director, all the same: %s", out)
	}
	becomes(one, "FAULT")
	works(t, "maintenance", "off", "--instance", one)
	becomes(one, "MASTER")
	works(t, "lab", "down")
	nothingNew(t, before)
}
