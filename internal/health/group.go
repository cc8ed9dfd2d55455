package health

import (
	"net/netip"
	"strings"

	"vipd/internal/lb"
)

// A virtual_server_group: several services of one set of real servers and checks. The machine has one service of it, the
// first member's; what leaves it is there for each member.

// members are the services that are made of s.
func (s *service) members() []lb.ServiceKey {
	if len(s.cfg.Members) == 0 {
		return []lb.ServiceKey{s.cfg.ServiceKey}
	}
	return s.cfg.Members
}

// memberReal is a real server as it stands in a member. Only NAT changes a port, so that the others have the member's, or
// with a firewall mark none; of NAT one without a port has the member's.
func (s Service) memberReal(key lb.ServiceKey, r lb.Real) lb.Real {
	port := key.Addr.Port()
	switch {
	case len(s.Members) == 0, r.Forward == lb.Masq && r.Addr.Port() != 0:
		return r
	case key.Mark != 0:
		port = 0
	}
	r.Addr = netip.AddrPortFrom(r.Addr.Addr(), port)
	return r
}

// memberPool is what a member should be in the plane.
func (s *service) memberPool(key lb.ServiceKey, want lb.Pool) lb.Pool {
	pool := lb.Pool{Service: want.Service}
	pool.Service.ServiceKey = key
	for _, r := range want.Reals {
		pool.Reals = append(pool.Reals, s.cfg.memberReal(key, r))
	}
	return pool
}

// memberStatus is what is known of a member.
func (s *service) memberStatus(key lb.ServiceKey, st ServiceStatus) ServiceStatus {
	st.Service.ServiceKey = key
	reals := make([]RealStatus, len(st.Reals))
	for i, r := range st.Reals {
		reals[i] = r
		reals[i].Real = s.cfg.memberReal(key, r.Real)
	}
	st.Reals = reals
	if st.Sorry != nil {
		sorry := s.cfg.memberReal(key, *st.Sorry)
		st.Sorry = &sorry
	}
	return st
}

// Each is every member as a service of its own; of one that is no group itself.
func (s Service) Each() []Service {
	if len(s.Members) == 0 {
		return []Service{s}
	}
	var all []Service
	for _, key := range s.Members {
		one := s
		one.ServiceKey, one.Members, one.Name, one.Reals = key, nil, "", nil
		for _, r := range s.Reals {
			r.Real = s.memberReal(key, r.Real)
			one.Reals = append(one.Reals, r)
		}
		if s.Sorry != nil {
			sorry := s.memberReal(key, *s.Sorry)
			one.Sorry = &sorry
		}
		all = append(all, one)
	}
	return all
}

// Group is the name of the virtual_server_group, or empty.
func (s Service) Group() string {
	if len(s.Members) == 0 {
		return ""
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(s.Name, "["), "]")
	return name
}
