package doctor

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"vipd/internal/realserver"
)

func codes(all []realserver.Finding) []string {
	out := []string{}
	for _, f := range all {
		out = append(out, f.Code)
	}
	return out
}

// wellReal are the facts of a real server that is well.
func wellReal(m realserver.Method, vip string) Real {
	open := Answer{Verdict: Open, MSS: 1460}
	r := Real{Service: "web", Addr: netip.MustParseAddrPort("10.0.8.13:80"), Port: 80, HopMTU: 1500, MAC: [6]byte{2, 0, 0, 0, 0, 13}, Way: "dev eth0",
		Need: realserver.Need{VIPs: []netip.Addr{netip.MustParseAddr(vip)}, Method: m}, Own: open, OwnEcho: open, VIP: open, VIPEcho: open, Complete: 9, Opening: 9}
	if r.vip().Is6() {
		r.VIP.MSS = 1440
	}
	switch m {
	case realserver.TUN:
		r.Need.Tunnel, r.Inner, r.Large = "ipip", open, open
	case realserver.NAT:
		r.Need.Directors = []netip.Addr{netip.MustParseAddr("10.0.8.9")}
		r.VIP, r.VIPEcho, r.Back = Answer{}, Answer{}, open
	}
	return r
}

// TestEveryFaultOfARealServerHasARow: what is otherwise than well, and the one finding that follows.
func TestEveryFaultOfARealServerHasARow(t *testing.T) {
	dr, tun, nat := realserver.DR, realserver.TUN, realserver.NAT
	silent, closed, bounced := Answer{Verdict: Silent}, Answer{Verdict: Closed}, Answer{Verdict: Bounced}
	refused, filtered, protocol := Answer{Verdict: Refused, Note: "host unreachable"}, Answer{Verdict: Refused, Filtered: true}, Answer{Verdict: Refused, NoProtocol: true}
	rows := map[string]struct {
		method realserver.Method
		fault  func(*Real)
		want   string
	}{
		"well, DR": {dr, func(*Real) {}, ""}, "well, TUN": {tun, func(*Real) {}, ""}, "well, NAT": {nat, func(*Real) {}, ""},
		"no neighbour":       {dr, func(r *Real) { r.Hop = "no neighbour" }, NoNeighbour},
		"the server is down": {dr, func(r *Real) { r.Own, r.VIP = closed, closed }, Down},
		"the host is down": {tun, func(r *Real) {
			r.Own, r.OwnEcho, r.VIP, r.VIPEcho, r.Inner, r.Large = silent, silent, silent, silent, silent, silent
		}, Down},
		"a firewall for all addresses":        {nat, func(r *Real) { r.Own, r.Back = silent, silent }, Firewall},
		"a firewall that says so":             {dr, func(r *Real) { r.Own = filtered }, Firewall},
		"no VIP, and it is silent":            {dr, func(r *Real) { r.VIP, r.VIPEcho = silent, silent }, realserver.VIPMissing},
		"no VIP, and it sends on":             {dr, func(r *Real) { r.VIP, r.VIPEcho = bounced, bounced }, realserver.VIPMissing},
		"no VIP, the echo comes back":         {dr, func(r *Real) { r.VIP, r.VIPEcho = silent, bounced }, realserver.VIPMissing},
		"no VIP, and it says so":              {dr, func(r *Real) { r.VIP, r.VIPEcho = refused, silent }, realserver.VIPMissing},
		"a firewall for the VIP":              {dr, func(r *Real) { r.VIP = silent }, Firewall},
		"a firewall for the VIP that says so": {tun, func(r *Real) { r.VIP = filtered }, Firewall},
		"a firewall that says port":           {dr, func(r *Real) { r.VIP = Answer{Verdict: Refused, Note: "port unreachable"} }, Firewall},
		"nobody at the VIP":                   {dr, func(r *Real) { r.VIP = closed }, realserver.NoListener},
		"echoes are dropped":                  {dr, func(r *Real) { r.OwnEcho, r.VIPEcho = silent, silent }, ""},
		"hanging handshakes":                  {dr, func(r *Real) { r.Complete, r.Opening = 0, 3 }, realserver.RPFilter},
		"two hanging handshakes":              {dr, func(r *Real) { r.Complete, r.Opening = 0, 2 }, ""},
		"no decapsulator":                     {tun, func(r *Real) { r.VIP, r.VIPEcho, r.Inner, r.Large = protocol, protocol, protocol, protocol }, realserver.NoDecap},
		"all of the tunnel vanishes":          {tun, func(r *Real) { r.VIP, r.VIPEcho, r.Inner, r.Large = silent, silent, silent, silent }, TunnelSilent},
		"unpacked, and no VIP":                {tun, func(r *Real) { r.VIP, r.VIPEcho, r.Large = silent, silent, silent }, realserver.VIPMissing},
		"our decapsulator, and no VIP":        {tun, func(r *Real) { r.VIP, r.VIPEcho, r.Inner, r.Large = silent, silent, protocol, silent }, realserver.VIPMissing},
		"unpacked for the VIP alone":          {tun, func(r *Real) { r.Inner = protocol }, ""},
		"segments, behind a router":           {tun, func(r *Real) { r.Gateway = true }, realserver.TunnelMSS},
		"fitting segments, behind a router":   {tun, func(r *Real) { r.Gateway, r.VIP.MSS = true, r.Need.MSS(r.vip().Is6()) }, ""},
		"a larger MTU between":                {tun, func(r *Real) { r.Gateway, r.HopMTU = true, 1520 }, ""},
		"a small MTU between":                 {tun, func(r *Real) { r.Large, r.Fits = silent, 1400 }, PathMTU},
		"another gateway":                     {nat, func(r *Real) { r.Back = silent }, realserver.Gateway},
		"its server refuses far clients":      {nat, func(r *Real) { r.Back = closed }, ""},
		"a slow clock":                        {nat, func(r *Real) { r.HasSkew, r.Skew = true, -6*time.Second }, Clock},
		"a fair clock":                        {nat, func(r *Real) { r.HasSkew, r.Skew = true, 4*time.Second }, ""},
		"datagrams nobody answers":            {dr, func(r *Real) { r.UDP, r.Own, r.VIP = true, silent, silent }, ""},
		"datagrams, and no VIP":               {dr, func(r *Real) { r.UDP, r.Own, r.VIP, r.VIPEcho = true, silent, silent, silent }, realserver.VIPMissing},
		"datagrams nobody waits for":          {dr, func(r *Real) { r.UDP, r.VIP = true, closed }, realserver.NoListener},
	}
	for name, row := range rows {
		for _, vip := range []string{"10.0.8.9", "2001:db8:8::9"} {
			r := wellReal(row.method, vip)
			row.fault(&r)
			got := Reals([]Real{r})
			if want := strings.Fields(row.want); !slices.Equal(codes(got), want) {
				t.Errorf("%s, %s: found %v, want %v", name, vip, codes(got), want)
			}
			for _, f := range got {
				if f.What == "" || f.How == "" || len(f.Cures) == 0 || f.Subject != "10.0.8.13:80 of web" {
					t.Errorf("%s: %+v says too little", name, f)
				}
			}
		}
	}
}

func TestWhoHasAVirtualAddress(t *testing.T) {
	vip := netip.MustParseAddr("10.0.8.9")
	mac := func(n byte) [6]byte { return [6]byte{2, 0, 0, 0, 0, n} }
	claim := func(n byte) Claim { return Claim{VIP: vip, MAC: mac(n), If: "eth0"} }
	with := func(c Claim, change func(*Claim)) Claim { change(&c); return c }
	mine, master := func(c *Claim) { c.Mine = true }, func(c *Claim) { c.Master = true }
	real := func(c *Claim) { c.Real = "10.0.8.13" }
	needs := map[netip.Addr]realserver.Need{vip: {VIPs: []netip.Addr{vip}, Method: realserver.DR}}
	for name, row := range map[string]struct {
		master bool
		claims []Claim
		want   string
	}{
		"nobody":                        {true, nil, ""},
		"this director":                 {true, []Claim{with(claim(1), mine)}, ""},
		"a real server":                 {true, []Claim{with(claim(2), real)}, AnswersVIP},
		"a real server, twice":          {true, []Claim{with(claim(2), real), with(claim(2), real)}, AnswersVIP},
		"a stranger":                    {true, []Claim{claim(3)}, DuplicateVIP},
		"the master":                    {false, []Claim{with(claim(4), master)}, ""},
		"the master, whose MAC is new":  {false, []Claim{claim(4)}, ""},
		"two, and one is the master":    {false, []Claim{with(claim(4), master), claim(3)}, DuplicateVIP},
		"the master and a real server":  {false, []Claim{with(claim(4), master), with(claim(2), real)}, AnswersVIP},
		"a backup beside a real server": {false, []Claim{claim(4), with(claim(2), real)}, AnswersVIP},
		"one that tells it unasked":     {true, []Claim{with(claim(3), func(c *Claim) { c.Watched = true })}, DuplicateVIP},
	} {
		got := Claims(row.claims, needs, map[netip.Addr]bool{vip: row.master})
		if want := strings.Fields(row.want); !slices.Equal(codes(got), want) {
			t.Errorf("%s: found %v, want %v", name, codes(got), want)
		}
		for _, f := range got {
			if len(f.Cures) == 0 || f.What == "" || f.How == "" {
				t.Errorf("%s: %+v says too little", name, f)
			}
		}
	}
}

func TestTheDirectorItself(t *testing.T) {
	well := func() Self {
		return Self{Plane: "xdp", Clock: "tsc", Methods: map[string]bool{"nat": true}, Links: []Link{{Name: "eth0", Mode: "native", Driver: "ixgbe", TxChecksum: true}},
			Sysctls: map[string]string{"net.ipv4.ip_forward": "1", "net.ipv4.conf.all.send_redirects": "0", "net.core.bpf_jit_enable": "1"}}
	}
	for name, row := range map[string]struct {
		fault func(*Self)
		want  string
	}{
		"well":                      {func(*Self) {}, ""},
		"generic mode":              {func(s *Self) { s.Links[0].Mode = "generic" }, Generic},
		"a veth's checksums":        {func(s *Self) { s.Links[0].Driver = "veth" }, Offload},
		"a master without":          {func(s *Self) { s.Missing = []string{"10.0.8.9 on eth0"} }, MasterMissing},
		"IPVS and no forwarding":    {func(s *Self) { s.Plane, s.Sysctls["net.ipv4.ip_forward"] = "ipvs", "0" }, Forwarding},
		"no forwarding":             {func(s *Self) { s.Sysctls["net.ipv4.ip_forward"] = "0" }, ""},
		"redirects on one segment":  {func(s *Self) { s.SameLink, s.Sysctls["net.ipv4.conf.all.send_redirects"] = true, "1" }, Redirects},
		"redirects and no NAT":      {func(s *Self) { s.SameLink, s.Methods, s.Sysctls["net.ipv4.conf.all.send_redirects"] = true, nil, "1" }, ""},
		"interpreted":               {func(s *Self) { s.Sysctls["net.core.bpf_jit_enable"] = "0" }, JIT},
		"a slow clock source":       {func(s *Self) { s.Clock = "hpet" }, ClockSource},
		"keepalived":                {func(s *Self) { s.Daemons = []string{"keepalived (pid 7)"} }, OtherDaemon},
		"the kernel's IPVS":         {func(s *Self) { s.IPVS = 2 }, OtherIPVS},
		"the kernel's IPVS is ours": {func(s *Self) { s.IPVS, s.Plane = 2, "ipvs" }, ""},
		"checks in the daemon":      {func(s *Self) { s.Checks = Checks{Inside: true, Why: "no /proc"} }, ChecksInside},
		"a process that ended":      {func(s *Self) { s.Checks = Checks{Ends: 2, Why: "due to signal 9"} }, ChecksEnded},
		"a process with rights":     {func(s *Self) { s.Checks = Checks{Lacks: []string{"become user 65534: not permitted"}} }, ChecksMore},
		"a chain that drops":        {func(s *Self) { s.DropChain = []string{"nftables filter input (hook input)"} }, DropPolicy},
	} {
		s := well()
		row.fault(&s)
		if got, want := codes(Director(s)), strings.Fields(row.want); !slices.Equal(got, want) {
			t.Errorf("%s: found %v, want %v", name, got, want)
		}
	}
}

// TestWhoseClockIsWrong: that of the one who is alone.
func TestWhoseClockIsWrong(t *testing.T) {
	const off = -90 * time.Second
	for name, row := range map[string]struct {
		skews []time.Duration // of real servers, each a host
		want  []string        // subjects
	}{
		"all agree with this host":                {[]time.Duration{0, time.Second, -time.Second}, nil},
		"one is off":                              {[]time.Duration{0, off, 0}, []string{"10.0.8.12:80 of web"}},
		"the only one is off":                     {[]time.Duration{off}, []string{"10.0.8.11:80 of web"}},
		"two are, and not by the same":            {[]time.Duration{off, -off}, []string{"10.0.8.11:80 of web", "10.0.8.12:80 of web"}},
		"all agree with each other alone":         {[]time.Duration{off, off - time.Second, off + time.Second}, []string{"this director"}},
		"all but one agree with each other alone": {[]time.Duration{off, off, 0}, []string{"10.0.8.11:80 of web", "10.0.8.12:80 of web"}},
	} {
		var all []Real
		for i, skew := range row.skews {
			r := wellReal(realserver.NAT, "10.0.8.9")
			r.Addr, r.HasSkew, r.Skew = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 8, byte(11 + i)}), 80), true, skew
			all = append(all, r, r) // in two services
		}
		var got []string
		for _, f := range Reals(all) {
			if f.Code != Clock || !f.Warning || len(f.Cures) == 0 {
				t.Errorf("%s: %+v", name, f)
			}
			if f.Subject == "this director" && !strings.Contains(f.What, "is 1m30s from that of 3 real servers") {
				t.Errorf("%s: %s", name, f.What)
			}
			if !slices.Contains(got, f.Subject) {
				got = append(got, f.Subject)
			}
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: %q, want %q", name, got, row.want)
		}
	}
}
