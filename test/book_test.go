package test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// step is a fenced block of a page of docs: commands that machines are given ("```sh MACHINE…"), or a file that they have
// ("```conf MACHINE… PATH"). What follows as "```text" is what the commands say.
type step struct {
	line     int
	machines []string
	file     string // if there is one, text is its content
	text     string
	says     string // …: anything
}

// block is a fenced block of a page.
type block struct {
	line       int
	info, text string
}

func pageBlocks(t *testing.T, path string) (blocks []block) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var now *block
	blank := true
	for i, line := range slices.Collect(strings.Lines(string(text))) {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && now == nil:
			now = &block{line: i + 1, info: fence}
		case isFence:
			blocks, now = append(blocks, *now), nil
		case now != nil:
			now.text += line
		case blank && strings.HasPrefix(line, "    "):
			t.Errorf("%s:%d: a block without a fence", path, i+1)
		}
		blank = strings.TrimSpace(line) == ""
	}
	return blocks
}

// pageSteps are the blocks of a page that name machines.
func pageSteps(t *testing.T, path string) (steps []step) {
	t.Helper()
	for _, b := range pageBlocks(t, path) {
		words := strings.Fields(b.info)
		switch {
		case len(words) > 1 && words[0] == "sh":
			steps = append(steps, step{line: b.line, machines: words[1:], text: b.text})
		case len(words) > 2 && words[0] == "conf":
			steps = append(steps, step{line: b.line, machines: words[1 : len(words)-1], file: words[len(words)-1], text: b.text})
		case len(words) == 1 && words[0] == "text" && len(steps) > 0:
			steps[len(steps)-1].says = b.text
		}
	}
	return steps
}

var exitCode = regexp.MustCompile(`\s+# exit code ([0-9]+)`)

// commands are a step's lines, each with the exit code that its comment has. A line that ends with \ goes on in the next one.
func (s *step) commands() (lines []string, codes []int) {
	for line := range strings.Lines(strings.ReplaceAll(s.text, "\\\n", " ")) {
		code := 0
		if m := exitCode.FindStringSubmatch(line); m != nil {
			code, _ = strconv.Atoi(m[1])
		}
		if line, _, _ = strings.Cut(strings.TrimSpace(line), " #"); strings.TrimSpace(line) != "" {
			lines, codes = append(lines, strings.TrimSpace(line)), append(codes, code)
		}
	}
	return lines, codes
}

// elsewhere is who else plays steps: TestPackage, and chapter on the site of the lab.
var elsewhere = []string{"package", "lab"}

// goOn are commands that go on until they are told to end, or for longer than a test.
var goOn = []string{"vipd drain tcp/10.0.8.9:80 10.0.8.12 --wait 10m", "vipd events -f", "vipd doctor --watch 1m"}

// asPlayed is a line of the book as a shell is to run it.
func asPlayed(line string) (played string, ends bool) {
	if program, ok := strings.CutSuffix(line, " &"); ok {
		return "setsid " + program + " >>/run/vipd.log 2>&1 </dev/null & echo $! >/run/vipd.pid; " +
			"until vipd status >/dev/null 2>&1; do kill -0 $! || exit 1; sleep 0.2; done", true
	}
	if slices.Contains(goOn, line) {
		return "timeout --signal=INT 3 " + line, false
	}
	return line, true
}

// play does what a page says, in its order, on the machines of a scene. What is only looked at ("```text" follows) is looked at
// until it is so.
func (s *scene) play(t *testing.T, page string) {
	t.Helper()
	steps := pageSteps(t, "../docs/"+page)
	if len(steps) == 0 {
		t.Fatalf("%s has no steps", page)
	}
	for _, one := range steps {
		for _, name := range one.machines {
			if slices.Contains(elsewhere, name) {
				continue
			}
			m := s.machines[name]
			if m == nil {
				t.Fatalf("%s:%d: there is no machine %q", page, one.line, name)
			}
			at := fmt.Sprintf("%s:%d, %s", page, one.line, name)
			if one.file != "" {
				m.write(t, one.file, one.text)
				continue
			}
			m.obey(t, at, &one)
		}
	}
}

func (m *box) obey(t *testing.T, at string, one *step) {
	t.Helper()
	lines, codes := one.commands()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		var all strings.Builder
		wrong := ""
		for i, line := range lines {
			played, ends := asPlayed(line)
			out, code := m.sh(played)
			all.WriteString(out)
			const stillRan = 124 // says timeout
			if code != codes[i] && (ends || code != stillRan) {
				wrong = fmt.Sprintf("%s: exit code %d, want %d\n%s", line, code, codes[i], out)
				break
			}
		}
		if wrong == "" && one.says != "" && !like(trimmed(all.String()), trimmed(one.says)) {
			wrong = fmt.Sprintf("%s says\n%s\nand not\n%s", strings.Join(lines, "; "), &all, one.says)
		}
		switch {
		case wrong == "":
			return
		case one.says == "" || time.Now().After(end):
			log, _ := m.sh("tail -n 60 /run/vipd.log")
			t.Fatalf("%s: %s\nits log:\n%s", at, wrong, log)
		}
	}
}

// trimmed has no blanks at the ends of lines, which editors take away.
func trimmed(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimRight(line, " \t\n"))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// scene is machines on one network, 10.0.8.0/24: each with a network, a /run, an /etc and a /var/lib of its own.
type scene struct{ machines map[string]*box }

// box is one of them.
type box struct {
	name  string
	pid   int    // of a process that holds its namespaces
	began string // what it was before anything ran on it
}

// systemctl does for the two units what systemd does. keepalived is told to leave IPVS alone (-P): this kernel may have none.
const systemctl = `#!/bin/sh
for word in "$@"; do
	case $word in
	--now) now=yes ;;
	-*) ;;
	enable | disable | start | stop | restart | reload) verb=$word ;;
	*) unit=$word ;;
	esac
done
[ "$now" != yes ] || case $verb in enable) verb=start ;; disable) verb=stop ;; esac
stop() {
	pid=$(cat "/run/$1.pid" 2>/dev/null) || return 0
	kill -TERM "$pid" 2>/dev/null || return 0
	while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
	rm -f "/run/$1.pid"
}
case $verb-$unit in
enable-* | disable-*) ;;
stop-*) stop "$unit" ;;
start-keepalived) exec /usr/sbin/keepalived -P -p /run/keepalived.pid -r /run/keepalived-vrrp.pid ;;
start-vipd)
	stop keepalived
	setsid vipd run >>/run/vipd.log 2>&1 </dev/null &
	echo $! >/run/vipd.pid
	until vipd status >/dev/null 2>&1; do
		kill -0 "$(cat /run/vipd.pid)" 2>/dev/null || { tail -n 3 /run/vipd.log; exit 1; }
		sleep 0.2
	done
	;;
reload-vipd) exec vipd reload ;;
*) echo "systemctl: $*: not in this book" >&2; exit 1 ;;
esac
`

const makeBox = `set -e
mount -t tmpfs none /run
mkdir /run/bin
for dir in etc var/lib root usr/local usr/sbin; do
	mkdir -p /run/over/$dir/up /run/over/$dir/work
	mount -t overlay none -o lowerdir=/$dir,upperdir=/run/over/$dir/up,workdir=/run/over/$dir/work /$dir
done
mount -t sysfs none /sys
mount -t bpf none /sys/fs/bpf
ip link set lo up
ln -sf "$1" /usr/sbin/vipd; ln -s "$1" /run/bin/ipvsadm
echo ready
exec sleep 100000`

// newScene makes the machines; each has its address on eth0.
func newScene(t *testing.T, addrs map[string]string) *scene {
	t.Helper()
	s := &scene{machines: map[string]*box{}}
	script(t, 0, "ip link add br0 type bridge && ip link set br0 up")
	for name, addr := range addrs {
		cmd := exec.Command("unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", makeBox, "sh", program())
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		ready := make([]byte, 6)
		if _, err := out.Read(ready); err != nil || string(ready) != "ready\n" {
			t.Fatalf("machine %s: %v %s", name, err, errs.String())
		}
		m := &box{name: name, pid: cmd.Process.Pid}
		s.machines[name] = m
		m.write(t, "/run/bin/systemctl", systemctl)
		m.works(t, "chmod 755 /run/bin/systemctl")
		script(t, 0, fmt.Sprintf("ip link add p-%s type veth peer name eth0 netns %d && ip link set p-%s master br0 && ip link set p-%s up", name, m.pid, name, name))
		// A veth leaves checksums to a card that there is none of, and takes what XDP sends only with GRO: docs/limits.md.
		script(t, 0, "ethtool -K p-"+name+" tx off gro on >/dev/null")
		m.works(t, "ip addr add "+addr+"/24 dev eth0 && ethtool -K eth0 tx off gro on >/dev/null && ip link set eth0 up")
		m.began = m.looks(t)
	}
	return s
}

// sh runs a line in a machine.
func (m *box) sh(line string) (said string, code int) {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "--target", strconv.Itoa(m.pid), "--net", "--mount", "sh", "-c", "cd; "+line)
	cmd.Env = []string{"PATH=/run/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, time.Second
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func (m *box) works(t *testing.T, line string) string {
	t.Helper()
	out, code := m.sh(line)
	if code != 0 {
		t.Fatalf("%s: %s: exit code %d\n%s", m.name, line, code, out)
	}
	return out
}

func (m *box) write(t *testing.T, path, text string) {
	t.Helper()
	cmd := exec.Command("nsenter", "--target", strconv.Itoa(m.pid), "--mount", "sh", "-c", `cd; mkdir -p "$(dirname "$1")" && cat >"$1"`, "sh", path)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: write %s: %v %s", m.name, path, err, out)
	}
}

// serves has a machine serve a page with its name.
func (m *box) serves(t *testing.T) {
	t.Helper()
	m.write(t, "/run/www/index.html", m.name+"\n")
	cmd := exec.Command("nsenter", "--target", strconv.Itoa(m.pid), "--net", "--mount", "busybox", "httpd", "-f", "-p", "80", "-h", "/run/www")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

// silent makes a real server of DR as the book says.
func (m *box) silent(t *testing.T) {
	t.Helper()
	m.works(t, "vipd realserver prepare --vip 10.0.8.9 --method dr --apply")
}

// looks is what a program that ran on a machine could leave there, but for files of /etc and /var.
func (m *box) looks(t *testing.T) string {
	t.Helper()
	return m.works(t, `ip -4 -br addr show; ip -6 -br addr show scope global; ip -br link show | cut -d' ' -f1; ip link show | grep -o 'prog/xdp.*'
ip -4 rule; ip -6 rule; ip -4 route show table all; nft list ruleset
sysctl -a 2>/dev/null | grep -E '^net.ipv[46].conf.(all|default|lo|eth0).(arp_|rp_filter|forwarding|accept_local|promote_secondaries|accept_dad)'
tc qdisc show; tc filter show dev eth0 ingress
find /sys/fs/bpf -mindepth 1 ! -name '*.debug'; find /run/vipd -mindepth 1 2>/dev/null || true`)
}

// ends stops what runs on the machines, which are then as they were.
func (s *scene) ends(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		m := s.machines[name]
		m.works(t, "systemctl stop keepalived; systemctl stop vipd")
		m.same(t)
	}
}

func (m *box) same(t *testing.T) {
	t.Helper()
	if now := m.looks(t); now != m.began {
		t.Errorf("%s was\n%s\nand is left as\n%s", m.name, m.began, now)
	}
}

var bookTools = []string{"ip", "unshare", "nsenter", "setsid", "busybox", "curl", "ethtool"}

// TestTheFirstPair plays docs/pair.md, and then what the other pages do with a pair.
func TestTheFirstPair(t *testing.T) {
	if !alone(t, 6*time.Minute, append(bookTools, "nft", "tc")...) {
		return
	}
	s := newScene(t, map[string]string{"director1": "10.0.8.25", "director2": "10.0.8.55", "real1": "10.0.8.12", "real2": "10.0.8.13", "client": "10.0.8.100"})
	s.machines["real1"].serves(t)
	s.machines["real2"].serves(t)
	s.play(t, "pair.md")
	s.machines["director1"].works(t, "cp /usr/sbin/vipd /usr/local/sbin/vipd-new")
	for _, page := range []string{"operating.md", "check.md", "changes.md", "doctor.md"} {
		s.play(t, page)
	}
	s.machines["director1"].write(t, "/etc/keepalived/keepalived.conf", pools)
	s.machines["director1"].works(t, "vipd apply /etc/keepalived/keepalived.conf")
	s.play(t, "content.md")
	s.machines["director2"].works(t, "systemctl stop vipd")
	s.play(t, "ipvsadm.md")
	s.ends(t, "director1", "director2")
}

// pools is a file as docs/content.md has it.
const pools = `virtual_server_group topics {
    10.0.8.21 80
}
virtual_server group topics {
    lb_algo rr
    lb_kind DR
    protocol TCP
    real_server 10.0.8.13 80 {
        TCP_CHECK {
        }
    }
}
`

// livePair is what a pair of keepalived has.
const livePair = `global_defs {
    router_id %s
}
vrrp_instance VI_1 {
    state %s
    interface eth0
    virtual_router_id 51
    priority %d
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass 1111
    }
    virtual_ipaddress {
        10.0.8.9/24
    }
}
virtual_server 10.0.8.9 80 {
    delay_loop 3
    lb_algo rr
    lb_kind DR
    protocol TCP
    real_server 10.0.8.12 80 {
        TCP_CHECK {
            connect_timeout 1
        }
    }
    real_server 10.0.8.13 80 {
        TCP_CHECK {
            connect_timeout 1
        }
    }
}
`

// TestMovingFromKeepalived plays docs/moving.md on a pair of the real keepalived, which speaks VRRP alone.
func TestMovingFromKeepalived(t *testing.T) {
	if !alone(t, 5*time.Minute, append(bookTools, "keepalived")...) {
		return
	}
	s := newScene(t, map[string]string{"node1": "10.0.8.25", "node2": "10.0.8.55", "real1": "10.0.8.12", "real2": "10.0.8.13", "client": "10.0.8.100"})
	for _, name := range []string{"real1", "real2"} {
		s.machines[name].serves(t)
		s.machines[name].silent(t)
	}
	for name, of := range map[string]struct {
		state    string
		priority int
	}{"node1": {"MASTER", 150}, "node2": {"BACKUP", 100}} {
		s.machines[name].write(t, "/etc/keepalived/keepalived.conf", fmt.Sprintf(livePair, name, of.state, of.priority))
		s.machines[name].works(t, "systemctl start keepalived")
	}
	eventually(t, 60*time.Second, "node1 has the address", func() bool {
		return strings.Contains(s.machines["node1"].works(t, "ip -br addr show eth0"), "10.0.8.9/24")
	})
	s.play(t, "moving.md")
	s.ends(t, "node1", "node2")
	for _, name := range []string{"node1", "node2"} {
		s.machines[name].works(t, "diff -r /etc/keepalived /etc/keepalived.before")
	}
}

// TestTheRealServersOfTheBook plays docs/realservers.md.
func TestTheRealServersOfTheBook(t *testing.T) {
	if !alone(t, 3*time.Minute, bookTools...) {
		return
	}
	s := newScene(t, map[string]string{"real1": "10.0.8.12"})
	s.machines["real1"].serves(t)
	s.machines["real1"].write(t, "/etc/keepalived/keepalived.conf", fmt.Sprintf(livePair, "any", "BACKUP", 100))
	s.play(t, "realservers.md")
	s.machines["real1"].same(t)
}

// playedPages have a test for their steps; lab.md has only those of the lab.
var playedPages = []string{"pair.md", "moving.md", "realservers.md", "operating.md", "check.md", "changes.md", "doctor.md", "content.md", "ipvsadm.md", "install.md", "lab.md"}

// unplayed are blocks of commands that no test plays as they stand, each by its page and first line, and why.
var unplayed = map[string]string{
	"README.md: make lab ":                                            "the lab is played by TestAUserSurvivesTheLossOfWhoServedThem, its page by TestAPersonWatchesAndUsesTheSite",
	"README.md: make deb && ":                                         "TestPackage and TestTheServiceUnderSystemd do so, and play what install.md and changes.md say of it",
	"install.md: make deb ":                                           "makePackages does so",
	"install.md: systemctl enable --now vipd":                         "TestTheServiceUnderSystemd does so",
	"ipvsadm.md: ln -s /usr/sbin/vipd ":                               "TestAScriptStartsTheDirectorsOfItsNamespaces does so",
	"content.md: vipd export haproxy --backends --mode http --watch ": "TestTheSiteByContent has it run beside two HAProxy",
}

// TestEveryCommandOfTheBookIsPlayed: no page has a command in a block that no test plays, but for those with a reason, and those of
// bench.md, which take minutes to hours: what they run exists.
func TestEveryCommandOfTheBookIsPlayed(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) < 10 {
		t.Fatalf("%q, %v", pages, err)
	}
	reasons := map[string]bool{}
	for _, path := range append(pages, "../README.md") {
		page := filepath.Base(path)
		steps := pageSteps(t, path)
		for _, b := range pageBlocks(t, path) {
			at := fmt.Sprintf("%s:%d", page, b.line)
			first, _, _ := strings.Cut(b.text, "\n")
			switch info := strings.Fields(b.info); {
			case len(info) == 0 && looksLikeCommand.MatchString(b.text):
				t.Errorf("%s: commands in a block that does not say so", at)
			case len(info) == 1 && info[0] == "sh" && page == "bench.md":
				canBeMeasured(t, at, b.text)
			case len(info) == 1 && info[0] == "sh":
				reason := false
				for begin := range unplayed {
					if strings.HasPrefix(page+": "+first, begin) {
						reason, reasons[begin] = true, true
					}
				}
				if !reason {
					t.Errorf("%s: nobody plays %q", at, first)
				}
			}
		}
		if isPlayed := slices.Contains(playedPages, page); len(steps) > 0 != isPlayed && page != "README.md" {
			t.Errorf("%s has %d steps; played are %q", page, len(steps), playedPages)
		}
	}
	if len(reasons) != len(unplayed) {
		t.Errorf("reasons are used for %v alone", reasons)
	}
}

var looksLikeCommand = regexp.MustCompile(`(?m)^(vipd|bin/vipd|ipvsadm|make|go|systemctl|ip|curl|apt-get|dpkg|sysctl|ln|cp|sed|VIPD\w*=\S*) `)

var whatRuns = regexp.MustCompile(`-(?:run|bench) '?([A-Z]\w*)`)

// canBeMeasured wants what a page tells to measure with to exist: the tests of a package, or make's target.
func canBeMeasured(t *testing.T, at, text string) {
	t.Helper()
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if words[0] == "make" {
			if !strings.Contains(string(makefile), "\n"+words[1]+":") {
				t.Errorf("%s: no target %s", at, words[1])
			}
			continue
		}
		named := whatRuns.FindStringSubmatch(line)
		dir := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "./") })
		if named == nil || dir < 0 {
			t.Errorf("%s: what does %q run?", at, line)
			continue
		}
		files, _ := filepath.Glob(filepath.Join("..", words[dir], "*_test.go"))
		found := slices.ContainsFunc(files, func(file string) bool {
			text, err := os.ReadFile(file)
			return err == nil && regexp.MustCompile(`(?m)^func (Test|Benchmark)\w*`+named[1]).Match(text)
		})
		if !found {
			t.Errorf("%s: %s has no test or benchmark %s", at, words[dir], named[1])
		}
	}
}

// TestTheReadmesLabIsTheBooks: README.md's commands in the lab are those of docs/lab.md and of what TestTheSiteByHand does.
func TestTheReadmesLabIsTheBooks(t *testing.T) {
	book, err := os.ReadFile("../docs/lab.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range pageSteps(t, "../README.md") {
		lines, _ := one.commands()
		for _, line := range lines {
			if !strings.Contains(string(book), line+"\n") {
				t.Errorf("README.md:%d: docs/lab.md does not have %q", one.line, line)
			}
		}
	}
}
