package bpf

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"vipd/internal/need"
)

// Of a check: this host's end, the real server's own address, and the source of its tunnel.
var (
	asker, asker6   = netip.MustParseAddrPort("10.0.8.25:40001"), netip.MustParseAddrPort("[2001:db8:8::25]:40001")
	asked, asked6   = netip.MustParseAddrPort("10.0.8.12:80"), netip.MustParseAddrPort("[2001:db8:8::12]:80")
	atVIP, atVIP6   = netip.AddrPortFrom(vip.Addr(), 80), netip.AddrPortFrom(vip6.Addr(), 80)
	packer, packer6 = netip.MustParseAddr("10.0.8.26"), netip.MustParseAddr("2001:db8:8::26")
)

// echo is a ping's body, its checksum right; of IPv6 that covers the addresses.
func echo(typ uint8, id uint16, from, to netip.AddrPort) []byte {
	b := binary.BigEndian.AppendUint16([]byte{typ, 0, 0, 0}, id)
	b = append(b, 0, 1, 'p', 'i', 'n', 'g')
	front := []byte(nil)
	if to.Addr().Is6() {
		ip := append(append(make([]byte, 8), from.Addr().AsSlice()...), to.Addr().AsSlice()...)
		front = pseudo6(ip, icmp6Proto, len(b))
	}
	binary.BigEndian.PutUint16(b[2:], ^sum(append(front, b...)))
	return b
}

// pathPacked is a packet in a tunnel from source to the real server's own address.
func pathPacked(tunnel PathPathTunnel, outer6 bool, lport uint16, inner []byte) []byte {
	w := wrapped{outer6: outer6, inner: inner, frag: 0x4000}
	six := inner[0]>>4 == 6
	w.proto = map[bool]uint8{false: 4, true: 41}[six]
	switch tunnel {
	case PathPathTunnelPATH_GUE:
		w.front = gueWords(6080, 0, w.proto)
		binary.BigEndian.PutUint16(w.front, lport|0xc000)
		binary.BigEndian.PutUint16(w.front[4:], uint16(len(w.front)+len(inner)))
		w.proto = 17
	case PathPathTunnelPATH_GRE:
		w.front, w.proto = greWords(0, map[bool]uint16{false: 0x0800, true: 0x86dd}[six]), 47
	}
	b := w.bytes()
	ip, class := b[14:], inner[1]
	if six {
		class = inner[0]<<4 | inner[1]>>4
	}
	if outer6 {
		ip[0], ip[1] = ip[0]|class>>4, class<<4
		copy(ip[8:], packer6.AsSlice())
		copy(ip[24:], asked6.Addr().AsSlice())
		return b
	}
	ip[1] = class
	copy(ip[12:], packer.AsSlice())
	copy(ip[16:], asked.Addr().AsSlice())
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip[:20]))
	return b
}

func pathWords(a netip.Addr) (w [4]uint32) {
	if a.Is4() {
		w[0] = addr4(a)
		return w
	}
	return addr6(a)
}

// pathOf is what is noted of a check's socket.
func pathOf(tunnel PathPathTunnel, six, outer6 bool) PathPath {
	p := PathPath{Vip: pathWords(vip.Addr()), Real: pathWords(asked.Addr()), Source: pathWords(packer), Tunnel: uint8(tunnel)}
	if six {
		p.Vip, p.V6 = pathWords(vip6.Addr()), 1
	}
	if outer6 {
		p.Real, p.Source, p.OuterV6 = pathWords(asked6.Addr()), pathWords(packer6), 1
	}
	p.Port = wire(6080)
	return p
}

// A frame that ends within its IP header is refused by the kernel's test run: these two branches have no row.
func TestWhatLeavesForAVirtualAddressOfACheck(t *testing.T) {
	need.BPF(t)
	const plain = PathPathTunnelPATH_NONE
	o := loadPath(t)
	for name, row := range map[string]struct {
		path PathPath // of the socket. If zero, it was not noted.
		in   frame
		cut  int // bytes that are left of the frame; 0: all
		want PathPathOutcome
		out  frame // where it is another than what went in
	}{
		"nobody's":              {PathPath{}, frame{from: asker, to: asked, summed: true}, 0, PathPathOutcomePATH_OTHER, frame{}},
		"no IP":                 {pathOf(plain, false, false), frame{from: asker, to: asked, ethType: 0x0806}, 0, PathPathOutcomePATH_OTHER, frame{}},
		"TCP":                   {pathOf(plain, false, false), frame{from: asker, to: asked, summed: true, payload: []byte("hello")}, 0, PathPathOutcomePATH_SENT, frame{from: asker, to: atVIP, summed: true, payload: []byte("hello")}},
		"TCP with IP's options": {pathOf(plain, false, false), frame{from: asker, to: asked, summed: true, options: []byte{1, 1, 1, 1}}, 0, PathPathOutcomePATH_SENT, frame{from: asker, to: atVIP, summed: true, options: []byte{1, 1, 1, 1}}},
		"TCP 6":                 {pathOf(plain, true, false), frame{from: asker6, to: asked6, summed: true, payload: []byte("odd")}, 0, PathPathOutcomePATH_SENT, frame{from: asker6, to: atVIP6, summed: true, payload: []byte("odd")}},
		"UDP":                   {pathOf(plain, false, false), frame{proto: udpProto, from: asker, to: asked, summed: true, payload: []byte("hello")}, 0, PathPathOutcomePATH_SENT, frame{proto: udpProto, from: asker, to: atVIP, summed: true, payload: []byte("hello")}},
		"UDP, not summed":       {pathOf(plain, false, false), frame{proto: udpProto, from: asker, to: asked}, 0, PathPathOutcomePATH_SENT, frame{proto: udpProto, from: asker, to: atVIP}},
		"UDP 6":                 {pathOf(plain, true, false), frame{proto: udpProto, from: asker6, to: asked6, summed: true}, 0, PathPathOutcomePATH_SENT, frame{proto: udpProto, from: asker6, to: atVIP6, summed: true}},
		"an echo":               {pathOf(plain, false, false), frame{proto: icmpProto, from: asker, to: asked, body: echo(8, 7, asker, asked)}, 0, PathPathOutcomePATH_SENT, frame{proto: icmpProto, from: asker, to: atVIP, body: echo(8, 7, asker, atVIP)}},
		"an echo 6":             {pathOf(plain, true, false), frame{proto: icmp6Proto, from: asker6, to: asked6, body: echo(128, 7, asker6, asked6)}, 0, PathPathOutcomePATH_SENT, frame{proto: icmp6Proto, from: asker6, to: atVIP6, body: echo(128, 7, asker6, atVIP6)}},
		"another ICMP":          {pathOf(plain, false, false), frame{proto: icmpProto, from: asker, to: asked, body: echo(0, 7, asker, asked)}, 0, PathPathOutcomePATH_STRANGE, frame{}},
		"another ICMPv6":        {pathOf(plain, true, false), frame{proto: icmp6Proto, from: asker6, to: asked6, body: echo(129, 7, asker6, asked6)}, 0, PathPathOutcomePATH_STRANGE, frame{}},
		"ICMP in IPv6":          {pathOf(plain, true, false), frame{proto: icmpProto, from: asker6, to: asked6, body: echo(8, 7, asker, asked)}, 0, PathPathOutcomePATH_STRANGE, frame{}},
		"another protocol":      {pathOf(plain, false, false), frame{proto: sctpProto, from: asker, to: asked}, 0, PathPathOutcomePATH_STRANGE, frame{}},
		"a first fragment":      {pathOf(plain, false, false), frame{from: asker, to: asked, frag: 0x2000}, 0, PathPathOutcomePATH_STRANGE, frame{}},
		"a later fragment":      {pathOf(plain, false, false), frame{from: asker, to: asked, frag: 9}, 0, PathPathOutcomePATH_STRANGE, frame{}},
		"another family":        {pathOf(plain, true, true), frame{from: asker, to: asked, summed: true}, 0, PathPathOutcomePATH_STRANGE, frame{}},
		"another family 6":      {pathOf(plain, false, false), frame{from: asker6, to: asked6, summed: true}, 0, PathPathOutcomePATH_STRANGE, frame{}},
		"cut in the ports":      {pathOf(plain, false, false), frame{from: asker, to: asked}, 36, PathPathOutcomePATH_STRANGE, frame{}},
		"an echo, cut in front": {pathOf(plain, false, false), frame{proto: icmpProto, from: asker, to: asked, body: echo(8, 7, asker, asked)}, 34, PathPathOutcomePATH_STRANGE, frame{}},
		"an echo, cut":          {pathOf(plain, false, false), frame{proto: icmpProto, from: asker, to: asked, body: echo(8, 7, asker, asked)}, 38, PathPathOutcomePATH_STRANGE, frame{}},
		"no room for its sum":   {pathOf(plain, false, false), frame{from: asker, to: asked, summed: true}, 40, PathPathOutcomePATH_LOST, frame{}},
		"no room for its sum 6": {pathOf(plain, true, false), frame{from: asker6, to: asked6, summed: true}, 60, PathPathOutcomePATH_LOST, frame{}},
	} {
		t.Run(name, func(t *testing.T) {
			in := row.in.bytes()
			if row.cut != 0 {
				in = in[:row.cut]
			}
			want := in
			if row.want == PathPathOutcomePATH_SENT {
				want = row.out.bytes()
			}
			o.leaves(t, row.path, in, row.want, want)
		})
	}
	for tunnel, name := range map[PathPathTunnel]string{PathPathTunnelPATH_IPIP: "IP in IP", PathPathTunnelPATH_GUE: "GUE", PathPathTunnelPATH_GRE: "GRE"} {
		for n := range 4 {
			six, outer6 := n&1 != 0, n&2 != 0
			in, out := frame{from: asker, to: asked, summed: true, tos: 0x5a}, frame{from: asker, to: atVIP, summed: true, tos: 0x5a}
			inner := out.packet
			if six {
				in, out = frame{from: asker6, to: asked6, summed: true, tos: 0x5a}, frame{from: asker6, to: atVIP6, summed: true, tos: 0x5a}
				inner = out.packet6
			}
			t.Run(name+map[bool]string{false: ", 4", true: ", 6"}[six]+map[bool]string{false: " in 4", true: " in 6"}[outer6], func(t *testing.T) {
				o.leaves(t, pathOf(tunnel, six, outer6), in.bytes(), PathPathOutcomePATH_PACKED, pathPacked(tunnel, outer6, asker.Port(), inner()))
			})
		}
	}
}

func TestWhatComesBackFromAVirtualAddressOfACheck(t *testing.T) {
	need.BPF(t)
	o := loadPath(t)
	const cookie = 77
	reply := func(f frame) frame { f.summed = true; return f }
	for name, row := range map[string]struct {
		ask  frame // that left before, to the virtual address: whose answer is known
		gone bool  // its socket has been forgotten since
		in   frame
		cut  int
		want PathPathOutcome
		out  frame
	}{
		"TCP":             {frame{from: asker, to: atVIP}, false, reply(frame{from: atVIP, to: asker}), 0, PathPathOutcomePATH_BACK, reply(frame{from: asked, to: asker})},
		"TCP 6":           {frame{from: asker6, to: atVIP6}, false, reply(frame{from: atVIP6, to: asker6}), 0, PathPathOutcomePATH_BACK, reply(frame{from: asked6, to: asker6})},
		"UDP":             {frame{proto: udpProto, from: asker, to: atVIP}, false, reply(frame{proto: udpProto, from: atVIP, to: asker, payload: []byte("hi")}), 0, PathPathOutcomePATH_BACK, reply(frame{proto: udpProto, from: asked, to: asker, payload: []byte("hi")})},
		"UDP 6":           {frame{proto: udpProto, from: asker6, to: atVIP6}, false, reply(frame{proto: udpProto, from: atVIP6, to: asker6}), 0, PathPathOutcomePATH_BACK, reply(frame{proto: udpProto, from: asked6, to: asker6})},
		"an echo's reply": {frame{proto: icmpProto, from: asker, to: atVIP}, false, frame{proto: icmpProto, from: atVIP, to: asker, body: echo(0, 7, atVIP, asker)}, 0, PathPathOutcomePATH_BACK, frame{proto: icmpProto, from: asked, to: asker, body: echo(0, 7, asked, asker)}},
		"an echo's reply 6": {frame{proto: icmp6Proto, from: asker6, to: atVIP6}, false, frame{proto: icmp6Proto, from: atVIP6, to: asker6, body: echo(129, 7, atVIP6, asker6)}, 0, PathPathOutcomePATH_BACK,
			frame{proto: icmp6Proto, from: asked6, to: asker6, body: echo(129, 7, asked6, asker6)}},
		"another echo's":      {frame{proto: icmpProto, from: asker, to: atVIP}, false, frame{proto: icmpProto, from: atVIP, to: asker, body: echo(0, 8, atVIP, asker)}, 0, PathPathOutcomePATH_OTHER, frame{}},
		"an echo":             {frame{proto: icmpProto, from: asker, to: atVIP}, false, frame{proto: icmpProto, from: atVIP, to: asker, body: echo(8, 7, atVIP, asker)}, 0, PathPathOutcomePATH_OTHER, frame{}},
		"nobody asked":        {frame{proto: udpProto, from: asker, to: atVIP}, false, reply(frame{from: atVIP, to: asker}), 0, PathPathOutcomePATH_OTHER, frame{}},
		"by another port":     {frame{from: asker, to: atVIP}, false, reply(frame{from: netip.AddrPortFrom(vip.Addr(), 81), to: asker}), 0, PathPathOutcomePATH_OTHER, frame{}},
		"to another port":     {frame{from: asker, to: atVIP}, false, reply(frame{from: atVIP, to: netip.AddrPortFrom(asker.Addr(), 40002)}), 0, PathPathOutcomePATH_OTHER, frame{}},
		"of its own address":  {frame{from: asker, to: atVIP}, false, reply(frame{from: asked, to: asker}), 0, PathPathOutcomePATH_OTHER, frame{}},
		"who asked has gone":  {frame{from: asker, to: atVIP}, true, reply(frame{from: atVIP, to: asker}), 0, PathPathOutcomePATH_OTHER, frame{}},
		"no IP":               {frame{from: asker, to: atVIP}, false, frame{from: atVIP, to: asker, ethType: 0x0806}, 0, PathPathOutcomePATH_OTHER, frame{}},
		"a fragment":          {frame{from: asker, to: atVIP}, false, frame{from: atVIP, to: asker, frag: 0x2000}, 0, PathPathOutcomePATH_OTHER, frame{}},
		"cut in the ports":    {frame{from: asker, to: atVIP}, false, frame{from: atVIP, to: asker}, 36, PathPathOutcomePATH_OTHER, frame{}},
		"no room for its sum": {frame{from: asker, to: atVIP}, false, frame{from: atVIP, to: asker}, 40, PathPathOutcomePATH_LOST, frame{}},
		"another protocol's":  {frame{from: asker, to: atVIP}, false, frame{proto: sctpProto, from: atVIP, to: asker}, 0, PathPathOutcomePATH_OTHER, frame{}},
	} {
		t.Run(name, func(t *testing.T) {
			flow := PathPathFlow{Vip: pathWords(row.ask.to.Addr()), Local: pathWords(row.ask.from.Addr()), Proto: or(row.ask.proto, tcpProto), Lport: wire(row.ask.from.Port()), Vport: wire(row.ask.to.Port())}
			real := PathPathReal{Addr: pathWords(asked.Addr()), Cookie: cookie}
			if row.ask.six() {
				flow.V6, real.Addr = 1, pathWords(asked6.Addr())
			}
			if flow.Proto == icmpProto || flow.Proto == icmp6Proto {
				flow.Vport, flow.Lport = 0, wire(7)
			}
			o.put(t, o.PathFlows, flow, real)
			defer o.PathFlows.Delete(flow)
			if !row.gone {
				o.put(t, o.PathSockets, uint64(cookie), pathOf(PathPathTunnelPATH_NONE, row.ask.six(), false))
				defer o.PathSockets.Delete(uint64(cookie))
			}
			in := row.in.bytes()
			if row.cut != 0 {
				in = in[:row.cut]
			}
			want := in
			if row.want == PathPathOutcomePATH_BACK {
				want = row.out.bytes()
			}
			before := o.counts(t)
			verdict, got, err := o.PathIn.Test(in)
			if err != nil {
				t.Fatal(err)
			}
			o.compare(t, before, verdict, got, row.want, want)
		})
	}
}

func wire(n uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n)) }

type pathObjects struct{ PathObjects }

func loadPath(t *testing.T) *pathObjects {
	t.Helper()
	o := &pathObjects{}
	spec, err := otherSpec("path.bpf.c", LoadPath)
	if err != nil {
		t.Fatal(err)
	}
	if err := spec.LoadAndAssign(&o.PathObjects, options(spec)); err != nil {
		t.Fatalf("load: %+v", err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

func (o *pathObjects) put(t *testing.T, m *ebpf.Map, key, value any) {
	t.Helper()
	if err := m.Put(key, value); err != nil {
		t.Fatal(err)
	}
}

// leaves sends a frame by a socket that has been noted with path, unless that is zero.
//
// The socket of a test run is the kernel's, and its cookie the next of the processor that runs (include/linux/cookie.h): those that
// come after one of ours are noted. A processor that has given out its share, or gave one to somebody else, is tried again.
func (o *pathObjects) leaves(t *testing.T, path PathPath, in []byte, want PathPathOutcome, frame []byte) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, here unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	for cpu := range 1024 {
		if all.IsSet(cpu) {
			here.Set(cpu)
			break
		}
	}
	if err := unix.SchedSetaffinity(0, &here); err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &all)
	const ahead = 64
	for range 20 {
		first := ownCookie(t) + 1
		for c := first; c < first+ahead && path != (PathPath{}); c++ {
			o.put(t, o.PathSockets, c, path)
		}
		o.forgetFlows(t)
		before := o.counts(t)
		verdict, got, err := o.PathOut.Test(in)
		for c := first; c < first+ahead; c++ {
			_ = o.PathSockets.Delete(c)
		}
		if err != nil {
			t.Fatal(err)
		}
		if want != PathPathOutcomePATH_OTHER && o.counts(t)[PathPathOutcomePATH_OTHER] > before[PathPathOutcomePATH_OTHER] {
			continue
		}
		o.compare(t, before, verdict, got, want, frame)
		if want == PathPathOutcomePATH_SENT || want == PathPathOutcomePATH_PACKED {
			o.remembers(t, path, in, first, ahead)
		}
		return
	}
	t.Fatal("the kernel's socket has none of the cookies that come next")
}

func (o *pathObjects) forgetFlows(t *testing.T) {
	t.Helper()
	if err := drain(o.PathFlows); err != nil {
		t.Fatal(err)
	}
}

// remembers looks at what is kept for the answer: from the virtual address, for the real server's that the frame went to, as long as that
// socket is noted.
func (o *pathObjects) remembers(t *testing.T, path PathPath, in []byte, first, ahead uint64) {
	t.Helper()
	var flow PathPathFlow
	var real PathPathReal
	n := 0
	for all := o.PathFlows.Iterate(); all.Next(&flow, &real); {
		n++
	}
	asked := pathWords(netip.AddrFrom4([4]byte(in[30:34])))
	if path.V6 != 0 {
		asked = pathWords(netip.AddrFrom16([16]byte(in[38:54])))
	}
	if n != 1 || flow.Vip != path.Vip || real.Addr != asked || real.Cookie < first || real.Cookie >= first+ahead {
		t.Errorf("%d flows are kept: %+v of %+v", n, flow, real)
	}
}

// ownCookie makes a socket and tells its cookie.
func ownCookie(t *testing.T) uint64 {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		t.Fatal(err)
	}
	return cookie
}

func (o *pathObjects) counts(t *testing.T) (n [PathPathOutcomePATH_OUTCOMES]uint64) {
	t.Helper()
	each := make([]uint64, ebpf.MustPossibleCPU())
	for i := range n {
		if err := o.PathOutcomes.Lookup(uint32(i), &each); err != nil {
			t.Fatal(err)
		}
		for _, v := range each {
			n[i] += v
		}
	}
	return n
}

// compare looks at what has become of a frame: one more of an outcome, the verdict, and the bytes, unless it was dropped.
func (o *pathObjects) compare(t *testing.T, before [PathPathOutcomePATH_OUTCOMES]uint64, verdict uint32, got []byte, why PathPathOutcome, want []byte) {
	t.Helper()
	for i, n := range o.counts(t) {
		if n-before[i] != map[bool]uint64{true: 1}[PathPathOutcome(i) == why] {
			t.Errorf("outcome %d was counted %d times", i, n-before[i])
		}
	}
	if why == PathPathOutcomePATH_LOST {
		if verdict != 2 { // TC_ACT_SHOT
			t.Errorf("verdict %d, want 2", verdict)
		}
		return
	}
	if int32(verdict) != -1 || !bytes.Equal(got, want) { // TC_ACT_UNSPEC: what hangs behind it decides
		t.Errorf("verdict %d, frame\n%x, want -1,\n%x", int32(verdict), got, want)
	}
}
