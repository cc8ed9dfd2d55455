package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vipd/internal/control"
	"vipd/internal/lb"
)

// explainer is a daemon that says why: control.Client, or a test's.
type explainer interface {
	Explain(ctx context.Context, key lb.ServiceKey) (control.Why, error)
}

// whyAnswer is what "vipd why -o json" prints.
type whyAnswer struct {
	Instances []control.Router `json:"instances,omitempty"`
	Services  []control.Why    `json:"services,omitempty"`
}

func newWhyCommand(env Env) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "why {SERVICE | REAL | SERVICE REAL | INSTANCE}",
		Short: "Say why a real server, a service or a VRRP instance is as it is",
		Long: `Say of real servers which rule decides what they get, since when, what would count without it, what their checks found
last (times, bytes, the beginning of the answer), and the command that repeats each check by hand. Say of a service how it
stands with its quorum and sorry server; of a VRRP instance why it is what it is, and what its priority is made of.

SERVICE is ` + control.ServiceWords + `. REAL is ADDRESS:PORT
or ADDRESS, in every service that has it.`,
		Args: mistaken(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return misused("-o %q: want text or json", output)
			}
			a, err := askWhy(env, cmd, args)
			if err != nil {
				return err
			}
			if output == "json" {
				enc := json.NewEncoder(env.Stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(a)
			}
			return printWhy(env, a)
		},
	}
	cmd.Flags().String("instance", env.instance(), "name of the daemon to ask ($"+instanceVariable+")")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func askWhy(env Env, cmd *cobra.Command, args []string) (a whyAnswer, err error) {
	c, err := env.director(cmd)
	if err != nil {
		return a, err
	}
	e, ok := c.(explainer)
	if !ok {
		return a, fmt.Errorf("this daemon does not say why")
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusTime)
	defer cancel()
	status, err := c.Status(ctx)
	if err != nil {
		return a, asked(err)
	}
	for _, r := range status.VRRP {
		if len(args) == 1 && r.Name == args[0] {
			a.Instances = append(a.Instances, r)
		}
	}
	subjects, err := whySubjects(&status, args, len(a.Instances) > 0)
	if err != nil {
		return a, err
	}
	for _, s := range subjects {
		w, err := e.Explain(ctx, s.key)
		if err != nil {
			return a, asked(err)
		}
		if s.reals != nil {
			w.Reals = slices.DeleteFunc(w.Reals, func(r control.WhyReal) bool { return !slices.Contains(s.reals, r.Real) })
		}
		a.Services = append(a.Services, w)
	}
	return a, nil
}

// whySubject is a service and those of its real servers that are meant. nil: all.
type whySubject struct {
	key   lb.ServiceKey
	reals []string
}

// whySubjects finds the services and real servers that the words mean. found: they mean an instance already.
func whySubjects(status *control.Status, args []string, found bool) (all []whySubject, err error) {
	if len(args) == 2 {
		targets, err := findTargets(status, args[0], args[1], false)
		for _, t := range targets {
			all = append(all, whySubject{t.service.ServiceKey, []string{t.real.Addr.String()}})
		}
		return all, err
	}
	for _, s := range control.FindServices(status.Services, args[0]) {
		all = append(all, whySubject{key: s.ServiceKey})
	}
	for i := range status.Services {
		s := &status.Services[i]
		if reals := control.FindReals(s, args[0]); len(reals) > 0 {
			one := whySubject{key: s.ServiceKey}
			for _, r := range reals {
				one.reals = append(one.reals, r.Addr.String())
			}
			all = append(all, one)
		}
	}
	if len(all) > 0 || found {
		return all, nil
	}
	names := everyServiceOf(status)
	for _, r := range status.VRRP {
		names = append(names, r.Name)
	}
	return nil, notFound(fmt.Sprintf("no service, real server or VRRP instance %.80q", args[0]), "services and instances", names)
}

func printWhy(env Env, a whyAnswer) error {
	out := &screen{now: env.now()}
	for i := range a.Instances {
		out.whyInstance(&a.Instances[i])
	}
	for i := range a.Services {
		out.whyService(&a.Services[i])
	}
	_, err := env.Stdout.Write([]byte(strings.TrimPrefix(out.String(), "\n")))
	return err
}

// whyInstance says why an instance is what it is.
func (o *screen) whyInstance(r *control.Router) {
	o.linef("\n%s is %s for %s: %s", r.Name, r.State, o.ago(r.Since), r.Why)
	for _, cause := range r.Causes {
		o.linef("  fault: %s", cause)
	}
	if r.HoldsBack != "" {
		o.linef("  holds back: %s", holdsText(*r))
	}
	if r.Waiting != "" {
		o.linef("  waits: %s", r.Waiting)
	}
	text := fmt.Sprintf("%d", r.Base)
	for _, w := range r.Weights {
		text += fmt.Sprintf(" %+d %s", w.Value, w.Cause)
	}
	if len(r.Weights) > 0 {
		text += fmt.Sprintf(" = %d", r.Priority)
	} else if r.Priority != r.Base {
		text = fmt.Sprintf("%d, of the file %d", r.Priority, r.Base)
	}
	o.linef("  priority %s", text)
	if r.Group != "" {
		o.linef("  it moves with its sync group %s", r.Group)
	}
	if r.Master != "" && r.State != "MASTER" {
		o.linef("  the master is %s", r.Master)
	}
	for _, p := range r.Peers {
		o.linef("  peer %s: priority %d, last heard %s ago", p.Address, p.Priority, o.ago(p.Last))
	}
	for _, f := range r.Refusals {
		o.linef("  refused %d adverts of %s: %s, theirs %s, ours %s", f.Count, f.Peer, f.Field, f.Theirs, f.Ours)
	}
	if len(r.Transitions) > 0 {
		o.linef("  changes, the latest first")
		for _, t := range slices.Backward(r.Transitions) {
			o.linef("    %s  %s → %s: %s", t.At.Format(time.DateTime), t.From, t.To, t.Why)
		}
	}
}

func (o *screen) whyService(w *control.Why) {
	name := w.Service
	if w.Group != "" {
		name += " of group " + w.Group
	}
	state := fmt.Sprintf("has its quorum for %s: weight %d is alive, it is lost below %d", o.ago(w.Since), w.Alive, max(w.Lost, 1))
	if !w.Quorum {
		state = fmt.Sprintf("has lost its quorum for %s: weight %d is alive, %d is needed", o.ago(w.Since), w.Alive, w.Gained)
	}
	o.linef("\n%s %s", name, state)
	switch {
	case w.SorryUp:
		o.linef("  sorry server %s stands in", w.Sorry)
	case w.Sorry != "":
		o.linef("  sorry server %s is not needed", w.Sorry)
	}
	for i := range w.Reals {
		o.whyReal(&w.Reals[i])
	}
}

func (o *screen) whyReal(r *control.WhyReal) {
	o.linef("\n  %s is %s, weight %d", r.Real, r.Verdict, r.Weight)
	for i, rule := range r.Rules {
		word := "decides: "
		if i > 0 {
			word = "besides: "
		}
		o.linef("    %s%s: %s, for %s", word, rule.Rule, rule.Says, o.ago(rule.Since))
	}
	for _, p := range r.Peers {
		o.linef("    %s, for %s", o.peerSays(p), o.ago(p.Since))
	}
	for i := range r.Checks {
		o.whyCheck(&r.Checks[i])
	}
}

func (o *screen) whyCheck(c *control.WhyCheck) {
	state := "up"
	switch {
	case !c.Ran:
		state = "not run yet, assumed " + map[bool]string{true: "up", false: "down"}[c.Up]
	case !c.Up:
		state = "down"
	case c.Failed > 0:
		state = fmt.Sprintf("up, %d of %s forgiven", c.Failed, countOf(c.Retry, "failure"))
	}
	next := "under way"
	if !c.Next.IsZero() {
		next = "next in " + c.Next.Sub(o.now).Round(100*time.Millisecond).String()
	}
	target := c.Target
	if c.Way != "" {
		target += " to " + c.Way
	}
	o.linef("    %s %s: %s for %s, every %s, %s", c.Kind, target, state, o.ago(c.Since), c.Every, next)
	if c.Expects != "" {
		o.linef("      expects %s", c.Expects)
	}
	if cert := c.Certificate; cert != nil {
		o.linef("      certificate ends on %s", certificateText(cert, o.now))
	}
	for _, r := range c.Last {
		o.linef("      %s  %-6s %s", r.At.Format("01-02 15:04:05.000"), r.Result, resultText(r))
	}
	if c.Command != "" {
		o.linef("      by hand: %s", c.Command)
	}
}

// peerSays is such as "peer 10.0.0.2 says down (connection refused), 3s ago": when its oldest check was.
func (o *screen) peerSays(p control.PeerSays) string {
	text := "peer " + p.Peer + " says down"
	switch {
	case p.Up:
		text = "peer " + p.Peer + " says up"
	case p.Why != "":
		text += " (" + p.Why + ")"
	}
	return text + ", " + o.ago(p.Seen) + " ago"
}

// certificateText is when one ends and how long that is.
func certificateText(c *control.Certificate, now time.Time) string {
	at := c.Ends.UTC().Format(time.DateOnly)
	if left := c.Ends.Sub(now); left >= 0 {
		return fmt.Sprintf("%s, in %s", at, countOf(int(left/(24*time.Hour)), "day"))
	}
	return at + ", it has ended"
}

func resultText(r control.WhyResult) string {
	var parts []string
	add := func(only bool, format string, args ...any) {
		if only {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(true, "in %s", r.Took.Round(10*time.Microsecond))
	add(r.Why != "", "%s", r.Why)
	add(r.Page != "", "%s", r.Page)
	add(r.Status != 0, "status %d", r.Status)
	add(r.Digest != "", "digest %s", r.Digest)
	add(r.Sent+r.Received > 0, "%d bytes sent, %d received", r.Sent, r.Received)
	add(len(r.First) > 0, "beginning %q", r.First)
	return strings.Join(parts, ", ")
}
