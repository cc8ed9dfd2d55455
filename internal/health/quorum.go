package health

import (
	"fmt"
	"time"
)

// alive is the weight of the real servers that are up, whether or not the sorry server displaces them.
func (s *service) alive() int64 {
	var sum int64
	for _, r := range s.reals {
		if r.alive {
			sum += int64(r.weight)
		}
	}
	return sum
}

// lost and gained are the two thresholds of the quorum: lost below the one, gained at the other. Weight 0 is always lost.
func (s *service) lost() int64   { return int64(s.cfg.Quorum) - int64(s.cfg.Hysteresis) }
func (s *service) gained() int64 { return int64(s.cfg.Quorum) + int64(s.cfg.Hysteresis) }

// updateQuorum compares the weight alive with the quorum and, where it was gained or lost, exchanges real servers and
// sorry server. init is a start or a reload: then a service that never had its quorum gets its sorry server too.
func (p *Pools) updateQuorum(now time.Time, s *service, init bool) {
	weight := s.alive()
	switch {
	case !s.quorumUp && weight >= s.gained():
		p.gain(now, s, weight, init)
	case s.quorumUp && (weight == 0 || weight < s.lost()),
		init && !s.quorumUp && s.cfg.Sorry != nil && !s.sorryUp:
		p.lose(now, s, weight, init)
	}
}

func (p *Pools) gain(now time.Time, s *service, weight int64, init bool) {
	sum := fmt.Sprintf("%d+%d=%d <= %d", s.cfg.Quorum, s.cfg.Hysteresis, s.gained(), weight)
	why := "Gained quorum " + sum
	p.say(s, nil, "%s for VS %s", why, s.name())
	if init { // keepalived: in its mails alone
		why = "Starting with quorum up " + sum
	}
	s.quorumUp, s.since = true, now
	if s.sorryUp {
		p.say(s, nil, "%s sorry server %s from VS %s", s.cfg.sorryVerb(false), s.endpoint(s.cfg.Sorry.Addr), s.name())
		p.say(s, nil, "Adding alive servers to the pool for VS %s", s.name())
		s.sorryUp = false
	}
	p.refresh(s)
	p.emit(QuorumUp{s.cfg.ServiceKey, why})
}

func (p *Pools) lose(now time.Time, s *service, weight int64, init bool) {
	event, threshold := "Lost quorum", s.lost()
	if init {
		event = "Starting with quorum down"
	}
	if !s.quorumUp {
		threshold = s.gained() // keepalived: prints this sum after the minus sign all the same
	}
	why := fmt.Sprintf("%s %d-%d=%d > %d", event, s.cfg.Quorum, s.cfg.Hysteresis, threshold, weight)
	p.say(s, nil, "%s for VS %s", why, s.name())
	s.quorumUp, s.since = false, now
	if s.cfg.Sorry != nil && !s.sorryUp {
		p.say(s, nil, "%s sorry server %s to VS %s", s.cfg.sorryVerb(true), s.endpoint(s.cfg.Sorry.Addr), s.name())
		p.say(s, nil, "Removing alive servers from the pool for VS %s", s.name())
		s.sorryUp = true
	}
	p.refresh(s)
	p.emit(QuorumDown{s.cfg.ServiceKey, why})
}

// sorryVerb is what happens to the sorry server: with sorry_server_inhibit it is listed all the time.
func (s Service) sorryVerb(in bool) string {
	switch {
	case in && s.SorryInhibit:
		return "Enabling"
	case in:
		return "Adding"
	case s.SorryInhibit:
		return "Disabling"
	}
	return "Removing"
}
