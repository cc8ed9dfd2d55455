package conf

import (
	"fmt"
	"slices"
	"testing"
	"testing/fstest"
)

// TestCheckPath: which checkers a real server gets by the word, the way of forwarding and where a check goes.
func TestCheckPath(t *testing.T) {
	const checks = "TCP_CHECK { }\nMISC_CHECK {\nmisc_path /bin/true\n}"
	for name, row := range map[string]struct{ head, service, real, checks, want string }{
		"nothing said":        {"10.0.8.9 80", "lb_kind DR", "", checks, "[TCP_CHECK MISC_CHECK]"},
		"the own address":     {"10.0.8.9 80", "lb_kind DR\ncheck_path real", "", checks, "[TCP_CHECK MISC_CHECK]"},
		"the path":            {"10.0.8.9 80", "lb_kind DR\ncheck_path vip", "", checks, "[TCP_CHECK to 10.0.8.9 through DR MISC_CHECK]"},
		"both":                {"10.0.8.9 80", "lb_kind DR\ncheck_path both", "", checks, "[TCP_CHECK TCP_CHECK to 10.0.8.9 through DR MISC_CHECK]"},
		"one real server's":   {"10.0.8.9 80", "lb_kind DR\ncheck_path both", "check_path real", checks, "[TCP_CHECK MISC_CHECK]"},
		"a tunnel":            {"10.0.8.9 80", "lb_kind TUN type gue port 6080\ncheck_path vip", "", checks, "[TCP_CHECK to 10.0.8.9 through GUE MISC_CHECK]"},
		"between families":    {"2001:db8::9 80", "lb_kind TUN\ncheck_path vip", "", checks, "[TCP_CHECK MISC_CHECK]"},
		"by NAT":              {"10.0.8.9 80", "lb_kind NAT\ncheck_path vip", "", checks, "[TCP_CHECK MISC_CHECK]"},
		"to somewhere else":   {"10.0.8.9 80", "lb_kind DR\ncheck_path vip", "", "TCP_CHECK {\nconnect_ip 10.0.8.99\n}", "[TCP_CHECK]"},
		"to another port":     {"10.0.8.9 80", "lb_kind DR\ncheck_path vip", "", "TCP_CHECK {\nconnect_port 8080\n}", "[TCP_CHECK to 10.0.8.9 through DR]"},
		"a mark":              {"fwmark 7", "lb_kind DR\ncheck_path vip", "", "TCP_CHECK {\nconnect_port 80\n}", "[TCP_CHECK] no-address"},
		"a word that is none": {"10.0.8.9 80", "lb_kind DR\ncheck_path dr", "", checks, "[TCP_CHECK MISC_CHECK] bad-value"},
	} {
		text := "virtual_server " + row.head + " {\nprotocol TCP\nlb_algo rr\n" + row.service + "\nreal_server 10.0.8.13 80 {\nweight 1\n" + row.real + "\n" + row.checks + "\n}\n}\n"
		cfg, _, diags := Load(fstest.MapFS{"f.conf": {Data: []byte(text)}}, "f.conf", Options{})
		var got []string
		for _, c := range cfg.Health.Services[0].Reals[0].Checkers {
			s := string(c.Kind)
			if c.Way != nil {
				s += " to " + c.Way.String()
			}
			got = append(got, s)
		}
		said := ""
		for _, d := range diags {
			if d.Code == "no-address" || d.Code == "bad-value" {
				said += " " + d.Code
			}
		}
		if s := fmt.Sprint(got) + said; s != row.want {
			t.Errorf("%s: %s, want %s; said %v", name, s, row.want, diags)
		}
	}
	out, exit := Test(clampedService("check_path vip"), "f.conf", host(t))
	if !slices.Contains(out, "(f.conf: Line 2) Unknown keyword 'check_path'") || exit != 5 {
		t.Errorf("as keepalived: exit %d, %q", exit, out)
	}
}
