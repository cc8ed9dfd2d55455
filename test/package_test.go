package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"vipd/internal/need"
)

// inRoot is a script in a root of its own: this machine's, of which nothing is changed, with a /run that is empty. Packages of
// two versions are in /deb.
const inRoot = `set -e
mount -t tmpfs none "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay none -o lowerdir=/,upperdir="$1/up",workdir="$1/work" "$1/root"
mount --rbind /proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs none "$1/root/run"
mkdir "$1/root/deb"
cp "$2"/*/*.deb "$1/root/deb/"
exec chroot "$1/root" /bin/sh -ec "$3"`

// packages is a folder with the Debian package of two versions.
type packages struct{ dir string }

var packed sync.Once

// makePackages makes the Debian package twice, as two versions, beside the binary under test. A test makes them before it gets a
// machine of its own, and finds them there.
func makePackages(t *testing.T) packages {
	t.Helper()
	need.Root(t)
	if os.Getenv(stageVar) == "inside" {
		return packages{filepath.Join(filepath.Dir(program()), "deb")}
	}
	p := packages{filepath.Join(filepath.Dir(build(t)), "deb")}
	packed.Do(func() {
		work := t.TempDir() // nothing of what `make` made in this tree is touched
		for _, version := range []string{"0.1.0", "0.2.0"} {
			cmd := exec.Command("make", "-s", "deb", "VERSION="+version, "DIST="+filepath.Join(p.dir, version), "BIN="+work+"/vipd", "PACKED="+work+"/packed")
			cmd.Dir = ".."
			if said, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("make deb: %v\n%s", err, said)
			}
		}
	})
	if made, _ := filepath.Glob(p.dir + "/*/*.deb"); len(made) != 2 {
		t.Fatalf("make deb made %q", made)
	}
	return p
}

// in runs a script where the packages can be installed.
func (p packages) in(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", inRoot, "sh", t.TempDir(), p.dir, script)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	return string(out)
}

// TestPackage is the life of the Debian package: installed, changed by its owner, upgraded, removed and purged.
func TestPackage(t *testing.T) {
	p := makePackages(t)
	t.Run("as the book says", func(t *testing.T) {
		for _, page := range []string{"pair.md", "moving.md", "install.md"} {
			played := 0
			for _, s := range pageSteps(t, "../docs/"+page) {
				if slices.Contains(s.machines, "package") {
					lines, _ := s.commands()
					p.in(t, "cd /deb; rm vipd_0.2*\n"+strings.Join(lines, "\n"))
					played++
				}
			}
			if played == 0 {
				t.Errorf("%s does not say how to install the package", page)
			}
		}
	})
	t.Run("beside keepalived and ipvsadm", func(t *testing.T) {
		out := p.in(t, `dpkg -i /deb/vipd_0.1.0-1_*.deb >/dev/null
			for f in /usr/sbin/keepalived /usr/sbin/ipvsadm; do test ! -L $f; $f -v 2>&1 || true; done
			vipd --version | grep '^vipd 0\.1\.0'; man -w vipd vipd.conf 2>/dev/null || ls /usr/share/man/man8/vipd.8.gz
			test -s /usr/share/bash-completion/completions/vipd; getent group vipd >/dev/null`)
		if !strings.Contains(out, "Keepalived v2.2.7 (") || strings.Contains(out, "by vipd") {
			t.Errorf("the installed names are not what they were:\n%s", out)
		}
	})
	t.Run("in their place", func(t *testing.T) {
		out := p.in(t, `dpkg --force-depends --purge keepalived ipvsadm >/dev/null 2>&1
			dpkg -i /deb/vipd_0.1.0-1_*.deb >/dev/null
			for n in keepalived ipvsadm genhash; do readlink -f "$(command -v $n)"; done
			keepalived -v 2>&1; ipvsadm --version`)
		if strings.Count(out, "/usr/sbin/vipd\n") != 3 || !strings.Contains(out, "by vipd") {
			t.Errorf("the names are not vipd's:\n%s", out)
		}
	})
	t.Run("upgrade and purge", func(t *testing.T) {
		out := p.in(t, `dpkg --force-depends --purge keepalived ipvsadm >/dev/null 2>&1
			dpkg -i /deb/vipd_0.1.0-1_*.deb >/dev/null
			echo 'VIPD_ARGS=--http 127.0.0.1:9650' >/etc/default/vipd
			dpkg -i /deb/vipd_0.2.0-1_*.deb >/dev/null
			dpkg -s vipd | grep Version; cat /etc/default/vipd
			dpkg --purge vipd >/dev/null 2>&1
			for f in /usr/sbin/vipd /etc/default/vipd /etc/vipd /lib/systemd/system/vipd.service /usr/sbin/keepalived /usr/sbin/ipvsadm /usr/bin/genhash \
				/etc/alternatives/keepalived /usr/share/doc/vipd; do test ! -e $f -a ! -L $f || echo "left: $f"; done`)
		if out != "Version: 0.2.0-1\nVIPD_ARGS=--http 127.0.0.1:9650\n" {
			t.Errorf("%s", out)
		}
	})
	t.Run("unit", func(t *testing.T) {
		out := p.in(t, `dpkg -i /deb/vipd_0.1.0-1_*.deb >/dev/null
			systemd-analyze verify --man=no /lib/systemd/system/vipd.service 2>&1
			systemd-analyze security --offline=true /lib/systemd/system/vipd.service 2>&1 | tail -n 1`)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		m := regexp.MustCompile(`exposure level for vipd.service: ([0-9.]+)`).FindStringSubmatch(lines[len(lines)-1])
		if m == nil || len(lines) != 1 {
			t.Fatalf("systemd-analyze has something to say:\n%s", out)
		}
		if level, err := strconv.ParseFloat(m[1], 64); err != nil || level >= 3 {
			t.Errorf("exposure %s, want less than 3.0", m[1])
		}
		t.Log(lines[0])
	})
	// The how-to's last step: what boot reads is there, once an operator has said so, and not before. TestTheServiceUnderSystemd boots it.
	t.Run("at boot", func(t *testing.T) {
		out := p.in(t, `dpkg -i /deb/vipd_0.1.0-1_*.deb >/dev/null
			systemctl is-enabled vipd.service || true
			systemctl --quiet enable vipd.service
			systemctl is-enabled vipd.service; readlink -f /etc/systemd/system/multi-user.target.wants/vipd.service
			systemctl --quiet disable vipd.service; systemctl is-enabled vipd.service || true`)
		out = strings.ReplaceAll(out, "/usr/lib/systemd/", "/lib/systemd/")
		if out != "disabled\nenabled\n/lib/systemd/system/vipd.service\ndisabled\n" {
			t.Errorf("%s", out)
		}
	})
	t.Run("lintian", func(t *testing.T) {
		made, _ := filepath.Glob(filepath.Join(p.dir, "0.1.0", "vipd_0.1.0-1_*.deb"))
		out, err := exec.Command("lintian", "--allow-root", "--fail-on", "error", made[0]).CombinedOutput()
		if err != nil || bytes.Contains(out, []byte("E: ")) {
			t.Errorf("%v:\n%s", err, out)
		}
	})
}
