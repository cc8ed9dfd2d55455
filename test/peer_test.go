package test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"vipd/internal/control"
)

// act is something that is done to a pair, and what must come of it.
type act struct {
	name   string
	do     func(*testing.T, *pair)
	want   string        // who has the address then: a, b or ab
	within time.Duration // of the act; zero: it was so before and stays so
	both   time.Duration // both may have the address for so long; zero: overlap
	watch  time.Duration // how long it is looked on
	after  time.Duration // of the act: not before
	turns  string        // states that each goes into, such as "a:B b:BM", - for none. Empty: not looked at
}

// The bounds. A backup with priority 100 waits 3.609 s, one with 150 waits 3.414 s (RFC 3768 §6.1); half a second is
// for everything else, and a program needs a moment to start. Whoever hears a better advert obeys at once, and adverts
// come every second.
const (
	started   = 3609*time.Millisecond + 900*time.Millisecond
	preempted = 3414*time.Millisecond + 900*time.Millisecond
	missed    = 3609*time.Millisecond + 500*time.Millisecond
	released  = 609*time.Millisecond + 400*time.Millisecond // priority 0: "Set the Master_Down_Timer to Skew_Time"
	nextOne   = time.Second + 400*time.Millisecond
	rejoined  = time.Second + nextOne // a bridge may take a second to notice that a port has a carrier again
	overlap   = 300 * time.Millisecond
	look      = 4700 * time.Millisecond // longer than any takeover
)

// start starts a node. Time counts from its being there: how long a program takes to start is no matter of elections.
func start(i int) func(*testing.T, *pair) {
	return func(t *testing.T, p *pair) {
		p.watch.ignore(i, false)
		read := p.read(t)[i]
		p.nodes[i].start(t)
		eventually(t, 20*time.Second, p.nodes[i].String()+" starts", func() bool { return entering.MatchString(p.nodes[i].said(t)[read:]) })
		p.begun = time.Now()
	}
}

func stop(i int) func(*testing.T, *pair) {
	return func(t *testing.T, p *pair) { p.nodes[i].end(t, syscall.SIGTERM) }
}

func kill(i int) func(*testing.T, *pair) {
	return func(t *testing.T, p *pair) { p.watch.ignore(i, true); p.nodes[i].end(t, syscall.SIGKILL) }
}

func cut(t *testing.T, p *pair)  { p.cable(t, false) }
func heal(t *testing.T, p *pair) { p.cable(t, true) }

const a, b = 0, 1 // b has the higher address

// elections are the stories that every pair of programs plays. An address that a killed program left is not its any
// more, whoever took over; keepalived drops it at its start, vipd when it hears the new master.
var elections = map[string]struct {
	configs [2]string
	acts    []act
}{
	"equal": {[2]string{peerConfig(100, "1111"), peerConfig(100, "1111")}, []act{
		{name: "the first to start becomes master", do: start(a), want: "a", within: started, watch: look},
		{name: "an equal one with a higher address does not preempt", do: start(b), want: "a", watch: look},
		{name: "parted, both are master", do: cut, want: "ab", within: missed, both: look, watch: look},
		{name: "joined again, the higher address wins", do: heal, want: "b", within: rejoined, both: rejoined, watch: 3 * time.Second},
		{name: "the master stops: its skew later the other has it", do: stop(b), want: "a", within: released, watch: 1500 * time.Millisecond},
		{name: "back, it does not preempt", do: start(b), want: "a", watch: look},
		{name: "the master is killed", do: kill(a), want: "b", within: missed, watch: look},
		{name: "back, it does not preempt either", do: start(a), want: "b", within: nextOne, both: nextOne, watch: look},
	}},
	"higher": {[2]string{peerConfig(100, "1111"), peerConfig(150, "1111")}, []act{
		{name: "the lower one, alone, becomes master", do: start(a), want: "a", within: started, watch: look},
		{name: "the higher priority preempts", do: start(b), want: "b", within: preempted, watch: look},
		{name: "the master is killed", do: kill(b), want: "a", within: missed, watch: look},
		{name: "back, it preempts again", do: start(b), want: "b", within: preempted, both: nextOne, watch: look},
		{name: "the master stops: the other's skew later it has it", do: stop(b), want: "a", within: released, watch: 1500 * time.Millisecond},
	}},
	"lower address with higher priority": {[2]string{peerConfig(150, "1111"), peerConfig(100, "1111")}, []act{
		{name: "the lower priority, alone, becomes master", do: start(b), want: "b", within: started, watch: look},
		{name: "the higher priority preempts", do: start(a), want: "a", within: preempted, watch: look},
		{name: "parted, both are master", do: cut, want: "ab", within: missed, both: look, watch: look},
		{name: "joined again, the priority decides", do: heal, want: "a", within: rejoined, both: rejoined, watch: 3 * time.Second},
	}},
	"nopreempt": {[2]string{peerConfig(100, "1111"), peerConfig(150, "1111", "nopreempt")}, []act{
		{name: "the lower one, alone, becomes master", do: start(a), want: "a", within: started, watch: look},
		{name: "the higher priority with nopreempt waits", do: start(b), want: "a", watch: look},
		{name: "the master stops: the waiting one has it", do: stop(a), want: "b", within: released, watch: 1500 * time.Millisecond},
		{name: "back, the lower priority gets nothing", do: start(a), want: "b", watch: look},
		{name: "the master is killed", do: kill(b), want: "a", within: missed, watch: look},
		{name: "back, the higher priority with nopreempt waits", do: start(b), want: "a", within: nextOne, both: nextOne, watch: look},
	}},
}

// TestElectionsComeOutAsWithKeepalived plays every story with two keepalived, and with vipd in place of either and both.
func TestElectionsComeOutAsWithKeepalived(t *testing.T) {
	if !alone(t, 2*time.Minute, "keepalived") {
		return
	}
	before := left(t)
	t.Run("pairs", func(t *testing.T) {
		for n, story := range slices.Sorted(maps.Keys(elections)) {
			for m, kinds := range [][2]kind{{theirs, theirs}, {ours, theirs}, {theirs, ours}, {ours, ours}} {
				t.Run(fmt.Sprintf("%s: %s and %s", story, kinds[a], kinds[b]), func(t *testing.T) {
					t.Parallel()
					p := newPair(t, fmt.Sprintf("p%d%d", n, m))
					for i, k := range kinds {
						p.newNode(t, i, k, elections[story].configs[i])
					}
					p.watch = startWatch(t, p)
					p.play(t, elections[story].acts)
				})
			}
		}
	})
	nothingNew(t, before)
}

// play performs the acts one after the other.
func (p *pair) play(t *testing.T, acts []act) {
	t.Helper()
	if err := p.perform(t, acts); err != nil {
		t.Fatal(err)
	}
}

func (p *pair) perform(t *testing.T, acts []act) error {
	t.Helper()
	for _, s := range acts {
		read := p.read(t)
		p.begun = time.Now()
		s.do(t, p)
		begin := p.begun
		time.Sleep(time.Until(begin.Add(s.watch)))
		holders, settled, both, err := p.watch.since(begin)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		went := p.wentThrough(t, read)
		if holders != s.want || settled > s.within || settled < s.after || both > max(s.both, overlap) || s.turns != "" && went != s.turns {
			return fmt.Errorf("%s: %q has the address since %s, both had it for %s, %s; want %q after %s within %s, both at most %s, %s\n%s\nlog of a:\n%s\nlog of b:\n%s",
				s.name, holders, settled, both, went, s.want, s.after, s.within, max(s.both, overlap), s.turns, p.watch.history(), p.nodes[a].said(t), p.nodes[b].said(t))
		}
		p.took, p.went = append(p.took, settled), append(p.went, went)
		t.Logf("%s: %q after %s, both for %s, %s", s.name, holders, settled.Round(time.Millisecond), both.Round(time.Millisecond), went)
	}
	return p.agreed(t)
}

// agreed tells whether either side refused what the other said.
func (p *pair) agreed(t *testing.T) error {
	t.Helper()
	for i, n := range p.nodes {
		switch {
		case n.kind == theirs:
			if bad := n.complaints(t); len(bad) > 0 && !p.grumble {
				return fmt.Errorf("%s does not like what it hears:\n%s", n, strings.Join(bad, "\n"))
			}
		case n.cmd != nil:
			if r := n.router(t); len(r.Refused) > 0 || r.Received == 0 && p.nodes[1-i].cmd != nil {
				return fmt.Errorf("%s received %d adverts and refused %v", n, r.Received, r.Refused)
			}
		}
	}
	return nil
}

// read is how much each node has said so far.
func (p *pair) read(t *testing.T) (sizes [2]int) {
	t.Helper()
	for i, n := range p.nodes {
		if n != nil {
			sizes[i] = len(n.said(t))
		}
	}
	return sizes
}

var entering = regexp.MustCompile(`\(VI_1\) Entering (BACKUP|MASTER|FAULT) STATE`)

// wentThrough is the states that each node said to enter since then, by their first letters.
func (p *pair) wentThrough(t *testing.T, since [2]int) string {
	t.Helper()
	var all []string
	for i, n := range p.nodes {
		if n == nil { // it is another program
			continue
		}
		states := ""
		for _, m := range entering.FindAllStringSubmatch(n.said(t)[since[i]:], -1) {
			states += m[1][:1]
		}
		if states != "" {
			all = append(all, n.host+":"+states)
		}
	}
	return cmp.Or(strings.Join(all, " "), "-")
}

// router is what a vipd says of its instance.
func (n *node) router(t *testing.T) control.Router {
	t.Helper()
	all := n.routers(t)
	if len(all) != 1 {
		t.Fatalf("%s has %d instances", n, len(all))
	}
	return all[0]
}

func (n *node) routers(t *testing.T) []control.Router {
	t.Helper()
	o := vipd(t, "status", "--instance", n.pair.name+"-"+n.host, "-o", "json")
	var s control.Status
	if err := json.Unmarshal([]byte(o.stdout), &s); err != nil {
		t.Fatalf("%s: status: %v, %s", n, err, o)
	}
	return s.VRRP
}

// TestAWrongPasswordIsRefusedByBoth shows that a complaint of keepalived would be seen, and that vipd refuses as it does.
func TestAWrongPasswordIsRefusedByBoth(t *testing.T) {
	if !alone(t, time.Minute, "keepalived") {
		return
	}
	p := newPair(t, "strangers")
	p.newNode(t, a, ours, peerConfig(100, "1111"))
	p.newNode(t, b, theirs, peerConfig(100, "2222"))
	p.watch = startWatch(t, p)
	p.nodes[a].start(t)
	p.nodes[b].start(t)
	eventually(t, 10*time.Second, "both are master", func() bool {
		holders, _, _, _ := p.watch.since(time.Now())
		return holders == "ab"
	})
	eventually(t, 5*time.Second, "keepalived complains", func() bool { return len(p.nodes[b].complaints(t)) > 0 })
	eventually(t, 5*time.Second, "vipd counts what it refused", func() bool { return len(p.nodes[a].router(t).Refused) > 0 })
	t.Logf("keepalived: %q; vipd: %v", p.nodes[b].complaints(t), p.nodes[a].router(t).Refused)
}

// TestAScanHearsGroupsOfOurOwnAndUnicast has a master that speaks by unicast and one in a group of its own; vipd vrrp scan
// on the other host, whose instances are the backups, shows both.
func TestAScanHearsGroupsOfOurOwnAndUnicast(t *testing.T) {
	if !alone(t, time.Minute, "keepalived") {
		return
	}
	p := newPair(t, "scan")
	config := func(side, priority int) string {
		return fmt.Sprintf(`vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority %[1]d
    unicast_peer {
        10.9.0.%[2]d
    }
    virtual_ipaddress {
        10.9.0.51
    }
}
vrrp_instance VI_2 {
    interface eth0
    virtual_router_id 52
    priority %[1]d
    mcast_dst_ip 224.0.0.99
    virtual_ipaddress {
        10.9.0.52
    }
}
`, priority, 2-side)
	}
	p.newNode(t, a, ours, config(a, 100))
	p.newNode(t, b, theirs, config(b, 150))
	for _, n := range p.nodes {
		n.start(t)
	}
	eventually(t, 20*time.Second, "keepalived is master of both", func() bool { return strings.Count(p.nodes[b].said(t), "Entering MASTER STATE") == 2 })
	eventually(t, 20*time.Second, "ours answers", func() bool { return vipd(t, "vrrp", "--instance", "scan-a").code == 0 })
	var out []byte
	inside(t, p.lab.Namespace("a"), func() (err error) {
		out, err = exec.Command(program(), "vrrp", "scan", "eth0", "--for", "3s", "--instance", "scan-a").CombinedOutput()
		return err
	})
	for _, want := range []string{"10.9.0.2 to 10.9.0.1: version 2", "10.9.0.2 to 224.0.0.99: version 2"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("want %q in\n%s", want, out)
		}
	}
	if strings.Contains(string(out), "!") {
		t.Errorf("there is nothing to complain of:\n%s", out)
	}
}
