package xdp

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"vipd/bpf"
)

// The maps' words, by the names that this package speaks.
type (
	conn        = bpf.LbConn
	serviceKey  = bpf.LbServiceKey
	serviceKey6 = bpf.LbServiceKey6
	meta        = bpf.LbMeta
	counters    = bpf.LbCounters
)

// layout is that of this program. A build for tests says by -X of otherLayout that it has another one.
var (
	layout      = uint32(bpf.LbNumberLAYOUT) + uint32(len(otherLayout))
	otherLayout string
)

const (
	layoutSince = uint32(bpf.LbNumberLAYOUT_SINCE)
	regionLines = uint32(bpf.LbNumberREGION_LINES)
	maxPool     = int(bpf.LbNumberMAX_POOL)
	noReal      = uint32(bpf.LbNumberNO_REAL)
	gone        = uint8(bpf.LbRealFlagREAL_GONE)
	lowerGiven  = uint8(bpf.LbRealFlagREAL_LOWER)
	mhLines     = uint32(bpf.LbNumberMH_LINES)
	isIPv6      = uint8(bpf.LbRealFlagREAL_IPV6)
	connIPv6    = uint8(bpf.LbConnKindKIND_IPV6)
	keyIPv6     = uint8(bpf.LbServiceKindSERVICE_IPV6)
	isPeer      = uint8(bpf.LbRealFlagREAL_PEER)
	isLocal     = uint8(bpf.LbRealFlagREAL_LOCAL)
	isProxy     = uint8(bpf.LbRealFlagREAL_PROXY)
	isSIP       = uint8(bpf.LbConnKindKIND_SIP)
	isTemplate  = uint8(bpf.LbConnKindKIND_TEMPLATE)
	isReturn    = uint8(bpf.LbConnKindKIND_RETURN)
)

// The maps that no packet reads: they are not in the object. The counts at the last zeroing are pinned like the rest, so
// that they hold for a later process too.
const (
	metaMap         = "meta"
	zeroServicesMap = "zero_services"
	zeroRealsMap    = "zero_reals"
)

// maps are all of the plane's maps by name, those of the object and ours.
type maps map[string]*ebpf.Map

func (m maps) get(name string, index uint32, value any) error {
	if err := m[name].Lookup(index, value); err != nil {
		return fmt.Errorf("read %s[%d]: %w", name, index, err)
	}
	return nil
}

func (m maps) put(name string, index uint32, value any) error {
	if err := m[name].Update(index, value, ebpf.UpdateAny); err != nil {
		return fmt.Errorf("write %s[%d]: %w", name, index, err)
	}
	return nil
}

func (m maps) close() {
	for _, one := range m {
		one.Close()
	}
}

// decode reads a value of a map.
func decode(raw []byte, value any) error {
	_, err := binary.Decode(raw, binary.NativeEndian, value)
	return err
}

// be32 is an IPv4 address as it stands in a map: its bytes in wire order.
func be32(a netip.Addr) uint32 {
	b := a.As4()
	return binary.NativeEndian.Uint32(b[:])
}

func be16(port uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, port))
}

func addr4(be uint32) netip.Addr {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], be)
	return netip.AddrFrom4(b)
}

// words6 are the four words of an IPv6 address in a map; of an IPv4 address the first alone is used.
func words6(a netip.Addr) (w [4]uint32) {
	if a.Is4() {
		return [4]uint32{be32(a)}
	}
	b := a.As16()
	for i := range w {
		w[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return w
}

// addrOf is words6's way back.
func addrOf(w [4]uint32, v6 bool) netip.Addr {
	if !v6 {
		return addr4(w[0])
	}
	var b [16]byte
	for i := range w {
		binary.NativeEndian.PutUint32(b[4*i:], w[i])
	}
	return netip.AddrFrom16(b)
}

func port16(be uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], be)
	return binary.BigEndian.Uint16(b[:])
}
