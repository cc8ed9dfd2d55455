package vm

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"vipd/internal/lb"
	"vipd/internal/plane"
)

// lateness is how much later than it says a kernel timer of so long may go off (kernel/time/timer.c: an eighth at most).
func lateness(full time.Duration) time.Duration { return full/8 + 2*time.Second }

// connLate is that of a connection, whose timer was wound for 15 minutes at most: 16.4 s, at 250 Hz.
const connLate = 18 * time.Second

// awake is how long steps are made before time passes: less than a connection lasts whose SCTP handshake has just begun (4 s),
// so that nothing ends while packets look at who has how many connections.
const awake = 1500 * time.Millisecond

// calm tells that nothing is just about to end, or does on one side already.
func (h *history) calm() bool {
	for _, p := range []plane.Plane{h.kernel, h.xdp} {
		for _, c := range h.listed(p) {
			if c.Expires < time.Second {
				return false
			}
		}
	}
	return true
}

// mayHold tells whether the template controls the connection.
func mayHold(template, c lb.Conn) bool {
	network := netip.PrefixFrom(template.Client.Addr(), bitsOf(template.Client.Addr()))
	same := c.Protocol == template.Protocol || template.Protocol == lb.IP // of a mark
	return !c.Template && same && network.Contains(c.Client.Addr()) && c.Real.Addr() == template.Real.Addr()
}

// bitsOf is how many there are up to the last byte that is not 0.
func bitsOf(a netip.Addr) int { return 8 * len(bytes.TrimRight(a.AsSlice(), "\x00")) }

// doubtful tells that a template, when its time has come, may be held on one side and not on the other.
func doubtful(template lb.Conn, end time.Duration, all []lb.Conn) bool {
	for _, c := range all {
		if mayHold(template, c) && (c.Expires-end).Abs() < connLate+lateness(time.Minute) {
			return true
		}
	}
	return false
}

// ended is after when everything has: connections first, and then their templates, which live on by steps of a minute meanwhile.
func ended(all []lb.Conn) time.Duration {
	last := time.Duration(0)
	for _, c := range all {
		last = max(last, c.Expires+max(connLate, lateness(80*time.Second)))
	}
	return last + time.Minute + lateness(time.Minute) + 5*time.Second
}

// sleep lets time pass, to a moment at which on both sides everything has either ended or does not end yet. When there are too
// many for such a moment, all of it ends.
func (h *history) sleep() {
	kernel, ours := h.listed(h.kernel), h.listed(h.xdp)
	first, d := h.IntN(100), ended(slices.Concat(kernel, ours))
	for n := range 100 {
		if try := time.Duration(1+(first+n)%100) * time.Second; h.clear(try, kernel) && h.clear(try, ours) {
			d = try
			break
		}
	}
	h.note("sleep", "sleep %v", d)
	time.Sleep(d)
	h.slept = time.Now()
	counted := d > 4*time.Second // the kernel's estimator has come round since
	h.compare(counted)
	if counted && h.IntN(3) == 0 {
		h.zero()
	}
}

func (h *history) clear(d time.Duration, all []lb.Conn) bool {
	const margin = 5 * time.Second // what the steps until the next sleep take, and more
	for _, c := range all {
		late := connLate
		if c.Template {
			late = lateness(80 * time.Second)
		}
		for end, n := c.Expires, 0; n < 4; end, n = end+time.Minute, n+1 {
			until := end + late + time.Duration(n)*lateness(time.Minute)
			if c.Template && doubtful(c, end, all) {
				until += time.Minute
			}
			if d > end-margin && d < until {
				return false
			}
			if !c.Template {
				break // a template lives on by steps of a minute while it controls connections
			}
		}
	}
	return true
}

// ---- what both have --------------------------------------------------------------------------------------------------------

func (h *history) listed(p plane.Plane) (all []lb.Conn) {
	h.Helper()
	if err := p.Conns(func(c lb.Conn) bool { all = append(all, c); return true }); err != nil {
		h.Fatal(err)
	}
	return all
}

func nameOf(c lb.Conn) string {
	return fmt.Sprintf("%s %v > %v > %v %s%s", c.Protocol, c.Client, c.Virtual, c.Real, c.StateName(), c.EngineData)
}

// compare holds the tables and counts of both against each other. totals: also what was counted since the beginning, which the
// kernel shows with a lag of two seconds.
func (h *history) compare(totals bool) {
	h.Helper()
	kernel, ours := h.table(h.kernel), h.table(h.xdp)
	if k, o := slices.Sorted(maps.Keys(kernel)), slices.Sorted(maps.Keys(ours)); !slices.Equal(k, o) {
		h.disagree("connections\nonly the kernel: %q\nonly the packet path: %q", without(k, ours), without(o, kernel))
	}
	for name, left := range kernel {
		late := 2 * time.Second
		if strings.Contains(name, "@b") { // a Call-ID
			h.done["templates of calls compared"]++
		}
		if strings.HasSuffix(name, "template") {
			late += lateness(time.Minute) // it may have been extended, by a timer
		}
		if off := (left - ours[name]).Abs(); off > late {
			h.disagree("%s: the kernel says %v are left, the packet path %v", name, left, ours[name])
		}
	}
	k, o := h.counts(h.kernel, totals), h.counts(h.xdp, totals)
	if !slices.Equal(k, o) {
		h.disagree("counts\nthe kernel:\n%s\nthe packet path:\n%s", strings.Join(k, "\n"), strings.Join(o, "\n"))
	}
	h.done["connections compared"] += len(kernel)
}

// listsOfHistory are all ways to list what there is.
var listsOfHistory = []string{"-L", "-Ln --stats", "-Ln --rate", "-Ln --thresholds --exact", "-L --persistent-conn", "-Ln --tun-info", "-Sn", "-S", "-Lcn", "-Lc", "-Lcn --persistent-conn", "-L --timeout"}

var timeLeft = regexp.MustCompile(`\d\d:\d\d`)

// lists holds what the real ipvsadm prints of the kernel's against what ours does.
func (h *history) lists() {
	h.Helper()
	b := &both{TB: h.TB, plane: h.kernel}
	for _, args := range listsOfHistory {
		var theirs, ours string
		for range 5 { // a second may begin between the two
			theirs, _ = b.theirs(typed{args: strings.Fields(args)})
			ours, _ = b.ours(typed{args: strings.Fields(args)})
			if args == "-Lc" { // all names take it more than a second
				theirs, ours = timeLeft.ReplaceAllString(theirs, ""), timeLeft.ReplaceAllString(ours, "")
			}
			if strings.HasPrefix(args, "-Lc") {
				theirs, ours = sortLines(theirs), sortLines(ours) // ipvs: in no order
			}
			if theirs, ours = tableSize.ReplaceAllString(theirs, ""), tableSize.ReplaceAllString(ours, ""); theirs == ours {
				break
			}
		}
		if theirs != ours {
			h.disagree("ipvsadm %s\n%s\nours:\n%s", args, theirs, ours)
		}
		h.done["lists compared"]++
	}
}

func without(names []string, table map[string]time.Duration) (rest []string) {
	for _, n := range names {
		if _, found := table[n]; !found {
			rest = append(rest, n)
		}
	}
	return rest
}

func (h *history) table(p plane.Plane) map[string]time.Duration {
	all := map[string]time.Duration{}
	for _, c := range h.listed(p) {
		name := nameOf(c)
		if c.Template {
			name += " template"
		}
		for n := 2; all[name] != 0; n++ { // dead templates look alike
			name += fmt.Sprint(" ", n)
		}
		all[name] = max(c.Expires, 1)
	}
	return all
}

func (h *history) counts(p plane.Plane, totals bool) (lines []string) {
	h.Helper()
	pools, err := p.Read()
	if err != nil {
		h.Fatal(err)
	}
	for _, pool := range pools {
		lines = append(lines, attributes(pool.Service))
		if totals && !h.gone[pool.Service.ServiceKey.String()] {
			lines = append(lines, fmt.Sprintf("%v: %+v", pool.Service.ServiceKey, pool.Total))
		}
		for _, r := range pool.Reals {
			if !totals || h.gone[realName(pool.Service.ServiceKey, r.Addr)] {
				r.Total = lb.Counters{}
			}
			lines = append(lines, fmt.Sprintf("%v %v: %v %+v, weight %d, thresholds %d %d, active %d, inactive %d, persist %d, counted %+v", pool.Service.ServiceKey, r.Addr,
				r.Forward, r.Tunnel, r.Weight, r.Upper, r.Lower, r.Active, r.Inactive, r.Persist, r.Total))
		}
	}
	slices.Sort(lines)
	return lines
}
