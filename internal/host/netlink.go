package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Attributes and flags of linux/if_addr.h and linux/neighbour.h that x/sys does not have.
const (
	ifaProto      = 11 // IFA_PROTO, Linux 5.18; older kernels ignore it
	ndaProtocol   = 12 // NDA_PROTOCOL, Linux 5.2
	ndaFlagsExt   = 15 // NDA_FLAGS_EXT, Linux 5.16
	ntfUse        = 0x01
	ntfExtManaged = 0x01 // in NDA_FLAGS_EXT
	attrTypeMask  = 0x3fff
)

// Sizes of the fixed parts of rtnetlink messages (rtnetlink(7)).
const (
	nlmsghdrLen  = 16
	ifinfomsgLen = 16
	ifaddrmsgLen = 8
	ndmsgLen     = 12
	rtmsgLen     = 12
)

var native = binary.NativeEndian

// eachAttr visits the attributes in b in order. A malformed one ends the walk: what follows it cannot be placed.
func eachAttr(b []byte, visit func(typ uint16, val []byte)) {
	for len(b) >= 4 {
		n := int(native.Uint16(b))
		if n < 4 || n > len(b) {
			return
		}
		visit(native.Uint16(b[2:])&attrTypeMask, b[4:n])
		if n = (n + 3) &^ 3; n >= len(b) {
			return
		}
		b = b[n:]
	}
}

// message is one netlink message of a datagram.
type message struct {
	Type uint16
	Port Port // of who asked for the change that it tells of
	Body []byte
}

// eachMessage visits the messages in a datagram. It reports false if the datagram is malformed.
func eachMessage(b []byte, visit func(message)) bool {
	for len(b) >= nlmsghdrLen {
		n := int(native.Uint32(b))
		if n < nlmsghdrLen || n > len(b) {
			return false
		}
		visit(message{Type: native.Uint16(b[4:]), Port: Port(native.Uint32(b[12:])), Body: b[nlmsghdrLen:n]})
		if n = (n + 3) &^ 3; n >= len(b) {
			return true
		}
		b = b[n:]
	}
	return len(b) == 0
}

// attr encodes one attribute, padded to four bytes.
func attr(typ uint16, val []byte) []byte {
	b := make([]byte, (4+len(val)+3)&^3)
	native.PutUint16(b, uint16(4+len(val)))
	native.PutUint16(b[2:], typ)
	copy(b[4:], val)
	return b
}

func attrString(typ uint16, s string) []byte { return attr(typ, append([]byte(s), 0)) }

func attrUint32(typ uint16, v uint32) []byte { return attr(typ, native.AppendUint32(nil, v)) }

// request sends one message and waits for the kernel's acknowledgement or answer.
func request(typ, flags int, body []byte) ([][]byte, error) {
	req := nl.NewNetlinkRequest(typ, flags)
	req.AddRawData(body)
	return req.Execute(unix.NETLINK_ROUTE, 0)
}

// dumpTries bounds how often a dump is repeated that the kernel says a change has interrupted.
const dumpTries = 10

// dump reads a whole table. body is the fixed part of the message.
func dump(typ int, what string, body []byte) (bodies [][]byte, err error) {
	for range dumpTries {
		bodies, err = request(typ, unix.NLM_F_DUMP, body)
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", what, err)
	}
	return bodies, nil
}

// text is a netlink string without its terminator.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

// number is a 32-bit attribute, 0 if it is too short.
func number(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return native.Uint32(b)
}

// address is an IPv4 or IPv6 address attribute; any other length gives the zero Addr.
func address(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

// family is the AF_ number of an address.
func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
