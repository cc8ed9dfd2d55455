package control

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"vipd/internal/lb"
)

// How people name a service and a real server, everywhere the same.

// ServiceWords says how a service is named.
const ServiceWords = "VIP:PORT, tcp/VIP:PORT (or udp, sctp), VIP, fwmark/N (fwmark6/N for IPv6), the name in the log ([VIP]:tcp:PORT), or the name of a virtual_server_group"

// FindServices lists the services that word may mean, in the order of all. A group is all its members.
func FindServices(all []Service, word string) []*Service {
	match := func(s *Service) bool { return s.Group != "" && s.Group == word }
	if n, err := parseName(word); err == nil {
		named := match
		match = func(s *Service) bool { return n.service(s.ServiceKey) || named(s) }
	}
	var found []*Service
	for i := range all {
		if match(&all[i]) {
			found = append(found, &all[i])
		}
	}
	return found
}

// ServiceWord is the word that means this service alone, but for a group of that name.
func ServiceWord(k lb.ServiceKey) string {
	switch {
	case k.Mark != 0 && k.V6:
		return fmt.Sprintf("fwmark6/%d", k.Mark)
	case k.Mark != 0:
		return fmt.Sprintf("fwmark/%d", k.Mark)
	}
	return nameOf(protocols, uint8(k.Protocol)) + "/" + k.Addr.String()
}

// FindReals lists the real servers of a service that word may mean: ADDRESS:PORT, ADDRESS, or the name in the log.
func FindReals(s *Service, word string) []*Real {
	n, err := parseName(word)
	if err != nil || n.mark != 0 {
		return nil
	}
	var found []*Real
	for i := range s.Reals {
		if n.endpoint(s.Protocol, s.Reals[i].Addr) {
			found = append(found, &s.Reals[i])
		}
	}
	return found
}

// name is what a word says of an endpoint; what it leaves open is zero.
type name struct {
	protocol lb.Protocol
	addr     netip.Addr
	port     uint16
	hasPort  bool
	mark     uint32
	v6       bool // of a mark
}

func (n name) endpoint(p lb.Protocol, a netip.AddrPort) bool {
	return n.addr == a.Addr() && (!n.hasPort || n.port == a.Port()) && (n.protocol == 0 || n.protocol == p || p == 0)
}

func (n name) endpointAddr() netip.AddrPort { return netip.AddrPortFrom(n.addr, n.port) }

func (n name) service(k lb.ServiceKey) bool {
	if n.mark != 0 || k.Mark != 0 {
		return n.mark == k.Mark && n.v6 == k.V6
	}
	return n.endpoint(k.Protocol, k.Addr)
}

var errName = errors.New("neither an address nor a firewall mark")

// parseName reads a word such as 10.0.8.9:80, udp/[2001:db8::9]:53, fwmark/7, [10.0.8.9]:tcp:80 or, as in the file, "10.0.8.9 80".
func parseName(word string) (n name, err error) {
	head, rest, slash := strings.Cut(word, "/")
	if !slash {
		if head, rest, slash = strings.Cut(word, " "); !slash {
			return n.place(word)
		}
		if a, err := netip.ParseAddr(head); err == nil {
			return n.place(strings.TrimSuffix(netip.AddrPortFrom(a, 0).String(), "0") + strings.TrimSpace(rest))
		}
	}
	if head = strings.ToLower(head); slices.Contains([]string{"fwm", "fwmark", "mark", "fwmark6"}, head) {
		mark, err := strconv.ParseUint(strings.TrimSpace(rest), 0, 32)
		if err != nil || mark == 0 {
			return n, fmt.Errorf("firewall mark %.20q: want 1 to 4294967295", rest)
		}
		return name{mark: uint32(mark), v6: head == "fwmark6"}, nil
	}
	p, err := numberOf(protocols, head)
	if err != nil {
		return n, err
	}
	n.protocol = lb.Protocol(p)
	return n.place(rest)
}

// place reads the address and the port, where there is one.
func (n name) place(word string) (name, error) {
	if rest, ok := strings.CutPrefix(word, "["); ok { // as in the log: [10.0.8.9]:tcp:80
		if addr, rest, ok := strings.Cut(rest, "]:"); ok && strings.Contains(rest, ":") {
			proto, port, _ := strings.Cut(rest, ":")
			p, err := numberOf(protocols, proto)
			if err != nil {
				return n, err
			}
			n.protocol, word = lb.Protocol(p), "["+addr+"]:"+port
			if !strings.Contains(addr, ":") {
				word = addr + ":" + port
			}
		}
	}
	if a, err := netip.ParseAddr(strings.Trim(word, "[]")); err == nil {
		n.addr = a.WithZone("")
		return n, nil
	}
	a, err := netip.ParseAddrPort(word)
	if err != nil {
		return n, errName
	}
	n.addr, n.port, n.hasPort = a.Addr().WithZone(""), a.Port(), true
	return n, nil
}
