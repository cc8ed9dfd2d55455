package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// GroupConfig is one vrrp_sync_group: instances of one host that are all MASTER or none is.
type GroupConfig struct {
	Name      string
	Instances []string // those that exist
}

// GroupChange tells that a group as a whole went from one state to another. It comes after the changes of its members.
type GroupChange struct {
	Group    string
	From, To State
	Why      string
}

func (GroupChange) effect() {}

// group is what members share. Its rules are keepalived's, RFC 3768 knows no groups: one that fails or yields takes the
// others with it, and nobody is master before all could be.
type group struct {
	name    string
	members []*Router // in the order of the file
	state   State
	queue   *queue
	syncing bool         // a change is being passed on: what it causes in members is not passed back
	held    *GroupChange // to MASTER, until all members have their addresses
	leader  *Router      // led the others to MASTER and is not confirmed yet: nobody was told
}

// SetGroups makes these the groups: before Start, and at a reload. Members keep their state; those that no longer go
// together go their own ways, and members of a new group that are not all MASTER elect again.
func (s *Speaker) SetGroups(now time.Time, groups []GroupConfig) {
	old := s.groups
	s.groups = nil
	for _, r := range s.routers {
		r.group = nil
	}
	for _, cfg := range groups {
		g := &group{name: cfg.Name, queue: s.queue}
		for _, name := range cfg.Instances {
			if r := s.byName[name]; r != nil && r.group == nil {
				r.group, g.members = g, append(g.members, r)
			}
		}
		i := slices.IndexFunc(old, func(o *group) bool { return o.name == g.name })
		if i >= 0 {
			g.state, g.held = old[i].state, old[i].held
		} else {
			g.unite(now)
		}
		s.groups = append(s.groups, g)
	}
	for _, r := range s.routers {
		r.settleFaults(now, "its sync group has changed")
	}
	for _, g := range s.groups {
		g.confirmed()
	}
}

// unite makes a group of running instances.
func (g *group) unite(now time.Time) {
	if !g.all(Master) {
		for _, m := range g.members {
			if m.state == Master && m.cause() == "" {
				m.fallBack(now, "sync group "+g.name+" is new and not all of it are master")
			}
		}
	}
	g.settle("reload")
}

func (g *group) all(state State) bool {
	return !slices.ContainsFunc(g.members, func(m *Router) bool { return m.state != state })
}

// mayMaster tells whether r may take over: the group is master, or all others want to be too.
func (g *group) mayMaster(r *Router) bool {
	return g.state == Master || !r.rules.together || !slices.ContainsFunc(g.members, func(m *Router) bool { return m != r && !m.wants })
}

// cause is the fault of a member that a router shares, or "".
func (g *group) cause(r *Router) string {
	for _, m := range g.members {
		if m != r && len(m.faults) > 0 && r.rules.shares {
			return "sync group " + g.name + ": " + m.cfg.Name + " " + m.faults[0]
		}
	}
	return ""
}

// waits is the hold of any member.
func (g *group) waits() string {
	for _, m := range g.members {
		if len(m.holds) > 0 {
			return m.holds[0]
		}
	}
	return ""
}

// follow passes the change of one member on to the others.
func (g *group) follow(now time.Time, leader *Router, why string) {
	switch {
	case g.syncing || g.state == leader.state || !leader.rules.follows:
		return
	case leader.state == Init: // stopped: the others go on until they are
		g.settle(why)
		return
	}
	g.syncing = true
	defer func() { g.syncing = false }()
	if g.leader = nil; leader.pending() {
		g.leader = leader
	} else {
		g.say("Syncing instances to %s state", leader.state)
	}
	for _, m := range g.members {
		if m != leader && m.state != leader.state {
			m.join(now, leader, why)
		}
	}
	g.become(leader.state, leader.cfg.Name+": "+why)
}

// seen is the state that others are told of.
func (g *group) seen() State {
	if g.held != nil {
		return g.held.From
	}
	return g.state
}

// owners tells that all members own their addresses.
func (g *group) owners() bool {
	return !slices.ContainsFunc(g.members, func(m *Router) bool { return !m.owns() })
}

// settle makes the group's state that of its members after something else than one of them changed it.
func (g *group) settle(why string) {
	for _, state := range []State{Init, Backup, Master, Fault} {
		if g.state != state && g.all(state) {
			g.become(state, why)
		}
	}
}

func (g *group) become(to State, why string) {
	from := g.state
	if g.held != nil { // nobody was told of that one
		from, g.held = g.held.From, nil
	}
	g.state = to
	change := GroupChange{Group: g.name, From: from, To: to, Why: why}
	switch {
	case to == Master:
		g.held = &change
		g.confirmed()
	case from != to:
		g.queue.effects = append(g.queue.effects, change)
	}
}

// led tells that the others follow r, after what was told of r itself.
func (g *group) led(r *Router) {
	if g.leader == r {
		g.leader = nil
		g.say("Syncing instances to %s state", Master)
	}
}

// confirmed tells of a mastership once all members have their addresses.
func (g *group) confirmed() {
	if g.held == nil || slices.ContainsFunc(g.members, (*Router).pending) {
		return
	}
	g.queue.effects = append(g.queue.effects, *g.held)
	g.held = nil
}

func (g *group) say(format string, args ...any) {
	g.queue.effects = append(g.queue.effects, Say{Text: "VRRP_Group(" + g.name + ") " + fmt.Sprintf(format, args...)})
}

// join follows another member of the group into its state.
func (r *Router) join(now time.Time, leader *Router, why string) {
	because := fmt.Sprintf("sync group %s: %s went to %s: %s", r.group.name, leader.cfg.Name, leader.state, why)
	switch {
	case leader.state == Master && r.state == Backup:
		r.toMaster(now, because)
	case leader.state == Backup && r.state == Master:
		r.fallBack(now, because)
	case leader.state == Backup || leader.state == Fault:
		r.settleFaults(now, because)
	}
}

// fallBack gives up mastership without priority 0: whoever the group yielded to takes the others' part as well.
func (r *Router) fallBack(now time.Time, why string) {
	r.wants = false
	r.say("Entering BACKUP STATE")
	r.withdraw()
	r.setMaster(netip.Addr{}, 0)
	r.toBackup(now, why)
}

// Groups tells how the sync groups stand.
func (s *Speaker) Groups() []GroupStatus {
	var all []GroupStatus
	for _, g := range s.groups {
		st := GroupStatus{Name: g.name, State: g.seen()}
		for _, m := range g.members {
			st.Instances = append(st.Instances, m.cfg.Name)
		}
		all = append(all, st)
	}
	return all
}

// GroupStatus is a copy of what is known about a group.
type GroupStatus struct {
	Name      string
	State     State
	Instances []string
}
