package lab

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

// fallen is the real server whose web server dies in the scene.
const fallen = "real1"

// script is the scene: what is done to the site, in this order, and what the site promises meanwhile.
func (p *player) script() []step {
	lost := p.lab.Reals[fallen].String()
	l := p.cfg.Lasts
	steps := []step{{name: "steady", title: "steady traffic", check: p.checkSteady, expect: l}}
	drained, proxies := p.contentSteps()
	steps = append(append(steps, drained...), []step{
		{name: "real_down", title: "the web server of " + lost + " is killed", before: p.killWeb, expect: l + 13*time.Second,
			check: func(f Figures) []string { return append(noFailure(f), nothingFrom(f, lost)...) }},
		{name: "real_up", title: "the web server of " + lost + " returns", before: p.reviveWeb, during: p.newcomers,
			expect: l + 5*time.Second,
			check:  func(f Figures) []string { return append(noFailure(f), somethingFrom(f, lost)...) }},
	}...)
	steps = append(append(steps, proxies...), p.storeSteps()...)
	return append(steps, []step{
		{name: "director_killed", title: "the active director is killed", during: p.killDirector, bound: p.cfg.Takeover, expect: l,
			check: func(f Figures) []string { return gapWithin(f, p.cfg.Takeover) }},
		{name: "director_back", title: "the killed director returns", during: p.reviveDirector, check: noFailure, expect: l * 3 / 2},
		{name: "director_stopped", title: "the active director is stopped", during: p.stopDirector, bound: handoverBound, expect: l,
			check: func(f Figures) []string { return gapWithin(f, handoverBound) }},
	}...)
}

func (p *player) checkSteady(f Figures) []string {
	out := noFailure(f)
	s, err := active(p.lab.Look(context.Background()))
	if err != nil {
		return append(out, err.Error())
	}
	front := p.lab.VIP
	if len(p.lab.Proxies) > 0 {
		front = topicsPool // which is what HAProxy shares by
	}
	svc, ok := s.service(front)
	if !ok {
		return append(out, fmt.Sprintf("%s has no service %s", s.Host, front))
	}
	return append(out, fairShare(f, svc)...)
}

func (p *player) killWeb(ctx context.Context) error {
	if err := p.undrain(ctx); err != nil {
		return err
	}
	if err := p.lab.Signal(fallen, syscall.SIGKILL, grace); err != nil {
		return err
	}
	err := p.lab.until(ctx, func(all []Sight) error {
		s, err := active(all)
		if err != nil {
			return err
		}
		return p.lab.everywhere([]Sight{s}, p.lab.Reals[fallen], false)
	})
	if err != nil {
		return err
	}
	return p.inStep(ctx, "1", true)
}

func (p *player) reviveWeb(ctx context.Context) error {
	if err := p.lab.StartWeb(fallen); err != nil {
		return err
	}
	err := p.lab.until(ctx, func(all []Sight) error { return p.lab.everywhere(all, p.lab.Reals[fallen], true) })
	if err != nil {
		return err
	}
	return p.inStep(ctx, "1", false)
}

func (p *player) newcomers(context.Context) error { return p.traffic.use(p.visitors(true)) }

func (p *player) killDirector(ctx context.Context) error {
	s, err := active(p.lab.Look(ctx))
	if err != nil {
		return err
	}
	p.victim = s.Host
	if p.cfg.PowerOff {
		// The cable first: from one moment to the next nothing comes from this host any more.
		if err := p.lab.built.setCarrier(s.Host, false); err != nil {
			return err
		}
	}
	if err := p.lab.Signal(s.Host, syscall.SIGKILL, grace); err != nil {
		return err
	}
	return p.succession(ctx, s.Host)
}

// succession waits until another director than gone is master and has the virtual IP.
func (p *player) succession(ctx context.Context, gone string) error {
	return p.lab.until(ctx, func(all []Sight) error {
		s, err := active(others(all, gone))
		if err == nil && !s.VIP {
			err = fmt.Errorf("%s is master and has no %s", s.Host, p.lab.VIP.Addr())
		}
		return err
	})
}

func (p *player) reviveDirector(ctx context.Context) error {
	if p.cfg.PowerOff {
		if err := p.lab.reboot(p.victim); err != nil {
			return err
		}
	}
	if err := p.lab.StartDirector(p.victim); err != nil {
		return err
	}
	return p.lab.until(ctx, func(all []Sight) error {
		if proc := p.lab.procs[p.victim]; !proc.alive() {
			return final{p.lab.dead(p.victim)}
		}
		for _, s := range all {
			if s.State() != "MASTER" && s.State() != "BACKUP" {
				return fmt.Errorf("%s is %s", s.Host, s.State())
			}
		}
		_, err := active(all)
		return err
	})
}

func (p *player) stopDirector(ctx context.Context) error {
	s, err := active(p.lab.Look(ctx))
	if err != nil {
		return err
	}
	if err := p.lab.Signal(s.Host, syscall.SIGTERM, 2*grace); err != nil {
		return err
	}
	if err := p.lab.procs[s.Host].ended(grace); err != nil {
		return fmt.Errorf("vipd on %s was stopped and ended with: %w", s.Host, err)
	}
	if p.lab.holdsVIP(s.Host) {
		return fmt.Errorf("%s was stopped and still has %s", s.Host, p.lab.VIP.Addr())
	}
	return p.succession(ctx, s.Host)
}

// finale looks at the site once more: who holds the virtual IP, and which connections the active director knows.
func (p *player) finale(ctx context.Context) error {
	if err := p.collectMails(ctx); err != nil {
		return err
	}
	all := p.lab.Look(ctx)
	s, err := active(all)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range all {
		if d.VIP {
			p.report.Holders = append(p.report.Holders, d.Host)
		}
	}
	if err != nil {
		p.report.Why = append(p.report.Why, "at the end: "+err.Error())
		return nil
	}
	p.report.Active = s.Host
	out, err := exec.CommandContext(ctx, p.lab.Program, "ipvsadm", "--instance", p.lab.InstanceOf(s.Host), "-lcn").Output()
	if err != nil {
		p.report.Why = append(p.report.Why, fmt.Sprintf("ipvsadm -lcn of %s: %v%s", s.Host, err, stderrOf(err)))
	}
	p.report.Connections = string(out)
	return nil
}

func stderrOf(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return " (" + string(exit.Stderr) + ")"
	}
	return ""
}
