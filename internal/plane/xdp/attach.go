package xdp

import (
	"errors"
	"fmt"
	stdmaps "maps"
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
		return "", fmt.Errorf("attach %s: %w", ifname, ErrNoEthernet)
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
	name := "a program whose name this process may not ask for"
	if prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(xdp.ProgId)); err == nil {
		if info, err := prog.Info(); err == nil {
			name = strconv.Quote(info.Name)
			if info.Name == "" {
				name = "without a name"
			}
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

// readLinks finds the interfaces that an older program serves.
func (p *Plane) readLinks(names []string) error {
	for _, name := range names {
		number, ok := strings.CutPrefix(name, linkPrefix)
		if !ok {
			continue
		}
		ifindex, err := strconv.Atoi(number)
		if err != nil {
			return damaged(fmt.Errorf("pin %s", name))
		}
		l, err := link.LoadPinnedLink(filepath.Join(p.dir, name), nil)
		if err != nil {
			return damaged(fmt.Errorf("pin %s: %w", name, err))
		}
		p.links[ifindex] = &attachment{l, modeOf(ifindex)}
	}
	return nil
}

// adoptLinks gives this binary's program to every interface in the place of the older one, which served until then.
func (p *Plane) adoptLinks() error {
	for ifindex, a := range p.links {
		// An interface that is gone took its link's other end along (ENOLINK), and its number may be another's one day.
		err := a.link.Update(p.progs[bpf.LbProgLb])
		if errors.Is(err, unix.ENOLINK) {
			a.link.Close()
			delete(p.links, ifindex)
			os.Remove(filepath.Join(p.dir, linkPrefix+strconv.Itoa(ifindex)))
			continue
		}
		if err != nil {
			return explain("replace the program on interface "+strconv.Itoa(ifindex), err)
		}
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

// Port is where an interface's frames are on the wire: the interface that carries them, and their tags there, as in Hop.
type Port struct {
	Ifindex int
	Tags    [2]uint16
}

// Station is a MAC address at a port.
type Station struct {
	Port
	MAC [6]byte
}

// SetPorts tells where the frames of VLANs and virtual interfaces are: ports by their index, for what leaves by them; and
// stations with that index, frames to which are the packet path's where it is attached. It holds until the next call.
func (p *Plane) SetPorts(ports map[int]Port, stations map[Station]int) error {
	if p.ports == nil {
		if err := p.readPorts(); err != nil {
			return err
		}
	}
	var errs []error
	for ifindex := range p.ports {
		if _, ok := ports[ifindex]; !ok {
			errs = append(errs, p.setPort(ifindex, Port{}))
		}
	}
	for ifindex, port := range ports {
		if p.ports[ifindex] != port {
			errs = append(errs, p.setPort(ifindex, port))
		}
	}
	entries := map[bpf.LbStation]uint32{}
	for s, ifindex := range stations {
		entries[bpf.LbStation{Ifindex: uint32(s.Ifindex), Tci: tci(s.Tags), Mac: s.MAC}] = uint32(ifindex)
	}
	errs = append(errs, setEntries(p.maps[bpf.LbMapStations], entries))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("write VLANs: %w", err)
	}
	p.ports = stdmaps.Clone(ports)
	return p.setHave(bpf.LbHaveHAVE_STATIONS, len(entries) > 0)
}

// readPorts finds what an earlier process was told.
func (p *Plane) readPorts() error {
	p.ports = map[int]Port{}
	m := p.maps[bpf.LbMapLinks]
	all := make([]bpf.LbLink, m.MaxEntries())
	var cursor ebpf.MapBatchCursor
	n, err := m.BatchLookup(&cursor, make([]uint32, len(all)), all, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("read links: %w", err)
	}
	for i, l := range all[:n] {
		if l.Lower != 0 {
			p.ports[i] = Port{int(l.Lower), [2]uint16{port16(l.Tci[0]), port16(l.Tci[1])}}
		}
	}
	return nil
}

// setPort tells by what an interface's frames leave. The zero Port: by itself.
func (p *Plane) setPort(ifindex int, port Port) error {
	if uint32(ifindex) >= p.maps[bpf.LbMapLinks].MaxEntries() {
		return nil
	}
	var l bpf.LbLink
	if err := p.maps.get(bpf.LbMapLinks, uint32(ifindex), &l); err != nil {
		return err
	}
	l.Lower, l.Tci = uint32(port.Ifindex), tci(port.Tags)
	return p.maps.put(bpf.LbMapLinks, uint32(ifindex), l)
}

func tci(tags [2]uint16) [2]uint16 { return [2]uint16{be16(tags[0]), be16(tags[1])} }

// SetLink writes the MAC address to which an interface's frames are the packet path's. Attach does so; whoever hears that
// the address has changed, or uses virtual ones, does it again.
func (p *Plane) SetLink(ifindex int, mac [6]byte, attached bool) error {
	var l bpf.LbLink
	if err := p.maps.get(bpf.LbMapLinks, uint32(ifindex), &l); err != nil {
		return err
	}
	l.Mac, l.Attached = mac, 0
	if attached {
		l.Attached = 1
	}
	if err := p.maps.put(bpf.LbMapLinks, uint32(ifindex), l); err != nil {
		return err
	}
	var near bpf.LbNear
	if err := p.maps.get(bpf.LbMapNearLinks, 0, &near); err != nil {
		return err
	}
	near.Set(uint32(ifindex), l)
	return p.maps.put(bpf.LbMapNearLinks, 0, &near)
}
