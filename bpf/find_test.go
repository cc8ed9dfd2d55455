package bpf

import (
	"net/netip"
	"testing"
)

// classed gives a class what it asks for beside where packets go.
func classed(to string, change func(*LbClass)) LbClass {
	c := class(to)
	change(&c)
	return c
}

func ports(first, last uint16) func(*LbClass) {
	return func(c *LbClass) { c.First, c.Last = first, last }
}

// TestClassFits: what a packet has to be for a class to give it its mark, word by word.
func TestClassFits(t *testing.T) {
	r := newRig(t, 4)
	vip32 := "10.0.8.9/32"
	for _, row := range []struct {
		name string
		c    LbClass
		f    frame
		fits bool
	}{
		{"its address", class(vip32), frame{}, true},
		{"another address", class(vip32), frame{to: at("10.0.8.10:80")}, false},
		{"the first of its network", class("10.0.8.8/30"), frame{to: at("10.0.8.8:80")}, true},
		{"the last of its network", class("10.0.8.8/30"), frame{to: at("10.0.8.11:80")}, true},
		{"behind its network", class("10.0.8.8/30"), frame{to: at("10.0.8.12:80")}, false},
		{"everything", class("0.0.0.0/0"), frame{to: at("192.0.2.1:1")}, true},
		{"its protocol", classed(vip32, func(c *LbClass) { c.Proto = tcpProto }), frame{}, true},
		{"another protocol", classed(vip32, func(c *LbClass) { c.Proto = tcpProto }), frame{proto: udpProto}, false},
		{"the first port", classed(vip32, ports(80, 90)), frame{}, true},
		{"the last port", classed(vip32, ports(80, 90)), frame{to: at("10.0.8.9:90")}, true},
		{"before its ports", classed(vip32, ports(80, 90)), frame{to: at("10.0.8.9:79")}, false},
		{"behind its ports", classed(vip32, ports(80, 90)), frame{to: at("10.0.8.9:91")}, false},
		{"its clients", classed(vip32, from("10.0.4.0/24")), frame{}, true},
		{"other clients", classed(vip32, from("10.0.5.0/24")), frame{}, false},
		{"its interface", classed(vip32, func(c *LbClass) { c.Ifindex = loopback }), frame{}, true},
		{"another interface", classed(vip32, func(c *LbClass) { c.Ifindex = elsewhere }), frame{}, false},
		{"an interface that is not there", classed(vip32, func(c *LbClass) { c.Ifindex = uint32(LbNumberNO_REAL) }), frame{}, false},
		{"a VLAN on its interface", classed(vip32, func(c *LbClass) { c.Ifindex, c.Tci[0] = loopback, port2(5) }), frame{}, false},
		{"IPv6 of an IPv4 class", class("0.0.0.0/0"), frame{to: vip6}, false},
		{"IPv4 of an IPv6 class", class("::/0"), frame{}, false},
		{"its IPv6 network", class("2001:db8:8::/64"), frame{to: vip6}, true},
		{"another IPv6 network", class("2001:db8:9::/64"), frame{to: vip6}, false},
		{"the last bit of an IPv6 address", class("2001:db8:8::8/128"), frame{to: vip6}, false},
		{"its IPv6 clients", classed("2001:db8:8::9/128", from("2001:db8:4::/48")), frame{to: vip6}, true},
		{"other IPv6 clients", classed("2001:db8:8::9/128", from("2001:db8:5::/48")), frame{to: vip6}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.renew(t)
			r.serveMark(7, LbSchedulerSCHED_RR, row.c).add(1)
			row.f.flags = syn
			why := LbReasonPASS_NOT_SERVICE
			if row.fits {
				why = LbReasonFORWARD_NEW
			}
			r.want(row.f, why)
		})
	}
}

func from(net string) func(*LbClass) {
	return func(c *LbClass) { c.From, c.FromMask, _ = network(netip.MustParsePrefix(net)) }
}

// TestFirstClassSaysTheMark: of several that a packet fits, at any place in the list.
func TestFirstClassSaysTheMark(t *testing.T) {
	r := newRig(t, 4)
	for _, before := range []int{0, 1, 15, 16, 17, int(LbNumberMAX_CLASSES) - 2} {
		r.renew(t)
		for range before {
			r.classify(class("192.0.2.0/24"))
		}
		first := r.serveMark(7, LbSchedulerSCHED_RR, class("10.0.8.0/24")).add(1)
		r.serveMark(8, LbSchedulerSCHED_RR, class("10.0.8.9/32")).add(1)
		if got := r.opened(frame{}); got != byte(first) {
			t.Errorf("behind %d others: went to %d", before, got)
		}
	}
}

// TestServicesOfOtherAddresses: those of FTP and of every port are looked for, and are not this address's.
func TestServicesOfOtherAddresses(t *testing.T) {
	r := newRig(t, 4)
	r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	r.serve(at("10.0.8.10:21"), tcpProto, LbSchedulerSCHED_RR).add(1)
	r.serve(at("10.0.8.10:0"), tcpProto, LbSchedulerSCHED_RR).add(1)
	for _, port := range []uint16{20, 22, 2000} {
		r.want(frame{flags: syn, to: netip.AddrPortFrom(vip.Addr(), port)}, LbReasonPASS_NOT_SERVICE)
	}
}

// TestNoClassBehindTheLast: what tunables say of the classes may be no place in them.
func TestNoClassBehindTheLast(t *testing.T) {
	r := newRig(t, 4)
	real := r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	r.serveMark(7, LbSchedulerSCHED_RR, class("10.0.8.9/32")).add(1)
	r.tune(func(t *LbTunables) { t.Classes = 2*uint32(LbNumberMAX_CLASSES) | 1<<16 })
	if got := r.opened(frame{}); got != byte(real) {
		t.Errorf("went to %d", got)
	}
}

// TestOrderOfServices: ip_vs_service_find: the mark's, the exact one, FTP's, that of every port.
func TestOrderOfServices(t *testing.T) {
	r := newRig(t, 4)
	const mark, exact, ftp, every = 1, 2, 4, 8
	to := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(vip.Addr(), port) }
	for _, row := range []struct {
		name  string
		have  int
		f     frame
		which int // 0: none
	}{
		{"all", mark | exact | ftp | every, frame{to: to(2000)}, mark},
		{"without a mark", exact | ftp | every, frame{to: to(2000)}, exact},
		{"FTP's before every port's", ftp | every, frame{to: to(2000)}, ftp},
		{"the last", every, frame{to: to(2000)}, every},
		{"FTP's data port", ftp | every, frame{to: to(20)}, ftp},
		{"a port that is not FTP's", ftp | every, frame{to: to(22)}, every},
		{"the last privileged port", ftp | every, frame{to: to(1023)}, every},
		{"the first of the others", ftp | every, frame{to: to(1024)}, ftp},
		{"UDP is not FTP's", ftp, frame{to: to(2000), proto: udpProto}, 0},
		{"UDP of every port", ftp | every, frame{to: to(2000), proto: udpProto}, every},
		{"another address", exact | ftp | every, frame{to: at("10.0.8.10:2000")}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.renew(t)
			real := map[int]uint32{}
			add := func(which int, s *service) {
				s.persist = 60
				s.write()
				real[which] = s.add(1)
			}
			if row.have&every != 0 {
				add(every, r.serve(to(0), or(row.f.proto, tcpProto), LbSchedulerSCHED_RR))
			}
			if row.have&ftp != 0 {
				add(ftp, r.serve(to(21), tcpProto, LbSchedulerSCHED_RR))
			}
			if row.have&exact != 0 {
				add(exact, r.serve(to(2000), tcpProto, LbSchedulerSCHED_RR))
			}
			if row.have&mark != 0 {
				add(mark, r.serveMark(7, LbSchedulerSCHED_RR, class("10.0.8.9/32")))
			}
			row.f.flags = syn
			if row.which == 0 {
				r.want(row.f, LbReasonPASS_NOT_SERVICE)
				return
			}
			if got := r.opened(row.f); got != byte(real[row.which]) {
				t.Errorf("went to %d of %v", got, real)
			}
		})
	}
}

// TestMarkWithoutAService: a mark that no service has leaves the packet to the others.
func TestMarkWithoutAService(t *testing.T) {
	r := newRig(t, 4)
	real := r.serve(vip, tcpProto, LbSchedulerSCHED_RR).add(1)
	r.classify(classed("10.0.8.9/32", func(c *LbClass) { c.Mark = 9 }))
	if got := r.opened(frame{}); got != byte(real) {
		t.Errorf("went to %d", got)
	}
}

// TestTemplateOfAMark: protocol 0, the mark as an address and no ports: it spans all protocols, addresses and ports of the mark.
func TestTemplateOfAMark(t *testing.T) {
	r := newRig(t, 4)
	s := r.serveMark(7, LbSchedulerSCHED_RR, class("10.0.8.0/24"))
	s.persist = 60
	s.add(1)
	b := s.add(1)
	for i, f := range []frame{{}, {to: at("10.0.8.10:443")}, {proto: udpProto}} {
		if got := r.opened(f); got != byte(b) {
			t.Errorf("connection %d went to %d, not where the client is", i, got)
		}
	}
	c := r.template()
	if c.Proto != 0 || c.Vport != 0 || c.Cport != 0 || c.Addr[0] != addr4(client.Addr()) || c.Addr[1] != addr4(netip.MustParseAddr("0.0.0.7")) ||
		c.Kind != uint8(LbConnKindKIND_TEMPLATE|LbConnKindKIND_MARK) || c.Control != 3 {
		t.Errorf("%+v", c)
	}
}

// TestTemplateOfAMarkOfIPv6: the mark is the first of the address's four words.
func TestTemplateOfAMarkOfIPv6(t *testing.T) {
	r := newRig(t, 4)
	s := r.serveMark(7, LbSchedulerSCHED_RR, class("2001:db8:8::/48"))
	s.persist = 60
	s.add(1)
	b := s.add(1)
	for _, to := range []string{"[2001:db8:8::9]:80", "[2001:db8:8::10]:443"} {
		if got := r.opened(frame{to: at(to)}); got != byte(b) {
			t.Errorf("%s went to %d", to, got)
		}
	}
	c := r.template()
	if want := addr6(netip.MustParseAddr("0:7::")); c.Proto != 0 || [4]uint32(c.Addr[4:]) != want || [4]uint32(c.Addr[:4]) != addr6(client6.Addr()) {
		t.Errorf("%+v", c)
	}
}

// TestTemplateOfAMarkTakesALineThatHasExpired, as any line does, without waiting for the sweep.
func TestTemplateOfAMarkTakesALineThatHasExpired(t *testing.T) {
	for _, row := range []struct {
		net    string
		to     netip.AddrPort
		number func(int) netip.AddrPort
	}{{"10.0.8.9/32", vip, clientNumber}, {"2001:db8:8::9/128", vip6, client6Number}} {
		r := newRig(t, 1)
		s := r.serveMark(7, LbSchedulerSCHED_RR, class(row.net))
		s.add(1)
		for i := range int(LbNumberREGION_LINES) {
			r.opened(frame{from: row.number(i), to: row.to})
		}
		s.persist = 60
		s.write()
		r.want(frame{flags: syn, from: row.number(64), to: row.to}, LbReasonDROP_TABLE_FULL)
		r.travel(61)
		r.opened(frame{from: row.number(64), to: row.to})
	}
}

// TestTemplateWithoutAPort: FTP's service and that of every port keep a client on one server whatever the port.
func TestTemplateWithoutAPort(t *testing.T) {
	r := newRig(t, 4)
	for _, row := range []struct {
		name  string
		port  uint16
		ports []uint16
	}{
		{"every port", 0, []uint16{80, 443, 21}},
		{"FTP", 21, []uint16{21, 20, 1024, 65000}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.renew(t)
			s := r.serve(netip.AddrPortFrom(vip.Addr(), row.port), tcpProto, LbSchedulerSCHED_RR)
			s.persist = 60
			s.add(1)
			b := s.add(1)
			for _, p := range row.ports {
				if got := r.opened(frame{to: netip.AddrPortFrom(vip.Addr(), p)}); got != byte(b) {
					t.Errorf("port %d went to %d", p, got)
				}
			}
			if c := r.template(); c.Vport != 0 || c.Proto != tcpProto || c.Control != uint32(len(row.ports)) {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestWhoIsNotScheduled: ip_vs_schedule and ip_vs_leave: what has a service and gets no connection, and what becomes of it.
func TestWhoIsNotScheduled(t *testing.T) {
	r := newRig(t, 4)
	to := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(vip.Addr(), port) }
	for _, row := range []struct {
		name    string
		port    uint16 // of the service
		persist int
		weight  int32
		f       frame
		why     LbReason
	}{
		{"from FTP's data port", 80, 0, 1, frame{from: at("10.0.4.102:20")}, LbReasonPASS_FTP_DATA},
		{"from FTP's data port, persistent", 80, 60, 1, frame{from: at("10.0.4.102:20")}, LbReasonPASS_FTP_DATA},
		{"UDP from there", 80, 0, 1, frame{from: at("10.0.4.102:20"), proto: udpProto}, LbReasonPASS_FTP_DATA},
		{"every port, not persistent", 0, 0, 1, frame{to: to(80)}, LbReasonREPLY_NO_SERVER},
		{"every port, persistent", 0, 60, 1, frame{to: to(80)}, LbReasonFORWARD_NEW},
		{"FTP's other ports, not persistent", 21, 0, 1, frame{to: to(2000)}, LbReasonPASS_NOT_SERVICE},
		{"FTP's other ports, without a server", 21, 60, 0, frame{to: to(2000)}, LbReasonPASS_NOT_SERVICE},
		{"FTP's own port, without a server", 21, 60, 0, frame{to: to(21)}, LbReasonREPLY_NO_SERVER},
		{"every port, without a server", 0, 60, 0, frame{to: to(80)}, LbReasonREPLY_NO_SERVER},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.renew(t)
			s := r.serve(to(row.port), or(row.f.proto, tcpProto), LbSchedulerSCHED_RR)
			s.persist = row.persist
			s.add(row.weight)
			row.f.flags = syn
			r.want(row.f, row.why)
			if n := len(r.conns()); (n != 0) != (row.why == LbReasonFORWARD_NEW) {
				t.Errorf("%d entries", n)
			}
		})
	}
}
