package vm

import (
	_ "embed"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vipd/internal/need"
	"vipd/internal/vm"
)

//go:embed testdata/own.sh
var ownScript string

// ownFiles are what kernels under the tests may lack: ipvlans, and tunnels of routes.
var ownFiles = map[string]string{
	"ipvlan":         "use_ipvlan 10.9.0.5/24\nvirtual_ipaddress {\n10.9.0.9/24\n10.9.0.10\n}",
	"ipvlan-private": "use_ipvlan mine 10.9.0.5 private\nvirtual_ipaddress {\n10.9.0.9/24\n}\nvirtual_ipaddress_excluded {\nfd00:9::9/64\n}",
	"ipvlan-v6":      "use_ipvlan vepa fd00:9::5/64\nvirtual_ipaddress {\nfe80::9/64\nfd00:9::9/64\n}",
	"ipvlan-v6-bare": "use_ipvlan\nvirtual_ipaddress {\nfe80::9/64\n}",
	"encap": "virtual_ipaddress {\n10.9.0.9/24\n}\nvirtual_routes {\n" +
		"10.1.0.0/24 via 10.9.0.2 dev eth0 encap mpls 100/0x10\n" +
		"fd01::/64 via fd00:9::2 dev eth0 encap mpls 16\n" +
		"10.3.0.0/24 via 10.9.0.2 dev eth0 encap ip id 7 dst 192.0.2.1 ttl 9\n" +
		"fd02::/64 via fd00:9::2 dev eth0 encap ip6 dst 2001:db8::1 hoplimit 9\n}",
}

// TestInterfacesOfItsOwnAreThoseOfKeepalived compares hosts on Linux 6.1 that keepalived and vipd have made their own; a VRF has
// a keepalived outside of it, and services are in another namespace than VRRP.
func TestInterfacesOfItsOwnAreThoseOfKeepalived(t *testing.T) {
	need.QEMU(t)
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "vipd")
	buildProgram(t, binary)
	texts := map[string]string{
		"/vm/vrf/peer.conf": ownFile("priority 150\ninterface eth0\nunicast_src_ip 10.9.0.2\nunicast_peer {\n10.9.0.1\n}\nvirtual_ipaddress {\n10.9.0.9/24\n}"),
		"/vm/vrf/dir.conf":  ownFile("priority 100\nvrf blue\nunicast_src_ip 10.9.0.1\nunicast_peer {\n10.9.0.2\n}\nvirtual_ipaddress {\n10.9.0.9/24 dev eth0\n}"),
		"/vm/ipvs/ns.conf": "global_defs {\nlvs_sysctl expire_nodest_conn 1\n}\nnet_namespace here\nnet_namespace_ipvs there\n" +
			"virtual_server 10.9.0.9 80 {\nlb_kind DR\nlb_algo wrr\nprotocol TCP\nreal_server 10.9.0.11 80 {\nweight 3\n}\nreal_server 10.9.0.12 80 {\nweight 1\n}\n}\n",
	}
	files := maps.Clone(ownFiles)
	if os.Getenv("VIPD_MATRIX") == "" { // make matrix plays them all
		files = map[string]string{"ipvlan": ownFiles["ipvlan"]}
	} else {
		texts["/vm/whole"] = ""
	}
	for name, body := range files {
		texts["/vm/conf/"+name+".conf"] = ownFile("state MASTER\npriority 255\ninterface eth0\n" + body)
	}
	result, err := vm.Run(t.Context(), vm.Config{Script: ownScript, Tools: []string{need.Tool(t, "keepalived"), "ip", "ipvsadm", need.Tool(t, "tcpdump")}, Limit: 9 * time.Minute,
		Modules: []string{"ipvlan", "mpls_router", "mpls_iptunnel", "vrf"}, Files: map[string]string{"/vm/vipd": binary}, Texts: texts, Output: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	if result.Status != 0 || !strings.HasSuffix(result.Output, "done\n") {
		t.Errorf("exit status %d", result.Status)
	}
	if _, whole := texts["/vm/whole"]; whole && !strings.Contains(result.Output, "vrf: played\n") {
		t.Error("the VRF was not played")
	}
	said := func(name string) string { return string(result.Files[name]) }
	for name := range files {
		for _, when := range []string{"", ".after"} {
			if theirs, ours := said(name+".theirs"+when), said(name+".ours"+when); theirs != ours || theirs == "" {
				t.Errorf("%s%s: keepalived's host has\n%s\nvipd's has\n%s\nit says\n%s\n%s", name, when, theirs, ours, said(name+".theirs.log"), said(name+".ours.log"))
			}
		}
	}
	for _, when := range []string{"", ".after"} {
		if theirs, ours := said("ipvs.theirs"+when), said("ipvs.ours"+when); theirs != ours || when == "" && !strings.Contains(theirs, "10.9.0.12:80") {
			t.Errorf("services%s: keepalived's are\n%s\nvipd's are\n%s\nit says\n%s\n%s", when, theirs, ours, said("ipvs.theirs.log"), said("ipvs.ours.log"))
		}
	}
}

func ownFile(body string) string {
	return "vrrp_instance VI_1 {\nvirtual_router_id 51\nadvert_int 1\n" + body + "\n}\n"
}
