package daemon

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"vipd/internal/control"
	"vipd/internal/health"
	"vipd/internal/lb"
)

// Explain implements control.Explainer: what the health machine knows of one service, and how to repeat its checks.
func (d *daemon) Explain(_ context.Context, key lb.ServiceKey) (w control.Why, err error) {
	m := d.servicePool()
	if m == nil {
		return w, control.ErrNothing
	}
	var e health.Explanation
	known := false
	if err := m.ask(func() error { e, known = m.pools.Explain(time.Now(), key); return nil }); err != nil {
		return w, err
	}
	if !known {
		return w, control.ErrNothing
	}
	w = control.Why{Service: control.ServiceWord(key), Group: e.Group, Quorum: e.QuorumUp, Since: e.Since, Alive: e.Alive, Gained: e.Gained,
		Lost: e.Lost, SorryUp: e.SorryUp, Reals: []control.WhyReal{}}
	if e.Sorry != nil {
		w.Sorry = e.Sorry.Addr.String()
	}
	for i, r := range e.Reals {
		w.Reals = append(w.Reals, d.whyReal(r, e.Rulings[i]))
	}
	return w, nil
}

func (d *daemon) whyReal(r health.RealStatus, rulings []health.Ruling) control.WhyReal {
	out := control.WhyReal{Real: r.Real.Addr.String(), Verdict: "out", Checks: []control.WhyCheck{}}
	switch {
	case r.InPool && r.Real.Weight > 0:
		out.Verdict, out.Weight = "in", r.Real.Weight
	case r.Listed:
		out.Verdict = "quiesced"
	}
	for _, rule := range rulings {
		out.Rules = append(out.Rules, control.WhyRule{Rule: string(rule.Rule), Says: rule.Says, Since: rule.Since})
	}
	for _, c := range r.Checks {
		out.Checks = append(out.Checks, d.whyCheck(c))
	}
	out.Peers = peersSay(r.Peers)
	return out
}

func (d *daemon) whyCheck(c health.CheckStatus) control.WhyCheck {
	asked := c.Checker
	if n := len(c.Last); n > 0 {
		asked.URL = c.Last[n-1].URL
	}
	out := control.WhyCheck{Kind: string(asked.Kind), Target: asked.Target.String(), Up: c.Up, Ran: c.Ran, Since: c.Since, Every: asked.DelayLoop,
		Failed: c.Failed, Retry: asked.Retry, Next: c.Next, Expects: asked.Expects(), Command: asked.ByHand(d.scriptRunner(asked.Script)), Last: []control.WhyResult{}}
	if !c.Ends.IsZero() {
		out.Certificate = &control.Certificate{Ends: c.Ends, Warning: c.Warning}
	}
	switch {
	case asked.Way != nil:
		out.Way = asked.Way.String()
	case asked.Kind == health.BFDCheck:
		out.Target = asked.BFD
	}
	for _, o := range slices.Backward(c.Last) {
		out.Last = append(out.Last, whyResult(c.Checker, o))
	}
	return out
}

func whyResult(c health.Checker, o health.Observed) control.WhyResult {
	out := control.WhyResult{At: o.At, Result: "failed", Took: o.Took, Why: o.Why}
	switch {
	case o.Inconclusive:
		out.Result = "void"
	case o.OK:
		out.Result = "ok"
		if o.HasWeight {
			out.Why = cmp.Or(o.Why, fmt.Sprintf("weight %d", o.Weight))
		}
	}
	if c.HTTP != nil && o.URL < len(c.HTTP.URLs) {
		out.Page = c.HTTP.URLs[o.URL].Path
	}
	if s := o.Seen; s != nil {
		out.Sent, out.Received, out.First, out.Status, out.Digest = s.Sent, s.Received, s.First, s.Status, s.Digest
	}
	return out
}

// scriptRunner is the command in front of a MISC_CHECK's that makes it run as who the daemon runs it as.
func (d *daemon) scriptRunner(s *health.Script) string {
	if s == nil {
		return ""
	}
	cmd, ok := d.checks.ready(s)
	if !ok || cmd.As.UID == 0 {
		return ""
	}
	groups := "--clear-groups"
	for i, g := range cmd.As.Groups {
		groups = fmt.Sprint(map[bool]string{true: "--groups ", false: groups + ","}[i == 0], g)
	}
	return fmt.Sprintf("setpriv --reuid %d --regid %d %s --", cmd.As.UID, cmd.As.GID, groups)
}
