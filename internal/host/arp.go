package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// GratuitousARPLen is the length of a gratuitous ARP frame: Ethernet header 14, ARP 28. It is not padded: the card does.
const GratuitousARPLen = 42

// GratuitousARP builds the frame that tells a network that vip is at mac.
//
// keepalived: a request (not a reply), sender and target address both the VIP, target hardware address all ones.
// RFC 5227 §3 gives the reason for a request: everybody who has the address cached must look at it.
func GratuitousARP(mac MAC, vip netip.Addr) []byte {
	ip := vip.As4()
	b := make([]byte, 0, GratuitousARPLen)
	b = append(b, Broadcast[:]...)
	b = append(b, mac[:]...)
	b = append(b, 0x08, 0x06) // EtherType ARP
	b = append(b, 0, 1, 0x08, 0x00, 6, 4, 0, 1)
	b = append(b, mac[:]...)
	b = append(b, ip[:]...)
	b = append(b, Broadcast[:]...)
	return append(b, ip[:]...)
}

// Announcer sends gratuitous ARP and unsolicited neighbour advertisements. It keeps one packet socket per interface. It may be used from several goroutines.
type Announcer struct {
	mu    sync.Mutex
	conns map[string]announcerConn
}

type announcerConn struct {
	ifindex int
	conn    *packet.Conn
}

// NewAnnouncer makes an Announcer without any socket yet.
func NewAnnouncer() *Announcer { return &Announcer{conns: map[string]announcerConn{}} }

// Announce sends one frame for each of vips, in order, with the MAC that the interface has now: gratuitous ARP, and for
// IPv6 a neighbour advertisement. Where there is no ARP (loopback, a tunnel) it does nothing. It stops at the first
// failure.
func (a *Announcer) Announce(dev string, vips ...netip.Addr) error {
	link, err := LinkByName(dev)
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	if !link.Ethernet || link.NoARP {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	conn, err := a.conn(link)
	if err != nil {
		return err
	}
	for _, vip := range vips {
		vip, frame, to := vip.Unmap(), []byte(nil), Broadcast
		if vip.Is4() {
			frame = GratuitousARP(link.MAC, vip)
		} else {
			frame = NeighbourAdvert(link.MAC, vip, forwardsIPv6(dev))
			to = MAC(frame[:6])
		}
		if _, err := conn.WriteTo(frame, &packet.Addr{HardwareAddr: to[:]}); err != nil {
			return fmt.Errorf("announce %s on %s: %w", vip, dev, err)
		}
	}
	return nil
}

// conn is the socket of an interface. One that belongs to an earlier interface of the same name is replaced.
func (a *Announcer) conn(link Link) (*packet.Conn, error) {
	have, ok := a.conns[link.Name]
	if ok && have.ifindex == link.Index {
		return have.conn, nil
	}
	if ok {
		have.conn.Close()
		delete(a.conns, link.Name)
	}
	// Protocol 0 receives nothing: otherwise every ARP of the network would pile up unread.
	conn, err := packet.Listen(&net.Interface{Index: link.Index, Name: link.Name}, packet.Raw, 0, nil)
	if err != nil {
		return nil, fmt.Errorf("announce on %s: open packet socket: %w", link.Name, gone(err, link.Name))
	}
	a.conns[link.Name] = announcerConn{link.Index, conn}
	return conn, nil
}

// Close closes the sockets. A later Announce opens them again.
func (a *Announcer) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for dev, c := range a.conns {
		if err := c.conn.Close(); err != nil && !errors.Is(err, unix.EBADF) {
			errs = append(errs, fmt.Errorf("close packet socket of %s: %w", dev, err))
		}
	}
	clear(a.conns)
	return errors.Join(errs...)
}
