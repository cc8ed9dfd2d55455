package ipvs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The family and the version that this package speaks.
const (
	familyName    = "IPVS"
	familyVersion = 1
)

// Commands. The entries of a dump have the number of the NEW command.
const (
	cmdNewService = 1 + iota
	cmdSetService
	cmdDelService
	cmdGetService
	cmdNewDest
	cmdSetDest
	cmdDelDest
	cmdGetDest
	cmdNewDaemon
	cmdDelDaemon
	cmdGetDaemon
	cmdSetConfig
	cmdGetConfig
	cmdSetInfo
	cmdGetInfo
	cmdZero
	cmdFlush
)

// Attributes at the outer level of a command.
const (
	attrService = 1 + iota
	attrDest
	attrDaemon
	attrTimeoutTCP
	attrTimeoutTCPFin
	attrTimeoutUDP
)

// Attributes of the answer to cmdGetInfo, which has its own numbers.
const (
	infoVersion = 1 + iota
	infoTableSize
)

// Attributes of a service.
const (
	svcFamily = 1 + iota
	svcProtocol
	svcAddr
	svcPort
	svcMark
	svcScheduler
	svcFlags
	svcTimeout
	svcNetmask
	svcStats
	svcEngine
	svcStats64
)

// Flags of a service.
const (
	flagPersistent = 1
	flagOnePacket  = 4
	schedShift     = 3 // of the three scheduler flags
)

// Attributes of a real server.
const (
	destAddr = 1 + iota
	destPort
	destMethod
	destWeight
	destUpper
	destLower
	destActive
	destInactive
	destPersist
	destStats
	destFamily
	destStats64
	destTunType
	destTunPort
	destTunFlags
)

// methodMask is the part of a real server's connection flags that says how to forward.
const methodMask = 7

// Flags of a tunnel.
const (
	tunCsum    = 1
	tunRemCsum = 2
)

// Attributes of statistics, in 32 and in 64 bits.
const (
	statConns = 1 + iota
	statInPkts
	statOutPkts
	statInBytes
	statOutBytes
	statConnRate
	statInPktRate
	statOutPktRate
	statInByteRate
	statOutByteRate
)

// Attributes of a synchronisation daemon.
const (
	daemonState = 1 + iota
	daemonInterface
	daemonID
	daemonMaxLen
	daemonGroup
	daemonGroup6
	daemonPort
	daemonTTL
)

var errTruncated = errors.New("attribute too short")

func familyOf(a netip.Addr) uint16 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// putAddr writes an address in the 16 bytes that the kernel wants of either family.
func putAddr(ae *netlink.AttributeEncoder, attr uint16, a netip.Addr) {
	b := make([]byte, 16)
	copy(b, a.AsSlice())
	ae.Bytes(attr, b)
}

func putPort(ae *netlink.AttributeEncoder, attr, port uint16) {
	ae.Bytes(attr, binary.BigEndian.AppendUint16(nil, port))
}

// addrOf reads an address of the given family; the rest of the 16 bytes is nothing.
func addrOf(family uint16, b []byte) (netip.Addr, error) {
	switch {
	case family == unix.AF_INET && len(b) >= 4:
		return netip.AddrFrom4([4]byte(b)), nil
	case family == unix.AF_INET6 && len(b) >= 16:
		return netip.AddrFrom16([16]byte(b)), nil
	case family == unix.AF_INET || family == unix.AF_INET6:
		return netip.Addr{}, fmt.Errorf("address of %d bytes: %w", len(b), errTruncated)
	}
	return netip.Addr{}, fmt.Errorf("address family %d is neither IPv4 nor IPv6", family)
}

func be16(b []byte) (uint16, error) {
	if len(b) < 2 {
		return 0, errTruncated
	}
	return binary.BigEndian.Uint16(b), nil
}

// nested finds the one attribute of the given type at the outer level of a message.
func nested(data []byte, attr uint16) ([]byte, error) {
	ad, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return nil, err
	}
	for ad.Next() {
		if ad.Type() == attr {
			return ad.Bytes(), nil
		}
	}
	if err := ad.Err(); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("attribute %d is missing", attr)
}
