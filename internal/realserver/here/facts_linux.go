package here

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vipd/internal/host"
	"vipd/internal/realserver"
)

// look gathers what this host has. It fills in n's interface towards the director if nobody said it.
func look(n *realserver.Need) (realserver.Facts, error) {
	f := realserver.Facts{Sysctls: map[string]string{}, Modules: map[string]bool{}}
	links, err := netlink.LinkList()
	if err != nil {
		return f, fmt.Errorf("list interfaces: %w", err)
	}
	names := map[int]string{}
	mtu := map[string]int{}
	for _, l := range links {
		a := l.Attrs()
		names[a.Index], mtu[a.Name] = a.Name, a.MTU
		f.Links = append(f.Links, realserver.Link{Name: a.Name, Kind: l.Type(), Up: a.Flags&net.FlagUp != 0, Loopback: a.Flags&net.FlagLoopback != 0,
			Quiet: a.RawFlags&unix.IFF_NOARP != 0 || a.Flags&net.FlagLoopback != 0 || a.EncapType != "ether", MTU: a.MTU})
		if vips := decapOn(l); vips != nil {
			f.Decap = append(f.Decap, realserver.Decap{Dev: a.Name, VIPs: vips})
		}
	}
	if err := lookAddresses(&f, names); err != nil {
		return f, err
	}
	if f.Default4, err = defaultRoute(netlink.FAMILY_V4, names, mtu); err != nil {
		return f, err
	}
	if f.Default6, err = defaultRoute(netlink.FAMILY_V6, names, mtu); err != nil {
		return f, err
	}
	f.Segment = segment(n, &f, names)
	lookSettings(&f)
	lookModules(&f)
	return f, lookListeners(&f)
}

func lookAddresses(f *realserver.Facts, names map[int]string) error {
	all, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range all {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok {
			continue
		}
		bits, _ := a.Mask.Size()
		f.Addresses = append(f.Addresses, realserver.Address{Dev: names[a.LinkIndex], Prefix: netip.PrefixFrom(ip.Unmap(), bits),
			DADFailed: a.Flags&unix.IFA_F_DADFAILED != 0, Preferred: a.Flags&unix.IFA_F_DEPRECATED == 0})
	}
	return nil
}

// defaultRoute is the one of the smallest metric.
func defaultRoute(family int, names map[int]string, mtu map[string]int) (realserver.Way, error) {
	routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return realserver.Way{}, fmt.Errorf("list routes: %w", err)
	}
	var best *netlink.Route
	for i, r := range routes {
		zero := r.Dst == nil || func() bool { ones, _ := r.Dst.Mask.Size(); return ones == 0 }()
		if zero && r.Gw != nil && (best == nil || r.Priority < best.Priority) {
			best = &routes[i]
		}
	}
	if best == nil {
		return realserver.Way{}, nil
	}
	via, _ := netip.AddrFromSlice(best.Gw)
	w := realserver.Way{Via: via.Unmap(), Dev: names[best.LinkIndex], MTU: best.MTU, AdvMSS: best.AdvMSS}
	if w.MTU == 0 {
		w.MTU = mtu[w.Dev]
	}
	var rest []string
	if best.Protocol != unix.RTPROT_BOOT {
		rest = append(rest, "proto", fmt.Sprint(int(best.Protocol)))
	}
	if best.Priority != 0 && !(family == netlink.FAMILY_V6 && best.Priority == 1024) {
		rest = append(rest, "metric", fmt.Sprint(best.Priority))
	}
	if best.Src != nil {
		rest = append(rest, "src", best.Src.String())
	}
	if best.MTU != 0 {
		rest = append(rest, "mtu", fmt.Sprint(best.MTU))
	}
	w.Rest = strings.Join(rest, " ")
	return w, nil
}

// segment is the interface towards the director.
func segment(n *realserver.Need, f *realserver.Facts, names map[int]string) string {
	if n.Interface != "" {
		return n.Interface
	}
	for _, d := range n.Directors {
		if r, err := host.RouteTo(d); err == nil && !r.Local() {
			return names[r.Ifindex]
		}
	}
	if f.Default4.Dev != "" {
		return f.Default4.Dev
	}
	if f.Default6.Dev != "" {
		return f.Default6.Dev
	}
	for _, l := range f.Links {
		if l.Up && !l.Quiet {
			return l.Name
		}
	}
	return ""
}

func lookSettings(f *realserver.Facts) {
	devs := []string{"all"}
	for _, l := range f.Links {
		devs = append(devs, l.Name)
	}
	for _, dev := range devs {
		for _, name := range realserver.Settings {
			key := realserver.Setting(dev, name)
			if b, err := os.ReadFile(filepath.Join("/proc/sys", realserver.Path(key))); err == nil {
				f.Sysctls[key] = strings.TrimSpace(string(b))
			}
		}
	}
}

// lookModules asks which tunnel devices the kernel has or can load.
func lookModules(f *realserver.Facts) {
	for module, dev := range map[string]string{"ipip": "tunl0", "sit": "sit0", "ip6_tunnel": "ip6tnl0"} {
		_, err := netlink.LinkByName(dev)
		f.Modules[module] = err == nil || loadable(module)
	}
}

func loadable(module string) bool {
	if _, err := os.Stat("/sys/module/" + module); err == nil {
		return true
	}
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return false
	}
	dir := filepath.Join("/lib/modules", unix.ByteSliceToString(name.Release[:]))
	for _, list := range []string{"modules.dep", "modules.builtin"} {
		b, err := os.ReadFile(filepath.Join(dir, list))
		if err == nil && (strings.Contains(string(b), "/"+module+".ko")) {
			return true
		}
	}
	return false
}

// lookListeners reads the sockets that wait for clients of TCP (proc(5), /proc/net/tcp).
func lookListeners(f *realserver.Facts) error {
	only, _ := os.ReadFile("/proc/sys/net/ipv6/bindv6only")
	for _, name := range []string{"tcp", "tcp6"} {
		file, err := os.Open("/proc/thread-self/net/" + name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		defer file.Close()
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			if l, ok := parseListener(lines.Text()); ok {
				l.V6Only = strings.TrimSpace(string(only)) == "1"
				f.Listens = append(f.Listens, l)
			}
		}
		if err := lines.Err(); err != nil {
			return fmt.Errorf("read /proc/net/%s: %w", name, err)
		}
	}
	return nil
}

const stateListen = "0A" // TCP_LISTEN

// parseListener reads a line of /proc/net/tcp: the address stands in words of the host's order, in hexadecimal.
func parseListener(line string) (realserver.Listen, bool) {
	words := strings.Fields(line)
	if len(words) < 4 || words[3] != stateListen {
		return realserver.Listen{}, false
	}
	addr, port, _ := strings.Cut(words[1], ":")
	b, err := hex.DecodeString(addr)
	n, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(b)%4 != 0 {
		return realserver.Listen{}, false
	}
	for i := 0; i < len(b); i += 4 {
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	a, ok := netip.AddrFromSlice(b)
	return realserver.Listen{At: a.Unmap(), Port: uint16(n)}, ok
}

// ownAddresses lists this host's.
func ownAddresses() ([]netip.Addr, error) {
	f := realserver.Facts{}
	if err := lookAddresses(&f, map[int]string{}); err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range f.Addresses {
		out = append(out, a.Prefix.Addr())
	}
	return out, nil
}
