package health

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"vipd/internal/lb"
)

// The operator's hand: what somebody has set for a real server, over what the file and the checks say. The checks go on
// beneath it: a server that fails leaves the pool as ever, and one that is well again comes back as the hand has it.
//
// keepalived: has none; it counts a weight of 0, which a MISC_CHECK may set, as nothing towards the quorum. So it is here:
// who drains the last server of a service loses its quorum, and the sorry server comes. The drained stay listed beside it
// with weight 0, so that their connections go on.

// HandDo is what the operator has done, by the name of the command.
type HandDo string

// The verbs. Ready takes the hand back, so no Hand has it.
const (
	Drain   HandDo = "drain"   // weight 0: connections go on, no new ones come
	Disable HandDo = "disable" // out of the pool
	Weigh   HandDo = "weight"  // another weight than the file's
)

// Hand is what holds one real server.
type Hand struct {
	Do      HandDo
	Weight  int32     // of Weigh: 0 to 65535, in place of what file and checks say
	Percent int32     // of Weigh: instead, 1 to 1000 hundredths of what they say. If zero, Weight counts.
	Since   time.Time // when it was set
	By      string    // who set it. If empty, it is not known.
}

// Held is a Hand and whom it holds. One whose real server is not configured waits until it is.
type Held struct {
	Service lb.ServiceKey
	Real    netip.AddrPort
	Hand
	Waits bool
}

type handKey struct {
	service lb.ServiceKey
	real    netip.AddrPort
}

// Errors of Hold and Release. Test with errors.Is.
var (
	ErrNoService = errors.New("no such service is configured")
	ErrNoReal    = errors.New("no such real server is configured")
	ErrNotHeld   = errors.New("no operator holds it")
)

// Check tells what is wrong with a hand.
func (h Hand) Check() error {
	switch {
	case h.Do != Drain && h.Do != Disable && h.Do != Weigh:
		return fmt.Errorf("%.40q: want drain, disable or weight", h.Do)
	case h.Do != Weigh && (h.Weight != 0 || h.Percent != 0):
		return fmt.Errorf("%s has no weight of its own", h.Do)
	case h.Weight < 0 || h.Weight > maxWeight:
		return fmt.Errorf("weight %d: want 0 to %d", h.Weight, maxWeight)
	case h.Percent < 0 || h.Percent > 1000:
		return fmt.Errorf("weight %d%%: want 1%% to 1000%%", h.Percent)
	case h.Weight != 0 && h.Percent != 0:
		return errors.New("a weight is a number or a part of the file's, not both")
	}
	return nil
}

func (h Hand) String() string {
	switch {
	case h.Do != Weigh:
		return string(h.Do)
	case h.Percent != 0:
		return fmt.Sprintf("weight %d%%", h.Percent)
	}
	return fmt.Sprintf("weight %d", h.Weight)
}

// quiesces tells whether no new connection comes by this hand. It may be nil.
func (h *Hand) quiesces() bool {
	return h != nil && (h.Do != Weigh || h.Weight == 0 && h.Percent == 0)
}

// weigh gives the weight of a server that has own without the hand, which may be nil.
func (h *Hand) weigh(own int32) int32 {
	switch {
	case h == nil:
		return own
	case h.Percent != 0 && own > 0:
		return int32(min(max((int64(own)*int64(h.Percent)+50)/100, 1), maxWeight))
	case h.Percent != 0:
		return 0
	}
	return h.Weight // 0 of those that drain and disable
}

// Restore tells, before Start, what an operator held when the process before ended.
func (p *Pools) Restore(all []Held) {
	for _, h := range all {
		p.hands[handKey{h.Service, h.Real}] = h.Hand
	}
	p.lay()
}

// lay puts the hands on the real servers of the configuration.
func (p *Pools) lay() {
	for _, s := range p.services {
		for _, r := range s.reals {
			r.hand = nil
			if k, held := p.holder(s, r); held {
				h := p.hands[k]
				r.hand = &h
			}
			r.weigh()
		}
	}
}

// holder finds by which name a real server is held: a group may have had another first member when that was done.
func (p *Pools) holder(s *service, r *real) (handKey, bool) {
	if len(p.hands) == 0 {
		return handKey{}, false
	}
	for _, key := range s.members() {
		for _, addr := range []netip.AddrPort{r.cfg.Addr, s.cfg.memberReal(key, r.cfg.Real).Addr} {
			if _, held := p.hands[handKey{key, addr}]; held {
				return handKey{key, addr}, true
			}
		}
	}
	return handKey{}, false
}

// Hold puts a hand on a real server, in place of the one that may be there. A member of a group stands for all of them,
// which share their real servers.
func (p *Pools) Hold(now time.Time, key lb.ServiceKey, addr netip.AddrPort, h Hand) error {
	s, r, err := p.named(key, addr)
	if err != nil {
		return err
	}
	if err := h.Check(); err != nil {
		return err
	}
	k, held := p.holder(s, r)
	if !held {
		k = handKey{s.cfg.ServiceKey, r.cfg.Addr}
	}
	p.hands[k] = h
	p.rehand(now, s, r, &h)
	return nil
}

// Release takes the hand back: file and checks count again.
func (p *Pools) Release(now time.Time, key lb.ServiceKey, addr netip.AddrPort) error {
	s, r, err := p.named(key, addr)
	if err != nil {
		if _, waits := p.hands[handKey{key, addr}]; waits {
			delete(p.hands, handKey{key, addr})
			return nil
		}
		return err
	}
	k, held := p.holder(s, r)
	if !held {
		return ErrNotHeld
	}
	delete(p.hands, k)
	p.rehand(now, s, r, nil)
	return nil
}

// rehand does what another hand on a real server means.
func (p *Pools) rehand(now time.Time, s *service, r *real, h *Hand) {
	was, listed := r.weight, s.listed(r)
	r.hand = h
	r.weigh()
	switch now := s.listed(r); {
	case listed && !now:
		p.say(s, r, "Removing service %s from VS %s", s.endpoint(r.cfg.Addr), s.name())
	case now && !listed:
		p.say(s, r, "Adding service %s to VS %s", s.endpoint(r.cfg.Addr), s.name())
	case r.weight != was:
		p.sayWeight(s, r, was)
	}
	p.updateQuorum(now, s, false)
	p.refresh(s)
}

// named finds a configured real server by the key of its service or of a member, and its address there.
func (p *Pools) named(key lb.ServiceKey, addr netip.AddrPort) (*service, *real, error) {
	for _, s := range p.services {
		if !slices.Contains(s.members(), key) {
			continue
		}
		for _, r := range s.reals {
			if r.cfg.Addr == addr || s.cfg.memberReal(key, r.cfg.Real).Addr == addr {
				return s, r, nil
			}
		}
		return nil, nil, ErrNoReal
	}
	return nil, nil, ErrNoService
}

// Held lists every hand, by service and real server.
func (p *Pools) Held() []Held {
	laid := map[handKey]bool{}
	for _, s := range p.services {
		for _, r := range s.reals {
			if k, held := p.holder(s, r); held {
				laid[k] = true
			}
		}
	}
	all := make([]Held, 0, len(p.hands))
	for k, h := range p.hands {
		all = append(all, Held{Service: k.service, Real: k.real, Hand: h, Waits: !laid[k]})
	}
	slices.SortFunc(all, func(a, b Held) int {
		return cmp.Or(cmp.Compare(a.Service.String(), b.Service.String()), a.Real.Compare(b.Real))
	})
	return all
}
