package conf

import (
	"fmt"
	"path"
	"strings"
	"time"
)

// takesCommand tells the keywords whose argument is a command.
func takesCommand(name string) bool {
	switch name {
	case "script", "misc_path", "quorum_up", "quorum_down", "startup_script", "shutdown_script", "notify":
		return true
	}
	return strings.HasPrefix(name, "notify_") && !strings.HasPrefix(name, "notify_fifo") && name != "notify_priority_changes"
}

// command looks at a statement that names a command, and at those below it.
func (a *adviser) command(s *Statement) {
	for _, c := range s.Body {
		a.command(c)
	}
	if len(s.Words) < 2 || s.Value || !takesCommand(s.Text(0)) {
		return
	}
	if a.anyScript == nil {
		a.anyScript = s
	}
	name, _, _ := strings.Cut(strings.TrimSpace(s.Text(1)), " ")
	switch {
	case name == "" || strings.HasPrefix(name, "/") || strings.ContainsAny(name, "<$"):
	case strings.Contains(name, "/"):
		a.say(Warning, "script-relative", s, 1, fmt.Sprintf("%s is looked for from the directory that the daemon runs in, not from that of this file", name), "write the whole path, such as /etc/keepalived/"+path.Base(name))
	case path.Ext(name) != "":
		a.say(Notice, "script-relative", s, 1, fmt.Sprintf("%s is looked for in the directories of PATH only", name), "if it is a file of yours, write the whole path, such as /etc/keepalived/"+name)
	}
}

// scripts looks at the vrrp_scripts, and at scripts as a whole.
func (a *adviser) scripts() {
	if a.anyScript != nil && a.global("enable_script_security") == nil {
		a.say(Notice, "script-security", a.anyScript, 0, "scripts run without enable_script_security: a script that others than root may write is run all the same",
			"add to global_defs: enable_script_security, and script_user NAME if they need not be root")
	}
	if s := a.global("enable_script_security"); s != nil && a.anyScript != nil && a.global("script_user") == nil {
		a.say(Notice, "script-user", s, 0, "scripts run as the user keepalived_script, since no script_user is named; keepalived runs none of them on a host without that user",
			"add to global_defs: script_user NAME")
	}
	for _, v := range a.cfg.Scripts {
		s := a.defined["vrrp_script "+v.Name]
		if s == nil {
			continue
		}
		if v.Timeout > v.Interval {
			a.say(Warning, "check-slow", firstOf(s.child("timeout"), s), 0, fmt.Sprintf("timeout lets one run of %s take up to %s, longer than the %s from run to run: a script that hangs is run less often than interval says",
				v.Name, short(v.Timeout), short(v.Interval)), fmt.Sprintf("set timeout to %s or less, or raise interval", short(v.Interval)))
		}
		if !a.tracked[v.Name] {
			a.say(Notice, "tracker-unused", s, 1, fmt.Sprintf("no instance follows %s: it is run and changes nothing", v.Name), "add it to the track_script of an instance or a sync group, or remove it")
		}
	}
}

// scriptTime is how long a failure may last before it counts: fall runs, the last of which may hang.
func scriptTime(v VRRPScript) (time.Duration, string) {
	timeout := v.Timeout
	if timeout == 0 {
		timeout = v.Interval
	}
	fall := max(1, v.Fall)
	return time.Duration(fall)*v.Interval + timeout, fmt.Sprintf("fall %d × interval %s + timeout %s", fall, short(v.Interval), short(timeout))
}

// alerts notes the first statement that asks for mails.
func (a *adviser) alerts(s *Statement) {
	for _, c := range s.Body {
		if strings.HasPrefix(c.Text(0), "smtp_alert") && a.alerted == nil {
			if on, _ := s.yes(c.Text(0)); on {
				a.alerted = c
			}
		}
		a.alerts(c)
	}
}

// mails looks for mails that nobody gets. keepalived: it needs both, and is silent without.
func (a *adviser) mails() {
	if a.alerted == nil {
		return
	}
	var missing []string
	for _, name := range []string{"notification_email", "smtp_server"} {
		if a.global(name) == nil {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		a.say(Warning, "mail-incomplete", a.alerted, 0, a.alerted.Text(0)+" asks for mails that nobody gets: global_defs has no "+strings.Join(missing, " and no "), "add what is missing, or remove "+a.alerted.Text(0))
	}
}
