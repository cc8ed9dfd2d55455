package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/syslog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vipd/internal/daemon"
)

// keepalivedRun are the options of a keepalived that runs.
type keepalivedRun struct {
	foreground, console, detail, quiet bool
	pid, facility, namespace           string
	idle                               []string // given, and without effect here
}

const (
	keepalivedPid = "/run/keepalived.pid"
	// startsWithin bounds the wait for a director in the background: the kernel looks at its programs first.
	startsWithin = time.Minute
)

// idleOfKeepalived are options that change what keepalived does, and nothing here: why.
var idleOfKeepalived = map[string]string{
	"P": "there is one process; virtual servers of the file are served too",
	"C": "there is one process; VRRP instances of the file run too",
	"B": "there is one process; BFD instances of the file run too",
	"V": "at the stop VRRP's addresses are removed; only a kill leaves them",
	"I": "at the stop services are removed; only a kill leaves them",
	"g": "there is one log, syslog or the console",
	"x": "there is no SNMP", "A": "there is no SNMP",
}

func (r *keepalivedRun) set(short, long, value string) {
	switch short {
	case "n":
		r.foreground = true
	case "l":
		r.console = true
	case "D":
		r.detail = true
	case "G":
		r.quiet = true
	case "p":
		r.pid = value
	case "S":
		r.facility = value
	case "s":
		r.namespace = value
	default:
		if why := idleOfKeepalived[short]; why != "" {
			r.idle = append(r.idle, "-"+short+" has no effect: "+why)
		}
	}
}

// runAsKeepalived is keepalived without -t: a director in the foreground with -n, else in the background, whose start is
// waited for.
func runAsKeepalived(name string, o keepalivedOptions, env Env) int {
	facility, err := facilityOf(o.run.facility)
	if err != nil {
		return report(env, &daemon.Failure{Code: exitUsage, Err: err})
	}
	for _, say := range o.run.idle {
		fmt.Fprintf(env.Stderr, "%s: %s\n", name, say)
	}
	if !o.run.foreground {
		return report(env, inBackground(name, env))
	}
	log, err := o.run.log(env, facility)
	if err != nil {
		return report(env, err)
	}
	defer log.Close()
	pid := o.run.pid
	if pid == "" {
		pid = keepalivedPid
	}
	release, err := writePid(pid)
	if err != nil {
		return report(env, err)
	}
	defer release()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return report(env, daemon.Run(ctx, daemon.Options{Config: o.file, ID: o.id, Instance: "default", LogFormat: "text", Detail: o.run.detail, Log: log, Namespace: o.run.namespace}))
}

// log is the console with -l, nothing with -G, else syslog; without one, the console.
func (r *keepalivedRun) log(env Env, facility syslog.Priority) (io.WriteCloser, error) {
	switch {
	case r.console:
		return unclosed{env.Stderr}, nil
	case r.quiet:
		return unclosed{io.Discard}, nil
	}
	w, err := syslog.New(facility|syslog.LOG_INFO, "Keepalived")
	if err != nil {
		fmt.Fprintf(env.Stderr, "no syslog (%v): the log goes here\n", err)
		return unclosed{env.Stderr}, nil
	}
	return w, nil
}

type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }

// facilityOf reads -S: 0 to 7 are local0 to local7, as keepalived has it; else the name of one. Without it, daemon.
func facilityOf(word string) (syslog.Priority, error) {
	names := map[string]syslog.Priority{"": syslog.LOG_DAEMON, "daemon": syslog.LOG_DAEMON, "user": syslog.LOG_USER, "none": syslog.LOG_DAEMON}
	for i := range 8 {
		local := syslog.LOG_LOCAL0 + syslog.Priority(i<<3)
		names[strconv.Itoa(i)], names["local"+strconv.Itoa(i)] = local, local
	}
	f, ok := names[strings.ToLower(word)]
	if !ok {
		return 0, fmt.Errorf("-S %s: there is no such facility; want 0 to 7, local0 to local7, user or daemon", word)
	}
	return f, nil
}

// writePid writes the number of this process, unless another one that lives stands there.
func writePid(path string) (release func(), err error) {
	if b, err := os.ReadFile(path); err == nil {
		pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err == nil && pid != os.Getpid() && syscall.Kill(pid, 0) == nil {
			return nil, &daemon.Failure{Code: daemon.ExitRunning, Err: fmt.Errorf("%s: daemon is already running: process %d", path, pid), Hint: "stop it, or name another file with -p"}
		}
	}
	part := path + ".part"
	err = os.WriteFile(part, fmt.Appendf(nil, "%d\n", os.Getpid()), 0o644)
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		code := daemon.ExitFatal
		if errors.Is(err, fs.ErrPermission) {
			code = daemon.ExitPermission
		}
		return nil, &daemon.Failure{Code: code, Err: fmt.Errorf("write the pid file: %w", err), Hint: "run it as root, or name another file with -p"}
	}
	return func() { os.Remove(path) }, nil
}

// inBackground starts the same command with -n, and returns when it runs.
func inBackground(name string, env Env) error {
	cmd := exec.Command("/proc/self/exe", append([]string{"-n"}, env.Args...)...)
	cmd.Args[0] = name
	cmd.Args = absolute(cmd.Args)
	if slices.ContainsFunc(env.Args, func(a string) bool { return a == "-l" || a == "--log-console" }) {
		cmd.Stderr = os.Stderr
	}
	err := background(cmd, env)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &exitCode{exit.ExitCode()}
	}
	if errors.Is(err, errLate) {
		return fmt.Errorf("%w; start it with -n -l to see why", err)
	}
	return err
}

// absolute makes the file after -f independent of the working directory.
func absolute(args []string) []string {
	for i, a := range args {
		file, glued := strings.CutPrefix(a, "-f")
		switch {
		case a == "-f" && i+1 < len(args):
			if p, err := filepath.Abs(args[i+1]); err == nil {
				args[i+1] = p
			}
		case glued && file != "" && a[1] != '-':
			if p, err := filepath.Abs(file); err == nil {
				args[i] = "-f" + p
			}
		}
	}
	return args
}
