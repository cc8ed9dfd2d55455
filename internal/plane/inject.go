package plane

import (
	"net/netip"
	"slices"

	"vipd/internal/lb"
)

// What a test does to a Memory: look at what was applied, let it fail, make traffic.

// Applied returns every op that was done, in order, since the last call.
func (m *Memory) Applied() []Op {
	m.mu.Lock()
	defer m.mu.Unlock()
	ops := m.applied
	m.applied = nil
	return ops
}

// Fail makes Apply ask fail before each op; an error stops it there. Nil ends that.
func (m *Memory) Fail(fail func(Op) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = fail
}

// FailRead makes Read return err. Nil ends that.
func (m *Memory) FailRead(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.readErr = err
}

// Closed reports whether Close was called.
func (m *Memory) Closed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

// Connect puts a connection or template of service k into the table and counts it at its real server c.Real: a TCP one
// in an active state as active, another as inactive. It returns ErrNoService or ErrNoReal.
func (m *Memory) Connect(k lb.ServiceKey, c lb.Conn) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, r, err := m.target(k, c.Real)
	if err != nil {
		return err
	}
	m.conns = append(m.conns, memoryConn{k, c})
	*gauge(r, c)++
	if !c.Template {
		p.Total.Conns++
		r.Total.Conns++
	}
	return nil
}

// Disconnect ends every connection that match accepts, also those of removed real servers.
func (m *Memory) Disconnect(match func(lb.Conn) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns = slices.DeleteFunc(m.conns, func(c memoryConn) bool {
		if !match(c.Conn) {
			return false
		}
		m.release(c)
		return true
	})
}

func (m *Memory) release(c memoryConn) {
	if _, r, err := m.target(c.service, c.Real); err == nil {
		*gauge(r, c.Conn)--
		return
	}
	key := goneKey{c.service, c.Real}
	r, ok := m.gone[key]
	if !ok {
		return
	}
	*gauge(&r, c.Conn)--
	if m.gone[key] = r; r.Active+r.Inactive+r.Persist == 0 {
		delete(m.gone, key)
	}
}

// Count adds to the counters of a service and of its real server rs, as packets would.
func (m *Memory) Count(k lb.ServiceKey, rs netip.AddrPort, add lb.Counters) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, r, err := m.target(k, rs)
	if err != nil {
		return err
	}
	p.Total, r.Total = p.Total.Add(add), r.Total.Add(add)
	return nil
}

// SetRates sets the rates of a service and of its real server rs.
func (m *Memory) SetRates(k lb.ServiceKey, rs netip.AddrPort, rates lb.Rates) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, r, err := m.target(k, rs)
	if err != nil {
		return err
	}
	p.Rate, r.Rate = rates, rates
	return nil
}

func (m *Memory) target(k lb.ServiceKey, rs netip.AddrPort) (*Pool, *Real, error) {
	at := m.find(k)
	if at < 0 {
		return nil, nil, ErrNoService
	}
	p := m.pools[at]
	i := slices.IndexFunc(p.Reals, func(r Real) bool { return r.Addr == rs })
	if i < 0 {
		return nil, nil, ErrNoReal
	}
	return p, &p.Reals[i], nil
}

// gauge is the count of r that c belongs to.
func gauge(r *Real, c lb.Conn) *uint32 {
	switch {
	case c.Template:
		return &r.Persist
	case c.Active():
		return &r.Active
	}
	return &r.Inactive
}

// SetMTU says how large the packets of an interface are; 0: the host has none of this name.
func (m *Memory) SetMTU(name string, mtu int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mtus[name] = mtu
}
