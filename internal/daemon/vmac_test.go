package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"

	"vipd/internal/conf"
	"vipd/internal/host"
)

// plannedOf says what a file makes on a host with these interfaces: "NAME on PARENT MAC" each, and for each instance by
// what its adverts leave and where its addresses stand.
func plannedOf(t *testing.T, file string, have []host.VMAC, names ...string) (vmacs []string, stands map[string]string) {
	t.Helper()
	cfg, _, diags := conf.Load(fstest.MapFS{"t.conf": {Data: []byte(file)}}, "t.conf", conf.Options{})
	if cfg == nil {
		t.Fatal(diags)
	}
	for _, v := range planVMACs(cfg, have, names) {
		vmacs = append(vmacs, fmt.Sprintf("%s on %s %s", v.Name, v.Parent, v.MAC))
	}
	stands = map[string]string{}
	for _, c := range cfg.Instances {
		said := []string{"wire " + c.Wire}
		for _, a := range slices.Concat(c.VIPs, c.Excluded) {
			said = append(said, a.Prefix.Addr().String()+" "+a.Dev)
		}
		stands[c.Name] = strings.Join(said, ", ")
	}
	return vmacs, stands
}

func instanceText(name, vrid, body string) string {
	return "vrrp_instance " + name + " {\n interface eth0\n virtual_router_id " + vrid + "\n" + body + "\n}\n"
}

func TestVMACsAreNamedAsKeepalivedNamesThem(t *testing.T) {
	v4, v6 := " virtual_ipaddress {\n 10.0.0.9\n }", " virtual_ipaddress {\n fe80::9\n }"
	for name, c := range map[string]struct {
		file  string
		have  []host.VMAC
		names []string
		want  []string
	}{
		"IPv4 and IPv6 of one VRID": {
			file: instanceText("A", "51", " use_vmac\n"+v4) + instanceText("B", "51", " use_vmac\n"+v6),
			want: []string{"vrrp.51 on eth0 00:00:5e:00:01:33", "vrrp6.51 on eth0 00:00:5e:00:02:33"},
		},
		"a name of its own, and a MAC address with the VRID": {
			file: instanceText("A", "51", " use_vmac mine 02:00:00:00:aa\n"+v4),
			want: []string{"mine on eth0 02:00:00:00:aa:33"},
		},
		"a name that others have": {
			file:  instanceText("A", "51", " use_vmac\n"+v4),
			names: []string{"vrrp.51", "vrrp1.51"},
			want:  []string{"vrrp2.51 on eth0 00:00:5e:00:01:33"},
		},
		"one that a process before has left": {
			file:  instanceText("A", "51", " use_vmac\n"+v4),
			have:  []host.VMAC{{Name: "old.51", Parent: "eth0", MAC: host.MAC{0, 0, 0x5e, 0, 1, 51}}},
			names: []string{"old.51"},
			want:  []string{"old.51 on eth0 00:00:5e:00:01:33"},
		},
		"prefixes, the long one cut": {
			file: "global_defs {\n vmac_prefix averylongprefix\n vmac_addr_prefix x\n}\n" + instanceText("A", "51", " use_vmac\n virtual_ipaddress {\n 10.0.0.9\n 10.1.0.9 dev eth1 use_vmac\n }"),
			want: []string{"averylongpre.51 on eth0 00:00:5e:00:01:33", "x.51 on eth1 00:00:5e:00:01:33"},
		},
		"none": {file: instanceText("A", "51", v4)},
	} {
		t.Run(name, func(t *testing.T) {
			if got, _ := plannedOf(t, c.file, c.have, append(c.names, "lo", "eth0", "eth1")...); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestAddressesStandOnTheVMACThatIsTheirs(t *testing.T) {
	body := " virtual_ipaddress {\n 10.0.0.9\n 10.0.0.10 dev eth0\n 10.1.0.9 dev eth1\n }\n virtual_ipaddress_excluded {\n fd00::9\n }"
	for kind, want := range map[string]string{
		" use_vmac\n":                          "wire vrrp.51, 10.0.0.9 vrrp.51, 10.0.0.10 vrrp.51, 10.1.0.9 eth1, fd00::9 ",
		" use_vmac\n vmac_xmit_base\n":         "wire , 10.0.0.9 vrrp.51, 10.0.0.10 vrrp.51, 10.1.0.9 eth1, fd00::9 ",
		" use_vmac_addr\n":                     "wire , 10.0.0.9 , 10.0.0.10 eth0, 10.1.0.9 vrrp.51, fd00::9 vrrp6.51",
		" use_vmac\n use_vmac_addr\n":          "wire vrrp.51, 10.0.0.9 vrrp.51, 10.0.0.10 vrrp.51, 10.1.0.9 vrrp1.51, fd00::9 vrrp6.51",
		" advert_int 1\n dont_track_primary\n": "wire , 10.0.0.9 , 10.0.0.10 eth0, 10.1.0.9 eth1, fd00::9 ",
	} {
		if _, stands := plannedOf(t, instanceText("A", "51", kind+body), nil, "eth0", "eth1"); stands["A"] != want {
			t.Errorf("%q: %s, want %s", kind, stands["A"], want)
		}
	}
}

func TestAnIPVLANIsTakenOverByItsKindAndAddress(t *testing.T) {
	left := host.VMAC{Name: "vrrp.51", Parent: "eth0", IPVLAN: "bridge", Addr: netip.MustParseAddr("10.0.0.5")}
	v4, v6 := "\n virtual_ipaddress {\n 10.0.0.9\n }", "\n virtual_ipaddress {\n fe80::9\n }"
	for line, want := range map[string]string{
		" use_ipvlan 10.0.0.5/24" + v4:           "vrrp.51 10.0.0.5/24 bridge",
		" use_ipvlan 10.0.0.6" + v4:              "vrrp1.51 10.0.0.6/32 bridge",
		" use_ipvlan private 10.0.0.5" + v4:      "vrrp1.51 10.0.0.5/32 private",
		" use_ipvlan mine 10.0.0.5 vepa" + v4:    "mine 10.0.0.5/32 vepa",
		" use_ipvlan" + v6:                       "vrrp6.51 invalid Prefix bridge",
		" use_ipvlan fd00::5/64" + v6:            "vrrp6.51 fd00::5/64 bridge",
		" use_ipvlan vrrp.51" + v6:               "vrrp.51 invalid Prefix bridge",
		" use_ipvlan 10.0.0.5 use_vmac_not" + v4: "use_vmac_not 10.0.0.5/32 bridge",
	} {
		cfg, _, _ := conf.Load(fstest.MapFS{"t.conf": {Data: []byte(instanceText("A", "51", line))}}, "t.conf", conf.Options{})
		plan := planVMACs(cfg, []host.VMAC{left}, []string{"eth0", "vrrp.51"})
		if len(plan) != 1 {
			t.Fatalf("%q: %d interfaces", line, len(plan))
		}
		c := cfg.Instances[0]
		if got := plan[0].Name + " " + plan[0].own.String() + " " + plan[0].IPVLAN; got != want || c.Wire != plan[0].Name || c.Own != c.Wire || c.VIPs[0].Dev != "" || (c.SourceOn != "") == plan[0].own.IsValid() && c.V6 {
			t.Errorf("%q: %s, adverts by %s, the address on %s", line, got, c.Wire, c.VIPs[0].Dev)
		}
	}
}

func TestAnInstanceOfARoutingDomainListensThere(t *testing.T) {
	file := "vrrp_instance A {\n vrf blue\n virtual_router_id 51\n unicast_src_ip 10.0.0.1\n unicast_peer {\n 10.0.0.2\n }\n virtual_ipaddress {\n 10.0.0.9 dev eth0\n }\n}\n"
	cfg, _, diags := conf.Load(fstest.MapFS{"t.conf": {Data: []byte(file)}}, "t.conf", conf.Options{})
	if cfg == nil {
		t.Fatal(diags)
	}
	want := host.Endpoint{VRF: "blue", Local: netip.MustParseAddr("10.0.0.1")}
	if got := endpoint(cfg.Instances[0]); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestExtraAnnouncementsAreOnInterfacesThatSendNoAdverts(t *testing.T) {
	body := " virtual_ipaddress {\n 10.0.0.9\n 10.1.0.9 dev eth1 use_vmac\n 10.1.0.10 dev eth1 use_vmac\n 10.2.0.9 dev eth2\n }"
	for line, want := range map[string]string{
		" use_vmac\n garp_extra_if 60\n":     "1m0s [{vrrp1.51 10.1.0.9}]",
		" use_vmac\n garp_extra_if all 60\n": "1m0s [{vrrp1.51 10.1.0.9} {eth2 10.2.0.9}]",
		" use_vmac\n":                        "0s [{vrrp1.51 10.1.0.9}]",
	} {
		cfg, _, _ := conf.Load(fstest.MapFS{"t.conf": {Data: []byte(instanceText("A", "51", line+body))}}, "t.conf", conf.Options{})
		extraAnnouncements(cfg, planVMACs(cfg, nil, []string{"eth0", "eth1", "eth2"}))
		if got := fmt.Sprint(cfg.Instances[0].GarpExtra, " ", cfg.Instances[0].GarpExtraTo); got != want {
			t.Errorf("%q: %s, want %s", line, got, want)
		}
	}
}

// What makes an interface anew is in the goroutine that serves, and comes of what the host tells.
func TestAVMACThatIsDeletedIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHost()
		h.links = map[string]bool{"eth0": true}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		d := &daemon{host: h, events: quiet(t, new(journal)), orders: make(chan func()), ctx: ctx}
		d.raised.vmacs = []vmac{{VMAC: host.VMAC{Name: "vrrp.51", Parent: "eth0"}, instance: "VI_1", v6: true}}
		d.noteVMACs()
		d.linkChanged(host.LinkEvent{Link: host.Link{Name: "eth7"}, Gone: true})
		d.linkChanged(host.AddressEvent{Gone: true})
		synctest.Wait()
		select {
		case <-d.orders:
			t.Fatal("something was ordered")
		default:
		}
		d.linkChanged(host.LinkEvent{Link: host.Link{Name: "vrrp.51"}, Gone: true})
		h.missing = map[string]bool{"vrrp.51": true}
		(<-d.orders)()
		if got := strings.Join(h.notes, "; "); !strings.HasPrefix(got, "make vrrp.51; ") || !strings.HasSuffix(got, "; up vrrp.51") {
			t.Errorf("%s", got)
		}
		// Without what carries it there is nothing to be done; what is there stays as it is.
		for _, gone := range []map[string]bool{{"vrrp.51": true, "eth0": true}, nil} {
			h.notes, h.missing = nil, gone
			d.linkChanged(host.LinkEvent{Link: host.Link{Name: "eth0"}, Gone: gone != nil})
			if (<-d.orders)(); len(h.notes) > 0 {
				t.Errorf("without %v: %q", gone, h.notes)
			}
		}
		cancel()
		d.wg.Wait()
	})
}
