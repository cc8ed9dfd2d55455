package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vipd/examples/site"
	"vipd/internal/host"
)

// TestAnUpgradeIsNotNoticed: another program, with another layout of what is pinned, takes the place of the active director of a pair
// that serves requests, and back. Neither the clients nor the other director notice.
func TestAnUpgradeIsNotNoticed(t *testing.T) {
	if !alone(t, 6*time.Minute) {
		return
	}
	before := left(t)
	other := anotherLayout(t)
	text, err := site.Files.ReadFile("director1.conf")
	if err != nil {
		t.Fatal(err)
	}
	works(t, "lab", "up", "--config1", write(t, t.TempDir(), "director1.conf", strings.Replace(string(text), "priority 100", "priority 150", 1)))
	eventually(t, 40*time.Second, "director1 is master", func() bool {
		return strings.Contains(vipd(t, "vrrp", "--instance", "lab-director1").stdout, "VI_1: MASTER")
	})
	time.Sleep(time.Second) // the other one has heard of it
	log := func(director string) string {
		text, err := os.ReadFile("/run/vipd/lab/" + director + ".log")
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	began := len(log("director2"))
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	short, long := clients(ctx, &load)
	time.Sleep(time.Second)

	const name = "lab-director1"
	refused := vipd(t, "upgrade", "--instance", name, "/bin/true")
	if refused.code == 0 || !strings.Contains(refused.stderr, "does not say that it is a vipd") {
		t.Errorf("an upgrade to something else: %s", refused)
	}
	if out := vipd(t, "upgrade", "--instance", name, "--check", other); out.code != 0 || !strings.Contains(out.stderr, "can take the place of") {
		t.Errorf("a check: %s", out)
	}
	for _, to := range [][]string{{other}, {program()}, nil} {
		// It waits for two loads of a packet path: seconds of a processor each, and more of a busy one.
		text, err := exec.CommandContext(t.Context(), program(), append([]string{"upgrade", "--instance", name}, to...)...).Output()
		if out := string(text); err != nil || !strings.Contains(out, "master of 1 of 1 instances") {
			t.Errorf("upgrade to %v: %v: %s", to, err, out)
		}
	}
	time.Sleep(4 * time.Second) // a director that noticed would have taken over
	stop()
	load.Wait()
	short.judge(t, "requests on connections of their own", 200)
	for _, c := range long {
		c.judge(t, "requests on the connection from "+c.from, 80)
	}
	if said := log("director2")[began:]; strings.Contains(said, "Entering MASTER") {
		t.Errorf("the other director took over:\n%s", said)
	}
	said := log("director1")
	if n := strings.Count(said, "INIT to MASTER: the process before was master"); n != 3 {
		t.Errorf("it went on as master %d times, want 3:\n%s", n, said)
	}
	if n := strings.Count(said, "the packet path of the process before had layout "); n != 2 {
		t.Errorf("it took over another layout %d times, want 2:\n%s", n, said)
	}
	for _, never := range []string{"Entering BACKUP STATE\n(VI_1) MASTER", "ERROR"} {
		if strings.Contains(said, never) {
			t.Errorf("%q was said:\n%s", never, said)
		}
	}
	works(t, "lab", "down")
	nothingNew(t, before)
}

// TestAStartThatFailsRenouncesWhatItWasHanded: a process has left its virtual addresses to the next one, which cannot start.
// They must not stay where nobody answers for them, for the other director takes over.
func TestAStartThatFailsRenouncesWhatItWasHanded(t *testing.T) {
	if !alone(t, 2*time.Minute) {
		return
	}
	addCables(t)
	before := left(t)
	dir := t.TempDir()
	text := strings.Replace(siteFile(t, "eth0"), "priority 100", "priority 255", 1)
	run := startRun(t, "-f", write(t, dir, "owner.conf", text))
	has := func() bool { return strings.Contains(strings.Join(links(t), "\n"), "10.0.8.9/32") }
	eventually(t, 60*time.Second, "the address is there", has)
	boot, err := host.BootID()
	if err != nil {
		t.Fatal(err)
	}
	run.end(t, syscall.SIGKILL)
	handed := fmt.Sprintf(`{"version":1,"boot":%q,"at":0,"masters":[{"Instance":"VI_1","Within":3000000000,"addresses":[{"Prefix":"10.0.8.9/32","Dev":"eth0"}]}],"trackers":[]}`, boot)
	const path = "/run/vipd/default.handover"
	if err := os.WriteFile(path, []byte(handed), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := write(t, dir, "broken.conf", "\x7fELF\x02\x01\x00\x00")
	if o := vipd(t, "run", "-f", broken); o.code != 2 || !strings.Contains(o.stderr, "its addresses are removed") {
		t.Errorf("a start with a broken file: %s", o)
	}
	if has() {
		t.Error("the address stayed")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("what was handed over is still there, for a start in an hour")
	}
	run = startRun(t, "-f", filepath.Join(dir, "owner.conf"))
	eventually(t, 60*time.Second, "the next start is master", has)
	if code := run.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	nothingNew(t, before)
}
