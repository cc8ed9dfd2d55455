package conf

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"vipd/internal/lb"
)

func groupFile(members, service, servers string) fstest.MapFS {
	return fstest.MapFS{"f.conf": {Data: []byte("virtual_server_group web {\n" + members + "}\nvirtual_server group web {\n" + service + servers + "}\n")}}
}

const (
	groupService = "\tlb_algo rr\n\tlb_kind DR\n\tprotocol TCP\n"
	groupServers = "\treal_server 10.0.8.12 80 {\n\t\tTCP_CHECK {\n\t\t\tconnect_timeout 3\n\t\t}\n\t}\n"
)

// TestAGroupIsAServiceForEachOfItsMembers: addresses, ranges in all their forms, networks and marks, in their order.
func TestAGroupIsAServiceForEachOfItsMembers(t *testing.T) {
	for _, row := range []struct{ members, service, want string }{
		{"10.0.8.9 80\n10.0.8.10 81\n", groupService, "[10.0.8.9]:tcp:80 [10.0.8.10]:tcp:81"},
		{"10.0.8.9-11 80\n", groupService, "[10.0.8.9]:tcp:80 [10.0.8.10]:tcp:80 [10.0.8.11]:tcp:80"},
		{"10.0.8.254-10.0.9.1 80\n", groupService, "[10.0.8.254]:tcp:80 [10.0.8.255]:tcp:80 [10.0.9.0]:tcp:80 [10.0.9.1]:tcp:80"},
		{"10.0.8.8/30 80\n", groupService, "[10.0.8.8]:tcp:80 [10.0.8.9]:tcp:80 [10.0.8.10]:tcp:80 [10.0.8.11]:tcp:80"},
		{"fwmark 7\nfwmark 8\n", "\tlb_algo rr\n\tlb_kind DR\n", "FWM 7 FWM 8"},
		{"10.0.8.9 80\nfwmark 7\n", groupService, "[10.0.8.9]:tcp:80 FWM 7"},
		{"10.0.8.9 80\n10.0.8.9 80\n", groupService, "[10.0.8.9]:tcp:80"},
		{"10.0.8.9\n", groupService + "\tpersistence_timeout 60\n", "[10.0.8.9]:tcp:0"},
		{"10.0.8.9 53\n", "\tlb_algo rr\n\tlb_kind DR\n\tprotocol UDP\n", "[10.0.8.9]:udp:53"},
	} {
		cfg, _, diags := Load(groupFile(row.members, row.service, groupServers), "f.conf", Options{})
		if len(cfg.Health.Services) != 1 {
			t.Errorf("%q: %d services, said %v", row.members, len(cfg.Health.Services), diags)
			continue
		}
		s := cfg.Health.Services[0]
		if got := strings.Trim(fmt.Sprint(s.Members), "[]"); got != strings.Trim(row.want, "[]") || s.ServiceKey != s.Members[0] || s.Name != "[web]:0" {
			t.Errorf("%q: %s, %s called %s; want %s", row.members, got, s.ServiceKey, s.Name, row.want)
		}
	}
}

func TestTheFamilyOfAMarkInAGroup(t *testing.T) {
	six := strings.ReplaceAll(groupServers, "10.0.8.12", "2001:db8::12")
	for _, row := range []struct {
		members, servers string
		v6               bool
	}{{"fwmark 7\n", groupServers, false}, {"fwmark 7\n", six, true}, {"fwmark 7 inet6\n", six, true}, {"fwmark 7 inet\n", groupServers, false}} {
		cfg, _, diags := Load(groupFile(row.members, "\tlb_algo rr\n\tlb_kind DR\n", row.servers), "f.conf", Options{})
		if len(cfg.Health.Services) != 1 || cfg.Health.Services[0].ServiceKey != (lb.ServiceKey{Mark: 7, V6: row.v6}) {
			t.Errorf("%q: %+v, said %v", row.members, cfg.Health.Services, diags)
		}
	}
}

// TestWhatAGroupLeavesOutIsSaid: a service that another has, too many, and a mark without a class.
func TestWhatAGroupLeavesOutIsSaid(t *testing.T) {
	other := "virtual_server 10.0.8.9 80 {\n" + groupService + groupServers + "}\n"
	for _, row := range []struct{ before, members, code string }{
		{other, "10.0.8.9 80\n10.0.8.10 80\n", "duplicate-service"},
		{"", "2001:db8::/64 80\n", "group-too-large"},
		{"", "fwmark 7\n", "mark-without-class"},
	} {
		servers := groupServers
		if strings.Contains(row.members, ":") {
			servers = strings.ReplaceAll(servers, "10.0.8.12", "2001:db8::12")
		}
		fsys := groupFile(row.members, groupService, servers)
		fsys["f.conf"].Data = append([]byte(row.before), fsys["f.conf"].Data...)
		diags := Check(fsys, "f.conf", Options{}).Diagnostics
		if !slices.ContainsFunc(diags, func(d Diagnostic) bool { return d.Code == row.code }) {
			t.Errorf("%q: %s is not said: %v", row.members, row.code, diags)
		}
	}
}
