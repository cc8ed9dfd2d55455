package look

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"vipd/internal/control"
	"vipd/internal/doctor"
	"vipd/internal/host"
	"vipd/internal/lb"
	"vipd/internal/realserver"
)

// Options say what is looked at.
type Options struct {
	// Wanted tells whether a real server of a service is to be asked. If nil, none is.
	Wanted func(s *control.Service, r *control.Real) bool
	Wait   time.Duration // for each answer. If zero, 1 s.
	Watch  time.Duration // how long claims are listened for. If zero, as long as the questions take, and at least Wait.
}

// Facts is what was found.
type Facts struct {
	Reals  []doctor.Real
	Claims []doctor.Claim
	Needs  map[netip.Addr]realserver.Need // what the real servers of a virtual address are for
	Master map[netip.Addr]bool            // virtual addresses that this director is master of
}

type looker struct {
	wire    *wire
	wait    time.Duration
	links   map[int]host.Link
	names   map[int]string
	neighs  map[netip.Addr]host.Neighbour
	mine    map[[6]byte]bool
	reals   map[station]string     // which real server answers there
	masters map[netip.Addr][6]byte // of virtual addresses that another director has
	master  map[netip.Addr]bool
}

// station is a MAC address, and the virtual address that a real server there serves: a real server of both families has one MAC
// address and two of its own. Without a virtual address: any that it serves.
type station struct {
	mac [6]byte
	vip netip.Addr
}

// Around looks at the real servers and the segments of a running director.
func Around(ctx context.Context, src control.Source, s *control.Status, opts Options) (Facts, error) {
	l := &looker{wait: opts.Wait, links: map[int]host.Link{}, names: map[int]string{}, neighs: map[netip.Addr]host.Neighbour{}, mine: map[[6]byte]bool{},
		reals: map[station]string{}, masters: map[netip.Addr][6]byte{}, master: map[netip.Addr]bool{}}
	if l.wait == 0 {
		l.wait = time.Second
	}
	f := Facts{Needs: map[netip.Addr]realserver.Need{}, Master: l.master}
	if err := l.host(); err != nil {
		return f, err
	}
	var err error
	if l.wire, err = openWire(); err != nil {
		return f, err
	}
	defer l.wire.close()
	l.directors(s)
	conns := connections(ctx, src)
	var wg sync.WaitGroup
	var mu sync.Mutex
	places := map[netip.Addr]map[int]bool{} // virtual address to the interfaces that its real servers are on
	for i := range s.Services {
		svc := &s.Services[i]
		for j := range svc.Reals {
			real := l.real(svc, &svc.Reals[j])
			if real == nil {
				continue
			}
			vip, hop := real.Need.VIPs[0], l.hop(real)
			if real.Need.Method == realserver.NAT {
				real.Need.Directors = l.gateways(s, vip.Is6(), hop)
			}
			f.Needs[vip] = real.Need
			if places[vip] == nil {
				places[vip] = map[int]bool{}
			}
			if hop.ifindex != 0 {
				places[vip][hop.ifindex] = true
			}
			if hop.mac != [6]byte{} && !hop.gateway {
				own := real.Addr.Addr().String()
				l.reals[station{hop.mac, vip}] = own
				l.reals[station{mac: hop.mac}] = own
			}
			if opts.Wanted == nil || !opts.Wanted(svc, &svc.Reals[j]) {
				continue
			}
			c := conns[connKey{svc.Addr, svc.Reals[j].Addr}]
			real.Opening, real.Complete = c.opening, c.complete
			wg.Go(func() {
				l.askReal(ctx, real, hop)
				mu.Lock()
				defer mu.Unlock()
				f.Reals = append(f.Reals, *real)
			})
		}
	}
	began := time.Now()
	l.askClaims(s, places)
	wg.Wait()
	rest := max(opts.Watch, l.wait) - time.Since(began)
	if rest > 0 {
		select {
		case <-time.After(rest):
		case <-ctx.Done():
		}
	}
	slices.SortFunc(f.Reals, func(a, b doctor.Real) int {
		return strings.Compare(a.Service+a.Addr.String(), b.Service+b.Addr.String())
	})
	vips := map[netip.Addr]bool{}
	for v := range places {
		vips[v] = true
	}
	l.wire.drain()
	f.Claims = l.claims(vips)
	return f, ctx.Err()
}

// host reads this host's interfaces and neighbours.
func (l *looker) host() error {
	links, err := host.Links()
	if err != nil {
		return err
	}
	for _, k := range links {
		l.links[k.Index], l.names[k.Index] = k, k.Name
		if k.MAC != (host.MAC{}) {
			l.mine[k.MAC] = true
		}
	}
	all, err := host.Neighbours()
	if err != nil {
		return err
	}
	for _, n := range all {
		if n.Usable() {
			l.neighs[n.Addr] = n
		}
	}
	return nil
}

// directors notes who has which virtual address.
func (l *looker) directors(s *control.Status) {
	for _, r := range s.VRRP {
		at, _ := netip.ParseAddr(r.Master)
		for _, v := range r.VIPs {
			vip, err := prefixOrAddr(v)
			switch {
			case err != nil:
			case r.State == "MASTER":
				l.master[vip] = true
			default:
				l.masters[vip] = l.neighs[at].MAC
			}
		}
	}
}

// gateways are the addresses by which a real server of a family may reach its director, best one that moves with the master.
func (l *looker) gateways(s *control.Status, v6 bool, h hop) []netip.Addr {
	var out []netip.Addr
	for _, r := range s.VRRP {
		for _, v := range r.VIPs {
			if a, err := prefixOrAddr(v); err == nil && a.Is6() == v6 && r.Interface == l.names[h.ifindex] {
				out = append(out, a)
			}
		}
	}
	if len(out) == 0 && h.from.IsValid() && h.from.Is6() == v6 {
		out = append(out, h.from)
	}
	return out
}

func prefixOrAddr(s string) (netip.Addr, error) {
	s, _, _ = strings.Cut(s, " ")
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Addr(), nil
	}
	return netip.ParseAddr(s)
}

// real is what is asked of a real server; nil where there is nothing to ask: marks, the director itself.
func (l *looker) real(s *control.Service, r *control.Real) *doctor.Real {
	vip := s.Addr.Addr()
	if !vip.IsValid() {
		return nil
	}
	out := &doctor.Real{Service: s.Name, Addr: r.Addr, Port: s.Addr.Port(), UDP: s.Protocol == lb.UDP,
		Need: realserver.Need{VIPs: []netip.Addr{vip}}}
	switch r.Forward {
	case lb.Route:
		out.Need.Method = realserver.DR
	case lb.Masq:
		out.Need.Method, out.Port = realserver.NAT, r.Addr.Port()
	case lb.Tunnel:
		out.Need.Method, out.Need.TunPort = realserver.TUN, r.Tunnel.Port
		out.Need.Tunnel = map[lb.TunnelType]string{lb.IPIP: "ipip", lb.GUE: "gue", lb.GRE: "gre"}[r.Tunnel.Type]
		if r.Addr.Addr().Is6() {
			out.Need.Directors = []netip.Addr{r.Addr.Addr()} // the family of the outer header
		}
	default:
		return nil
	}
	return out
}

// hop is the way to a real server.
type hop struct {
	ifindex int
	mac     [6]byte
	src     [6]byte
	from    netip.Addr // this host's address on that way
	mtu     int
	gateway bool
	way     string // as ip route takes it
	why     string
}

func (l *looker) hop(r *doctor.Real) hop {
	route, err := host.RouteTo(r.Addr.Addr())
	if err != nil {
		return hop{why: err.Error()}
	}
	if route.Local() {
		return hop{why: "it is this host's own address"}
	}
	via := r.Addr.Addr()
	if route.Via.IsValid() {
		via = route.Via
	}
	link := l.links[route.Ifindex]
	h := hop{ifindex: route.Ifindex, src: link.MAC, from: route.Src, mtu: link.MTU, gateway: route.Via.IsValid()}
	if route.MTU != 0 {
		h.mtu = route.MTU
	}
	h.way = "dev " + link.Name
	if h.gateway {
		h.way = "via " + via.String() + " " + h.way
	}
	n, ok := l.neighs[via]
	if !ok {
		h.why = fmt.Sprintf("no neighbour %s on %s", via, link.Name)
		return h
	}
	h.mac = n.MAC
	return h
}

// farClient is an address that no host has (RFC 5737, RFC 3849): only a default route leads to it.
func farClient(v6 bool) netip.Addr {
	if v6 {
		return netip.MustParseAddr("2001:db8:ffff:ffff::9")
	}
	return netip.MustParseAddr("192.0.2.9")
}

// asker makes the questions to one real server.
type asker struct {
	*looker
	r    *doctor.Real
	hop  hop
	port uint16
}

func (l *looker) askReal(ctx context.Context, r *doctor.Real, h hop) {
	r.Hop, r.HopMTU, r.MAC, r.Gateway, r.Way = h.why, h.mtu, h.mac, h.gateway, h.way
	if h.why != "" && h.mac == [6]byte{} && h.ifindex != 0 {
		l.wake(ctx, r)
		if n, ok := l.again(r.Addr.Addr()); ok && !h.gateway {
			h.mac, h.why, r.Hop, r.MAC = n.MAC, "", "", n.MAC
		}
	}
	if r.Hop != "" {
		return
	}
	q := &asker{l, r, h, uint16(20000 + rand.IntN(10000))}
	vip, own := r.Need.VIPs[0], r.Addr.Addr()
	var wg sync.WaitGroup
	ask := func(into *doctor.Answer, fn func() doctor.Answer) { wg.Go(func() { *into = fn() }) }
	direct, tunnel := func(b []byte) []byte { return b }, func(b []byte) []byte { return wrap(h.from, own, r.Need, b) }
	way := direct
	if r.Need.Method == realserver.TUN {
		way = tunnel
	}
	from := l.source(h, vip.Is6())
	ask(&r.Own, func() doctor.Answer { return q.connect(0, h.from, netip.AddrPortFrom(own, r.Addr.Port()), direct) })
	ask(&r.OwnEcho, func() doctor.Answer { return q.ping(1, h.from, own, direct, 0) })
	switch {
	case r.Need.Method == realserver.NAT:
		ask(&r.Back, func() doctor.Answer {
			return q.connect(2, farClient(own.Is6()), netip.AddrPortFrom(own, r.Addr.Port()), direct)
		})
	case from.IsValid() && !(h.gateway && r.Need.Method == realserver.DR):
		ask(&r.VIP, func() doctor.Answer { return q.connect(3, from, netip.AddrPortFrom(vip, r.Port), way) })
		ask(&r.VIPEcho, func() doctor.Answer { return q.ping(4, from, vip, way, 0) })
	}
	if r.Need.Method == realserver.TUN && from.IsValid() {
		if vip.Is6() == own.Is6() {
			ask(&r.Inner, func() doctor.Answer { return q.connect(5, h.from, netip.AddrPortFrom(own, r.Addr.Port()), tunnel) })
		}
		front := len(tunnel(packet(from, vip, protoUDP, nil))) - len(packet(from, vip, protoUDP, nil))
		ask(&r.Large, func() doctor.Answer { return q.large(from, vip, tunnel, front) })
	}
	ask(&doctor.Answer{}, func() doctor.Answer { r.Skew, r.HasSkew = skew(ctx, r, l.wait); return doctor.Answer{} })
	wg.Wait()
}

// large asks by an echo that fills the way, and if that is not answered looks for the largest that is.
func (q *asker) large(from, vip netip.Addr, tunnel func([]byte) []byte, front int) doctor.Answer {
	first := q.ping(6, from, vip, tunnel, q.hop.mtu-front)
	if first.Verdict == doctor.Open {
		return first
	}
	low, high := 576, q.hop.mtu // the smallest that every host takes (RFC 1122 3.3.2), and what does not get through
	for i := uint16(7); high-low > 1; i++ {
		middle := (low + high) / 2
		if q.ping(i, from, vip, tunnel, middle-front).Verdict == doctor.Open {
			low = middle
		} else {
			high = middle
		}
	}
	q.r.Fits = low
	return first
}

// source is this host's address of a family on an interface.
func (l *looker) source(h hop, v6 bool) netip.Addr {
	if h.from.Is6() == v6 {
		return h.from
	}
	all, err := net.InterfaceByIndex(h.ifindex)
	if err != nil {
		return netip.Addr{}
	}
	addrs, _ := all.Addrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap().Is6() == v6 && !p.Addr().IsLinkLocalUnicast() {
			return p.Addr().Unmap()
		}
	}
	return netip.Addr{}
}

// wake makes the kernel ask for the neighbour, by a datagram to the discard port.
func (l *looker) wake(ctx context.Context, r *doctor.Real) {
	if c, err := net.Dial("udp", netip.AddrPortFrom(r.Addr.Addr(), 9).String()); err == nil {
		_, _ = c.Write([]byte{0})
		c.Close()
	}
	select {
	case <-time.After(l.wait / 2):
	case <-ctx.Done():
	}
}

func (l *looker) again(addr netip.Addr) (host.Neighbour, bool) {
	all, err := host.Neighbours()
	if err != nil {
		return host.Neighbour{}, false
	}
	i := slices.IndexFunc(all, func(n host.Neighbour) bool { return n.Addr == addr && n.Usable() })
	if i < 0 {
		return host.Neighbour{}, false
	}
	return all[i], true
}

// connect asks by the beginning of a connection, or a datagram, and ends it.
func (q *asker) connect(n uint16, from netip.Addr, to netip.AddrPort, way func([]byte) []byte) doctor.Answer {
	src := netip.AddrPortFrom(from, q.port+n)
	ask := question{ifindex: q.hop.ifindex, from: src, to: to, proto: protoTCP, mine: q.hop.src}
	if q.r.UDP {
		ask.proto = protoUDP
		ask.frame = frame(q.hop.mac, q.hop.src, way(datagram(src, to, make([]byte, 16))))
		return q.wire.ask(ask, q.wait)
	}
	seq := rand.Uint32()
	ask.frame = frame(q.hop.mac, q.hop.src, way(segment(src, to, flagSYN, seq, 0)))
	ask.reset = func(h *heard) []byte {
		return frame(q.hop.mac, q.hop.src, way(segment(src, to, flagRST|flagACK, h.ack, h.seq+1)))
	}
	return q.wire.ask(ask, q.wait)
}

func (q *asker) ping(n uint16, from, to netip.Addr, way func([]byte) []byte, length int) doctor.Answer {
	id := q.port + n
	ask := question{ifindex: q.hop.ifindex, from: netip.AddrPortFrom(from, id), to: netip.AddrPortFrom(to, 0), proto: protoICMP, mine: q.hop.src}
	if to.Is6() {
		ask.proto = protoICMP6
	}
	ask.frame = frame(q.hop.mac, q.hop.src, way(echo(from, to, id, length)))
	return q.wire.ask(ask, q.wait)
}

// askClaims asks who has each virtual address, on the interfaces of its real servers and of its VRRP instance.
func (l *looker) askClaims(s *control.Status, places map[netip.Addr]map[int]bool) {
	for _, r := range s.VRRP {
		for index, k := range l.links {
			if k.Name != r.Interface {
				continue
			}
			for _, v := range r.VIPs {
				if vip, err := prefixOrAddr(v); err == nil {
					if places[vip] == nil {
						places[vip] = map[int]bool{}
					}
					places[vip][index] = true
				}
			}
		}
	}
	for vip, at := range places {
		for index := range at {
			if k := l.links[index]; k.Ethernet && k.Ready() {
				_ = l.wire.send(index, whoHas(k.MAC, linkLocal(index), vip))
			}
		}
	}
}

// linkLocal is an interface's own address of the segment, or not valid.
func linkLocal(ifindex int) netip.Addr {
	if link, err := net.InterfaceByIndex(ifindex); err == nil {
		all, _ := link.Addrs()
		for _, a := range all {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
				return p.Addr()
			}
		}
	}
	return netip.Addr{}
}

type connKey struct{ service, real netip.AddrPort }
type connCount struct{ opening, complete int }

// connections counts how far the connections of each real server have come.
func connections(ctx context.Context, src control.Source) map[connKey]connCount {
	out := map[connKey]connCount{}
	_ = src.Conns(ctx, func(c lb.Conn) bool {
		if c.Template || c.Protocol != lb.TCP {
			return true
		}
		k := connKey{c.Virtual, c.Real}
		n := out[k]
		if c.State == lb.SynRecv || c.State == lb.SynSent || c.State == lb.SynAck {
			n.opening++
		} else {
			n.complete++
		}
		out[k] = n
		return true
	})
	return out
}

// skew asks a web server for its Date (RFC 9110 6.6.1) by its own address; other servers say none.
func skew(ctx context.Context, r *doctor.Real, wait time.Duration) (time.Duration, bool) {
	if r.UDP {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://"+r.Addr.String()+"/", nil)
	if err != nil {
		return 0, false
	}
	t := &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10}
	began := time.Now()
	resp, err := t.RoundTrip(req)
	if err != nil {
		return 0, false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10))
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return 0, false
	}
	middle := began.Add(time.Since(began) / 2)
	return date.Add(500 * time.Millisecond).Sub(middle), true // the header has whole seconds
}

// ErrNothing says that no real server is meant.
var ErrNothing = errors.New("no real server and no service is called so")
