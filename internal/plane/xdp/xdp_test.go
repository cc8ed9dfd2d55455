package xdp

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"vipd/bpf"
	"vipd/internal/lb"
	"vipd/internal/need"
	"vipd/internal/plane"
	"vipd/internal/plane/planetest"
)

// small is enough for a few hundred connections.
var small = Options{TableSize: 1024, Services: 8, Reals: 32, Maglev: 2}

var serial atomic.Int32

// pinDir is a directory of the test's own, with nothing in it at the end.
func pinDir(t *testing.T) string {
	t.Helper()
	need.BPF(t)
	base := filepath.Join("/sys/fs/bpf", "planetest"+strconv.Itoa(os.Getpid())+"-"+strconv.Itoa(int(serial.Add(1))))
	t.Cleanup(func() {
		for _, name := range pinned(base) {
			t.Errorf("left behind: %s", name)
		}
		os.RemoveAll(base)
	})
	return filepath.Join(base, "one")
}

// opened is a plane that is removed at the end.
func opened(t *testing.T, opts Options) *Plane {
	t.Helper()
	if opts.PinDir == "" {
		opts.PinDir = pinDir(t)
	}
	p, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.maps == nil {
			return // closed or killed by the test
		}
		if err := p.Remove(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func do(t *testing.T, p plane.Plane, ops ...plane.Op) {
	t.Helper()
	if err := p.Apply(ops); err != nil {
		t.Fatal(err)
	}
}

func add(s lb.Service, reals ...lb.Real) []plane.Op {
	ops := []plane.Op{{Verb: plane.AddService, Service: s}}
	for _, r := range reals {
		ops = append(ops, plane.Op{Verb: plane.AddReal, Service: s, Real: r})
	}
	return ops
}

// emptied is p as new: verifying the program takes seconds, and indices that were used before are the better test.
func emptied(t *testing.T, p *Plane) *Plane {
	t.Helper()
	have, err := p.Read()
	if err != nil {
		t.Fatal(err)
	}
	do(t, p, plane.Diff(plane.Pools(have), nil)...)
	frame, _ := binary.Append(nil, binary.NativeEndian, bpf.LbOrder{Real: noReal})
	if err := p.run(bpf.LbProgForget, frame, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.reap(true); err != nil {
		t.Fatal(err)
	}
	if err := p.setDefaults(); err != nil {
		t.Fatal(err)
	}
	if err := p.SetClasses(nil); err != nil {
		t.Fatal(err)
	}
	if len(p.services)+len(p.hops) != 0 || p.serviceSlots.inUse() != 0 || p.realSlots.inUse() != 0 || p.blockSlots.inUse()+p.tableSlots.inUse() != 0 {
		t.Fatalf("an empty plane has %d services, %d hops, indices %d %d %d %d", len(p.services), len(p.hops),
			p.serviceSlots.inUse(), p.realSlots.inUse(), p.blockSlots.inUse(), p.tableSlots.inUse())
	}
	return p
}

func (s *slots) inUse() (n int) {
	for _, u := range s.used {
		if u {
			n++
		}
	}
	return n
}

func TestContract(t *testing.T) {
	p := opened(t, small)
	planetest.Run(t, func(t *testing.T) plane.Plane { return emptied(t, p) })
	planetest.RunTraffic(t, func(t *testing.T) (plane.Plane, planetest.Traffic) { return emptied(t, p), runner{p} })
}

// runner makes connections by BPF_PROG_TEST_RUN, which lets packets arrive at the loopback interface (ifindex 1).
type runner struct{ *Plane }

var routerMAC, ourMAC, realMAC = [6]byte{2, 0, 0, 0, 0, 1}, [6]byte{2, 0, 0, 0, 0, 9}, [6]byte{2, 0, 0, 0, 0, 12}

func (r runner) Connect(t *testing.T, s lb.Service, client netip.AddrPort) {
	t.Helper()
	if s.Protocol == lb.UDP {
		r.send(t, s.ServiceKey, client, "")
		return
	}
	if s.Protocol == lb.SCTP {
		r.send(t, s.ServiceKey, client, "I") // INIT, COOKIE ECHO
		r.send(t, s.ServiceKey, client, "C")
		return
	}
	r.send(t, s.ServiceKey, client, "S")
	r.send(t, s.ServiceKey, client, "A")
}

const xdpTX = 3

// send passes one packet with these TCP flags (S, A, F, R) through the program and fails unless it was forwarded.
func (r runner) send(t *testing.T, k lb.ServiceKey, client netip.AddrPort, flags string) {
	t.Helper()
	if verdict, _ := r.pass(t, k, client, flags); verdict != xdpTX {
		list, _ := r.Reasons()
		t.Fatalf("verdict %d, want XDP_TX; %v", verdict, list)
	}
}

// pass returns the verdict and the MAC address that the frame goes to.
func (r runner) pass(t *testing.T, k lb.ServiceKey, client netip.AddrPort, flags string) (uint32, [6]byte) {
	t.Helper()
	if err := r.SetLink(1, ourMAC, true); err != nil {
		t.Fatal(err)
	}
	for _, addr := range r.Hops() {
		mac := realMAC
		mac[5] = addr.AsSlice()[addr.BitLen()/8-1]
		if err := r.SetHop(addr, Hop{Ifindex: 1, Src: ourMAC, Dst: mac}); err != nil {
			t.Fatal(err)
		}
	}
	out := make([]byte, 2048)
	verdict, err := r.progs[bpf.LbProgLb].Run(&ebpf.RunOptions{Data: frame(t, k, client, flags), DataOut: out})
	if err != nil {
		t.Fatal(err)
	}
	return verdict, [6]byte(out[:6])
}

// frame is a packet with these flags of TCP, chunk of SCTP or text of UDP.
func frame(t *testing.T, k lb.ServiceKey, client netip.AddrPort, flags string) []byte {
	t.Helper()
	var ip gopacket.NetworkLayer
	kind := layers.EthernetTypeIPv6
	if k.Is6() {
		ip = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocol(k.Protocol), SrcIP: client.Addr().AsSlice(), DstIP: k.Addr.Addr().AsSlice()}
	} else {
		kind = layers.EthernetTypeIPv4
		ip = &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocol(k.Protocol), SrcIP: client.Addr().AsSlice(), DstIP: k.Addr.Addr().AsSlice()}
	}
	all := []gopacket.SerializableLayer{
		&layers.Ethernet{SrcMAC: routerMAC[:], DstMAC: ourMAC[:], EthernetType: kind}, ip.(gopacket.SerializableLayer)}
	if k.Protocol == lb.SCTP {
		chunk := map[string]byte{"I": 1, "C": 10}[flags]
		all = append(all, &layers.SCTP{SrcPort: layers.SCTPPort(client.Port()), DstPort: layers.SCTPPort(k.Addr.Port())}, gopacket.Payload{chunk, 0, 0, 4})
	} else if k.Protocol == lb.UDP {
		udp := &layers.UDP{SrcPort: layers.UDPPort(client.Port()), DstPort: layers.UDPPort(k.Addr.Port())}
		udp.SetNetworkLayerForChecksum(ip)
		all = append(all, udp, gopacket.Payload(flags))
	} else {
		tcp := &layers.TCP{SrcPort: layers.TCPPort(client.Port()), DstPort: layers.TCPPort(k.Addr.Port()), Window: 1000}
		for _, f := range flags {
			switch f {
			case 'S':
				tcp.SYN = true
			case 'A':
				tcp.ACK = true
			case 'F':
				tcp.FIN = true
			case 'R':
				tcp.RST = true
			}
		}
		tcp.SetNetworkLayerForChecksum(ip)
		all = append(all, tcp)
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func port(n uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("10.0.4.10"), n)
}

// conns is the list of p.
func conns(t *testing.T, p *Plane) (list []lb.Conn) {
	t.Helper()
	if err := p.Conns(func(c lb.Conn) bool { list = append(list, c); return true }); err != nil {
		t.Fatal(err)
	}
	var err error
	parts := 0
	for cursor := 0; cursor >= 0 && err == nil; {
		cursor, err = p.connsFrom(cursor, 64, func(c lb.Conn) {
			if parts >= len(list) || list[parts].Client != c.Client {
				t.Errorf("in parts, connection %d is of %v", parts, c.Client)
			}
			parts++
		})
	}
	if err != nil || parts != len(list) {
		t.Errorf("%d connections in parts, %d at once: %v", parts, len(list), err)
	}
	return list
}

func TestTheMapsTypesHaveNoSecondMeaning(t *testing.T) {
	if n := binary.Size(conn{}); n != 64 {
		t.Errorf("a line has %d bytes, want a cache line", n)
	}
	for i, name := range bpf.Reasons() {
		if name == "" {
			t.Errorf("reason %d has no name", i)
		}
		switch verdictOf(name) {
		case "pass", "forward", "reply", "drop":
		default:
			t.Errorf("reason %s has verdict %q", name, verdictOf(name))
		}
	}
}
