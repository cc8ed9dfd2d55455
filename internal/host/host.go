// Package host is this machine as the daemon needs it: its links and addresses, what changes in them, the socket that
// adverts travel through, gratuitous ARP, the MAC addresses of next hops, the privileges of this process and the lock
// that makes an instance the only one of its name.
//
// It decides nothing. When an address is added or announced is VRRP's business, what a next hop is used for is the
// plane's; both meet this package in internal/daemon. It knows no configuration and writes no log.
//
// Invariants: every operation acts in the network namespace of the calling process (a socket stays in the namespace
// in which it was opened); an operation that finds the host already as asked succeeds; an error names the interface,
// address or file that it is about; a MAC address is what the kernel has resolved, never a guess.
//
// Netlink messages are parsed here (netlink.go) and not by a library, because the library leaves out what is needed
// (an address's protocol) and stops watching for good when its socket overruns.
package host

import (
	"errors"
	"fmt"
)

// Protocol is the originator that the kernel keeps beside addresses and neighbours: RTPROT_KEEPALIVED of
// linux/rtnetlink.h. keepalived: the same number, so that `ip addr show proto keepalived` and its users go on working.
const Protocol = 18

// MAC is an Ethernet address.
type MAC [6]byte

func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Broadcast is the Ethernet broadcast address.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// ErrNoInterface is matched by every error about an interface that does not exist; the error itself is a
// *NoInterfaceError.
var ErrNoInterface = errors.New("no such interface")

// NoInterfaceError tells which interface does not exist.
type NoInterfaceError struct{ Name string }

func (e *NoInterfaceError) Error() string {
	return fmt.Sprintf("interface %q does not exist", e.Name)
}

// Is makes errors.Is(err, ErrNoInterface) hold.
func (e *NoInterfaceError) Is(target error) bool { return target == ErrNoInterface }

// ErrNoAddress is matched when an interface has no address that could be the source of adverts.
var ErrNoAddress = errors.New("no usable IPv4 address")
