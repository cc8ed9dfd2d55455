package cli

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"vipd/internal/control"
	"vipd/internal/lb"
)

// format is what a listing of services shows.
type format uint8

const (
	plain format = iota
	stats
	rate
	thresholds
	persistentConn
	tunInfo
	saveCommands
)

// formatOf chooses among the formats that are asked for; the first of this list wins.
func formatOf(given optionSet) format {
	for _, f := range []struct {
		opt    option
		format format
	}{{optStats, stats}, {optRate, rate}, {optThresholds, thresholds}, {optPersistentConn, persistentConn}, {optTunInfo, tunInfo}} {
		if given.has(f.opt) {
			return f.format
		}
	}
	return plain
}

// titles are the two lines above the rows, trailing blanks included.
var titles = map[format][2]string{
	plain:          {"Prot LocalAddress:Port Scheduler Flags", "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn"},
	tunInfo:        {"Prot LocalAddress:Port Scheduler Flags", "  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn"},
	stats:          {"Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes", "  -> RemoteAddress:Port"},
	rate:           {"Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS", "  -> RemoteAddress:Port"},
	thresholds:     {"Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn ", "  -> RemoteAddress:Port"},
	persistentConn: {"Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn ", "  -> RemoteAddress:Port"},
}

// printer writes rows as ipvsadm does.
type printer struct {
	format format
	exact  bool
	names  Names // nil: numeric

	engines bool // show what persistence engines know
}

// Widths of the columns of names. IPv4 names are cut there, IPv6 ones push the next columns.
const (
	serviceWidth  = 33 // the protocol included
	serverWidth   = 28
	longestName   = 59 // of "name:port", everywhere
	connEndWidth  = 18
	connNameTitle = "pro expire state       source             virtual            destination"
)

// service is the row of a virtual service.
func (p *printer) service(s *control.Service) string {
	name := p.serviceName(&s.Service)
	switch p.format {
	case stats:
		return fmt.Sprintf("%-*s%s", serviceWidth, name, p.numbers(lb.Counters(s.Total)))
	case rate:
		return fmt.Sprintf("%-*s%s", serviceWidth, name, p.numbers(lb.Counters(s.Rate)))
	}
	return name + " " + s.Scheduler + p.attributes(&s.Service)
}

func (p *printer) serviceName(s *lb.Service) string {
	if s.Mark != 0 {
		// ipvs: marks from 2³¹ are shown as negative numbers.
		name := fmt.Sprintf("FWM  %d", int32(s.Mark))
		if s.V6 {
			name += " IPv6"
		}
		return name
	}
	return cutV4(s.Addr.Addr(), fmt.Sprintf("%-4s %s", s.Protocol, p.endpoint(s.Addr, s.Protocol)), serviceWidth)
}

// attributes are a service's scheduler flags, persistence and modes.
func (p *printer) attributes(s *lb.Service) string {
	var b strings.Builder
	if s.Flags != 0 { // ipvs: also where none of them has a name
		fmt.Fprintf(&b, " (%s)", flagList(s))
	}
	if s.Persistence != 0 {
		fmt.Fprintf(&b, " persistent %d", s.Persistence/time.Second)
		if m := s.Netmask(); m != "" {
			b.WriteString(" mask " + m)
		}
		if s.Engine != "" {
			b.WriteString(" pe " + s.Engine)
		}
	}
	if s.OnePacket {
		b.WriteString(" ops")
	}
	return b.String()
}

// flagList names scheduler flags as the scheduler calls them; sh and mh have no third one.
func flagList(s *lb.Service) string {
	names := []string{"flag-1", "flag-2", "flag-3"}
	if s.Scheduler == "sh" || s.Scheduler == "mh" {
		names = []string{s.Scheduler + "-fallback", s.Scheduler + "-port"}
	}
	var on []string
	for i, n := range names {
		if s.Flags&(1<<i) != 0 {
			on = append(on, n)
		}
	}
	return strings.Join(on, ",")
}

// server is the row of a real server of a service.
func (p *printer) server(s *lb.Service, r *control.Real) string {
	name := cutV4(r.Addr.Addr(), p.endpoint(r.Addr, serverProtocol(s)), serverWidth)
	row := fmt.Sprintf("  -> %-*s", serverWidth, name)
	switch p.format {
	case stats:
		return row + p.numbers(lb.Counters(r.Total))
	case rate:
		// ipvs: the first three are never shortened.
		return row + fmt.Sprintf(" %8d %8d %8d", r.Rate.Conns, r.Rate.InPkts, r.Rate.OutPkts) + p.number(r.Rate.InBytes) + p.number(r.Rate.OutBytes)
	case thresholds:
		return row + fmt.Sprintf(" %-10d %-10d %-10d %-10d", r.Upper, r.Lower, r.Active, r.Inactive)
	case persistentConn:
		return row + fmt.Sprintf(" %-9d %-11d %-10d %-10d", r.Weight, r.Persist, r.Active, r.Inactive)
	case tunInfo:
		return row + fmt.Sprintf(" %-7s %-13s %-6d %-10d %-10d", r.Forward, tunnelText(&r.Real), r.Weight, r.Active, r.Inactive)
	}
	return row + fmt.Sprintf(" %-7s %-6d %-10d %-10d", r.Forward, r.Weight, r.Active, r.Inactive)
}

// serverProtocol is the protocol that a server's port is named by; a mark has none.
func serverProtocol(s *lb.Service) lb.Protocol {
	if s.Mark != 0 {
		return lb.IP
	}
	return s.Protocol
}

func tunnelText(r *lb.Real) string {
	if r.Forward != lb.Tunnel {
		return "n/a"
	}
	sum := "-c"
	if r.Tunnel.Csum {
		sum = "+c"
	} else if r.Tunnel.RemCsum {
		sum = "r+c"
	}
	switch r.Tunnel.Type {
	case lb.GUE:
		return fmt.Sprintf("gue:%d:%s", r.Tunnel.Port, sum)
	case lb.GRE:
		return "gre:" + sum
	}
	return "ipip"
}

func (p *printer) numbers(c lb.Counters) string {
	return p.number(c.Conns) + p.number(c.InPkts) + p.number(c.OutPkts) + p.number(c.InBytes) + p.number(c.OutBytes)
}

// number is nine columns: eight digits, or thousands, millions, milliards or billions of them, rounded down.
func (p *printer) number(n uint64) string {
	switch {
	case p.exact || n < 1e8:
		return fmt.Sprintf(" %8d", n)
	case n < 1e9:
		return fmt.Sprintf("%8dK", n/1e3)
	case n < 1e11:
		return fmt.Sprintf("%8dM", n/1e6)
	case n < 1e14:
		return fmt.Sprintf("%8dG", n/1e9)
	}
	return fmt.Sprintf("%8dT", n/1e12)
}

// endpoint is an address and port, by name unless numeric.
func (p *printer) endpoint(a netip.AddrPort, proto lb.Protocol) string {
	host, port := addrText(a.Addr()), strconv.Itoa(int(a.Port()))
	if p.names != nil {
		if name, ok := p.names.HostName(a.Addr()); ok {
			host = name
		}
		if name, ok := p.names.ServiceName(a.Port(), proto); ok {
			port = name
		}
	}
	if a.Addr().Is6() {
		host = "[" + host + "]"
	}
	s := host + ":" + port
	return s[:min(len(s), longestName)]
}

// addrText is an address as inet_ntop(3) writes it: one of IPv6 in whose last 32 bits alone there is something, beyond the last 16,
// ends like one of IPv4.
func addrText(a netip.Addr) string {
	if b := a.As16(); a.Is6() && [12]byte(b[:12]) == [12]byte{} && (b[12] != 0 || b[13] != 0) {
		return "::" + netip.AddrFrom4([4]byte(b[12:])).String()
	}
	return a.String()
}

func cutV4(a netip.Addr, s string, width int) string {
	if a.Is6() {
		return s
	}
	return s[:min(len(s), width)]
}

// conn is the row of a connection.
func (p *printer) conn(c lb.Conn) string {
	seconds := int64(c.Expires / time.Second)
	if p.engines && c.Engine != "" {
		// ipvs: two columns less for the destination than in the title.
		return fmt.Sprintf("%-3s %02d:%02d  %-11s %-*s %-*s %-16s %-18s %s", c.Protocol, seconds/60, seconds%60, c.StateName(),
			connEndWidth, p.endpoint(c.Client, c.Protocol), connEndWidth, p.endpoint(c.Virtual, c.Protocol), p.endpoint(c.Real, c.Protocol),
			harmless(c.Engine), harmless(c.EngineData))
	}
	return fmt.Sprintf("%-3s %02d:%02d  %-11s %-*s %-*s %s", c.Protocol, seconds/60, seconds%60, c.StateName(),
		connEndWidth, p.endpoint(c.Client, c.Protocol), connEndWidth, p.endpoint(c.Virtual, c.Protocol), p.endpoint(c.Real, c.Protocol))
}

// harmless keeps what comes from clients from doing things to a terminal.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// saved is a service and its servers as the commands that make them.
func (p *printer) saved(s *control.Service) []string {
	var key string
	switch {
	case s.Mark != 0 && s.V6:
		key = fmt.Sprintf("-f %d -6", int32(s.Mark))
	case s.Mark != 0:
		key = fmt.Sprintf("-f %d", int32(s.Mark))
	default:
		option := map[lb.Protocol]string{lb.TCP: "-t", lb.UDP: "-u", lb.SCTP: "--sctp-service"}[s.Protocol]
		key = option + " " + p.endpoint(s.Addr, s.Protocol)
	}
	lines := []string{"-A " + key + p.savedAttributes(&s.Service)}
	for i := range s.Reals {
		r := &s.Reals[i]
		lines = append(lines, fmt.Sprintf("-a %s -r %s %s -w %d%s", key, p.endpoint(r.Addr, serverProtocol(&s.Service)),
			forwardOption(r.Forward), r.Weight, savedTunnel(&r.Real)))
	}
	return lines
}

func (p *printer) savedAttributes(s *lb.Service) string {
	var b strings.Builder
	b.WriteString(" -s " + s.Scheduler)
	if s.Persistence != 0 {
		fmt.Fprintf(&b, " -p %d", s.Persistence/time.Second)
		if m := s.Netmask(); m != "" {
			b.WriteString(" -M " + m)
		}
	}
	if s.Engine != "" {
		b.WriteString(" --pe " + s.Engine)
	}
	if s.OnePacket {
		b.WriteString(" -o")
	}
	if s.Flags != 0 {
		b.WriteString(" -b " + flagList(s))
	}
	return b.String()
}

func forwardOption(f lb.Forward) string {
	switch f {
	case lb.Masq:
		return "-m"
	case lb.Tunnel:
		return "-i"
	}
	return "-g"
}

func savedTunnel(r *lb.Real) string {
	if r.Forward != lb.Tunnel {
		return ""
	}
	sum := " --tun-nocsum"
	if r.Tunnel.Csum {
		sum = " --tun-csum"
	} else if r.Tunnel.RemCsum {
		sum = " --tun-remcsum"
	}
	switch r.Tunnel.Type {
	case lb.GUE:
		return fmt.Sprintf(" --tun-type gue --tun-port %d%s", r.Tunnel.Port, sum)
	case lb.GRE:
		return " --tun-type gre" + sum
	}
	return " --tun-type ipip"
}
