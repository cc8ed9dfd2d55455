package conf

import (
	"fmt"
	"strings"
	"testing"
)

// Rules that only show in files as people write them.
func TestRulesOfRealFilesAreKeepalivedsToo(t *testing.T) {
	o := newOracle(t)
	const other = "vrrp_instance B {\ninterface eth0\nvirtual_router_id 6\nvirtual_ipaddress { 10.0.0.10 }\n}\n"
	page := func(check, url string) string {
		return fmt.Sprintf(aReal, "HTTP_GET {\n"+check+"\nurl {\npath /\n"+url+"\n}\n}")
	}
	twins := func(a, b string) string {
		const form = "vrrp_instance %s {\ninterface eth0\nvirtual_router_id 5\nunicast_peer { 10.0.0.2 }\nvirtual_ipaddress { 10.0.0.9 }\n%s\n}\n"
		return fmt.Sprintf(form, "A", a) + fmt.Sprintf(form, "B", b)
	}
	for _, text := range []string{
		// A command for a shell is not looked for.
		"vrrp_script s {\nscript \"</dev/tcp/127.0.0.1/80\"\nweight 2\n}\n" + fmt.Sprintf(anInstance, "track_script {\ns\n}"),
		"vrrp_script s {\nscript </dev/tcp/127.0.0.1/80\n}\nvrrp_script t {\nscript \"/bin/nope x\"\n}\n" + fmt.Sprintf(anInstance, "track_script {\ns\nt weight 3\n}"),
		"vrrp_script s {\nscript \"< /dev/tcp/127.0.0.1/80\"\n}\nvrrp_script t {\nscript <x\n}\n" + fmt.Sprintf(anInstance, "track_script {\ns\nt\n}"),
		// Instances with one VRID and a peer in common, as far as their adverts come from one address.
		twins("", ""), twins("unicast_src_ip 10.0.0.1", ""), twins("", "unicast_src_ip 10.0.0.77"), twins("unicast_src_ip 10.0.0.77", "unicast_src_ip 10.0.0.77"), twins("use_vmac", "use_vmac"),
		twins("use_ipvlan 10.0.0.1", ""), twins("", "use_vmac\nvmac_xmit_base"), strings.ReplaceAll(twins("", ""), "eth0", "eth0p"), strings.ReplaceAll(twins("", "unicast_src_ip 10.0.0.3"), "eth0", "eth0p"),
		// No command at all.
		"vrrp_script s {\nscript \"\"\n}\n" + fmt.Sprintf(anInstance, "track_script {\ns\n}"), "vrrp_script s {\nscript /bin/true\nscript \" \"\n}\n" + fmt.Sprintf(anInstance, "track_script {\ns\n}"),
		page("virtualhost", ""), page("http_protocol", ""), page("", "virtualhost"), page("", "regex"), page("", "digest"), page("connect_timeout", ""),
		fmt.Sprintf(anInstance, "use_ipvlan [[name] <INTERFACE_NAME>] [IP_ADDRESS] [bridge]"), fmt.Sprintf(anInstance, "use_vmac v1\nuse_ipvlan v2"), fmt.Sprintf(anInstance, "use_ipvlan v2\nuse_vmac v1"),
		fmt.Sprintf(anInstance, "use_vmac v1\nuse_vmac v1"), fmt.Sprintf(anInstance, "use_vmac v1") + "vrrp_instance B {\ninterface eth0\nvirtual_router_id 6\nuse_vmac v1\nvirtual_ipaddress { 10.0.0.10 }\n}\n",
		// The lines of a refused block whose brace is missing belong to the block before.
		"vrrp_instance\ninterface nope\n", other + "vrrp_instance\npriority 999\ninterface nope\n", other + "vrrp_instance B\npriority 999\nvirtual_ipaddress { 10.0.0.11 }\n}\n",
		other + "vrrp_sync_group G {\ngroup {\nB\n}\n}\nvrrp_sync_group\ngroup {\nx\n}\nnotify_master x\n",
	} {
		if diff, ok := o.same(text); !ok {
			t.Errorf("%s\n(-keepalived +here):\n%s", text, diff)
		}
	}
}
