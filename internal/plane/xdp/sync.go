package xdp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"vipd/bpf"
	"vipd/internal/connsync"
	"vipd/internal/lb"
)

// What the connection table and another director tell each other. The table is looked at as memory; what is learned is
// written by a BPF program (bpf/learn.h), as all that is in the table.

// Ticks is d on the clock of connsync.Sight, rounded up.
func (p *Plane) Ticks(d time.Duration) uint32 { return p.clock.ticks(d) }

// head is region_head; both words are read at once.
type head struct{ Lock, Live uint32 }

func (p *Plane) regionHeads() []head {
	return unsafe.Slice((*head)(unsafe.Pointer(&p.heads[0])), p.meta.Regions)
}

// Look shows the lines from cursor on (0 at first) to look, and those that it wants told to tell, in the order of the table. At
// most 65,536 lines of regions in use are looked at, or as many as it takes until more says no, which is asked at first and after each tell. next is where to go on; -1: that was the end.
func (p *Plane) Look(cursor int, look func(now uint32, line int, s connsync.Sight) bool, tell func(connsync.Conn), more func() bool) (next int, err error) {
	now, err := p.tick()
	if err != nil {
		return -1, fmt.Errorf("look at connections: %w", err)
	}
	var t bpf.LbTunables
	if err := p.maps.get(bpf.LbMapTuning, 0, &t); err != nil {
		return -1, fmt.Errorf("look at connections: %w", err)
	}
	reals, table, heads := p.byIndex(), p.lines(), p.regionHeads()
	var copied line
	i := cursor
	if !more() {
		return cursor, nil
	}
	for left := connsPart; i < len(table) && left > 0; i++ {
		if uint32(i)%regionLines == 0 && heads[uint32(i)/regionLines].Live == 0 {
			i += int(regionLines) - 1
			continue
		}
		left--
		if !table[i].live() || !table[i].read(&copied) {
			continue
		}
		c := (*conn)(unsafe.Pointer(&copied))
		if int(c.Real) >= len(reals) || !p.synchronised(c, reals[c.Real], now) {
			continue
		}
		s := sightOf(c, p.timeout(c, reals[c.Real], &t))
		s.Telling, s.Rewritten = reals[c.Real].of.spec.Telling, rewritten(reals[c.Real])
		if !look(now, i, s) {
			continue
		}
		told := p.toldOf(c, reals[c.Real], s.Timeout)
		if s.Rewritten && !s.Template {
			var ok bool
			if told.Local, told.Begun, ok = p.localOf(p.readLine, i, c, reals[c.Real]); !ok {
				continue // it has none yet, or no more
			}
		}
		if tell(told); !more() {
			i++
			break
		}
	}
	if i >= len(table) {
		return -1, nil
	}
	return i, nil
}

// synchronised says whether a live line is one that another director can have.
func (p *Plane) synchronised(c *conn, r owned, now uint32) bool {
	switch {
	case c.Kind&isReturn != 0, r.real == nil:
		return false
	case c.Kind&isTemplate != 0 && c.Vport == uint16(bpf.LbNumberDEAD_VPORT):
		return false
	}
	return int32(c.Expires-now) > 0 || c.Kind&isTemplate != 0 && c.Control != 0
}

// rewritten: FULLNAT, whose local addresses the kernel's protocol cannot say.
func rewritten(r owned) bool { return r.of.spec.Locals.First.IsValid() && r.spec.Forward == lb.Masq }

// timeout is that of a connection's state, or a template's own or its service's, in ticks.
func (p *Plane) timeout(c *conn, r owned, t *bpf.LbTunables) uint32 {
	state := c.Life >> 8 & 0xff
	switch {
	case c.Kind&(isTemplate|isSIP) == isTemplate && c.Packets != 0:
		return c.Packets
	case c.Kind&isTemplate != 0:
		return p.clock.ticks(r.of.spec.Persistence)
	case lb.Protocol(c.Proto) == lb.TCP:
		return t.Tcp[state%uint64(len(t.Tcp))]
	case lb.Protocol(c.Proto) == lb.SCTP:
		return t.Sctp[state%uint64(len(t.Sctp))]
	}
	return t.Udp
}

func sightOf(c *conn, timeout uint32) connsync.Sight {
	flags := bpf.LbConnFlag(c.Life >> 16 & 0xffff)
	s := connsync.Sight{
		Generation: uint32(c.Life >> 32), Packets: c.Packets, Expires: c.Expires, Timeout: timeout,
		Protocol: lb.Protocol(c.Proto), State: lb.State(c.Life >> 8 & 0xff),
		Template: c.Kind&isTemplate != 0, Controlled: c.Control != 0 && flags&bpf.LbConnFlagCONN_LOCAL == 0, Synced: flags&bpf.LbConnFlagCONN_SYNC != 0,
	}
	if s.Template {
		s.State, s.Packets = assured(flags), 0
	}
	return s
}

// assured is a template's state on the wire.
func assured(flags bpf.LbConnFlag) lb.State {
	if flags&bpf.LbConnFlagCONN_ASSURED != 0 {
		return 1
	}
	return 0
}

// toldOf is a connection as it is told.
func (p *Plane) toldOf(c *conn, r owned, timeout uint32) connsync.Conn {
	shown := p.connOf(c, r, 0)
	flags := connsync.Flags(c.Life>>16&0xffff) & (connsync.Synced | connsync.NoOutput | connsync.Inactive | connsync.Template)
	if shown.Template && repliesPass(r) {
		flags &^= connsync.NoOutput // ipvs: a template has it of its real server's method
	}
	out := connsync.Conn{
		Protocol: shown.Protocol, Client: shown.Client, Virtual: shown.Virtual, Real: shown.Real, Mark: r.of.spec.Mark,
		Flags: flags | connsync.Flags(shown.Forward), State: shown.State, Timeout: uint32(p.clock.seconds(timeout) / time.Second),
		Engine: shown.Engine, EngineData: shown.EngineData,
	}
	if shown.Template {
		out.State = assured(bpf.LbConnFlag(c.Life >> 16 & 0xffff))
	}
	return out
}

// repliesPass: do replies of this real server pass us?
func repliesPass(r owned) bool { return r.spec.Forward == lb.Masq }

// lessons is the memory of Learn: one order to the packet path, and which connection each of it is.
type lessons struct {
	batch []bpf.LbLearned
	of    []*connsync.Conn
}

// Learn puts connections into the table that another director told of. taken is called for each that has a line, with that and
// what a look at it would show; refused for each other.
func (p *Plane) Learn(conns []connsync.Conn, taken func(line int, s connsync.Sight), refused func(connsync.Conn, connsync.Reason)) error {
	most := int(bpf.LbNumberLEARN_MOST)
	if p.lessons.batch == nil {
		p.lessons = lessons{make([]bpf.LbLearned, 0, most), make([]*connsync.Conn, 0, most)}
	}
	batch, of := p.lessons.batch[:0], p.lessons.of[:0]
	defer clear(p.lessons.of[:most])
	for i := range conns {
		c := &conns[i]
		l, why := p.lesson(c)
		if why != "" {
			refused(*c, why)
			continue
		}
		if batch, of = append(batch, l), append(of, c); len(batch) < most {
			continue
		}
		if err := p.learn(batch, of, taken, refused); err != nil {
			return err
		}
		batch, of = batch[:0], of[:0]
	}
	return p.learn(batch, of, taken, refused)
}

var learnReasons = map[bpf.LbLearnOutcome]connsync.Reason{bpf.LbLearnOutcomeLEARN_STALE: connsync.Stale,
	bpf.LbLearnOutcomeLEARN_NO_ROOM: connsync.TableFull, bpf.LbLearnOutcomeLEARN_BUSY: connsync.NotTaken, bpf.LbLearnOutcomeLEARN_TAKEN: connsync.LocalTaken}

// learnTries is how often one is learned that met a lock which was not had: who holds one for long was interrupted.
const learnTries = 50

func (p *Plane) learn(batch []bpf.LbLearned, of []*connsync.Conn, taken func(int, connsync.Sight), refused func(connsync.Conn, connsync.Reason)) error {
	for try := 1; len(batch) > 0; try++ {
		frame := unsafe.Slice((*byte)(unsafe.Pointer(&batch[0])), len(batch)*int(unsafe.Sizeof(batch[0])))
		if err := p.runOn(bpf.LbProgLearn, frame); err != nil {
			return fmt.Errorf("learn connections: %w", err)
		}
		busy := 0
		for i := range batch {
			outcome := bpf.LbLearnOutcome(batch[i].Outcome)
			switch {
			case outcome == bpf.LbLearnOutcomeLEARN_NEW || outcome == bpf.LbLearnOutcomeLEARN_AGAIN:
				p.took(&batch[i], of[i], taken)
			case outcome == bpf.LbLearnOutcomeLEARN_BUSY && try < learnTries:
				batch[busy], of[busy] = batch[i], of[i]
				busy++
			default:
				refused(*of[i], learnReasons[outcome])
			}
		}
		batch, of = batch[:busy], of[:busy]
	}
	return nil
}

// took tells of one that has a line now.
func (p *Plane) took(l *bpf.LbLearned, c *connsync.Conn, taken func(int, connsync.Sight)) {
	if c.EngineData != "" {
		p.keepCall(l, c.EngineData)
	}
	var copied line
	if seen := (*conn)(unsafe.Pointer(&copied)); p.lines()[l.Line].read(&copied) && uint32(seen.Life>>32) == l.Generation {
		taken(int(l.Line), sightOf(seen, 0))
	}
}

// lesson is a connection as the packet path takes it, or why it cannot.
func (p *Plane) lesson(c *connsync.Conn) (l bpf.LbLearned, why connsync.Reason) {
	template := c.Flags&connsync.Template != 0
	if c.Flags&connsync.NoClientPort != 0 {
		return l, connsync.NoClient
	}
	if c.Client.Addr().IsUnspecified() || c.Client.Addr().IsMulticast() || c.Client.Addr().IsLoopback() {
		return l, connsync.Unroutable
	}
	r, ok := p.serverOf(c)
	switch {
	case !ok:
		return l, connsync.UnknownServer
	case rewritten(r) && !c.Dated, rewritten(r) && !template && !c.Local.IsValid():
		return l, connsync.AddressRewrite
	case c.Local.IsValid() && localNumber(r, c.Local) < 0:
		return l, connsync.OtherLocal
	case r.of.spec.Engine != c.Engine && template && c.EngineData != "":
		return l, connsync.UnknownEngine
	}
	l = bpf.LbLearned{Cport: be16(c.Client.Port()), Vport: be16(c.Virtual.Port()), Proto: uint8(c.Protocol), Real: r.index,
		State: uint8(c.State), Ticks: p.clock.ticks(time.Duration(c.Timeout) * time.Second), Packets: p.syncSettings["sync_threshold"]}
	p.address(&l, c)
	if whole := time.Duration(c.Timeout) * time.Second; c.Dated && whole > 0 {
		if c.Idle >= whole {
			return l, connsync.Stale
		}
		l.Ticks = max(p.clock.ticks(whole-c.Idle), 1)
		l.Idle, l.Whole = p.clock.ticks(c.Idle)+1, p.clock.ticks(whole)
	}
	if !repliesPass(r) {
		l.Flags |= uint16(bpf.LbConnFlagCONN_NOOUTPUT)
	}
	if c.Flags&connsync.Inactive != 0 {
		l.Flags |= uint16(bpf.LbConnFlagCONN_INACTIVE)
	}
	if c.Local.IsValid() {
		l.Local, l.LocalPort = uint16(localNumber(r, c.Local)), be16(c.Local.Port())
		l.Proxy, l.Initial = uint8(c.Begun.State), c.Begun.Initial
	}
	if template {
		p.template(&l, c)
	}
	return l, ""
}

func (p *Plane) address(l *bpf.LbLearned, c *connsync.Conn) {
	from, to := words6(c.Client.Addr()), words6(c.Virtual.Addr())
	if !c.Is6() {
		l.Addr[0], l.Addr[1] = from[0], to[0]
		return
	}
	copy(l.Addr[:4], from[:])
	copy(l.Addr[4:], to[:])
	l.Kind = connIPv6
}

// noTimeout is a template's of which nothing is said (ip_vs_proc_conn).
const noTimeout = 3 * time.Minute

func (p *Plane) template(l *bpf.LbLearned, c *connsync.Conn) {
	l.Flags = uint16(bpf.LbConnFlagCONN_TEMPLATE | bpf.LbConnFlagCONN_NOOUTPUT | bpf.LbConnFlagCONN_INACTIVE)
	if c.State != 0 {
		l.Flags |= uint16(bpf.LbConnFlagCONN_ASSURED)
	}
	l.State, l.Cport = 0, 0
	l.Kind |= isTemplate
	if c.Mark != 0 && c.Protocol == lb.IP {
		l.Kind |= uint8(bpf.LbConnKindKIND_MARK)
		l.Vport = 0
	}
	l.Packets = p.clock.ticks(time.Duration(c.Timeout) * time.Second) // its own, from now on
	if l.Ticks == 0 {
		l.Ticks = p.clock.ticks(noTimeout)
		l.Packets = l.Ticks
	}
	if c.EngineData != "" {
		hash := callHash(p.meta.Seed, c.EngineData)
		l.Kind |= isSIP
		l.Cport, l.Packets = uint16(hash>>32), uint32(hash)
	}
}

// serverOf finds a told connection's real server as the kernel does (ip_vs_find_dest): of the service of its mark, else of its
// address and port, else of FTP's, else of every port; by the port that it has, or none.
func (p *Plane) serverOf(c *connsync.Conn) (owned, bool) {
	s := p.serviceOf(c)
	if s == nil {
		return owned{}, false
	}
	ports := [2]uint16{c.Real.Port(), 0}
	if c.Mark != 0 && c.Forward() != lb.Masq {
		ports = [2]uint16{0, c.Real.Port()}
	}
	for _, port := range ports {
		if at := s.find(netip.AddrPortFrom(c.Real.Addr(), port)); at >= 0 {
			return owned{s.reals[at], s}, true
		}
	}
	// ipvs: a persistent service of several ports has its server's own port in none of them.
	if c.Real.Port() == 0 || s.spec.Persistence != 0 {
		for _, r := range s.reals {
			if r.spec.Addr.Addr() == c.Real.Addr() {
				return owned{r, s}, true
			}
		}
	}
	return owned{}, false
}

func (p *Plane) serviceOf(c *connsync.Conn) *service {
	if c.Mark != 0 {
		if s := p.services[lb.ServiceKey{Mark: c.Mark, V6: c.Is6()}]; s != nil && s.alive {
			return s
		}
	}
	for _, port := range [...]uint16{c.Virtual.Port(), portFTP, 0} {
		if port == portFTP && c.Protocol != lb.TCP {
			continue
		}
		k := lb.ServiceKey{Protocol: c.Protocol, Addr: netip.AddrPortFrom(c.Virtual.Addr(), port)}
		if s := p.services[k]; s != nil && s.alive {
			return s
		}
	}
	return nil
}

// callHash is sip_hash of bpf/sip.h.
func callHash(seed uint64, text string) uint64 {
	var padded [int(bpf.LbNumberCALL_LENGTH) + 1]byte
	copy(padded[:], text)
	h := seed
	for i := 0; i < len(padded); i += 8 {
		h = hashMix(h, binary.NativeEndian.Uint64(padded[i:]))
	}
	return h*0xd6e8feb86659fd93>>16 | 1
}

// keepCall notes the text of a learned template, for those who list it.
func (p *Plane) keepCall(l *bpf.LbLearned, text string) {
	call := bpf.LbCall{Length: uint32(min(len(text), int(bpf.LbNumberCALL_LENGTH)))}
	copy(call.Text[:bpf.LbNumberCALL_LENGTH], text)
	c := conn{Cport: l.Cport, Vport: l.Vport, Proto: l.Proto, Kind: l.Kind, Addr: l.Addr}
	_ = p.maps[bpf.LbMapCalls].Put(bpf.LbCallKey{Line: p.lineHash(&c), Number: l.Packets}, call)
}

// Await has what is in the middle of an unknown connection dropped for so long, and not left to the host, which would reset it:
// another director may be about to tell of it, and its client sends again. Zero ends it.
func (p *Plane) Await(d time.Duration) error {
	until := uint32(0)
	if d > 0 {
		now, err := p.tick()
		if err != nil {
			return fmt.Errorf("await connections: %w", err)
		}
		until = max(now+p.clock.ticks(d), 1)
	}
	var t bpf.LbTunables
	if err := p.maps.get(bpf.LbMapTuning, 0, &t); err != nil {
		return err
	}
	if t.Patience == until {
		return nil
	}
	t.Patience = until
	return p.maps.put(bpf.LbMapTuning, 0, t)
}

// Room is how many lines of the table are in use, of how many.
func (p *Plane) Room() (used, of int) {
	for _, h := range p.regionHeads() {
		used += int(h.Live)
	}
	return used, p.TableSize()
}
