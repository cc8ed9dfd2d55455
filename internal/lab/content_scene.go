package lab

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// contentSteps are what the method content plays beside the others: a drain on the active director reaches the proxies, and one of
// these dies and returns.
func (p *player) contentSteps() (first, later []step) {
	if len(p.lab.Proxies) == 0 {
		return nil, nil
	}
	lost, l := p.lab.Reals[fallen].String(), p.cfg.Lasts
	first = []step{{name: "drained", title: lost + " is drained on the active director", before: p.drain, expect: l + 2*time.Second,
		check: func(f Figures) []string { return append(noFailure(f), p.newcomersSpare(f, lost)...) }}}
	return first, []step{
		{name: "proxy_down", title: "a HAProxy is killed", before: p.killProxy, expect: l + 4*time.Second, check: p.throughOther},
		{name: "proxy_up", title: "it returns", before: p.reviveProxy, expect: l + 3*time.Second, check: noFailure},
	}
}

// drained are the newcomers of that step: addresses that have not been seen before, so that nothing keeps them on their server.
func (p *player) drained() []string {
	var out []string
	for _, a := range p.lab.Clients[4:8] {
		out = append(out, a.String())
	}
	return out
}

func (p *player) operate(ctx context.Context, verb string) error {
	s, err := active(p.lab.Look(ctx))
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, p.lab.Program, verb, "--instance", p.lab.InstanceOf(s.Host), "topics", p.lab.Reals[fallen].String()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("vipd %s on %s: %w: %s", verb, s.Host, err, out)
	}
	return nil
}

func (p *player) drain(ctx context.Context) error {
	if err := p.operate(ctx, "drain"); err != nil {
		return err
	}
	if err := p.inStep(ctx, "0", false); err != nil {
		return err
	}
	return p.traffic.use(p.lab.Clients[4:8])
}

// newcomersSpare wants none of the newcomers at the drained server.
func (p *player) newcomersSpare(f Figures, lost string) (out []string) {
	seen := 0
	for client, reals := range f.ByClient {
		if slices.Contains(p.drained(), client.String()) {
			seen++
			if n := reals[lost]; n > 0 {
				out = append(out, fmt.Sprintf("%s was drained, and got %d requests of %s, which is new", lost, n, client))
			}
		}
	}
	if seen != len(p.drained()) {
		out = append(out, fmt.Sprintf("of %d new clients %d were answered", len(p.drained()), seen))
	}
	return out
}

// undrain takes the drain back, which the rest of the scene is without.
func (p *player) undrain(ctx context.Context) error {
	if len(p.lab.Proxies) == 0 {
		return nil
	}
	if err := p.operate(ctx, "ready"); err != nil {
		return err
	}
	if err := p.inStep(ctx, "1", false); err != nil {
		return err
	}
	return p.traffic.use(p.visitors(false))
}

// inStep waits until the proxies have the real server that dies so.
func (p *player) inStep(ctx context.Context, weight string, maint bool) error {
	if len(p.lab.Proxies) == 0 {
		return nil
	}
	server := fmt.Sprintf("%s:%d", p.lab.Reals[fallen], p.lab.VIP.Port())
	return p.lab.until(ctx, func([]Sight) error { return p.lab.proxied(server, weight, maint) })
}

// lostProxy is the HAProxy that dies in the scene.
const lostProxy = "proxy1"

func (p *player) killProxy(ctx context.Context) error {
	if err := p.lab.Signal(lostProxy, syscall.SIGKILL, grace); err != nil {
		return err
	}
	return p.lab.until(ctx, func(all []Sight) error {
		s, err := active(all)
		if err != nil {
			return err
		}
		return p.lab.everywhere([]Sight{s}, p.lab.Proxies[lostProxy], false)
	})
}

func (p *player) throughOther(f Figures) []string {
	if n := f.ByProxy[lostProxy]; n > 0 {
		return append(noFailure(f), fmt.Sprintf("%d answers came through %s, which was dead", n, lostProxy))
	}
	return noFailure(f)
}

func (p *player) reviveProxy(ctx context.Context) error {
	if err := p.lab.StartProxy(lostProxy); err != nil {
		return err
	}
	return p.lab.until(ctx, func(all []Sight) error { return p.lab.everywhere(all, p.lab.Proxies[lostProxy], true) })
}
