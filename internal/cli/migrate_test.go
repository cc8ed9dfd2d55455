package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vipd/internal/lb"
)

func TestMigrateReportsEveryLine(t *testing.T) {
	inDir(t, map[string]string{
		"a.conf": "global_defs {\n    router_id LVS\n    vrrp_rx_bufs_multiplier 3\n    foo\n}\n\n" + goodInstance +
			"\nvirtual_server 10.0.8.9 80 {\n    protocol TCP\n    lb_algo rr\n    lb_kind DR\n    real_server 10.0.8.12 80 {\n        TCP_CHECK {\n            nb_get_retry 3\n        }\n    }\n}\n",
		"ready.conf": goodInstance, "refused.conf": "vrrp_instance A {\ninterface\n}\n",
	})
	code, out, errs := vipd(t, "", "migrate", "a.conf")
	want := `Works, and differs from keepalived
  nb_get_retry counts as retry in TCP_CHECK (line 22)
      → keepalived ignores it here and retries once; write retry
  virtual_server (line 16)
      packets are forwarded by an XDP program on the interface, not by IPVS in the kernel: ipvsadm and /proc/net/ip_vs show nothing, vipd ipvsadm -ln and vipd status do

Not as it was written or meant, in keepalived too
  Unknown keyword 'foo' (line 4)

Accepted without effect
  global_defs: vrrp_rx_bufs_multiplier (line 3)
      buffers are sized by the daemon itself

Works as in keepalived
  at the outer level: global_defs (line 1), vrrp_instance (line 7)
  global_defs: router_id (line 2)
  vrrp_instance: interface (line 8), virtual_router_id (line 9), priority (line 10), virtual_ipaddress (line 11)
  virtual_server: protocol (line 17), lb_algo (line 18), lb_kind (line 19), real_server (line 20)
  real_server: TCP_CHECK (line 21)
  TCP_CHECK: nb_get_retry (line 22)

Verdict on a.conf: ready, with differences
  The file works as it is.
  Next: read what differs above, then stop keepalived and start: vipd run -f a.conf
  Both must not run on one host at the same time: they would answer for the same addresses.
`
	if diff := cmp.Diff(want, out); diff != "" || code != 1 || errs != "" {
		t.Errorf("exit %d, %q (-want +got):\n%s", code, errs, diff)
	}
	for name, c := range map[string]struct {
		code  int
		wants string
	}{
		"ready.conf": {0, "Verdict on ready.conf: ready\n"}, "refused.conf": {2, "does not start with this file either"}, "none.conf": {2, "no such file"},
	} {
		if code, out, errs := vipd(t, "", "migrate", name); code != c.code || !strings.Contains(out+errs, c.wants) {
			t.Errorf("%s: exit %d: %s%s", name, code, out, errs)
		}
	}
}

func TestMigrateForPrograms(t *testing.T) {
	inDir(t, map[string]string{"a.conf": "include i.conf\n", "i.conf": "vrrp_instance A {\ninterface eth0\n}\n"})
	code, out, _ := vipd(t, "", "migrate", "-o", "json", "a.conf")
	var m migration
	if err := json.Unmarshal([]byte(out), &m); err != nil || code != 2 {
		t.Fatalf("exit %d, %v: %s", code, err, out)
	}
	if m.Verdict != "not ready" || m.Groups[groupRefused].Items[0].Lines[0] != "i.conf:1" {
		t.Errorf("%+v", m)
	}
}

// What a version cannot do with a value is not in the table of keywords, and is said all the same.
func TestMigrateCheckAndPlanTellWhatIsRefused(t *testing.T) {
	const service = "virtual_server 10.0.8.9 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\ndelay_loop 10\nreal_server 10.0.8.12 80 {\nTCP_CHECK {\nconnect_timeout 3\n}\n}\n}\n"
	refuses := func(s lb.Service, reals []lb.Real) error {
		if s.Scheduler != "rr" || len(reals) != 1 {
			t.Errorf("asked about %+v %+v", s, reals)
		}
		return errors.New("not on a Sunday")
	}
	ask := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := run(Env{Args: args, Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }, Refuses: refuses})
		return code, out.String()
	}
	inDir(t, map[string]string{"service.conf": service, "none.conf": ""})
	for _, c := range []struct{ file, wants, plans string }{
		{"service.conf", "[10.0.8.9]:tcp:80 is not forwarded by this version: not on a Sunday", "it is not forwarded by this version: not on a Sunday"},
	} {
		if code, out := ask("check", c.file); code != 1 || !strings.Contains(out, c.wants) {
			t.Errorf("check: exit %d: %s", code, out)
		}
		if code, out := ask("migrate", c.file); code != 2 || !strings.Contains(out, c.wants) || !strings.Contains(out, "not ready") {
			t.Errorf("migrate: exit %d: %s", code, out)
		}
		if code, out := ask("plan", "--from", "none.conf", c.file); code != 0 || !strings.Contains(out, c.plans) {
			t.Errorf("plan: exit %d: %s", code, out)
		}
	}
}
