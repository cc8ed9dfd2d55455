package doctor

import (
	"fmt"
	"slices"
	"strings"

	"vipd/internal/realserver"
)

// Self are the facts about the director itself.
type Self struct {
	Plane     string // xdp or ipvs
	Links     []Link
	Missing   []string          // virtual addresses that a master instance should have, and the interface: 10.0.8.9 on eth0
	Methods   map[string]bool   // of the real servers: dr, tun, nat
	SameLink  bool              // NAT: clients and real servers are on the same interface
	Sysctls   map[string]string // by name with dots
	Clock     string            // the kernel's clock source
	Daemons   []string          // other programs that do the same: keepalived, ldirectord
	IPVS      int               // services in the kernel's IPVS
	Checks    Checks
	DropChain []string // of nftables: chains that drop by policy, with their hook
}

// Checks is how the process is that reads the answers to checks. The zero value: none is needed, or it is well.
type Checks struct {
	Inside bool     // there can be none
	Ends   int      // that it came to
	Why    string   // the last one, or there is none
	Lacks  []string // what it could not give up
}

// Link is an interface of the packet path.
type Link struct {
	Name, Mode string
	Driver     string
	TxChecksum bool // it leaves checksums to a device
}

// The codes of what is found about the director itself.
const (
	Generic       = "generic-mode"
	Offload       = "checksum-offload"
	MasterMissing = "vip-not-here"
	Forwarding    = "ip-forward"
	Redirects     = "send-redirects"
	JIT           = "bpf-jit"
	ClockSource   = "clock-source"
	OtherDaemon   = "other-daemon"
	OtherIPVS     = "other-ipvs"
	DropPolicy    = "drop-policy"
	ChecksInside  = "checks-in-daemon"
	ChecksEnded   = "checks-process-ended"
	ChecksMore    = "checks-process-rights"
)

// slow are clock sources that the kernel reads by a device, for microseconds each time.
var slow = []string{"hpet", "acpi_pm", "jiffies", "pit", "refined-jiffies"}

// Director judges the director itself.
func Director(s Self) []realserver.Finding {
	var out []realserver.Finding
	add := func(warning bool, code, subject, what, how, now string) {
		out = append(out, realserver.Finding{Code: code, Subject: subject, What: what, How: how, Warning: warning, Cures: []realserver.Cure{{For: "this director", Text: now}}})
	}
	for _, l := range s.Links {
		if l.Mode == "generic" {
			add(true, Generic, l.Name, "the packet path runs in front of the host's stack, not in the driver: several times slower", "the mode of the attachment, as vipd status shows it",
				"ethtool -i "+l.Name+" # a driver with native XDP; more than one queue; an MTU that it takes in that mode")
		}
		if l.TxChecksum && (l.Driver == "veth" || l.Driver == "virtio_net") {
			add(true, Offload, l.Name, "this host's own packets leave with checksums that nobody fills in, if an XDP program sends them on", "tx-checksumming of "+l.Name+" ("+l.Driver+") is on",
				"ethtool -K "+l.Name+" tx off")
		}
	}
	for _, m := range s.Missing {
		add(false, MasterMissing, m, "this director is master and does not have it", "the addresses of the interface", "ip addr show; journalctl -u vipd | grep -i address")
	}
	if s.Methods["nat"] && s.Plane == "ipvs" && s.Sysctls["net.ipv4.ip_forward"] == "0" {
		add(false, Forwarding, "net.ipv4.ip_forward", "answers of NAT real servers are not forwarded", "it is 0", "sysctl -w net.ipv4.ip_forward=1")
	}
	if s.Methods["nat"] && s.SameLink && s.Sysctls["net.ipv4.ip_forward"] == "1" && s.Sysctls["net.ipv4.conf.all.send_redirects"] != "0" {
		add(true, Redirects, "net.ipv4.conf.all.send_redirects", "this host tells NAT real servers a shorter way to clients, which passes it by", "it is 1, and real servers and clients are on the same interface",
			"sysctl -w net.ipv4.conf.all.send_redirects=0\nfor f in /proc/sys/net/ipv4/conf/*/send_redirects; do echo 0 >$f; done")
	}
	if s.Sysctls["net.core.bpf_jit_enable"] == "0" {
		add(false, JIT, "net.core.bpf_jit_enable", "the packet path is interpreted: ten times slower", "it is 0", "sysctl -w net.core.bpf_jit_enable=1")
	}
	if slices.Contains(slow, s.Clock) {
		add(true, ClockSource, s.Clock, "reading the time takes microseconds, and adverts are late under load", "/sys/devices/system/clocksource/clocksource0/current_clocksource",
			"cat /sys/devices/system/clocksource/clocksource0/available_clocksource\necho tsc >/sys/devices/system/clocksource/clocksource0/current_clocksource # or kvm-clock, arch_sys_counter")
	}
	for _, d := range s.Daemons {
		add(false, OtherDaemon, d, "it runs here too: both set addresses and services", "the list of processes", "systemctl disable --now "+strings.Fields(d)[0])
	}
	if s.Plane == "xdp" && s.IPVS > 0 {
		add(true, OtherIPVS, "kernel IPVS", "it has services of its own; packets that the packet path passes on reach them", fmt.Sprintf("/proc/net/ip_vs has %d services", s.IPVS), "ipvsadm -ln # and, if they are nobody's: ipvsadm -C")
	}
	for _, c := range s.DropChain {
		add(true, DropPolicy, c, "it drops what no rule accepts: adverts of VRRP (protocol 112) and answers to checks need one", "the policy of the chain", "nft list ruleset # and in that chain: ip protocol 112 accept; ct state established,related accept")
	}
	if s.Checks.Inside {
		add(true, ChecksInside, "checks", "the daemon itself reads what real servers answer, with all its rights", s.Checks.Why, "ls -l /proc/self/exe; ulimit -u # the daemon starts itself once more by that link, for a process without rights")
	}
	if s.Checks.Ends > 0 {
		add(true, ChecksEnded, "checks", "the process that reads what real servers answer has ended and was started again; no verdict came of it", fmt.Sprintf("%d times, the last one: %s", s.Checks.Ends, s.Checks.Why),
			"vipd events # beside which check? An answer that ends it is a fault of vipd: please report it")
	}
	for _, l := range s.Checks.Lacks {
		add(true, ChecksMore, "checks", "the process that reads what real servers answer may do more than it should", l, "grep -E 'Uid|Cap|NoNewPrivs' /proc/$(pgrep -o vipd-checks)/status")
	}
	return out
}
