package daemon

import (
	"fmt"
	"strings"

	"vipd/internal/conf"
)

// routeTexts are routes as keepalived shows them.
func routeTexts(list []conf.Route) (out []string) {
	for _, r := range list {
		w := []string{"prepend"}
		add := func(on bool, words ...string) {
			if on {
				w = append(w, words...)
			}
		}
		add(r.Type != "" && r.Type != "unicast", r.Type)
		add(true, r.To)
		add(r.Source.IsValid(), "src", r.Source.String())
		add(r.Via.IsValid(), "via", pick(r.Via.Is6(), "inet6", "inet"), r.Via.String())
		add(r.Dev != "", "dev", r.Dev)
		add(r.Table != "" && r.Table != "main" && r.Table != "254", "table", r.Table)
		add(true, "proto", "18")
		add(r.Scope != "", "scope", scopeNumber(r.Scope))
		add(r.Metric != 0, "metric", fmt.Sprint(r.Metric))
		add(r.OnLink, "onlink")
		for _, o := range r.Options {
			add(true, o[0])
			add(o[1] != "", o[1])
		}
		for _, n := range r.Nexthops {
			add(true, "nexthop")
			add(n.Via.IsValid(), "via", pick(n.Via.Is6(), "inet6", "inet"), n.Via.String())
			add(n.Dev != "", "dev", n.Dev)
			add(n.Weight > 1, "weight", fmt.Sprint(n.Weight))
			add(n.OnLink, "onlink")
		}
		out = append(out, strings.Join(w, " "))
	}
	return out
}

// scopeNumber is a scope as rtnetlink(7) numbers it.
func scopeNumber(name string) string {
	if n, ok := map[string]string{"global": "0", "site": "200", "link": "253", "host": "254", "nowhere": "255"}[name]; ok {
		return n
	}
	return name
}

// ruleTexts are policy rules as keepalived shows them.
func ruleTexts(list []conf.Rule) (out []string) {
	for _, r := range list {
		var w []string
		add := func(on bool, words ...string) {
			if on {
				w = append(w, words...)
			}
		}
		add(r.Not, "not")
		add(true, pick(r.V6, "inet6", "inet"))
		add(r.PrioritySet, "priority", fmt.Sprint(r.Priority))
		add(r.From != "", "from", r.From)
		add(r.From == "", "from", "all")
		add(r.To != "", "to", r.To)
		add(r.In != "", "dev", r.In)
		add(r.Out != "", "oif", r.Out)
		for _, o := range r.Options {
			add(true, o[0])
			add(o[1] != "", o[1])
		}
		switch r.Action {
		case "goto":
			add(true, "goto", fmt.Sprint(r.Goto))
		case "", "table":
			add(true, "lookup", r.Table)
		default:
			add(true, r.Action)
		}
		add(r.NoTrack, "no_track")
		out = append(out, strings.Join(w, " "))
	}
	return out
}
