package ipvs

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// SyncState is the part that a synchronisation daemon plays. Numbers as in the kernel interface.
type SyncState uint32

// The parts. One of each may run at a time.
const (
	SyncMaster SyncState = 1 // sends
	SyncBackup SyncState = 2 // receives
)

// String is the word of ipvsadm --start-daemon.
func (s SyncState) String() string {
	switch s {
	case SyncMaster:
		return "master"
	case SyncBackup:
		return "backup"
	}
	return fmt.Sprintf("SyncState(%d)", uint32(s))
}

// Sync is a connection synchronisation daemon of the kernel.
type Sync struct {
	State     SyncState
	Interface string     // that datagrams leave and come in by
	ID        uint32     // 0 to 255; a backup of 0 takes every one
	MaxLen    uint16     // payload bytes of a datagram. If zero, from the MTU.
	Group     netip.Addr // multicast. If invalid, 224.0.0.81.
	Port      uint16     // If zero, 8848.
	TTL       uint8      // If zero, 1.
}

func encodeSync(ae *netlink.AttributeEncoder, s Sync) error {
	ae.Uint32(daemonState, uint32(s.State))
	ae.String(daemonInterface, s.Interface)
	ae.Uint32(daemonID, s.ID)
	if s.MaxLen != 0 {
		ae.Uint16(daemonMaxLen, s.MaxLen)
	}
	switch {
	case s.Group.Is4():
		ae.Bytes(daemonGroup, s.Group.AsSlice())
	case s.Group.Is6():
		ae.Bytes(daemonGroup6, s.Group.AsSlice())
	}
	if s.Port != 0 {
		ae.Uint16(daemonPort, s.Port) // in host order, unlike other ports
	}
	if s.TTL != 0 {
		ae.Uint8(daemonTTL, s.TTL)
	}
	return nil
}

// decodeSync reads the inside of a daemon's attribute.
func decodeSync(b []byte) (s Sync, err error) {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return s, fmt.Errorf("sync daemon: %w", err)
	}
	for ad.Next() {
		switch ad.Type() {
		case daemonState:
			s.State = SyncState(ad.Uint32())
		case daemonInterface:
			s.Interface = ad.String()
		case daemonID:
			s.ID = ad.Uint32()
		case daemonMaxLen:
			s.MaxLen = ad.Uint16()
		case daemonGroup:
			s.Group, err = addrOf(unix.AF_INET, ad.Bytes())
		case daemonGroup6:
			s.Group, err = addrOf(unix.AF_INET6, ad.Bytes())
		case daemonPort:
			s.Port = ad.Uint16()
		case daemonTTL:
			s.TTL = ad.Uint8()
		}
		if err != nil {
			return Sync{}, fmt.Errorf("sync daemon: %w", err)
		}
	}
	if err := ad.Err(); err != nil {
		return Sync{}, fmt.Errorf("sync daemon: %w", err)
	}
	return s, nil
}

// Info is what the kernel says of its IPVS.
type Info struct {
	Version   uint32 // 0x010201 for 1.2.1
	TableSize uint32 // rows of the connection table's hash; a row holds any number of connections
}

// String is the version as ipvsadm prints it.
func (i Info) String() string {
	return fmt.Sprintf("%d.%d.%d", i.Version>>16&0xff, i.Version>>8&0xff, i.Version&0xff)
}

func decodeInfo(data []byte) (i Info, err error) {
	v, err := uint32s(data)
	return Info{Version: v[infoVersion], TableSize: v[infoTableSize]}, err
}

// uint32s reads the attributes of four bytes at the outer level of a message, by type.
func uint32s(data []byte) (map[uint16]uint32, error) {
	ad, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return nil, err
	}
	out := map[uint16]uint32{}
	for ad.Next() {
		if b := ad.Bytes(); len(b) == 4 {
			out[ad.Type()] = binary.NativeEndian.Uint32(b)
		}
	}
	return out, ad.Err()
}
