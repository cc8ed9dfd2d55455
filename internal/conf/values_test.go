package conf

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vipd/internal/health"
	"vipd/internal/lb"
	"vipd/internal/vrrp"
)

// instanceWith reads an instance that has these lines too.
func instanceWith(t *testing.T, before, lines string) (vrrp.Config, []Diagnostic) {
	t.Helper()
	c, d := load(t, before+"vrrp_instance A {\ninterface eth0\nvirtual_router_id 5\n"+lines+"\n}\n")
	if len(c.Instances) != 1 {
		t.Fatalf("%d instances; %v", len(c.Instances), d)
	}
	return c.Instances[0], d
}

func TestInstanceValues(t *testing.T) {
	const vip = "virtual_ipaddress { 10.0.0.9 }\n"
	for _, c := range []struct {
		name, before, lines string
		got                 func(v vrrp.Config) any
		want                any
		codes               string
	}{
		{"the last value wins", "", vip + "priority 7\npriority 9", func(v vrrp.Config) any { return v.Priority }, uint8(9), ""},
		{"a bad priority is 100, whatever stood before", "", vip + "priority 7\npriority x", func(v vrrp.Config) any { return v.Priority }, uint8(100), "bad-value"},
		{"a number in quotes", "", vip + `priority "7"`, func(v vrrp.Config) any { return v.Priority }, uint8(7), ""},
		{"further words are ignored", "", vip + "priority 7 of 9", func(v vrrp.Config) any { return v.Priority }, uint8(7), ""},
		{"state MASTER without a priority owns the addresses", "", vip + "state MASTER", func(v vrrp.Config) any { return v.Priority }, uint8(255), ""},
		{"the priority is 100 otherwise", "", vip, func(v vrrp.Config) any { return v.Priority }, uint8(100), ""},
		{"a fraction of a second is rounded in version 2", "", vip + "advert_int 2.6", func(v vrrp.Config) any { return v.AdvertInt }, 3 * time.Second, "advert-int-rounded"},
		{"and kept in version 3", "", vip + "version 3\nadvert_int 0.3", func(v vrrp.Config) any { return v.AdvertInt }, 300 * time.Millisecond, ""},
		{"IPv6 is version 3", "", "virtual_ipaddress { fd00::9/64 }", func(v vrrp.Config) any { return v.Version }, uint8(3), ""},
		{"the password is cut", "", vip + "authentication {\nauth_type PASS\nauth_pass 123456789\n}", func(v vrrp.Config) any { return v.AuthPass }, "12345678", "auth-pass-cut"},
		{"a password without a type authenticates nothing", "", vip + "authentication {\nauth_pass 1234\n}", func(v vrrp.Config) any { return v.AuthPass }, "", ""},
		{"preempt_delay has fractions", "", vip + "priority 9\npreempt_delay 1.5", func(v vrrp.Config) any { return v.PreemptDelay }, 1500 * time.Millisecond, ""},
		{"no second block of announcements", "", vip + "garp_master_delay 0", func(v vrrp.Config) any { return v.GarpMasterDelay < 0 }, true, ""},
		{"announcement defaults of keepalived", "", vip, garpOf, "5s 5 0s 1 5s 5", ""},
		{"global announcement settings, and the instance's own", "global_defs {\nvrrp_garp_master_delay 2\nvrrp_garp_master_repeat 3\nvrrp_garp_master_refresh 60\n}\n",
			vip + "garp_master_repeat 4\ngarp_lower_prio_delay 7", garpOf, "2s 4 1m0s 1 7s 3", ""},
		{"global_defs may come after", "", vip + "}\nglobal_defs {\nvrrp_garp_master_repeat 3", garpOf, "5s 3 0s 1 5s 3", ""},
		{"global booleans, and the instance's own", "global_defs {\nvrrp_lower_prio_no_advert\nvrrp_higher_prio_send_advert on\n}\n", vip + "lower_prio_no_advert false",
			func(v vrrp.Config) any { return [2]bool{v.LowerPrioNoAdvert, v.HigherPrioSendAdv} }, [2]bool{false, true}, ""},
		{"a source address", "", vip + "mcast_src_ip 10.0.0.1", func(v vrrp.Config) any { return v.Source.String() }, "10.0.0.1", ""},
		{"no address is a warning", "", "", func(v vrrp.Config) any { return len(v.VIPs) }, 0, "no-vip"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, d := instanceWith(t, c.before, c.lines)
			if diff := cmp.Diff(c.want, c.got(v)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if codes(d) != c.codes {
				t.Errorf("diagnostics %v, want %q", d, c.codes)
			}
		})
	}
}

func garpOf(v vrrp.Config) any {
	return fmt.Sprint(v.GarpMasterDelay, v.GarpMasterRepeat, v.GarpMasterRefresh, v.GarpRefreshRepeat, v.GarpLowerPrioDelay, v.GarpLowerPrioRepeat)
}

func TestAddressLines(t *testing.T) {
	for line, want := range map[string]vrrp.Address{
		"10.0.0.9":    {Prefix: netip.MustParsePrefix("10.0.0.9/32")},
		"10.0.0.9/24": {Prefix: netip.MustParsePrefix("10.0.0.9/24")},
		"10.0.0.9/24 brd + dev eth1 label eth1:1 scope link": {Prefix: netip.MustParsePrefix("10.0.0.9/24"), Dev: "eth1", Label: "eth1:1",
			Scope: "link", Brd: netip.MustParseAddr("10.0.0.255")},
		"10.0.0.9 broadcast 10.0.0.127": {Prefix: netip.MustParsePrefix("10.0.0.9/32"), Brd: netip.MustParseAddr("10.0.0.127")},
		"10.0.0.9/24 brd -":             {Prefix: netip.MustParsePrefix("10.0.0.9/24")},
		"fd00::9":                       {Prefix: netip.MustParsePrefix("fd00::9/128")},
		`10.0.0.9 "dev" "eth1"`:         {Prefix: netip.MustParsePrefix("10.0.0.9/32"), Dev: "eth1"},
	} {
		for _, block := range []string{"virtual_ipaddress {\n%s\n}", "virtual_ipaddress_excluded { %s }"} {
			v, _ := instanceWith(t, "", fmt.Sprintf(block, line))
			if diff := cmp.Diff([]vrrp.Address{want}, append(v.VIPs, v.Excluded...), compare); diff != "" {
				t.Errorf("%s in %s (-want +got):\n%s", line, block, diff)
			}
		}
	}
}

// serviceWith reads a TCP service with one real server.
func serviceWith(t *testing.T, lines, real string) (health.Service, []Diagnostic) {
	t.Helper()
	c, d := load(t, "virtual_server 10.0.0.9 80 {\nprotocol tcp\nlb_algo rr\nlb_kind NAT\n"+lines+"\nreal_server 10.0.0.2 8080 {\n"+real+"\n}\n}\n")
	if len(c.Health.Services) != 1 || len(c.Health.Services[0].Reals) != 1 {
		t.Fatalf("got %+v, %v", c.Health, d)
	}
	return c.Health.Services[0], d
}

func TestServiceValues(t *testing.T) {
	timing := func(s health.Service) any {
		c := s.Reals[0].Checkers[0]
		return fmt.Sprint(c.Retry, c.DelayBeforeRetry, c.Warmup, c.ConnectTimeout, c.DelayLoop, c.Alpha)
	}
	target := func(s health.Service) any { return s.Reals[0].Checkers[0].Target.String() }
	for _, c := range []struct {
		name, lines, real string
		got               func(s health.Service) any
		want              any
	}{
		{"keepalived's defaults for a check", "", "TCP_CHECK { }", timing, "1 1s 1m0s 5s 1m0s false"},
		{"a check takes from its service", "retry 2\ndelay_before_retry 2\nwarmup 2\nconnect_timeout 2\ndelay_loop 20\nalpha", "TCP_CHECK { }", timing, "2 2s 2s 2s 20s true"},
		{"the real server counts before the service", "retry 2\nconnect_timeout 2\ndelay_loop 20\nalpha", "retry 5\nconnect_timeout 1.5\ndelay_loop 3\nalpha no\nTCP_CHECK { }", timing, "5 1s 3s 1.5s 3s false"},
		{"the check counts before both", "retry 2\ndelay_loop 20", "retry 0\nTCP_CHECK {\nretry 7\nwarmup 0\ndelay_loop 0.5\nalpha\n}", timing, "7 1s 0s 5s 500ms true"},
		{"a check goes to the real server", "", "TCP_CHECK { }", target, "10.0.0.2:8080"},
		{"or where it is told", "", "TCP_CHECK {\nconnect_ip 10.0.0.3\nconnect_port 81\n}", target, "10.0.0.3:81"},
		{"direct routing resets the port, but not that of the check", "lb_kind DR", "TCP_CHECK { }", func(s health.Service) any { return s.Reals[0].Addr.String() + " " + fmt.Sprint(target(s)) }, "10.0.0.2:80 10.0.0.2:8080"},
		{"a port to bind to alone", "", "TCP_CHECK {\nbind_port 99\n}", func(s health.Service) any { return s.Reals[0].Checkers[0].Bind.String() }, "0.0.0.0:99"},
		{"persistence without a number", "persistence_timeout", "", func(s health.Service) any { return s.Persistence }, 360 * time.Second},
		{"persistence 0 is refused", "persistence_timeout 0", "", func(s health.Service) any { return s.Persistence }, time.Duration(0)},
		{"a netmask", "persistence_granularity 255.255.255.0", "", func(s health.Service) any { return s.Wild }, uint32(0xff)},
		{"a broken netmask", "persistence_granularity 255.0.255.0", "", func(s health.Service) any { return s.Wild }, uint32(0)},
		{"a prefix length", "persistence_granularity 20", "", func(s health.Service) any { return s.Wild }, uint32(0xfff)},
		{"flags of sh", "lb_algo sh\nsh-port\nsh-fallback", "", func(s health.Service) any { return s.Flags }, lb.SchedFlag1 | lb.SchedFlag2},
		{"a weight of the service", "weight 7", "", func(s health.Service) any { return s.Reals[0].Weight }, int32(7)},
		{"weight 0", "weight 7", "weight 0", func(s health.Service) any { return s.Reals[0].Weight }, int32(0)},
		{"a method of one real server", "", "lvs_method DR", func(s health.Service) any { return s.Reals[0].Forward }, lb.Route},
		{"a tunnel", "lb_kind TUN type gue port 6080 csum", "", func(s health.Service) any { return s.Reals[0].Tunnel }, lb.TunnelOptions{Type: lb.GUE, Port: 6080, Csum: true}},
		{"inhibit_on_failure of the service, not of one", "inhibit_on_failure", "inhibit_on_failure no", func(s health.Service) any { return [2]bool{s.InhibitOnFailure, s.Reals[0].InhibitOnFailure} }, [2]bool{true, false}},
		{"a sorry server takes the service's method and port", "lb_kind DR\nsorry_server 10.0.0.5", "", func(s health.Service) any { return *s.Sorry },
			lb.Real{Addr: netip.MustParseAddrPort("10.0.0.5:80"), Forward: lb.Route, Weight: 1}},
		{"thresholds", "", "uthreshold 10\nlthreshold 5", func(s health.Service) any { return [2]uint32{s.Reals[0].Upper, s.Reals[0].Lower} }, [2]uint32{10, 5}},
		{"a check that is not performed is no check", "", "BFD_CHECK {\nname b\n}", func(s health.Service) any { return len(s.Reals[0].Checkers) }, 0},
		{"a command is a check", "", "MISC_CHECK {\nmisc_path \"/bin/true {x}\"\nmisc_dynamic\n}", func(s health.Service) any { return *s.Reals[0].Checkers[0].Script }, health.Script{Args: []string{"/bin/true", "{x}"}, Dynamic: true}},
		{"a page has its service's virtual host", "virtualhost a.example", "SSL_GET {\nurl {\npath /x\nstatus_code 204\n}\n}", func(s health.Service) any { return *s.Reals[0].Checkers[0].HTTP },
			health.HTTP{TLS: true, Protocol: "1.0", VirtualHost: "a.example", URLs: []health.URL{{Path: "/x", Codes: [][2]int{{204, 204}}}}}},
		{"a name server is asked for the root's SOA", "", "DNS_CHECK {\n}", func(s health.Service) any { return *s.Reals[0].Checkers[0].DNS }, health.DNS{Name: ".", Type: "SOA"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, d := serviceWith(t, c.lines, c.real)
			if diff := cmp.Diff(c.want, c.got(s), compare); diff != "" {
				t.Errorf("(-want +got):\n%s%v", diff, d)
			}
		})
	}
}

func TestServiceKeys(t *testing.T) {
	for head, want := range map[string]lb.ServiceKey{
		"10.0.0.9 80":     {Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.0.9:80")},
		"10.0.0.9":        {Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.0.9:0")},
		"fwmark 7":        {Mark: 7},
		"10.0.0.9 80 tcp": {Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.0.9:80")},
	} {
		c, _ := load(t, "virtual_server "+head+" {\nprotocol TCP\nreal_server 10.0.0.2 80 { }\n}\n")
		if len(c.Health.Services) != 1 || c.Health.Services[0].ServiceKey != want {
			t.Errorf("%s: %+v", head, c.Health.Services)
		}
	}
	c, _ := load(t, "virtual_server fd00::9 80 {\nprotocol TCP\nreal_server fd00::2 80 { }\n}\n")
	if len(c.Health.Services) != 1 || c.Health.Services[0].Reals[0].Addr.String() != "[fd00::2]:80" {
		t.Errorf("IPv6: %+v", c.Health.Services)
	}
}

func TestTheLanguageFile(t *testing.T) {
	c, _, d := Load(os.DirFS("testdata"), "language.conf", Options{ID: "lb1"})
	if len(d) != 0 {
		t.Errorf("diagnostics %v", d)
	}
	v := c.Instances[0]
	if got := fmt.Sprint(c.Global.RouterID, " ", v.Priority, v.VRID, v.VIPs, len(v.Excluded), v.GarpMasterRefresh); got !=
		"the router # not a comment 150 51 [{10.0.0.9/24  eth0:1  10.0.0.255 invalid IP false false false false false 0 false} {10.0.0.10/32 eth0  link invalid IP invalid IP false false false false false 0 false}] 1 1m0s" {
		t.Errorf("instance %s", got)
	}
	var reals []string
	for _, r := range c.Health.Services[0].Reals {
		reals = append(reals, fmt.Sprint(r.Addr, r.Weight, len(r.Checkers)))
	}
	if diff := cmp.Diff([]string{"10.0.0.2:8080 1 1", "10.0.0.3:8080 1 1", "10.0.0.4:8080 3 0", "10.0.0.5:8080 3 0"}, reals); diff != "" {
		t.Errorf("real servers (-want +got):\n%s", diff)
	}
}

// RFC 5881 §5: "all BFD Control packets for the session MUST be sent with a TTL or Hop Limit value of 255".
func TestTheHopLimitOfBFD(t *testing.T) {
	for _, c := range []struct {
		lines          string
		send, received int
	}{
		{"neighbor_ip 10.0.0.2", 255, 255}, {"neighbor_ip fd00::2", 255, 64},
		{"neighbor_ip 10.0.0.2\n ttl 9", 9, 9}, {"neighbor_ip fd00::2\n hoplimit 64", 64, 64}, {"neighbor_ip fd00::2\n hoplimit 255", 255, 255},
	} {
		cfg, _ := load(t, "bfd_instance b {\n "+c.lines+"\n}\n")
		if len(cfg.BFDs) != 1 || cfg.BFDs[0].SendTTL != c.send || cfg.BFDs[0].TTL != c.received {
			t.Errorf("%s: %+v", c.lines, cfg.BFDs)
		}
	}
}

func TestTheSameSeedGivesTheSameNumbers(t *testing.T) {
	priority := func(seed string) uint8 {
		c, _ := load(t, "global_defs {\n "+seed+"\n}\nvrrp_instance A {\ninterface eth0\nvirtual_router_id 5\npriority ${_RANDOM 1 250}\nvirtual_ipaddress {\n10.0.0.9\n}\n}\n")
		return c.Instances[0].Priority
	}
	same := true
	for _, n := range []string{"1", "2", "3", "4"} {
		if priority("random_seed "+n) != priority("random_seed "+n) {
			t.Errorf("seed %s gives two numbers", n)
		}
		same = same && priority("random_seed "+n) == priority("random_seed 0")
	}
	if same {
		t.Error("every seed gives the same number")
	}
}
