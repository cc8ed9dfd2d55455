package bpf

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"vipd/internal/need"
)

// wrapped puts a packet into headers of the kind that decap knows.
type wrapped struct {
	outer6   bool
	proto    uint8 // of the outer header: what stands behind it
	front    []byte
	inner    []byte
	frag     uint16 // of an IPv4 header
	options  []byte // of an IPv4 header
	ext      []byte // of an IPv6 header; ext[0] is what follows, and proto its own number
	cut      int    // bytes that are left of the frame; 0: all
	etherTyp uint16
	first    uint8 // of an IPv4 header: version and length; 0: what is right
}

func (p wrapped) bytes() []byte {
	head := binary.BigEndian.AppendUint16(append(append([]byte{}, ourMAC[:]...), routerMAC[:]...), 0x0800)
	body := append(append([]byte{}, p.front...), p.inner...)
	if p.outer6 {
		binary.BigEndian.PutUint16(head[12:], 0x86dd)
		ip := make([]byte, 40)
		ip[0], ip[6], ip[7] = 6<<4, p.proto, 64
		binary.BigEndian.PutUint16(ip[4:], uint16(len(p.ext)+len(body)))
		head = append(append(head, ip...), p.ext...)
	} else {
		ip := make([]byte, 20)
		ip[0], ip[8], ip[9] = 4<<4|uint8(5+len(p.options)/4), 64, p.proto
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(p.options)+len(body)))
		binary.BigEndian.PutUint16(ip[6:], p.frag)
		ip[0] = or(p.first, ip[0])
		head = append(append(head, ip...), p.options...)
	}
	if p.etherTyp != 0 {
		binary.BigEndian.PutUint16(head[12:], p.etherTyp)
	}
	if head = append(head, body...); p.cut != 0 {
		head = head[:p.cut]
	}
	return head
}

func gueWords(port uint16, first, proto uint8, more ...byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0xc0, 1}, port)
	b = binary.BigEndian.AppendUint16(b, 0)
	return append(append(b, 0, 0, first, proto, 0, 0), more...)
}

func greWords(flags, typ uint16, more ...byte) []byte {
	return append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, flags), typ), more...)
}

func TestDecapsulatorUnpacksWhatIsForAVirtualAddress(t *testing.T) {
	need.BPF(t)
	four := frame{payload: []byte("hello")}
	six := frame{to: vip6, payload: []byte("hello")}
	alien := frame{to: netip.MustParseAddrPort("192.0.2.77:80")}
	alien6 := frame{to: netip.MustParseAddrPort("[2001:db8:7::7]:80")}
	limit := []byte{4, 0, 4, 1, 4, 1, 0, 0}
	rows := map[string]struct {
		tunnel DecapDecapKind
		in     wrapped
		want   DecapDecapOutcome
		out    frame // of what is unpacked
	}{
		"4 in 4":                    {DecapDecapKindDECAP_IPIP, wrapped{proto: 4, inner: four.packet()}, DecapDecapOutcomeDECAP_UNPACKED, four},
		"4 in 4 with options":       {DecapDecapKindDECAP_IPIP, wrapped{proto: 4, inner: four.packet(), options: make([]byte, 8)}, DecapDecapOutcomeDECAP_UNPACKED, four},
		"6 in 4":                    {DecapDecapKindDECAP_IPIP, wrapped{proto: 41, inner: six.packet6()}, DecapDecapOutcomeDECAP_UNPACKED, six},
		"4 in 6":                    {DecapDecapKindDECAP_IPIP, wrapped{outer6: true, proto: 4, inner: four.packet()}, DecapDecapOutcomeDECAP_UNPACKED, four},
		"4 in 6 with a limit":       {DecapDecapKindDECAP_IPIP, wrapped{outer6: true, proto: 60, ext: limit, inner: four.packet()}, DecapDecapOutcomeDECAP_UNPACKED, four},
		"6 in 6":                    {DecapDecapKindDECAP_IPIP, wrapped{outer6: true, proto: 41, inner: six.packet6()}, DecapDecapOutcomeDECAP_UNPACKED, six},
		"long options of IPv6":      {DecapDecapKindDECAP_IPIP, wrapped{outer6: true, proto: 60, ext: append([]byte{4, 1}, make([]byte, 14)...), inner: four.packet()}, DecapDecapOutcomeDECAP_STRANGE, frame{}},
		"options of IPv6, cut":      {DecapDecapKindDECAP_IPIP, wrapped{outer6: true, proto: 60, ext: limit, cut: 60}, DecapDecapOutcomeDECAP_SHORT, frame{}},
		"for somebody else":         {DecapDecapKindDECAP_IPIP, wrapped{proto: 4, inner: alien.packet()}, DecapDecapOutcomeDECAP_NOT_OURS, frame{}},
		"for somebody else, 6":      {DecapDecapKindDECAP_IPIP, wrapped{proto: 41, inner: alien6.packet6()}, DecapDecapOutcomeDECAP_NOT_OURS, frame{}},
		"a client's own":            {DecapDecapKindDECAP_IPIP, wrapped{proto: 6, inner: four.packet()[20:]}, DecapDecapOutcomeDECAP_OTHER, frame{}},
		"ARP":                       {DecapDecapKindDECAP_IPIP, wrapped{proto: 4, inner: four.packet(), etherTyp: 0x0806}, DecapDecapOutcomeDECAP_OTHER, frame{}},
		"IPv6's type on IPv4":       {DecapDecapKindDECAP_IPIP, wrapped{proto: 4, inner: four.packet(), etherTyp: 0x86dd}, DecapDecapOutcomeDECAP_OTHER, frame{}},
		"IPv4's type on IPv6":       {DecapDecapKindDECAP_IPIP, wrapped{outer6: true, proto: 4, inner: four.packet(), etherTyp: 0x0800}, DecapDecapOutcomeDECAP_OTHER, frame{}},
		"a first fragment":          {DecapDecapKindDECAP_IPIP, wrapped{proto: 4, inner: four.packet(), frag: 0x2000}, DecapDecapOutcomeDECAP_FRAGMENT, frame{}},
		"a later fragment":          {DecapDecapKindDECAP_IPIP, wrapped{proto: 4, inner: four.packet(), frag: 9}, DecapDecapOutcomeDECAP_FRAGMENT, frame{}},
		"a fragment of IPv6":        {DecapDecapKindDECAP_IPIP, wrapped{outer6: true, proto: 44, ext: make([]byte, 8), inner: four.packet()}, DecapDecapOutcomeDECAP_FRAGMENT, frame{}},
		"cut in the outer header":   {DecapDecapKindDECAP_IPIP, wrapped{proto: 4, inner: four.packet(), cut: 30}, DecapDecapOutcomeDECAP_SHORT, frame{}},
		"cut in the outer header 6": {DecapDecapKindDECAP_IPIP, wrapped{outer6: true, proto: 4, inner: four.packet(), cut: 50}, DecapDecapOutcomeDECAP_SHORT, frame{}},
		"cut in the inner header":   {DecapDecapKindDECAP_IPIP, wrapped{proto: 4, inner: four.packet(), cut: 50}, DecapDecapOutcomeDECAP_SHORT, frame{}},
		"cut in the inner header 6": {DecapDecapKindDECAP_IPIP, wrapped{proto: 41, inner: six.packet6(), cut: 70}, DecapDecapOutcomeDECAP_SHORT, frame{}},
		"Ethernet alone":            {DecapDecapKindDECAP_IPIP, wrapped{etherTyp: 0x0806, cut: 14}, DecapDecapOutcomeDECAP_OTHER, frame{}},
		"a header alone":            {DecapDecapKindDECAP_IPIP, wrapped{proto: 6}, DecapDecapOutcomeDECAP_OTHER, frame{}},
		"a header of IPv6 alone":    {DecapDecapKindDECAP_IPIP, wrapped{outer6: true, proto: 6}, DecapDecapOutcomeDECAP_OTHER, frame{}},
		"options of IPv6 alone":     {DecapDecapKindDECAP_IPIP, wrapped{outer6: true, proto: 60, ext: []byte{6, 0, 4, 1, 4, 1, 0, 0}}, DecapDecapOutcomeDECAP_OTHER, frame{}},
		"an inner header alone":     {DecapDecapKindDECAP_IPIP, wrapped{proto: 4, inner: alien.packet()[:20]}, DecapDecapOutcomeDECAP_NOT_OURS, frame{}},
		"an inner header alone, 6":  {DecapDecapKindDECAP_IPIP, wrapped{proto: 41, inner: alien6.packet6()[:40]}, DecapDecapOutcomeDECAP_NOT_OURS, frame{}},
		"a header of 16 bytes":      {DecapDecapKindDECAP_IPIP, wrapped{proto: 4, inner: four.packet(), first: 0x44}, DecapDecapOutcomeDECAP_OTHER, frame{}},
		"another version":           {DecapDecapKindDECAP_IPIP, wrapped{proto: 4, inner: four.packet(), first: 0x65}, DecapDecapOutcomeDECAP_OTHER, frame{}},
		"6 said and 4 inside":       {DecapDecapKindDECAP_IPIP, wrapped{proto: 41, inner: append(four.packet(), make([]byte, 20)...)}, DecapDecapOutcomeDECAP_STRANGE, frame{}},
		"GUE":                       {DecapDecapKindDECAP_GUE, wrapped{proto: 17, front: gueWords(6080, 0, 4), inner: four.packet()}, DecapDecapOutcomeDECAP_UNPACKED, four},
		"GUE with an option":        {DecapDecapKindDECAP_GUE, wrapped{proto: 17, front: gueWords(6080, 1, 41, 1, 2, 3, 4), inner: six.packet6()}, DecapDecapOutcomeDECAP_UNPACKED, six},
		"GUE in 6":                  {DecapDecapKindDECAP_GUE, wrapped{outer6: true, proto: 17, front: gueWords(6080, 0, 4), inner: four.packet()}, DecapDecapOutcomeDECAP_UNPACKED, four},
		"another port":              {DecapDecapKindDECAP_GUE, wrapped{proto: 17, front: gueWords(6081, 0, 4), inner: four.packet()}, DecapDecapOutcomeDECAP_OTHER, frame{}},
		"a control message of GUE":  {DecapDecapKindDECAP_GUE, wrapped{proto: 17, front: gueWords(6080, 0x20, 4), inner: four.packet()}, DecapDecapOutcomeDECAP_STRANGE, frame{}},
		"another protocol in GUE":   {DecapDecapKindDECAP_GUE, wrapped{proto: 17, front: gueWords(6080, 0, 6), inner: four.packet()}, DecapDecapOutcomeDECAP_STRANGE, frame{}},
		"GUE, cut":                  {DecapDecapKindDECAP_GUE, wrapped{proto: 17, front: gueWords(6080, 0, 4), cut: 44}, DecapDecapOutcomeDECAP_SHORT, frame{}},
		"GUE alone, another port":   {DecapDecapKindDECAP_GUE, wrapped{proto: 17, front: gueWords(6081, 0, 4)}, DecapDecapOutcomeDECAP_OTHER, frame{}},
		"IPIP where GUE is wanted":  {DecapDecapKindDECAP_GUE, wrapped{proto: 4, inner: four.packet()}, DecapDecapOutcomeDECAP_OTHER, frame{}},
		"GRE":                       {DecapDecapKindDECAP_GRE, wrapped{proto: 47, front: greWords(0, 0x0800), inner: four.packet()}, DecapDecapOutcomeDECAP_UNPACKED, four},
		"GRE with all words":        {DecapDecapKindDECAP_GRE, wrapped{proto: 47, front: greWords(0xb000, 0x86dd, make([]byte, 12)...), inner: six.packet6()}, DecapDecapOutcomeDECAP_UNPACKED, six},
		"GRE in 6, with a checksum": {DecapDecapKindDECAP_GRE, wrapped{outer6: true, proto: 47, front: greWords(0x8000, 0x0800, 0, 0, 0, 0), inner: four.packet()}, DecapDecapOutcomeDECAP_UNPACKED, four},
		"GRE with routing":          {DecapDecapKindDECAP_GRE, wrapped{proto: 47, front: greWords(0x4000, 0x0800), inner: four.packet()}, DecapDecapOutcomeDECAP_STRANGE, frame{}},
		"Ethernet in GRE":           {DecapDecapKindDECAP_GRE, wrapped{proto: 47, front: greWords(0, 0x6558), inner: four.packet()}, DecapDecapOutcomeDECAP_STRANGE, frame{}},
		"GRE alone, of Ethernet":    {DecapDecapKindDECAP_GRE, wrapped{proto: 47, front: greWords(0, 0x6558)}, DecapDecapOutcomeDECAP_STRANGE, frame{}},
		"GRE, cut":                  {DecapDecapKindDECAP_GRE, wrapped{proto: 47, front: greWords(0, 0x0800), cut: 36}, DecapDecapOutcomeDECAP_SHORT, frame{}},
		"UDP where GRE is wanted":   {DecapDecapKindDECAP_GRE, wrapped{proto: 17, front: gueWords(6080, 0, 4), inner: four.packet()}, DecapDecapOutcomeDECAP_OTHER, frame{}},
	}
	outer, loaded := t, map[DecapDecapKind]*DecapObjects{}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			o := loaded[row.tunnel]
			if o == nil {
				o = decapsulator(outer, row.tunnel)
				loaded[row.tunnel] = o
			}
			before, in := decapCounts(t, o), row.in.bytes()
			verdict, got, err := o.Decap.Test(in)
			if err != nil {
				t.Fatal(err)
			}
			counts := decapCounts(t, o)
			for i := range counts {
				if n, want := counts[i]-before[i], map[bool]uint64{true: 1}[DecapDecapOutcome(i) == row.want]; n != want {
					t.Errorf("outcome %d was counted %d times, want %d", i, n, want)
				}
			}
			want := in
			if row.want == DecapDecapOutcomeDECAP_UNPACKED {
				want = row.out.bytes()
			}
			if verdict != 2 || !bytes.Equal(got, want) {
				t.Errorf("verdict %d, frame\n%x, want 2 (pass),\n%x", verdict, got, want)
			}
		})
	}
}

func decapsulator(t *testing.T, tunnel DecapDecapKind) *DecapObjects {
	t.Helper()
	spec, err := otherSpec("decap.bpf.c", LoadDecap)
	if err != nil {
		t.Fatal(err)
	}
	if err := spec.Variables["decap_tunnel"].Set(uint32(tunnel)); err != nil {
		t.Fatal(err)
	}
	o := &DecapObjects{}
	if err := spec.LoadAndAssign(o, options(spec)); err != nil {
		t.Fatalf("load: %+v", err)
	}
	t.Cleanup(func() { o.Close() })
	for _, a := range []netip.Addr{vip.Addr(), vip6.Addr()} {
		key := DecapDecapAddress{}
		if a.Is4() {
			key.Addr[0] = addr4(a)
		} else {
			key.Addr, key.V6 = addr6(a), 1
		}
		if err := o.DecapVips.Put(key, uint8(1)); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func decapCounts(t *testing.T, o *DecapObjects) (n [DecapDecapOutcomeDECAP_OUTCOMES]uint64) {
	t.Helper()
	each := make([]uint64, ebpf.MustPossibleCPU())
	for i := range n {
		if err := o.DecapOutcomes.Lookup(uint32(i), &each); err != nil {
			t.Fatal(err)
		}
		for _, v := range each {
			n[i] += v
		}
	}
	return n
}
