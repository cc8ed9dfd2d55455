package bpf

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// TestOwnSocketsGoToARealServer has a row for each thing that a real server may be, and tries it with each kind of socket.
func TestOwnSocketsGoToARealServer(t *testing.T) {
	const sent, here, family, refused = SocketSocketOutcomeSOCKET_SENT, SocketSocketOutcomeSOCKET_HERE, SocketSocketOutcomeSOCKET_FAMILY, SocketSocketOutcomeSOCKET_REFUSED
	rows := []struct {
		name   string
		to     string
		real   func(*LbReal) // nil: none
		server string
		want   SocketSocketOutcome
	}{
		{"direct routing", "10.0.8.9:80", func(*LbReal) {}, "10.0.8.11:80", sent},
		{"direct routing keeps the port", "10.0.8.9:83", func(*LbReal) {}, "10.0.8.11:83", sent},
		{"a tunnel too", "10.0.8.9:84", func(e *LbReal) { e.Forward = 2 }, "10.0.8.11:84", sent},
		{"NAT", "10.0.8.9:85", func(e *LbReal) { e.Forward, e.Port = masq, port2(8080) }, "10.0.8.11:8080", sent},
		{"NAT by the same port", "10.0.8.9:86", func(e *LbReal) { e.Forward, e.Port = masq, 0 }, "10.0.8.11:86", sent},
		{"this host", "10.0.8.9:87", func(e *LbReal) { e.Forward = 1 }, "10.0.8.9:87", here},
		{"an address of this host", "10.0.8.9:88", func(e *LbReal) { e.Flags |= uint8(LbRealFlagREAL_LOCAL) }, "10.0.8.9:88", here},
		{"this host by another port", "10.0.8.9:89", func(e *LbReal) { e.Forward, e.Port, e.Flags = masq, port2(8080), uint8(LbRealFlagREAL_LOCAL) }, "10.0.8.11:8080", sent},
		{"this host by the same port", "10.0.8.9:90", func(e *LbReal) { e.Forward, e.Port, e.Flags = masq, port2(90), uint8(LbRealFlagREAL_LOCAL) }, "10.0.8.9:90", here},
		{"one of IPv6", "10.0.8.9:91", func(e *LbReal) { e.Addr, e.Flags = addr6(vip6.Addr()), uint8(LbRealFlagREAL_IPV6) }, "10.0.8.9:91", family},
		{"none", "10.0.8.9:92", nil, "refused", refused},
		{"IPv6", "[2001:db8:8::9]:80", func(*LbReal) {}, "[2001:db8:8::b]:80", sent},
		{"NAT of IPv6", "[2001:db8:8::9]:85", func(e *LbReal) { e.Forward, e.Port = masq, port2(8080) }, "[2001:db8:8::b]:8080", sent},
		{"one of IPv4", "[2001:db8:8::9]:91", func(e *LbReal) { e.Addr, e.Flags = [4]uint32{addr4(realAddr(1))}, 0 }, "[2001:db8:8::9]:91", family},
		{"none of IPv6", "[2001:db8:8::9]:92", nil, "refused", refused},
		{"not mapped: the first word", "[2001:db8::ffff:a00:809]:80", func(*LbReal) {}, "[2001:db8:8::b]:80", sent},
		{"not mapped: the second word", "[0:0:1::ffff:a00:809]:80", func(*LbReal) {}, "[2001:db8:8::b]:80", sent},
		{"not mapped: the third word", "[::8:9]:80", func(*LbReal) {}, "[2001:db8:8::b]:80", sent},
	}
	var servers []string
	for _, row := range rows {
		if row.server != "refused" && !slices.Contains(servers, row.server) {
			servers = append(servers, row.server)
		}
	}
	h := ownHostOf(newRig(t, 4), servers...)
	for _, row := range rows {
		h.renew(t)
		reals := map[uint8]uint32{}
		for _, proto := range []uint8{tcpProto, udpProto} {
			s := h.serve(at(row.to), proto, LbSchedulerSCHED_RR)
			if row.real == nil {
				continue
			}
			reals[proto] = s.addHost(11, 1)
			h.change(reals[proto], row.real)
		}
		for _, network := range []string{"tcp4", "tcp6", "udp4", "udp6", "udp4 connected", "udp6 connected"} {
			to, what := at(row.to), row.name+", "+network
			if to.Addr().Is6() && network[3] == '4' {
				continue
			}
			proto := map[bool]uint8{true: tcpProto, false: udpProto}[network[:3] == "tcp"]
			want := said{server: row.server}
			if row.want != refused && network[:3] == "udp" {
				want.from = seen(to, network)
			}
			if row.want != refused && (network[:3] == "tcp" || strings.HasSuffix(network, " connected")) {
				want.peer = seen(to, network)
			}
			h.countsOne(what, row.want, reals[proto], func() {
				if got := h.dial(network, to); got != want {
					t.Fatalf("%s: %+v, want %+v", what, got, want)
				}
			})
		}
	}
}

// TestOwnSocketsThatAreLeftAlone: what they connect to is what they asked for, and nothing is counted.
func TestOwnSocketsThatAreLeftAlone(t *testing.T) {
	h := newOwnHost(t, "10.0.8.9:81", "10.0.8.11:80", "[2001:db8:8::9]:81", "[2001:db8:8::b]:80", "10.0.8.9:80", "[2001:db8:8::9]:80", "10.0.8.9:443")
	for _, at := range []netip.AddrPort{vip, vip6} {
		for _, proto := range []uint8{tcpProto, udpProto} {
			h.serve(at, proto, LbSchedulerSCHED_RR).addHost(11, 1)
		}
	}
	alone := func(to string) {
		t.Helper()
		for _, network := range []string{"tcp4", "tcp6", "udp4", "udp6", "udp4 connected"} {
			if at(to).Addr().Is6() && network[3] == '4' {
				continue
			}
			h.countsOne(network+" "+to, nothing, 0, func() {
				if got := h.dial(network, at(to)); got.server != to || got.peer != "" && got.peer != seen(at(to), network) || got.from != "" && got.from != seen(at(to), network) {
					t.Errorf("%s to %s: %+v", network, to, got)
				}
			})
		}
	}
	alone("10.0.8.11:80")       // the real server's own address
	alone("10.0.8.9:81")        // another port
	alone("[2001:db8:8::9]:81") // the same of IPv6
	alone("[2001:db8:8::b]:80")
	gone := h.serve(at("10.0.8.9:443"), tcpProto, LbSchedulerSCHED_RR)
	h.put(h.ServiceIndex, gone.owner.four(), h.Services.MaxEntries()) // there is no such service
	h.put(h.Services, gone.index, LbService{})
	alone("10.0.8.9:443")
	// And everything that another namespace's sockets do.
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	h.servers = nil
	h.allAddresses()
	h.listen(vip)
	h.listen(vip6)
	alone(vip.String())
	alone(vip6.String())
}

// TestOwnSocketsOfOtherProtocols: where a firewall mark's service has all of an address, it has TCP and UDP of it, as of packets.
func TestOwnSocketsOfOtherProtocols(t *testing.T) {
	h := newOwnHost(t, "10.0.8.11:80")
	h.serveMark(7, LbSchedulerSCHED_RR, class("10.0.8.9/32")).addHost(11, 1)
	h.serveMark(8, LbSchedulerSCHED_RR, class("2001:db8:8::9/128")).addHost(12, 1)
	if got := h.dial("tcp4", vip); got.server != "10.0.8.11:80" {
		t.Fatalf("TCP of the mark: %+v", got)
	}
	for _, to := range []netip.AddrPort{vip, vip6} {
		six := to.Addr().Is6()
		ping := map[bool]int{false: unix.IPPROTO_ICMP, true: unix.IPPROTO_ICMPV6}[six]
		h.countsOne("a ping", nothing, 0, func() {
			if err := unix.Connect(h.socket(six, unix.SOCK_DGRAM, ping), sockaddr(to, six)); err != nil {
				t.Fatal(err)
			}
		})
		h.countsOne("UDP-Lite", nothing, 0, func() {
			if err := unix.Sendto(h.socket(six, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE), []byte("who?"), 0, sockaddr(to, six)); err != nil {
				t.Fatal(err)
			}
		})
	}
	if n := entries(t, h.Names); n != 1 {
		t.Errorf("%d names are kept", n)
	}
}

func entries(t *testing.T, m *ebpf.Map) (n int) {
	t.Helper()
	key, value := make([]byte, m.KeySize()), make([]byte, m.ValueSize())
	all := m.Iterate()
	for all.Next(&key, &value) {
		n++
	}
	if err := all.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// socketKey and socketChoice are as in shared.h.
type socketKey struct {
	Cookie    uint64
	Addr      [4]uint32
	Port      uint16
	Proto, V6 uint8
	_         uint32
}

type socketChoice struct {
	Real, Serial, Tick uint32
	_                  uint32
}

// chosen are the choices that are kept.
func (h *ownHost) chosen() map[socketKey]socketChoice {
	h.Helper()
	found, k, c := map[socketKey]socketChoice{}, socketKey{}, socketChoice{}
	all := h.Choices.Iterate()
	for all.Next(&k, &c) {
		found[k] = c
	}
	if err := all.Err(); err != nil {
		h.Fatal(err)
	}
	return found
}

// asks fails unless a datagram of this socket goes to a server, and is counted or not.
func (s *ownSocket) asks(what string, to netip.AddrPort, server string, want SocketSocketOutcome) {
	s.Helper()
	s.countsOne(what, want, 0, func() {
		s.Helper()
		if got := s.ask(to); got.server != server || got.from != seen(to, map[bool]string{true: "udp6", false: "udp4"}[s.six]) {
			s.Fatalf("%s: %+v, want %s", what, got, server)
		}
	})
}

// TestOwnDatagramsAreOneConnection: those of one socket to one address, until none has been sent for as long as UDP's connections last.
func TestOwnDatagramsAreOneConnection(t *testing.T) {
	const sent = SocketSocketOutcomeSOCKET_SENT
	h := newOwnHost(t, "10.0.8.11:80", "10.0.8.12:80", "[2001:db8:8::b]:80", "[2001:db8:8::c]:80")
	for _, row := range []struct {
		network string
		to      netip.AddrPort
		servers [2]string
	}{
		{"udp4", vip, [2]string{"10.0.8.11:80", "10.0.8.12:80"}},
		{"udp6", vip, [2]string{"10.0.8.11:80", "10.0.8.12:80"}},
		{"udp6", vip6, [2]string{"[2001:db8:8::b]:80", "[2001:db8:8::c]:80"}},
	} {
		h.renew(t)
		s := h.serve(row.to, udpProto, LbSchedulerSCHED_RR)
		b, a := s.addHost(12, 1), s.addHost(11, 1) // the newest comes first
		one, two := h.open(row.network), h.open(row.network)
		one.asks("the first", row.to, row.servers[0], sent)
		two.asks("another socket's", row.to, row.servers[1], sent)
		one.asks("the second", row.to, row.servers[0], nothing)
		two.asks("another socket's second", row.to, row.servers[1], nothing)
		for range 2 { // the second time since it was used in between
			h.advance(300*ticksPerSecond - 1)
			one.asks("in time", row.to, row.servers[0], nothing)
		}
		h.advance(300 * ticksPerSecond)
		one.asks("too late", row.to, row.servers[0], sent)
		s.weigh(a, 0)
		h.tune(func(t *LbTunables) { t.ExpireQuiescentTemplate = 1 }) // it is no template
		one.asks("its server gets no new ones", row.to, row.servers[0], nothing)
		s.weigh(a, 1)
		h.change(a, func(e *LbReal) { e.Serial += 1000 })
		two.asks("the other one's turn", row.to, row.servers[1], sent)
		one.asks("another server has its place", row.to, row.servers[0], sent)
		s.remove(a)
		one.asks("its server is removed", row.to, row.servers[1], sent)
		s.restore(a, 1)
		one.asks("it is there again", row.to, row.servers[1], nothing)
		for k, c := range h.chosen() {
			c.Real = uint32(LbNumberNO_REAL)
			h.put(h.Choices, k, c)
		}
		one.asks("no such server", row.to, row.servers[0], sent)
		s.remove(a)
		s.remove(b)
		if got := one.ask(row.to); got.server != "refused" {
			t.Errorf("without servers: %+v", got)
		}
	}
	// To two addresses: each has its own server, and answers have its name.
	h.renew(t)
	h.serve(vip, udpProto, LbSchedulerSCHED_RR).addHost(11, 1)
	h.serve(at("10.0.8.10:80"), udpProto, LbSchedulerSCHED_RR).addHost(12, 1)
	one := h.open("udp4")
	for _, want := range []SocketSocketOutcome{sent, nothing} {
		one.asks("to one", vip, "10.0.8.11:80", want)
		one.asks("to the other", at("10.0.8.10:80"), "10.0.8.12:80", want)
	}
}

// TestOwnDatagramsOfOnePacketEach: each is a connection, and nothing is kept of it.
func TestOwnDatagramsOfOnePacketEach(t *testing.T) {
	const sent = SocketSocketOutcomeSOCKET_SENT
	h := newOwnHost(t, "10.0.8.11:80", "10.0.8.12:80")
	s := h.serve(vip, udpProto, LbSchedulerSCHED_RR)
	s.flags = LbServiceFlagSERVICE_ONE_PACKET
	s.addHost(12, 1)
	s.addHost(11, 1)
	one := h.open("udp4")
	for _, server := range []string{"10.0.8.11:80", "10.0.8.12:80", "10.0.8.11:80"} {
		one.asks("one packet", vip, server, sent)
	}
	if n := len(h.chosen()); n != 0 {
		t.Errorf("%d choices are kept", n)
	}
	s.persist = 60
	s.write()
	for range 2 {
		one.asks("one packet of a persistent service", vip, "10.0.8.12:80", sent)
	}
}

// TestOwnSocketsShareAPersistentServer: this host is one client, whatever its sockets and ports are.
func TestOwnSocketsShareAPersistentServer(t *testing.T) {
	const seconds = 60
	h := newOwnHost(t, "10.0.8.11:80", "10.0.8.12:80", "10.0.8.11:443", "10.0.8.12:443", "10.0.8.11:21", "10.0.8.12:21", "10.0.8.11:2021", "10.0.8.12:2021",
		"[2001:db8:8::b]:80", "[2001:db8:8::c]:80", "[2001:db8:8::b]:443", "[2001:db8:8::c]:443")
	both := func(s *service) (a, b uint32) {
		s.persist = seconds
		b, a = s.addHost(12, 1), s.addHost(11, 1)
		return a, b
	}
	goes := func(what, network, to, server string) {
		t.Helper()
		if got := h.dial(network, at(to)); got.server != server {
			t.Fatalf("%s, %s: %+v, want %s", what, network, got, server)
		}
	}
	for _, to := range []netip.AddrPort{vip, vip6} {
		h.renew(t)
		a, b := "10.0.8.11:80", "10.0.8.12:80"
		if to.Addr().Is6() {
			a, b = "[2001:db8:8::b]:80", "[2001:db8:8::c]:80"
		}
		s := h.serve(to, tcpProto, LbSchedulerSCHED_RR)
		first, _ := both(s)
		for range 2 {
			h.countsOne("each connection", SocketSocketOutcomeSOCKET_SENT, first, func() { goes("of one port", "tcp6", to.String(), a) })
		}
		for range 2 {
			h.advance(seconds*ticksPerSecond - 1)
			goes("in time", "tcp6", to.String(), a)
		}
		h.advance(seconds * ticksPerSecond)
		goes("too late", "tcp6", to.String(), b)
		h.advance(seconds * ticksPerSecond)
		goes("too late again", "tcp6", to.String(), a)
		s.weigh(first, 0)
		goes("its server is to get no new ones", "tcp6", to.String(), a)
		h.tune(func(t *LbTunables) { t.ExpireQuiescentTemplate = 1 })
		goes("expire_quiescent_template", "tcp6", to.String(), b)
		s.weigh(first, 1)
		goes("and there it stays", "tcp6", to.String(), b)
		other := h.serve(netip.AddrPortFrom(to.Addr(), 443), tcpProto, LbSchedulerSCHED_RR)
		both(other)
		goes("another port is another service", "tcp6", netip.AddrPortFrom(to.Addr(), 443).String(), strings.Replace(a, ":80", ":443", 1))
	}
	for name, with := range map[string]func() (one, two netip.AddrPort, s *service){
		"every port": func() (netip.AddrPort, netip.AddrPort, *service) {
			return vip, at("10.0.8.9:443"), h.serve(at("10.0.8.9:0"), tcpProto, LbSchedulerSCHED_RR)
		},
		"every port of IPv6": func() (netip.AddrPort, netip.AddrPort, *service) {
			return vip6, at("[2001:db8:8::9]:443"), h.serve(at("[2001:db8:8::9]:0"), tcpProto, LbSchedulerSCHED_RR)
		},
		"FTP": func() (netip.AddrPort, netip.AddrPort, *service) {
			return at("10.0.8.9:21"), at("10.0.8.9:2021"), h.serve(at("10.0.8.9:21"), tcpProto, LbSchedulerSCHED_RR)
		},
		"a mark": func() (netip.AddrPort, netip.AddrPort, *service) {
			return vip, at("10.0.8.10:443"), h.serveMark(7, LbSchedulerSCHED_RR, class("10.0.8.8/29"))
		},
		"a mark of IPv6": func() (netip.AddrPort, netip.AddrPort, *service) {
			return vip6, at("[2001:db8:8::10]:443"), h.serveMark(7, LbSchedulerSCHED_RR, class("2001:db8:8::/64"))
		},
	} {
		h.renew(t)
		one, two, s := with()
		both(s)
		server := map[bool]string{false: "10.0.8.11", true: "[2001:db8:8::b]"}[s.six]
		for range 2 {
			for _, to := range []netip.AddrPort{one, two} {
				goes(name, "tcp6", to.String(), server+":"+strconv.Itoa(int(to.Port())))
			}
		}
		if s.fwmark == 0 {
			continue
		}
		goes("UDP of the same mark", "udp6", one.String(), server+":80")
	}
	// Datagrams: one socket's are a connection, and all sockets' go to one server.
	h.renew(t)
	s := h.serve(vip, udpProto, LbSchedulerSCHED_RR)
	a, _ := both(s)
	s.persist = 900 // longer than a connection of UDP
	s.write()
	one, two := h.open("udp4"), h.open("udp4")
	for range 2 {
		for _, socket := range []*ownSocket{one, two} {
			socket.asks("the first of a socket", vip, "10.0.8.11:80", SocketSocketOutcomeSOCKET_SENT)
			socket.asks("the second", vip, "10.0.8.11:80", nothing)
		}
		h.advance(300 * ticksPerSecond)
	}
	s.weigh(a, 0)
	h.tune(func(t *LbTunables) { t.ExpireQuiescentTemplate = 1 })
	one.asks("its connection has ended", vip, "10.0.8.12:80", SocketSocketOutcomeSOCKET_SENT)
}

// TestOwnSocketsBesideAService: what a service that is not persistent, or has no server, does with ports beside its own, as for packets.
func TestOwnSocketsBesideAService(t *testing.T) {
	const sent, refused = SocketSocketOutcomeSOCKET_SENT, SocketSocketOutcomeSOCKET_REFUSED
	h := newOwnHost(t, "10.0.8.11:21", "10.0.8.11:80", "10.0.8.11:2021", "10.0.8.9:2021")
	for _, row := range []struct {
		name          string
		service       uint16
		persist, real bool
		to            string
		server        string
		want          SocketSocketOutcome
	}{
		{"FTP", 21, false, true, "10.0.8.9:21", "10.0.8.11:21", sent},
		{"beside FTP", 21, false, true, "10.0.8.9:2021", "10.0.8.9:2021", nothing},
		{"FTP's data", 21, true, true, "10.0.8.9:2021", "10.0.8.11:2021", sent},
		{"FTP without servers", 21, true, false, "10.0.8.9:21", "refused", refused},
		{"beside FTP without servers", 21, true, false, "10.0.8.9:2021", "10.0.8.9:2021", nothing},
		{"every port", 0, true, true, "10.0.8.9:80", "10.0.8.11:80", sent},
		{"every port, not persistent", 0, false, true, "10.0.8.9:80", "refused", refused},
		{"every port without servers", 0, true, false, "10.0.8.9:80", "refused", refused},
	} {
		h.renew(t)
		s := h.serve(netip.AddrPortFrom(vip.Addr(), row.service), tcpProto, LbSchedulerSCHED_RR)
		if row.persist {
			s.persist = 60
			s.write()
		}
		if row.real {
			s.addHost(11, 1)
		}
		h.countsOne(row.name, row.want, 0, func() {
			if got := h.dial("tcp4", at(row.to)); got.server != row.server {
				t.Errorf("%s: %+v, want %s", row.name, got, row.server)
			}
		})
	}
}

// TestOwnSocketsByScheduler: who hashes addresses sees the one that the socket asked for as its client's.
func TestOwnSocketsByScheduler(t *testing.T) {
	const hosts = 3
	var servers []string
	for host := 11; host < 11+hosts; host++ {
		servers = append(servers, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 8, byte(host)}), 80).String(),
			netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 8, 15: byte(host)}), 80).String())
	}
	h := newOwnHost(t, servers...)
	goes := func(what string, to netip.AddrPort, real byte) {
		t.Helper()
		want := "refused"
		if real != 0 {
			want = servers[2*(real-1)+map[bool]byte{true: 1}[to.Addr().Is6()]]
		}
		if got := h.dial("tcp6", to); got.server != want {
			t.Errorf("%s, %v: %+v, want %s", what, to, got, want)
		}
	}
	for name, scheduler := range map[string]LbScheduler{"sh": LbSchedulerSCHED_SH, "dh": LbSchedulerSCHED_DH, "mh": LbSchedulerSCHED_MH} {
		for n := range 12 {
			to := at("10.0.8.100:80")
			if n%2 != 0 {
				to = at("[2001:db8:8:1:2:3:4:100]:80")
			}
			for range n {
				to = netip.AddrPortFrom(to.Addr().Next(), 80)
			}
			h.renew(t)
			s := h.serve(to, tcpProto, scheduler)
			for range hosts {
				s.add(1)
			}
			_, out, why := h.run(frame{flags: syn, from: netip.AddrPortFrom(to.Addr(), 0), to: to}.bytes())
			if why != LbReasonFORWARD_NEW {
				t.Fatalf("%s: %s", name, why.name())
			}
			goes(name, to, out[5])
		}
	}
	for name, scheduler := range map[string]LbScheduler{"wlc": LbSchedulerSCHED_WLC, "lblc": LbSchedulerSCHED_LBLC, "lblcr": LbSchedulerSCHED_LBLCR} {
		h.renew(t)
		s := h.serve(vip, tcpProto, scheduler)
		a, b := s.add(1), s.add(4)
		for _, row := range []struct {
			active [2]uint32
			to     uint32
		}{{[2]uint32{1, 3}, b}, {[2]uint32{1, 5}, a}, {[2]uint32{1, 3}, b}} { // by weight, and nobody is remembered
			h.put(h.RealCounts, a, LbRealCount{Active: row.active[0]})
			h.put(h.RealCounts, b, LbRealCount{Active: row.active[1]})
			goes(name, vip, byte(row.to))
		}
	}
	for _, clients := range []string{"10.0.8.9/32", "10.0.8.10/32", "2001:db8:8::9/128", "2001:db8:8::a/128"} {
		h.renew(t)
		to := vip
		if strings.Contains(clients, ":") {
			to = vip6
		}
		h.serveMark(7, LbSchedulerSCHED_RR, classed(netip.PrefixFrom(to.Addr(), to.Addr().BitLen()).String(), from(clients))).add(1)
		goes("a mark of clients in "+clients, to, map[bool]byte{true: 1}[netip.MustParsePrefix(clients).Contains(to.Addr())])
	}
	h.renew(t)
	s := h.serve(vip, tcpProto, LbSchedulerSCHED_RR)
	s.add(1)
	goes("a pool", vip, 1)
	s.pool = h.Pools.MaxEntries()
	s.write()
	goes("no such pool", vip, 0)
}

// TestOwnSocketsNames: a socket that was never pointed elsewhere is told what the kernel has, also of the address that others got.
func TestOwnSocketsNames(t *testing.T) {
	h := newOwnHost(t, "10.0.8.11:80", "[2001:db8:8::b]:80")
	h.serve(vip, tcpProto, LbSchedulerSCHED_RR).addHost(11, 1)
	h.serve(vip6, tcpProto, LbSchedulerSCHED_RR).addHost(11, 1)
	for _, row := range []struct{ network, to, real string }{
		{"tcp4", "10.0.8.9:80", "10.0.8.11:80"}, {"tcp6", "10.0.8.9:80", "10.0.8.11:80"}, {"tcp6", "[2001:db8:8::9]:80", "[2001:db8:8::b]:80"},
	} {
		for to, server := range map[string]string{row.to: row.real, row.real: row.real} {
			if got := h.dial(row.network, at(to)); got.server != server || got.peer != seen(at(to), row.network) {
				t.Errorf("%s to %s: %+v", row.network, to, got)
			}
		}
	}
	// The name goes by the real server's address, and by the socket: the last one that was asked for.
	h.renew(t)
	h.serve(vip, udpProto, LbSchedulerSCHED_RR).addHost(11, 1)
	h.serve(at("10.0.8.10:80"), udpProto, LbSchedulerSCHED_RR).addHost(11, 1)
	one := h.open("udp4")
	for _, row := range []struct{ to, name string }{{"10.0.8.11:80", "10.0.8.11:80"}, {"10.0.8.9:80", "10.0.8.9:80"}, {"10.0.8.10:80", "10.0.8.10:80"}, {"10.0.8.11:80", "10.0.8.10:80"}} {
		if got := one.ask(at(row.to)); got.server != "10.0.8.11:80" || got.from != row.name {
			t.Errorf("a datagram to %s: %+v, want an answer from %s", row.to, got, row.name)
		}
	}
}
