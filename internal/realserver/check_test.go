package realserver

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

var (
	vip4 = netip.MustParseAddr("10.0.8.9")
	vip6 = netip.MustParseAddr("2001:db8:8::9")
)

// well are the facts of a host that is right for n.
func well(n Need) Facts {
	f := Facts{
		Segment: "eth0",
		Links: []Link{{Name: "lo", Up: true, Loopback: true, Quiet: true, MTU: 65536}, {Name: "eth0", Kind: "veth", Up: true, MTU: 1500},
			{Name: "eth1", Up: true, MTU: 1500}, {Name: "tunl0", Kind: "ipip", Up: true, Quiet: true}},
		Sysctls:  map[string]string{"net.ipv4.conf.all.arp_ignore": "1", "net.ipv4.conf.all.arp_announce": "2", "net.ipv4.conf.all.rp_filter": "0"},
		Default4: Way{Via: netip.MustParseAddr("10.0.8.1"), Dev: "eth0", MTU: 1500}, Default6: Way{Via: netip.MustParseAddr("2001:db8:8::1"), Dev: "eth0", MTU: 1500},
		Listens: []Listen{{At: netip.IPv6Unspecified(), Port: 80}},
		Modules: map[string]bool{"ipip": true},
	}
	for _, v := range n.VIPs {
		f.Addresses = append(f.Addresses, Address{Dev: "lo", Prefix: hostPrefix(v)})
	}
	switch n.Method {
	case TUN:
		f.Default4.AdvMSS, f.Default6.AdvMSS = n.MSS(false), n.MSS(true)
		f.Decap = []Decap{{Dev: "eth0", VIPs: []netip.Addr{vip6}}} // the kernel has a device for IPv4 alone
	case NAT:
		f.Default4.Via, f.Default6.Via = n.Directors[0], n.Directors[1]
	}
	return f
}

func needs(m Method) Need {
	n := Need{VIPs: []netip.Addr{vip4, vip6}, Method: m, Ports: []uint16{80}}
	if m == NAT {
		n.Directors = []netip.Addr{netip.MustParseAddr("10.0.8.7"), netip.MustParseAddr("2001:db8:8::7")}
	}
	return n
}

// TestEveryFaultHasARow: what is done to a host that is well, and the one finding that follows.
func TestEveryFaultHasARow(t *testing.T) {
	lose := func(a netip.Addr) func(*Need, *Facts) {
		return func(_ *Need, f *Facts) {
			f.Addresses = slices.DeleteFunc(f.Addresses, func(o Address) bool { return o.Prefix.Addr() == a })
		}
	}
	set := func(name, v string) func(*Need, *Facts) {
		return func(_ *Need, f *Facts) { f.Sysctls[name] = v }
	}
	elsewhere := func(_ *Need, f *Facts) { f.Sysctls["net.ipv4.conf.eth0.rp_filter"], f.Default4.Dev = "1", "eth1" }
	rows := map[string]struct {
		method Method
		fault  func(*Need, *Facts)
		want   string
	}{
		"well, DR": {DR, func(*Need, *Facts) {}, ""}, "well, TUN": {TUN, func(*Need, *Facts) {}, ""}, "well, NAT": {NAT, func(*Need, *Facts) {}, ""},
		"no VIP":             {DR, lose(vip4), VIPMissing},
		"no VIP of IPv6":     {TUN, lose(vip6), VIPMissing},
		"VIP on the segment": {DR, func(_ *Need, f *Facts) { f.Addresses[0].Dev = "eth0" }, VIPOnSegment},
		"VIP there too": {DR, func(_ *Need, f *Facts) {
			f.Addresses = append(f.Addresses, Address{Dev: "eth0", Prefix: hostPrefix(vip6)})
		}, VIPOnSegment},
		"VIP with its network":                {DR, func(_ *Need, f *Facts) { f.Addresses[0].Prefix = netip.PrefixFrom(vip4, 24) }, VIPPrefix},
		"VIP refused":                         {DR, func(_ *Need, f *Facts) { f.Addresses[1].DADFailed = true }, VIPRefused},
		"VIP as a source":                     {DR, func(_ *Need, f *Facts) { f.Addresses[1].Preferred = true }, VIPSource},
		"answers ARP":                         {DR, set("net.ipv4.conf.all.arp_ignore", "0"), ARPIgnore},
		"answers ARP, by a word that is none": {DR, set("net.ipv4.conf.all.arp_ignore", "5"), ARPIgnore},
		"answers ARP of nobody":               {DR, set("net.ipv4.conf.all.arp_ignore", "8"), ""},
		"the interface's own": {DR, func(_ *Need, f *Facts) {
			f.Sysctls["net.ipv4.conf.all.arp_ignore"], f.Sysctls["net.ipv4.conf.eth0.arp_ignore"] = "0", "2"
		}, ""},
		"announces":                            {TUN, set("net.ipv4.conf.all.arp_announce", "1"), ARPAnnounce},
		"strict and another way":               {DR, elsewhere, RPFilter},
		"strict and no way":                    {DR, func(_ *Need, f *Facts) { f.Sysctls["net.ipv4.conf.eth0.rp_filter"], f.Default4 = "1", Way{} }, RPFilter},
		"strict and the same way":              {DR, set("net.ipv4.conf.eth0.rp_filter", "1"), ""},
		"loose":                                {DR, func(n *Need, f *Facts) { elsewhere(n, f); f.Sysctls["net.ipv4.conf.all.rp_filter"] = "2" }, ""},
		"strict on the tunnel":                 {TUN, set("net.ipv4.conf.all.rp_filter", "1"), RPFilter},
		"loose on a tunnel without an address": {TUN, set("net.ipv4.conf.all.rp_filter", "2"), RPFilter},
		"loose on a tunnel with one": {TUN, func(_ *Need, f *Facts) {
			f.Sysctls["net.ipv4.conf.all.rp_filter"], f.Addresses = "2", append(f.Addresses, Address{Dev: "tunl0", Prefix: hostPrefix(vip4)})
		}, ""},
		"the tunnel is down":    {TUN, func(_ *Need, f *Facts) { f.Links[3].Up = false }, TunnelDown},
		"no tunnel":             {TUN, func(_ *Need, f *Facts) { f.Links = f.Links[:3] }, NoDecap},
		"no decapsulator":       {TUN, func(_ *Need, f *Facts) { f.Decap = nil }, NoDecap},
		"for another address":   {TUN, func(_ *Need, f *Facts) { f.Decap[0].VIPs = nil }, NoDecap},
		"on another interface":  {TUN, func(_ *Need, f *Facts) { f.Decap[0].Dev = "eth1" }, NoDecap},
		"GUE without":           {TUN, func(n *Need, _ *Facts) { n.Tunnel, n.VIPs, n.OuterMTU = "gue", n.VIPs[:1], 9000 }, NoDecap},
		"too large":             {TUN, func(_ *Need, f *Facts) { f.Default4.AdvMSS = 0 }, TunnelMSS},
		"too large of IPv6":     {TUN, func(_ *Need, f *Facts) { f.Default6.AdvMSS++ }, TunnelMSS},
		"jumbo frames between":  {TUN, func(n *Need, f *Facts) { n.OuterMTU, f.Default4.AdvMSS, f.Default6.AdvMSS = 1600, 0, 0 }, ""},
		"another gateway":       {NAT, func(_ *Need, f *Facts) { f.Default4.Via = vip4 }, Gateway},
		"no gateway":            {NAT, func(_ *Need, f *Facts) { f.Default6 = Way{} }, Gateway},
		"nobody listens":        {DR, func(n *Need, f *Facts) { n.VIPs, f.Listens = n.VIPs[:1], nil }, NoListener},
		"listens on its own":    {DR, func(n *Need, f *Facts) { n.VIPs, f.Listens[0].At = n.VIPs[:1], netip.MustParseAddr("10.0.8.13") }, NoListener},
		"listens on IPv6 alone": {DR, func(n *Need, f *Facts) { n.VIPs, f.Listens[0].V6Only = n.VIPs[:1], true }, NoListener},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			n := needs(row.method)
			f := well(n)
			row.fault(&n, &f)
			got := codes(Check(n, f))
			if want := strings.Fields(row.want); !slices.Equal(got, want) {
				t.Errorf("found %v, want %v", got, want)
			}
			for _, found := range Check(n, f) {
				if len(found.Cures) == 0 || found.What == "" || found.How == "" || found.Subject == "" {
					t.Errorf("%+v says too little", found)
				}
			}
			if steps := Plan(n, f); (len(steps) > 0) != (row.want != "" && row.want != NoListener) {
				t.Errorf("the plan is %v", steps)
			}
		})
	}
}

func codes(all []Finding) []string {
	out := []string{}
	for _, f := range all {
		out = append(out, f.Code)
	}
	return out
}

func TestNobodyAnswersForAnAddressBeforeItIsThere(t *testing.T) {
	n := needs(DR)
	f := well(n)
	f.Addresses, f.Sysctls["net.ipv4.conf.all.arp_ignore"] = nil, "0"
	var got []string
	for _, s := range Plan(n, f) {
		got = append(got, s.String())
	}
	want := []string{"sysctl -w net.ipv4.conf.all.arp_ignore=1", "ip addr replace 10.0.8.9/32 dev lo scope host",
		"ip -6 addr replace 2001:db8:8::9/128 dev lo preferred_lft 0 nodad"}
	if !slices.Equal(got, want) {
		t.Errorf("planned\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestFilesOfEachManager(t *testing.T) {
	n := needs(TUN)
	f := well(n)
	f.Addresses, f.Decap, f.Sysctls, f.Default4.AdvMSS = nil, nil, map[string]string{}, 0
	steps := Plan(n, f)
	want := map[Manager][]string{
		Networkd: {"/etc/sysctl.d/90-vipd-realserver.conf", "/etc/systemd/network/90-vipd-realserver.network", "/etc/systemd/system/vipd-realserver.service"},
		Netplan:  {"/etc/sysctl.d/90-vipd-realserver.conf", "/etc/netplan/90-vipd-realserver.yaml", "/etc/systemd/system/vipd-realserver.service"},
		Ifupdown: {"/etc/sysctl.d/90-vipd-realserver.conf", "/etc/network/interfaces.d/vipd-realserver", "/etc/network/if-up.d/vipd-realserver"},
	}
	for m, paths := range want {
		files := Files(m, steps)
		var got []string
		for i, file := range files {
			got = append(got, file.Path)
			if has := strings.Contains(file.Text, "10.0.8.9/32") && strings.Contains(file.Text, "2001:db8:8::9/128"); has != (i == 1) {
				t.Errorf("%s: the addresses are in %s: %v\n%s", m, file.Path, has, file.Text)
			}
			if i == 2 && (!strings.Contains(file.Text, "decap --interface eth0") || !strings.Contains(file.Text, "advmss 1440")) {
				t.Errorf("%s: %s lacks a step:\n%s", m, file.Path, file.Text)
			}
		}
		if !slices.Equal(got, paths) {
			t.Errorf("%s: files %v, want %v", m, got, paths)
		}
	}
}

func TestScriptsForWindows(t *testing.T) {
	n := needs(DR)
	n.Interface = "O'Brien's net"
	for _, what := range []string{WindowsPrepare, WindowsCheck, WindowsUndo} {
		text, err := PowerShell(what, n)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"IPv4 = @('10.0.8.9'); IPv6 = @('2001:db8:8::9')", "$segment = 'O''Brien''s net'", "#Requires -RunAsAdministrator"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %q", what, want)
			}
		}
		for _, pair := range []string{"{}", "()", "[]"} {
			if strings.Count(text, pair[:1]) != strings.Count(text, pair[1:]) {
				t.Errorf("%s: %s do not match", what, pair)
			}
		}
	}
	if _, err := PowerShell(WindowsPrepare, needs(TUN)); err != ErrWindowsTunnel {
		t.Errorf("a tunnel gives %v, want %v", err, ErrWindowsTunnel)
	}
	text, err := PowerShell(WindowsPrepare, needs(NAT))
	if err != nil || !strings.Contains(text, "@('10.0.8.7')") || strings.Contains(text, "KM-TEST") {
		t.Errorf("NAT: %v\n%s", err, text)
	}
}

func TestNeedsThatCannotBe(t *testing.T) {
	for name, n := range map[string]Need{
		"method": {Method: "dnat", VIPs: []netip.Addr{vip4}}, "no VIP": {Method: DR}, "multicast": {Method: DR, VIPs: []netip.Addr{netip.MustParseAddr("224.0.0.18")}},
		"tunnel": {Method: TUN, Tunnel: "vxlan", VIPs: []netip.Addr{vip4}}, "no gateway": {Method: NAT, VIPs: []netip.Addr{vip4}},
	} {
		if n.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
