// Package checkpath lets a check go the way of the traffic (check_path): its socket is connected to the real server's own
// address, and BPF programs at the interface make of its packets what the packet path would make of a client's: to the
// virtual address, in the real server's tunnel (bpf/path.bpf.c says how). It works beside either data plane.
//
// It makes no check and knows no verdict: internal/probe tells it of sockets. The daemon makes one Paths.
//
// Invariant: a socket that was not noted, or has been forgotten, is never touched, and neither are answers to it.
package checkpath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vipd/bpf"
	"vipd/internal/host"
	"vipd/internal/lb"
)

// Way is what becomes of a socket's packets.
type Way struct {
	VIP, Real netip.Addr
	Forward   lb.Forward // Route or Tunnel
	Tunnel    lb.TunnelOptions
}

// Paths are the programs and which sockets they know. Its methods may be called from any goroutine. The programs are
// loaded when the first socket is noted; a Paths that nobody uses costs nothing.
type Paths struct {
	mu     sync.Mutex
	objs   *bpf.PathObjects
	failed error
	on     map[int][]func() error // by interface: what takes the programs off
	closed bool
}

// New makes an empty Paths.
func New() *Paths { return &Paths{on: map[int][]func() error{}} }

var errClosed = errors.New("checks through the path have ended")

// Note tells of a socket before it connects or sends. It returns the cookie to Forget it by.
func (p *Paths) Note(fd int, w Way) (uint64, error) {
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("ask for the socket's cookie: %w", err)
	}
	route, err := host.RouteTo(w.Real)
	if err != nil {
		return 0, err
	}
	if route.Local() {
		return 0, fmt.Errorf("%s is this host's own address: there is no path to check", w.Real)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.ready(route.Ifindex); err != nil {
		return 0, err
	}
	if err := p.objs.PathSockets.Put(cookie, wordOf(w, route.Src)); err != nil {
		return 0, fmt.Errorf("note the socket: %w", err)
	}
	return cookie, nil
}

// Forget ends what Note began.
func (p *Paths) Forget(cookie uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.objs != nil {
		_ = p.objs.PathSockets.Delete(cookie) // the map may have forgotten it for others
	}
}

func wordOf(w Way, source netip.Addr) bpf.PathPath {
	out := bpf.PathPath{Vip: words(w.VIP), Real: words(w.Real), Source: words(source), V6: bit(w.VIP.Is6()), OuterV6: bit(w.Real.Is6())}
	if w.Forward != lb.Tunnel {
		return out
	}
	out.Tunnel = uint8(map[lb.TunnelType]bpf.PathPathTunnel{lb.IPIP: bpf.PathPathTunnelPATH_IPIP, lb.GUE: bpf.PathPathTunnelPATH_GUE,
		lb.GRE: bpf.PathPathTunnelPATH_GRE}[w.Tunnel.Type])
	out.Port = binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, w.Tunnel.Port))
	return out
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

func words(a netip.Addr) (w [4]uint32) {
	b := a.AsSlice()
	for i := 0; i < len(b)/4; i++ {
		w[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return w
}

// ready loads the programs and puts them on an interface, once each.
func (p *Paths) ready(ifindex int) error {
	if p.closed {
		return errClosed
	}
	if p.objs == nil && p.failed == nil {
		objs := &bpf.PathObjects{}
		if p.failed = bpf.LoadPathObjects(objs, nil); p.failed == nil {
			p.objs = objs
		}
	}
	if p.failed != nil {
		return fmt.Errorf("load the programs of check_path: %w", p.failed)
	}
	if p.on[ifindex] != nil {
		return nil
	}
	off, err := p.attach(ifindex)
	if err != nil {
		return fmt.Errorf("attach the programs of check_path: %w", err)
	}
	p.on[ifindex] = off
	return nil
}

// attach hangs both programs at an interface: by links (Linux 6.6 and later), which end with this process, or as filters
// of clsact, which a later start replaces.
func (p *Paths) attach(ifindex int) ([]func() error, error) {
	in, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: p.objs.PathIn, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		return p.attachFilters(ifindex)
	}
	out, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: p.objs.PathOut, Attach: ebpf.AttachTCXEgress})
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return []func() error{in.Close, out.Close}, nil
}

const filterPriority = 0x7669 // ours; a filter of the same number is one that a process before left

func (p *Paths) attachFilters(ifindex int) ([]func() error, error) {
	qdisc := &netlink.GenericQdisc{QdiscType: "clsact", QdiscAttrs: netlink.QdiscAttrs{LinkIndex: ifindex, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
	if err := netlink.QdiscAdd(qdisc); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("add clsact: %w", err)
	}
	var off []func() error
	for name, at := range map[string]struct {
		prog   *ebpf.Program
		parent uint32
	}{"vipd_path_in": {p.objs.PathIn, netlink.HANDLE_MIN_INGRESS}, "vipd_path_out": {p.objs.PathOut, netlink.HANDLE_MIN_EGRESS}} {
		f := &netlink.BpfFilter{FilterAttrs: netlink.FilterAttrs{LinkIndex: ifindex, Parent: at.parent, Handle: 1, Priority: filterPriority, Protocol: unix.ETH_P_ALL},
			Fd: at.prog.FD(), Name: name, DirectAction: true}
		if err := netlink.FilterReplace(f); err != nil {
			for _, undo := range off {
				err = errors.Join(err, undo())
			}
			return nil, err
		}
		off = append(off, func() error { return netlink.FilterDel(f) })
	}
	return off, nil
}

// Close takes the programs off every interface. Note fails afterwards.
func (p *Paths) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	var errs []error
	for _, off := range p.on {
		for _, f := range off {
			errs = append(errs, f())
		}
	}
	clear(p.on)
	if p.objs != nil {
		errs = append(errs, p.objs.Close())
		p.objs = nil
	}
	return errors.Join(errs...)
}
