package plane

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"vipd/internal/lb"
)

// Memory is a complete plane that forwards nothing: the fake of daemon tests and the first subject of planetest. Unlike
// the contract it may be called from several goroutines, so that a test can look and inject while a daemon uses it.
type Memory struct {
	mu       sync.Mutex
	pools    []*Pool
	gone     map[goneKey]Real // removed while connections referred to them
	conns    []memoryConn
	timeouts lb.Timeouts
	settings map[string]uint32
	classes  []lb.Class
	applied  []Op
	fail     func(Op) error
	readErr  error
	closed   bool
	syncs    SyncHalves
	mtus     map[string]int // of interfaces, as SetMTU says
}

// goneKey identifies a removed real server as IPVS does: by the service's identity, not by the service.
type goneKey struct {
	service lb.ServiceKey
	real    netip.AddrPort
}

type memoryConn struct {
	service lb.ServiceKey
	lb.Conn
}

var (
	_ Plane      = (*Memory)(nil)
	_ Tuner      = (*Memory)(nil)
	_ Classifier = (*Memory)(nil)
	_ Syncer     = (*Memory)(nil)
)

// NewMemory returns an empty plane with the default timeouts.
func NewMemory() *Memory {
	m := &Memory{gone: map[goneKey]Real{}, timeouts: lb.DefaultTimeouts, settings: map[string]uint32{}, mtus: map[string]int{}}
	for _, s := range Settings {
		m.settings[s.Name] = s.Default
	}
	return m
}

// Read returns copies.
func (m *Memory) Read() ([]Pool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.readErr != nil {
		return nil, m.readErr
	}
	out := make([]Pool, 0, len(m.pools))
	for _, p := range m.pools {
		c := *p
		c.Reals = slices.Clone(p.Reals)
		out = append(out, c)
	}
	return out, nil
}

// Apply executes ops and records those that were done.
func (m *Memory) Apply(ops []Op) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, op := range ops {
		if m.fail != nil {
			if err := m.fail(op); err != nil {
				return fmt.Errorf("%s: %w", op, err)
			}
		}
		if err := m.do(op); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		m.applied = append(m.applied, op)
	}
	return nil
}

func (m *Memory) do(op Op) error {
	at := m.find(op.Service.ServiceKey)
	if op.Verb == AddService {
		return m.addService(at, op.Service)
	}
	if at < 0 {
		return ErrNoService
	}
	switch op.Verb {
	case EditService:
		return m.editService(m.pools[at], op.Service)
	case DelService:
		for _, r := range m.pools[at].Reals {
			m.trash(op.Service.ServiceKey, r)
		}
		m.pools = slices.Delete(m.pools, at, at+1)
		return nil
	}
	return m.doReal(m.pools[at], op)
}

func (m *Memory) addService(at int, s lb.Service) error {
	if at >= 0 {
		return ErrServiceExists
	}
	if err := CheckService(s); err != nil {
		return err
	}
	m.pools = append(m.pools, &Pool{Service: Normal(s)})
	return nil
}

func (m *Memory) editService(p *Pool, s lb.Service) error {
	if err := CheckService(s); err != nil {
		return err
	}
	p.Service = Normal(s)
	return nil
}

func (m *Memory) doReal(p *Pool, op Op) error {
	at := slices.IndexFunc(p.Reals, func(r Real) bool { return r.Addr == op.Real.Addr })
	if err := CheckStep(op.Verb, p.Service.ServiceKey, op.Real, at >= 0); err != nil {
		return err
	}
	switch op.Verb {
	case DelReal:
		m.trash(p.Service.ServiceKey, p.Reals[at])
		p.Reals = slices.Delete(p.Reals, at, at+1)
		return nil
	case EditReal:
		p.Reals[at].Real = NormalReal(op.Real)
		return nil
	}
	key := goneKey{p.Service.ServiceKey, op.Real.Addr}
	r := m.gone[key]
	delete(m.gone, key)
	r.Real = NormalReal(op.Real)
	p.Reals = append(p.Reals, r)
	return nil
}

// trash keeps a removed real server for as long as a connection refers to it.
func (m *Memory) trash(k lb.ServiceKey, r Real) {
	if r.Active+r.Inactive+r.Persist > 0 {
		m.gone[goneKey{k, r.Addr}] = r
	}
}

func (m *Memory) find(k lb.ServiceKey) int {
	return slices.IndexFunc(m.pools, func(p *Pool) bool { return p.Service.ServiceKey == k })
}

// Conns lists what Connect has put in.
func (m *Memory) Conns(visit func(lb.Conn) bool) error {
	m.mu.Lock()
	conns := slices.Clone(m.conns)
	m.mu.Unlock()
	for _, c := range conns {
		if !visit(c.Conn) {
			break
		}
	}
	return nil
}

// Zero sets counters to nothing.
func (m *Memory) Zero(key *lb.ServiceKey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if key != nil && m.find(*key) < 0 {
		return ErrNoService
	}
	for _, p := range m.pools {
		if key != nil && p.Service.ServiceKey != *key {
			continue
		}
		p.Total, p.Rate = lb.Counters{}, lb.Rates{}
		for i := range p.Reals {
			p.Reals[i].Total, p.Reals[i].Rate = lb.Counters{}, lb.Rates{}
		}
	}
	return nil
}

// Timeouts returns what SetTimeouts left.
func (m *Memory) Timeouts() (lb.Timeouts, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.timeouts, nil
}

// SetTimeouts keeps the fields that are zero.
func (m *Memory) SetTimeouts(t lb.Timeouts) error {
	if t.TCP < 0 || t.TCPFin < 0 || t.UDP < 0 {
		return ErrRange
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	set := func(to *time.Duration, d time.Duration) {
		if d != 0 {
			*to = d
		}
	}
	set(&m.timeouts.TCP, t.TCP)
	set(&m.timeouts.TCPFin, t.TCPFin)
	set(&m.timeouts.UDP, t.UDP)
	return nil
}

// Settings returns what Set left.
func (m *Memory) Settings() (map[string]uint32, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.settings), nil
}

// Set notes the value.
func (m *Memory) Set(name string, value uint32) error {
	if _, err := CheckSetting(name, value); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	next := maps.Clone(m.settings)
	next[name] = value
	if err := CheckThreshold(next["sync_threshold"], next["sync_period"]); err != nil {
		return err
	}
	m.settings = next
	return nil
}

// Classes returns what SetClasses left.
func (m *Memory) Classes() ([]lb.Class, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.classes), nil
}

// SetClasses notes them.
func (m *Memory) SetClasses(list []lb.Class) error {
	for _, c := range list {
		if err := CheckClass(c); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.classes = slices.Clone(list)
	return nil
}

// Close notes that it was called.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}
