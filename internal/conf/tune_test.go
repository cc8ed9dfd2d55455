package conf

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestClassesAreReadInTheirOrder(t *testing.T) {
	fsys := fstest.MapFS{"f.conf": {Data: []byte("global_defs {\n\tfwmark_class 7 tcp 10.0.8.9 80\n\tfwmark_class 8 10.0.0.0/8 1-9 from 10.0.4.0/24 interface eth0\n}\n")}}
	cfg, _, diags := Load(fsys, "f.conf", Options{})
	if got := fmt.Sprint(cfg.Global.Classes); got != "[7 tcp 10.0.8.9 80 8 10.0.0.0/8 1-9 from 10.0.4.0/24 interface eth0]" || len(diags) != 0 {
		t.Errorf("%s, said %v", got, diags)
	}
}

func TestSettingsHaveTheNamesAndBoundsOfIPVS(t *testing.T) {
	fsys := fstest.MapFS{"f.conf": {Data: []byte("global_defs {\n\tlvs_sysctl conn_reuse_mode 0\n\tlvs_sysctl net.ipv4.vs.drop_entry 3\n\tlvs_sysctl sloppy_tcp 1\n\tlvs_sysctl sloppy_tcp 0\n\tlvs_sysctl sync_threshold 0 1\n}\n")}}
	cfg, _, diags := Load(fsys, "f.conf", Options{})
	if want := map[string]uint32{"conn_reuse_mode": 0, "drop_entry": 3, "sloppy_tcp": 0, "sync_threshold": 0, "sync_period": 1}; !maps.Equal(cfg.Global.Sysctls, want) || len(diags) != 0 {
		t.Errorf("%v, said %v", cfg.Global.Sysctls, diags)
	}
}

// TestWhatIsNoClassOrSetting: the word at fault, and what is wanted instead.
func TestWhatIsNoClassOrSetting(t *testing.T) {
	for _, row := range []struct {
		line, says, expects string
		col                 int
	}{
		{"fwmark_class 0 10.0.8.9", "mark \"0\": want a number", "MARK [tcp", 15},
		{"fwmark_class 7 icmp 10.0.8.9", "network \"icmp\"", "MARK [tcp", 17},
		{"fwmark_class 7 tcp 10.0.8.9 90-80", "ports \"90-80\"", "MARK [tcp", 30},
		{"fwmark_class 7 tcp 10.0.8.9 to eth0", "\"to\": want ports", "MARK [tcp", 30},
		{"lvs_sysctl sloppy 1", "Unknown lvs_sysctl sloppy", "sloppy_tcp", 13},
		{"lvs_sysctl drop_entry 4", "Invalid lvs_sysctl drop_entry (4)", "0 to 3", 24},
		{"lvs_sysctl drop_entry on", "Invalid lvs_sysctl drop_entry (on)", "0 to 3", 24},
		{"lvs_sysctl sync_ports 3", "Invalid lvs_sysctl sync_ports (3)", "1, 2, 4", 24},
		{"lvs_sysctl sync_threshold 50 50", "Invalid lvs_sysctl sync_threshold (50 50)", "THRESHOLD below PERIOD", 28},
		{"lvs_sysctl sync_threshold 3", "Invalid lvs_sysctl sync_threshold (3)", "THRESHOLD below PERIOD", 28},
		{"lvs_sysctl sync_period 50", "Invalid lvs_sysctl sync_period (50)", "lvs_sysctl sync_threshold THRESHOLD", 25},
	} {
		fsys := fstest.MapFS{"f.conf": {Data: []byte("global_defs {\n\t" + row.line + "\n}\n")}}
		cfg, _, diags := Load(fsys, "f.conf", Options{})
		if len(diags) != 1 || !strings.Contains(diags[0].Text, row.says) || !strings.Contains(diags[0].Expected, row.expects) || diags[0].Line != 2 || diags[0].Col != row.col {
			t.Errorf("%s: %+v", row.line, diags)
		}
		if len(cfg.Global.Classes)+len(cfg.Global.Sysctls) != 0 {
			t.Errorf("%s: kept %v, %v", row.line, cfg.Global.Classes, cfg.Global.Sysctls)
		}
	}
}

// TestAMarkWithoutAClassIsSaid, but where the kernel forwards and netfilter marks.
func TestAMarkWithoutAClassIsSaid(t *testing.T) {
	pool := "virtual_server fwmark 7 {\n\tlb_algo rr\n\tlb_kind DR\n\treal_server 10.0.8.12 {\n\t\tTCP_CHECK {\n\t\t\tconnect_port 80\n\t\t\tconnect_timeout 3\n\t\t}\n\t}\n}\n"
	for line, want := range map[string]bool{"": true, "data_plane ipvs": false, "data_plane auto": true, "fwmark_class 7 10.0.8.9": false,
		"fwmark_class 8 10.0.8.9": true, "fwmark_class 7 2001:db8::9": true} {
		fsys := fstest.MapFS{"f.conf": {Data: []byte("global_defs {\n\t" + line + "\n}\n" + pool)}}
		diags := Check(fsys, "f.conf", Options{}).Diagnostics
		if got := slices.ContainsFunc(diags, func(d Diagnostic) bool { return d.Code == "mark-without-class" }); got != want {
			t.Errorf("%q: said %v, want %v: %v", line, got, want, diags)
		}
	}
}

// TestASettingThatIsNotCarriedIsSaid, but where the kernel has it.
func TestASettingThatIsNotCarriedIsSaid(t *testing.T) {
	refuse := func(name string, value uint32) error {
		if name == "cache_bypass" && value != 0 {
			return errors.New("cache_bypass 1: not supported")
		}
		return nil
	}
	for lines, want := range map[string]bool{"lvs_sysctl cache_bypass 1": true, "lvs_sysctl cache_bypass 0": false, "lvs_sysctl sloppy_tcp 1": false,
		"lvs_sysctl cache_bypass 1\n\tdata_plane ipvs": false} {
		fsys := fstest.MapFS{"f.conf": {Data: []byte("global_defs {\n\t" + lines + "\n}\n" + onePool)}}
		diags := Check(fsys, "f.conf", Options{RefusesSetting: refuse}).Diagnostics
		at := slices.IndexFunc(diags, func(d Diagnostic) bool { return d.Code == "not-yet" })
		if (at >= 0) != want || want && (diags[at].Line != 2 || diags[at].Hint == "") {
			t.Errorf("%q: %v", lines, diags)
		}
	}
}

// TestTheFamilyOfAMark is that of ip_family, else of the real servers.
func TestTheFamilyOfAMark(t *testing.T) {
	for line, want := range map[string]bool{"": false, "ip_family inet\n": false, "ip_family inet6\n": true} {
		server := map[bool]string{false: "10.0.8.12", true: "2001:db8::12"}[want]
		fsys := fstest.MapFS{"f.conf": {Data: []byte("virtual_server fwmark 7 {\n" + line + "lb_algo rr\nlb_kind DR\nreal_server " + server + " {\nTCP_CHECK {\nconnect_port 80\n}\n}\n}\n")}}
		cfg, _, diags := Load(fsys, "f.conf", Options{})
		if len(cfg.Health.Services) != 1 || cfg.Health.Services[0].V6 != want || len(diags) != 0 {
			t.Errorf("%q: %+v, said %v", line, cfg.Health.Services, diags)
		}
	}
}
