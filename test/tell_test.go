package test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

// told is what others were told by one program in the story of TestOthersAreToldWhatKeepalivedTellsThem.
type told struct {
	dir    string
	states []string // of the notify scripts: their arguments, in the order of their start
	env    []string // names of the environment of a script
	fifo   []string
	mails  []string
	stats  string
	json   string
	data   string
	log    []string
}

// tellingConfig has one instance with everything that tells, and two that a reload removes.
func tellingConfig(dir string, all bool) string {
	script := func(args string) string { return fmt.Sprintf("%q", dir+"/told.sh "+args) }
	more := ""
	if all {
		more = fmt.Sprintf(`vrrp_instance VI_2 {
    interface eth0
    virtual_router_id 52
    priority 10
    notify %s
    virtual_ipaddress {
        10.9.0.52
    }
}
vrrp_instance VI_3 {
    interface eth0
    virtual_router_id 53
    priority 10
    notify_deleted %s
    notify %s
    smtp_alert
    virtual_ipaddress {
        10.9.0.53
    }
}
`, script("any"), script("deleted"), script("any"))
	}
	return fmt.Sprintf(`global_defs {
    router_id NODE_a
    enable_script_security
    script_user root
    vrrp_notify_fifo %s/fifo
    notification_email {
        ops@example.org
        night@example.org
    }
    notification_email_from director@example.org
    smtp_server 127.0.0.1 2525
    smtp_helo_name director.example.org
    smtp_connect_timeout 5
    startup_script %s
    startup_script_timeout 7
    shutdown_script %s
}
vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority 150
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass 1111
    }
    virtual_ipaddress {
        %s
    }
    virtual_ipaddress_excluded {
        10.9.0.10/24 dev eth0 label eth0:1
    }
    notify_master %s
    notify_backup %s
    notify_fault %s
    notify_stop %s
    notify %s
    notify_master_rx_lower_pri %s
    smtp_alert
}
%s%s`, dir, script("startup once"), script("shutdown once"), peerVIP, script("master"), script("backup"), script("fault"), script("stop"), script("any"), script("lower"), groupConfig(script), more)
}

// groupConfig is a group of two with everything that tells.
func groupConfig(script func(string) string) string {
	text := fmt.Sprintf(`vrrp_sync_group G {
    group {
        VI_4
        VI_5
    }
    notify_master %s
    notify_backup %s
    notify_fault %s
    notify_stop %s
    notify %s
    smtp_alert
}
`, script("gmaster"), script("gbackup"), script("gfault"), script("gstop"), script("any"))
	for i := 4; i <= 5; i++ {
		text += fmt.Sprintf(`vrrp_instance VI_%[1]d {
    interface eth0
    virtual_router_id 5%[1]d
    priority 20
    notify %[2]s
    smtp_alert
    virtual_ipaddress {
        10.9.0.5%[1]d
    }
}
`, i, script("any"))
	}
	return text
}

// TestOthersAreToldWhatKeepalivedTellsThem plays one story with each program against a keepalived as its peer, and
// compares what notify scripts, FIFO, mail relay and dumps got.
func TestOthersAreToldWhatKeepalivedTellsThem(t *testing.T) {
	if !alone(t, 2*time.Minute, "keepalived") {
		return
	}
	var by [2]*told
	t.Run("stories", func(t *testing.T) {
		for i, k := range []kind{theirs, ours} {
			t.Run(string(k), func(t *testing.T) {
				t.Parallel()
				by[i] = tell(t, k)
			})
		}
	})
	want, got := by[0], by[1]
	if want == nil || got == nil {
		t.Fatal("a story was not told to its end")
	}
	// Whether a hears b's advert before b hears a's is chance when the cable is plugged in.
	lower := func(s string) bool { return s == "lower" || strings.Contains(s, "MASTER_RX_LOWER_PRI") }
	// The order between instances is that of their timers; each one's own is compared.
	name := func(line string) string { return strings.SplitN(line, "\"", 3)[1] }
	// keepalived ends before the relay has its last mails; whether one gets through is chance.
	last := func(s string) bool { return s == "" || strings.Contains(s, " - Stopping\r\n") }
	for _, x := range by {
		x.states, x.fifo = slices.DeleteFunc(x.states, lower), slices.DeleteFunc(x.fifo, lower)
		slices.SortStableFunc(x.fifo, func(a, b string) int { return strings.Compare(name(a), name(b)) })
		if x == got && !slices.ContainsFunc(x.mails, last) {
			t.Error("vipd did not mail that it stops")
		}
		x.mails = slices.DeleteFunc(x.mails, last)
	}
	for what, pair := range map[string][2]any{
		"states":      {want.states, got.states},
		"environment": {want.env, got.env},
		"FIFO":        {want.fifo, got.fifo},
		"mails":       {want.mails, got.mails},
		"statistics":  {want.stats, got.stats},
		"JSON":        {want.json, got.json},
		"data":        {want.data, got.data},
	} {
		if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
			t.Errorf("%s (-keepalived +vipd):\n%s", what, diff)
		}
	}
	for _, line := range want.log {
		chance := strings.Contains(line, "forcing new election") || strings.Contains(line, "Reloading")
		if !slices.Contains(got.log, line) && !chance {
			t.Errorf("keepalived's log has, and vipd's has not: %s", line)
		}
	}
	if len(want.states) < 10 || len(want.mails) < 6 || len(want.fifo) < 10 || len(want.log) < 40 {
		t.Errorf("the story is too short to compare: %d states, %d mails, %d lines, %d logged", len(want.states), len(want.mails), len(want.fifo), len(want.log))
	}
}

// tell plays the story with a program on host a.
func tell(t *testing.T, k kind) *told {
	p := newPair(t, "told"+string(k))
	x := &told{dir: "/run/told-" + string(k)} // nobody else writes there, as script security wants it
	x.prepare(t)
	relay := listenMail(t, p.lab.Namespace("a"))
	p.newNode(t, a, k, tellingConfig(x.dir, true))
	p.nodes[a].tmp = x.dir
	p.newNode(t, b, theirs, peerConfig(100, "1111"))
	p.watch = startWatch(t, p)
	fifo := followFIFO(t, x.dir+"/fifo")

	act := func(want string, within time.Duration, what string, do func()) {
		t.Helper()
		begin := time.Now()
		do()
		eventually(t, within, what, func() bool {
			holders, _, _, _ := p.watch.since(begin)
			return holders == want
		})
		time.Sleep(300 * time.Millisecond)
	}
	signal := func(n *node, sig syscall.Signal) {
		t.Helper()
		if err := n.cmd.Process.Signal(sig); err != nil {
			t.Error(err)
		}
	}
	act("a", 6*time.Second, "a becomes master", func() { p.nodes[a].start(t) })
	act("ab", 6*time.Second, "parted, b becomes master too", func() { p.cable(t, false); p.nodes[b].start(t) })
	act("a", 4*time.Second, "joined again, a insists", func() { p.cable(t, true) })
	act("b", 6*time.Second, "b preempts with more priority", func() {
		if err := os.WriteFile(p.nodes[b].file, []byte(peerConfig(200, "1111")), 0o644); err != nil {
			t.Fatal(err)
		}
		signal(p.nodes[b], syscall.SIGHUP)
	})
	act("a", 4*time.Second, "b stops", func() { p.nodes[b].end(t, syscall.SIGTERM) })
	act("", 2*time.Second, "the link goes", func() { x.link(t, p, false) })
	act("a", 6*time.Second, "the link is back", func() { x.link(t, p, true) })
	time.Sleep(1200 * time.Millisecond) // until the others, with less priority, are master too
	x.dumps(t, k, p.nodes[a], signal)
	if err := os.WriteFile(p.nodes[a].file, []byte(tellingConfig(x.dir, false)), 0o644); err != nil {
		t.Fatal(err)
	}
	signal(p.nodes[a], syscall.SIGHUP)
	time.Sleep(1500 * time.Millisecond)
	p.nodes[a].end(t, syscall.SIGTERM)
	x.fifo, x.mails = fifo(), relay()
	x.states, x.env = x.notes(t)
	x.log = linesOfLog(p.nodes[a].said(t))
	t.Logf("log of %s:\n%s", k, p.nodes[a].said(t))
	return x
}

// logged matches the lines that operators grep for; a time and, with vipd, a level stand before them, attributes behind.
var logged = regexp.MustCompile(`(?m)(?:\d{4}: |Z |[+-]\d\d:\d\d )(\(VI_\d\) .*?|Netlink reports .*?|Sending gratuitous ARP .*?|Startup complete|Stopping|Reload.*?|Printing VRRP .*? for process.*?)(?: (?:vi|if)=\S+)*$`)

func linesOfLog(text string) (lines []string) {
	for _, m := range logged.FindAllStringSubmatch(text, -1) {
		lines = append(lines, regexp.MustCompile(`process\(\d+\)`).ReplaceAllString(m[1], "process(N)"))
	}
	return lines
}

// link sets a's interface down or up.
func (x *told) link(t *testing.T, p *pair, up bool) {
	t.Helper()
	inside(t, p.lab.Namespace("a"), func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		if up {
			return netlink.LinkSetUp(l)
		}
		return netlink.LinkSetDown(l)
	})
}

// prepare writes the script that every notification runs.
func (x *told) prepare(t *testing.T) {
	t.Helper()
	text := fmt.Sprintf("#!/bin/sh\necho \"$*\" >>%[1]s/notes\nenv | sed 's/=.*//' >%[1]s/env\n", x.dir)
	if err := os.MkdirAll(x.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(x.dir+"/told.sh", []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// notes are the arguments of the scripts, instance by instance, those of one state in a fixed order: keepalived starts
// all at once.
func (x *told) notes(t *testing.T) (all, env []string) {
	t.Helper()
	text, err := os.ReadFile(x.dir + "/notes")
	if err != nil {
		t.Fatal(err)
	}
	all = strings.Split(strings.TrimSpace(string(text)), "\n")
	owner := func(note string) string {
		f := strings.Fields(note)
		switch {
		case len(f) > 2:
			return f[2] // any INSTANCE NAME STATE PRIORITY, any GROUP NAME STATE 0
		case strings.HasSuffix(note, " once"):
			return note
		case strings.HasPrefix(note, "g"):
			return "G"
		case note == "deleted":
			return "VI_3"
		}
		return "VI_1"
	}
	slices.SortStableFunc(all, func(a, b string) int { return strings.Compare(owner(a), owner(b)) })
	for i := 0; i+1 < len(all); i++ {
		if f := strings.Fields(all[i]); len(f) > 3 && strings.EqualFold(f[3], strings.TrimPrefix(all[i+1], "g")) {
			all[i], all[i+1] = all[i+1], all[i]
		}
	}
	text, err = os.ReadFile(x.dir + "/env")
	if err != nil {
		t.Fatal(err)
	}
	env = strings.Fields(string(text))
	slices.Sort(env)
	return all, env
}

// dumps asks for the three dumps and waits for them.
func (x *told) dumps(t *testing.T, k kind, n *node, signal func(*node, syscall.Signal)) {
	t.Helper()
	for _, d := range []struct {
		name string
		sig  syscall.Signal
		text *string
	}{{"keepalived.data", syscall.SIGUSR1, &x.data}, {"keepalived.stats", syscall.SIGUSR2, &x.stats}, {"keepalived.json", syscall.Signal(36), &x.json}} {
		signal(n, d.sig)
		eventually(t, 3*time.Second, string(k)+" writes "+d.name, func() bool {
			text, err := os.ReadFile(filepath.Join(x.dir, d.name))
			*d.text = string(text)
			return err == nil && len(text) > 0
		})
		time.Sleep(200 * time.Millisecond) // keepalived writes into the file that is seen
		text, err := os.ReadFile(filepath.Join(x.dir, d.name))
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(filepath.Join(x.dir, d.name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", d.name, info.Mode(), err)
		}
		*d.text = x.common(string(text))
	}
}

// notHere are lines of keepalived.data about what vipd does not have: numbers of sockets and libraries, sysctls that
// were changed, delays of link changes.
var notHere = regexp.MustCompile(`(?m)^( libnftnl version| nftables |   fd_in |   Seen up|   Delayed state|   Up debounce|   Down debounce|   NIC netlink|   Reset |   Original |   rp_filter |   Not IPv6 forwarding|   Tracking VRRP instances :|     VI_\d, weight).*\n|^------< VRRP Sockpool >------\n(?: .*\n)*`)

// common takes away what no two runs have in common: times, counts of adverts (which are a matter of moments), folders.
func (x *told) common(text string) string {
	text = notHere.ReplaceAllString(text, "")
	for _, r := range [][2]string{
		{x.dir, "DIR"}, {strings.ReplaceAll(x.dir, "/", `\/`), "DIR"},
	} {
		text = strings.ReplaceAll(text, r[0], r[1])
	}
	for _, r := range [][2]string{
		{`"last_transition":\d+\.\d{6},`, `"last_transition":T,`}, {`"(advert_rcvd|advert_sent)":\d+`, `"$1":N`},
		{`(?m)^    (Received|Sent): [1-9]\d*$`, "    $1: N"},
		// Of a group whose link goes, keepalived counts a last advert of one member; none leaves from either.
		{`(  Priority Zero:\n    Received: .*\n    Sent: ).*`, "${1}N"}, {`"pri_zero_sent":\d+`, `"pri_zero_sent":N`},
		{`\d+\.\d{6} \(\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d\.\d{6} \d{4}\)`, "TIME"},
	} {
		text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
	}
	return text
}

// followFIFO reads a FIFO from its making on; the returned function gives its lines when it is gone.
func followFIFO(t *testing.T, path string) func() []string {
	var lines []string
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-quit:
				return
			case <-time.After(5 * time.Millisecond):
			}
			f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
			if err != nil {
				continue
			}
			in := bufio.NewReader(f)
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					break
				}
				lines = append(lines, line)
			}
			f.Close()
		}
	})
	return func() []string { close(quit); wg.Wait(); return lines }
}

// listenMail is a relay in a namespace that takes everything. The returned function gives what it got: each envelope
// and message as one text, without the date and in a fixed order, because keepalived sends several at once.
func listenMail(t *testing.T, namespace string) func() []string {
	t.Helper()
	var ln net.Listener
	inside(t, namespace, func() (err error) { ln, err = net.Listen("tcp", "127.0.0.1:2525"); return err })
	var mu sync.Mutex
	var mails []string
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				text := takeMail(c)
				mu.Lock()
				defer mu.Unlock()
				mails = append(mails, text)
			})
		}
	})
	return func() []string { ln.Close(); wg.Wait(); slices.Sort(mails); return mails }
}

var dateLine = regexp.MustCompile(`(?m)^Date: \w{3}, \d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2} [+-]\d{4}\r$`)

func takeMail(c net.Conn) string {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	var b bytes.Buffer
	in := bufio.NewReader(c)
	say := func(s string) { _, _ = io.WriteString(c, s+"\r\n") }
	say("220 relay")
	for data := false; ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return b.String()
		}
		b.WriteString(dateLine.ReplaceAllString(strings.TrimSuffix(line, "\n"), "Date: right") + "\n")
		switch {
		case data && line != ".\r\n":
		case data:
			data = false
			say("250 taken")
		case strings.HasPrefix(line, "DATA"):
			data = true
			say("354 go on")
		case strings.HasPrefix(line, "QUIT"):
			say("221 bye")
			return b.String()
		default:
			say("250 ok")
		}
	}
}
