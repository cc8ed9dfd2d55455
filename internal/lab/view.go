package lab

import (
	"context"
	"sync"
	"time"
)

// frame is the time between two views.
const frame = 200 * time.Millisecond

// show tells cfg.Show about the scene until the returned function is called.
func (p *player) show(ctx context.Context) (stop func()) {
	if p.cfg.Show == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() {
		for sleep(ctx, frame) == nil {
			p.cfg.Show(p.view(ctx))
		}
	})
	return func() { cancel(); group.Wait() }
}

func (p *player) view(ctx context.Context) View {
	p.mu.Lock()
	v := View{Elapsed: time.Since(p.report.Started), Doing: p.doing}
	for i, s := range p.steps {
		v.Steps = append(v.Steps, p.stepView(i, s))
	}
	standing, t := p.standing, p.traffic
	p.mu.Unlock()
	if standing {
		v.Directors = p.lab.Look(ctx)
	}
	if t != nil {
		// The last second but one: of the last, some answers may still be out.
		now := time.Now()
		f := t.figures(now.Add(-2*time.Second), now.Add(-time.Second))
		v.PerSecond, v.ByReal = f.Requests, f.ByReal
		v.Requests, v.Failed = t.count()
	}
	return v
}

// stepView tells how far step number i has come. The caller holds the lock.
func (p *player) stepView(i int, s step) StepView {
	v := StepView{Name: s.name}
	switch done := len(p.report.Steps); {
	case i < done:
		v.Progress, v.Report = 1, &p.report.Steps[i]
	case i == done && !p.began.IsZero():
		v.Progress = min(0.99, max(0.01, time.Since(p.began).Seconds()/s.expect.Seconds()))
	}
	return v
}
