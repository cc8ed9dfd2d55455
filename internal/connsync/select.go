package connsync

import (
	"time"

	"vipd/internal/lb"
)

// Policy is which connections are told, and how often: the kernel's sysctls net.ipv4.vs.sync_*.
type Policy struct {
	// Threshold and Period are sync_threshold: the Threshold-th packet of a client is told, and then one of every Period. If
	// Period is zero, only the Threshold-th.
	Threshold, Period uint32
	// Refresh is sync_refresh_period: what has been told is not told again before its end has moved by so much. If zero, Period
	// alone decides.
	Refresh time.Duration
	// Retries is sync_retries: how often it is told again all the same, every eighth of Refresh.
	Retries uint8
	// PersistOnly is sync_persist_mode: of persistent clients their template is told and no connection.
	PersistOnly bool
}

// DefaultPolicy is the kernel's.
var DefaultPolicy = Policy{Threshold: 3, Period: 50}

// Sight is what a look at a line of the connection table found. Times are in ticks of the table's clock.
type Sight struct {
	Generation uint32 // another one: another connection has the line
	Packets    uint32 // from the client
	Expires    uint32
	Timeout    uint32 // of its state, or of a template's service
	Protocol   lb.Protocol
	State      lb.State
	Template   bool
	Controlled bool // by a template
	Synced     bool // learned, and not begun here
	Rewritten  bool // FULLNAT, also a template of its service: told by a Stream alone
	Telling    lb.Telling

	idle time.Duration // since it was used; of a Stream alone
}

// mark is what is remembered of a line: 16 bytes.
type mark struct {
	generation uint32
	packets    uint32 // at the last look
	expires    uint32 // as told
	state      uint8  // as told
	retries    uint8
	told       bool
}

// marksChunk is how many lines' marks are made at once.
const marksChunk = 1024

// Selector decides what is told, by looks at the lines of a table: what the kernel decides at each packet
// (ip_vs_sync_conn_needed) it decides about all packets since the last look. What changed twice is told once.
type Selector struct {
	Policy
	// Retell tells also what was learned from others: for a master that is not a backup at the same time, whose learned
	// connections nobody else tells.
	Retell bool

	ticks               func(time.Duration) uint32
	tick                time.Duration
	refresh, tenSeconds uint32
	marks               []*[marksChunk]mark
	left                time.Duration // of the line that Look said yes to
}

// NewSelector makes one for a clock that counts so many ticks in a time.
func NewSelector(p Policy, ticks func(time.Duration) uint32) *Selector {
	s := &Selector{ticks: ticks, tick: tickOf(ticks), tenSeconds: ticks(10 * time.Second)}
	s.SetPolicy(p)
	return s
}

// SetPolicy has what changes from now on told by another one.
func (s *Selector) SetPolicy(p Policy) { s.Policy, s.refresh = p, s.ticks(p.Refresh) }

// tickOf is how long a tick is, which need not be a whole number of anything.
func tickOf(ticks func(time.Duration) uint32) time.Duration {
	const long = 1000 * time.Second
	return long / time.Duration(ticks(long))
}

func (s *Selector) mark(line int) *mark {
	at := line / marksChunk
	for len(s.marks) <= at {
		s.marks = append(s.marks, nil)
	}
	if s.marks[at] == nil {
		s.marks[at] = new([marksChunk]mark)
	}
	return &s.marks[at][line%marksChunk]
}

// Look says whether the connection in a line is to be told, and takes it for told if so.
func (s *Selector) Look(now uint32, line int, c Sight) bool {
	if c.Rewritten {
		return false
	}
	m := s.mark(line)
	if m.generation != c.Generation {
		*m = mark{generation: c.Generation}
		if c.Synced && !s.Retell {
			m.learned(c)
		}
	}
	packets := m.packets
	m.packets = c.Packets
	if !s.needed(m, packets, now, c) {
		return false
	}
	m.state, m.expires, m.told = uint8(c.State), c.Expires, true
	s.left = time.Duration(max(int32(c.Expires-now), 0)) * s.tick
	return true
}

// Timed gives the connection that Look said yes to the time that it has left: one that is told late ends at the other director when it
// ends here. The kernel keeps what it is told for a template's timeout, and gives a connection its state's again with its next
// packet; so a template is told with all of its own.
func (s *Selector) Timed(c *Conn) {
	if c.Flags&Template == 0 {
		c.Timeout = min(c.Timeout, max(uint32((s.left+time.Second-1)/time.Second), 1)) // 0 is to say nothing
	}
}

// Learned notes that a line says now what another director told.
func (s *Selector) Learned(line int, c Sight) {
	m := s.mark(line)
	*m = mark{generation: c.Generation}
	m.learned(c)
}

func (m *mark) learned(c Sight) {
	m.packets, m.expires, m.state, m.told = c.Packets, c.Expires, uint8(c.State), true
}

// States that are told; a template's and UDP's always are.
const (
	tcpTold  = 1<<lb.Established | 1<<lb.FinWait | 1<<lb.Close | 1<<lb.CloseWait | 1<<lb.TimeWait
	sctpTold = 1<<lb.SCTPEstablished | 1<<9 | 1<<10 | 1<<11 | 1<<lb.SCTPClosed // and S-SENT, S-RECEIVED, S-ACK-SENT
)

func (s *Selector) needed(m *mark, before, now uint32, c Sight) bool {
	established := lb.Established
	switch {
	case c.Template:
		return s.templateNeeded(m, now, c)
	case s.PersistOnly && c.Controlled:
		return false
	case c.Protocol == lb.TCP && tcpTold>>c.State&1 == 0:
		return false
	case c.Protocol == lb.SCTP:
		if established = lb.SCTPEstablished; sctpTold>>c.State&1 == 0 {
			return false
		}
	}
	changed := c.Protocol != lb.UDP && m.state != uint8(c.State)
	switch {
	case changed && c.State != established:
		m.retries = 0
		return true
	case before == c.Packets && !changed:
		return false // nothing has come
	case !s.refreshes(m, now, c):
		return false
	case s.Period == 0 && s.Refresh > 0:
		return true
	case s.drifts(m, c):
		return true
	}
	// ipvs: a connection whose Threshold-th packet came before it was established is told Period packets later only.
	return s.points(c.Packets) > s.points(before) || changed && c.Packets >= s.Threshold
}

// drifts: has the end moved by a quarter of the connection's time since it was told?
//
// ipvs: tells of the 53rd packet, however long that takes; one that says a word every few minutes has ended at the other director by then.
func (s *Selector) drifts(m *mark, c Sight) bool {
	return m.told && s.Refresh == 0 && s.Period > 0 && moved(m.expires, c.Expires) >= max(c.Timeout/4, 1)
}

// moved is by how much an end is another one.
func moved(from, to uint32) uint32 {
	if by := int32(to - from); by < 0 {
		return uint32(-by)
	}
	return to - from
}

// templateNeeded: the kernel tells a template with every packet of any of its connections; here with every look that finds it
// used.
func (s *Selector) templateNeeded(m *mark, now uint32, c Sight) bool {
	if m.told && m.expires == c.Expires && m.state == uint8(c.State) {
		return false
	}
	if m.told && m.state != uint8(c.State) {
		return true // ASSURED now
	}
	return s.refreshes(m, now, c) && (s.Period > 0 || s.Refresh > 0 || !m.told)
}

// refreshes: has the end moved far enough, or is it time to say it once more?
func (s *Selector) refreshes(m *mark, now uint32, c Sight) bool {
	if s.refresh == 0 || !m.told {
		return true
	}
	if moved(m.expires, c.Expires) >= min(s.refresh, max(c.Timeout/2, s.tenSeconds)) {
		m.retries = 0
		return true
	}
	if m.retries >= s.Retries || int32(now-(m.expires-c.Timeout+s.refresh/8)) < 0 {
		return false
	}
	m.retries++
	return true
}

// points is how many of the packets up to n are told: those with n % Period == Threshold, or the Threshold-th alone.
func (s *Selector) points(n uint32) uint32 {
	switch {
	case n < s.Threshold:
		return 0
	case s.Period == 0:
		return 1
	}
	return (n-s.Threshold)/s.Period + 1
}
