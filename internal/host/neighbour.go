package host

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Neighbour is an entry of the kernel's ARP or ND table.
type Neighbour struct {
	Ifindex int
	Addr    netip.Addr
	MAC     MAC
	State   uint16 // NUD_ bits
	Managed bool   // the kernel keeps it resolved by itself (NTF_EXT_MANAGED, Linux 5.16)
	Proto   uint8  // who made it, 0 where nobody said
}

// nudValid are the states in which the kernel itself would send to the MAC: it may be old and under test, but it has
// not been found wrong.
const nudValid = unix.NUD_PERMANENT | unix.NUD_NOARP | unix.NUD_REACHABLE | unix.NUD_PROBE | unix.NUD_STALE | unix.NUD_DELAY

// Usable tells that a frame can be sent to the MAC.
func (n Neighbour) Usable() bool { return n.State&nudValid != 0 && n.MAC != MAC{} }

// fixed tells that the entry is not resolved by ARP or ND at all, so that there is nothing to keep fresh. Asking the
// kernel to manage a permanent entry would take its permanence away.
func (n Neighbour) fixed() bool { return n.State&(unix.NUD_PERMANENT|unix.NUD_NOARP) != 0 }

// Neighbours lists the ARP and ND tables.
func Neighbours() ([]Neighbour, error) {
	bodies, err := dump(unix.RTM_GETNEIGH, "neighbours", make([]byte, ndmsgLen))
	if err != nil {
		return nil, err
	}
	var all []Neighbour
	for _, b := range bodies {
		if n, ok := parseNeighbour(b); ok {
			all = append(all, n)
		}
	}
	return all, nil
}

// solicitation is what is to become of a neighbour entry that is asked for.
type solicitation uint8

const (
	letGo solicitation = iota // a managed entry becomes an ordinary one, its MAC stays; a missing one stays missing
	ask                       // an entry is made if there is none
	keep                      // and the kernel keeps it resolved from now on. Before Linux 5.16 the same as ask
)

// solicit makes the kernel resolve addr now if it does not know its MAC, and test it if what it knows is old.
func solicit(ifindex int, addr netip.Addr, how solicitation) error {
	b := []byte{family(addr), 0, 0, 0}
	b = native.AppendUint32(b, uint32(ifindex))
	b = native.AppendUint16(b, unix.NUD_NONE)
	b = append(b, ntfUse, 0)
	b = append(b, attr(unix.NDA_DST, addr.AsSlice())...)
	flags := unix.NLM_F_ACK
	if how != letGo {
		flags |= unix.NLM_F_CREATE
	}
	if how == keep {
		b = append(b, attrUint32(ndaFlagsExt, ntfExtManaged)...)
		b = append(b, attr(ndaProtocol, []byte{Protocol})...)
	}
	if _, err := request(unix.RTM_NEWNEIGH, flags, b); err != nil {
		return fmt.Errorf("resolve %s: %w", addr, err)
	}
	return nil
}

// parseNeighbour reads an ndmsg of ARP or ND; a bridge's forwarding entries have another family and are left out.
func parseNeighbour(b []byte) (Neighbour, bool) {
	if len(b) < ndmsgLen || b[0] != unix.AF_INET && b[0] != unix.AF_INET6 {
		return Neighbour{}, false
	}
	n := Neighbour{Ifindex: int(int32(native.Uint32(b[4:]))), State: native.Uint16(b[8:])}
	eachAttr(b[ndmsgLen:], func(typ uint16, val []byte) {
		switch typ {
		case unix.NDA_DST:
			n.Addr = address(val)
		case unix.NDA_LLADDR:
			if len(val) == len(n.MAC) {
				copy(n.MAC[:], val)
			}
		case ndaFlagsExt:
			n.Managed = number(val)&ntfExtManaged != 0
		case ndaProtocol:
			if len(val) > 0 {
				n.Proto = val[0]
			}
		}
	})
	return n, n.Ifindex > 0 && n.Addr.IsValid()
}
