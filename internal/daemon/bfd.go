package daemon

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"vipd/internal/bfd"
	"vipd/internal/conf"
	"vipd/internal/host"
	"vipd/internal/loop"
	"vipd/internal/vrrp"
)

// BFDHost is this machine as far as BFD needs it.
type BFDHost interface {
	ListenBFD(port uint16) (BFDListener, error)
	DialBFD(source netip.Addr, to netip.AddrPort, ttl uint8) (BFDSender, error)
}

// BFDListener receives packets for all sessions.
type BFDListener interface {
	// Recv waits. After Close its error is net.ErrClosed.
	Recv(buf []byte) (host.BFDPacket, error)
	Close() error
}

// BFDSender sends the packets of one session, without waiting.
type BFDSender interface {
	Send(packet []byte) error
	Close() error
}

// neighbours is where BFD meets this machine and those who want to hear of it. It has a loop of its own: detection times
// are tens of milliseconds.
type neighbours struct {
	host     Host
	events   events
	sessions *bfd.Sessions
	loop     *loop.Loop
	tell     []func(session string, up bool) // called in the loop; they do not wait

	cfgs      []bfd.Config
	listeners map[uint16]BFDListener // by port
	senders   map[string]BFDSender
	failing   map[string]bool // said
	receivers *sync.WaitGroup // nil before run
}

func newNeighbours(h Host, ev events, tell ...func(string, bool)) *neighbours {
	n := &neighbours{host: h, events: ev, tell: tell, listeners: map[uint16]BFDListener{}, senders: map[string]BFDSender{}, failing: map[string]bool{}}
	n.sessions = bfd.New(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))
	n.loop = loop.New(n.sessions, n.drain)
	return n
}

// bfdConfigs are the sessions of a file.
func bfdConfigs(cfg *conf.Config) (all []bfd.Config) {
	for _, b := range cfg.BFDs {
		all = append(all, bfd.Config{Name: b.Name, Neighbor: b.Neighbor, Source: b.Source, MinRx: b.MinRx, MinTx: b.MinTx, IdleTx: b.IdleTx,
			Multiplier: uint8(b.Multiplier), Passive: b.Passive, Multihop: b.Multihop, TTL: uint8(b.SendTTL), PeerTTL: uint8(b.TTL), MaxHops: b.MaxHops})
	}
	return all
}

func bfdPort(c bfd.Config) uint16 {
	if c.Multihop {
		return bfd.PortMultihop
	}
	return bfd.Port
}

// set makes cfgs the sessions: before run, and in the loop at a reload.
func (n *neighbours) set(now time.Time, cfgs []bfd.Config) error {
	wanted := map[uint16]bool{}
	for _, c := range cfgs {
		wanted[bfdPort(c)] = true
	}
	for port := range wanted {
		if err := n.listen(port); err != nil {
			return err
		}
	}
	for port, l := range n.listeners {
		if !wanted[port] {
			_ = l.Close()
			delete(n.listeners, port)
		}
	}
	for _, old := range n.cfgs {
		if !slices.ContainsFunc(cfgs, func(c bfd.Config) bool { return sameWay(c, old) }) {
			n.hangUp(old.Name)
		}
	}
	n.cfgs = cfgs
	n.sessions.Set(now, cfgs)
	return nil
}

// sameWay tells that packets of two sessions go out by the same socket.
func sameWay(a, b bfd.Config) bool {
	return a.Name == b.Name && a.Neighbor == b.Neighbor && a.Source == b.Source && a.TTL == b.TTL && a.Multihop == b.Multihop
}

func (n *neighbours) listen(port uint16) error {
	if n.listeners[port] != nil {
		return nil
	}
	l, err := n.host.ListenBFD(port)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fail(ExitFatal, "another BFD daemon runs here: keepalived's, FRR's bfdd or BIRD; find it with: ss -lunp", "%w", err)
	}
	if err != nil {
		return fail(ExitFatal, "", "%w", err)
	}
	n.listeners[port] = l
	if n.receivers != nil {
		n.receivers.Go(func() { n.receive(port, l) })
	}
	return nil
}

// run serves until ctx ends. The receivers end when close is called.
func (n *neighbours) run(ctx context.Context, wg *sync.WaitGroup) {
	n.receivers = wg
	for port, l := range n.listeners {
		wg.Go(func() { n.receive(port, l) })
	}
	wg.Go(func() { n.loop.Run(ctx) })
}

// close closes the sockets. The loop has ended, or was never run.
func (n *neighbours) close() {
	for _, l := range n.listeners {
		_ = l.Close()
	}
	for name := range n.senders {
		n.hangUp(name)
	}
}

func (n *neighbours) hangUp(session string) {
	if s := n.senders[session]; s != nil {
		_ = s.Close()
		delete(n.senders, session)
	}
}

// receive hands packets to the loop until the socket is closed.
func (n *neighbours) receive(port uint16, l BFDListener) {
	buf := make([]byte, 1500)
	for {
		p, err := l.Recv(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			n.events.Error("receive BFD packets: " + err.Error())
			return
		}
		a := bfd.Arrival{From: p.From, To: p.To, TTL: p.TTL, Multihop: port == bfd.PortMultihop, Data: slices.Clone(buf[:p.Len])}
		n.loop.Send(func(now time.Time) { n.sessions.Receive(now, a) })
	}
}

// drain executes the sessions' effects, in order.
func (n *neighbours) drain(time.Time) {
	for _, e := range n.sessions.Take() {
		switch e := e.(type) {
		case bfd.Send:
			n.send(e)
		case bfd.Change:
			for _, tell := range n.tell {
				tell(e.Session, e.Up)
			}
		case bfd.Say:
			n.say(e)
		}
	}
}

func (n *neighbours) say(e bfd.Say) {
	switch {
	case e.Warning:
		n.events.Warn(e.Text, "bfd", e.Session)
	case e.Detail:
		n.events.Debug(e.Text)
	default:
		n.events.Info(e.Text, "bfd", e.Session)
	}
}

// send opens the way to a neighbour with the first packet: its address may come later than the session.
func (n *neighbours) send(e bfd.Send) {
	err := n.dial(e.Session)
	if err == nil {
		err = n.senders[e.Session].Send(e.Packet)
	}
	if err != nil && !n.failing[e.Session] {
		n.events.Error("("+e.Session+") "+err.Error(), "bfd", e.Session)
	}
	n.failing[e.Session] = err != nil
}

func (n *neighbours) dial(session string) error {
	if n.senders[session] != nil {
		return nil
	}
	i := slices.IndexFunc(n.cfgs, func(c bfd.Config) bool { return c.Name == session })
	if i < 0 {
		return errors.New("there is no such session")
	}
	c := n.cfgs[i]
	s, err := n.host.DialBFD(c.Source, netip.AddrPortFrom(c.Neighbor, bfdPort(c)), c.TTL)
	if err != nil {
		return err
	}
	n.senders[session] = s
	return nil
}

// openBFD opens the sockets of sessions. It comes after openHA, which hears of them.
func (d *daemon) openBFD(context.Context) error {
	d.bfd = newNeighbours(d.host, d.events.of("bfd"), d.ha.bfdChanged, d.sessionChanged)
	d.undo = append(d.undo, d.bfd.close)
	return d.bfd.set(time.Now(), bfdConfigs(d.cfg))
}

func (d *daemon) reloadBFD(cfg *conf.Config) (err error) {
	d.bfd.loop.Do(func(now time.Time) { err = d.bfd.set(now, bfdConfigs(cfg)) })
	d.tellSessions()
	return err
}

// bfdChanged takes the news of a session from its loop.
func (a *ha) bfdChanged(session string, up bool) {
	a.loop.Send(func(now time.Time) {
		thing := vrrp.Thing{Kind: vrrp.TrackBFD, Name: session}
		if a.track.trackers.Known(thing) == vrrp.Up(up) {
			return
		}
		for _, s := range a.track.trackers.Status() {
			if s.Thing != thing {
				continue
			}
			for _, vi := range s.Followers {
				a.events.Info("VRRP_Instance("+vi+") Tracked BFD instance "+session+" is "+map[bool]string{true: "UP", false: "DOWN"}[up], "vi", vi, "bfd", session)
			}
		}
		a.track.trackers.Observe(now, thing, vrrp.Up(up))
	})
}
