package cli

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"vipd/internal/conf"
	"vipd/internal/health"
	"vipd/internal/lb"
	"vipd/internal/vrrp"
)

// rest compares what neither the instances nor the services have: settings of the whole daemon, scripts, groups, routes.
func (p *planner) rest(old, next *conf.Config) {
	p.settings("global_defs", leavesOf(old.Global), leavesOf(next.Global), func(c *change) {
		if slices.ContainsFunc(c.Fields, func(f field) bool { return strings.HasPrefix(f.Name, "timeouts") }) {
			c.Effects = []string{"connections that are there get the new timeout with their next packet"}
		}
	})
	named(p, "vrrp_sync_group", old.SyncGroups, next.SyncGroups, func(v conf.SyncGroup) string { return v.Name })
	named(p, "vrrp_script", old.Scripts, next.Scripts, func(v conf.VRRPScript) string { return v.Name })
	named(p, "track_file", old.TrackFiles, next.TrackFiles, func(v conf.TrackFile) string { return v.Name })
	named(p, "vrrp_track_process", old.TrackProcesses, next.TrackProcesses, func(v conf.TrackProcess) string { return v.Name })
	named(p, "bfd_instance", old.BFDs, next.BFDs, func(v conf.BFD) string { return v.Name })
	named(p, "track_group", old.TrackGroups, next.TrackGroups, func(v conf.TrackGroup) string { return v.Name })
	named(p, "virtual_server_group", old.ServiceGroups, next.ServiceGroups, func(v conf.ServiceGroup) string { return v.Name })
	named(p, "static_ipaddress", old.StaticAddresses, next.StaticAddresses, func(v conf.Address) string { return v.Prefix.String() + " " + v.Dev })
	named(p, "static_routes", old.StaticRoutes, next.StaticRoutes, func(v conf.Route) string { return fmt.Sprint(v.To, " ", v.Table, " ", v.Metric) })
	named(p, "static_rules", old.StaticRules, next.StaticRules, func(v conf.Rule) string { return fmt.Sprint(v.V6, v.Priority) })
	p.routersRest(old, next)
	p.serversRest(old, next)
}

// routersRest compares what package vrrp has no part in: scripts, routes, trackers, unicast peers.
func (p *planner) routersRest(old, next *conf.Config) {
	for _, n := range next.Routers {
		for _, o := range old.Routers {
			if routerKey(o.Config) == routerKey(n.Config) && o.V6 == n.V6 {
				p.settings("vrrp_instance "+n.Name, leavesOf(*o), leavesOf(*n), nil)
				break
			}
		}
	}
}

// serversRest compares what the packet path and the checks that are performed have no part in.
func (p *planner) serversRest(old, next *conf.Config) {
	before := map[string]*conf.VirtualServer{}
	for _, o := range old.VirtualServers {
		before[serverKey(o)] = o
	}
	for _, n := range next.VirtualServers {
		key := serverKey(n)
		o := before[key]
		delete(before, key)
		if o != nil {
			p.settings("virtual_server "+key, leavesOf(*o), leavesOf(*n), nil)
			p.realsRest(key, o.Servers, n.Servers)
		} else if n.Group != "" {
			p.add(change{Verb: "add", Kind: "setting", Name: "virtual_server " + key})
		}
	}
	for _, o := range old.VirtualServers {
		if o.Group != "" && before[serverKey(o)] != nil {
			p.add(change{Verb: "remove", Kind: "setting", Name: "virtual_server " + serverKey(o)})
		}
	}
}

func (p *planner) realsRest(service string, old, next []conf.RealServer) {
	for _, n := range next {
		for _, o := range old {
			if o.Addr == n.Addr {
				p.settings("real_server "+n.Addr.String()+" of "+service, leavesOf(o), leavesOf(n), nil)
			}
		}
	}
}

func serverKey(v *conf.VirtualServer) string {
	if v.Group != "" {
		return fmt.Sprintf("group %s %d", v.Group, v.Member)
	}
	return v.ServiceKey.String()
}

// named compares two lists of things that have names.
func named[T any](p *planner, kind string, old, next []T, name func(T) string) {
	index := func(list []T, v T) int {
		return slices.IndexFunc(list, func(o T) bool { return name(o) == name(v) })
	}
	for _, o := range old {
		if index(next, o) < 0 {
			p.add(change{Verb: "remove", Kind: "setting", Name: kind + " " + name(o)})
		}
	}
	for _, n := range next {
		if i := index(old, n); i < 0 {
			p.add(change{Verb: "add", Kind: "setting", Name: kind + " " + name(n)})
		} else {
			p.settings(kind+" "+name(n), leavesOf(old[i]), leavesOf(n), nil)
		}
	}
}

// settings adds a change of those leaves that differ.
func (p *planner) settings(name string, old, next []field, also func(*change)) {
	c := change{Verb: "change", Kind: "setting", Name: name}
	was := map[string]string{}
	for _, f := range old {
		was[f.Name] = f.To
	}
	for _, f := range next {
		from, ok := was[f.Name]
		if delete(was, f.Name); !ok {
			from = "none"
		}
		if from != f.To {
			c.Fields = append(c.Fields, field{f.Name, from, f.To})
		}
	}
	for _, f := range old {
		if _, gone := was[f.Name]; gone && f.To != "none" {
			c.Fields = append(c.Fields, field{f.Name, f.To, "none"})
		}
	}
	if len(c.Fields) == 0 {
		return
	}
	if also != nil {
		also(&c)
	}
	p.add(c)
}

// elsewhere are types that the rest of a plan compares better.
var elsewhere = map[reflect.Type]bool{reflect.TypeFor[[]conf.RealServer](): true, reflect.TypeFor[conf.Timing](): true, reflect.TypeFor[vrrp.Config](): true, reflect.TypeFor[health.Service](): true,
	reflect.TypeFor[health.Real](): true, reflect.TypeFor[lb.ServiceKey](): true}

// leavesOf gives every value in v that is no struct, in the words of the configuration: PATH and value, in To.
func leavesOf(v any) []field {
	var out []field
	walkLeaves(reflect.ValueOf(v), "", &out)
	return out
}

func walkLeaves(v reflect.Value, path string, out *[]field) {
	switch {
	case elsewhere[v.Type()], path == "addresses", path == "excluded_addresses", path == "v6", path == "source_set":
		return
	case v.Kind() == reflect.Pointer && v.IsNil():
		return
	case v.Type() == reflect.TypeFor[lb.Class]():
		*out = append(*out, field{Name: path, To: v.Interface().(lb.Class).String()})
		return
	case v.Kind() == reflect.Pointer:
		walkLeaves(v.Elem(), path, out)
		return
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		if v.Type().Elem() == reflect.TypeFor[conf.HealthCheck]() && performed(v) {
			return
		}
		for i := range v.Len() {
			walkLeaves(v.Index(i), fmt.Sprintf("%s %d", path, i+1), out)
		}
		return
	case v.Kind() != reflect.Struct || v.Type().PkgPath() == "net/netip":
		if v.CanInterface() {
			*out = append(*out, field{Name: path, To: secret(path, show(v.Interface()))})
		}
		return
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		name := strings.TrimSpace(path + " " + keywordNamed(f.Name))
		if f.Anonymous {
			name = path
		}
		walkLeaves(v.Field(i), name, out)
	}
}

// performed tells the checks of a real server that are compared with it.
func performed(checks reflect.Value) bool {
	for _, c := range checks.Interface().([]conf.HealthCheck) {
		if c.Kind == "BFD_CHECK" {
			return false
		}
	}
	return true
}

// secret hides what must not be on a screen, but not that it changes.
func secret(path, value string) string {
	if strings.Contains(path, "password") || strings.Contains(path, "hmac") {
		return fmt.Sprintf("(secret of %d characters)", len(value))
	}
	return value
}
