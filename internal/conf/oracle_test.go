package conf

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vipd/internal/need"
)

// oracle runs Debian's keepalived -t in a network namespace that has an eth0 with 10.0.0.1/24.
type oracle struct {
	t    *testing.T
	ns   string
	dir  string
	exec string
}

func newOracle(t *testing.T) *oracle {
	t.Helper()
	need.Root(t)
	ip := need.Tool(t, "ip")
	o := &oracle{t: t, ns: fmt.Sprintf("conf-t%d", os.Getpid()), dir: t.TempDir(), exec: need.Tool(t, "keepalived")}
	run := func(args ...string) {
		if out, err := exec.Command(ip, args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	run("netns", "add", o.ns)
	t.Cleanup(func() { run("netns", "del", o.ns) })
	run("-n", o.ns, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0p")
	run("-n", o.ns, "addr", "add", "10.0.0.1/24", "dev", "eth0")
	run("-n", o.ns, "link", "set", "eth0", "up")
	run("-n", o.ns, "link", "set", "eth0p", "up")
	return o
}

// check gives the exit code and the output of keepalived -t, or false where keepalived itself crashed.
func (o *oracle) check(text string) (code int, out string, ok bool) {
	o.t.Helper()
	name := filepath.Join(o.dir, "f.conf")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", o.ns, o.exec, "-t", "-f", name)
	cmd.Dir = o.dir
	b, err := cmd.CombinedOutput()
	if err == nil {
		return 0, string(b), true
	}
	exit, isExit := err.(*exec.ExitError)
	if !isExit || !exit.Exited() {
		return 0, string(b), false
	}
	return exit.ExitCode(), string(b), exit.ExitCode() < 128
}

const (
	anInstance = "vrrp_instance A {\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress { 10.0.0.9 }\n%s\n}\n"
	aService   = "virtual_server 10.0.0.9 80 {\nprotocol TCP\nlb_algo rr\nlb_kind DR\n%s\nreal_server 10.0.0.2 80 {\n}\n}\n"
	aReal      = "virtual_server 10.0.0.9 80 {\nprotocol TCP\nlb_algo rr\nlb_kind DR\nreal_server 10.0.0.2 80 {\n%s\n}\n}\n"
)

// inBlock is a file with room for a line in each block.
var inBlock = map[string]string{
	"": "%s\n", "global_defs": "global_defs {\n%s\n}\n", "vrrp_instance": anInstance,
	"authentication": fmt.Sprintf(anInstance, "authentication {\n%s\n}"), "vrrp_sync_group": "vrrp_sync_group G {\n%s\n}\n",
	"virtual_server": aService, "real_server": aReal, "SSL": "SSL {\n%s\n}\n", "vrrp_script": "vrrp_script s {\nscript /bin/true\n%s\n}\n",
	"track_file": "track_file t {\nfile /tmp\n%s\n}\n", "vrrp_track_process": "vrrp_track_process p {\nprocess x\n%s\n}\n",
	"bfd_instance": "bfd_instance b {\nneighbor_ip 10.0.0.3\n%s\n}\n", "track_group": "track_group g {\n%s\n}\n",
	"garp_group": "garp_group {\n%s\n}\n",
}

func init() {
	for _, c := range []string{"TCP_CHECK", "HTTP_GET", "SMTP_CHECK", "DNS_CHECK", "MISC_CHECK", "PING_CHECK", "UDP_CHECK", "BFD_CHECK", "FILE_CHECK"} {
		inBlock[c] = fmt.Sprintf(aReal, c+" {\n%s\n}")
	}
	// keepalived crashes over one without a page.
	inBlock["HTTP_GET"] = fmt.Sprintf(aReal, "HTTP_GET {\n%s\nurl {\npath /\n}\n}")
	inBlock["url"] = fmt.Sprintf(aReal, "HTTP_GET {\nurl {\npath /\n%s\n}\n}")
}

// hard tells whether keepalived would stop over a missing argument of this file.
func hard(t *testing.T, text string) bool {
	_, all := load(t, text)
	for _, d := range all {
		if d.Code == "missing-argument" && d.Severity == Error {
			return true
		}
	}
	return false
}

// likeHTTP tells the keywords that a checker shares with HTTP_GET.
func likeHTTP(block, name string) bool {
	return strings.HasSuffix(block, "_CHECK") && block != "TCP_CHECK" && httpBlock.find(name) != nil
}

// A keyword without its argument stops keepalived or not; the table says which.
func TestMissingArgumentsStopUsWhereTheyStopKeepalived(t *testing.T) {
	o := newOracle(t)
	asked := 0
	for _, b := range blocks() {
		form, ok := inBlock[b.name]
		if !ok {
			continue
		}
		for _, k := range b.rows {
			if k.Args == "" || likeHTTP(b.name, k.Name) {
				continue // there is nothing to miss, or it has been asked
			}
			block := ""
			if k.Opens {
				block = " {\n}"
			}
			_, out, ok := o.check(fmt.Sprintf(form, k.Name+block))
			if !ok || strings.Contains(out, "Unknown keyword '"+k.Name+"'") {
				continue // a newer keyword, or keepalived crashed
			}
			asked++
			stops := strings.Contains(out, "is missing a parameter")
			if mine := hard(t, fmt.Sprintf(form, k.Name+block)); mine != stops {
				t.Errorf("%s in %q without argument: keepalived stops %v, the table says %v\n%s", k.Name, b.name, stops, mine, out)
			}
		}
	}
	if asked < 150 {
		t.Errorf("keepalived knew only %d of the keywords", asked)
	}
}

// ours are the codes of what keepalived 2.2.7 does not say.
var ours = map[string]bool{"not-yet": true, "no-effect": true, "nb-get-retry": true,
	"duplicate-vip": true, "duplicate-service": true, "undefined-name": true}

// Every message with keepalived's words is one that keepalived gives for the same file.
func TestBadFilesAreBadToKeepalivedToo(t *testing.T) {
	o := newOracle(t)
	names, _ := filepath.Glob("testdata/bad/*.conf")
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, all := load(t, string(text))
		code, out, ok := o.check(string(text))
		if !ok {
			t.Errorf("%s: keepalived crashed: %s", name, out)
			continue
		}
		for _, d := range all {
			stops := code == 2 && d.Code != "missing-argument" // what comes after the stop is not said
			if ours[d.Code] || stops || d.Severity == Notice {
				continue
			}
			for _, line := range append([]string{d.Text}, d.More...) {
				if !strings.Contains(out, line+"\n") {
					t.Errorf("%s: keepalived does not say %q:\n%s", name, line, out)
				}
			}
		}
	}
}

// What has no warning here has none there.
func TestGoodFilesAreGoodToKeepalivedToo(t *testing.T) {
	o := newOracle(t)
	for _, text := range []string{
		fmt.Sprintf(anInstance, "priority 7\nadvert_int 2\nnopreempt\nauthentication { auth_type PASS\nauth_pass \"1111\"\n}"),
		fmt.Sprintf(anInstance, "virtual_ipaddress_excluded { fd00::9/64 dev eth0 }\ngarp_master_delay 0\npreempt_delay 0.5\npriority 9"),
		"$A=5\n$V=vrrp_instance\n$V A\n{\ninterface eth0 # x\nvirtual_router_id ${A}1\nvirtual_ipaddress{10.0.0.9/24 brd + label eth0:1}}",
		fmt.Sprintf(aService, "persistence_timeout\npersistence_granularity 255.255.255.0\nquorum 1\nsorry_server 10.0.0.5 80\ndelay_loop 0.5"),
		fmt.Sprintf(aReal, "weight 0\nTCP_CHECK { connect_timeout 1.5\nretry 0\n}"),
		"virtual_server fwmark 7 {\nlb_algo sh\nsh-port\nlb_kind TUN\nreal_server 10.0.0.2 {\nweight 3\n}\n}\n",
		"virtual_server fd00::9 80 {\nlb_algo wrr\nlb_kind NAT\nprotocol tcp\nreal_server fd00::2 8080 {\nTCP_CHECK {\n}\n}\n}\n",
		"~SEQ(i, 3) vrrp_instance A$i { interface eth0\n virtual_router_id 5\n virtual_ipaddress { 10.0.0.9 } }\n",
		"global_defs {\nrouter_id a\nvrrp_version 2\nvrrp_garp_master_refresh 60\nsmtp_server 127.0.0.1 25\n}\n",
	} {
		_, all := load(t, text)
		code, out, ok := o.check(text)
		sev, any := Worst(all)
		if ok && (code == 0) != (!any || sev < Warning) {
			t.Errorf("keepalived's exit code is %d: %s\nhere: %v\nof:\n%s", code, out, all, text)
		}
	}
}
