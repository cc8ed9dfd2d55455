package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

Accepted without effect: there is nothing to do
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
