package cli

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"vipd/internal/conf"
	"vipd/internal/control"
	"vipd/internal/health"
	"vipd/internal/lb"
	"vipd/internal/plane"
	"vipd/internal/vrrp"
)

// change is one difference between two configurations and what it means for what runs.
type change struct {
	Verb    string   `json:"verb"` // add, remove, change, or refuse: it is in the file, and this version does not do it
	Kind    string   `json:"kind"` // instance, address, service, real, or setting: anything else
	Name    string   `json:"name"`
	In      string   `json:"in,omitempty"`      // the service or instance that it belongs to
	Fields  []field  `json:"fields,omitempty"`  // of a change
	Effects []string `json:"effects,omitempty"` // in sentences
	// Connections are live ones on a real server or service that goes away. -1: not known.
	Connections int64 `json:"connections"`
}

type field struct {
	Name string `json:"name"`
	From string `json:"from"`
	To   string `json:"to"`
}

// compare lists what a reload from one configuration to the other would do. status may be nil: then nothing is said of
// what runs. refuses may be nil too.
func compare(old, next *conf.Config, status *control.Status, refuses func(lb.Service, []lb.Real) error) []change {
	before, _ := runnable(old.Instances)
	after, left := runnable(next.Instances)
	p := &planner{live: map[string]control.Real{}, routers: map[string]control.Router{}, known: status != nil, refuses: refuses}
	if status != nil {
		p.learn(status)
	}
	p.instances(before, after)
	p.changes = append(p.changes, left...)
	p.services(eachService(old.Health.Services), eachService(next.Health.Services))
	p.rest(old, next)
	return p.changes
}

// runnable leaves out the instances that this version cannot run, as a daemon does, and says so.
func runnable(all []vrrp.Config) (list []vrrp.Config, left []change) {
	for _, c := range all {
		if err := c.Check(); err != nil {
			left = append(left, change{Verb: "refuse", Kind: "instance", Name: c.Name, Effects: []string{"left out by this version: " + err.Error() + "; nobody holds its addresses here"}})
			continue
		}
		list = append(list, c)
	}
	return list, left
}

type planner struct {
	known   bool
	refuses func(lb.Service, []lb.Real) error // what the packet path cannot have; nil: it is not known
	live    map[string]control.Real           // by service and real server
	routers map[string]control.Router
	changes []change
}

func (p *planner) learn(status *control.Status) {
	for _, s := range status.Services {
		for _, r := range s.Reals {
			p.live[s.Name+" "+r.Addr.String()] = r
		}
	}
	for _, r := range status.VRRP {
		p.routers[fmt.Sprintf("%s/%d", r.Interface, r.VRID)] = r
	}
}

// routerKey is what makes an instance the same after a reload.
func routerKey(c vrrp.Config) string { return fmt.Sprintf("%s/%d", c.Interface, c.VRID) }

func (p *planner) add(c change) { p.changes = append(p.changes, c) }

// ---- instances

func (p *planner) instances(old, next []vrrp.Config) {
	same := func(a vrrp.Config) func(vrrp.Config) bool {
		return func(b vrrp.Config) bool { return routerKey(a) == routerKey(b) }
	}
	for _, o := range old {
		if !slices.ContainsFunc(next, same(o)) {
			p.add(change{Verb: "remove", Kind: "instance", Name: o.Name, Effects: p.leaving(o)})
		}
	}
	for _, n := range next {
		i := slices.IndexFunc(old, same(n))
		if i < 0 {
			p.add(change{Verb: "add", Kind: "instance", Name: n.Name, Effects: []string{"starts as BACKUP; nothing else moves"}})
			continue
		}
		p.instance(old[i], n)
	}
}

func (p *planner) leaving(o vrrp.Config) []string {
	if r, ok := p.routers[routerKey(o)]; ok && r.State == "MASTER" {
		return []string{"it is MASTER here: priority 0 is sent, its addresses go, a backup takes over"}
	}
	return nil
}

func (p *planner) instance(old, next vrrp.Config) {
	old, _ = old.Normal()
	next, _ = next.Normal()
	c := change{Verb: "change", Kind: "instance", Name: next.Name, Fields: fieldsOf(old, next, "VIPs", "Excluded", "AuthPass", "InitialMaster")}
	if old.AuthPass != next.AuthPass {
		c.Fields = append(c.Fields, field{"auth_pass", "(secret)", "(another)"})
	}
	if old.InitialMaster != next.InitialMaster {
		c.Fields = append(c.Fields, field{"state", stateOf(old), stateOf(next)})
	}
	if len(c.Fields) > 0 {
		c.Effects = p.instanceEffects(old, next)
		p.add(c)
	}
	master := p.routers[routerKey(next)].State == "MASTER"
	before, after := append(slices.Clone(old.VIPs), old.Excluded...), append(slices.Clone(next.VIPs), next.Excluded...)
	for _, a := range before {
		if !slices.Contains(after, a) {
			p.add(change{Verb: "remove", Kind: "address", Name: a.Prefix.String(), In: next.Name, Effects: effects(master, "it is here now, and nothing answers for it any more")})
		}
	}
	for _, a := range after {
		if !slices.Contains(before, a) {
			p.add(change{Verb: "add", Kind: "address", Name: a.Prefix.String(), In: next.Name, Effects: effects(master, "it comes here at once, since this director is MASTER, and is announced")})
		}
	}
}

func effects(apply bool, text string) []string {
	if apply {
		return []string{text}
	}
	return nil
}

// stateOf is the state line of an instance.
func stateOf(c vrrp.Config) string {
	if c.InitialMaster {
		return "MASTER"
	}
	return "BACKUP"
}

// instanceEffects says whether mastership would move, as far as one director can know.
func (p *planner) instanceEffects(old, next vrrp.Config) (all []string) {
	r, running := p.routers[routerKey(next)]
	master := running && r.State == "MASTER"
	switch {
	case next.Priority < old.Priority && master:
		all = append(all, fmt.Sprintf("it is MASTER here and stays so unless a backup that may preempt has a priority above %d", next.Priority))
	case next.Priority > old.Priority && running && !master && !next.NoPreempt:
		all = append(all, fmt.Sprintf("it is %s here and takes over if the master's priority is below %d", r.State, next.Priority))
	}
	if old.InitialMaster != next.InitialMaster && running && next.Priority == old.Priority {
		all = append(all, fmt.Sprintf("it stays %s: the state is that of the start only", r.State))
	}
	if next.AdvertInt != old.AdvertInt || next.AuthType != old.AuthType || next.AuthPass != old.AuthPass {
		all = append(all, "peers refuse our adverts until they have the same: change both directors together")
	}
	if old.Name != next.Name {
		all = append(all, "only the name changes for it: an instance is known by interface and virtual_router_id")
	}
	return all
}

// fieldsOf compares two structs field by field, but for those named in skip and those that are structs themselves.
func fieldsOf(old, next any, skip ...string) (all []field) {
	o, n := reflect.ValueOf(old), reflect.ValueOf(next)
	for i := range o.NumField() {
		name := o.Type().Field(i).Name
		if slices.Contains(skip, name) || reflect.DeepEqual(o.Field(i).Interface(), n.Field(i).Interface()) {
			continue
		}
		all = append(all, field{keywordNamed(name), show(o.Field(i).Interface()), show(n.Field(i).Interface())})
	}
	return all
}

func show(v any) string {
	switch v := v.(type) {
	case time.Duration:
		return v.String()
	case netip.Addr:
		if !v.IsValid() {
			return "none"
		}
	case bool:
		return map[bool]string{true: "on", false: "off"}[v]
	case lb.Forward:
		return map[lb.Forward]string{lb.Masq: "NAT", lb.Route: "DR", lb.Tunnel: "TUN"}[v]
	case vrrp.AuthType:
		return map[vrrp.AuthType]string{vrrp.AuthNone: "none", vrrp.AuthPass: "PASS", vrrp.AuthAH: "AH"}[v]
	case string:
		if v == "" {
			return "none"
		}
	case netip.AddrPort:
		if !v.IsValid() {
			return "none"
		}
	case []string:
		if len(v) > 0 {
			return strings.Join(v, " ")
		}
		return "none"
	case []health.Checker:
		var all []string
		for _, c := range v {
			text := fmt.Sprintf("%s %s timeout %s every %s retry %d after %s", c.Kind, c.Target, c.ConnectTimeout, c.DelayLoop, c.Retry, c.DelayBeforeRetry)
			if more := c.Particulars(); more != "" {
				text += " " + more
			}
			all = append(all, text)
		}
		if len(all) == 0 {
			return "none"
		}
		return strings.Join(all, " and ")
	case *lb.Real:
		if v == nil {
			return "none"
		}
		return v.Addr.String()
	}
	return fmt.Sprint(v)
}

// ---- services

func (p *planner) services(old, next []health.Service) {
	at := func(list []health.Service) map[lb.ServiceKey]int {
		m := make(map[lb.ServiceKey]int, len(list))
		for i, s := range list {
			m[s.ServiceKey] = i
		}
		return m
	}
	before, after := at(old), at(next)
	for _, o := range old {
		if _, stays := after[o.ServiceKey]; !stays {
			c := change{Verb: "remove", Kind: "service", Name: o.ServiceKey.String(), Connections: p.unknown()}
			for _, r := range o.Reals {
				if n := p.connections(o.ServiceKey, r.Addr); n > 0 {
					c.Connections += n
				}
			}
			c.Effects = goneEffects(c.Connections)
			p.add(c)
		}
	}
	for _, n := range next {
		if i, was := before[n.ServiceKey]; was {
			p.service(old[i], n)
			continue
		}
		p.add(change{Verb: "add", Kind: "service", Name: n.ServiceKey.String(), Effects: append([]string{"with " + countOf(len(n.Reals), "real server")}, p.refusal(n)...)})
	}
}

func (p *planner) unknown() int64 {
	if p.known {
		return 0
	}
	return -1
}

// connections of a real server, or -1 if it is not known.
func (p *planner) connections(s lb.ServiceKey, r netip.AddrPort) int64 {
	if live, ok := p.live[s.String()+" "+r.String()]; ok {
		return int64(live.Active) + int64(live.Inactive)
	}
	return p.unknown()
}

func goneEffects(connections int64) []string {
	switch {
	case connections > 0:
		return []string{fmt.Sprintf("%d live connections are on it: their packets are dropped until it comes back or they end", connections)}
	case connections == 0:
		return []string{"no live connection is on it"}
	}
	return nil
}

func (p *planner) service(old, next health.Service) {
	c := change{Verb: "change", Kind: "service", Name: next.ServiceKey.String()}
	c.Fields = append(fieldsOf(plane.Normal(old.Service), plane.Normal(next.Service), "ServiceKey"), fieldsOf(old, next, "Service", "Reals")...)
	if rows, of := hashRows(old, next); rows > 0 {
		c.Effects = []string{fmt.Sprintf("%d of %d rows of the %s table change: new connections of %s go elsewhere", rows, of, hashOf[next.Scheduler][0], hashOf[next.Scheduler][1])}
	}
	if len(c.Fields)+len(c.Effects) > 0 {
		c.Effects = append(c.Effects, p.refusal(next)...)
		p.add(c)
	}
	find := func(list []health.Real, a netip.AddrPort) int {
		return slices.IndexFunc(list, func(r health.Real) bool { return r.Addr == a })
	}
	for _, o := range old.Reals {
		if find(next.Reals, o.Addr) < 0 {
			n := p.connections(old.ServiceKey, o.Addr)
			p.add(change{Verb: "remove", Kind: "real", Name: o.Addr.String(), In: c.Name, Connections: n, Effects: append(goneEffects(n), p.heldEffects(old.ServiceKey, o.Addr, "waits for its return")...)})
		}
	}
	for _, n := range next.Reals {
		i := find(old.Reals, n.Addr)
		if i < 0 {
			p.add(change{Verb: "add", Kind: "real", Name: n.Addr.String(), In: c.Name})
			continue
		}
		if f := append(fieldsOf(old.Reals[i].Real, n.Real), fieldsOf(old.Reals[i], n, "Real")...); len(f) > 0 {
			p.add(change{Verb: "change", Kind: "real", Name: n.Addr.String(), In: c.Name, Fields: f, Effects: p.realEffects(old, old.Reals[i], n)})
		}
	}
}

// heldEffects say what becomes of an operator's hand on a real server.
func (p *planner) heldEffects(s lb.ServiceKey, r netip.AddrPort, what string) []string {
	h := p.live[s.String()+" "+r.String()].Operator
	if h == nil {
		return nil
	}
	return []string{fmt.Sprintf("the operator's %s %s until vipd ready", h, what)}
}

func (p *planner) realEffects(s health.Service, old, next health.Real) []string {
	if held := p.heldEffects(s.ServiceKey, next.Addr, "holds"); held != nil {
		return held
	}
	if next.Weight != 0 || old.Weight == 0 {
		return nil
	}
	if n := p.connections(s.ServiceKey, next.Addr); n > 0 {
		return []string{fmt.Sprintf("it gets no new connections; %d live ones go on", n)}
	}
	return []string{"it gets no new connections"}
}

// refusal says why the packet path cannot have a service.
func (p *planner) refusal(s health.Service) []string {
	if p.refuses == nil {
		return nil
	}
	reals := make([]lb.Real, len(s.Reals))
	for i := range s.Reals {
		reals[i] = s.Reals[i].Real
	}
	if err := p.refuses(s.Service, reals); err != nil {
		return []string{"it is not forwarded by this version: " + err.Error() + "; a reload goes on without it, an apply goes back"}
	}
	return nil
}

// hashRows counts the rows of the scheduler's table that would have another real server, of how many, if both use the same.
func hashRows(old, next health.Service) (n, of int) {
	if _, hashes := hashOf[old.Scheduler]; old.Scheduler != next.Scheduler || !hashes {
		return 0, 0
	}
	before, after := hashTable(old), hashTable(next)
	of = max(len(before), len(after))
	for i := range of {
		if rowOf(before, i) != rowOf(after, i) {
			n++
		}
	}
	return n, of
}

// rowOf is row i, or no real server where there is no table.
func rowOf(rows []netip.AddrPort, i int) netip.AddrPort {
	if i < len(rows) {
		return rows[i]
	}
	return netip.AddrPort{}
}

// hashOf names the table of a scheduler and whom a row is for.
var hashOf = map[string][2]string{"sh": {"source-hash", "those clients"}, "dh": {"destination-hash", "clients to those addresses"},
	"mh": {"Maglev", "those clients"}}

// hashTable is the table by address, as a plane fills it: newest server first. None without real servers.
func hashTable(s health.Service) (rows []netip.AddrPort) {
	reals := slices.Clone(s.Reals)
	slices.Reverse(reals)
	weights := make([]int32, len(reals))
	maglev := make([]plane.MaglevReal, len(reals))
	for i, r := range reals {
		weights[i] = r.Weight
		if s.Scheduler == "dh" {
			weights[i] = 1 // it knows no weights
		}
		maglev[i] = plane.MaglevReal{Addr: r.Addr, Weight: r.Weight}
	}
	if len(reals) == 0 {
		return nil
	}
	hashed := plane.SourceHash(weights)
	table := hashed[:]
	if s.Scheduler == "mh" {
		table = plane.Maglev(s.Is6(), maglev)
	}
	rows = make([]netip.AddrPort, len(table))
	for i, index := range table {
		if index >= 0 {
			rows[i] = reals[index].Addr
		}
	}
	return rows
}

// line is a change for a person.
func (c change) line() string {
	sign := map[string]string{"add": "+", "remove": "-", "change": "~", "refuse": "!"}[c.Verb]
	text := fmt.Sprintf("%s %s %s", sign, c.Kind, c.Name)
	if c.In != "" {
		text += " of " + c.In
	}
	var parts []string
	for _, f := range c.Fields {
		parts = append(parts, fmt.Sprintf("%s %s → %s", f.Name, f.From, f.To))
	}
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	return text
}

// eachService has a service for each member of a group.
func eachService(list []health.Service) (all []health.Service) {
	for _, s := range list {
		all = append(all, s.Each()...)
	}
	return all
}
