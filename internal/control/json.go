package control

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"vipd/internal/lb"
)

// serviceJSON is a Service as tools read it: names instead of the numbers of the kernel interface.
type serviceJSON struct {
	Name  string `json:"name"`
	Group string `json:"group,omitempty"`
	serviceWords
	Quorum bool         `json:"quorum"`
	Total  countersJSON `json:"total"`
	Rate   countersJSON `json:"rate"`
	Reals  []Real       `json:"reals"`
}

// serviceWords are lb.Service.
type serviceWords struct {
	Protocol    string     `json:"protocol,omitempty"` // tcp, udp, sctp; none with fwmark
	Address     netip.Addr `json:"address,omitzero"`
	Port        *uint16    `json:"port,omitempty"`   // with an address; 0 is every port
	Fwmark      uint32     `json:"fwmark,omitempty"` // instead of protocol, address and port
	IPv6        bool       `json:"ipv6,omitempty"`   // family of a fwmark service
	Scheduler   string     `json:"scheduler"`
	Flags       []string   `json:"flags,omitempty"` // flag-1, flag-2, flag-3
	Persistence int64      `json:"persistence_seconds,omitempty"`
	MaskBits    int        `json:"mask_bits,omitempty"` // prefix length of persistence, or
	Mask        string     `json:"mask,omitempty"`      // a netmask that no prefix length from 1 to 32 says
	OnePacket   bool       `json:"one_packet,omitempty"`
	Engine      string     `json:"engine,omitempty"`
	Segment     uint16     `json:"largest_segment,omitempty"` // 1: what fits
	Locals      string     `json:"local_addresses,omitempty"` // FULLNAT: 10.0.8.25, or the first and the last with a hyphen
	CarryOn     bool       `json:"carry_on,omitempty"`        // what is in the middle of an unknown TCP connection is sent on
	Telling     string     `json:"sync,omitempty"`            // which connections peers are told of: established, all, none. If empty, as usual
	Proxy       bool       `json:"proxy_v2,omitempty"`        // and real servers are told the client by the PROXY protocol
}

// realJSON is a Real as tools read it.
type realJSON struct {
	Name string `json:"name"`
	realWords
	InPool   bool         `json:"in_pool"`
	Healthy  bool         `json:"healthy"`
	Why      string       `json:"why,omitempty"`
	Since    time.Time    `json:"since"`
	Operator *Hand        `json:"operator,omitempty"`
	Hop      string       `json:"hop,omitempty"`
	Active   uint32       `json:"active"`
	Inactive uint32       `json:"inactive"`
	Persist  uint32       `json:"persist"`
	Total    countersJSON `json:"total"`
	Rate     countersJSON `json:"rate"`
	Ways     []Way        `json:"check_paths,omitempty"`

	Certificate *Certificate `json:"certificate,omitempty"`
	Peers       []PeerSays   `json:"peers,omitempty"`
}

// realWords are lb.Real.
type realWords struct {
	Address netip.Addr  `json:"address,omitzero"`
	Port    uint16      `json:"port"`
	Forward string      `json:"forward"` // masq, local, tunnel, route, bypass
	Weight  int32       `json:"weight"`
	Upper   uint32      `json:"upper,omitempty"`
	Lower   uint32      `json:"lower,omitempty"`
	Tunnel  *tunnelJSON `json:"tunnel,omitempty"`
}

type tunnelJSON struct {
	Type    string `json:"type"` // ipip, gue, gre
	Port    uint16 `json:"port,omitempty"`
	Csum    bool   `json:"csum,omitempty"`
	RemCsum bool   `json:"remcsum,omitempty"`
}

// countersJSON serves totals and rates per second alike.
type countersJSON struct {
	Conns    uint64 `json:"conns"`
	InPkts   uint64 `json:"in_packets"`
	OutPkts  uint64 `json:"out_packets"`
	InBytes  uint64 `json:"in_bytes"`
	OutBytes uint64 `json:"out_bytes"`
}

var (
	protocols = []namedNumber{{"tcp", uint8(lb.TCP)}, {"udp", uint8(lb.UDP)}, {"sctp", uint8(lb.SCTP)}}
	forwards  = []namedNumber{{"masq", uint8(lb.Masq)}, {"local", uint8(lb.Local)}, {"tunnel", uint8(lb.Tunnel)},
		{"route", uint8(lb.Route)}, {"bypass", uint8(lb.Bypass)}}
	tunnels = []namedNumber{{"ipip", uint8(lb.IPIP)}, {"gue", uint8(lb.GUE)}, {"gre", uint8(lb.GRE)}}
)

type namedNumber struct {
	name   string
	number uint8
}

// nameOf gives a number's name; a number that has none is written as digits, which numberOf reads back.
func nameOf(table []namedNumber, n uint8) string {
	for _, e := range table {
		if e.number == n {
			return e.name
		}
	}
	return fmt.Sprint(n)
}

func numberOf(table []namedNumber, name string) (uint8, error) {
	for _, e := range table {
		if e.name == name {
			return e.number, nil
		}
	}
	var n uint8
	if _, err := fmt.Sscanf(name, "%d", &n); err != nil || fmt.Sprint(n) != name {
		return 0, fmt.Errorf("unknown word %.40q", name)
	}
	return n, nil
}

// MarshalJSON writes serviceJSON.
func (s Service) MarshalJSON() ([]byte, error) {
	j := serviceJSON{Name: s.Name, Group: s.Group, serviceWords: serviceWordsOf(s.Service), Quorum: s.Quorum,
		Total: countersJSON(s.Total), Rate: countersJSON(s.Rate), Reals: s.Reals}
	if j.Reals == nil {
		j.Reals = []Real{}
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Service) UnmarshalJSON(b []byte) (err error) {
	var j serviceJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*s = Service{Name: j.Name, Group: j.Group, Total: lb.Counters(j.Total), Rate: lb.Rates(j.Rate), Quorum: j.Quorum, Reals: j.Reals}
	s.Service, err = j.service()
	return err
}

func serviceWordsOf(s lb.Service) serviceWords {
	w := serviceWords{Scheduler: s.Scheduler, Flags: flagNames(s.Flags), Persistence: int64(s.Persistence / time.Second),
		OnePacket: s.OnePacket, Engine: s.Engine, CarryOn: s.CarryOn, Segment: s.Segment, Locals: s.Locals.String(), Proxy: s.Proxy}
	if s.Telling != lb.TellUsual {
		w.Telling = s.Telling.String()
	}
	if n, solid := s.MaskBits(); !solid || n == 0 {
		w.Mask = s.Netmask()
	} else if s.Wild != 0 {
		w.MaskBits = n
	}
	if s.Mark != 0 {
		w.Fwmark, w.IPv6 = s.Mark, s.V6
		return w
	}
	port := s.Addr.Port()
	w.Protocol, w.Address, w.Port = nameOf(protocols, uint8(s.Protocol)), s.Addr.Addr(), &port
	return w
}

// service is serviceWordsOf's way back.
func (w serviceWords) service() (s lb.Service, err error) {
	telling, err := lb.ParseTelling(w.Telling)
	if err != nil {
		return s, err
	}
	s = lb.Service{Scheduler: w.Scheduler, Telling: telling, CarryOn: w.CarryOn, Persistence: seconds(w.Persistence), OnePacket: w.OnePacket, Engine: w.Engine, Segment: w.Segment, Proxy: w.Proxy}
	if w.Locals != "" {
		if s.Locals, err = lb.ParseAddrRange(w.Locals); err != nil {
			return s, err
		}
	}
	for _, f := range w.Flags {
		var n uint8
		if _, err := fmt.Sscanf(f, "flag-%d", &n); err != nil || n < 1 || n > 3 {
			return s, fmt.Errorf("unknown scheduler flag %.40q", f)
		}
		s.Flags |= 1 << (n - 1)
	}
	if w.Fwmark != 0 {
		s.Mark, s.V6 = w.Fwmark, w.IPv6
	} else {
		p, err := numberOf(protocols, w.Protocol)
		if err != nil {
			return s, err
		}
		s.Protocol = lb.Protocol(p)
		if w.Port != nil {
			s.Addr = netip.AddrPortFrom(w.Address.WithZone(""), *w.Port)
		}
	}
	s.Wild, err = w.wild(s.Is6())
	return s, err
}

func (w serviceWords) wild(v6 bool) (uint32, error) {
	most := 32
	if v6 {
		most = 128
	}
	switch mask, err := netip.ParseAddr(w.Mask); {
	case w.MaskBits < 0 || w.MaskBits > most:
		return 0, fmt.Errorf("mask_bits %d: want 1 to %d", w.MaskBits, most)
	case w.MaskBits != 0:
		return lb.WildOf(w.MaskBits, v6), nil
	case w.Mask == "":
		return 0, nil
	case v6 || err != nil || !mask.Is4():
		return 0, fmt.Errorf("mask %.40q: want an IPv4 netmask, of an IPv4 service", w.Mask)
	default:
		m := mask.As4()
		return ^binary.BigEndian.Uint32(m[:]), nil
	}
}

func flagNames(f lb.SchedFlags) []string {
	var out []string
	for i := range 3 {
		if f&(1<<i) != 0 {
			out = append(out, fmt.Sprintf("flag-%d", i+1))
		}
	}
	return out
}

// seconds limits what a peer says to what a duration can hold.
func seconds(n int64) time.Duration {
	const most = int64(1<<63-1) / int64(time.Second)
	return time.Duration(max(0, min(n, most))) * time.Second
}

// MarshalJSON writes realJSON.
func (r Real) MarshalJSON() ([]byte, error) {
	return json.Marshal(realJSON{Name: r.Name, realWords: realWordsOf(r.Real), InPool: r.InPool, Healthy: r.Healthy, Why: r.Why,
		Since: r.Since, Operator: r.Operator, Hop: r.Hop, Active: r.Active, Inactive: r.Inactive, Persist: r.Persist,
		Total: countersJSON(r.Total), Rate: countersJSON(r.Rate), Ways: r.Ways, Certificate: r.Certificate, Peers: r.Peers})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *Real) UnmarshalJSON(b []byte) (err error) {
	var j realJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*r = Real{Name: j.Name, InPool: j.InPool, Healthy: j.Healthy, Why: j.Why, Since: j.Since, Operator: j.Operator, Hop: j.Hop,
		Active: j.Active, Inactive: j.Inactive, Persist: j.Persist, Total: lb.Counters(j.Total), Rate: lb.Rates(j.Rate), Ways: j.Ways,
		Certificate: j.Certificate, Peers: j.Peers}
	r.Real, err = j.real()
	return err
}

func realWordsOf(r lb.Real) realWords {
	w := realWords{Address: r.Addr.Addr(), Port: r.Addr.Port(), Forward: nameOf(forwards, uint8(r.Forward)), Weight: r.Weight,
		Upper: r.Upper, Lower: r.Lower}
	if r.Forward == lb.Tunnel {
		w.Tunnel = &tunnelJSON{nameOf(tunnels, uint8(r.Tunnel.Type)), r.Tunnel.Port, r.Tunnel.Csum, r.Tunnel.RemCsum}
	}
	return w
}

// real is realWordsOf's way back.
func (w realWords) real() (r lb.Real, err error) {
	forward, err := numberOf(forwards, w.Forward)
	if err != nil {
		return r, err
	}
	r = lb.Real{Addr: netip.AddrPortFrom(w.Address.WithZone(""), w.Port), Forward: lb.Forward(forward), Weight: w.Weight,
		Upper: w.Upper, Lower: w.Lower}
	if w.Tunnel == nil {
		return r, nil
	}
	kind, err := numberOf(tunnels, w.Tunnel.Type)
	r.Tunnel = lb.TunnelOptions{Type: lb.TunnelType(kind), Port: w.Tunnel.Port, Csum: w.Tunnel.Csum, RemCsum: w.Tunnel.RemCsum}
	return r, err
}

// timeoutsJSON are lb.Timeouts in whole seconds, as ipvsadm --set takes them.
type timeoutsJSON struct {
	TCP    int64 `json:"tcp"`
	TCPFin int64 `json:"tcpfin"`
	UDP    int64 `json:"udp"`
}

func (t timeoutsJSON) timeouts() lb.Timeouts {
	return lb.Timeouts{TCP: seconds(t.TCP), TCPFin: seconds(t.TCPFin), UDP: seconds(t.UDP)}
}

func timeoutsOf(t lb.Timeouts) timeoutsJSON {
	return timeoutsJSON{int64(t.TCP / time.Second), int64(t.TCPFin / time.Second), int64(t.UDP / time.Second)}
}

// protocolName is a connection's protocol; ip stands for a firewall-mark template.
func protocolName(p lb.Protocol) string {
	if p == lb.IP {
		return "ip"
	}
	return nameOf(protocols, uint8(p))
}
