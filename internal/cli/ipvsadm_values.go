package cli

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"vipd/internal/lb"
)

// maxTimeout is 31 days, the most that IPVS takes, in seconds.
const maxTimeout = 31 * 24 * 3600

const (
	defaultPersistence = 360 // of a bare -p. ipvs: the manual page says 300.
	maxInt32           = 1<<31 - 1
	schedulerNameLen   = 15
	engineNameLen      = 16
)

// wholeNumber reads a decimal number as strtol does: leading blanks, a sign, leading zeros; nothing may follow.
func wholeNumber(s string, low, high int64) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimLeft(s, " \t\n\v\f\r"), 10, 64)
	return n, err == nil && n >= low && n <= high
}

// leadingNumber reads as much of a number as there is, as atoi does; 0 if there is none.
func leadingNumber(s string) int {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || end == 0 && (s[0] == '+' || s[0] == '-')) {
		end++
	}
	n, _ := strconv.ParseInt(s[:end], 10, 64)
	return int(int32(n)) // the rest is lost
}

// endpoint is an address and a port as they were typed.
type endpoint struct {
	addr    netip.Addr
	port    uint16
	hasPort bool
}

// parseEndpoint reads ADDR[:PORT] as ipvsadm does. proto chooses among the names of services.
func parseEndpoint(s string, proto lb.Protocol, names Names) (endpoint, bool) {
	if strings.Trim(s, "0123456789") == "" {
		return endpoint{}, false
	}
	host, port, hasPort := s, "", false
	if inside, bracketed := strings.CutPrefix(s, "["); bracketed {
		end := strings.IndexByte(inside, ']')
		// ipvs: a port is compulsory after brackets.
		if end < 0 || !strings.HasPrefix(inside[end+1:], ":") {
			return endpoint{}, false
		}
		host, port, hasPort = inside[:end], inside[end+2:], true
	}
	addr, ok := parseIPv6Literal(host)
	if !ok {
		// ipvs: a port after brackets around an IPv4 address is lost; one inside of them counts.
		host, port, hasPort = cutLastColon(host)
		if addr, ok = hostIPv4(host, names); !ok {
			return endpoint{}, false
		}
	}
	e := endpoint{addr: addr, hasPort: hasPort}
	if hasPort {
		if e.port, ok = parsePort(port, proto, names); !ok {
			return endpoint{}, false
		}
	}
	return e, true
}

func cutLastColon(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// parseIPv6Literal takes an IPv6 address without a scope.
func parseIPv6Literal(s string) (netip.Addr, bool) {
	if !strings.Contains(s, ":") {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s)
	return a, err == nil && a.Zone() == ""
}

func hostIPv4(s string, names Names) (netip.Addr, bool) {
	if b, ok := inetAton(s); ok {
		return netip.AddrFrom4(b), true
	}
	return names.HostAddr(s)
}

// inetAton reads an IPv4 address in any form that inet_aton(3) takes: one to four parts, each decimal, octal or
// hexadecimal, the last one filling the rest; blanks and anything after them are ignored.
func inetAton(s string) ([4]byte, bool) {
	var out [4]byte
	if i := strings.IndexAny(s, " \t\n\v\f\r"); i >= 0 {
		s = s[:i]
	}
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return out, false
	}
	var value uint64
	for i, p := range parts {
		n, ok := cNumber(p)
		last := i == len(parts)-1
		if !ok || (!last && n > 255) || (last && n >= 1<<(8*(4-i))) {
			return out, false
		}
		if last {
			value |= n
		} else {
			value |= n << (24 - 8*i)
		}
	}
	return [4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}, true
}

// cNumber reads a number as C writes it: 10, 012, 0xa.
func cNumber(s string) (uint64, bool) {
	base := 10
	switch {
	case strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X"):
		s, base = s[2:], 16
	case len(s) > 1 && s[0] == '0':
		s, base = s[1:], 8
	}
	n, err := strconv.ParseUint(s, base, 33)
	return n, err == nil
}

func parsePort(s string, proto lb.Protocol, names Names) (uint16, bool) {
	if n, ok := wholeNumber(s, 0, 65535); ok {
		return uint16(n), true
	}
	return names.ServicePort(s, proto)
}

func parseTCPService(c *ipvsCommand, names Names, value string, _ bool) *usageError {
	return c.serviceAddress(lb.TCP, names, value)
}

func parseUDPService(c *ipvsCommand, names Names, value string, _ bool) *usageError {
	return c.serviceAddress(lb.UDP, names, value)
}

func parseSCTPService(c *ipvsCommand, names Names, value string, _ bool) *usageError {
	return c.serviceAddress(lb.SCTP, names, value)
}

func (c *ipvsCommand) serviceAddress(proto lb.Protocol, names Names, value string) *usageError {
	e, ok := parseEndpoint(value, proto, names)
	if !ok {
		return usage("illegal virtual server address[:port] specified")
	}
	c.service.Protocol = proto
	c.service.Addr = netip.AddrPortFrom(e.addr, e.port)
	if c.v6 = e.addr.Is6(); c.v6 {
		c.bits = 128 // ipvs: an IPv6 address overwrites a mask that stands before it
	}
	return nil
}

func parseMark(c *ipvsCommand, _ Names, value string, _ bool) *usageError {
	n, ok := wholeNumber(value, 1, 1<<32-1)
	if !ok {
		return usage("invalid fwmark value `%s' specified", value)
	}
	c.service.Mark = uint32(n)
	return nil
}

func parseIPv6(c *ipvsCommand, _ Names, _ string, _ bool) *usageError {
	if c.service.Mark == 0 {
		return usage("-6 used before -f\n") // ipvs: with an empty line after it
	}
	c.v6, c.bits = true, 128
	return nil
}

func parseScheduler(c *ipvsCommand, _ Names, value string, _ bool) *usageError {
	c.service.Scheduler = value[:min(len(value), schedulerNameLen)]
	return nil
}

func parseEngine(c *ipvsCommand, _ Names, value string, _ bool) *usageError {
	c.service.Engine = value[:min(len(value), engineNameLen)]
	return nil
}

func parsePersistent(c *ipvsCommand, _ Names, value string, given bool) *usageError {
	n := int64(defaultPersistence)
	if given {
		var ok bool
		if n, ok = wholeNumber(value, 1, maxTimeout); !ok {
			return usage("invalid timeout value `%s' specified", value)
		}
	}
	c.service.Persistence = time.Duration(n) * time.Second
	return nil
}

func parseNetmask(c *ipvsCommand, names Names, value string, _ bool) *usageError {
	if c.v6 {
		if c.bits = leadingNumber(value); c.bits < 1 || c.bits > 128 {
			return usage("illegal ipv6 netmask specified")
		}
		return nil
	}
	a, ok := hostIPv4(value, names)
	if !ok {
		return usage("illegal virtual server persistent mask specified")
	}
	c.mask = a.As4()
	return nil
}

func parseServer(c *ipvsCommand, names Names, value string, _ bool) *usageError {
	e, ok := parseEndpoint(value, c.service.Protocol, names)
	if !ok {
		return usage("illegal real server address[:port] specified")
	}
	if !e.hasPort {
		e.port = c.service.Addr.Port() // ipvs: as far as the service is known, so -r before -t means 0
	}
	c.real.Addr = netip.AddrPortFrom(e.addr, e.port)
	return nil
}

func parseMasq(c *ipvsCommand, _ Names, _ string, _ bool) *usageError {
	c.real.Forward = lb.Masq
	return nil
}

func parseTunnel(c *ipvsCommand, _ Names, _ string, _ bool) *usageError {
	c.real.Forward = lb.Tunnel
	return nil
}

func parseRoute(c *ipvsCommand, _ Names, _ string, _ bool) *usageError {
	c.real.Forward = lb.Route
	return nil
}

func parseWeight(c *ipvsCommand, _ Names, value string, _ bool) *usageError {
	n, ok := wholeNumber(value, 0, maxInt32)
	c.real.Weight = int32(n)
	return unless(ok, "illegal weight specified")
}

func parseUpper(c *ipvsCommand, _ Names, value string, _ bool) *usageError {
	n, ok := wholeNumber(value, 0, maxInt32)
	c.real.Upper = uint32(n)
	return unless(ok, "illegal u_threshold specified")
}

func parseLower(c *ipvsCommand, _ Names, value string, _ bool) *usageError {
	n, ok := wholeNumber(value, 0, maxInt32)
	c.real.Lower = uint32(n)
	return unless(ok, "illegal l_threshold specified")
}

func parseTunType(c *ipvsCommand, _ Names, value string, _ bool) *usageError {
	kind, ok := map[string]lb.TunnelType{"ipip": lb.IPIP, "gue": lb.GUE, "gre": lb.GRE}[value]
	c.real.Tunnel.Type = kind
	return unless(ok, "illegal tunnel type specified")
}

func parseTunPort(c *ipvsCommand, _ Names, value string, _ bool) *usageError {
	n, ok := wholeNumber(value, 1, 65535)
	c.real.Tunnel.Port = uint16(n)
	return unless(ok, "illegal tunnel port specified")
}

// daemonNumber reads a number of a sync daemon.
func daemonNumber(text string, low, high int64, set func(*lb.SyncDaemon, int64)) func(*ipvsCommand, Names, string, bool) *usageError {
	return func(c *ipvsCommand, _ Names, value string, _ bool) *usageError {
		n, ok := wholeNumber(value, low, high)
		set(&c.daemon, n)
		return unless(ok, text)
	}
}

func parseMcastInterface(c *ipvsCommand, _ Names, value string, _ bool) *usageError {
	// ipvs: copies 15 characters of it.
	if value != "" { // ipvs: an empty name is none
		c.daemon.Interface = value[:min(len(value), 15)]
	}
	return nil
}

func parseGroup(c *ipvsCommand, _ Names, value string, _ bool) *usageError {
	if strings.Contains(value, ":") {
		a, ok := parseIPv6Literal(value)
		c.daemon.Group = a
		return unless(ok && a.IsMulticast(), "invalid IPv6 mcast-group `"+value+"'")
	}
	a, err := netip.ParseAddr(value)
	c.daemon.Group = a
	return unless(err == nil && a.IsMulticast(), "invalid IPv4 mcast-group `"+value+"'")
}

// defaultMcastInterface is the original's.
const defaultMcastInterface = "eth0"

func parseStartDaemon(c *ipvsCommand, _ Names, value string, _ bool) *usageError {
	c.daemon.Master = value == "master"
	return unless(c.daemon.Master || value == "backup", "illegal start-daemon parameter specified")
}

func parseStopDaemon(c *ipvsCommand, _ Names, value string, _ bool) *usageError {
	c.daemon.Master = value == "master"
	return unless(c.daemon.Master || value == "backup", "illegal start_daemon specified")
}

func unless(ok bool, text string) *usageError {
	if ok {
		return nil
	}
	return usage("%s", text)
}
