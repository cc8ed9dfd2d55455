package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// furnished is what `vipd lab --site --json` writes beside the steps.
type furnished struct {
	User struct {
		LoggedInOn string `json:"logged_in_on"`
		Attachment int    `json:"attachment"`
		Checks     []struct {
			When       string `json:"when"`
			Server     string `json:"server"`
			LoggedIn   bool   `json:"logged_in"`
			Topic      bool   `json:"topic"`
			Attachment bool   `json:"attachment"`
			FileServer string `json:"file_server"`
		} `json:"checks"`
	} `json:"user"`
	Mails []struct {
		At       time.Time `json:"at"`
		Director string    `json:"director"`
		Subject  string    `json:"subject"`
	} `json:"mails"`
}

// forumBuilt is the forum, built once, beside the binary under test.
var forumBuilt sync.Once

// forum builds it, before a test gets a machine of its own.
func forum(t *testing.T) {
	t.Helper()
	if os.Getenv(stageVar) == "inside" {
		return
	}
	dir := filepath.Dir(build(t))
	forumBuilt.Do(func() {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir+"/forum", ".")
		cmd.Dir = "../examples/forum"
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
	})
}

// TestAUserSurvivesTheLossOfWhoServedThem: the whole site; the real server that served the user dies, then what real servers
// share, then a director loses its power, then the other one is stopped.
func TestAUserSurvivesTheLossOfWhoServedThem(t *testing.T) {
	forum(t)
	if !alone(t, 4*time.Minute, "memcached", "vsftpd", "exim4") {
		return
	}
	steps, got := playSite(t, "--power-off")
	// The client's addresses come in turn, and each stays on its real server: any stretch is even within one turn.
	even(t, steps["steady"], 2)
	// Which real server an address is bound to is known to one director alone, so a takeover may move it. So may the return
	// of a real server: a client that uses a port again meets the entry of its first use, which is of that server.
	for _, name := range []string{"steady", "director_back"} {
		if n := steps[name].Moved; n != 0 {
			t.Errorf("%s: the service is persistent, and %d client addresses were moved", name, n)
		}
	}
	if s := steps["director_killed"]; s.Failed == 0 {
		t.Errorf("director_killed: a director without power served on: %+v", s)
	}
	userSurvives(t, got, fallen, survivor)
}

// TestTheSiteByNAT and TestTheSiteByTunnel: the same in the other two methods, with shorter steps.
func TestTheSiteByNAT(t *testing.T) {
	forum(t)
	if alone(t, 4*time.Minute, "memcached", "vsftpd", "exim4") {
		_, got := playSite(t, "--method", "nat", "--step", "5s")
		userSurvives(t, got, fallen, survivor)
	}
}

func TestTheSiteByTunnel(t *testing.T) {
	forum(t)
	if alone(t, 4*time.Minute, "memcached", "vsftpd", "exim4") {
		_, got := playSite(t, "--method", "tun", "--step", "5s")
		userSurvives(t, got, "10.0.13.13", "10.0.12.12")
	}
}

func userSurvives(t *testing.T, got furnished, fallen, survivor string) {
	t.Helper()
	if got.User.LoggedInOn != fallen || got.User.Attachment < 1<<15 {
		t.Errorf("the user did not log in on %s: %+v", fallen, got.User)
	}
	var looks []string
	for _, c := range got.User.Checks {
		looks = append(looks, c.When)
		if !c.LoggedIn || !c.Topic || !c.Attachment {
			t.Errorf("%s: of the user something is lost: %+v", c.When, c)
		}
		if c.When == "real_down" && c.Server != survivor {
			t.Errorf("%s: answered by %s", c.When, c.Server)
		}
	}
	if want := "steady real_down real_up without memcached stores_down director_killed director_back director_stopped"; strings.Join(looks, " ") != want {
		t.Errorf("looks %q, want %q", looks, want)
	}
	for _, want := range []string{"Realserver [" + fallen + "]:tcp:80 of virtual server [10.0.8.9]:tcp:80 - DOWN", "Realserver [" + fallen + "]:tcp:80 of virtual server [10.0.8.9]:tcp:80 - UP",
		"VRRP Instance VI_1 - Entering MASTER state"} {
		from := map[string]bool{}
		for _, m := range got.Mails {
			if strings.HasSuffix(m.Subject, want) && time.Since(m.At) < 5*time.Minute {
				from[m.Director] = true
			}
		}
		if !from["director1"] && !from["director2"] {
			t.Errorf("no mail of a director says %q: %+v", want, got.Mails)
		}
	}
}

func TestTheThirdTierIsAskedFor(t *testing.T) {
	if !alone(t, time.Minute) {
		return
	}
	nowhere := filepath.Join(t.TempDir(), "forum")
	if o := vipd(t, "lab", "--site", "--forum", nowhere); o.code != 1 || !strings.Contains(o.stderr, nowhere) || !strings.Contains(o.stderr, "make forum") {
		t.Errorf("no forum: %s", o)
	}
	t.Setenv("PATH", t.TempDir())
	if o := vipd(t, "lab", "--site", "--forum", program()); o.code != 1 || !strings.Contains(o.stderr, "memcached is missing") && !strings.Contains(o.stderr, "memcached, ") || !strings.Contains(o.stderr, "apt-get install memcached") {
		t.Errorf("no memcached: %s", o)
	}
	if o := vipd(t, "lab", "--method", "magic"); o.code != 1 || !strings.Contains(o.stderr, "dr, nat, tun") {
		t.Errorf("no such method: %s", o)
	}
}

// TestTheFirstHour runs every command of docs/lab.md in its order: the book's words are true.
func TestTheFirstHour(t *testing.T) {
	forum(t)
	if !alone(t, 4*time.Minute, "memcached", "vsftpd", "exim4", "ping", "curl", "ip") {
		return
	}
	before := left(t)
	said := chapter(t, "../docs/lab.md", "\n## By hand\n", func(string) {})
	for command, want := range map[string]string{
		"lab status": "PostgreSQL runs", "lab exec client ping -c 4 10.0.8.9": " 4 received", "lab exec client curl -I http://10.0.8.9/": "X-Real: 10.0.8.1",
		"lab exec client curl http://10.0.8.9/index.aspx": "Nobody has written yet", "lab exec director2 ipvsadm -ln": "10.0.8.12:80",
	} {
		if !strings.Contains(said[command], want) {
			t.Errorf("%s: no %q in\n%s", command, want, said[command])
		}
	}
	nothingNew(t, before)
}
