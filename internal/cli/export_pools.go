package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"vipd/internal/conf"
	"vipd/internal/control"
	"vipd/internal/haproxy"
	"vipd/internal/health"
	"vipd/internal/lb"
)

// poolsOfFile are the pools as the file has them: everything is up.
func poolsOfFile(cfg *conf.Config) (all []haproxy.Pool) {
	seen := map[lb.ServiceKey]bool{}
	for _, s := range cfg.Health.Services {
		if seen[s.ServiceKey] { // a second one is ignored
			continue
		}
		seen[s.ServiceKey] = true
		p := haproxy.Pool{Group: s.Group(), Members: s.Members, Rules: s}
		if len(p.Members) == 0 {
			p.Members = []lb.ServiceKey{s.ServiceKey}
		}
		for _, r := range s.Reals {
			p.Reals = append(p.Reals, haproxy.Real{Real: r})
		}
		all = append(all, p)
	}
	return all
}

// poolsOfDaemon are those of the file in force with their states, and services that were made by hand.
func poolsOfDaemon(cfg *conf.Config, status *control.Status) []haproxy.Pool {
	now := map[lb.ServiceKey]*control.Service{}
	for i := range status.Services {
		now[status.Services[i].ServiceKey] = &status.Services[i]
	}
	all := poolsOfFile(cfg)
	for i := range all {
		p := &all[i]
		if s := now[p.Members[0]]; s != nil {
			p.Reals = withStates(p, s)
		}
		for _, m := range p.Members {
			delete(now, m)
		}
	}
	for i := range status.Services {
		if s := now[status.Services[i].ServiceKey]; s != nil {
			all = append(all, madeByHand(s))
		}
	}
	return all
}

// withStates gives a pool's real servers their states. Those of a group have other ports in each member than in the file, so they
// are told apart by address and place: the daemon lists them in the file's order, and what was added by hand behind them.
func withStates(p *haproxy.Pool, s *control.Service) (out []haproxy.Real) {
	at, configured := 0, map[string]bool{}
	for _, r := range p.Reals {
		if configured[r.Addr.String()] {
			continue
		}
		configured[r.Addr.String()] = true
		if at < len(s.Reals) && s.Reals[at].Addr.Addr() == r.Addr.Addr() {
			state(&r, &s.Reals[at])
			at++
		}
		out = append(out, r)
	}
	sorry := p.Rules.Each()[0].Sorry // as it stands in the member that s is
	for i := at; i < len(s.Reals); i++ {
		r := &s.Reals[i]
		if sorry != nil && sorry.Addr == r.Addr {
			continue
		}
		added := haproxy.Real{Real: health.Real{Real: r.Real}}
		state(&added, r)
		out = append(out, added)
	}
	return out
}

func state(r *haproxy.Real, now *control.Real) {
	r.Weight, r.Out = now.Weight, !now.InPool
	switch {
	case now.Operator != nil:
		r.Why = now.Operator.String() + " by " + cmp.Or(now.Operator.By, "an operator")
	case r.Out && now.Healthy:
		r.Why = "displaced by the sorry server"
	case r.Out || !now.Healthy:
		r.Why = "down: " + now.Why
	}
	if r.Out && now.Operator != nil && !now.Healthy {
		r.Why += fmt.Sprintf("; down: %s", now.Why)
	}
}

func madeByHand(s *control.Service) haproxy.Pool {
	p := haproxy.Pool{Members: []lb.ServiceKey{s.ServiceKey}, Rules: health.Service{Service: s.Service}}
	for i := range s.Reals {
		r := haproxy.Real{Real: health.Real{Real: s.Reals[i].Real}}
		state(&r, &s.Reals[i])
		p.Reals = append(p.Reals, r)
	}
	return p
}

// meant tells whether a person may mean a pool by word.
func meant(p haproxy.Pool, word string) bool {
	var all []control.Service
	for _, m := range p.Members {
		all = append(all, control.Service{Service: lb.Service{ServiceKey: m}, Group: p.Group})
	}
	return len(control.FindServices(all, word)) > 0
}

// configAsker asks a daemon for its configuration, which can be large, when its pools are others, and now and then.
type configAsker struct {
	cfg   *conf.Config
	pools string // of the status that came with it
	at    time.Time
}

// configAgain is how soon a changed check, which no status shows, is noticed.
const configAgain = 10 * time.Second

func (a *configAsker) config(ctx context.Context, d director, status *control.Status, now time.Time) (*conf.Config, error) {
	var pools strings.Builder
	for i := range status.Services {
		s := &status.Services[i]
		fmt.Fprintf(&pools, "%+v %s", s.Service, s.Group)
		for j := range s.Reals {
			pools.WriteString(" " + s.Reals[j].Addr.String())
		}
		pools.WriteByte('\n')
	}
	if since := now.Sub(a.at); a.cfg != nil && pools.String() == a.pools && since >= 0 && since < configAgain {
		return a.cfg, nil
	}
	raw, err := d.Config(ctx)
	if err != nil {
		return nil, asked(err)
	}
	cfg := new(conf.Config)
	if err := json.Unmarshal(raw, cfg); err != nil {
		return nil, fmt.Errorf("read the daemon's configuration: %w", err)
	}
	a.cfg, a.pools, a.at = cfg, pools.String(), now
	return cfg, nil
}
