package control

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"vipd/internal/lb"
)

// serviceJSON is a Service as tools read it: names instead of the numbers of the kernel interface.
type serviceJSON struct {
	Name        string       `json:"name"`
	Protocol    string       `json:"protocol,omitempty"` // tcp, udp, sctp; none with fwmark
	Address     netip.Addr   `json:"address,omitzero"`
	Port        *uint16      `json:"port,omitempty"`   // with an address; 0 is every port
	Fwmark      uint32       `json:"fwmark,omitempty"` // instead of protocol, address and port
	IPv6        bool         `json:"ipv6,omitempty"`   // family of a fwmark service
	Scheduler   string       `json:"scheduler"`
	Flags       []string     `json:"flags,omitempty"` // flag-1, flag-2, flag-3
	Persistence int64        `json:"persistence_seconds,omitempty"`
	MaskBits    uint8        `json:"mask_bits,omitempty"`
	OnePacket   bool         `json:"one_packet,omitempty"`
	Engine      string       `json:"engine,omitempty"`
	Quorum      bool         `json:"quorum"`
	Total       countersJSON `json:"total"`
	Rate        countersJSON `json:"rate"`
	Reals       []Real       `json:"reals"`
}

// realJSON is a Real as tools read it.
type realJSON struct {
	Name     string       `json:"name"`
	Address  netip.Addr   `json:"address,omitzero"`
	Port     uint16       `json:"port"`
	Forward  string       `json:"forward"` // masq, local, tunnel, route, bypass
	Weight   int32        `json:"weight"`
	Upper    uint32       `json:"upper,omitempty"`
	Lower    uint32       `json:"lower,omitempty"`
	Tunnel   *tunnelJSON  `json:"tunnel,omitempty"`
	InPool   bool         `json:"in_pool"`
	Healthy  bool         `json:"healthy"`
	Why      string       `json:"why,omitempty"`
	Since    time.Time    `json:"since"`
	Hop      string       `json:"hop,omitempty"`
	Active   uint32       `json:"active"`
	Inactive uint32       `json:"inactive"`
	Persist  uint32       `json:"persist"`
	Total    countersJSON `json:"total"`
	Rate     countersJSON `json:"rate"`
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
	j := serviceJSON{Name: s.Name, Scheduler: s.Scheduler, Persistence: int64(s.Persistence / time.Second),
		MaskBits: s.MaskBits, OnePacket: s.OnePacket, Engine: s.Engine, Quorum: s.Quorum,
		Total: countersJSON(s.Total), Rate: countersJSON(s.Rate), Reals: s.Reals, Flags: flagNames(s.Flags)}
	if s.Mark != 0 {
		j.Fwmark, j.IPv6 = s.Mark, s.V6
	} else {
		port := s.Addr.Port()
		j.Protocol, j.Address, j.Port = nameOf(protocols, uint8(s.Protocol)), s.Addr.Addr(), &port
	}
	if j.Reals == nil {
		j.Reals = []Real{}
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Service) UnmarshalJSON(b []byte) error {
	var j serviceJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*s = Service{Name: j.Name, Total: lb.Counters(j.Total), Rate: lb.Rates(j.Rate), Quorum: j.Quorum, Reals: j.Reals}
	s.Scheduler, s.MaskBits, s.OnePacket, s.Engine = j.Scheduler, j.MaskBits, j.OnePacket, j.Engine
	s.Persistence = seconds(j.Persistence)
	for _, f := range j.Flags {
		var n uint8
		if _, err := fmt.Sscanf(f, "flag-%d", &n); err != nil || n < 1 || n > 3 {
			return fmt.Errorf("unknown scheduler flag %.40q", f)
		}
		s.Flags |= 1 << (n - 1)
	}
	if j.Fwmark != 0 {
		s.Mark, s.V6 = j.Fwmark, j.IPv6
		return nil
	}
	p, err := numberOf(protocols, j.Protocol)
	if err != nil {
		return err
	}
	s.Protocol = lb.Protocol(p)
	if j.Port != nil {
		s.Addr = netip.AddrPortFrom(j.Address, *j.Port)
	}
	return nil
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
	j := realJSON{Name: r.Name, Address: r.Addr.Addr(), Port: r.Addr.Port(), Forward: nameOf(forwards, uint8(r.Forward)),
		Weight: r.Weight, Upper: r.Upper, Lower: r.Lower, InPool: r.InPool, Healthy: r.Healthy, Why: r.Why, Since: r.Since,
		Hop: r.Hop, Active: r.Active, Inactive: r.Inactive, Persist: r.Persist,
		Total: countersJSON(r.Total), Rate: countersJSON(r.Rate)}
	if r.Forward == lb.Tunnel {
		t := r.Tunnel
		j.Tunnel = &tunnelJSON{nameOf(tunnels, uint8(t.Type)), t.Port, t.Csum, t.RemCsum}
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *Real) UnmarshalJSON(b []byte) error {
	var j realJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	forward, err := numberOf(forwards, j.Forward)
	if err != nil {
		return err
	}
	*r = Real{Name: j.Name, InPool: j.InPool, Healthy: j.Healthy, Why: j.Why, Since: j.Since, Hop: j.Hop,
		Active: j.Active, Inactive: j.Inactive, Persist: j.Persist, Total: lb.Counters(j.Total), Rate: lb.Rates(j.Rate)}
	r.Real = lb.Real{Addr: netip.AddrPortFrom(j.Address, j.Port), Forward: lb.Forward(forward), Weight: j.Weight,
		Upper: j.Upper, Lower: j.Lower}
	if j.Tunnel != nil {
		kind, err := numberOf(tunnels, j.Tunnel.Type)
		if err != nil {
			return err
		}
		r.Tunnel = lb.TunnelOptions{Type: lb.TunnelType(kind), Port: j.Tunnel.Port, Csum: j.Tunnel.Csum, RemCsum: j.Tunnel.RemCsum}
	}
	return nil
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
