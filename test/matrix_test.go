package test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// wholeMatrix has every pair played, also two keepalived, and not only vipd beside keepalived: "whole", which make matrix
// sets, or some of the modes, with commas.
var wholeMatrix = os.Getenv("VIPD_MATRIX")

// wire is a way in which two routers speak to each other.
type wire struct {
	name    string
	lines   string // of the instance, the same on both sides
	sides   [2]string
	v3      bool
	v6      bool
	unicast bool
	own     bool // keepalived 2.2.7 cannot
	grumble bool // keepalived says something about the checksums, until the one side has learnt the other's
	// astray says that two keepalived both stay master: the one with old_unicast_checksum goes on refusing what the other
	// sends. There is no judge then, and vipd beside either must come out as on any other wire.
	astray bool
}

const (
	hmacLines = `auth_hmac {
        key 1 hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
        active_key 1
    }`
	passLines = "authentication {\n        auth_type PASS\n        auth_pass secret12\n    }"
	ahLines   = "authentication {\n        auth_type AH\n        auth_pass k3y\n    }"
)

// wires is one side of the matrix: version × family × destination × authentication × checksum. The other one is modes.
var wires = []wire{
	{name: "v2"},
	{name: "v2 PASS", lines: passLines},
	{name: "v2 AH", lines: ahLines},
	{name: "v2 unicast", unicast: true},
	{name: "v2 unicast PASS", lines: passLines, unicast: true},
	{name: "v2 unicast AH", lines: ahLines, unicast: true},
	{name: "v3", v3: true},
	{name: "v3 unicast", v3: true, unicast: true},
	{name: "v3 unicast, the old checksum on one side", v3: true, unicast: true, sides: [2]string{"", "old_unicast_checksum"}, grumble: true, astray: true},
	{name: "v3 unicast, the old checksum on both sides", v3: true, unicast: true, sides: [2]string{"old_unicast_checksum", "old_unicast_checksum"}},
	{name: "v3 told PASS, which version 3 has not", v3: true, lines: passLines, grumble: true},
	{name: "v3 IPv6", v3: true, v6: true},
	{name: "v3 IPv6 unicast", v3: true, v6: true, unicast: true},
	{name: "v3 HMAC", lines: hmacLines, v3: true, own: true},
	{name: "v3 IPv6 unicast HMAC", lines: hmacLines, v3: true, v6: true, unicast: true, own: true},
	{name: "v3, the message's checksum on one side", v3: true, sides: [2]string{"v3_checksum_as_v2", ""}, own: true},
}

// quick are the cells that CI plays: by wire, the mode.
var quick = map[string]string{
	"v2 AH": "preempt", "v2 unicast PASS": "nopreempt", "v3": "preempt_delay", "v3 unicast, the old checksum on one side": "preempt",
	"v3 IPv6": "nopreempt", "v3 IPv6 unicast": "preempt", "v3 HMAC": "preempt", "v3, the message's checksum on one side": "preempt",
}

// interval is short where the version can carry it.
func (w *wire) interval() time.Duration {
	if w.v3 {
		return 400 * time.Millisecond
	}
	return time.Second
}

// down is how long a backup waits.
func (w *wire) down(priority int) time.Duration {
	unit := time.Second
	if w.v3 {
		unit = w.interval()
	}
	return 3*w.interval() + time.Duration(256-priority)*unit/256
}

// config is the file of one side; extra are further lines of its instance. An IPv6 instance holds the address that is
// watched as an excluded one.
func (w *wire) config(side, priority int, extra ...string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "    "+format+"\n", args...) }
	b.WriteString("vrrp_instance VI_1 {\n")
	line("interface eth0\n    virtual_router_id 51\n    priority %d\n    state BACKUP", priority)
	line("advert_int %g", w.interval().Seconds())
	if w.v3 {
		line("version 3")
	}
	if w.unicast {
		from, to := fmt.Sprintf("10.9.0.%d", 1+side), fmt.Sprintf("10.9.0.%d", 2-side)
		if w.v6 {
			from, to = fmt.Sprintf("fd00:9::%d", 1+side), fmt.Sprintf("fd00:9::%d", 2-side)
		}
		line("unicast_src_ip %s\n    unicast_peer {\n        %s\n    }", from, to)
	}
	for _, more := range append([]string{w.lines, w.sides[side]}, extra...) {
		if more != "" {
			line("%s", more)
		}
	}
	if w.v6 {
		line("virtual_ipaddress {\n        fe80::9/64\n        fd00:9::9/64\n    }")
		line("virtual_ipaddress_excluded {\n        %s/24\n    }", peerVIP)
	} else {
		line("virtual_ipaddress {\n        %s/24\n    }", peerVIP)
	}
	b.WriteString("}\n")
	return b.String()
}

// enableIPv6 gives the nodes IPv6, which a laboratory is without: link-local addresses, and fd00:9::1 and fd00:9::2. It
// waits until they can be used: the kernel makes the route of multicasts and looks for duplicates when it gets to it, and a
// program that binds an address before that gives up (BIRD does).
func (p *pair) enableIPv6(t *testing.T) {
	t.Helper()
	for i, host := range []string{"a", "b"} {
		inside(t, p.lab.Namespace(host), func() error {
			for name, value := range map[string]string{"accept_dad": "0", "disable_ipv6": "0"} {
				if err := os.WriteFile("/proc/sys/net/ipv6/conf/eth0/"+name, []byte(value), 0o644); err != nil {
					return err
				}
			}
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			addr, err := netlink.ParseAddr(fmt.Sprintf("fd00:9::%d/64", 1+i))
			if err != nil {
				return err
			}
			return netlink.AddrAdd(link, addr)
		})
		ns := p.lab.Namespace(host)
		eventually(t, 30*time.Second, "IPv6 of host "+host+" is ready", func() bool {
			addrs := script(t, 0, "ip -n "+ns+" -6 addr show dev eth0")
			return strings.Contains(addrs, "fe80:") && strings.Contains(addrs, "fd00:9:") && !strings.Contains(addrs, "tentative") &&
				strings.Contains(script(t, 0, "ip -n "+ns+" -6 route show table all type multicast dev eth0"), "ff00::/8")
		})
	}
}
