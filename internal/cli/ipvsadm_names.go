package cli

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"vipd/internal/lb"
)

// Names turns names of hosts and services into numbers and back. False means that there is no name, or none in time.
type Names interface {
	HostAddr(name string) (netip.Addr, bool) // the first IPv4 address
	HostName(addr netip.Addr) (string, bool)
	ServicePort(name string, proto lb.Protocol) (uint16, bool)
	ServiceName(port uint16, proto lb.Protocol) (string, bool)
}

func (e Env) names() Names {
	if e.Names != nil {
		return e.Names
	}
	return &machineNames{services: sync.OnceValue(func() serviceTable { return readServices("/etc/services") }),
		static: sync.OnceValue(func() hostTable { return readHosts("/etc/hosts") })}
}

const (
	lookupTime = 2 * time.Second // for one name
	namesTime  = 5 * time.Second // for all names of one listing; the rest stays numeric
)

// machineNames asks this machine: /etc/hosts, DNS, /etc/services.
type machineNames struct {
	services func() serviceTable
	static   func() hostTable // asked first: it may have names that are none for DNS, which Go's resolver leaves out
	spent    time.Duration
	hosts    map[netip.Addr]string // empty: no name
}

func (m *machineNames) HostAddr(name string) (netip.Addr, bool) {
	if addr, found := m.static().addrs[strings.ToLower(name)]; found {
		return addr, true
	}
	ctx, cancel := context.WithTimeout(context.Background(), namesTime)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", name)
	if err != nil || len(addrs) == 0 {
		return netip.Addr{}, false
	}
	return addrs[0].Unmap(), true
}

func (m *machineNames) HostName(addr netip.Addr) (string, bool) {
	name, known := m.hosts[addr]
	if !known {
		name = m.ask(addr)
		if m.hosts == nil {
			m.hosts = map[netip.Addr]string{}
		}
		m.hosts[addr] = name
	}
	return name, name != ""
}

func (m *machineNames) ask(addr netip.Addr) string {
	if name, found := m.static().names[addr]; found {
		return name
	}
	left := min(lookupTime, namesTime-m.spent)
	if left <= 0 {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), left)
	defer cancel()
	start := time.Now()
	found, err := net.DefaultResolver.LookupAddr(ctx, addr.String())
	m.spent += time.Since(start)
	if err != nil || len(found) == 0 {
		return ""
	}
	return strings.TrimSuffix(found[0], ".")
}

func (m *machineNames) ServicePort(name string, proto lb.Protocol) (uint16, bool) {
	port, ok := m.services().ports[serviceName{name, proto}]
	return port, ok
}

func (m *machineNames) ServiceName(port uint16, proto lb.Protocol) (string, bool) {
	name, ok := m.services().names[servicePort{port, proto}]
	return name, ok
}

type (
	serviceName struct {
		name  string
		proto lb.Protocol
	}
	servicePort struct {
		port  uint16
		proto lb.Protocol
	}
	// serviceTable is services(5). Of two lines for the same thing the first counts.
	serviceTable struct {
		ports map[serviceName]uint16 // aliases included
		names map[servicePort]string
	}
)

// eachLine reads a file of /etc, which may not be there.
func eachLine(path string, do func(line string)) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		do(lines.Text())
	}
}

func readServices(path string) serviceTable {
	t := serviceTable{map[serviceName]uint16{}, map[servicePort]string{}}
	eachLine(path, t.add)
	return t
}

func (t serviceTable) add(line string) {
	line, _, _ = strings.Cut(line, "#")
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return
	}
	digits, protoName, _ := strings.Cut(fields[1], "/")
	port, err := strconv.ParseUint(digits, 10, 16)
	proto, known := map[string]lb.Protocol{"tcp": lb.TCP, "udp": lb.UDP, "sctp": lb.SCTP}[protoName]
	if err != nil || !known {
		return
	}
	if _, taken := t.names[servicePort{uint16(port), proto}]; !taken {
		t.names[servicePort{uint16(port), proto}] = fields[0]
	}
	for _, name := range append(fields[:1:1], fields[2:]...) {
		if _, taken := t.ports[serviceName{name, proto}]; !taken {
			t.ports[serviceName{name, proto}] = uint16(port)
		}
	}
}

// hostTable is hosts(5). Of two lines for the same thing the first counts.
type hostTable struct {
	names map[netip.Addr]string // without aliases
	addrs map[string]netip.Addr // of IPv4, by names in lower case, aliases included
}

func readHosts(path string) hostTable {
	t := hostTable{map[netip.Addr]string{}, map[string]netip.Addr{}}
	eachLine(path, t.add)
	return t
}

// inIPv4 is what the C library takes a line's address for where one of IPv4 is asked for; if invalid, for none.
func inIPv4(a netip.Addr) netip.Addr {
	switch {
	case a == netip.IPv6Loopback():
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case a.Unmap().Is4():
		return a.Unmap()
	}
	return netip.Addr{}
}

func (t hostTable) add(line string) {
	line, _, _ = strings.Cut(line, "#")
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return
	}
	addr, err := netip.ParseAddr(fields[0])
	if err != nil {
		return
	}
	v4 := inIPv4(addr)
	for _, a := range []netip.Addr{addr, v4} {
		if _, taken := t.names[a]; !taken && a.IsValid() {
			t.names[a] = fields[1]
		}
	}
	for _, name := range fields[1:] {
		if _, taken := t.addrs[strings.ToLower(name)]; !taken && v4.IsValid() {
			t.addrs[strings.ToLower(name)] = v4
		}
	}
}
