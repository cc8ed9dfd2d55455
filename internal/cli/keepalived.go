package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"vipd/internal/conf"
	"vipd/internal/daemon"
)

// keepalivedFatal is the exit code for a command line that cannot be read. Those of a test are conf.Test's.
const keepalivedFatal = 1

// keepalivedOptions are those of keepalived's command line that a test of a file needs.
type keepalivedOptions struct {
	file, id, log    string
	test, help, vers bool
	all              bool // every fault of an include counts
	run              keepalivedRun
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

// Keepalived is keepalived's command line: it tests a file, keepalived -t[LOG] [-f FILE], or runs a director. name is what it
// was called by.
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
		fmt.Fprintf(env.Stderr, "Usage: %s [-nlDG] [-f FILE] [-i CONFIG-ID] [-s NAMESPACE] [-p PID-FILE] [-S FACILITY]\n       %s -t[LOG-FILE] [-f FILE] [-i CONFIG-ID]\nRuns a director, in the background without -n, or tests a file, as keepalived does. Its own command is vipd run.\n", name, name)
		return 0
	case o.signal != "":
		return signalNumber(env, o.signal)
	}
	if len(o.extra) > 0 {
		fmt.Fprintf(env.Stdout, "Unexpected argument(s): %s \n", strings.Join(o.extra, " "))
	}
	if !o.test {
		return runAsKeepalived(name, o, env)
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
	host := thisHost()
	host.ID, host.AllConfig = o.id, o.all
	return testAsKeepalived(env, o.file, host, w)
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
	case long == "signum":
		o.signal = value
	case short == "f":
		o.file = value
	case short == "i":
		o.id = value
	case short == "t":
		o.test, o.log = true, value
	case short == "e":
		o.all = true
	case short == "v":
		o.vers = true
	case short == "h":
		o.help = true
	default:
		o.run.set(short, long, value)
	}
}

// testAsKeepalived prints what keepalived -t says about a file and gives its exit code. As it does, it takes the
// host's name up to the first dot where no config id is given.
func testAsKeepalived(env Env, file string, opts conf.TestOptions, w io.Writer) int {
	if opts.ID == "" {
		host, _ := os.Hostname()
		opts.ID, _, _ = strings.Cut(host, ".")
	}
	opts.Env = env.Getenv
	if say := unreadByKeepalived(file); say != "" {
		fmt.Fprintln(w, say)
		return 0
	}
	name, err := filepath.Abs(file)
	if err != nil {
		name = file
	}
	lines, code := conf.Test(os.DirFS("/"), name, opts)
	b := bufio.NewWriter(w)
	defer b.Flush()
	for _, l := range lines {
		fmt.Fprintln(b, strings.ReplaceAll(l, name, file))
	}
	return code
}
