package test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// trackingStory is a configuration and what happens to the things that it follows. $D is a directory of the node's own:
// $D/NAME.sh exits with the number in $D/NAME, or hangs if that is "hang".
type trackingStory struct {
	config string
	files  map[string]string // at the start
	acts   []func(t *testing.T, n *node, dir string)
	pauses time.Duration // between acts
	start  bool          // the start counts too, in any order: scripts that start at once end as they like
	beyond string        // a line that vipd alone says: keepalived shows an instance that waits for a script as FAULT
}

func put(name, text string) func(*testing.T, *node, string) {
	return func(t *testing.T, _ *node, dir string) {
		t.Helper()
		// Moved into place: a script that reads meanwhile reads one or the other.
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
}

func unlink(name string) func(*testing.T, *node, string) {
	return func(t *testing.T, _ *node, dir string) {
		t.Helper()
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func link(updown string) func(*testing.T, *node, string) {
	return func(t *testing.T, n *node, _ string) { t.Helper(); n.ip(t, "link", "set", "eth1", updown) }
}

// flap changes a link and changes it back before a delay is over.
func flap(there, back string) func(*testing.T, *node, string) {
	return func(t *testing.T, n *node, dir string) {
		link(there)(t, n, dir)
		time.Sleep(500 * time.Millisecond)
		link(back)(t, n, dir)
	}
}

// appear makes an interface, vanish deletes one.
func appear(t *testing.T, n *node, _ string) {
	n.ip(t, "link", "add", "late0", "type", "veth", "peer", "name", "late1")
	n.ip(t, "addr", "add", "10.9.7.1/24", "dev", "late0")
	n.ip(t, "link", "set", "late1", "up")
	n.ip(t, "link", "set", "late0", "up")
}

func vanish(name string) func(*testing.T, *node, string) {
	return func(t *testing.T, n *node, _ string) { n.ip(t, "link", "del", name) }
}

func addressOf(dev string) func(*testing.T, *node, string) {
	return func(t *testing.T, n *node, _ string) { n.ip(t, "addr", "add", "10.9.8.1/24", "dev", dev) }
}

func hangup(t *testing.T, n *node, _ string) {
	t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

func (n *node) ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", append([]string{"-n", n.pair.lab.Namespace(n.host)}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v\n%s", args, err, out)
	}
}

const trackInstance = `vrrp_instance VI_%d {
    interface eth0
    virtual_router_id 5%[1]d
    priority 100
    advert_int 1
    virtual_ipaddress {
        10.9.0.9%[1]d
    }
    %[2]s
}
`

func vrrpScript(name, more string) string {
	return fmt.Sprintf("vrrp_script %s {\n    script \"$D/%[1]s.sh\"\n    interval 1\n    %s\n}\n", name, more)
}

var trackingStories = map[string]trackingStory{
	"weights": {
		config: "global_defs {\n    script_user root\n}\n" + vrrpScript("plus", "weight 20\n    rise 2\n    fall 2") + vrrpScript("minus", "weight -30\n    timeout 1") +
			vrrpScript("back", "weight 7 reverse") + "track_file f {\n    file $D/f\n    weight 2\n}\n" +
			fmt.Sprintf(trackInstance, 1, "track_script {\n plus\n minus\n back\n }\n track_file {\n f\n }\n track_interface {\n eth1 weight -5\n }"),
		files: map[string]string{"plus": "0", "minus": "0", "back": "0"},
		acts: []func(*testing.T, *node, string){
			put("plus", "3"), put("minus", "1"), put("minus", "2"), put("back", "1"), put("f", "5\n"), put("f", "-60"), link("down"), put("f", "127"),
			put("minus", "hang"), put("minus", "0"), put("plus", "0"), link("up"), unlink("f"), hangup, put("plus", "9"), put("f", "-127"), put("f", "0"), put("f", "0x10"), put("f", "junk"),
		},
		pauses: 3300 * time.Millisecond,
	},
	"faults": {
		config: "global_defs {\n    script_user root\n}\n" + vrrpScript("chk", "fall 2\n    rise 2") + vrrpScript("inv", "weight 0 reverse") + "track_file f {\n    file $D/f\n    weight 0\n}\n" +
			fmt.Sprintf(trackInstance, 1, "track_script {\n chk\n inv\n }\n track_file {\n f\n }\n track_interface {\n eth1\n }"),
		files: map[string]string{"chk": "0", "inv": "1", "f": "0"},
		acts: []func(*testing.T, *node, string){
			put("chk", "1"), put("f", "1"), put("chk", "0"), put("f", "0"), link("down"), put("inv", "0"), link("up"), put("inv", "1"), put("chk", "hang"), put("chk", "0"),
		},
		pauses: 5200 * time.Millisecond,
	},
	// Without reverse: at a reload keepalived 2.2.7 takes a reversed script of weight 0 for the opposite of what it is.
	"reloads": {
		config: "global_defs {\n    script_user root\n}\n" + vrrpScript("chk", "fall 2") + "track_file f {\n    file $D/f\n    weight 0\n}\n" +
			fmt.Sprintf(trackInstance, 1, "track_script {\n chk\n }\n track_file {\n f\n }\n track_interface {\n eth1\n }"),
		files:  map[string]string{"chk": "0", "f": "0"},
		acts:   []func(*testing.T, *node, string){hangup, put("chk", "1"), hangup, put("chk", "0"), put("f", "1"), hangup, put("f", "0")},
		pauses: 5200 * time.Millisecond,
	},
	"a fault at the start": {
		config: "global_defs {\n    script_user root\n}\n" + vrrpScript("chk", "init_fail\n    rise 3") + vrrpScript("bad", "fall 3") +
			fmt.Sprintf(trackInstance, 1, "track_script {\n chk\n }") + fmt.Sprintf(trackInstance, 2, "track_script {\n bad\n }"),
		files:  map[string]string{"chk": "0", "bad": "4"},
		acts:   []func(*testing.T, *node, string){put("bad", "0")},
		pauses: 7 * time.Second,
		start:  true,
		beyond: "(VI_2) Entering FAULT STATE",
	},
	"an interface that comes late, goes and comes again": {
		config: "global_defs {\n    dynamic_interfaces\n}\n" + strings.Replace(fmt.Sprintf(trackInstance, 1, ""), "eth0", "late0", 1),
		acts:   []func(*testing.T, *node, string){appear, vanish("late0"), appear},
		pauses: 6 * time.Second,
	},
	"a VMAC that is deleted": {
		config: strings.Replace(fmt.Sprintf(trackInstance, 1, "use_vmac"), "eth0", "eth1", 1) + fmt.Sprintf(trackInstance, 2, ""),
		acts:   []func(*testing.T, *node, string){addressOf("eth1"), vanish("vrrp.51"), vanish("vrrp.51")},
		pauses: 6 * time.Second,
	},
	"links that are counted late": {
		config: "interface_up_down_delays {\n    eth1 2 3\n}\n" + fmt.Sprintf(trackInstance, 1, "track_interface {\n eth1\n }"),
		acts:   []func(*testing.T, *node, string){link("down"), link("up"), flap("down", "up"), flap("up", "down"), link("down"), flap("down", "up"), link("up")},
		pauses: 8 * time.Second,
	},
	"a sync group": {
		config: "global_defs {\n    script_user root\n}\n" + vrrpScript("chk", "") + vrrpScript("all", "weight -20") + "track_file f {\n    file $D/f\n    weight 0\n}\n" +
			"vrrp_sync_group G {\n    group {\n VI_1\n VI_2\n }\n    track_script {\n all\n }\n sync_group_tracking_weight\n}\n" +
			fmt.Sprintf(trackInstance, 1, "track_script {\n chk\n }") + fmt.Sprintf(trackInstance, 2, "track_file {\n f\n }"),
		files: map[string]string{"chk": "0", "all": "0", "f": "0"},
		acts: []func(*testing.T, *node, string){
			put("chk", "1"), put("f", "1"), put("chk", "0"), put("f", "0"), put("all", "1"), hangup, put("f", "2"), put("f", "0"),
		},
		pauses: 5200 * time.Millisecond,
	},
}

const trackScript = "#!/bin/sh\nread n < \"$0.n\"\n[ \"$n\" = hang ] && sleep 100\nexit \"$n\"\n"

// telling are the lines of a log about what is followed and what comes of it. What vipd says beyond keepalived ("X to Y:
// why", the cause of a fault) is not among them, nor what each says of its start.
var (
	telling     = regexp.MustCompile(`Script .* now returning|VRRP_Script\(|VRRP_Group\(|Changing effective priority|Entering (MASTER|BACKUP|FAULT) STATE|Tracked BFD|Netlink reports|tracked file .* FAULT state`)
	oursAlone   = regexp.MustCompile(`Entering FAULT STATE \(init\)`) // keepalived logs it for no start
	afterReload = regexp.MustCompile(`considered (un)?successful on reload`)
	logHead     = regexp.MustCompile(`^(\S+T\S+Z?|\w{3} \w{3} +\d+ [\d:]+ \d{4}:) (WARNING |ERROR )?`)
	logTail     = regexp.MustCompile(`( (vi|if|group|bfd|script)=\S+)+$`)
	toState     = regexp.MustCompile(` (INIT|BACKUP|MASTER|FAULT) to (INIT|BACKUP|MASTER|FAULT): `)
	trackLog    = func(text string) (lines []string) {
		for line := range strings.Lines(text) {
			line = logTail.ReplaceAllString(logHead.ReplaceAllString(strings.TrimSpace(line), ""), "")
			switch {
			case !telling.MatchString(line) || toState.MatchString(line) || oursAlone.MatchString(line):
			case strings.Contains(line, "Changing effective") && len(lines) > 0 && afterReload.MatchString(lines[len(lines)-1]):
				// keepalived begins anew with the configured priority and says how it comes to that of before.
			default:
				lines = append(lines, line)
			}
		}
		return lines
	}
)

// withoutLateEnds takes out what keepalived now and then says once more of a script that hung: it has ended it by SIGTERM, and
// when it notices that only after the next run has succeeded, it counts it as a failure of that one.
func withoutLateEnds(lines []string) (out []string) {
	for i := 0; i < len(lines); i++ {
		script, late := strings.CutSuffix(lines[i], " failed (due to signal 15)")
		if late && i > 0 && i+1 < len(lines) && lines[i-1] == script+" succeeded" && lines[i+1] == script+" succeeded" {
			i++
			continue
		}
		out = append(out, lines[i])
	}
	return out
}

// prepare puts the things that a story follows into a directory and returns its configuration.
func (s *trackingStory) prepare(t *testing.T, dir string) string {
	t.Helper()
	for name, text := range s.files {
		put(name, text)(t, nil, dir)
	}
	for name := range s.files {
		if err := os.WriteFile(filepath.Join(dir, name+".sh"), []byte(strings.ReplaceAll(trackScript, "$0.n", filepath.Join(dir, name))), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return strings.ReplaceAll(s.config, "$D", dir)
}

// sniff writes down the priorities of the adverts that a node sends.
func (n *node) sniff(t *testing.T, file string) {
	t.Helper()
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	cmd := exec.Command("tcpdump", "-l", "-n", "-i", "eth0", "vrrp")
	cmd.Stdout = out
	inside(t, n.pair.lab.Namespace(n.host), cmd.Start)
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	time.Sleep(500 * time.Millisecond) // it has no other way to say that it listens
}

var wirePriority = regexp.MustCompile(`vrid (\d+), prio (\d+)`)

// wirePriorities are those of each virtual router, each once in a row.
func wirePriorities(t *testing.T, file string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for _, m := range wirePriority.FindAllStringSubmatch(string(text), -1) {
		if have := all[m[1]]; len(have) == 0 || have[len(have)-1] != m[2] {
			all[m[1]] = append(all[m[1]], m[2])
		}
	}
	return all
}

// TestWhatIsFollowedComesOutAsWithKeepalived plays each story with both programs at once, on hosts that do not hear each
// other: the same lines in the same order, and the same priorities on the wire.
func TestWhatIsFollowedComesOutAsWithKeepalived(t *testing.T) {
	if !alone(t, 3*time.Minute, "keepalived", "tcpdump") {
		return
	}
	before := left(t)
	t.Run("stories", func(t *testing.T) {
		for i, name := range slices.Sorted(maps.Keys(trackingStories)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				story := trackingStories[name]
				playTracking(t, fmt.Sprintf("tr%d", i), &story)
			})
		}
	})
	nothingNew(t, before)
}

func playTracking(t *testing.T, name string, story *trackingStory) {
	p := newPair(t, name)
	p.cable(t, false)
	var dirs, wires [2]string
	for i, k := range []kind{ours, theirs} {
		dirs[i] = t.TempDir()
		p.newNode(t, i, k, story.prepare(t, dirs[i]))
		n := p.nodes[i]
		n.ip(t, "link", "add", "eth1", "type", "veth", "peer", "name", "eth1p")
		n.ip(t, "link", "set", "eth1", "up")
		n.ip(t, "link", "set", "eth1p", "up")
		wires[i] = filepath.Join(dirs[i], "wire")
		n.sniff(t, wires[i])
	}
	for _, n := range p.nodes {
		n.start(t)
	}
	time.Sleep(6 * time.Second)
	var begun [2]int
	for i, n := range p.nodes {
		if !story.start {
			begun[i] = len(n.said(t))
		}
	}
	for _, act := range story.acts {
		for i, n := range p.nodes {
			act(t, n, dirs[i])
		}
		time.Sleep(story.pauses)
	}
	// The two run their scripts at moments of their own, up to an interval apart, and one that hung takes two of them: whoever is
	// later is given time to come to the same end.
	time.Sleep(4 * time.Second)
	var lines [2][]string
	for i, n := range p.nodes {
		n.end(t, syscall.SIGTERM)
		lines[i] = trackLog(strings.ReplaceAll(n.said(t)[begun[i]:], dirs[i], "$D"))
		if story.start {
			slices.Sort(lines[i])
		}
		if i == b {
			lines[i] = withoutLateEnds(lines[i])
		}
		if at := slices.Index(lines[i], story.beyond); i == a && at >= 0 {
			lines[i] = slices.Delete(lines[i], at, at+1)
		}
	}
	if diff := cmp.Diff(lines[b], lines[a]); diff != "" {
		t.Errorf("the log (-keepalived +vipd):\n%s", diff)
	}
	if diff := cmp.Diff(wirePriorities(t, wires[b]), wirePriorities(t, wires[a])); diff != "" {
		t.Errorf("priorities on the wire (-keepalived +vipd):\n%s", diff)
	}
	if len(lines[b]) < len(story.acts) {
		t.Errorf("keepalived said little: %q", lines[b])
	}
	for _, dir := range dirs {
		out, _ := exec.Command("pgrep", "-f", dir).Output()
		if pids := strings.Fields(string(out)); len(slices.DeleteFunc(pids, func(s string) bool { return s == "" })) != 0 {
			t.Errorf("scripts are left: %v", pids)
		}
	}
}
