package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"vipd/internal/conf"
	"vipd/internal/daemon"
)

// Exit codes of keepalived -t.
const (
	keepalivedFatal  = 1 // its command line
	keepalivedConfig = 5 // an error or a warning in the file
	keepalivedStop   = 2 // a missing argument
	keepalivedMissed = 6 // an include that must match
)

// keepalivedOptions are those of keepalived's command line that a test of a file needs.
type keepalivedOptions struct {
	file, id, log    string
	test, help, vers bool
	signal           string
	extra            []string
}

// keepalivedWithValue are the options whose value is the next word if it is not attached.
const keepalivedWithValue = "fSupcrbAsiM"

// keepalivedFlags are those without a value, or with an attached one only (g, t).
const keepalivedFlags = "PCBlDGXVIRndxTamLevhgt"

// keepalivedLong are its long options: the short one, "=" if a value must follow.
var keepalivedLong = map[string]string{
	"use-file": "f=", "vrrp": "P", "check": "C", "no_bfd": "B", "all": "", "log-console": "l", "log-detail": "D",
	"log-facility": "S=", "log-file": "g", "flush-log-file": "", "no-syslog": "G", "umask": "u=", "release-vips": "X",
	"dont-release-vrrp": "V", "dont-release-ipvs": "I", "dont-respawn": "R", "dont-fork": "n", "dump-conf": "d", "pid": "p=",
	"vrrp_pid": "r=", "checkers_pid": "c=", "bfd_pid": "b=", "snmp": "x", "snmp-agent-socket": "A=", "namespace": "s=",
	"address-monitoring": "a", "core-dump": "m", "core-dump-pattern": "M", "config-id": "i=", "signum": "=", "config-test": "t",
	"config-fd": "=", "all-config": "e", "ignore-sigint": "", "perf": "", "debug": "", "no-mem-check": "", "genhash": "T",
	"version": "v", "help": "h",
}

// Keepalived is keepalived's command line as far as it tests a file: keepalived -t[LOG] [-f FILE]. name is what it was
// called by. Options that only a running daemon has are read and passed over.
func Keepalived(name string, args []string, env Env) int {
	o, bad := parseKeepalived(args)
	if bad != "" {
		fmt.Fprintf(env.Stderr, "Unknown option %s\n", bad)
		return keepalivedFatal
	}
	switch {
	case o.vers:
		fmt.Fprintf(env.Stderr, "Keepalived v2.2.7, its language and tests, by vipd %s\n", daemon.Version())
		return 0
	case o.help:
		fmt.Fprintf(env.Stderr, "Usage: %s -t[LOG-FILE] [-f FILE] [-i CONFIG-ID]\nTests a file as keepalived does. To run a director: vipd run -f FILE\n", name)
		return 0
	case o.signal != "":
		return signalNumber(env, o.signal)
	}
	if len(o.extra) > 0 {
		fmt.Fprintf(env.Stdout, "Unexpected argument(s): %s \n", strings.Join(o.extra, " "))
	}
	if !o.test {
		fmt.Fprintf(env.Stderr, "%s: only -t (test a file) is done under this name\nhint: to run a director: vipd run -f %s\n", name, o.file)
		return keepalivedFatal
	}
	w := env.Stderr
	if o.log != "" {
		f, err := os.OpenFile(o.log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
		if err != nil {
			fmt.Fprintf(env.Stderr, "open the log file: %v\n", err)
			return keepalivedFatal
		}
		defer f.Close()
		w = f
	}
	return testAsKeepalived(env, o.file, o.id, w)
}

// signalNumber prints what --signum asks for. The numbers are those of Linux on x86-64 with the GNU C library.
func signalNumber(env Env, of string) int {
	n, ok := map[string]int{"STOP": 15, "RELOAD": 1, "DATA": 10, "STATS": 12, "STATS_CLEAR": 63, "JSON": 36}[of]
	if !ok {
		fmt.Fprintf(env.Stderr, "Unknown sigfunc %s\n", of)
		return keepalivedFatal
	}
	fmt.Fprintln(env.Stdout, n)
	return 0
}

// parseKeepalived reads words as getopt_long does, and gives the first unknown option.
func parseKeepalived(args []string) (o keepalivedOptions, bad string) {
	o.file = defaultConfig
	for i := 0; i < len(args); i++ {
		a := args[i]
		next := func() string {
			if i+1 < len(args) {
				i++
				return args[i]
			}
			return ""
		}
		switch {
		case a == "--":
			o.extra = append(o.extra, args[i+1:]...)
			return o, ""
		case strings.HasPrefix(a, "--"):
			long, value, given := strings.Cut(a[2:], "=")
			short, ok := longOption(long)
			if !ok {
				return o, a
			}
			if strings.HasSuffix(keepalivedLong[short], "=") && !given {
				value = next()
			}
			o.set(strings.TrimSuffix(keepalivedLong[short], "="), short, value)
		case len(a) > 1 && a[0] == '-':
			if bad := o.cluster(a[1:], next); bad != "" {
				return o, bad
			}
		default:
			o.extra = append(o.extra, a)
		}
	}
	return o, ""
}

// longOption finds a long option by its name or by a beginning that only it has.
func longOption(name string) (string, bool) {
	if _, ok := keepalivedLong[name]; ok {
		return name, true
	}
	var found []string
	for k := range keepalivedLong {
		if strings.HasPrefix(k, name) {
			found = append(found, k)
		}
	}
	if len(found) != 1 || name == "" {
		return "", false
	}
	return found[0], true
}

// cluster reads one word of short options.
func (o *keepalivedOptions) cluster(word string, next func() string) (bad string) {
	for k := 0; k < len(word); k++ {
		c := word[k : k+1]
		switch {
		case strings.Contains(keepalivedWithValue, c):
			value := word[k+1:]
			if value == "" {
				value = next()
			}
			o.set(c, "", value)
			return ""
		case c == "t" || c == "g":
			o.set(c, "", word[k+1:])
			return ""
		case strings.Contains(keepalivedFlags, c):
			o.set(c, "", "")
		default:
			return "-" + c
		}
	}
	return ""
}

func (o *keepalivedOptions) set(short, long, value string) {
	switch {
	case short == "f":
		o.file = value
	case short == "i":
		o.id = value
	case short == "t":
		o.test, o.log = true, value
	case short == "v":
		o.vers = true
	case short == "h":
		o.help = true
	case long == "signum":
		o.signal = value
	}
}

// testAsKeepalived prints what keepalived -t says about a file and gives its exit code. As it does, it takes the
// host's name up to the first dot where no config id is given.
func testAsKeepalived(env Env, file, id string, w io.Writer) int {
	if id == "" {
		host, _ := os.Hostname()
		id, _, _ = strings.Cut(host, ".")
	}
	lines, code := keepalivedTest(env, file, conf.Options{ID: id, Env: env.Getenv})
	for _, l := range lines {
		fmt.Fprintln(w, l)
	}
	return code
}

// keepalivedTest is what keepalived -t says, line by line.
func keepalivedTest(env Env, file string, opts conf.Options) (lines []string, code int) {
	s, err := openSource(env, file)
	if err != nil {
		// keepalived: a main file that is missing is no error without -e.
		return []string{"Config files missing '" + file + "'."}, 0
	}
	_, _, all := conf.Load(s, s.name, opts)
	for _, d := range all {
		if d.Severity == conf.Notice {
			continue
		}
		code = max(code, keepalivedConfig)
		for _, text := range slices.Concat([]string{d.Text}, d.More) {
			if d.Bare || d.Line == 0 {
				lines = append(lines, text)
			} else {
				lines = append(lines, fmt.Sprintf("(%s: Line %d) %s", s.relative(d).File, d.Line, text))
			}
		}
		switch {
		case d.Code == "missing-argument" && d.Severity == conf.Error:
			return lines, keepalivedStop // it stops there
		case d.Code == "include-missing" && d.Severity == conf.Error:
			code = keepalivedMissed
		}
	}
	return lines, code
}
