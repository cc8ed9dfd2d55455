package conf

import (
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"
)

func syncOf(t *testing.T, line string) (SyncDaemon, string) {
	t.Helper()
	text := "global_defs {\n" + line + "\n}\nvrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n10.0.8.9\n}\n}\n"
	c, _, diagnostics := Load(fstest.MapFS{"f.conf": {Data: []byte(text)}}, "f.conf", Options{})
	var said []string
	for _, d := range diagnostics {
		if d.Severity == Warning {
			said = append(said, d.Text)
		}
	}
	return c.Global.SyncDaemon, strings.Join(said, "\n")
}

func TestTheSyncDaemonAsKeepalivedReadsIt(t *testing.T) {
	for line, want := range map[string]SyncDaemon{
		"lvs_sync_daemon eth0":                {Interface: "eth0", ID: -1},
		"lvs_sync_daemon eth0 VI_1":           {Interface: "eth0", Instance: "VI_1", ID: -1},
		"lvs_sync_daemon eth0 inst VI_1 id 0": {Interface: "eth0", Instance: "VI_1"},
		"lvs_sync_daemon eth0 id 7 maxlen 1000 port 9000 ttl 5 group 239.1.2.3": {Interface: "eth0", ID: 7, MaxLen: 1000, Port: 9000, TTL: 5,
			Group: netip.MustParseAddr("239.1.2.3")},
		"lvs_sync_daemon eth0 VI_1 group ff02::81": {Interface: "eth0", Instance: "VI_1", ID: -1, Group: netip.MustParseAddr("ff02::81")},
	} {
		if got, said := syncOf(t, line); got != want || said != "" {
			t.Errorf("%s: %+v, want %+v; said %s", line, got, want, said)
		}
	}
	got, said := syncOf(t, "lvs_sync_daemon eth0 VI_2 id 7")
	if got != (SyncDaemon{ID: -1}) || said != "Unable to find vrrp instance VI_2 for lvs_syncd - clearing lvs_syncd config" {
		t.Errorf("%+v, said %s", got, said)
	}
}
