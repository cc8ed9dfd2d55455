package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
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

// neighbourProbe is the same for an IPv6 address: a solicitation from the interface's own address. RFC 4862 5.4.3: one from the
// unspecified address is taken for a host's that configures the address, and makes another that does so too give it up; from
// an own one it "should be silently ignored" there.
func neighbourProbe(mac MAC, from, addr netip.Addr) []byte {
	src, ip := from.As16(), addr.As16()
	b := make([]byte, 0, neighbourProbeLen)
	b = append(b, 0x33, 0x33, 0xff, ip[13], ip[14], ip[15])
	b = append(b, mac[:]...)
	b = append(b, 0x86, 0xdd)
	b = append(b, 0x60, 0, 0, 0, 0, 32, unix.IPPROTO_ICMPV6, 255)
	b = append(b, src[:]...)
	b = append(b, 0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, ip[13], ip[14], ip[15]) // RFC 4291 2.7.1: of the address
	b = append(b, neighbourSolicitation, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, ip[:]...)
	b = append(b, 1, 1) // option: source link-layer address
	b = append(b, mac[:]...)
	binary.BigEndian.PutUint16(b[56:], icmpv6Sum(b[14:]))
	return b
}

// ICMPv6's types (RFC 4861), where they are in a frame without extension headers, and the lengths of such.
const (
	neighbourSolicitation, neighbourAdvertisement = 135, 136

	nextHeaderAt, icmpTypeAt, targetAt  = 20, 54, 62
	neighbourProbeLen, bareNeighbourLen = 86, 78
)

// claimed6 reads from a frame with a neighbour advertisement whose address it tells, and at which MAC: its option's, as that is
// what others learn, or else its sender's.
func claimed6(frame []byte) (netip.Addr, MAC, bool) {
	if len(frame) < bareNeighbourLen || binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_IPV6 || frame[14]>>4 != 6 ||
		frame[nextHeaderAt] != unix.IPPROTO_ICMPV6 || frame[21] != 255 || frame[icmpTypeAt] != neighbourAdvertisement {
		return netip.Addr{}, MAC{}, false
	}
	addr, mac := netip.AddrFrom16([16]byte(frame[targetAt:])), MAC(frame[6:12])
	if option := frame[bareNeighbourLen:]; len(option) >= 8 && option[0] == 2 && option[1] == 1 { // target link-layer address
		mac = MAC(option[2:8])
	}
	return addr, mac, !addr.IsUnspecified() && !addr.IsMulticast() && !addr.Is4In6()
}

// onlyNeighbours lets neighbour advertisements through alone: a director's other IPv6 packets are many.
var onlyNeighbours = []bpf.Instruction{
	bpf.LoadAbsolute{Off: nextHeaderAt, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_ICMPV6, SkipTrue: 3},
	bpf.LoadAbsolute{Off: icmpTypeAt, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: neighbourAdvertisement, SkipTrue: 1},
	bpf.RetConstant{Val: 1 << 16},
	bpf.RetConstant{Val: 0},
}

// Claimants asks the networks of interfaces who else has these addresses, all at the same time, and listens for so long. It
// gives by interface the MAC address of one station that is not this host for each address that somebody has. Where there is
// neither ARP nor neighbour discovery it finds nobody. What went wrong at one interface is in the error and is no loss to others.
func Claimants(ask map[string][]netip.Addr, listen time.Duration) (map[string]map[netip.Addr]MAC, error) {
	if len(ask) == 0 {
		return nil, nil
	}
	all, err := Links()
	if err != nil {
		return nil, fmt.Errorf("ask who has an address: %w", err)
	}
	links, own := map[string]Link{}, map[MAC]bool{}
	for _, l := range all {
		links[l.Name], own[l.MAC] = l, true
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	found := map[string]map[netip.Addr]MAC{}
	for dev, addrs := range ask {
		wg.Go(func() {
			claims, err := claimants(dev, links[dev], addrs, own, listen)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("ask on %s: %w", dev, gone(err, dev)))
			}
			if len(claims) > 0 {
				found[dev] = claims
			}
		})
	}
	wg.Wait()
	return found, errors.Join(errs...)
}

// claimants asks one network, in both families; stations with one of own are this host.
func claimants(dev string, link Link, addrs []netip.Addr, own map[MAC]bool, listen time.Duration) (map[netip.Addr]MAC, error) {
	switch {
	case link.Name == "":
		return nil, &NoInterfaceError{Name: dev}
	case !link.Ready() || !link.Ethernet || link.NoARP:
		return nil, nil
	}
	var v4, v6 [][]byte // what is asked
	wanted := map[netip.Addr]bool{}
	from, _ := LinkLocal(dev, addrs) // without one it has no IPv6
	for _, a := range addrs {
		switch a = a.Unmap(); {
		case a.Is4():
			v4 = append(v4, arpProbe(link.MAC, a))
		case from.IsValid():
			v6 = append(v6, neighbourProbe(link.MAC, from, a))
		}
		wanted[a] = true
	}
	var mu sync.Mutex
	found := map[netip.Addr]MAC{}
	note := func(addr netip.Addr, mac MAC) {
		if wanted[addr] && !own[mac] {
			mu.Lock()
			defer mu.Unlock()
			found[addr] = mac
		}
	}
	var err6 error
	var wg sync.WaitGroup
	wg.Go(func() { err6 = hearAnswers(link, unix.ETH_P_IPV6, onlyNeighbours, v6, claimed6, note, listen) })
	err4 := hearAnswers(link, unix.ETH_P_ARP, nil, v4, claimed, note, listen)
	wg.Wait()
	return found, errors.Join(err4, err6)
}

// hearAnswers sends frames and notes what is claimed meanwhile, also what nobody asked for.
func hearAnswers(link Link, ethertype int, only []bpf.Instruction, frames [][]byte, claimed func([]byte) (netip.Addr, MAC, bool), note func(netip.Addr, MAC), listen time.Duration) error {
	if len(frames) == 0 {
		return nil
	}
	filter, err := bpf.Assemble(only)
	if err != nil {
		return err
	}
	conn, err := packet.Listen(&net.Interface{Index: link.Index, Name: link.Name}, packet.Raw, ethertype, &packet.Config{Filter: filter})
	if err != nil {
		return fmt.Errorf("open packet socket: %w", err)
	}
	defer conn.Close()
	for _, frame := range frames {
		if _, err := conn.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]}); err != nil {
			return err
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(listen)); err != nil {
		return err
	}
	for buf := make([]byte, 256); ; {
		n, _, err := conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("hear who has an address: %w", err)
		}
		if addr, mac, ok := claimed(buf[:n]); ok {
			note(addr, mac)
		}
	}
}
