package cli

import (
	"context"
	"fmt"
	"net/netip"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vipd/internal/control"
	"vipd/internal/daemon"
)

// drainEvery is how often "vipd drain --wait" looks.
const drainEvery = time.Second

func parseAddrPort(s string) (netip.AddrPort, error) { return netip.ParseAddrPort(s) }

// sayDraining says how many connections the drained servers have and, where it is to wait, follows them down to none.
func sayDraining(env Env, cmd *cobra.Command, args []string, wait bool, limit time.Duration) error {
	c, err := env.director(cmd)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	every := env.DrainEvery
	if every == 0 {
		every = drainEvery
	}
	deadline := env.now().Add(limit)
	said := ""
	for {
		status, err := c.Status(ctx)
		if err != nil {
			return asked(err)
		}
		left, text, err := draining(&status, args[0], args[1])
		if err != nil {
			return err
		}
		if text != said {
			fmt.Fprintln(env.Stdout, text)
			said = text
		}
		if left == 0 || !wait {
			return nil
		}
		if limit > 0 && !env.now().Before(deadline) {
			return &daemon.Failure{Code: daemon.ExitFatal, Hint: "it stays drained; wait again with the same command, or see them with: vipd ipvsadm -lcn",
				Err: fmt.Errorf("%s are left after %s", countOf(int(left), "connection"), limit)}
		}
		select {
		case <-ctx.Done():
			return &daemon.Failure{Code: daemon.ExitFatal, Err: fmt.Errorf("interrupted with %s left; it stays drained", countOf(int(left), "connection"))}
		case <-time.After(every):
		}
	}
}

// draining counts what is left on all that the words mean, in every service of a group.
func draining(status *control.Status, service, real string) (left uint64, text string, err error) {
	found, err := findTargets(status, service, real, false)
	if err != nil {
		return 0, "", err
	}
	persistent := uint64(0)
	for _, t := range found {
		for _, r := range t.everywhere(status) {
			left += uint64(r.Active) + uint64(r.Inactive)
			persistent += uint64(r.Persist)
		}
	}
	text = countOf(int(left), "connection") + " left"
	if left == 0 {
		text += ", safe to remove"
	}
	if persistent > 0 {
		text += fmt.Sprintf("; %s of persistent clients", countOf(int(persistent), "template"))
	}
	return left, text, nil
}

// everywhere is the same real server in every member of its group.
func (t target) everywhere(status *control.Status) (all []*control.Real) {
	if t.service.Group == "" {
		return []*control.Real{t.real}
	}
	place := -1
	for i := range t.service.Reals {
		if &t.service.Reals[i] == t.real {
			place = i
		}
	}
	for i := range status.Services {
		if s := &status.Services[i]; s.Group == t.service.Group && place >= 0 && place < len(s.Reals) {
			all = append(all, &s.Reals[place])
		}
	}
	return all
}
