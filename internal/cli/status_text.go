package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"vipd/internal/control"
)

// screen writes "vipd status" for a person. Text that came from outside (reasons of checks, names) is cleaned of what a
// terminal would obey.
type screen struct {
	bytes.Buffer
	now time.Time
}

func printStatus(w io.Writer, s *control.Status, now time.Time) error {
	out := &screen{now: now}
	out.head(s)
	out.routers(s.VRRP)
	out.services(s.Services)
	out.held(s.Held)
	out.sync(s.Sync, s.DataPlane.Name != "ipvs")
	out.links(s.Links)
	if s.DataPlane.Name != "ipvs" { // which does not count why
		out.verdicts(s.Verdicts)
		out.own(s.Own)
	}
	_, err := w.Write(out.Bytes())
	return err
}

func (o *screen) linef(format string, args ...any) {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = clean(s)
		}
	}
	fmt.Fprintf(o, format+"\n", args...)
}

// table writes rows in columns, two blanks before the first and between them.
func (o *screen) table(rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i := range row {
			row[i] = clean(row[i])
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			fmt.Fprintf(&line, "  %-*s", widths[i], cell)
		}
		o.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

func (o *screen) head(s *control.Status) {
	config := s.Config
	if config == "" {
		config = "no configuration"
	}
	o.linef("vipd %s, instance %s, pid %d, up %s, %s", s.Version, s.Instance, s.PID, o.ago(s.Started), config)
	if s.DataPlane.Name != "" {
		o.linef("data plane %s, %s", s.DataPlane.Name, s.DataPlane.Why)
	}
	o.timing(s.Timing)
	o.checks(s.Checks)
}

// checks says who reads the answers to checks, and what is not as it should be.
func (o *screen) checks(c *control.Checks) {
	switch {
	case c == nil:
		return
	case c.Inside:
		o.linef("! checks are made by the daemon itself, with its rights: %s", c.Why)
	case c.PID == 0:
		o.linef("! the process of the checks does not run: %s", c.Why)
	default:
		o.linef("checks by pid %d of user %d, up %s", c.PID, c.UID, o.ago(c.Since))
	}
	if c.Starts > 1 && c.Why != "" {
		o.linef("! the process of the checks was started %d times; the last one ended, %s", c.Starts, c.Why)
	}
	for _, l := range c.Lacks {
		o.linef("! the process of the checks may do more than it should: %s", l)
	}
}

func (o *screen) routers(all []control.Router) {
	if len(all) == 0 {
		return
	}
	o.linef("\nVRRP")
	var rows [][]string
	for _, r := range all {
		state := fmt.Sprintf("%s for %s", r.State, o.ago(r.Since))
		if r.Why != "" {
			state += " (" + r.Why + ")"
		}
		rows = append(rows, []string{r.Name, state, fmt.Sprintf("%s, VRID %d, priority %d", r.Interface, r.VRID, r.Priority)})
		rows = append(rows, []string{"", "addresses " + cmp.Or(strings.Join(r.VIPs, " "), "none"), masterText(r)})
		rows = append(rows, followsRows(r)...)
		rows = append(rows, []string{"", fmt.Sprintf("adverts %d sent, %d received%s", r.Sent, r.Received, refusedText(r.Refused)),
			fmt.Sprintf("%d × master", r.BecameMaster)})
	}
	o.table(rows)
}

// followsRows say what keeps an instance from being master, or changes its priority.
func followsRows(r control.Router) (rows [][]string) {
	add := func(what, text string) {
		if text != "" {
			rows = append(rows, []string{"", what + text})
		}
	}
	add("waits: ", r.Waiting)
	if r.HoldsBack != "" {
		add("holds back: ", holdsText(r))
	}
	add("fault: ", strings.Join(r.Causes, ", "))
	for _, c := range r.Claims {
		add("! ", claimText(c))
	}
	if len(r.Weights) > 0 {
		text := fmt.Sprint(r.Base)
		for _, w := range r.Weights {
			text += fmt.Sprintf(" %+d %s", w.Value, w.Cause)
		}
		add("priority: ", text)
	}
	add("sync group ", r.Group)
	return rows
}

// holdsText is why an instance leaves a weaker master alone, and for how long at most.
func holdsText(r control.Router) string {
	return fmt.Sprintf("%s, at most %d s more", r.HoldsBack, r.HoldsNanos/int64(time.Second))
}

func masterText(r control.Router) string {
	if r.State == "MASTER" || r.Master == "" {
		return ""
	}
	return "master is " + r.Master
}

func refusedText(refused map[string]uint64) string {
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(refused)) {
		if refused[why] != 0 {
			parts = append(parts, fmt.Sprintf("%d %s", refused[why], why))
		}
	}
	if parts == nil {
		return ""
	}
	return ", refused: " + strings.Join(parts, ", ")
}

func (o *screen) services(all []control.Service) {
	if len(all) == 0 {
		return
	}
	o.linef("\nServices")
	p := &printer{}
	for i := range all {
		s := &all[i]
		line := p.service(s)
		if s.Name != "" && s.Name != s.ServiceKey.String() {
			line += ", " + s.Name
		}
		if !s.Quorum {
			line += ", quorum lost"
		}
		o.linef("  %s, %d conns/s", line, s.Rate.Conns)
		rows := [][]string{{"", "real server", "forward", "weight", "active", "inactive", "conns/s", "pool"}}
		for j := range s.Reals {
			rows = append(rows, o.real(&s.Reals[j]))
		}
		if len(s.Reals) == 0 {
			rows = [][]string{{"", "no real server"}}
		}
		o.table(rows)
	}
}

// held are an operator's hands on real servers that are not configured.
func (o *screen) held(all []control.Held) {
	if len(all) == 0 {
		return
	}
	o.linef("\nHeld by an operator, not configured")
	var rows [][]string
	for _, h := range all {
		rows = append(rows, []string{h.Real, h.Service, h.Hand.String(), "by " + cmp.Or(h.By, "(unknown)") + " for " + o.ago(h.Since)})
	}
	o.table(rows)
}

func (o *screen) real(r *control.Real) []string {
	return []string{"", r.Addr.String(), r.Forward.String(), strconv.Itoa(int(r.Weight)), strconv.Itoa(int(r.Active)),
		strconv.Itoa(int(r.Inactive)), strconv.FormatUint(r.Rate.Conns, 10), o.poolText(r)}
}

// poolText says whether a real server gets connections and, if anything is unusual, why and since when.
func (o *screen) poolText(r *control.Real) string {
	text := o.poolState(r)
	for _, p := range r.Peers {
		if p.Up != r.Healthy {
			text += ", " + o.peerSays(p)
		}
	}
	if c := r.Certificate; c != nil && c.Warning != "" {
		text += ", " + c.Warning
	}
	if h := r.Operator; h != nil {
		return fmt.Sprintf("%s, %s by operator %s for %s", text, h, cmp.Or(h.By, "(unknown)"), o.ago(h.Since))
	}
	return text
}

func (o *screen) poolState(r *control.Real) string {
	text := "out"
	switch {
	case r.InPool && r.Weight == 0:
		text = "in, quiesced"
	case r.InPool:
		text = "in"
	}
	if r.InPool && r.Healthy && r.Weight != 0 && r.Hop != "" {
		return text + " via " + r.Hop
	}
	if r.Healthy && (r.InPool || r.Operator != nil) {
		return text
	}
	if !r.Since.IsZero() {
		text += " for " + o.ago(r.Since)
	}
	if r.Why != "" {
		text += ": " + r.Why
	}
	return text + waysText(r.Ways)
}

// waysText sets the ways that checks take beside each other: (its own address answers, 10.0.8.9 through DR does not: timed out).
func waysText(all []control.Way) string {
	var parts []string
	for _, w := range all {
		switch {
		case w.Up:
			parts = append(parts, w.To+" answers")
		case w.Why != "":
			parts = append(parts, w.To+" does not: "+w.Why)
		default:
			parts = append(parts, w.To+" does not")
		}
	}
	if parts == nil {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func (o *screen) links(all []control.Link) {
	if len(all) == 0 {
		return
	}
	o.linef("\nInterfaces")
	var rows [][]string
	for _, l := range all {
		rows = append(rows, []string{l.Name, l.Mode})
	}
	o.table(rows)
}

// verdicts shows what was counted, drops first, the most frequent first.
func (o *screen) verdicts(all []control.Reason) {
	order := map[string]int{"drop": -3, "forward": -2, "pass": -1}
	shown := slices.DeleteFunc(slices.Clone(all), func(r control.Reason) bool { return r.Packets == 0 })
	slices.SortStableFunc(shown, func(a, b control.Reason) int {
		return cmp.Or(cmp.Compare(order[a.Verdict], order[b.Verdict]), cmp.Compare(b.Packets, a.Packets))
	})
	o.linef("\nPackets")
	rows := [][]string{}
	for _, r := range shown {
		rows = append(rows, []string{r.Verdict, r.Name, strconv.FormatUint(r.Packets, 10)})
	}
	if len(shown) == 0 {
		rows = [][]string{{"none yet"}}
	}
	o.table(rows)
}

// own shows connections of the director itself, if there were any.
// sync says what directors tell each other; counted: it is known how much.
func (o *screen) sync(s *control.Sync, counted bool) {
	if s == nil {
		return
	}
	o.linef("\nConnection synchronisation")
	for _, d := range s.Daemons {
		o.linef("  %s on %s, group %s port %s, syncid %s", d.Part(), d.Interface, d.Group.String(), strconv.Itoa(int(d.Port)), strconv.Itoa(int(d.ID)))
	}
	if !counted {
		return
	}
	o.linef("  told %s connections in %s datagrams, %s more were not sent", strconv.FormatUint(s.Told, 10), strconv.FormatUint(s.Sent, 10), strconv.FormatUint(s.Unsent, 10))
	o.linef("  learned %s connections from %s datagrams, %s wait for their real server", strconv.FormatUint(s.Learned, 10), strconv.FormatUint(s.Received, 10), strconv.Itoa(s.Waiting))
	for _, why := range slices.Sorted(maps.Keys(s.Refused)) {
		o.linef("  refused %s: %s", strconv.FormatUint(s.Refused[why], 10), why)
	}
	for _, p := range s.Peers {
		o.syncPeer(p)
	}
	if s.Foreign > 0 {
		o.linef("  refused %s: from no peer's address", strconv.FormatUint(s.Foreign, 10))
	}
}

// syncPeer says how far a peer of connection_sync is, and how far this director is with it.
func (o *screen) syncPeer(p control.SyncPeer) {
	if !p.Alive {
		o.linef("  peer %s: %s", p.Address, p.Why)
	} else {
		text := fmt.Sprintf("has %.2f %% of %s connections", p.Coverage(), grouped(uint64(p.Total)))
		if p.LagNanos >= 0 {
			text += fmt.Sprintf(", lag %.1f s", float64(p.LagNanos)/1e9)
		}
		if p.TheyRefused > 0 {
			text += fmt.Sprintf(", could not keep %s", grouped(p.TheyRefused))
		}
		o.linef("  peer %s %s", p.Address, text)
		text = fmt.Sprintf("%s connections taken", grouped(p.Taken))
		if p.CaughtUp {
			text = "caught up: " + text
		} else if p.TheirTotal > 0 {
			text += fmt.Sprintf(" of %s", grouped(uint64(p.TheirTotal)))
		}
		o.linef("    of it: %s", text)
	}
	for _, why := range slices.Sorted(maps.Keys(p.Refused)) {
		o.linef("    refused %s: %s", strconv.FormatUint(p.Refused[why], 10), why)
	}
}

// grouped writes 81204 as 81,204.
func grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func (o *screen) own(all []control.Own) {
	rows := [][]string{}
	for _, one := range all {
		if one.Count != 0 {
			rows = append(rows, []string{one.Name, strconv.FormatUint(one.Count, 10)})
		}
	}
	if len(rows) == 0 {
		return
	}
	o.linef("\nOwn connections to these services")
	o.table(rows)
}

// ago is how long ago t was, in the two largest units.
func (o *screen) ago(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	d := max(0, o.now.Sub(t)).Truncate(time.Second)
	days, hours, minutes, seconds := d/(24*time.Hour), d/time.Hour%24, d/time.Minute%60, d/time.Second%60
	switch {
	case days > 0:
		return fmt.Sprintf("%dd%dh", days, hours)
	case hours > 0:
		return fmt.Sprintf("%dh%dm", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%dm%ds", minutes, seconds)
	}
	return fmt.Sprintf("%ds", seconds)
}

// clean replaces characters that a terminal obeys, and the ones that tables are made of.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\uFFFD' {
			return '?'
		}
		return r
	}, s)
}
