package lab

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"vipd/internal/need"
)

func TestEveryKindOfSiteIsANetwork(t *testing.T) {
	for _, method := range Methods {
		if method == Content {
			need.Tool(t, "haproxy") // the last of them: the others need nothing
		}
		for _, tier := range []bool{false, true} {
			l := Named("x", t.TempDir(), "x-", "", nil)
			if err := l.Use(method); err != nil {
				t.Fatal(err)
			}
			if tier {
				l.addTier()
			}
			if err := l.Check(); err != nil {
				t.Errorf("%s, third tier %t: %v", method, tier, err)
			}
			for host, addr := range l.Reals {
				if own, _, ok := l.plug(host); !ok || own.Addrs[0].Addr() != addr {
					t.Errorf("%s: %s is not at %s", method, host, addr)
				}
				if h, _ := l.Host(host); (len(h.Loopback) == 1) != (method == DR || method == TUN) {
					t.Errorf("%s: %s has %v on its loopback", method, host, h.Loopback)
				}
			}
		}
	}
	if err := Named("x", t.TempDir(), "x-", "", nil).Use("magic"); err == nil {
		t.Error("a method that nobody knows is taken")
	}
}

func TestWhatStandsIsRecalled(t *testing.T) {
	var missing *MissingError
	if err := Named("y", t.TempDir(), "y-", "", nil).Furnish("x"); errors.As(err, &missing) {
		need.Tool(t, missing.Programs[0])
	}
	dir := t.TempDir()
	l := Named("x", dir, "x-", "/bin/true", nil)
	if err := l.Recall(); err != nil || l.Method != DR || l.Forum != "" {
		t.Errorf("nothing stands: %v, %s, %s", err, l.Method, l.Forum)
	}
	if err := l.Use(TUN); err != nil {
		t.Fatal(err)
	}
	if err := l.Furnish("/opt/forum"); err != nil {
		t.Fatal(err)
	}
	if err := l.remember(); err != nil {
		t.Fatal(err)
	}
	other := Named("x", dir, "x-", "/bin/true", nil)
	if err := other.Recall(); err != nil || other.Method != TUN || other.Forum != "/opt/forum" || len(other.Hosts) != len(l.Hosts) {
		t.Errorf("recalled: %v, %+v", err, other.Site)
	}
	if err := os.WriteFile(filepath.Join(dir, "lab.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Named("x", dir, "x-", "", nil).Recall(); err == nil {
		t.Error("a broken file is taken")
	}
}

func TestMissingProgramsAreNamedWithTheirPackages(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var missing *MissingError
	l := Named("x", t.TempDir(), "x-", "", nil)
	err := l.Furnish("/opt/forum")
	if err == nil {
		t.Skip("every program lies where no PATH is needed")
	}
	missing, _ = err.(*MissingError)
	if missing == nil || !slices.Contains(missing.Programs, "memcached") || !slices.Contains(missing.Packages, "memcached") {
		t.Errorf("%v", err)
	}
}

func TestTheMainProcessOfAHost(t *testing.T) {
	self, above := os.Getpid(), os.Getppid()
	all := []Member{{self, "posts", RoleStore}, {above, "posts", RoleStore}, {above, "mail", RoleStore}, {above, "real1", RoleExec}}
	if m, ok := mainOf(all, "posts"); !ok || m.PID != above {
		t.Errorf("of parent and child: %v, %t", m, ok)
	}
	if m, ok := mainOf(all[:1], "posts"); !ok || m.PID != self {
		t.Errorf("of one: %v, %t", m, ok)
	}
	if m, ok := mainOf(all, "real1"); ok {
		t.Errorf("a command by hand: %v", m)
	}
}
