package test

import (
	"strings"
	"testing"
	"time"

	"vipd/examples/site"
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
	text, err := site.Files.ReadFile("director1.conf")
	if err != nil {
		t.Fatal(err)
	}
	works(t, "lab", "up", "--config1", write(t, t.TempDir(), "director1.conf", strings.Replace(string(text), "priority 100", "priority 150", 1)))
	becomes(one, "MASTER")

	if out := vipd(t, "failover", "--instance", two); out.code == 0 || !strings.Contains(out.stderr, "no instance is MASTER here") {
		t.Errorf("a backup hands over: %s", out)
	}
	if out := vipd(t, "failover", "--instance", one); out.code != 0 || !strings.Contains(out.stderr, "is master, of priority 100, after ") {
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
	if out := vipd(t, "maintenance", "on", "--instance", one); out.code == 0 || !strings.Contains(out.stderr, "nobody took over") {
		t.Errorf("maintenance of the only director: %s", out)
	}
	becomes(one, "MASTER")
	works(t, "maintenance", "on", "--force", "--instance", one)
	becomes(one, "FAULT")
	works(t, "maintenance", "off", "--instance", one)
	becomes(one, "MASTER")
	works(t, "lab", "down")
	nothingNew(t, before)
}
