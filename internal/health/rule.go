package health

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"vipd/internal/lb"
)

// Rule is a kind of reason for what a real server gets.
type Rule string

// The rules.
const (
	RuleOperator  Rule = "operator"   // an operator's hand
	RuleCheck     Rule = "check"      // what its checkers found
	RuleAlpha     Rule = "alpha"      // it is down until a check succeeds
	RuleRestart   Rule = "restart"    // it was down when the process before ended, until a check succeeds
	RuleQuorum    Rule = "quorum"     // its service has lost the quorum; the sorry server stands in
	RuleInhibit   Rule = "inhibit"    // inhibit_on_failure: it stays listed with weight 0
	RuleMaxEject  Rule = "max_eject"  // its checks fail, and too many others are out already
	RuleSlowStart Rule = "slow_start" // its weight grows since it came back
	RuleSuspend   Rule = "suspend"    // ha_suspend: it is not checked, and what was known stays
	RulePeer      Rule = "peer"       // what another director found: this one has found nothing yet
	RuleWeight    Rule = "weight"     // the weight of the file, with what checks add
)

// Ruling is what one rule says of a real server.
type Ruling struct {
	Rule  Rule
	Says  string // in one clause
	Since time.Time
}

// rules, the strongest first: the first one that has something to say decides what a real server gets, the others say what
// would count without it. A new rule is a row here.
var rules = []func(now time.Time, s *service, r *real) (Ruling, bool){ruleDisabled, ruleDown, ruleInhibit, ruleQuorum, ruleHand, ruleKept, ruleRamp, ruleWeight, ruleUp, ruleSuspended}

func (s *service) rulings(now time.Time, r *real) (all []Ruling) {
	for _, rule := range rules {
		if says, ok := rule(now, s, r); ok {
			all = append(all, says)
		}
	}
	return all
}

func ruleDisabled(_ time.Time, _ *service, r *real) (Ruling, bool) {
	if !r.disabled() {
		return Ruling{}, false
	}
	return Ruling{RuleOperator, "disabled" + by(r.hand) + ": out of the pool", r.hand.Since}, true
}

func by(h *Hand) string {
	if h.By == "" {
		return ""
	}
	return " by " + h.By
}

func ruleDown(_ time.Time, _ *service, r *real) (Ruling, bool) {
	if r.alive {
		return Ruling{}, false
	}
	rule := RuleCheck
	switch {
	case slices.ContainsFunc(r.checks, func(c *check) bool { return c.ran && !c.up && !c.adopted }):
	case slices.ContainsFunc(r.checks, func(c *check) bool { return c.adopted && !c.up }):
		rule = RulePeer
	case r.adoptedDown:
		rule = RuleRestart
	default:
		rule = RuleAlpha
	}
	return Ruling{rule, strings.TrimPrefix(r.why, string(RuleAlpha)+": "), r.since}, true
}

func ruleInhibit(_ time.Time, _ *service, r *real) (Ruling, bool) {
	if r.alive || r.disabled() || !r.cfg.InhibitOnFailure {
		return Ruling{}, false
	}
	return Ruling{RuleInhibit, "inhibit_on_failure: it stays listed with weight 0, and its connections go on", r.since}, true
}

func ruleQuorum(_ time.Time, s *service, r *real) (Ruling, bool) {
	if s.quorumUp {
		return Ruling{}, false
	}
	says := fmt.Sprintf("the service has lost its quorum: weight %d is alive, %d is needed", s.alive(), s.gained())
	switch {
	case s.sorryUp:
		return Ruling{RuleQuorum, says + "; the sorry server " + s.cfg.Sorry.Addr.String() + " stands in", s.since}, true
	case !r.alive:
		return Ruling{RuleQuorum, says, s.since}, true
	}
	return Ruling{}, false // without a sorry server those that are up go on
}

func ruleHand(_ time.Time, _ *service, r *real) (Ruling, bool) {
	switch {
	case r.hand == nil || r.disabled():
		return Ruling{}, false
	case r.hand.Do == Drain:
		return Ruling{RuleOperator, "drained" + by(r.hand) + ": weight 0, its connections go on", r.hand.Since}, true
	}
	return Ruling{RuleOperator, r.hand.String() + by(r.hand), r.hand.Since}, true
}

func ruleWeight(_ time.Time, _ *service, r *real) (Ruling, bool) {
	own := r.cfg.Weight
	added := 0
	for _, c := range r.checks {
		added += c.weight
	}
	switch {
	case added != 0:
		return Ruling{RuleWeight, fmt.Sprintf("weight %d of the file and %+d of its checks", own, added), r.since}, true
	case own == 0:
		return Ruling{RuleWeight, "weight 0 in the file: no new connections", r.since}, true
	}
	return Ruling{}, false
}

func ruleUp(_ time.Time, _ *service, r *real) (Ruling, bool) {
	rule := RuleCheck
	if slices.ContainsFunc(r.checks, func(c *check) bool { return c.adopted && c.up }) {
		rule = RulePeer
	}
	return Ruling{rule, r.why, r.since}, r.alive
}

func ruleSuspended(_ time.Time, s *service, _ *real) (Ruling, bool) {
	return Ruling{RuleSuspend, "ha_suspend: this host has none of the service's addresses, so it is not checked; what was known stays", s.since}, s.idle
}

// Explanation is what is known of one service, with the reasons.
type Explanation struct {
	ServiceStatus
	Gained, Lost int64 // the weight at which the quorum is gained, and that below which it is lost
	// Rulings are those of each real server of Reals; the first one decides.
	Rulings [][]Ruling
}

// Explain tells why the service of this key, or the group of which it is a member, is as it is. false: there is none.
func (p *Pools) Explain(now time.Time, key lb.ServiceKey) (e Explanation, ok bool) {
	for _, s := range p.services {
		if !slices.Contains(s.members(), key) {
			continue
		}
		e = Explanation{ServiceStatus: s.memberStatus(key, s.status()), Gained: s.gained(), Lost: s.lost()}
		for _, r := range s.reals {
			e.Rulings = append(e.Rulings, s.rulings(now, r))
		}
		return e, true
	}
	return e, false
}
