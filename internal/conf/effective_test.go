package conf

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

// dump runs keepalived's VRRP part with a file and gives what it writes on SIGUSR1.
func (o *oracle) dump(text string) string {
	o.t.Helper()
	name := filepath.Join(o.dir, "run.conf")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
	data := filepath.Join(o.dir, "keepalived.data")
	os.Remove(data)
	cmd := exec.Command("ip", "netns", "exec", o.ns, o.exec, "-n", "-P", "-G", "-f", name,
		"-p", filepath.Join(o.dir, "k.pid"), "-r", filepath.Join(o.dir, "v.pid"))
	cmd.Dir, cmd.Env = o.dir, append(os.Environ(), "TMPDIR="+o.dir)
	if err := cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(o.dir, "v.pid")); err != nil {
			continue
		}
		_ = cmd.Process.Signal(syscall.SIGUSR1)
		time.Sleep(200 * time.Millisecond)
		if b, err := os.ReadFile(data); err == nil && strings.Contains(string(b), "VRRP Instance") {
			return string(b)
		}
	}
	o.t.Fatalf("keepalived wrote no dump of:\n%s", text)
	return ""
}

// entriesOf takes a dump apart into the same blocks and names as Effective.
func entriesOf(dump string) map[[2]string]string {
	out, block := map[[2]string]string{}, "global"
	for line := range strings.Lines(dump) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), " = ")
		deep := strings.HasPrefix(name, "   ")
		name = strings.TrimSpace(name)
		switch {
		case strings.HasPrefix(name, "------"):
			block = "other"
			if strings.Contains(name, "Global definitions") {
				block = "global"
			}
			continue
		case ok && !deep && name == "VRRP Instance":
			block = "vrrp_instance " + value
			continue
		case ok && !deep && name == "VRRP Script":
			block = "vrrp_script " + value
			continue
		case strings.HasPrefix(name, "Multicast address "):
			name, value, ok = "Multicast address", strings.TrimPrefix(name, "Multicast address "), true
		case strings.HasPrefix(name, "Check unicast src : "):
			name, value, ok = "Check unicast src", strings.TrimPrefix(name, "Check unicast src : "), true
		case strings.HasPrefix(name, "Script security "):
			name, value, ok = "Script security", strings.TrimPrefix(name, "Script security "), true
		}
		if _, again := out[[2]string{block, name}]; ok && !again {
			out[[2]string{block, name}] = strings.TrimSpace(value)
		}
	}
	return out
}

// What keepalived takes for granted is taken for granted here: its dump and Effective agree on every value they share.
func TestValuesInForceAreThoseOfKeepalived(t *testing.T) {
	o := newOracle(t)
	const head = "vrrp_instance A {\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress { 10.0.0.9 }\n"
	shared := 0
	for _, text := range []string{
		head + "}\n",
		head + "state MASTER\npriority 150\nadvert_int 2\nauthentication {\nauth_type PASS\nauth_pass abcdefgh\n}\nnotify_deleted\nsmtp_alert\n}\n",
		"global_defs {\nrouter_id x\nvrrp_version 3\nvrrp_garp_master_delay 2\nvrrp_garp_master_repeat 3\nvrrp_garp_lower_prio_repeat 7\nvrrp_strict\nvrrp_garp_interval 0.01\n}\n" +
			head + "priority 99\nadvert_int 0.25\n}\n",
		"global_defs {\nvrrp_garp_master_refresh 60\nvrrp_garp_master_refresh_repeat 2\nvrrp_higher_prio_send_advert\nvrrp_lower_prio_no_advert\nvrrp_down_timer_adverts 5\nsmtp_alert_vrrp\n" +
			"smtp_server 127.0.0.1 2525\nvrrp_mcast_group4 224.0.0.99\nvrrp_priority -5\nmin_auto_priority_delay 50\numask 022\nvrrp_notify_priority_changes\n}\n" +
			head + "garp_master_repeat 4\ngarp_lower_prio_delay 9\nnopreempt\nlower_prio_no_advert off\n}\n",
		head + "unicast_src_ip 10.0.0.1\nunicast_peer {\n10.0.0.2\n10.0.0.3 min_ttl 5\n}\nunicast_ttl 99\npreempt_delay 1.5\npriority 10\nno_accept\n}\n",
		"vrrp_script c {\nscript \"/bin/true a b\"\ninterval 3\nrise 2\nfall 4\nweight -5 reverse\n}\n" + head + "track_script { c }\npriority 255\nversion 3\nadvert_int 1.234\ndown_timer_adverts 1\n}\n",
		head + "state BACKUP\npriority 255\ngarp_master_delay 0\nhigher_prio_send_advert\npromote_secondaries\n}\n",
	} {
		c, _, _ := Load(fstest.MapFS{"f.conf": {Data: []byte(text)}}, "f.conf", Options{})
		theirs := entriesOf(o.dump(text))
		for _, e := range Effective(c) {
			want, ok := theirs[[2]string{e.Block, e.Name}]
			if !ok {
				continue
			}
			shared++
			if want != e.Value {
				t.Errorf("%s: %s: keepalived %q, here %q, of\n%s", e.Block, e.Name, want, e.Value, text)
			}
		}
	}
	if shared < 300 {
		t.Errorf("only %d values are shared", shared)
	}
	t.Logf("%d values compared", shared)
}
