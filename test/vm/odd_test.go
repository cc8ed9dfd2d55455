package vm

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"vipd/internal/lb"
	"vipd/internal/need"
	"vipd/internal/plane"
	"vipd/internal/vm"
)

//go:embed testdata/twin.sh
var twinScript string

const (
	oddVar     = "VIPD_ODD" // another number of packets: a thousand take a minute
	oddSeedVar = "VIPD_ODD_SEED"
	oddPackets = 700
	oddSeed    = 12
)

// TestTwoPlanesMakeTheSameOfOddPackets: packets whose headers chance makes, through each method of both families, get the same bytes to the same
// place on the kernel's IPVS and on the packet path: any type of service, TTL, size about the MTU, options and extension headers,
// flags, chunks, lengths that are wrong, padding, errors about packets and about tunnels, fragments. All of them are what they may be on a cable.
//
// What the packet path leaves to the host is given to a director without services, and that one's answer counts.
func TestTwoPlanesMakeTheSameOfOddPackets(t *testing.T) {
	t.Parallel()
	if !vm.Inside(t, vm.Config{Tools: []string{"ip", need.Tool(t, "nft"), need.Tool(t, "ethtool")}, Script: exported(oddVar, oddSeedVar) + historyScript + twinScript, CountInstructions: true, Limit: 30 * time.Minute}) {
		return
	}
	need.BPF(t)
	o := &odds{history: newHistory(t, uint64(numberOf(oddSeedVar, oddSeed)), 1<<14), twin: openWire(t, "outtwin"), port: 3000}
	for _, to := range []netip.Addr{historyVIP, historyVIP6} {
		for _, proto := range []lb.Protocol{lb.TCP, lb.UDP, lb.SCTP} {
			for _, host := range hostsOfOdds {
				s := lb.Service{ServiceKey: lb.ServiceKey{Protocol: proto, Addr: netip.AddrPortFrom(to, 1000+uint16(host))}, Scheduler: "rr"}
				o.apply("add a service", plane.Op{Verb: plane.AddService, Service: s})
				o.apply("add a real server", plane.Op{Verb: plane.AddReal, Service: s, Real: lb.Real{Addr: netip.AddrPortFrom(hostIn(to, host), 0), Weight: 1}})
			}
		}
	}
	wide := lb.Class{Mark: 99, Protocol: lb.UDP, To: netip.MustParsePrefix("::/0"), First: 7777, Last: 7777} // of nobody; every address may be a service's
	if err := o.xdp.SetClasses(append(slices.Clone(marksOfHistory), wide)); err != nil {
		t.Fatal(err)
	}
	steps := numberOf(oddVar, oddPackets)
	for o.step = 1; o.step <= steps && o.wrong < 20; o.step++ {
		if o.IntN(30) == 0 {
			o.retunnel()
		}
		[]func(){o.request, o.request, o.answer, o.failure, o.tunnelFailure, o.pieces}[o.IntN(6)]()
	}
	o.compare(false)
	t.Logf("%d odd packets: %v", o.step-1, o.done)
}

// hostsOfOdds have a method each, as methodOf says.
var hostsOfOdds = []byte{11, 13, 14, 15, 16}

type odds struct {
	*history
	twin *wire
	port uint16 // the last that a client had
}

// retunnel gives all tunnels another type. ipvs: knows an error about one by the type that any of this address has.
func (o *odds) retunnel() {
	to := tunnelsOfHistory[o.IntN(len(tunnelsOfHistory)-1)]
	for _, p := range o.pools {
		for _, r := range p.Reals {
			if r.Forward == lb.Tunnel {
				r.Tunnel = to
				o.apply("edit a real server", plane.Op{Verb: plane.EditReal, Service: p.Service, Real: r})
			}
		}
	}
}

func one[T any](o *odds, of ...T) T { return of[o.IntN(len(of))] }

// odd is a packet in parts.
type odd struct {
	src, dst netip.Addr
	from     mac
	proto    lb.Protocol
	tos, ttl byte
	id, frag uint16 // of IPv4
	flow     uint32 // of IPv6
	options  []byte // of IPv4, or extension headers of IPv6, of which next is the first
	next     byte
	body     []byte
	padding  int
}

func (p odd) packet() []byte {
	if p.src.Is4() {
		b := binary.BigEndian.AppendUint16([]byte{byte(0x45 + len(p.options)/4), p.tos}, uint16(20+len(p.options)+len(p.body)))
		b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, p.id), p.frag)
		b = append(append(b, p.ttl, byte(p.proto), 0, 0), p.src.AsSlice()...)
		b = append(append(b, p.dst.AsSlice()...), p.options...)
		binary.BigEndian.PutUint16(b[10:], ^sum16(b))
		return append(b, p.body...)
	}
	next := byte(p.proto)
	if p.options != nil {
		next = p.next
	}
	b := binary.BigEndian.AppendUint32(nil, 6<<28|uint32(p.tos)<<20|p.flow)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(p.options)+len(p.body))), next, p.ttl)
	b = append(append(b, p.src.AsSlice()...), p.dst.AsSlice()...)
	return append(append(b, p.options...), p.body...)
}

func (p odd) frame() []byte {
	b := append(directorMAC[:len(directorMAC):6], p.from[:]...)
	if p.src.Is4() {
		b = append(b, 8, 0)
	} else {
		b = append(b, 0x86, 0xdd)
	}
	return append(append(b, p.packet()...), make([]byte, p.padding)...)
}

// sum fills in the checksum.
func (p *odd) sum() {
	if p.proto == lb.SCTP {
		clear(p.body[8:12])
		binary.LittleEndian.PutUint32(p.body[8:], crc32.Checksum(p.body, crc32.MakeTable(crc32.Castagnoli)))
		return
	}
	at := map[lb.Protocol]int{lb.TCP: 16, lb.UDP: 6, unix.IPPROTO_ICMP: 2, unix.IPPROTO_ICMPV6: 2}[p.proto]
	clear(p.body[at : at+2])
	pseudo := append(append(p.src.AsSlice(), p.dst.AsSlice()...), 0, byte(p.proto), byte(len(p.body)>>8), byte(len(p.body)))
	if p.proto == unix.IPPROTO_ICMP {
		pseudo = nil
	}
	s := ^sum16(append(pseudo, p.body...))
	if s == 0 && p.proto == lb.UDP {
		s = 0xffff
	}
	binary.BigEndian.PutUint16(p.body[at:], s)
}

func (o *odds) random(n int) []byte {
	b := make([]byte, max(n, 0))
	for i := range b {
		b[i] = byte(o.Uint32())
	}
	return b
}

// transport is a header and what is behind it, of this many bytes at most.
func (o *odds) transport(proto lb.Protocol, from, to netip.AddrPort, begins, reply bool, most int) []byte {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, from.Port()), to.Port())
	data := o.random(one(o, 0, 1, 7, 100, most-20))
	switch proto {
	case lb.TCP:
		flags := one(o, byte(ack), ack, ack|8, fin|ack, rst, syn|ack, byte(o.Uint32()))
		if begins {
			flags = syn | byte(o.Uint32())&one(o, byte(0), 0xe8)
		}
		offset := one(o, byte(5), 5, 5, 6, byte(o.IntN(16))) // of the data: any
		return append(append(b, 0, 0, 0, 1, 0, 0, 0, 2, offset<<4, flags, 0xff, 0xff, 0, 0, 0, byte(o.IntN(3))), data...)
	case lb.UDP:
		n := one(o, 8+len(data), 8+len(data), 8+len(data), 0, 7, 9+len(data), 65535)
		return append(append(b, byte(n>>8), byte(n), 0, 0), data...)
	}
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 0)
	for i := range 1 + o.IntN(3) {
		kind := one(o, one(o, sctpEvents...), one(o, sctpAnswers...), byte(o.Uint32()))
		if i == 0 && begins {
			kind = 1
		}
		value := o.random(4 * o.IntN(3))
		n := one(o, 4+len(value), 4+len(value), 4+len(value), o.IntN(16))
		b = append(append(b, kind, 0, 0, byte(n)), value...)
	}
	return b
}

// dress makes the network header odd. ipvs: takes a fragment header off that stands before a whole packet.
func (o *odds) dress(p *odd) {
	p.tos, p.ttl = one(o, 0, byte(o.Uint32()), 1, 2, 3, 0xbb), one(o, byte(64), 64, 64, 255, 2, 1, 0)
	p.id, p.frag, p.flow = one(o, uint16(o.Uint32()), 0), one(o, uint16(0), 0x4000, 0x8000, 0xc000), o.Uint32()&0xfffff
	proto, way := byte(p.proto), []byte{}
	if p.src.Is4() {
		p.options = one(o, nil, nil, nil, []byte{1, 1, 1, 0}, []byte{148, 4, 0, 0}, []byte{0x88, 4, 0, 9}) // No Operation, Router Alert, Stream Identifier
		return
	}
	switch p.next = one(o, byte(59), 59, 59, 60, 0, 43, 51, 135); p.next {
	case 60, 135: // options for the destination; mobility, behind which nothing is looked for
		p.options = []byte{proto, 0, 1, 4, 0, 0, 0, 0}
	case 0: // for every hop: Router Alert (RFC 2711)
		p.options = []byte{60, 0, 5, 2, 0, 0, 1, 0, proto, 0, 1, 4, 0, 0, 0, 0}
	case 43:
		way = append(way, proto, 2, one(o, byte(0), 2, 4), byte(o.IntN(2)), 0, 0, 0, 0)
		p.options = append(way, p.src.AsSlice()...)
	case 51:
		p.options = append([]byte{proto, 4, 0, 0}, make([]byte, 20)...)
	}
}

// met is a connection that there is, of a new client.
type met struct {
	proto               lb.Protocol
	client, virtual, to netip.AddrPort
	forward             lb.Forward
}

// client is a new one. Some have addresses that the packet path's filters take for a service's or a real server's.
func (o *odds) client(six bool) netip.AddrPort {
	o.port++
	a := one(o, netip.AddrFrom4([4]byte{10, 0, 4, byte(1 + o.IntN(200))}), netip.MustParseAddr("10.9.8.9"), netip.MustParseAddr("10.9.8.13"))
	if six {
		a = one(o, hostIn(netip.MustParseAddr("fd00:4::"), byte(1+o.IntN(200))), netip.MustParseAddr("fd00:4::5"), netip.MustParseAddr("fd00:3::6"))
	}
	return netip.AddrPortFrom(a, o.port)
}

// meet opens a connection to one of these real servers.
func (o *odds) meet(hosts ...byte) (m met) {
	host, six := one(o, hosts...), o.IntN(2) == 0
	m = met{proto: one(o, lb.TCP, lb.UDP, lb.SCTP), client: o.client(six), virtual: netip.AddrPortFrom(historyVIP, 1000+uint16(host))}
	if six {
		m.virtual = netip.AddrPortFrom(historyVIP6, m.virtual.Port())
	}
	r := o.pools[lb.ServiceKey{Protocol: m.proto, Addr: m.virtual}].Reals[0]
	m.to, m.forward = r.Addr, r.Forward
	o.same("first", m, segment{proto: m.proto, from: m.client, to: m.virtual, event: map[lb.Protocol]byte{lb.TCP: syn, lb.SCTP: 1}[m.proto]}.frame(routerMAC))
	return m
}

// request is a client's packet, of a connection or of none.
func (o *odds) request() {
	m := o.meet(hostsOfOdds...)
	begins := o.IntN(2) == 0
	if begins {
		m.client = o.client(m.client.Addr().Is6())
	}
	p := odd{src: m.client.Addr(), dst: m.virtual.Addr(), from: routerMAC, proto: m.proto}
	p.body = o.transport(m.proto, m.client, m.virtual, begins, false, one(o, 1400, 1452, 1472, 1480))
	o.send("request", m, p)
}

// answer is a NAT real server's packet.
func (o *odds) answer() {
	m := o.meet(13, 15)
	p := odd{src: m.to.Addr(), dst: m.client.Addr(), from: serverMAC(m.to.Addr()), proto: m.proto}
	p.body = o.transport(m.proto, m.to, m.client, false, true, one(o, 1400, 1440, 1480))
	o.send("answer", m, p)
}

func (o *odds) send(what string, m met, p odd) {
	o.dress(&p)
	p.body = p.body[:min(len(p.body), 1500-(len(p.packet())-len(p.body)))]
	p.sum()
	switch size := len(p.packet()); {
	case size > 1300:
		p.frag |= 0x4000 // what is too large and may be fragmented is dropped (docs/limits.md)
	case o.IntN(8) == 0:
		p.padding = o.IntN(20)
	}
	if what == "answer" {
		p.ttl = max(p.ttl, 2) // else the host tells the real server
	}
	// ipvs: masquerades a datagram without a checksum to one with.
	if m.proto == lb.UDP && m.forward != lb.Masq && p.src.Is4() && o.IntN(4) == 0 {
		clear(p.body[6:8])
	}
	o.same(what, m, p.frame())
}

// failure is an ICMP error about a packet of a connection, with an IP header of any kind in it.
func (o *odds) failure() {
	m := o.meet(hostsOfOdds...)
	in := odd{src: m.virtual.Addr(), dst: m.client.Addr(), proto: m.proto, body: o.transport(m.proto, m.virtual, m.client, false, true, 300)}
	if m.forward == lb.Masq && o.IntN(2) == 0 {
		in = odd{src: m.client.Addr(), dst: m.to.Addr(), proto: m.proto, body: o.transport(m.proto, m.client, m.to, false, false, 300)}
	}
	o.dress(&in)
	in.sum()
	quote := in.packet()
	o.tell("error", m, in.src, quote[:len(quote)-o.IntN(len(in.body)-7)], false)
}

// tunnelFailure is one about what the kernel has put into a tunnel. ipvs: follows those of IPv4 in IPv4 (docs/limits.md).
func (o *odds) tunnelFailure() {
	m := o.meet(14)
	if m.client.Addr().Is6() {
		return
	}
	p := odd{src: m.client.Addr(), dst: m.virtual.Addr(), from: routerMAC, proto: m.proto, body: o.transport(m.proto, m.client, m.virtual, false, false, 700)}
	o.dress(&p)
	p.ttl = 64
	p.sum()
	sent := o.wire.exchange(o, p.frame())
	if _, _, err := o.lb.Test(p.frame()); err != nil { // the connection has the same state here
		o.Fatal(err)
	}
	if len(sent) != 1 {
		o.disagree("%d packets of one: %+v", len(sent), p)
		return
	}
	quote := sent[0][14:][:binary.BigEndian.Uint16(sent[0][16:])]
	o.tell("error about a tunnel", m, directorAddr, quote[:len(quote)-o.IntN(len(p.body)-7)], true)
}

// tell sends the error. ipvs: also kinds of ICMPv6 that no standard has, and what stands in a word that says nothing.
func (o *odds) tell(what string, m met, to netip.Addr, quote []byte, tunnel bool) {
	out := odd{src: routerAddr, dst: to, from: routerMAC, proto: unix.IPPROTO_ICMP}
	kind := []byte{one(o, byte(3), 3, 4, 11, 12, 5, 0, 8), byte(o.IntN(16))}
	if to.Is6() {
		out.src, out.proto = routerAddr6, unix.IPPROTO_ICMPV6
		kind = []byte{one(o, byte(1), 2, 3, 4, 128, 137), byte(o.IntN(7))}
	}
	if tunnel && kind[0] == 3 && kind[1] == 4 {
		kind[1] = 3 // no size: the kernel would keep it for other packets
	}
	size := uint16(0)
	if kind[0] == 2 || kind[0] == 3 && kind[1] == 4 {
		size = uint16(500 + o.IntN(1000))
	}
	out.body = append(append(kind, 0, 0, 0, 0, byte(size>>8), byte(size)), quote...)
	o.dress(&out)
	out.ttl = max(out.ttl, 1)
	if tunnel {
		out.ttl = 64
	}
	if to.Is6() {
		out.options = nil // no error has extension headers
	}
	out.sum()
	o.same(what, m, out.frame())
}

// pieces is a packet in fragments, by direct routing and by NAT, either way. ipvs: puts it together, and sends what comes out.
func (o *odds) pieces() {
	m := o.meet(11, 13, 15)
	if m.proto == lb.SCTP && m.to.Port() != m.virtual.Port() {
		return // docs/limits.md
	}
	p := odd{src: m.client.Addr(), dst: m.virtual.Addr(), from: routerMAC, proto: m.proto, body: o.transport(m.proto, m.client, m.virtual, false, false, 3000)}
	if m.forward == lb.Masq && o.IntN(2) == 0 {
		p = odd{src: m.to.Addr(), dst: m.client.Addr(), from: serverMAC(m.to.Addr()), proto: m.proto, body: o.transport(m.proto, m.to, m.client, false, true, 3000)}
	}
	p.body = append(p.body, make([]byte, max(0, 100-len(p.body)))...)
	p.tos, p.ttl, p.id = one(o, 0, byte(o.Uint32())&^3), one(o, byte(64), 255, 2), uint16(o.Uint32())
	p.sum()
	frames := p.cut(one(o, 1400, 512, 32))
	kernel := o.wire.exchange(o, frames...)
	ours, passed := o.ours(frames)
	if k, x := whole(kernel), whole(ours); !bytes.Equal(k, x) || len(passed) > 0 || len(k) == 0 {
		o.disagree("%d pieces of %+v\nthe kernel: % x\nthe packet path: % x\nand left %d to the host", len(frames), m, k, x, len(passed))
	}
	o.done["in pieces"]++
}

// cut makes fragments of a size that is a multiple of eight.
func (p odd) cut(size int) (frames [][]byte) {
	body := p.body
	for at := 0; at < len(body); at += size {
		p.body = body[at:min(len(body), at+size)]
		more := uint16(0)
		if at+size < len(body) {
			more = 1
		}
		p.frag = uint16(at/8) | more<<13
		if p.src.Is6() {
			offset := uint16(at) | more
			p.next, p.options = unix.IPPROTO_FRAGMENT, []byte{byte(p.proto), 0, byte(offset >> 8), byte(offset), 0, 7, byte(p.id >> 8), byte(p.id)}
		}
		frames = append(frames, p.frame())
	}
	return frames
}

// whole is the packet that came in frames, its pieces in order: to whom, what stays of its header, and its body. Nothing if it is not one.
func whole(frames [][]byte) (all []byte) {
	type piece struct {
		at   int
		body []byte
	}
	var pieces []piece
	for _, f := range frames {
		ip := f[14:]
		head, one := append(slices.Clone(f[:6]), ip[1], ip[8], ip[9]), piece{int(binary.BigEndian.Uint16(ip[6:])&0x1fff) * 8, ip[20:max(20, min(len(ip), int(binary.BigEndian.Uint16(ip[2:]))))]}
		head = append(head, ip[12:20]...)
		if f[12] == 0x86 {
			head, one = append(append(slices.Clone(f[:6]), ip[:2]...), ip[7:40]...), piece{0, ip[40 : 40+int(binary.BigEndian.Uint16(ip[4:]))]}
			if ip[6] == unix.IPPROTO_FRAGMENT {
				one = piece{int(binary.BigEndian.Uint16(one.body[2:]) &^ 7), one.body[8:]}
			}
		}
		if all != nil && !bytes.Equal(all, head) {
			return nil
		}
		all, pieces = head, append(pieces, one)
	}
	slices.SortFunc(pieces, func(a, b piece) int { return a.at - b.at })
	end := 0
	for _, one := range pieces {
		if one.at != end {
			return nil
		}
		all, end = append(all, one.body...), end+len(one.body)
	}
	return all
}

// ours is what comes of frames on the packet path, and what it leaves to the host.
func (o *odds) ours(frames [][]byte) (sent, passed [][]byte) {
	const drop, pass, tx, redirect = 1, 2, 3, 4
	for _, f := range frames {
		r := ebpf.RunOptions{Data: f, DataOut: make([]byte, len(f)+128)}
		verdict, err := o.lb.Run(&r)
		switch {
		case err != nil:
			o.Fatal(err)
		case verdict == tx || verdict == redirect:
			sent = append(sent, r.DataOut)
		case verdict == pass:
			passed = append(passed, f)
		case verdict != drop:
			o.disagree("verdict %d", verdict)
		}
	}
	return sent, passed
}

// same gives one frame to both planes, which must make the same of it.
func (o *odds) same(what string, m met, frame []byte) {
	o.Helper()
	o.note(what, "%s of %+v: % x", what, m, frame)
	o.apart = false
	kernel := o.wire.exchange(o, frame)
	sent, passed := o.ours([][]byte{frame})
	if passed != nil {
		sent = o.twin.exchange(o, passed...)
	}
	if k, x := toldOdd(kernel), toldOdd(sent); !slices.Equal(k, x) {
		o.disagree("%s of %+v: % x\nthe kernel: %q\nthe packet path, which left %d to the host: %q", what, m, frame, k, len(passed), x)
	}
}

// toldOdd is told, with all of what a client is told by the director: what it says of the size, its own header and the whole quote.
func toldOdd(frames [][]byte) (words []string) {
	for _, f := range frames {
		s, ip := told(f), slices.Clone(f[14:])
		switch {
		case f[12] == 8 && ip[9] == unix.IPPROTO_ICMP:
			// The identification is the director's. ipvs: the type of service is more like the client's (RFC 1349 5.1 wants none).
			ip[1] = 0
			clear(ip[4:6])
			clear(ip[10:12])
			s += fmt.Sprintf(" % x", ip)
		case f[12] == 0x86 && ip[6] == unix.IPPROTO_ICMPV6:
			s += fmt.Sprintf(" % x", ip[4:])
		}
		words = append(words, s)
	}
	slices.Sort(words)
	return words
}
