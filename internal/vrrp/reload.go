package vrrp

import (
	"fmt"
	"reflect"
	"slices"
	"time"
)

// Vacate takes addresses off the host that a reload has removed from an instance that holds its others.
type Vacate struct {
	Instance  string
	Interface string
	Addresses []Address
}

func (Vacate) effect() {}

// A reload is Retire, then Renew, then Add and Start of what Renew returns, with Take after each, so that every effect
// still finds its instance by name.
//
// keepalived: an instance is the same when its VRID, family, interface, kind (unicast or multicast) and source or group
// are; its name plays no part. It keeps its state, so a
// master stays master, and nothing is sent or set that did not change.

// Retire stops every instance that is not in cfgs. They stay known until Renew.
func (s *Speaker) Retire(now time.Time, cfgs []Config) {
	for _, r := range s.routers {
		if !slices.ContainsFunc(cfgs, r.is) {
			r.Stop(now)
		}
	}
}

// Renew gives the instances that stay their new configuration, forgets those that Retire stopped, and returns what is
// new. Its error is that of Acceptable; then nothing has changed.
func (s *Speaker) Renew(now time.Time, cfgs []Config) (fresh []Config, err error) {
	if err := Acceptable(cfgs); err != nil {
		return nil, err
	}
	s.routers = slices.DeleteFunc(s.routers, func(r *Router) bool { return !slices.ContainsFunc(cfgs, r.is) })
	clear(s.byName)
	clear(s.byVRID)
	for _, cfg := range cfgs {
		i := slices.IndexFunc(s.routers, func(r *Router) bool { return r.is(cfg) })
		if i < 0 {
			fresh = append(fresh, cfg)
			continue
		}
		r := s.routers[i]
		r.renew(now, cfg)
		s.index(r)
	}
	return fresh, nil
}

// Acceptable says what keeps cfgs from being the instances of one speaker.
func Acceptable(cfgs []Config) error {
	s := NewSpeaker()
	for _, cfg := range cfgs {
		if _, err := s.Add(cfg); err != nil {
			return fmt.Errorf("reload: %w", err)
		}
	}
	return nil
}

func (r *Router) is(cfg Config) bool {
	cfg, _ = cfg.Normal()
	old := r.cfg
	same := old.VRID == cfg.VRID && old.Interface == cfg.Interface && old.Wire == cfg.Wire && old.V6 == cfg.V6 && old.Unicast == cfg.Unicast && old.VRF == cfg.VRF && old.Defect == cfg.Defect
	if cfg.Unicast {
		return same && old.Source == cfg.Source
	}
	return same && old.McastDst == cfg.McastDst
}

// renew changes the configuration of a running instance.
func (r *Router) renew(now time.Time, cfg Config) {
	cfg, _ = cfg.Normal()
	old := r.cfg
	if reflect.DeepEqual(cfg, old) {
		return
	}
	r.configure(cfg)
	if r.state == Master && !r.pending() && cfg.GarpExtra != old.GarpExtra {
		r.planExtra(now)
	}
	r.renewAddresses(all(old), all(cfg))
	switch {
	case r.state == Master:
		r.setMaster(r.source, r.priority)
		if !r.asked.mute {
			r.advertAt = now // what adverts say may have changed: the peers hear it at once
		}
	case r.state == Backup && cfg.AdvertInt != old.AdvertInt:
		r.interval = cfg.AdvertInt
		r.waitForMaster(now)
	}
}

// renewAddresses sets what is new and removes what is gone, and touches nothing else.
func (r *Router) renewAddresses(old, now []Address) {
	gone := slices.DeleteFunc(slices.Clone(old), func(a Address) bool { return slices.Contains(now, a) })
	added := slices.DeleteFunc(slices.Clone(now), func(a Address) bool { return slices.Contains(old, a) })
	if r.holding && len(gone) > 0 {
		r.emit(Vacate{Instance: r.cfg.Name, Interface: r.cfg.Interface, Addresses: gone})
	}
	if r.state != Master || len(added) == 0 {
		return
	}
	r.say("setting VIPs.")
	if r.pending() { // the answer is to be about the new ones too
		r.terms++
		r.asked.term = r.terms
		r.emit(AddAddresses{Instance: r.cfg.Name, Term: r.terms})
		return
	}
	r.emit(AddAddresses{Instance: r.cfg.Name})
	r.emit(Announce{Instance: r.cfg.Name, Repeat: r.cfg.GarpMasterRepeat, Targets: r.cfg.targets(added)})
}

// all are the addresses that an instance holds.
func all(cfg Config) []Address { return append(slices.Clone(cfg.VIPs), cfg.Excluded...) }
