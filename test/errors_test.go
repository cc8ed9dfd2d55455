package test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// nobody is a user without any right.
var nobody = &syscall.Credential{Uid: 65534, Gid: 65534}

// refusal is a start of `vipd run` that fails.
type refusal struct {
	name string
	args []string                // after run
	as   *syscall.Credential     // who starts it; nil: root
	via  []string                // what starts it; nil: nothing
	code int                     // as docs/status.md has it
	line string                  // that standard error has, after "vipd: "; ends with … where the kernel's or the file's words follow
	hint string                  // part of the hint line; empty: there may be none
	with func(*testing.T) func() // makes what it fails at and returns what takes that back; nil: nothing
}

func TestAStartThatFailsSaysWhyAndLeavesNothing(t *testing.T) {
	if !alone(t, 2*time.Minute) {
		return
	}
	addCables(t)
	dir := t.TempDir()
	good := write(t, dir, "good.conf", siteFile(t, "eth0"))
	foreign := write(t, dir, "foreign.conf", siteFile(t, "eth1"))
	broken := write(t, dir, "broken.conf", strings.Replace(siteFile(t, "eth0"), "state MASTER", "state", 1))
	unclosed := write(t, dir, "unclosed.conf", strings.TrimSuffix(strings.TrimSpace(siteFile(t, "eth0")), "}"))
	odd := write(t, dir, "odd.conf", strings.Replace(siteFile(t, "eth0"), "advert_int 1", "advert_intt 1", 1))
	missing := write(t, dir, "missing.conf", siteFile(t, "eth7"))
	elsewhere := write(t, dir, "elsewhere.conf", strings.Replace(siteFile(t, "eth0"), "        10.0.8.9\n", "        10.0.8.9 dev eth8\n", 1))
	secret := write(t, dir, "secret.conf", siteFile(t, "eth0"))
	if err := os.Chmod(secret, 0o600); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(dir, "none.conf")
	wide := write(t, dir, "wide.conf", "\xff\xfe"+strings.Join(strings.Split(siteFile(t, "eth0"), ""), "\x00")) // UTF-16, as Notepad has it
	tunnel := write(t, dir, "tunnel.conf", siteFile(t, "tun0"))
	script(t, 0, "ip tuntap add dev tun0 mode tun && ip addr add 10.0.7.25/24 dev tun0 && ip link set tun0 up")

	for _, r := range []refusal{
		{name: "without root", args: []string{"-f", good}, as: nobody, code: 4, line: "not permitted: …", hint: "root"},
		{name: "the file is missing", args: []string{"-f", none}, code: 6, line: "read " + none + ": no such file or directory", hint: "-f"},
		{name: "the file is a directory", args: []string{"-f", dir}, code: 6, line: "read " + dir + ": it is a directory", hint: "-f"},
		{name: "the file may not be read", args: []string{"-f", secret}, as: nobody, code: 6, line: "read " + secret + ": permission denied"},
		{name: "the usual file is missing", args: nil, code: 6, line: "read /etc/keepalived/keepalived.conf: no such file or directory", hint: "-f"},
		{name: "an argument is missing in the file", args: []string{"-f", broken}, code: 2, line: broken + ": refused, 1 error: …state…", hint: "BACKUP"},
		{name: "a brace is missing in the file, with --strict", args: []string{"-f", unclosed, "--strict"}, code: 2, line: unclosed + ": refused, 1 error: …}…"},
		{name: "an unknown keyword is an error with --strict", args: []string{"-f", odd, "--strict"}, code: 2, line: odd + ": refused, 1 error: …advert_intt…", hint: "advert_int"},
		{name: "the interface of an instance is missing", args: []string{"-f", missing}, code: 1, line: "vrrp_instance VI_1: …eth7…", hint: " eth0"},
		{name: "the interface of an address is missing", args: []string{"-f", elsewhere}, code: 1, line: "virtual_ipaddress 10.0.8.9/32 of vrrp_instance VI_1: …eth8…", hint: " eth0"},
		{name: "the interface of --interface is missing", args: []string{"-f", good, "--interface", "eth9"}, code: 1, line: "--interface: …eth9…", hint: " eth0"},
		{name: "the port of --http is in use", args: []string{"-f", good, "--http", "127.0.0.1:8099"}, code: 1, line: "--http 127.0.0.1:8099: address already in use", hint: "ss -ltnp", with: occupy},
		{name: "the address of --http is not of this host", args: []string{"-f", good, "--http", "10.0.8.77:8099"}, code: 1, line: "--http 10.0.8.77:8099: …", hint: "ADDRESS:PORT"},
		{name: "--http is no address", args: []string{"-f", good, "--http", "nonsense"}, code: 1, line: "--http nonsense: …", hint: "ADDRESS:PORT"},
		{name: "another XDP program is on the interface", args: []string{"-f", foreign}, code: 1, line: "attach eth1: …foreign…", hint: "--interface", with: attachForeign},
		{name: "the instance has a bad name", args: []string{"-f", good, "--instance", "../up"}, code: 2, line: "…../up…"},
		{name: "the log format is unknown", args: []string{"-f", good, "--log-format", "xml"}, code: 1, line: "…xml…", hint: "json"},
		{name: "an option is unknown", args: []string{"-f", good, "--nonsense"}, code: 1, line: "…--nonsense…"},
		{name: "there is an argument too many", args: []string{good}, code: 1, line: "…" + good + "…"},
		{name: "the file is text in UTF-16", args: []string{"-f", wide}, code: 2, line: wide + ": refused: it is text in UTF-16", hint: "-f"},
		{name: "the file is a program", args: []string{"-f", program()}, code: 2, line: program() + ": refused: it is a program", hint: "-f"},
		{name: "a container has not been given the capabilities", args: []string{"-f", good}, via: []string{"setpriv", "--bounding-set=-bpf,-sys_admin", "--inh-caps=-bpf,-sys_admin"},
			code: 4, line: "not permitted: this needs CAP_BPF (or CAP_SYS_ADMIN)", hint: "--cap-add"},
		{name: "a container has not been given the network's capabilities", args: []string{"-f", good}, via: []string{"setpriv", "--bounding-set=-net_admin,-net_raw", "--inh-caps=-net_admin,-net_raw"},
			code: 4, line: "not permitted: this needs CAP_NET_ADMIN, CAP_NET_RAW", hint: "--cap-add"},
		{name: "the run directory is read-only", args: []string{"-f", good}, code: 1, line: "lock instance default: …read-only file system", hint: "/run/vipd must be writable", with: readOnlyRun},
		{name: "there is no BPF file system", args: []string{"-f", good}, via: withoutBPFFS,
			code: 1, line: "mount a BPF file system on /sys/fs/bpf: operation not permitted", hint: "-v /sys/fs/bpf:/sys/fs/bpf"},
		{name: "the BPF file system is read-only", args: []string{"-f", good}, via: []string{"unshare", "--mount", "sh", "-c", `mount -n -o remount,bind,ro /sys/fs/bpf && exec "$@"`, "sh"},
			code: 1, line: "the BPF file system on /sys/fs/bpf: read-only file system", hint: "remount,rw"},
		{name: "there is no place for a BPF file system", args: []string{"-f", good}, via: []string{"unshare", "--mount", "sh", "-c", `mount -n -t tmpfs none /sys/fs && exec "$@"`, "sh"},
			code: 1, line: "mount a BPF file system on /sys/fs/bpf: no such file or directory", hint: "mount it before"},
		{name: "the interface is not Ethernet", args: []string{"-f", tunnel}, code: 1, line: "attach tun0: it has no Ethernet address", hint: "--interface"},
		{name: "another instance has the interface", args: []string{"-f", good, "--instance", "b"}, code: 1, line: "attach eth0: another XDP program is attached: \"lb\"…", hint: "--interface", with: runFirst(good)},
		{name: "the instance runs already", args: []string{"-f", good}, code: 3, line: "instance default is already running with pid …", hint: "--instance", with: runFirst(good)},
	} {
		t.Run(r.name, r.test)
	}
}

func (r refusal) test(t *testing.T) {
	if r.with != nil {
		defer r.with(t)()
	}
	before := left(t)
	words := append(append(slices.Clone(r.via), program(), "run"), r.args...)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: r.as}
	begin := time.Now()
	o := finish(t, cmd)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %s to say so", took)
	}
	var said, hints []string
	for line := range strings.Lines(o.stderr) {
		if text, ok := strings.CutPrefix(line, "vipd: "); ok {
			said = append(said, strings.TrimSpace(text))
		} else if text, ok := strings.CutPrefix(line, "hint: "); ok {
			hints = append(hints, strings.TrimSpace(text))
		}
	}
	if o.code != r.code || len(said) != 1 || !like(said[0], r.line) || o.stdout != "" {
		t.Errorf("want exit code %d and the line %q, got %s", r.code, r.line, o)
	}
	// Without a hint of its own, a row does not mind whether there is one.
	if r.hint != "" && (len(hints) != 1 || !strings.Contains(hints[0], r.hint)) || len(hints) > 1 {
		t.Errorf("want one hint with %q in it, got %s", r.hint, o)
	}
	if !strings.HasSuffix(o.stderr, strings.Join(append([]string{"vipd: " + strings.Join(said, "")}, prefixed("hint: ", hints)...), "\n")+"\n") {
		t.Errorf("the error and its hint are not the last that was said: %s", o)
	}
	t.Log(strings.TrimSpace(o.stderr))
	nothingNew(t, before)
}

func prefixed(with string, lines []string) []string {
	var out []string
	for _, l := range lines {
		out = append(out, with+l)
	}
	return out
}

// like compares text with a pattern in which … stands for anything.
func like(text, pattern string) bool {
	parts := strings.Split(pattern, "…")
	if !strings.HasPrefix(text, parts[0]) {
		return false
	}
	for i, part := range parts {
		at := strings.Index(text, part)
		if at < 0 || i == len(parts)-1 && !strings.HasSuffix(text, part) {
			return false
		}
		text = text[at+len(part):]
	}
	return true
}

// TestAStopLeavesNothing shows that the files and the machine of the test above are good, and that vipd takes down what it
// put up.
func TestAStopLeavesNothing(t *testing.T) {
	if !alone(t, time.Minute) {
		return
	}
	addCables(t)
	before := left(t)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		// Priority 255 and state MASTER: master at once.
		text := strings.Replace(siteFile(t, "eth0"), "priority 100", "priority 255", 1)
		run := startRun(t, "-f", write(t, t.TempDir(), "owner.conf", text), "--instance", "a", "--http", "127.0.0.1:8099")
		eventually(t, 20*time.Second, "the address is there", func() bool { return strings.Contains(strings.Join(links(t), "\n"), "10.0.8.9/32") })
		up := strings.Join(left(t), "\n")
		for _, want := range []string{"file /run/vipd/a.sock", "file /sys/fs/bpf/vipd/a", "link eth0 xdp "} {
			if !strings.Contains(up, want) {
				t.Errorf("while it runs there is no %q:\n%s", want, up)
			}
		}
		if code := run.end(t, sig); code != 0 {
			t.Errorf("%s: exit code %d", sig, code)
		}
		nothingNew(t, before)
	}
}

// TestAStartThatFailsLeavesWhatItWouldHaveAdopted: the address, the pins and the program of a vipd that was killed forward on
// although the next start fails; the one after that adopts them.
func TestAStartThatFailsLeavesWhatItWouldHaveAdopted(t *testing.T) {
	if !alone(t, time.Minute) {
		return
	}
	addCables(t)
	before := left(t)
	text := strings.Replace(siteFile(t, "eth0"), "priority 100", "priority 255", 1)
	file := write(t, t.TempDir(), "owner.conf", text)
	run := startRun(t, "-f", file)
	eventually(t, 20*time.Second, "the address is there", func() bool { return strings.Contains(strings.Join(links(t), "\n"), "10.0.8.9/32") })
	run.end(t, syscall.SIGKILL)
	stands := standing(t)
	if len(stands) < 3 {
		t.Fatalf("the killed one left too little: %q", stands)
	}
	free := occupy(t)
	if o := vipd(t, "run", "-f", file, "--http", "127.0.0.1:8099"); o.code != 1 || !strings.Contains(o.stderr, "already in use") {
		t.Errorf("a start with the port in use: %s", o)
	}
	free()
	if now := standing(t); !slices.Equal(stands, now) {
		t.Errorf("stood before the failed start:\n%q\nand after:\n%q", stands, now)
	}
	run = startRun(t, "-f", file, "--http", "127.0.0.1:8099")
	eventually(t, 20*time.Second, "the next one is master", func() bool { return strings.Contains(vipd(t, "status").stdout, "MASTER") })
	if code := run.end(t, syscall.SIGTERM); code != 0 || !strings.Contains(run.log.String(), "adopted the packet path") {
		t.Errorf("the next one ended with exit code %d and said:\n%s", code, run.log)
	}
	nothingNew(t, before)
}

// standing is what forwards without any process: pins, the program on eth0, the address. Which program it is may change.
func standing(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, line := range left(t) {
		if strings.HasPrefix(line, "file /sys/fs/bpf/") {
			out = append(out, line)
		}
		if strings.HasPrefix(line, "link eth0 xdp ") && strings.Contains(line, "10.0.8.9/32") {
			out = append(out, "link eth0 has a program and the address")
		}
	}
	return out
}

// running is a `vipd run` in the background.
type running struct {
	cmd *exec.Cmd
	log *strings.Builder
}

func startRun(t *testing.T, args ...string) *running {
	t.Helper()
	r := &running{cmd: exec.Command(program(), append([]string{"run"}, args...)...), log: &strings.Builder{}}
	r.cmd.Stderr = r.log
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

// end signals it and returns its exit code.
func (r *running) end(t *testing.T, sig syscall.Signal) int {
	t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		t.Error(err)
	}
	late := time.AfterFunc(10*time.Second, func() { r.cmd.Process.Kill() })
	defer late.Stop()
	err := r.cmd.Wait()
	if t.Logf("vipd run: %v\n%s", err, r.log); r.cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return r.cmd.ProcessState.ExitCode()
}

// siteFile is a file like the site's, for one interface.
func siteFile(t *testing.T, ifname string) string {
	t.Helper()
	text, err := os.ReadFile("../examples/site/director1.conf")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(string(text), "interface eth0", "interface "+ifname, 1)
}

// write puts text into a file that everybody can read.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// addCables gives the test's machine two network interfaces.
func addCables(t *testing.T) {
	t.Helper()
	for i := range 2 {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = fmt.Sprintf("eth%d", i)
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: fmt.Sprintf("far%d", i)}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{attrs.Name, fmt.Sprintf("far%d", i)} {
			link, err := netlink.LinkByName(name)
			if err == nil {
				err = netlink.LinkSetUp(link)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		addr, err := netlink.ParseAddr(fmt.Sprintf("10.0.8.%d/24", 25+i))
		if err == nil {
			err = netlink.AddrAdd(&netlink.Veth{LinkAttrs: attrs}, addr)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// occupy listens where --http would.
func occupy(t *testing.T) func() {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:8099")
	if err != nil {
		t.Fatal(err)
	}
	return func() { ln.Close() }
}

// readOnlyRun makes /run what it is in a container that may write nothing.
func readOnlyRun(t *testing.T) func() {
	t.Helper()
	remount := func(flags uintptr) {
		if err := unix.Mount("", "/run", "", unix.MS_REMOUNT|unix.MS_BIND|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(unix.MS_RDONLY)
	return func() { remount(0) }
}

// withoutBPFFS starts it where nobody has mounted that, and where it may not either: a container.
var withoutBPFFS = []string{"unshare", "--mount", "sh", "-c", `mount -n -t tmpfs none /sys/fs/bpf && exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$@"`, "sh"}

// attachForeign puts an XDP program of somebody else on eth1.
func attachForeign(t *testing.T) func() {
	t.Helper()
	const pass = 2
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "foreign", Type: ebpf.XDP, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, pass), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	link, err := netlink.LinkByName("eth1")
	if err == nil {
		err = netlink.LinkSetXdpFd(link, prog.FD())
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := netlink.LinkSetXdpFd(link, -1); err != nil {
			t.Error(err)
		}
	}
}

// runFirst runs the instance that the second one meets, which must not notice.
func runFirst(file string) func(*testing.T) func() {
	return func(t *testing.T) func() {
		t.Helper()
		run := startRun(t, "-f", file)
		eventually(t, 60*time.Second, "the first instance is master", func() bool {
			return strings.Contains(vipd(t, "status").stdout, "MASTER")
		})
		return func() {
			if o := vipd(t, "status"); o.code != 0 || !strings.Contains(o.stdout, "MASTER") {
				t.Errorf("the first instance after the second was refused: %s", o)
			}
			if code := run.end(t, syscall.SIGTERM); code != 0 {
				t.Errorf("the first instance: exit code %d", code)
			}
		}
	}
}
