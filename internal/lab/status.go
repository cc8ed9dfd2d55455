package lab

import (
	"context"
	"fmt"

	"vipd/internal/control"
)

// HostStatus is one host of a lab that stands, as `vipd lab status -o json` prints it.
type HostStatus struct {
	Host      string       `json:"host"`
	Namespace string       `json:"namespace"`
	Addresses []string     `json:"addresses"`
	Role      string       `json:"role,omitempty"`    // what belongs here: director, proxy, web or store
	Program   string       `json:"program,omitempty"` // of the third tier and of a proxy: what it is
	PID       int          `json:"pid,omitempty"`     // of it; 0: it does not run
	State     string       `json:"state,omitempty"`   // of a director: MASTER, BACKUP, …, or down
	VIP       bool         `json:"vip"`               // a director's host has the virtual IP
	Pool      []PoolStatus `json:"pool,omitempty"`    // of a director
	Log       string       `json:"log,omitempty"`
}

// Is says what belongs on the host, in words.
func (h HostStatus) Is() string {
	switch h.Role {
	case RoleDirector:
		return "vipd"
	case RoleWeb:
		return "web server"
	}
	return h.Program
}

// PoolStatus is one real server as a director sees it.
type PoolStatus struct {
	Pool     string `json:"pool,omitempty"` // the name of a pool behind HAProxy; empty: it is behind the virtual IP
	Real     string `json:"real"`
	InPool   bool   `json:"in_pool"`
	Weight   int32  `json:"weight"`
	Active   uint32 `json:"active"`
	Inactive uint32 `json:"inactive"`
	Why      string `json:"why,omitempty"`
}

// Status tells of every host of an open lab.
func (l *Lab) Status(ctx context.Context) []HostStatus { return l.statusOf(l.Look(ctx)) }

func (l *Lab) statusOf(all []Sight) []HostStatus {
	sights := map[string]Sight{}
	for _, s := range all {
		sights[s.Host] = s
	}
	var out []HostStatus
	for _, h := range l.Hosts {
		st := HostStatus{Host: h.Name, Namespace: l.Namespace(h.Name), Addresses: l.addresses(h)}
		if _, ok := l.Reals[h.Name]; ok {
			st.Role = RoleWeb
		}
		if _, ok := l.Proxies[h.Name]; ok {
			st.Role, st.Program = RoleProxy, "HAProxy"
		}
		if s, ok := storeOf(h.Name); ok {
			st.Role, st.Program = RoleStore, s.is
		}
		if s, ok := sights[h.Name]; ok {
			st.Role, st.State, st.VIP, st.Pool = RoleDirector, s.State(), s.VIP, l.Pool(s)
		}
		if st.Role != "" {
			st.Log = l.LogFile(h.Name)
		}
		if m, ok := l.running(h.Name); ok {
			st.PID = m.PID
		}
		out = append(out, st)
	}
	return out
}

// Pool is the site's service as a director sees it, and of the method content the pools behind it.
func (l *Lab) Pool(s Sight) []PoolStatus {
	svc, _ := s.service(l.VIP)
	out := poolOf("", svc.Reals)
	if len(l.Proxies) > 0 {
		for _, pool := range s.Status.Services {
			if pool.Addr != l.VIP {
				out = append(out, poolOf(pool.Group, pool.Reals)...)
			}
		}
	}
	return out
}

func poolOf(name string, reals []control.Real) (out []PoolStatus) {
	for _, r := range reals {
		out = append(out, PoolStatus{Pool: name, Real: r.Real.Addr.String(), InPool: r.InPool, Weight: r.Weight, Active: r.Active,
			Inactive: r.Inactive, Why: r.Why})
	}
	return out
}

// addresses of a host as described; a run of them on one interface is printed as first-last.
func (l *Lab) addresses(h Host) []string {
	var out []string
	for _, e := range l.ends(h.Name) {
		switch n := len(e.Addrs); {
		case n > 2:
			out = append(out, fmt.Sprintf("%s-%d", e.Addrs[0].Addr(), e.Addrs[n-1].Addr().As4()[3]))
		case n > 0:
			out = append(out, e.Addrs[0].Addr().String())
		}
	}
	return out
}
