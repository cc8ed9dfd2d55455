package here

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vipd/bpf"
	"vipd/internal/realserver"
)

var tunnels = map[string]bpf.DecapDecapKind{"ipip": bpf.DecapDecapKindDECAP_IPIP, "gue": bpf.DecapDecapKindDECAP_GUE, "gre": bpf.DecapDecapKindDECAP_GRE}

func newDecap(stdout io.Writer) *cobra.Command {
	var o options
	var off, native bool
	cmd := &cobra.Command{
		Use:   "decap --interface IF --vip ADDRESS…",
		Short: "Unpack what comes through a director's tunnel, by an XDP program on an interface",
		Long: `Attach this program's decapsulator to an interface, or with --off take it away: packets in IP in IP, GUE or GRE whose inside
goes to one of the virtual addresses are unpacked before the host sees them. It stays without any process, until a boot.
Without --vip and --off it shows what it has counted.`,
		Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error {
			link, err := netlink.LinkByName(o.iface)
			if err != nil {
				return failed(fmt.Errorf("--interface %q: %w", o.iface, err))
			}
			switch {
			case off:
				return failed(decapOff(link))
			case len(o.vips) == 0:
				return failed(decapShow(stdout, link))
			}
			vips, err := addresses(o.vips)
			if err != nil {
				return failed(fmt.Errorf("--vip: %w", err))
			}
			return failed(decapAttach(link, vips, o.tunnel, o.tunnelPort, native))
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.iface, "interface", "", "`INTERFACE` by which tunnels come in")
	f.StringSliceVar(&o.vips, "vip", nil, "virtual `ADDRESS`, or several")
	f.StringVar(&o.tunnel, "tunnel", "ipip", "ipip, gue or gre")
	f.Uint16Var(&o.tunnelPort, "tunnel-port", realserver.GUEPort, "of gue")
	f.BoolVar(&off, "off", false, "take it away")
	f.BoolVar(&native, "native", false, "in the driver (faster; some drivers restart the interface), not in front of the host's stack")
	return cmd
}

// program is the decapsulator on a link; nil if there is none, or another program.
func program(l netlink.Link) (*ebpf.Program, *ebpf.Map, error) {
	xdp := l.Attrs().Xdp
	if xdp == nil || !xdp.Attached {
		return nil, nil, nil
	}
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(xdp.ProgId))
	if err != nil {
		return nil, nil, fmt.Errorf("open the XDP program of %s: %w", l.Attrs().Name, err)
	}
	info, err := p.Info()
	if err != nil || info.Name != bpf.DecapProgDecap {
		p.Close()
		return nil, nil, err
	}
	ids, _ := info.MapIDs()
	for _, id := range ids {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			continue
		}
		if mi, err := m.Info(); err == nil && mi.Name == bpf.DecapMapDecapVips {
			return p, m, nil
		}
		m.Close()
	}
	p.Close()
	return nil, nil, nil
}

// decapOn lists the virtual addresses of the decapsulator on a link; nil if there is none, or it cannot be asked.
func decapOn(l netlink.Link) []netip.Addr {
	p, m, err := program(l)
	if err != nil || p == nil {
		return nil
	}
	defer p.Close()
	defer m.Close()
	out := []netip.Addr{}
	var key bpf.DecapDecapAddress
	var one uint8
	for it := m.Iterate(); it.Next(&key, &one); {
		out = append(out, addressOf(key))
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

func addressOf(key bpf.DecapDecapAddress) netip.Addr {
	var b [16]byte
	for i, w := range key.Addr {
		binary.NativeEndian.PutUint32(b[4*i:], w)
	}
	if key.V6 != 0 {
		return netip.AddrFrom16(b)
	}
	return netip.AddrFrom4([4]byte(b[:4]))
}

func keyOf(a netip.Addr) (key bpf.DecapDecapAddress) {
	b := a.AsSlice()
	for i := 0; i < len(b)/4; i++ {
		key.Addr[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	if a.Is6() {
		key.V6 = 1
	}
	return key
}

// decapAttach replaces the decapsulator of a link, and nobody else's program.
func decapAttach(l netlink.Link, vips []netip.Addr, tunnel string, port uint16, native bool) error {
	kind, ok := tunnels[tunnel]
	if !ok {
		return fmt.Errorf("--tunnel %q: want ipip, gue or gre", tunnel)
	}
	name := l.Attrs().Name
	old, m, err := program(l)
	if err != nil {
		return err
	}
	if old != nil {
		m.Close()
		defer old.Close()
	} else if xdp := l.Attrs().Xdp; xdp != nil && xdp.Attached {
		return fmt.Errorf("%s has an XDP program of somebody else's: the decapsulator would take its place", name)
	}
	o, err := loadDecap(kind, port)
	if err != nil {
		return err
	}
	defer o.Close()
	for _, v := range vips {
		if err := o.DecapVips.Put(keyOf(v), uint8(1)); err != nil {
			return fmt.Errorf("note %s: %w", v, err)
		}
	}
	flags := unix.XDP_FLAGS_SKB_MODE
	if native {
		flags = unix.XDP_FLAGS_DRV_MODE
	}
	if old != nil {
		if err := decapOff(l); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetXdpFdWithFlags(l, o.Decap.FD(), flags|unix.XDP_FLAGS_UPDATE_IF_NOEXIST); err != nil {
		return fmt.Errorf("attach the decapsulator to %s: %w", name, err)
	}
	return nil
}

func loadDecap(kind bpf.DecapDecapKind, port uint16) (*bpf.DecapObjects, error) {
	spec, err := bpf.LoadDecap()
	if err != nil {
		return nil, err
	}
	for name, v := range map[string]uint32{bpf.DecapVarDecapTunnel: uint32(kind), bpf.DecapVarDecapPort: uint32(port)} {
		if err := spec.Variables[name].Set(v); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	o := &bpf.DecapObjects{}
	if err := spec.LoadAndAssign(o, nil); err != nil {
		return nil, fmt.Errorf("load the decapsulator: %w", err)
	}
	return o, nil
}

func decapOff(l netlink.Link) error {
	p, m, err := program(l)
	if err != nil {
		return err
	}
	if p == nil {
		return nil
	}
	defer p.Close()
	defer m.Close()
	flags := unix.XDP_FLAGS_SKB_MODE
	if l.Attrs().Xdp.AttachMode == 1 { // XDP_ATTACHED_DRV
		flags = unix.XDP_FLAGS_DRV_MODE
	}
	if err := netlink.LinkSetXdpFdWithFlags(l, -1, flags); err != nil {
		return fmt.Errorf("take the decapsulator off %s: %w", l.Attrs().Name, err)
	}
	return nil
}

// decapWords are the outcomes in the order of enum decap_outcome.
var decapWords = []string{"no tunnel's packet", "fragment", "too short", "not understood", "for no virtual address of ours", "refused by the kernel", "unpacked"}

func decapShow(w io.Writer, l netlink.Link) error {
	p, m, err := program(l)
	if err != nil {
		return err
	}
	if p == nil {
		return errors.New("there is no decapsulator on " + l.Attrs().Name)
	}
	defer p.Close()
	defer m.Close()
	fmt.Fprintf(w, "%s unpacks for %v\n", l.Attrs().Name, decapOn(l))
	info, err := p.Info()
	if err != nil {
		return err
	}
	ids, _ := info.MapIDs()
	for _, id := range ids {
		counts, err := ebpf.NewMapFromID(id)
		if err != nil {
			return err
		}
		defer counts.Close()
		if mi, err := counts.Info(); err != nil || mi.Name != bpf.DecapMapDecapOutcomes {
			continue
		}
		for i, text := range decapWords {
			var each []uint64
			if err := counts.Lookup(uint32(i), &each); err != nil {
				return err
			}
			total := uint64(0)
			for _, n := range each {
				total += n
			}
			fmt.Fprintf(w, "  %-32s %d\n", text, total)
		}
	}
	return nil
}
