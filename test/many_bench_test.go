package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// TestManyInstancesBesideKeepalived starts 255 instances with 1,000 addresses on one link, and measures how long they
// take to have them all (under 1 s), how late adverts leave meanwhile (none by more than a fifth of its interval), and what the
// program costs.
func TestManyInstancesBesideKeepalived(t *testing.T) {
	if os.Getenv("VIPD_BENCH") == "" {
		t.Skip("a benchmark: make bench")
	}
	if !alone(t, 10*time.Minute, "keepalived") {
		return
	}
	for n, k := range []kind{theirs, ours} {
		p := newPair(t, fmt.Sprintf("many%d", n))
		p.newNode(t, a, k, manyConfig())
		h := p.netlink(t, "a")
		p.nodes[a].start(t)
		began := time.Now()
		var first time.Time
		for count := 0; count < manyAddresses; time.Sleep(5 * time.Millisecond) {
			addrs, err := h.AddrList(nil, netlink.FAMILY_V4)
			if errors.Is(err, netlink.ErrDumpInterrupted) { // they change while they are listed
				continue
			}
			if err != nil || time.Since(began) > 60*time.Second {
				t.Fatalf("%d addresses, %v\n%.3000s", count, err, p.nodes[a].said(t))
			}
			if count = len(addrs) - 2; count > 0 && first.IsZero() { // its own and lo's
				first = time.Now()
			}
		}
		took := time.Since(first)
		before := cpuTime(t, p.nodes[a])
		time.Sleep(10 * time.Second)
		t.Logf("%-10s takeover of 255 instances and %d addresses in %s; %d MiB, %.1f %% of a processor in the 10 s after", k, manyAddresses,
			took.Round(time.Millisecond), memory(t, p.nodes[a])>>20, 100*(cpuTime(t, p.nodes[a])-before).Seconds()/10)
		if k == ours {
			late, worst := lateness(t, p.nodes[a])
			t.Logf("%-10s %d adverts left later than a fifth of their interval, the worst by %s", k, late, worst.Round(time.Microsecond))
			if took > time.Second || late > 0 {
				t.Error("want the takeover in a second, and no advert so late")
			}
		}
		p.nodes[a].end(t, syscall.SIGTERM)
	}
}

const manyAddresses = 1000

func manyConfig() string {
	var b strings.Builder
	for i := range 255 {
		fmt.Fprintf(&b, "vrrp_instance VI_%d {\n    interface eth0\n    virtual_router_id %d\n    state BACKUP\n    priority 200\n    advert_int 1\n    garp_master_delay 0\n    virtual_ipaddress {\n", i+1, i+1)
		for n := i; n < manyAddresses; n += 255 {
			fmt.Fprintf(&b, "        10.9.%d.%d/32\n", 16+n/250, 1+n%250)
		}
		b.WriteString("    }\n}\n")
	}
	return b.String()
}

// pidsOf are the processes of a node.
func pidsOf(n *node) []int {
	pids := []int{n.cmd.Process.Pid}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[0]))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for word := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// cpuTime is what the node's processes have used: utime and stime in hundredths of a second (proc(5)).
func cpuTime(t *testing.T, n *node) (sum time.Duration) {
	t.Helper()
	for _, pid := range pidsOf(n) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		for _, at := range []int{11, 12} {
			ticks, err := strconv.Atoi(fields[at])
			if err != nil {
				t.Fatal(err)
			}
			sum += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return sum
}

// memory is the node's resident memory.
func memory(t *testing.T, n *node) (sum int) {
	t.Helper()
	for _, pid := range pidsOf(n) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			t.Fatal(err)
		}
		pages, err := strconv.Atoi(strings.Fields(string(text))[1])
		if err != nil {
			t.Fatal(err)
		}
		sum += pages * os.Getpagesize()
	}
	return sum
}

// lateness is what vipd counted of its own adverts.
func lateness(t *testing.T, n *node) (late uint64, worst time.Duration) {
	t.Helper()
	for _, r := range n.routers(t) {
		late, worst = late+r.Late, max(worst, r.WorstLate)
	}
	return late, worst
}
