package conf

import (
	"fmt"
	"strings"
	"time"
)

// userExists asks about a user or a group. Without a machine to ask, all exist; but for keepalived -t not the one that
// scripts have by default, since few machines have it.
func (l *loader) userExists(name, group string) bool {
	if l.pass == passAll && l.host == nil {
		return true
	}
	if l.host == nil || l.host.User == nil {
		return name != defaultUser
	}
	return l.host.User(name, group)
}

const defaultUser = "keepalived_script"

// defaultUserFails tells that there is nobody to run a script. The user is looked for once, when the first command asks.
func (l *loader) defaultUserFails() bool {
	if l.users.fails || l.users.asked {
		return l.users.fails
	}
	l.users.asked = true
	if l.cfg.Global.Scripts.Security && !l.userExists(defaultUser, "") {
		l.users.fails = true
		d := l.warn(l.at.arg(0), "no-script-user", "Unable to set default user "+defaultUser+" for script")
		d.Hint = "add to global_defs: script_user USER"
		if l.pass == passAll {
			d.class = classOurs
		}
	}
	return l.users.fails
}

// users is what is known of the user that scripts have by default.
type users struct{ asked, fails bool }

// commandOf makes a script of a statement: KEYWORD "COMMAND" [USER [GROUP]]. It is nil if nobody can run it.
func (l *loader) commandOf(s *stmt) *Script {
	if len(s.shell) < 2 {
		return nil
	}
	args, ok := splitScript(s.shell[1])
	if !ok {
		d := l.warn(s.arg(1), "unterminated-quote", "String '"+s.shell[1]+"': missing terminating "+openQuote(s.shell[1]))
		d.Hint = "the command is ignored"
		return nil
	}
	if len(args) == 0 {
		return nil
	}
	c := &Script{Args: args}
	if len(s.shell) > 2 {
		c.User = s.shell[2]
	}
	if len(s.shell) > 3 {
		c.Group = s.shell[3]
	}
	if c.User == "" && l.defaultUserFails() || c.User != "" && !l.userExists(c.User, c.Group) {
		if c.User != "" {
			l.own(s.arg(2), "no-such-user", "the user of a script does not exist - ignoring the script")
		}
		return nil
	}
	return c
}

// notifyScript keeps one command; also is what is said of a second one, with {value} for its first word.
func notifyScript(also string, at func(l *loader) **Script) setter {
	return func(l *loader, s *stmt) {
		if p := at(l); *p == nil {
			*p = l.commandOf(s)
		} else {
			l.badValue(s, 1, "", also)
		}
	}
}

// scriptAt is a vrrp_script while it is read.
type scriptAt struct {
	VRRPScript
	place
	userSet, remove bool
}

func beginScript(l *loader, s *stmt) {
	l.script = &scriptAt{VRRPScript: VRRPScript{Name: s.text(1), Interval: time.Second, Rise: 1, Fall: 1}, place: place{s.file, s.arg(1)}}
}

func scriptCommand(l *loader, s *stmt) {
	if len(s.shell) < 2 {
		return
	}
	args, ok := splitScript(s.shell[1])
	if !ok {
		l.warn(s.arg(1), "unterminated-quote", "String '"+s.shell[1]+"': missing terminating "+openQuote(s.shell[1]))
		return
	}
	if len(args) > 0 {
		l.script.Script.Args = args
	}
}

// scriptSeconds reads a whole number of seconds of which 0 becomes 1.
func scriptSeconds(what, also string, put func(v *VRRPScript, d time.Duration)) setter {
	return func(l *loader, s *stmt) {
		v, ok := l.integer(s, 1, 0, 4294, "({script}): vrrp script "+what+" '{value}' "+also)
		if !ok {
			return
		}
		if v == 0 {
			l.bad(s, 1, "(%s): vrrp script %s must be greater than 0, setting to 1", l.script.Name, what)
			v = 1
		}
		put(&l.script.VRRPScript, time.Duration(v)*time.Second)
	}
}

func scriptCount(what string, put func(v *VRRPScript, n int)) setter {
	return func(l *loader, s *stmt) {
		v, ok := l.integer(s, 1, 1, 1<<31-1, "({script}): vrrp script "+what+" value '{value}' invalid, defaulting to 1")
		if !ok {
			v = 1
		}
		put(&l.script.VRRPScript, int(v))
	}
}

func scriptWeight(l *loader, s *stmt) {
	if v, ok := l.signed(s, 1, -253, 253, "vrrp_script {script} weight {value} must be in [-253, 253]"); ok {
		l.script.Weight = int(v)
	}
	if len(s.words) > 2 {
		if s.text(2) == "reverse" {
			l.script.Reverse = true
		} else {
			l.bad(s, 2, "vrrp_script %s unknown weight option %s", l.script.Name, s.text(2))
		}
	}
}

func scriptUser(l *loader, s *stmt) {
	if !l.userExists(s.text(1), s.text(2)) {
		l.script.remove = true
		l.warn(s.arg(1), "no-such-user", "Unable to set uid/gid for script "+strings.Join(quoteArgs(l.script.Script.Args), " "))
		return
	}
	l.script.remove, l.script.userSet = false, true
	l.script.Script.User, l.script.Script.Group = s.text(1), s.text(2)
}

// quoteArgs writes the words of a command as keepalived shows them.
func quoteArgs(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = "'" + a + "'"
	}
	return out
}

func endScript(l *loader) {
	v := l.script
	l.script = nil
	switch {
	case len(v.Script.Args) == 0:
		l.warn(l.at.arg(0), "no-script", "No script set for vrrp_script "+v.Name+" - removing").Expected = "script COMMAND in the block"
		return
	case !v.remove && !v.userSet && l.defaultUserFails():
		l.warn(l.at.arg(0), "no-script-user", "Unable to set default user for vrrp script "+v.Name+" - removing")
		return
	case v.remove:
		return
	}
	l.scripts = append(l.scripts, v)
}

// fileAt is a track_file while it is read.
type fileAt struct {
	TrackFile
	place
	weightSet bool
}

func beginFile(l *loader, s *stmt) {
	l.file = &fileAt{TrackFile: TrackFile{Name: s.text(1), Weight: 1}, place: place{s.file, s.arg(1)}}
}

func fileWeight(l *loader, s *stmt) {
	f := l.file
	if f.Weight != 1 {
		l.bad(s, 1, "Weight already set for track file %s - ignoring %s", f.Name, s.text(1))
		return
	}
	if v, ok := l.signed(s, 1, -254, 254, "Weight ({value}) for track_file {file} must be between [-254..254] inclusive. Ignoring..."); ok {
		f.Weight = int(v)
	}
	if len(s.words) > 2 {
		if s.text(2) == "reverse" {
			f.Reverse = true
		} else {
			l.bad(s, 2, "track_file %s unknown weight option %s", f.Name, s.text(2))
		}
	}
}

func fileInit(l *loader, s *stmt) {
	f := l.file
	f.Init = true
	for i := 1; i < len(s.words); i++ {
		w := strings.TrimLeft(s.text(i), blanks)
		switch {
		case w != "" && (w[0] == '-' || w[0] >= '0' && w[0] <= '9'):
			v, ok := l.signed(s, i, -1<<31, 1<<31-1, "Track file {file} init value {value} is invalid")
			if ok && (v < -254 || v > 254) {
				l.bad(s, i, "Track file %s init value %d is outside sensible range [-254, 254]", f.Name, v)
			}
			f.InitValue = int(v)
		case w == "overwrite":
			f.Overwrite = true
		default:
			l.bad(s, i, "Unknown track file init option %s", w)
		}
	}
}

func endFile(l *loader) {
	f := l.file
	if f.Path == "" {
		l.warn(l.at.arg(0), "no-file", "No file set for track_file "+f.Name+" - ignoring").Expected = "file PATH in the block"
		return
	}
	l.file = nil
	l.files = append(l.files, f)
}

func beginProcess(l *loader, s *stmt) {
	l.proc = &TrackProcess{Name: s.text(1), Quorum: 1, QuorumMax: -1}
}

func processName(l *loader, s *stmt) {
	p := l.proc
	if p.Process != "" {
		l.bad(s, 1, "Process already set for track process %s - ignoring %s", p.Name, s.text(1))
		return
	}
	p.Process = s.text(1)
	for i := 2; i < len(s.words); i++ {
		p.Params = append(p.Params, s.text(i))
	}
	if len(p.Params) > 0 {
		if p.FullCommand = true; p.Match == "" {
			p.Match = "exact"
		}
	}
}

func processMatch(l *loader, s *stmt) {
	switch w := s.text(1); {
	case len(s.words) == 1:
		l.proc.Match = "exact"
	case w == "initial" || w == "partial":
		l.proc.Match = w
	default:
		l.bad(s, 1, "Invalid param_match type %s - ignoring", w).Expected = "initial or partial"
		return
	}
	l.proc.FullCommand = true
}

func processWeight(l *loader, s *stmt) {
	p := l.proc
	if p.Weight != 0 {
		l.bad(s, 1, "Weight already set for track process %s - ignoring %s", p.Name, s.text(1))
		return
	}
	v, ok := l.signed(s, 1, -254, 254, "Weight ({value}) for vrrp_track_process {proc} must be between [-254..254] inclusive. Ignoring...")
	if !ok {
		return
	}
	if len(s.words) > 2 {
		if s.text(2) == "reverse" {
			p.Reverse = true
		} else {
			l.bad(s, 2, "vrrp_track_process %s unknown weight option %s", p.Name, s.text(2))
		}
	}
	p.Weight = int(v)
}

func processQuorum(l *loader, s *stmt) {
	v, ok := l.integer(s, 1, 1, 65535, "Quorum ({value}) for vrrp_track_process {proc} must be between [1..65535] inclusive. Ignoring...")
	if !ok {
		return
	}
	if l.proc.QuorumMax >= 0 && int(v) > l.proc.QuorumMax {
		l.bad(s, 1, "Quorum is greater than quorum_max - ignoring")
		return
	}
	l.proc.Quorum = int(v)
}

func processQuorumMax(l *loader, s *stmt) {
	p := l.proc
	v, ok := l.integer(s, 1, 0, 65535, "quorum_max ({value}) for vrrp_track_process {proc} must be between [0..65535] inclusive. Ignoring...")
	if !ok {
		return
	}
	if (v > 0 || p.Quorum > 1) && int(v) < p.Quorum {
		l.bad(s, 1, "quorum_max is less than quorum - ignoring")
		return
	}
	p.QuorumMax = int(v)
	if v == 0 {
		p.Quorum = 0
	} else if p.Quorum == 0 {
		p.Quorum = 1
	}
}

// processDelay sets one delay or both; prefix is terminate_, fork_ or "".
func processDelay(prefix string) setter {
	return func(l *loader, s *stmt) {
		v, ok := l.decimal(s, 1, 1, 3600*second, prefix+"delay ({value}) for vrrp_track_process {proc} must be between [0.000001..3600] inclusive. Ignoring...")
		if !ok {
			return
		}
		if prefix != "fork_" {
			l.proc.TerminateDelay = v
		}
		if prefix != "terminate_" {
			l.proc.ForkDelay = v
		}
	}
}

func endProcess(l *loader) {
	p := l.proc
	l.proc = nil
	if p.Process == "" {
		l.warn(l.at.arg(0), "no-process", fmt.Sprintf("track process '%s' process name not specified", p.Name)).Expected = "process NAME in the block"
		return
	}
	l.cfg.TrackProcesses = append(l.cfg.TrackProcesses, *p)
}
