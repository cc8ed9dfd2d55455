package xdp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vipd/internal/connsync"
	"vipd/internal/lb"
	"vipd/internal/plane"
)

var newcomer = netip.MustParseAddrPort("10.0.4.102:50011")

// capturedSync are the connections of a capture of the kernel's datagrams (Ethernet, IPv4 without options).
func capturedSync(t *testing.T, name string) (all []connsync.Conn) {
	t.Helper()
	b, err := os.ReadFile("../../connsync/testdata/" + name + ".pcap")
	if err != nil {
		t.Fatal(err)
	}
	for b = b[24:]; len(b) > 0; {
		n := int(binary.LittleEndian.Uint32(b[8:]))
		connsync.Decode(b[16+14+20+8:16+n], 0, func(c connsync.Conn) { all = append(all, c) }, func(r connsync.Reason) { t.Error(r) })
		b = b[16+n:]
	}
	return all
}

// learn puts connections into the table; what was refused is named.
func learn(t *testing.T, p *Plane, s *connsync.Selector, conns ...connsync.Conn) (refused []connsync.Reason) {
	t.Helper()
	err := p.Learn(conns, s.Learned, func(_ connsync.Conn, why connsync.Reason) { refused = append(refused, why) })
	if err != nil {
		t.Fatal(err)
	}
	return refused
}

// looked is what a pass over the table tells.
func looked(t *testing.T, p *Plane, s *connsync.Selector) (told []connsync.Conn) {
	t.Helper()
	for cursor := 0; cursor >= 0; {
		next, err := p.Look(cursor, s.Look, func(c connsync.Conn) { told = append(told, c) }, func() bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		cursor = next
	}
	return told
}

// connListing is the table as ipvsadm -lcn shows it, with whole seconds.
func connListing(t *testing.T, p *Plane) (lines []string) {
	t.Helper()
	if err := p.Conns(func(c lb.Conn) bool {
		line := fmt.Sprintf("%s %s %s %s %s %d", c.Protocol, c.Client, c.Virtual, c.Real, c.StateName(), (c.Expires+500*time.Millisecond)/time.Second)
		lines = append(lines, strings.TrimSpace(line+" "+c.Engine+" "+c.EngineData))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

func real12(port uint16, forward lb.Forward) lb.Real {
	return lb.Real{Addr: netip.AddrPortFrom(netip.MustParseAddr("10.0.8.12"), port), Forward: forward, Weight: 1}
}

func syncService(text string, seconds int) lb.Service {
	proto, addr, _ := strings.Cut(text, " ")
	s := lb.Service{Scheduler: "rr", Persistence: time.Duration(seconds) * time.Second}
	s.Protocol = map[string]lb.Protocol{"tcp": lb.TCP, "udp": lb.UDP}[proto]
	s.Addr = netip.MustParseAddrPort(addr)
	return s
}

// The setups and the tables of the reference's golden cases 502, 508, 512, 519 and 520: a backup that the kernel is, here is.
func TestTheKernelsDatagramsGiveTheKernelsTable(t *testing.T) {
	p := opened(t, small)
	nat := real12(80, lb.Masq)
	nat13 := nat
	nat13.Addr = netip.MustParseAddrPort("10.0.8.13:80")
	mark, sip := lb.Service{Scheduler: "rr", Persistence: 60 * time.Second, ServiceKey: lb.ServiceKey{Mark: 7}}, syncService("udp 10.0.8.9:5060", 60)
	sip.Engine = "sip"
	for name, tc := range map[string]struct {
		ops    []plane.Op
		want   []string
		counts [][3]uint32 // active, inactive and persistent, by real server
	}{
		"sync-v1-nat-persistent": {add(syncService("tcp 10.0.8.9:80", 100), nat, nat13), []string{
			"TCP 10.0.4.102:0 10.0.8.9:80 10.0.8.13:80 ASSURED 100", "TCP 10.0.4.102:50001 10.0.8.9:80 10.0.8.13:80 TIME_WAIT 120",
			"TCP 10.0.4.103:0 10.0.8.9:80 10.0.8.12:80 ASSURED 100", "TCP 10.0.4.103:50002 10.0.8.9:80 10.0.8.12:80 ESTABLISHED 900",
		}, [][3]uint32{{1, 0, 1}, {0, 1, 1}}},
		"sync-v1-fwmark": {add(mark, real12(0, lb.Route)), []string{
			"IP 10.0.4.102:0 0.0.0.7:0 10.0.8.12:0 ASSURED 60", "TCP 10.0.4.102:50031 10.0.8.9:443 10.0.8.12:443 ESTABLISHED 900",
		}, [][3]uint32{{1, 0, 1}}},
		"sync-v0-nat-persistent": {add(syncService("tcp 10.0.8.9:80", 100), nat, nat13), []string{
			"TCP 10.0.4.102:0 10.0.8.9:80 10.0.8.13:80 ASSURED 180", "TCP 10.0.4.102:50041 10.0.8.9:80 10.0.8.13:80 CLOSE 10",
		}, [][3]uint32{{}, {0, 1, 1}}},
		"sync-v1-udp-threshold": {add(syncService("udp 10.0.8.9:53", 0), real12(53, lb.Route)), []string{
			"UDP 10.0.4.102:50061 10.0.8.9:53 10.0.8.12:53 UDP 300"}, [][3]uint32{{0, 1, 0}}},
		"sync-v1-pe-sip": {add(sip, real12(5060, lb.Masq)), []string{
			"UDP 10.0.4.102:0 10.0.8.9:5060 10.0.8.12:5060 ASSURED 60 sip abc123@10.0.4.102", "UDP 10.0.4.102:5060 10.0.8.9:5060 10.0.8.12:5060 UDP 300",
		}, [][3]uint32{{0, 1, 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := emptied(t, p)
			do(t, p, tc.ops...)
			s := connsync.NewSelector(connsync.DefaultPolicy, p.Ticks)
			conns := capturedSync(t, name)
			if refused := learn(t, p, s, conns...); len(refused) > 0 {
				t.Errorf("refused %v", refused)
			}
			if diff := cmp.Diff(tc.want, connListing(t, p)); diff != "" {
				t.Error(diff)
			}
			var counts [][3]uint32
			for _, r := range servers(t, p) {
				counts = append(counts, [3]uint32{r.Active, r.Inactive, r.Persist})
			}
			if diff := cmp.Diff(tc.counts, counts); diff != "" {
				t.Error(diff)
			}
			if told := looked(t, p, s); len(told) > 0 {
				t.Errorf("what was learned is told back: %v", told)
			}
			retold(t, p, conns)
		})
	}
}

func servers(t *testing.T, p *Plane) (all []plane.Real) {
	t.Helper()
	pools, err := p.Read()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range pools {
		all = append(all, one.Reals...)
	}
	return all
}

// retold: a master that takes over tells everything as it was told, last of each.
func retold(t *testing.T, p *Plane, conns []connsync.Conn) {
	t.Helper()
	last := map[string]connsync.Conn{}
	for _, c := range conns {
		if c.Flags |= connsync.Synced; c.Timeout == 0 { // version 0
			return
		}
		last[fmt.Sprint(c.Protocol, c.Client, c.Virtual)] = c
	}
	s := connsync.NewSelector(connsync.DefaultPolicy, p.Ticks)
	s.Retell = true
	for _, c := range looked(t, p, s) {
		key := fmt.Sprint(c.Protocol, c.Client, c.Virtual)
		if diff := cmp.Diff(last[key], c, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Error(diff)
		}
		delete(last, key)
	}
	if len(last) > 0 {
		t.Errorf("not told: %v", last)
	}
}

func TestConnectionsThatBeginHereAreToldAsTheKernelTellsThem(t *testing.T) {
	p := opened(t, small)
	s, r := syncService("tcp 10.0.8.9:80", 0), runner{p}
	do(t, p, add(s, real12(80, lb.Route))...)
	sel := connsync.NewSelector(connsync.DefaultPolicy, p.Ticks)
	r.Connect(t, s, newcomer)
	if told := looked(t, p, sel); len(told) != 0 {
		t.Errorf("two packets: told %v", told)
	}
	r.send(t, s.ServiceKey, newcomer, "A")
	told := looked(t, p, sel)
	want := connsync.Conn{Protocol: lb.TCP, Client: newcomer, Virtual: s.Addr, Real: netip.MustParseAddrPort("10.0.8.12:80"),
		Flags: 0x83, State: lb.Established, Timeout: 900} // capture sync-v1-dr-no-service
	if len(told) != 1 || told[0] != want {
		t.Errorf("%+v\nwant %+v", told, want)
	}
	r.send(t, s.ServiceKey, newcomer, "F")
	if told = looked(t, p, sel); len(told) != 1 || told[0].State != lb.FinWait || told[0].Flags != 0x183 || told[0].Timeout != 120 {
		t.Errorf("%+v", told)
	}
	if told = looked(t, p, sel); len(told) != 0 {
		t.Errorf("nothing came: %v", told)
	}
	if used, of := p.Room(); used != 1 || of != 1024 {
		t.Errorf("%d of %d lines", used, of)
	}
	refuse(t, p, sel)
}

// refuse: what cannot be kept is named, and changes nothing.
func refuse(t *testing.T, p *Plane, s *connsync.Selector) {
	t.Helper()
	good := connsync.Conn{Protocol: lb.TCP, Client: netip.MustParseAddrPort("10.0.4.1:9"), Virtual: netip.MustParseAddrPort("10.0.8.9:80"),
		Real: netip.MustParseAddrPort("10.0.8.12:80"), State: lb.Established}
	for want, spoil := range map[connsync.Reason]func(*connsync.Conn){
		connsync.UnknownServer: func(c *connsync.Conn) { c.Real = netip.MustParseAddrPort("10.0.8.99:80") },
		connsync.NoClient:      func(c *connsync.Conn) { c.Flags |= connsync.NoClientPort },
		connsync.Unroutable:    func(c *connsync.Conn) { c.Client = netip.MustParseAddrPort("224.0.0.1:9") },
		connsync.UnknownEngine: func(c *connsync.Conn) { c.Flags, c.Engine, c.EngineData = connsync.Template, "sip", "x" },
		connsync.Stale: func(c *connsync.Conn) {
			c.Client, c.Real, c.Flags = newcomer, netip.MustParseAddrPort("10.0.8.13:80"), connsync.Inactive
		},
	} {
		c := good
		spoil(&c)
		if want == connsync.Stale {
			do(t, p, plane.Op{Verb: plane.AddReal, Service: syncService("tcp 10.0.8.9:80", 0), Real: lb.Real{Addr: c.Real, Forward: lb.Route, Weight: 1}})
		}
		if got := learn(t, p, s, c); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v", want, got)
		}
	}
	if used, _ := p.Room(); used != 1 {
		t.Errorf("%d lines", used)
	}
}
