package look

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"vipd/internal/control"
	"vipd/internal/doctor"
	"vipd/internal/host"
	"vipd/internal/lb"
)

// Self reads what the director's host says of itself.
func Self(s *control.Status) doctor.Self {
	out := doctor.Self{Plane: s.DataPlane.Name, Methods: map[string]bool{}, Sysctls: map[string]string{}}
	for _, l := range s.Links {
		driver, tx := offload(l.Name)
		out.Links = append(out.Links, doctor.Link{Name: l.Name, Mode: l.Mode, Driver: driver, TxChecksum: tx})
	}
	for _, svc := range s.Services {
		for _, r := range svc.Reals {
			out.Methods[map[lb.Forward]string{lb.Masq: "nat", lb.Route: "dr", lb.Tunnel: "tun"}[r.Forward]] = true
		}
	}
	out.SameLink = len(s.Links) == 1
	for _, name := range []string{"net.ipv4.ip_forward", "net.ipv4.conf.all.send_redirects", "net.core.bpf_jit_enable"} {
		if v := word("/proc/sys/" + strings.ReplaceAll(name, ".", "/")); v != "" {
			out.Sysctls[name] = v
		}
	}
	out.Checks = checksOf(s.Checks)
	out.Clock = word("/sys/devices/system/clocksource/clocksource0/current_clocksource")
	out.Missing, out.Daemons, out.IPVS, out.DropChain = missing(s), host.Balancers(), kernelServices(), dropChains()
	return out
}

func checksOf(c *control.Checks) doctor.Checks {
	if c == nil {
		return doctor.Checks{}
	}
	return doctor.Checks{Inside: c.Inside, Ends: max(c.Starts-1, 0), Why: c.Why, Lacks: c.Lacks}
}

func word(path string) string {
	b, _ := os.ReadFile(path)
	return strings.TrimSpace(string(b))
}

// missing are addresses of instances that are master which this host does not have.
func missing(s *control.Status) []string {
	have := map[netip.Addr]bool{}
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			have[p.Addr().Unmap()] = true
		}
	}
	var out []string
	for _, r := range s.VRRP {
		for _, v := range r.VIPs {
			if a, err := prefixOrAddr(v); err == nil && r.State == "MASTER" && !have[a] {
				out = append(out, a.String()+" on "+r.Interface)
			}
		}
	}
	return out
}

func kernelServices() (n int) {
	f, err := os.Open("/proc/net/ip_vs")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if p, _, _ := strings.Cut(lines.Text(), " "); slices.Contains([]string{"TCP", "UDP", "SCTP", "FWM"}, p) {
			n++
		}
	}
	return n
}

// dropChains lists nftables' chains that drop by policy where packets come in or pass.
func dropChains() []string {
	c, err := nftables.New()
	if err != nil {
		return nil
	}
	chains, err := c.ListChains()
	if err != nil {
		return nil
	}
	hooks := map[nftables.ChainHook]string{*nftables.ChainHookPrerouting: "prerouting", *nftables.ChainHookInput: "input", *nftables.ChainHookOutput: "output"}
	var out []string
	for _, ch := range chains {
		if ch.Hooknum == nil || ch.Policy == nil || *ch.Policy != nftables.ChainPolicyDrop || ch.Table == nil {
			continue
		}
		if hook := hooks[*ch.Hooknum]; hook != "" {
			out = append(out, fmt.Sprintf("nftables %s %s (hook %s)", ch.Table.Name, ch.Name, hook))
		}
	}
	return out
}

// offload asks ethtool for an interface's driver and whether it leaves checksums to a device.
func offload(name string) (driver string, tx bool) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", false
	}
	defer unix.Close(fd)
	info, err := unix.IoctlGetEthtoolDrvinfo(fd, name)
	if err != nil {
		return "", false
	}
	return unix.ByteSliceToString(info.Driver[:]), txChecksum(fd, name)
}
