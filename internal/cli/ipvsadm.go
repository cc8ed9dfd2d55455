package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
		return "", nil, &usageError{exitPopt, "--instance: missing argument"}
	}
	return args[1], args[2:], nil
}

func ipvsadm(argv0 string, args []string, instance string, env Env) error {
	names := env.names()
	c, bad := parseIpvsadm(argv0, args, names)
	if bad != nil {
		return bad
	}
	switch c.verb {
	case showHelp:
		_, err := fmt.Fprint(env.Stdout, ipvsadmVersion, ipvsadmHelp)
		return err
	case showVersion:
		_, err := fmt.Fprint(env.Stdout, ipvsadmVersion)
		return err
	case list, save:
		src, err := env.dial(instance)
		if err != nil {
			return noDaemon{err}
		}
		return newListing(c, src, names, env.Stdout).run(context.Background())
	}
	return usage("ipvsadm: %s is not possible yet: vipd takes services and servers from its configuration file; change that and reload or restart vipd run", c.verb)
}

// noDaemon marks an error of asking as one that ends with ipvsadm's code for "cannot initialize".
type noDaemon struct{ error }

func (n noDaemon) Unwrap() error { return n.error }

// ipvsadmExit prints err in ipvsadm's manner, the bare line, and gives the exit code.
func ipvsadmExit(env Env, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(env.Stderr, err)
	var bad *usageError
	if errors.As(err, &bad) {
		return bad.code
	}
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		if h := hinted.Hint(); h != "" {
			fmt.Fprintln(env.Stderr, "hint: "+h)
		}
		return exitUsage
	}
	if errors.As(err, &noDaemon{}) {
		return exitUsage
	}
	return exitListing
}
