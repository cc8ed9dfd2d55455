package vrrp

import (
	"fmt"
	"net/netip"
	"time"
)

// Resign has the named instances, with their sync groups, hand mastership to another router on purpose: priority 0, and then
// they do not take it back while somebody else is master, whatever the priorities, until Return. The addresses stay on the
// host until another master is heard; if none is within the down time they are master again, and nothing was interrupted.
// It is an error, and nothing is done, if one of them is not master.
func (s *Speaker) Resign(now time.Time, names ...string) error {
	seen := map[*Router]bool{}
	var all []*Router
	for _, name := range names {
		r := s.byName[name]
		if r == nil {
			return fmt.Errorf("there is no instance %s", name)
		}
		for _, m := range r.mates() {
			if !seen[m] {
				seen[m], all = true, append(all, m)
			}
		}
	}
	for _, r := range all {
		if r.state != Master || r.pending() {
			return fmt.Errorf("%s is %s and not MASTER", r.cfg.Name, r.seen())
		}
	}
	for _, g := range s.groups {
		g.syncing = true
	}
	for _, r := range all {
		r.resign(now)
	}
	for _, g := range s.groups {
		g.syncing = false
		g.settle("handed over by an operator")
	}
	return nil
}

// mates are a router and who is in its sync group.
func (r *Router) mates() []*Router {
	if r.group == nil {
		return []*Router{r}
	}
	return r.group.members
}

func (r *Router) resign(now time.Time) {
	r.leave(now)
	r.resigned = true
	r.say("Entering BACKUP STATE")
	r.emit(Silence{Instance: r.cfg.Name})
	r.setMaster(netip.Addr{}, 0)
	r.toBackup(now, "handed over by an operator")
}

// Return ends what Resign began: priorities count again.
func (r *Router) Return() { r.resigned = false }
