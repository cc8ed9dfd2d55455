package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"vipd/internal/control"
	"vipd/internal/plane/xdp"
)

// probeVar has a program that is started like a daemon only say whether it could take one's place: by its exit code, and by
// its version on standard output.
const probeVar = "VIPD_PROBE"

// probeTime is how long it may take for that.
const probeTime = 30 * time.Second

// probe is what a daemon does with probeVar. It touches nothing.
func (d *daemon) probe() error {
	defer d.takeBack()
	if err := d.checkHost(context.Background()); err != nil {
		return err
	}
	if d.wanted().plane != "ipvs" && (len(d.cfg.Health.Services) > 0 || d.opts.NoConfig) {
		if err := xdp.Adoptable(d.pathOptions()); err != nil {
			return pathFailure(err)
		}
	}
	fmt.Println("vipd " + Version())
	return nil
}

// Upgrade implements control.Commander.
func (d *daemon) Upgrade(ctx context.Context, path string, probe bool) control.Outcome {
	if !probe {
		d.noteCommand(ctx, "upgrade to "+path)
	}
	program, err := programAt(path)
	if err != nil {
		return outcome(fail(ExitFatal, "give the path of a vipd program", "%w", err))
	}
	found, err := probeProgram(ctx, program)
	if err != nil {
		return outcome(err)
	}
	said := fmt.Sprintf("%s is %s and can take the place of vipd %s", program, found, Version())
	if probe {
		return control.Outcome{Done: true, Said: []string{said}}
	}
	out := d.ordered(ctx, func() error {
		if d.pending != nil {
			return fail(ExitFatal, "keep it with vipd confirm, or wait until it is taken back", "a change of the configuration is not confirmed")
		}
		d.next = program
		return nil
	})
	out.Said = append(out.Said, said)
	return out
}

// programAt is the absolute path of a program, or that of the one that runs, as it was started: that file may be another by
// now.
func programAt(path string) (string, error) {
	if path == "" {
		path = os.Args[0]
	}
	found, err := exec.LookPath(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(found)
}

// probeProgram has a program say whether it could take the place of this one, with its arguments.
func probeProgram(ctx context.Context, program string) (version string, err error) {
	var out, errs strings.Builder
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = withoutSupervisor(append(os.Environ(), probeVar+"=1"))
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	version = strings.TrimSpace(out.String())
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", fail(ExitFatal, "", "%s does not say within %s whether it can take over", program, probeTime)
	case errors.As(err, &exit):
		return "", fail(exit.ExitCode(), "nothing is changed: this process goes on", "%s cannot take over: %s", program, lastLines(errs.String()))
	case err != nil:
		return "", fail(ExitFatal, "nothing is changed: this process goes on", "execute %s: %w", program, err)
	case !strings.HasPrefix(version, "vipd "):
		return "", fail(ExitFatal, "nothing is changed: this process goes on", "%s does not say that it is a vipd which can take over", program)
	}
	return version, nil
}

// withoutSupervisor keeps who is only tried from telling systemd that it runs.
func withoutSupervisor(env []string) (out []string) {
	for _, v := range env {
		if !strings.HasPrefix(v, "NOTIFY_SOCKET=") && !strings.HasPrefix(v, "WATCHDOG_") {
			out = append(out, v)
		}
	}
	return out
}

// lastLines are what a program said last, on one line.
func lastLines(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}
