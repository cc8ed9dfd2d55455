package xdp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"vipd/bpf"
)

// linkPrefix begins the pin of a link. The interface's index follows, because names may have dots and may change.
const linkPrefix = "link_"

// Mode is where on an interface's path the program runs.
type Mode string

// Modes: in the driver, before a packet costs memory; or behind it, for any driver and several times as dear.
const (
	Native  Mode = "native"
	Generic Mode = "generic"
)

type attachment struct {
	link link.Link
	mode Mode
}

// Attach makes the packet path see what arrives at an interface: in native mode, or in generic mode where the driver
// cannot. If it is attached already (Adopted), only its MAC address is read anew. ErrForeign names another program.
func (p *Plane) Attach(ifname string) (Mode, error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return "", fmt.Errorf("attach %s: %w", ifname, err)
	}
	if len(ifi.HardwareAddr) != 6 {
		return "", fmt.Errorf("attach %s: it has no Ethernet address", ifname)
	}
	l, ok := p.links[ifi.Index]
	if !ok {
		if l, err = p.attach(ifi); err != nil {
			return "", fmt.Errorf("attach %s: %w", ifname, err)
		}
		p.links[ifi.Index] = l
	}
	// Frames to this address are the packet path's only from here on.
	if err := p.SetLink(ifi.Index, [6]byte(ifi.HardwareAddr), true); err != nil {
		return "", fmt.Errorf("attach %s: %w", ifname, err)
	}
	return l.mode, nil
}

func (p *Plane) attach(ifi *net.Interface) (*attachment, error) {
	if err := foreign(ifi); err != nil {
		return nil, err
	}
	mode := Native
	l, err := link.Link(nil), errVeth
	if !p.veth || !isVeth(ifi) {
		l, err = link.AttachXDP(link.XDPOptions{Program: p.progs[bpf.LbProgLb], Interface: ifi.Index, Flags: link.XDPDriverMode})
	}
	if err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EBUSY) {
		native := err
		mode = Generic
		l, err = link.AttachXDP(link.XDPOptions{Program: p.progs[bpf.LbProgLb], Interface: ifi.Index, Flags: link.XDPGenericMode})
		if err != nil {
			err = fmt.Errorf("native: %w; generic: %w", native, err)
		}
	}
	if err != nil {
		if named := foreign(ifi); named != nil { // it came in between
			return nil, named
		}
		return nil, explain("XDP", err)
	}
	// Until it is pinned the link ends with this process, so there is never an attached program that nobody finds.
	path := filepath.Join(p.dir, linkPrefix+strconv.Itoa(ifi.Index))
	os.Remove(path)
	if err := l.Pin(path); err != nil {
		l.Close()
		return nil, explain("pin the link", err)
	}
	return &attachment{l, mode}, nil
}

var errVeth = errors.New("not asked for on a veth")

func isVeth(ifi *net.Interface) bool {
	l, err := netlink.LinkByIndex(ifi.Index)
	return err == nil && l.Type() == "veth"
}

// foreign is ErrForeign with the program's name and number if an interface that we are not attached to has one.
func foreign(ifi *net.Interface) error {
	xdp, err := xdpOf(ifi.Index)
	if err != nil || xdp == nil || !xdp.Attached {
		return err
	}
	name := "without a name"
	if prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(xdp.ProgId)); err == nil {
		if info, err := prog.Info(); err == nil {
			name = strconv.Quote(info.Name)
		}
		prog.Close()
	}
	return fmt.Errorf("%w: %s, id %d (ip link set dev %s xdp off removes one that no link holds)", ErrForeign, name, xdp.ProgId, ifi.Name)
}

func xdpOf(ifindex int) (*netlink.LinkXdp, error) {
	l, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return nil, fmt.Errorf("look at interface %d: %w", ifindex, err)
	}
	return l.Attrs().Xdp, nil
}

// adoptLinks gives this binary's program to every interface in the place of the older one, which served until then.
func (p *Plane) adoptLinks(names []string) error {
	for _, name := range names {
		number, ok := strings.CutPrefix(name, linkPrefix)
		if !ok {
			continue
		}
		path := filepath.Join(p.dir, name)
		ifindex, err := strconv.Atoi(number)
		if err != nil {
			return damaged(fmt.Errorf("pin %s", name))
		}
		l, err := link.LoadPinnedLink(path, nil)
		if err != nil {
			return damaged(fmt.Errorf("pin %s: %w", name, err))
		}
		// An interface that is gone took its link's other end along (ENOLINK), and its number may be another's one day.
		err = l.Update(p.progs[bpf.LbProgLb])
		if errors.Is(err, unix.ENOLINK) {
			l.Close()
			os.Remove(path)
			continue
		}
		if err != nil {
			l.Close()
			return explain("replace the program on interface "+number, err)
		}
		p.links[ifindex] = &attachment{l, modeOf(ifindex)}
	}
	return nil
}

func modeOf(ifindex int) Mode {
	if xdp, err := xdpOf(ifindex); err == nil && xdp != nil && xdp.AttachMode == nl.XDP_ATTACHED_SKB {
		return Generic
	}
	return Native
}

// Mode says how an interface is attached; empty if it is not.
func (p *Plane) Mode(ifname string) Mode {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return ""
	}
	if l, ok := p.links[ifi.Index]; ok {
		return l.mode
	}
	return ""
}

// Attached lists the indices of the interfaces that the program is attached to, in ascending order.
func (p *Plane) Attached() []int {
	var list []int
	for ifindex := range p.links {
		list = append(list, ifindex)
	}
	slices.Sort(list)
	return list
}

// Detach ends it for one interface, by name; not attached is no error.
func (p *Plane) Detach(ifname string) error {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return fmt.Errorf("detach %s: %w", ifname, err)
	}
	if _, ok := p.links[ifi.Index]; !ok {
		return nil
	}
	if err := p.detach(ifi.Index); err != nil {
		return fmt.Errorf("detach %s: %w", ifname, err)
	}
	return nil
}

// DetachIndex ends it for an interface of Attached, also for one that has no name any more.
func (p *Plane) DetachIndex(ifindex int) error {
	if _, ok := p.links[ifindex]; !ok {
		return nil
	}
	return p.detach(ifindex)
}

func (p *Plane) detach(ifindex int) error {
	l := p.links[ifindex]
	delete(p.links, ifindex)
	err := l.link.Detach()
	if errors.Is(err, unix.ENOLINK) {
		err = nil
	}
	l.link.Close()
	path := filepath.Join(p.dir, linkPrefix+strconv.Itoa(ifindex))
	if rm := os.Remove(path); rm != nil && !errors.Is(rm, os.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return errors.Join(err, p.SetLink(ifindex, [6]byte{}, false))
}

// NoteLink tells the MAC address that an interface has now, attached or not: replies of NAT real servers may leave by any.
func (p *Plane) NoteLink(ifindex int, mac [6]byte) error {
	if uint32(ifindex) >= p.maps[bpf.LbMapLinks].MaxEntries() {
		return nil // nothing is attached to it, and nothing leaves by it
	}
	_, attached := p.links[ifindex]
	return p.SetLink(ifindex, mac, attached)
}

// SetLink writes the MAC address to which an interface's frames are the packet path's. Attach does so; whoever hears that
// the address has changed, or uses virtual ones, does it again.
func (p *Plane) SetLink(ifindex int, mac [6]byte, attached bool) error {
	l := bpf.LbLink{Mac: mac}
	if attached {
		l.Attached = 1
	}
	return p.maps.put(bpf.LbMapLinks, uint32(ifindex), l)
}
