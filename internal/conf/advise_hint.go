package conf

import "strings"

// hintOf is what to do about the diagnostics of Load that say nothing of that themselves, by code.
var hintOf = map[string]string{
	"duplicate-real":      "remove one of the two real_server blocks; to give it more connections raise its weight",
	"duplicate-vip":       "remove one of the two lines",
	"hysteresis-too-high": "hysteresis must be below the quorum: raise the quorum, or leave hysteresis out",
	"no-auth-pass":        "add: auth_pass PASSWORD, at most 8 bytes, the same on both directors",
	"ops-not-udp":         "remove ops: only datagrams can be scheduled one by one",
	"port-differs":        "the ports of a group with direct routing or tunnels are those of its lines: leave the port of the server out",
	"port-with-mark":      "a mark decides for every port, and direct routing and tunnels cannot change one: write the server without a port",
	"small-group":         "a group is there for two instances or more, whose addresses must move together",
	"mixed-families":      "put addresses of the other family in virtual_ipaddress_excluded, or make a second instance for them",
	"not-found":           "define it at the outer level, or correct the name",
	"extra-close":         "remove it, or look for a missing '{' above",
}

// conflicts are settings that exclude each other: what the text has in it, the line of the instance that it is about, and
// what to do.
var conflicts = []struct{ text, line, hint string }{
	{"nopreempt is incompatible with priority 255", "nopreempt", "the owner of the addresses always takes them back. Lower the priority (254 or less), or remove nopreempt"},
	{"nopreempt will not work", "nopreempt", "write state BACKUP here too: with nopreempt, both directors begin as BACKUP and the first one up stays master"},
	{"preempt delay will not work", "preempt_delay", "write state BACKUP: the priority alone decides who becomes master, and then the delay works"},
	{"preempt_delay is incompatible with nopreempt", "preempt_delay", "remove one of the two: nopreempt never takes over from a lower master, preempt_delay does so later"},
	{"preempt_delay is incompatible", "preempt_delay", "remove preempt_delay, or strict mode"},
	{"version 3 does not support authentication", "authentication", "remove the authentication block, or write version 2: version 3 has none"},
	{"Strict mode does not support authentication", "authentication", "remove the authentication block, or strict mode: the standard has none"},
	{"AH authentication with IPv6", "authentication", "remove the authentication block: IPv6 has none"},
	{"State MASTER must match", "state", "in strict mode only the owner of the addresses, priority 255, begins as MASTER: write state BACKUP"},
	{"cannot use IPv6 with VRRP version 2", "version", "remove the version: IPv6 has version 3 by itself"},
	{"due to SYNC group", "", "follow it in the vrrp_sync_group instead, for all members; or add sync_group_tracking_weight there"},
	{"due to address", "", "the owner of the addresses, priority 255, has no weights: lower the priority to 254 or less"},
	{"first IPv6 VIP address must be link local", "virtual_ipaddress", "put an address of fe80::/64 first, as the standard wants it"},
	{"down_timer_adverts is incompatible", "down_timer_adverts", "remove down_timer_adverts, or strict mode"},
}

// explained gives Load's diagnostics the place and the next step that are known only here, and takes off what the
// severity says already.
func (a *adviser) explained(all []Diagnostic) []Diagnostic {
	for i := range all {
		d := &all[i]
		if d.Code == "settings-conflict" {
			a.conflict(d)
		}
		if d.Hint == "" && d.Expected == "" {
			d.Hint = hintOf[d.Code]
		}
		d.Text = sayOnce(d.Text)
	}
	return all
}

// conflict looks a conflict up.
func (a *adviser) conflict(d *Diagnostic) {
	name, _, ok := strings.Cut(strings.TrimPrefix(d.Text, "("), ")")
	for _, c := range conflicts {
		if strings.Contains(d.Text, c.text) {
			d.Hint = c.hint
			if ok && c.line != "" {
				a.move(d, name, c.line)
			}
			return
		}
	}
}

// sayOnce takes keepalived's own "WARNING - " off a text, before or behind the instance's name.
func sayOnce(text string) string {
	name := ""
	if strings.HasPrefix(text, "(") {
		if n, rest, ok := strings.Cut(text, ") "); ok {
			name, text = n+") ", rest
		}
	}
	for _, p := range []string{"WARNING - ", "Warning - ", "Warning: "} {
		text = strings.TrimPrefix(text, p)
	}
	return name + text
}

// move puts a diagnostic about an instance on one of its lines.
func (a *adviser) move(d *Diagnostic, instance, keyword string) {
	for _, vi := range a.vis {
		if vi.Text(1) != instance {
			continue
		}
		if c := vi.child(keyword); c != nil {
			w := c.Words[0]
			d.File, d.Line, d.Col, d.Width = c.File.Name, w.Line, w.Col, max(1, len([]rune(w.Raw)))
			d.Source = c.File.Line(w.Line)
		}
		return
	}
}
