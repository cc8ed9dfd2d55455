package test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestANewcomersMistakesAreNamed: what goes wrong in the first hour though the start succeeds. Each has a line in the log, and
// one in the status where it lasts, with what is to be done. Starts that fail are in TestAStartThatFailsSaysWhyAndLeavesNothing.
func TestANewcomersMistakesAreNamed(t *testing.T) {
	if !alone(t, 3*time.Minute, "ip", "sleep") {
		return
	}
	script(t, 0, `ip netns add other
ip link add br0 type bridge
ip link add port0 type veth peer name eth0 netns other
ip link set port0 master br0; ip link set port0 up; ip link set br0 up; ip addr add 10.0.8.25/24 dev br0
ip -n other link set eth0 up; ip -n other addr add 10.0.8.9/24 dev eth0; ip -n other addr add fd00:8::9/64 dev eth0 nodad`)
	mac := strings.TrimSpace(script(t, 0, "ip netns exec other cat /sys/class/net/eth0/address"))
	incumbent := runAsKeepalived(t)
	text := strings.Replace(siteFile(t, "br0"), "priority 100", "priority 255\n    virtual_ipaddress_excluded {\n        fd00:8::9/64\n    }", 1)
	run := startRun(t, "-f", write(t, t.TempDir(), "site.conf", text))

	taken := "10.0.8.9 is in use by another host too: " + mac + " on br0 answers for it"
	taken6 := strings.Replace(taken, "10.0.8.9", "fd00:8::9", 1)
	for _, command := range []string{"status", "vrrp"} {
		eventually(t, 90*time.Second, "vipd "+command+" says who has the addresses", func() bool {
			out := vipd(t, command).stdout
			return strings.Contains(out, taken+" (vipd doctor)") && strings.Contains(out, taken6+" (vipd doctor)")
		})
	}
	if out := works(t, "status", "-o", "json"); !regexp.MustCompile(`"claims": \[\s+\{\s+"address": "10.0.8.9",\s+"mac": "` + mac + `"`).MatchString(out) {
		t.Errorf("the JSON does not:\n%s", out)
	}
	if out := vipd(t, "doctor"); out.code != 1 || !strings.Contains(out.stdout, "duplicate-vip") || !strings.Contains(out.stdout, mac) {
		t.Errorf("the doctor: %s", out)
	}
	incumbent()
	if code := run.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	for name, want := range map[string]string{
		"the address is taken":         "WARNING (VI_1) " + taken + ". Take it off that host, or, if that is a real server, see: vipd doctor",
		"the IPv6 address is taken":    "WARNING (VI_1) " + taken6 + ". Take it off that host, or, if that is a real server, see: vipd doctor",
		"the driver has no XDP":        "packet path attached to br0 in generic mode: its driver does not run XDP",
		"keepalived runs on this host": "runs on this host too. If it has the same virtual routers or services, both are now in each other's way: stop it with systemctl stop keepalived",
	} {
		if !strings.Contains(run.log.String(), want) {
			t.Errorf("%s: nothing says %q", name, want)
		}
	}
}

// runAsKeepalived runs a process that looks like keepalived until it is told to end.
func runAsKeepalived(t *testing.T) (end func()) {
	t.Helper()
	path := t.TempDir() + "/keepalived"
	sleep, err := exec.LookPath("sleep")
	if err == nil {
		var text []byte
		if text, err = os.ReadFile(sleep); err == nil {
			err = os.WriteFile(path, text, 0o755)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "300")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}
