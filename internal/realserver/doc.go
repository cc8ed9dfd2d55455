// Package realserver knows what a real server must have for each way of forwarding, on Linux and on Windows: it judges
// what a host has (Check), says what is to be done (Plan, Files, PowerShell) and how each of it is taken back. It is pure
// text and judgement: nothing here looks at a host or changes one, so that it is the same on every system that the
// program is built for, and a director can print the cures of its real servers.
//
// It is not the doctor: that looks from a director (internal/doctor). Who gathers Facts and executes Steps is
// internal/realserver/command.
//
// Invariant: every Step names the code of the finding that it mends, and Check finds nothing on a host after Plan's steps.
package realserver

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Method is a way of forwarding, by its word in keepalived.conf, in lower case.
type Method string

// The ways of forwarding.
const (
	DR  Method = "dr"
	TUN Method = "tun"
	NAT Method = "nat"
)

// Need is what a real server is for.
type Need struct {
	VIPs      []netip.Addr
	Method    Method
	Ports     []uint16     // of the services. If empty, it is not asked who listens.
	Directors []netip.Addr // NAT: the first of a family is the gateway, best an address that moves with the director
	Tunnel    string       // ipip, gue or gre. If empty, ipip.
	TunPort   uint16       // of gue. If zero, 6080.
	Interface string       // towards the director. If empty, that of the default route.
	Decap     bool         // this program's own decapsulator, also where the kernel has a tunnel device
	// OuterMTU is that of the way between the director and here. If zero, 1500.
	OuterMTU int
}

// GUEPort is where GUE is listened for when nothing else is said.
const GUEPort = 6080

const etherMTU = 1500

// Check says what is wrong with n itself.
func (n Need) Check() error {
	switch {
	case n.Method != DR && n.Method != TUN && n.Method != NAT:
		return fmt.Errorf("method %q: want dr, tun or nat", n.Method)
	case len(n.VIPs) == 0:
		return errors.New("no virtual address: name one with --vip, or a configuration with --file")
	case n.Tunnel != "" && n.Tunnel != "ipip" && n.Tunnel != "gue" && n.Tunnel != "gre":
		return fmt.Errorf("tunnel %q: want ipip, gue or gre", n.Tunnel)
	case n.Method == NAT && len(n.Directors) == 0:
		return errors.New("method nat: name the director's address with --director, the virtual one that moves with the master")
	}
	for _, v := range n.VIPs {
		if !v.IsValid() || v.IsUnspecified() || v.IsMulticast() || v.IsLoopback() {
			return fmt.Errorf("virtual address %s: want an address that clients can use", v)
		}
	}
	return nil
}

func (n Need) tunnel() string {
	if n.Tunnel == "" {
		return "ipip"
	}
	return n.Tunnel
}

func (n Need) port() uint16 {
	if n.TunPort == 0 {
		return GUEPort
	}
	return n.TunPort
}

// overhead is what a tunnel puts in front of a packet: the outer header, that of an IPv6 real server if any is one, and what
// stands behind it.
func (n Need) overhead() int {
	bytes := map[string]int{"ipip": 0, "gue": 12, "gre": 4}[n.tunnel()] + 20
	if slices.ContainsFunc(n.Directors, netip.Addr.Is6) {
		bytes += 20
	}
	return bytes
}

// MSS is the largest segment that a real server behind a tunnel may ask clients for.
func (n Need) MSS(v6 bool) int {
	mtu := n.OuterMTU
	if mtu == 0 {
		mtu = etherMTU
	}
	if v6 {
		return mtu - n.overhead() - 60
	}
	return mtu - n.overhead() - 40
}

func (n Need) has(v6 bool) bool {
	return slices.ContainsFunc(n.VIPs, func(a netip.Addr) bool { return a.Is6() == v6 })
}

// words are n as options of the command.
func (n Need) words() string {
	var vips []string
	for _, v := range n.VIPs {
		vips = append(vips, v.String())
	}
	out := "--vip " + strings.Join(vips, ",") + " --method " + string(n.Method)
	for _, d := range n.Directors {
		out += " --director " + d.String()
	}
	if n.Method == TUN && n.tunnel() != "ipip" {
		out += " --tunnel " + n.tunnel()
	}
	if n.Interface != "" {
		out += " --interface " + n.Interface
	}
	return out
}

// host is a VIP with the length that makes it this host's alone: 32 or 128.
func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// Finding is something that is wrong.
type Finding struct {
	Code    string `json:"code"`
	Subject string `json:"subject"` // of whom: an address, a real server, an interface
	What    string `json:"what"`
	How     string `json:"how"` // it is known
	// Warning: it works, but not always.
	Warning bool   `json:"warning,omitempty"`
	Cures   []Cure `json:"cures,omitempty"`
}

// Cure is one way to mend a finding, to be copied.
type Cure struct {
	For  string `json:"for"`  // Linux, now; systemd-networkd; netplan; ifupdown; Windows Server; keepalived.conf
	Text string `json:"text"` // commands or lines, one below the other
}
