package daemon

import (
	"context"
	"fmt"
	"time"

	"vipd/internal/conf"
	"vipd/internal/host"
)

// aroundTimeout is how long a startup or shutdown script may take where the file does not say.
const aroundTimeout = 10 * time.Second

// runStartup runs the startup script before anything of the host is touched. Whatever comes of it, the start goes on.
func (d *daemon) runStartup(ctx context.Context) error {
	if d.handed != nil { // nothing has ended that now starts
		return nil
	}
	g := d.cfg.Global.Scripts
	d.around(ctx, "startup script", g.Startup, g.StartupTimeout)
	return nil
}

// runShutdown runs the shutdown script of the configuration in force, when everything else has ended.
func (d *daemon) runShutdown() {
	g := d.cfg.Global.Scripts
	d.around(context.Background(), "shutdown script", g.Shutdown, g.ShutdownTimeout)
}

// around runs one and waits for its end, in keepalived's words.
func (d *daemon) around(ctx context.Context, what string, s *conf.Script, timeout time.Duration) {
	look := newCommands(d.events, d.cfg.Global.Scripts)
	cmd, ok := look.ready(s)
	if !ok {
		return
	}
	if look.any && !d.cfg.Global.Scripts.Security {
		text := "SECURITY VIOLATION - start/shutdown scripts are being executed but script_security not enabled."
		if look.insecure {
			text += " There are insecure scripts."
		}
		look.warn(text)
	}
	if cmd.Timeout = timeout; timeout == 0 {
		cmd.Timeout = aroundTimeout
	}
	d.events.Debug("Running " + what + " " + cmd.Args[0])
	d.sayAround(what, cmd.Args[0], cmd.Run(ctx))
}

func (d *daemon) sayAround(what, program string, e host.Exit) {
	switch {
	case e.Err != nil:
		d.events.Warn("Call of " + what + " " + program + " failed: " + e.Err.Error())
	case e.TimedOut:
		d.events.Warn(fmt.Sprintf("%s %s timed out", what, program))
	case e.Stopped, e.Signal != 0:
	case e.Code != 0:
		d.events.Info(fmt.Sprintf("%s script failed, status %d", what, e.Code))
	default:
		d.events.Debug(what + " script succeeded")
	}
}
