package conf

import (
	"fmt"
	"testing"
)

// Rules that only show in files as people write them.
func TestRulesOfRealFilesAreKeepalivedsToo(t *testing.T) {
	o := newOracle(t)
	const other = "vrrp_instance B {\ninterface eth0\nvirtual_router_id 6\nvirtual_ipaddress { 10.0.0.10 }\n}\n"
	page := func(check, url string) string {
		return fmt.Sprintf(aReal, "HTTP_GET {\n"+check+"\nurl {\npath /\n"+url+"\n}\n}")
	}
	for _, text := range []string{
		// A command for a shell is not looked for.
		"vrrp_script s {\nscript \"</dev/tcp/127.0.0.1/80\"\nweight 2\n}\n" + fmt.Sprintf(anInstance, "track_script {\ns\n}"),
		"vrrp_script s {\nscript </dev/tcp/127.0.0.1/80\n}\nvrrp_script t {\nscript \"/bin/nope x\"\n}\n" + fmt.Sprintf(anInstance, "track_script {\ns\nt weight 3\n}"),
		"vrrp_script s {\nscript \"< /dev/tcp/127.0.0.1/80\"\n}\nvrrp_script t {\nscript <x\n}\n" + fmt.Sprintf(anInstance, "track_script {\ns\nt\n}"),
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
