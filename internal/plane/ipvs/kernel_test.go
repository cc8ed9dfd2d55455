package ipvs_test

import (
	"bytes"
	"flag"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"vipd/internal/lb"
	"vipd/internal/need"
	"vipd/internal/plane"
	"vipd/internal/plane/ipvs"
	"vipd/internal/plane/planetest"
)

// The tests of this file drive the IPVS of the kernel they run on, each in a network namespace of its own, whose end
// takes its connections along.

var update = flag.Bool("update", false, "write what ipvsadm prints to testdata, to be read by a person")

var virtual = netip.MustParseAddr("10.0.8.9")

// director is a namespace with the virtual address and a cable to the network.
type director struct {
	plane   *ipvs.Plane
	network *packet.Conn // the other end of the cable
	mac     net.HardwareAddr
}

func newDirector(t *testing.T) *director {
	t.Helper()
	need.IPVS(t)
	// Never unlocked: the thread ends with the test, and its namespace with the thread.
	runtime.LockOSThread()
	own, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	own.Close()
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "cable"}
	if err := netlink.LinkAdd(pair); err != nil {
		t.Fatal(err)
	}
	up(t, "lo")
	up(t, "cable")
	near := up(t, "eth0")
	for _, a := range []string{"10.0.8.2/24", "10.0.8.9/32", "10.0.4.1/24", "2001:db8:8::2/64"} {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			t.Fatal(err)
		}
		addr.Flags = unix.IFA_F_NODAD
		if err := netlink.AddrAdd(near, addr); err != nil {
			t.Fatal(err)
		}
	}
	for host := byte(12); host < 16; host++ {
		mac := net.HardwareAddr{2, 0, 0, 0, 0, host}
		n := &netlink.Neigh{LinkIndex: near.Attrs().Index, IP: net.IPv4(10, 0, 8, host), HardwareAddr: mac, State: netlink.NUD_PERMANENT}
		if err := netlink.NeighSet(n); err != nil {
			t.Fatal(err)
		}
	}
	d := &director{mac: near.Attrs().HardwareAddr}
	far, err := net.InterfaceByName("cable")
	if err != nil {
		t.Fatal(err)
	}
	if d.network, err = packet.Listen(far, packet.Raw, unix.ETH_P_ALL, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.network.Close() })
	if d.plane, err = ipvs.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.plane.Close() })
	return d
}

func up(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		t.Fatal(err)
	}
	return l
}

// Connect implements planetest.Traffic with packets of a client that arrive by the cable. It returns when the kernel has
// counted the connection, which is done every 2 s.
func (d *director) Connect(t *testing.T, s lb.Service, client netip.AddrPort) {
	t.Helper()
	if s.Protocol == lb.UDP {
		d.send(t, s, client, &layers.UDP{SrcPort: layers.UDPPort(client.Port()), DstPort: layers.UDPPort(s.Addr.Port())})
	} else {
		port := layers.TCPPort(client.Port())
		d.send(t, s, client, &layers.TCP{SrcPort: port, DstPort: layers.TCPPort(s.Addr.Port()), Seq: 1, SYN: true, Window: 1000})
		d.send(t, s, client, &layers.TCP{SrcPort: port, DstPort: layers.TCPPort(s.Addr.Port()), Seq: 2, Ack: 1, ACK: true, Window: 1000})
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		have, err := d.plane.Read()
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(have, func(p plane.Pool) bool { return p.Service.ServiceKey == s.ServiceKey })
		if at >= 0 && have[at].Total.Conns > 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the connection of %s to %s is not counted: %+v", client, s.ServiceKey, have)
		}
	}
}

// send lets a packet arrive and checks that it goes on to a real server.
func (d *director) send(t *testing.T, s lb.Service, client netip.AddrPort, transport gopacket.SerializableLayer) {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: d.mac, EthernetType: layers.EthernetTypeIPv4}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocol(s.Protocol), SrcIP: client.Addr().AsSlice(), DstIP: s.Addr.Addr().AsSlice()}
	switch l := transport.(type) {
	case *layers.TCP:
		l.SetNetworkLayerForChecksum(ip)
	case *layers.UDP:
		l.SetNetworkLayerForChecksum(ip)
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, transport); err != nil {
		t.Fatal(err)
	}
	if _, err := d.network.WriteTo(buf.Bytes(), &packet.Addr{HardwareAddr: d.mac}); err != nil {
		t.Fatal(err)
	}
	d.network.SetReadDeadline(time.Now().Add(10 * time.Second))
	frame := make([]byte, 2048)
	for {
		n, _, err := d.network.ReadFrom(frame)
		if err != nil {
			t.Fatalf("no real server got it: %v", err)
		}
		p := gopacket.NewPacket(frame[:n], layers.LayerTypeEthernet, gopacket.NoCopy)
		l2, _ := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
		l3, _ := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		if l2 != nil && l3 != nil && bytes.HasPrefix(l2.DstMAC, []byte{2, 0, 0, 0, 0}) && l3.DstIP.Equal(ip.DstIP) && l3.TTL == 63 {
			return
		}
	}
}

func TestTheContractHoldsOnThisKernel(t *testing.T) {
	need.IPVS(t)
	planetest.Run(t, func(t *testing.T) plane.Plane { return newDirector(t).plane })
	planetest.RunTraffic(t, func(t *testing.T) (plane.Plane, planetest.Traffic) {
		d := newDirector(t)
		return d.plane, d
	})
}

func key(p lb.Protocol, addr string) lb.ServiceKey {
	return lb.ServiceKey{Protocol: p, Addr: netip.MustParseAddrPort(addr)}
}

func real(addr string, f lb.Forward, w int32) lb.Real {
	return lb.Real{Addr: netip.MustParseAddrPort(addr), Forward: f, Weight: w}
}

func tunnel(addr string, w int32, o lb.TunnelOptions) lb.Real {
	r := real(addr, lb.Tunnel, w)
	r.Tunnel = o
	return r
}

// everything has each attribute at least once, in the order in which ipvsadm sorts.
func everything() []lb.Pool {
	full := real("10.0.8.13:80", lb.Route, 65535)
	full.Upper, full.Lower = 100, 80
	return []lb.Pool{
		{Service: lb.Service{ServiceKey: key(lb.TCP, "10.0.8.9:80"), Scheduler: "wrr", Persistence: 50 * time.Second, Wild: 0xff},
			Reals: []lb.Real{real("10.0.8.2:80", lb.Masq, 0), real("10.0.8.12:80", lb.Route, 2), full}},
		{Service: lb.Service{ServiceKey: key(lb.TCP, "10.0.8.9:443"), Scheduler: "sh", Flags: lb.SchedFlag1 | lb.SchedFlag2}},
		{Service: lb.Service{ServiceKey: key(lb.TCP, "[2001:db8:8::9]:80"), Scheduler: "mh", Flags: lb.SchedFlag2},
			Reals: []lb.Real{tunnel("10.0.8.14:80", 1, lb.TunnelOptions{}), real("[2001:db8:8::12]:80", lb.Masq, 1)}},
		{Service: lb.Service{ServiceKey: key(lb.UDP, "10.0.8.9:53"), Scheduler: "rr", OnePacket: true},
			Reals: []lb.Real{tunnel("10.0.8.12:53", 1, lb.TunnelOptions{Type: lb.GUE, Port: 6080, Csum: true}),
				tunnel("10.0.8.13:53", 1, lb.TunnelOptions{Type: lb.GRE}), tunnel("10.0.8.14:53", 3, lb.TunnelOptions{Type: lb.GUE, Port: 6080, RemCsum: true})}},
		{Service: lb.Service{ServiceKey: key(lb.UDP, "10.0.8.9:5060"), Scheduler: "lc", Persistence: time.Minute, Engine: "sip"},
			Reals: []lb.Real{real("10.0.8.12:5061", lb.Masq, 1)}},
		{Service: lb.Service{ServiceKey: key(lb.SCTP, "10.0.8.9:36412"), Scheduler: "none"}},
		{Service: lb.Service{ServiceKey: lb.ServiceKey{Mark: 7}, Scheduler: "wlc", Persistence: 360 * time.Second},
			Reals: []lb.Real{real("10.0.8.12:0", lb.Route, 1)}},
		{Service: lb.Service{ServiceKey: lb.ServiceKey{Mark: 7, V6: true}, Scheduler: "fo", Persistence: 5 * time.Second, Wild: 64}},
	}
}

func TestIpvsadmPrintsWhatThisPlaneWrote(t *testing.T) {
	d := newDirector(t)
	if err := d.plane.Apply(plane.Diff(nil, everything())); err != nil {
		t.Fatal(err)
	}
	planetest.Want(t, d.plane, everything())
	for args, name := range map[string]string{"-S -n": "save", "-Ln --exact": "list", "-Ln --thresholds": "thresholds",
		"-Ln --tun-info": "tunnels", "-Ln --stats": "stats"} {
		got := ipvsadm(t, args, "")
		if *update {
			if err := os.WriteFile("testdata/"+name, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("ipvsadm %s (-want +got):\n%s", args, diff)
		}
	}
}

func TestThisPlaneReadsWhatIpvsadmWrote(t *testing.T) {
	rules, err := os.ReadFile("testdata/save")
	if err != nil {
		t.Fatal(err)
	}
	d := newDirector(t)
	ipvsadm(t, "-R", string(rules))
	want := everything()
	want[0].Reals[2].Upper, want[0].Reals[2].Lower = 0, 0 // ipvsadm -S loses them
	planetest.Want(t, d.plane, want)
}

// TestLblcIsLoadedBeforeThisKernelAsksForIt keeps the kernel from loading a module by itself: it would hold its lock meanwhile.
func TestLblcIsLoadedBeforeThisKernelAsksForIt(t *testing.T) {
	d := newDirector(t)
	const helper = "/proc/sys/kernel/modprobe"
	was, err := os.ReadFile(helper)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(helper, []byte("/bin/false"), 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(helper, bytes.TrimSpace(was), 0o644)
	for i, scheduler := range []string{"lblc", "lblcr"} {
		unload(t, "ip_vs_"+scheduler)
		s := lb.Service{ServiceKey: key(lb.TCP, "10.0.8.9:80"), Scheduler: scheduler}
		verb := []plane.Verb{plane.AddService, plane.EditService}[i]
		if err := d.plane.Apply([]plane.Op{{Verb: verb, Service: s}}); err != nil {
			t.Error(err)
		}
	}
}

// unload waits for namespaces that end with services that use the module.
func unload(t *testing.T, module string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out, err := exec.Command("modprobe", "-r", module).CombinedOutput()
		if _, gone := os.Stat("/sys/module/" + module); gone != nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("modprobe -r %s: %v: %s", module, err, out)
		}
	}
}

func ipvsadm(t *testing.T, args, stdin string) string {
	t.Helper()
	cmd := exec.Command(need.Tool(t, "ipvsadm"), strings.Fields(args)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("ipvsadm %s: %v: %s", args, err, out)
	}
	return string(out)
}

func TestCountersAreZeroedTogetherAndOneByOne(t *testing.T) {
	d := newDirector(t)
	web := everything()[0]
	web.Service.Persistence, web.Reals = 0, web.Reals[1:2]
	if err := d.plane.Apply(plane.Diff(nil, []lb.Pool{web})); err != nil {
		t.Fatal(err)
	}
	d.Connect(t, web.Service, netip.MustParseAddrPort("10.0.4.10:40000"))
	absent := key(lb.TCP, "10.0.8.9:81")
	if err := d.plane.Zero(&absent); err == nil {
		t.Error("a missing service is zeroed")
	}
	if err := d.plane.Zero(&web.Service.ServiceKey); err != nil {
		t.Fatal(err)
	}
	have, err := d.plane.Read()
	if err != nil || have[0].Total != (lb.Counters{}) || have[0].Reals[0].Total != (lb.Counters{}) || have[0].Reals[0].Active != 1 {
		t.Errorf("after zeroing %+v, %v", have, err)
	}
	if err := d.plane.Zero(nil); err != nil {
		t.Error(err)
	}
}

func TestSyncDaemonsOfThisKernel(t *testing.T) {
	d := newDirector(t)
	c := d.plane.Client()
	want := ipvs.Sync{State: ipvs.SyncMaster, Interface: "eth0", ID: 51, MaxLen: 1400, Group: netip.MustParseAddr("224.0.0.82"), Port: 8849, TTL: 3}
	if err := c.StartSync(want); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Syncs(); err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := c.StopSync(ipvs.SyncMaster); err != nil {
		t.Error(err)
	}
	if got, err := c.Syncs(); err != nil || len(got) != 0 {
		t.Errorf("left %+v, %v", got, err)
	}
	if err := c.StopSync(ipvs.SyncMaster); err == nil {
		t.Error("a daemon that is not there is stopped")
	}
}

func TestConnectionsOfThisKernelAreRead(t *testing.T) {
	d := newDirector(t)
	web := lb.Service{ServiceKey: key(lb.TCP, "10.0.8.9:80"), Scheduler: "rr", Persistence: 50 * time.Second}
	if err := d.plane.Apply(plane.Diff(nil, []lb.Pool{{Service: web, Reals: []lb.Real{real("10.0.8.12:80", lb.Route, 1)}}})); err != nil {
		t.Fatal(err)
	}
	d.Connect(t, web, netip.MustParseAddrPort("10.0.4.10:40000"))
	if err := d.plane.Apply([]plane.Op{{Verb: plane.DelReal, Service: web, Real: real("10.0.8.12:80", lb.Route, 1)}}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the method of a removed real server is kept from one listing to the next
		var conns, templates int
		if err := d.plane.Conns(func(c lb.Conn) bool {
			if c.Forward != lb.Route || c.Real != netip.MustParseAddrPort("10.0.8.12:80") || c.Virtual.Addr() != virtual {
				t.Errorf("connection %+v", c)
			}
			if c.Template {
				templates++
			} else {
				conns++
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if conns != 1 || templates != 1 {
			t.Errorf("%d connections and %d templates", conns, templates)
		}
	}
	if err := d.plane.Client().Flush(); err != nil {
		t.Fatal(err)
	}
	planetest.Want(t, d.plane, nil)
}
