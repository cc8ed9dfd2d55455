package conf

import (
	"io/fs"
	"net/netip"
	"strings"
)

// Interface is what keepalived asks of a network interface.
type Interface struct {
	MTU         int // If zero, 1500.
	Loopback    bool
	NoMulticast bool
	VRF         bool
	V4, V6      netip.Addr // the first address, the link-local one; invalid if there is none
}

// ScriptState is what keepalived finds when it looks at the file of a command.
type ScriptState struct {
	Missing    bool // it is not there, or nobody but others may see it
	NotProgram bool // it is there and cannot be run
	Insecure   bool // others than root could change it
	Refused    bool // it is a directory
}

// TestOptions say what Test may know of the machine. What is nil is not asked, and the most usual answer is taken.
type TestOptions struct {
	Options
	Interfaces func(name string) (Interface, bool) // nil: every interface is there
	User       func(user, group string) bool       // nil: all but keepalived_script are there
	Script     func(command, user, group string) ScriptState
	Resolve    func(host string) bool    // a name of smtp_server
	Name       func(kind, w string) bool // names of tables, protocols and the like, by their file in iproute2
	Namespace  func(name string) bool    // nil: every network namespace is there
	CPUs       int                       // If zero, many.
	AllConfig  bool                      // -e: every fault of an include counts

	most int // lines that repetitions may make; if zero, asMade
}

// Test does with a file as keepalived 2.2.7 -t does: it gives the lines that go to the standard error and the exit
// code: 0 nothing to say, 2 a missing argument, 4 what cannot run, 5 any other fault, 6 scripts without
// enable_script_security or a missing include that must be there.
//
// keepalived reads the file four times, each process what is its own, so a fault outside of any block is said four
// times. What differs deliberately is listed in docs/differences.md.
func Test(fsys fs.FS, name string, opts TestOptions) (stderr []string, exit int) {
	t := &tester{fsys: fsys, name: name, opts: opts}
	for _, p := range []pass{passParent, passChecker, passVRRP, passBFD} {
		if t.read(p) {
			break
		}
	}
	return t.out, t.exit()
}

// tester gathers what the passes say.
type tester struct {
	fsys   fs.FS
	name   string
	copy   string // of all that was read
	wrong  int    // lists in it that are not understood
	opts   TestOptions
	global *Global
	users  users
	out    []string
	worst  int // exit code so far; 0, 4, 5 or 6
	stop   int // exit code of an end before the time
}

func (t *tester) exit() int {
	if t.stop != 0 {
		return t.stop
	}
	return t.worst
}

// read makes one pass and tells whether it was the last.
func (t *tester) read(p pass) bool {
	d := &diagnostics{}
	r := newReader(t.fsys, t.opts.Options, d)
	if t.opts.AllConfig {
		r.check = checkAll
	}
	l := &loader{in: r, diags: d, cfg: &Config{Global: newGlobal()}, pass: p, host: &t.opts, users: t.users}
	if t.global != nil {
		l.cfg.Global = *t.global
	}
	if f, err := t.fsys.Open(inside(t.name)); err == nil {
		f.Close()
	} else {
		t.out = append(t.out, "Config files missing '"+t.name+"'.")
		if t.opts.AllConfig {
			t.stop = 4
		}
		return true
	}
	r.as = newAsReader(r)
	if t.opts.most > 0 {
		r.as.most = t.opts.most
	}
	if p == passParent {
		r.as.start(t.name)
	} else {
		r.as.startCopy(t.name, t.copy)
		r.as.wrong = t.wrong
	}
	l.block(root)
	r.finish()
	if p == passParent {
		t.copy = r.as.copy.String()
		l.startScripts()
	}
	t.wrong = r.as.wrong
	l.complete()
	t.global, t.users = &l.cfg.Global, l.users
	if t.gather(p, d.list) {
		return true
	}
	if ns := t.global.Process.Namespace; p == passParent && ns != "" && t.opts.Namespace != nil && !t.opts.Namespace(ns) {
		t.worst = 0 // keepalived ends here and says nothing
		return true
	}
	return false
}

// gather writes what a pass says, up to where keepalived stops.
func (t *tester) gather(p pass, list []*Diagnostic) bool {
	missing := false
	for _, d := range list {
		if d.class == classOurs || d.Severity == Notice {
			continue
		}
		for _, text := range append([]string{d.Text}, d.More...) {
			t.out = append(t.out, d.said+text)
		}
		switch d.class {
		case classStop:
			t.stop = 2
			return true
		case classSecurity:
			t.worst = 6
		case classFile:
			missing = true
			t.worst = max(t.worst, 4)
		case classFatal:
			t.worst = max(t.worst, 4)
		case classSaid:
		default:
			t.worst = max(t.worst, 5)
		}
	}
	if missing {
		t.stop = 6
	}
	return missing
}

// startScripts looks at the commands that the parent runs.
func (l *loader) startScripts() {
	g := l.cfg.Global.Scripts
	l.scriptSecurity("start/shutdown scripts", []*Script{g.Startup, g.Shutdown})
}

// state asks about the file of a command.
func (l *loader) state(s *Script) ScriptState {
	if l.host == nil || l.host.Script == nil {
		return ScriptState{}
	}
	return l.host.Script(s.Args[0], s.User, s.Group)
}

// scriptSecurity reports commands that are run although enable_script_security is missing.
func (l *loader) scriptSecurity(what string, list []*Script) {
	if l.pass == passAll {
		return
	}
	any, insecure := false, false
	for _, s := range list {
		if s == nil || forShell(s) {
			continue
		}
		st := l.state(s)
		any = any || !st.Missing
		insecure = insecure || !st.Missing && st.Insecure
	}
	if !any || l.cfg.Global.Scripts.Security {
		return
	}
	text := "SECURITY VIOLATION - " + what + " are being executed but script_security not enabled."
	if insecure {
		text += " There are insecure scripts."
	}
	l.after(Warning, "script-security", place{}, text).class = classSecurity
}

// forShell tells a command that only opens a file, which keepalived does not look for.
func forShell(s *Script) bool {
	rest, ok := strings.CutPrefix(s.Args[0], "<")
	return ok && strings.HasPrefix(strings.TrimLeft(rest, " \t"), "/")
}

// vrrpScripts looks at the files of all commands of instances, and drops scripts that cannot be run.
func (l *loader) vrrpScripts() {
	gone := map[string]bool{}
	var all []*Script
	for _, v := range l.scripts {
		l.cfg.Scripts = append(l.cfg.Scripts, v.VRRPScript)
		if len(l.vis) == 0 {
			continue
		}
		all = append(all, &v.Script)
		if forShell(&v.Script) {
			continue
		}
		st := l.state(&v.Script)
		switch {
		case st.Missing:
			l.after(Warning, "script-missing", v.place, "Disabling track script "+v.Name+" since not found/accessible")
		case st.Refused, st.Insecure && l.cfg.Global.Scripts.Security:
			l.after(Warning, "script-insecure", v.place, "Disabling track script "+v.Name+" due to insecure")
		case !st.NotProgram:
			continue
		}
		gone[v.Name] = true
	}
	if len(l.vis) == 0 {
		return
	}
	keep := func(t *Tracked) bool { return !gone[t.Name] }
	for _, v := range l.vis {
		n := v.Notify
		all = append(all, n.Backup, n.Master, n.Fault, n.Stop, n.Deleted, n.Any, n.MasterRxLowerPri)
		v.Track.Scripts = filter(v.Track.Scripts, keep)
	}
	for _, g := range l.groups {
		n := g.Notify
		all = append(all, n.Backup, n.Master, n.Fault, n.Stop, n.Any)
		g.Track.Scripts = filter(g.Track.Scripts, keep)
	}
	s := l.cfg.Global.Scripts
	l.scriptSecurity("scripts", append(all, s.Notify.Script, s.NotifyVRRP.Script))
}
