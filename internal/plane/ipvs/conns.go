package ipvs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"time"

	"vipd/internal/lb"
)

// procDir is that of the calling thread's network namespace, which may not be that of the process.
const procDir = "/proc/thread-self/net/"

// entry is a line of /proc/net/ip_vs_conn or ip_vs_conn_sync. Each of the two has something that the other lacks.
type entry struct {
	lb.Conn      // with Engine and EngineData only from ip_vs_conn
	synced  bool // made by a synchronisation daemon; only from ip_vs_conn_sync
}

// Conns reads /proc/net/ip_vs_conn line by line. A connection that comes or goes meanwhile may be missed or be listed
// twice. ipvs: the file does not have the forwarding method; it is that of the real server, as last known here. Packets
// are not listed either.
func (p *Plane) Conns(visit func(lb.Conn) bool) error {
	var f *os.File
	err := p.within(func() (err error) { f, err = os.Open(procDir + "ip_vs_conn"); return err })
	if err != nil {
		return fmt.Errorf("list the connections: %w", err)
	}
	defer f.Close()
	have, err := p.Read()
	if err != nil {
		return err
	}
	next, ended := methodsOf(have), false
	err = readConns(f, func(e entry) bool {
		e.Forward = next.find(e.Conn, p.methods)
		ended = !visit(e.Conn)
		return !ended
	})
	if err != nil {
		return fmt.Errorf("list the connections: %w", err)
	}
	if !ended { // only after all of them it is known which removed real servers still matter
		p.methods = next
	}
	return nil
}

// maxLine is far more than the longest line: three IPv6 addresses and 255 bytes of persistence data.
const maxLine = 4096

// readConns reads a whole file of either kind until visit returns false.
func readConns(r io.Reader, visit func(entry) bool) error {
	br := bufio.NewReaderSize(r, maxLine)
	head, err := br.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("read the heading: %w", err)
	}
	if !bytes.HasPrefix(head, []byte("Pro FromIP")) {
		return fmt.Errorf("the heading is %q", head)
	}
	sync := bytes.Contains(head, []byte("Origin"))
	for {
		line, err := br.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a line: %w", err)
		}
		e, err := parseEntry(line, sync)
		if err != nil {
			return fmt.Errorf("line %q: %w", line, err)
		}
		if !visit(e) {
			return nil
		}
	}
}

var errLine = errors.New("it is no connection")

// parseEntry reads a line: protocol, three addresses with their ports in hexadecimal, state, origin if sync, seconds, and
// otherwise perhaps the persistence engine and its data, which has no form.
func parseEntry(line []byte, sync bool) (e entry, err error) {
	rest := bytes.TrimRight(line, "\n")
	var ok bool
	if e.Protocol, ok = protocolOf(cut(&rest)); !ok {
		return e, fmt.Errorf("protocol: %w", errLine)
	}
	for _, to := range []*netip.AddrPort{&e.Client, &e.Virtual, &e.Real} {
		if *to, ok = endpoint(cut(&rest), cut(&rest)); !ok {
			return e, fmt.Errorf("address: %w", errLine)
		}
	}
	state := cut(&rest)
	if sync {
		e.synced = string(cut(&rest)) == "SYNC"
	}
	if e.Expires, ok = expiry(cut(&rest)); !ok {
		return e, fmt.Errorf("expiry: %w", errLine)
	}
	if name := cut(&rest); len(name) > 0 && !sync {
		e.Engine = string(name)
		e.EngineData = string(bytes.TrimPrefix(rest, []byte(" ")))
	}
	setState(&e.Conn, string(state))
	return e, nil
}

// cut takes the next word.
func cut(rest *[]byte) []byte {
	b := bytes.TrimLeft(*rest, " ")
	end := bytes.IndexByte(b, ' ')
	if end < 0 {
		end = len(b)
	}
	*rest = b[end:]
	return b[:end]
}

func protocolOf(w []byte) (lb.Protocol, bool) {
	switch string(w) {
	case "TCP":
		return lb.TCP, true
	case "UDP":
		return lb.UDP, true
	case "SCTP":
		return lb.SCTP, true
	case "IP": // a template of a firewall mark
		return lb.IP, true
	case "ICMP":
		return 1, true
	case "ICMPv6":
		return 58, true
	}
	n, err := strconv.ParseUint(string(bytes.TrimPrefix(w, []byte("IP_"))), 10, 8)
	return lb.Protocol(n), err == nil
}

// endpoint reads 0A000809 0050 or an IPv6 address and a port.
func endpoint(addr, port []byte) (netip.AddrPort, bool) {
	p, ok := hex(port, 4)
	if !ok {
		return netip.AddrPort{}, false
	}
	if len(addr) == 8 && bytes.IndexByte(addr, ':') < 0 {
		n, ok := hex(addr, 8)
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), uint16(p)), ok
	}
	a, err := netip.ParseAddr(string(addr))
	return netip.AddrPortFrom(a, uint16(p)), err == nil && a.Is6() && a.Zone() == ""
}

func hex(b []byte, digits int) (n uint32, ok bool) {
	if len(b) != digits {
		return 0, false
	}
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		n = n<<4 | uint32(c)
	}
	return n, true
}

// expiry reads seconds. A timer that is just due counts below zero, which the file shows as a huge number.
func expiry(b []byte) (time.Duration, bool) {
	n, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil {
		return 0, false
	}
	if d := time.Duration(n); d <= maxExpiry {
		return d * time.Second, true
	}
	return 0, true
}

// maxExpiry is in seconds: a timer of IPVS has at most 31 bits of ticks, of which there are at least 100 in a second.
const maxExpiry = 1 << 31 / 100

// unknownState is that of a name which this program does not know.
const unknownState lb.State = 255

var states = func() map[lb.Protocol]map[string]lb.State {
	all := map[lb.Protocol]map[string]lb.State{lb.TCP: {}, lb.SCTP: {}}
	for s := range lb.State(32) {
		for p, names := range all {
			if name := (lb.Conn{Protocol: p, State: s}).StateName(); len(name) > 0 {
				names[name] = s
			}
		}
	}
	return all
}()

// setState makes of the state's name what lb has of it. NONE without a client port is a template; a mere NONE can be a
// connection whose first packet is just being handled.
func setState(c *lb.Conn, name string) {
	switch {
	case name == "ASSURED":
		c.Template, c.Assured = true, true
	case name == "NONE" && c.Client.Port() == 0:
		c.Template = true
	case c.Protocol == lb.UDP:
		c.State = lb.None
	default:
		var ok bool
		if c.State, ok = states[c.Protocol][name]; !ok {
			c.State = unknownState
		}
	}
}
