package test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ebpflink "github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vipd/examples/site"
)

// booted is a machine that systemd runs: this machine's root, of which nothing is changed, in the network namespace of the
// lab's director1.
type booted struct{ dir string }

// bootedRoot makes its root. Of what this machine starts at boot it starts nothing, and keepalived and ipvsadm are not installed.
const bootedRoot = `set -e
mkdir -p "$1/up" "$1/work" "$1/root" "$1/bpf"
mount -t overlay none -o lowerdir=/,upperdir="$1/up",workdir="$1/work" "$1/root"
mount -t bpf none "$1/bpf"
cd "$1/root"
rm -rf etc/systemd/system/*.wants etc/systemd/system/*.requires etc/machine-id etc/rc?.d/S* tmp/* deb
mkdir deb etc/vipd
tr -d - </proc/sys/kernel/random/uuid >etc/machine-id
cp "$2"/*/*.deb deb/
ln -sf /dev/null etc/systemd/system/systemd-networkd.service
ln -sf /dev/null etc/systemd/system/systemd-networkd.socket
for u in systemd-sysctl systemd-modules-load systemd-binfmt systemd-udevd systemd-udev-trigger; do ln -sf /dev/null etc/systemd/system/$u.service; done # the kernel is this machine's
chroot . dpkg --force-depends --purge keepalived ipvsadm >/dev/null 2>&1`

func newBooted(t *testing.T, p packages) *booted {
	t.Helper()
	m := &booted{"/run/booted"}
	if out, err := exec.Command("sh", "-c", bootedRoot, "sh", m.dir, p.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return m
}

// boot starts it and waits until it is up. It ends with the test's machine.
func (m *booted) boot(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("systemd-nspawn", "--quiet", "--boot", "--directory="+m.dir+"/root", "--machine=booted", "--register=no", "--keep-unit",
		"--network-namespace-path=/run/netns/vipd-lab-director1", "--capability=all", "--system-call-filter=bpf", "--bind="+m.dir+"/bpf:/sys/fs/bpf", "--console=pipe")
	// A machine may write what a container may not.
	cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes")
	log, err := os.Create(m.dir + "/console")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	eventually(t, 90*time.Second, "the machine is up", func() bool {
		select {
		case <-ended:
			said, _ := os.ReadFile(m.dir + "/console")
			t.Fatalf("it ended: %v\n%s", cmd.ProcessState, said)
		default:
		}
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
		pid := strings.Fields(string(children))
		if len(pid) != 1 || os.WriteFile(m.dir+"/pid", []byte(pid[0]), 0o600) != nil {
			return false
		}
		said, _ := m.try("systemctl is-system-running")
		return said == "running\n" || said == "degraded\n"
	})
	return cmd
}

// try runs a line in it.
func (m *booted) try(line string) (said string, err error) {
	pid, err := os.ReadFile(m.dir + "/pid")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "--target", string(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd", "sh", "-c", line)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (m *booted) sh(t *testing.T, line string) string {
	t.Helper()
	out, err := m.try(line)
	if err != nil {
		journal, _ := m.try("systemctl status vipd --no-pager -l; journalctl --no-pager -b -n 80")
		t.Fatalf("%s: %v\n%s\n%s", line, err, out, journal)
	}
	return out
}

// removeCgroups removes what systemd-nspawn has made for itself and its processes, if it is empty.
func removeCgroups() {
	for _, name := range []string{"payload", "supervisor"} {
		found, _ := filepath.Glob("/sys/fs/cgroup/*/" + name)
		for _, top := range append(found, "/sys/fs/cgroup/"+name) {
			var dirs []string
			_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
			for _, dir := range slices.Backward(dirs) {
				_ = os.Remove(dir)
			}
		}
	}
}

// files are those of its root that were made here and have a name of the package's.
func (m *booted) files(t *testing.T) (names []string) {
	t.Helper()
	for _, dir := range []string{"etc", "usr", "lib", "var", "root", "opt", "srv"} {
		err := filepath.WalkDir(filepath.Join(m.dir, "up", dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && (strings.Contains(filepath.Base(path), "vipd") || slices.Contains([]string{"keepalived", "ipvsadm", "genhash"}, filepath.Base(path))) {
				if info, err := d.Info(); err == nil && info.Mode()&fs.ModeCharDevice == 0 { // that is a file that is not there
					names = append(names, path)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// interrupted counts what must never happen on director1's interface while another process takes over.
type interrupted struct {
	bare, moved atomic.Int64
	link        ebpflink.ID
	ifindex     int
}

func watchInterface(t *testing.T, ctx context.Context, m *booted, wait *sync.WaitGroup) *interrupted {
	t.Helper()
	var w interrupted
	pins, err := filepath.Glob(m.dir + "/bpf/vipd/default/link_*")
	if err != nil || len(pins) == 0 {
		t.Fatalf("no pinned link: %q %v", pins, err)
	}
	w.link = linkID(t, pins[0])
	updates := make(chan netlink.AddrUpdate, 64)
	inside(t, "vipd-lab-director1", func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		w.ifindex = l.Attrs().Index
		return netlink.AddrSubscribe(updates, ctx.Done())
	})
	wait.Go(func() {
		for u := range updates {
			if !u.NewAddr && u.LinkAddress.IP.String() == "10.0.8.9" {
				w.moved.Add(1)
			}
		}
	})
	wait.Go(func() {
		_ = insideErr("vipd-lab-director1", func() error {
			for ctx.Err() == nil {
				l, err := netlink.LinkByName("eth0")
				if err != nil || l.Attrs().Index != w.ifindex || l.Attrs().Xdp == nil || !l.Attrs().Xdp.Attached {
					w.bare.Add(1)
				}
				time.Sleep(2 * time.Millisecond)
			}
			return nil
		})
	})
	return &w
}

func linkID(t *testing.T, pin string) ebpflink.ID {
	t.Helper()
	l, err := ebpflink.LoadPinnedLink(pin, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		t.Fatal(err)
	}
	return info.ID
}

func (w *interrupted) judge(t *testing.T, m *booted) {
	t.Helper()
	if n := w.bare.Load(); n > 0 {
		t.Errorf("at %d looks there was no program on the interface", n)
	}
	if n := w.moved.Load(); n > 0 {
		t.Errorf("the virtual address was removed %d times", n)
	}
	pins, _ := filepath.Glob(m.dir + "/bpf/vipd/default/link_*")
	if id := linkID(t, pins[0]); id != w.link {
		t.Errorf("the program's link was made anew: it was %d and is %d", w.link, id)
	}
}

// TestTheServiceUnderSystemd is the life of the package on a machine that systemd runs, one of the site's two directors:
// installed, enabled and started; upgraded, restarted and rolled back while clients are served, of which none notices; booted;
// removed and purged.
func TestTheServiceUnderSystemd(t *testing.T) {
	p := makePackages(t)
	if !alone(t, 6*time.Minute, "systemd-nspawn", "nsenter") {
		removeCgroups()
		return
	}
	text, err := site.Files.ReadFile("director1.conf")
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), "priority 100", "priority 150", 1))
	works(t, "lab", "up", "--without", "director1")
	m := newBooted(t, p)
	if err := os.WriteFile(m.dir+"/root/etc/vipd/vipd.conf", text, 0o644); err != nil {
		t.Fatal(err)
	}
	before := m.files(t)
	machine := m.boot(t)
	t.Cleanup(func() {
		if t.Failed() {
			journal, _ := m.try("systemctl --no-pager --failed; journalctl --no-pager -b -u vipd -n 200")
			t.Logf("its journal:\n%s", journal)
		}
	})

	m.sh(t, "dpkg -i /deb/vipd_0.1.0-1_*.deb")
	if out, _ := m.try("systemctl is-enabled vipd; systemctl is-active vipd"); out != "disabled\ninactive\n" {
		t.Errorf("the installation has started or enabled something:\n%s", out)
	}
	m.sh(t, "systemctl enable --now vipd")
	m.isMaster(t, "0.1.0")
	m.underLoad(t)

	_, _ = m.try("systemctl poweroff") // it may be gone before the answer
	eventually(t, 60*time.Second, "it is off", func() bool { return unix.Kill(machine.Process.Pid, 0) != nil })
	m.boot(t)
	m.isMaster(t, "0.1.0")

	m.sh(t, "dpkg --remove vipd && dpkg --purge vipd")
	m.nothingLeft(t, before)
}

// isMaster waits until the service of that version is up and has the address.
func (m *booted) isMaster(t *testing.T, version string) {
	t.Helper()
	if out := m.sh(t, "systemctl is-active vipd; vipd --version"); !strings.HasPrefix(out, "active\nvipd "+version) {
		t.Fatalf("the service is not up:\n%s", out)
	}
	eventually(t, 60*time.Second, "it is master", func() bool {
		out, _ := m.try("vipd vrrp; ip -br addr show dev eth0")
		return strings.Contains(out, "VI_1: MASTER") && strings.Contains(out, "10.0.8.9/32")
	})
}

// underLoad has other versions and processes take over while clients are served.
func (m *booted) underLoad(t *testing.T) {
	t.Helper()
	eventually(t, 60*time.Second, "clients are served", func() bool { return answered(t, "") })
	other := func() string {
		text, err := os.ReadFile("/run/vipd/lab/director2.log")
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	began := len(other())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var load sync.WaitGroup
	watch := watchInterface(t, ctx, m, &load)
	short, long := clients(ctx, &load)
	pids := map[string]bool{m.mainPID(t): true}
	for i, step := range []struct{ do, version string }{
		{"dpkg -i /deb/vipd_0.2.0-1_*.deb", "0.2.0"},
		{"systemctl restart vipd", "0.2.0"},
		{"systemctl reload vipd", "0.2.0"},
		{"dpkg -i /deb/vipd_0.1.0-1_*.deb 2>&1", "0.1.0"},
	} {
		said := m.sh(t, step.do)
		m.isMaster(t, step.version)
		if out := m.sh(t, "systemctl show -P NRestarts vipd; journalctl -b -u vipd -o cat"); !strings.HasPrefix(out, "0\n") || strings.Contains(out, "ERROR") {
			t.Errorf("after %s, which said\n%s, systemd has restarted it, or there was an error:\n%s", step.do, said, out)
		}
		pids[m.mainPID(t)] = true
		if want := []int{2, 3, 3, 4}[i]; len(pids) != want {
			t.Errorf("after %s there were %d processes, want %d", step.do, len(pids), want)
		}
	}
	time.Sleep(4 * time.Second) // a director that noticed would have taken over
	stop()
	load.Wait()
	short.lostNothing(t, "requests on connections of their own", 200)
	for _, c := range long {
		c.lostNothing(t, "requests on the connection from "+c.from, 80)
	}
	watch.judge(t, m)
	if said := other()[began:]; strings.Contains(said, "Entering MASTER") {
		t.Errorf("the other director took over:\n%s", said)
	}
}

func (m *booted) mainPID(t *testing.T) string {
	t.Helper()
	pid := strings.TrimSpace(m.sh(t, "systemctl show -P MainPID vipd"))
	if n, err := strconv.Atoi(pid); err != nil || n < 2 {
		t.Fatalf("MainPID %q", pid)
	}
	return pid
}

// nothingLeft: of the package, of what it ran, and of what it was told.
func (m *booted) nothingLeft(t *testing.T, before []string) {
	t.Helper()
	if after := m.files(t); !slices.Equal(before, after) {
		t.Errorf("files that were there before: %q, and after a purge: %q", before, after)
	}
	out, _ := m.try("ip -br addr show dev eth0; ip -br link show dev eth0; ip link show dev eth0 | grep -o xdp; ls -d /run/vipd* /run/vipd/* /sys/fs/bpf/vipd* /sys/fs/cgroup/*/system.slice/vipd* 2>/dev/null; pgrep -a vipd; systemctl list-unit-files --no-legend 'vipd*'; systemctl list-units --all --no-legend 'vipd*'; dpkg-query -W vipd 2>/dev/null")
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "eth0") || strings.Contains(line, "10.0.8.9") {
			t.Errorf("left: %s", line)
		}
	}
}
