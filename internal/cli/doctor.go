package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vipd/internal/control"
	"vipd/internal/daemon"
	"vipd/internal/doctor"
	"vipd/internal/doctor/look"
	"vipd/internal/realserver"
)

// doctorFailed is the exit code of a doctor who could not look.
const doctorFailed = 2

// doctorOptions are the flags of "vipd doctor".
type doctorOptions struct {
	instance, output string
	wait, watch      time.Duration
	all              bool
}

func newDoctorCommand(env Env) *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor [REAL|SERVICE]...",
		Short: "Find out why real servers do not serve, and what is wrong with this director, and print what mends it",
		Long: `Ask a real server, or all of a service, as the packet path would: by frames to the virtual address, through the tunnel, from a
far address. Say what is wrong, how that is known, and which commands mend it, on Linux and on Windows Server. A real server is
named by its address, with or without its port; a service as "vipd status" shows it, or by its address.

Without a name: look at this director itself, and at who on its segments says that he has a virtual address. With --all: at
everything.

It changes nothing: connections that it begins are reset, and addresses are asked for without telling one.

Exit codes: 0 nothing is wrong (there may be warnings); 1 something is wrong; 2 it could not be looked at.`,
		SilenceUsage: true,
		RunE: func(_ *cobra.Command, args []string) error {
			found, err := o.examine(env, args)
			if err == nil {
				err = o.print(env.Stdout, found)
			}
			if err != nil {
				var f *daemon.Failure
				if errors.As(err, &f) {
					return &daemon.Failure{Code: doctorFailed, Err: f.Err, Hint: f.Hint}
				}
				return &daemon.Failure{Code: doctorFailed, Err: fmt.Errorf("doctor: %w", err)}
			}
			if code := doctor.Worst(found); code != 0 {
				return &exitCode{code}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.instance, "instance", env.instance(), "name of the daemon to ask ($"+instanceVariable+")")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.BoolVar(&o.all, "all", false, "this director and all real servers")
	f.DurationVar(&o.wait, "wait", time.Second, "how long an answer may take")
	f.DurationVar(&o.watch, "watch", 0, "listen this long for who says that he has a virtual address")
	return cmd
}

// examine gathers the facts and judges them.
func (o *doctorOptions) examine(env Env, names []string) ([]realserver.Finding, error) {
	if o.output != "text" && o.output != "json" {
		return nil, fmt.Errorf("-o %q: want text or json", o.output)
	}
	if o.wait <= 0 || o.wait > time.Minute || o.watch < 0 || o.watch > time.Hour {
		return nil, errors.New("--wait is up to 1m, --watch up to 1h")
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusTime+16*o.wait+o.watch)
	defer cancel()
	s, err := askStatus(ctx, env, o.instance)
	if err != nil {
		return nil, err
	}
	src, err := env.dial(o.instance)
	if err != nil {
		return nil, err
	}
	meant := 0
	opts := look.Options{Wait: o.wait, Watch: o.watch, Wanted: func(s *control.Service, r *control.Real) bool {
		ok := o.all || isMeant(names, s, r)
		if ok {
			meant++
		}
		return ok
	}}
	facts, err := look.Around(ctx, src, &s, opts)
	switch {
	case errors.Is(err, os.ErrPermission):
		return nil, &daemon.Failure{Code: doctorFailed, Err: err, Hint: "run it as root"}
	case err != nil:
		return nil, err
	case len(names) > 0 && meant == 0:
		return nil, &daemon.Failure{Code: doctorFailed, Err: fmt.Errorf("%s: %w", strings.Join(names, " "), look.ErrNothing), Hint: "vipd status shows them"}
	}
	var found []realserver.Finding
	if len(names) == 0 {
		found = doctor.Director(look.Self(&s))
	}
	found = append(found, doctor.Claims(meantClaims(names, &s, facts.Claims), facts.Needs, facts.Master)...)
	return append(found, doctor.Reals(facts.Reals)...), nil
}

// meantClaims leaves out claims of addresses of services that nobody asked about.
func meantClaims(names []string, s *control.Status, all []doctor.Claim) []doctor.Claim {
	if len(names) == 0 {
		return all
	}
	var out []doctor.Claim
	for _, c := range all {
		for i := range s.Services {
			svc := &s.Services[i]
			for j := range svc.Reals {
				if r := &svc.Reals[j]; svc.Addr.Addr() == c.VIP && isMeant(names, svc, r) && (c.Real == "" || c.Real == r.Addr.Addr().String()) {
					out = append(out, c)
				}
			}
		}
	}
	return out
}

func isMeant(names []string, s *control.Service, r *control.Real) bool {
	for _, n := range names {
		switch n {
		case s.Name, s.ServiceKey.String(), s.Addr.String(), s.Addr.Addr().String(), r.Name, r.Addr.String(), r.Addr.Addr().String():
			return true
		}
	}
	return false
}

func (o *doctorOptions) print(w io.Writer, all []realserver.Finding) error {
	if o.output == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		if all == nil {
			all = []realserver.Finding{}
		}
		return enc.Encode(all)
	}
	var b strings.Builder
	for i, f := range all {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s %s: %s\n", map[bool]string{false: "wrong", true: "warning"}[f.Warning], clean(f.Subject), clean(f.What))
		fmt.Fprintf(&b, "  known by: %s (%s)\n", clean(f.How), f.Code)
		for _, c := range f.Cures {
			fmt.Fprintf(&b, "  mend, %s:\n", c.For)
			if lines := strings.Count(c.Text, "\n"); lines > 40 {
				fmt.Fprintf(&b, "    vipd realserver prepare --windows … prints the script (%d lines), and -o json has it here\n", lines+1)
				continue
			}
			for line := range strings.Lines(c.Text) {
				b.WriteString("    " + strings.TrimRight(line, "\n") + "\n")
			}
		}
	}
	if len(all) == 0 {
		b.WriteString("nothing is wrong\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
