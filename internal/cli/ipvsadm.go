package cli

import (
	"errors"
	"fmt"
	"strings"

	"vipd/internal/control"
)

// Ipvsadm is ipvsadm(8): args, without the program's name argv0, in its grammar, with its output and exit codes, answered
// by a running daemon. It returns the exit code.
//
// The daemon is that of "--instance NAME" before ipvsadm's own words, else of $VIPD_INSTANCE, else "default".
//
// ipvs: the original opens the kernel first, so that even a mistyped line or --help says "Can't initialize ipvs" when it
// cannot. Here a line is judged first, and the daemon asked only if an answer needs it.
func Ipvsadm(argv0 string, args []string, env Env) int {
	instance, args, err := instanceOption(args, env.instance())
	if err == nil {
		err = ipvsadm(argv0, args, instance, env)
	}
	return ipvsadmExit(env, err)
}

// instanceOption takes "--instance NAME" off the front.
func instanceOption(args []string, instance string) (string, []string, error) {
	if len(args) == 0 {
		return instance, args, nil
	}
	if name, ok := strings.CutPrefix(args[0], "--instance="); ok {
		return name, args[1:], nil
	}
	if args[0] != "--instance" {
		return instance, args, nil
	}
	if len(args) == 1 {
		return "", nil, &usageError{code: exitPopt, text: "--instance: missing argument"}
	}
	return args[1], args[2:], nil
}

func ipvsadm(argv0 string, args []string, instance string, env Env) error {
	s := &ipvsSession{argv0: argv0, instance: instance, env: env, names: env.names()}
	c, bad := parseIpvsadm(argv0, args, s.names)
	if bad != nil {
		return bad
	}
	err := error(nil)
	if c.verb == restore {
		err = s.restore()
	} else if err = s.run(c); err == nil {
		err = s.flush()
	}
	switch {
	case errors.Is(err, errEnd):
		return nil
	case err != nil:
		return err
	}
	return s.ended()
}

// noDaemon marks an error of asking as one that ends with ipvsadm's code for "cannot initialize".
type noDaemon struct{ error }

func (n noDaemon) Unwrap() error { return n.error }

// ipvsadmExit prints err in ipvsadm's manner, the bare line, and gives the exit code.
func ipvsadmExit(env Env, err error) int {
	if err == nil {
		return 0
	}
	var silent *exitCode
	if errors.As(err, &silent) {
		return silent.code
	}
	var bad *usageError
	var none *control.Unreachable
	switch {
	case errors.As(err, &bad):
		fmt.Fprintln(env.Stderr, err)
		return bad.code
	case errors.As(err, &none):
		sayUnreachable(env, none)
		return exitUsage
	case errors.As(err, &noDaemon{}):
		fmt.Fprintf(env.Stderr, "Can't initialize ipvs: %v\n", err)
		return exitUsage
	}
	fmt.Fprintln(env.Stderr, err)
	return exitListing
}

// sayUnreachable says that there is no daemon where the original says that there is no IPVS in the kernel.
func sayUnreachable(env Env, u *control.Unreachable) {
	if errors.Is(u, control.ErrPermission) {
		fmt.Fprintf(env.Stderr, "Can't initialize ipvs: Permission denied (you must be root)\nhint: %s\n", u.Hint())
		return
	}
	hint := u.Hint()
	if errors.Is(u, control.ErrNotRunning) {
		hint = fmt.Sprintf("start it: vipd run --instance %s --no-config, or with -f FILE; ls %s shows which instances there are", u.Instance, control.Dir)
	}
	if hint != "" && u.Instance == env.namespaceInstance() {
		hint += "; the first change starts one, as " + startVariable + " is set"
	}
	fmt.Fprintf(env.Stderr, "Can't initialize ipvs: %v\n", u)
	if hint != "" {
		fmt.Fprintf(env.Stderr, "hint: %s\n", hint)
	}
}
