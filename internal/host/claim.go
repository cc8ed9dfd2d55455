package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// arpProbe asks a network who has an IPv4 address, in nobody's name, so that nobody learns one.
// RFC 5227 2.1.1: "an ARP Request … with … the 'sender IP address' set to all zeroes".
func arpProbe(mac MAC, addr netip.Addr) []byte {
	ip := addr.As4()
	b := append(append([]byte(nil), Broadcast[:]...), mac[:]...)
	b = append(b, 0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 1)
	b = append(b, mac[:]...)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	return append(b, ip[:]...)
}

// claimed reads from a frame the IPv4 address that its ARP sender says it has (RFC 826), and at which MAC.
func claimed(frame []byte) (netip.Addr, MAC, bool) {
	const ethernetIPv4 = 0x0001_0800_0604 // hardware, protocol, and the lengths of their addresses
	if len(frame) < GratuitousARPLen || binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_ARP ||
		binary.BigEndian.Uint64(frame[14:])>>16 != ethernetIPv4 {
		return netip.Addr{}, MAC{}, false
	}
	addr := netip.AddrFrom4([4]byte(frame[28:32]))
	return addr, MAC(frame[22:28]), !addr.IsUnspecified()
}

// Claimants asks the network of an interface who else has these IPv4 addresses, and listens for so long. It gives the MAC
// address of one station that is not this host for each that somebody has. Where there is no ARP it finds nobody; so it
// does of IPv6.
func Claimants(dev string, addrs []netip.Addr, listen time.Duration) (map[netip.Addr]MAC, error) {
	link, err := LinkByName(dev)
	if err != nil {
		return nil, fmt.Errorf("ask who has an address: %w", err)
	}
	if !link.Ready() || !link.Ethernet || link.NoARP {
		return nil, nil
	}
	own, err := Links()
	if err != nil {
		return nil, err
	}
	conn, err := packet.Listen(&net.Interface{Index: link.Index, Name: link.Name}, packet.Raw, unix.ETH_P_ARP, nil)
	if err != nil {
		return nil, fmt.Errorf("ask on %s: open packet socket: %w", dev, gone(err, dev))
	}
	defer conn.Close()
	asked := map[netip.Addr]bool{}
	for _, a := range addrs {
		if a = a.Unmap(); !a.Is4() {
			continue
		}
		asked[a] = true
		if _, err := conn.WriteTo(arpProbe(link.MAC, a), &packet.Addr{HardwareAddr: Broadcast[:]}); err != nil {
			return nil, fmt.Errorf("ask for %s on %s: %w", a, dev, err)
		}
	}
	if len(asked) == 0 {
		return nil, nil
	}
	if err := conn.SetReadDeadline(time.Now().Add(listen)); err != nil {
		return nil, err
	}
	return hearClaims(conn, asked, own)
}

func hearClaims(conn *packet.Conn, asked map[netip.Addr]bool, own []Link) (map[netip.Addr]MAC, error) {
	mine := map[MAC]bool{}
	for _, l := range own {
		mine[l.MAC] = true
	}
	found := map[netip.Addr]MAC{}
	for buf := make([]byte, 256); ; {
		n, _, err := conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("hear who has an address: %w", err)
		}
		if addr, mac, ok := claimed(buf[:n]); ok && asked[addr] && !mine[mac] {
			found[addr] = mac
		}
	}
}
