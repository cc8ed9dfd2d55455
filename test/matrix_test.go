package test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wholeMatrix has every pair played, also two keepalived, and not only vipd beside keepalived: make matrix sets it.
var wholeMatrix = os.Getenv("VIPD_MATRIX") == "whole"

// wire is a way in which two routers speak to each other.
type wire struct {
	name    string
	lines   string // of the instance, the same on both sides
	sides   [2]string
	v3      bool
	v6      bool
	unicast bool
	own     bool // keepalived 2.2.7 cannot
	grumble bool // keepalived says something about the checksums, until the one side has learnt the other's
}

const (
	hmacLines = `auth_hmac {
        key 1 hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
        active_key 1
    }`
	passLines = "authentication {\n        auth_type PASS\n        auth_pass secret12\n    }"
	ahLines   = "authentication {\n        auth_type AH\n        auth_pass k3y\n    }"
)

// wires is the matrix: version × family × destination × authentication × checksum.
var wires = []wire{
	{name: "v2"},
	{name: "v2 PASS", lines: passLines},
	{name: "v2 AH", lines: ahLines},
	{name: "v2 unicast PASS", lines: passLines, unicast: true},
	{name: "v2 unicast AH", lines: ahLines, unicast: true},
	{name: "v3", v3: true},
	{name: "v3 unicast", v3: true, unicast: true},
	{name: "v3 unicast, the old checksum on one side", v3: true, unicast: true, sides: [2]string{"", "old_unicast_checksum"}, grumble: true},
	{name: "v3 IPv6", v3: true, v6: true},
	{name: "v3 IPv6 unicast", v3: true, v6: true, unicast: true},
	{name: "v3 HMAC", lines: hmacLines, v3: true, own: true},
	{name: "v3 IPv6 unicast HMAC", lines: hmacLines, v3: true, v6: true, unicast: true, own: true},
	{name: "v3, the message's checksum on one side", v3: true, sides: [2]string{"v3_checksum_as_v2", ""}, own: true},
}

// quick are those that CI plays.
var quick = []string{"v2 AH", "v2 unicast PASS", "v3", "v3 unicast, the old checksum on one side", "v3 IPv6", "v3 IPv6 unicast", "v3 HMAC", "v3, the message's checksum on one side"}

// interval is short where the version can carry it.
func (w *wire) interval() time.Duration {
	if w.v3 {
		return 400 * time.Millisecond
	}
	return time.Second
}

// down is how long a backup waits.
func (w *wire) down(priority int) time.Duration {
	unit := time.Second
	if w.v3 {
		unit = w.interval()
	}
	return 3*w.interval() + time.Duration(256-priority)*unit/256
}

// config is the file of one side. An IPv6 instance holds the address that is watched as an excluded one.
func (w *wire) config(side, priority int) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "    "+format+"\n", args...) }
	b.WriteString("vrrp_instance VI_1 {\n")
	line("interface eth0\n    virtual_router_id 51\n    priority %d\n    state BACKUP", priority)
	line("advert_int %g", w.interval().Seconds())
	if w.v3 {
		line("version 3")
	}
	if w.unicast {
		from, to := fmt.Sprintf("10.9.0.%d", 1+side), fmt.Sprintf("10.9.0.%d", 2-side)
		if w.v6 {
			from, to = fmt.Sprintf("fd00:9::%d", 1+side), fmt.Sprintf("fd00:9::%d", 2-side)
		}
		line("unicast_src_ip %s\n    unicast_peer {\n        %s\n    }", from, to)
	}
	for _, extra := range []string{w.lines, w.sides[side]} {
		if extra != "" {
			line("%s", extra)
		}
	}
	if w.v6 {
		line("virtual_ipaddress {\n        fe80::9/64\n        fd00:9::9/64\n    }")
		line("virtual_ipaddress_excluded {\n        %s/24\n    }", peerVIP)
	} else {
		line("virtual_ipaddress {\n        %s/24\n    }", peerVIP)
	}
	b.WriteString("}\n")
	return b.String()
}

// story is played by every pair of the matrix; b has the higher priority and address.
func (w *wire) story() []act {
	// A program needs a moment to start, sixteen pairs at once more of it.
	low, high, next := w.down(100)+1800*time.Millisecond, w.down(150)+1800*time.Millisecond, w.interval()+500*time.Millisecond
	skew := w.down(100) - 3*w.interval() + 500*time.Millisecond
	look := w.down(100) + 2*time.Second
	long := 2*time.Second + look // a bridge may take a second to notice that a port has a carrier again
	return []act{
		{name: "alone, the lower is master", do: start(a), want: "a", within: low, watch: look},
		{name: "the higher preempts", do: start(b), want: "b", within: high, watch: look},
		{name: "the backup is paused and goes on", do: pauseFor(a, look), want: "b", watch: look + w.interval() + 500*time.Millisecond},
		{name: "the master is paused", do: pause(b), want: "ab", within: low, both: look, watch: look},
		{name: "it goes on", do: resume(b), want: "b", within: next, both: next, watch: look},
		{name: "parted, both are master", do: cut, want: "ab", within: low, both: look, watch: look},
		{name: "joined again, the higher wins", do: heal, want: "b", within: long, both: long, watch: long},
		{name: "the master is killed", do: kill(b), want: "a", within: low, watch: look},
		{name: "back, it preempts", do: start(b), want: "b", within: high, both: next, watch: look},
		{name: "the master stops", do: stop(b), want: "a", within: skew, watch: look},
	}
}

// signalAll signals every process of a node.
func (n *node) signalAll(t *testing.T, sig syscall.Signal) {
	t.Helper()
	pids := []int{n.cmd.Process.Pid}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[0]))
	if err != nil {
		t.Error(err)
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue
		}
		for word := range strings.FieldsSeq(string(text)) {
			var child int
			if _, err := fmt.Sscan(word, &child); err == nil {
				pids = append(pids, child)
			}
		}
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, sig); err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
}

func pause(i int) func(*testing.T, *pair) {
	return func(t *testing.T, p *pair) { p.nodes[i].signalAll(t, syscall.SIGSTOP) }
}

func resume(i int) func(*testing.T, *pair) {
	return func(t *testing.T, p *pair) { p.nodes[i].signalAll(t, syscall.SIGCONT) }
}

func pauseFor(i int, d time.Duration) func(*testing.T, *pair) {
	return func(t *testing.T, p *pair) { pause(i)(t, p); time.Sleep(d); resume(i)(t, p) }
}

// enableIPv6 gives the nodes IPv6, which a laboratory is without: link-local addresses, and fd00:9::1 and fd00:9::2.
func (p *pair) enableIPv6(t *testing.T) {
	t.Helper()
	for i, host := range []string{"a", "b"} {
		inside(t, p.lab.Namespace(host), func() error {
			for name, value := range map[string]string{"accept_dad": "0", "disable_ipv6": "0"} {
				if err := os.WriteFile("/proc/sys/net/ipv6/conf/eth0/"+name, []byte(value), 0o644); err != nil {
					return err
				}
			}
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			addr, err := netlink.ParseAddr(fmt.Sprintf("fd00:9::%d/64", 1+i))
			if err != nil {
				return err
			}
			return netlink.AddrAdd(link, addr)
		})
	}
}

// results are the rows of the table, printed when all pairs are through.
type results struct {
	mu   sync.Mutex
	rows []string
}

func (r *results) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, fmt.Sprintf(format, args...))
}

// TestEveryWayOfSpeakingElectsAsKeepalivedDoes plays one story for each way in which routers can be told to speak: with
// vipd in place of either of two keepalived the same one wins, after the same number of changes.
func TestEveryWayOfSpeakingElectsAsKeepalivedDoes(t *testing.T) {
	if !alone(t, 4*time.Minute, "keepalived") {
		return
	}
	before := left(t)
	var table results
	t.Run("pairs", func(t *testing.T) {
		for n := range wires {
			w := &wires[n]
			if !wholeMatrix && !slices.Contains(quick, w.name) {
				continue
			}
			for m, kinds := range w.pairs() {
				t.Run(fmt.Sprintf("%s: %s and %s", w.name, kinds[a], kinds[b]), func(t *testing.T) {
					t.Parallel()
					w.play(t, fmt.Sprintf("m%d%d", n, m), kinds, &table)
				})
			}
		}
	})
	slices.Sort(table.rows)
	t.Logf("times in ms until each act had its result, and changes of the holder:\n%s", strings.Join(table.rows, "\n"))
	nothingNew(t, before)
}

func (w *wire) pairs() [][2]kind {
	switch {
	case w.own:
		return [][2]kind{{ours, ours}}
	case wholeMatrix:
		return [][2]kind{{theirs, theirs}, {ours, theirs}, {theirs, ours}, {ours, ours}}
	}
	return [][2]kind{{ours, theirs}, {theirs, ours}}
}

func (w *wire) play(t *testing.T, name string, kinds [2]kind, table *results) {
	p := newPair(t, name)
	for i, k := range kinds {
		p.newNode(t, i, k, w.config(i, 100+50*i))
	}
	if w.v6 {
		p.enableIPv6(t)
	}
	p.watch, p.grumble = startWatch(t, p), w.grumble
	p.play(t, w.story())
	p.watch.mu.Lock()
	defer p.watch.mu.Unlock()
	var times []string
	for _, d := range p.took {
		times = append(times, fmt.Sprintf("%5d", d.Milliseconds()))
	}
	table.add("%-42s %-10s %-10s %s  %d changes", w.name, kinds[a], kinds[b], strings.Join(times, " "), len(p.watch.changes)-cmp.Compare(len(p.watch.changes), 0))
}
