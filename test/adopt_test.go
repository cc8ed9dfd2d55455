package test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"vipd/internal/control"
)

// adopting are two directors with the same services, of which only one has the real servers' ports checked; the other one's checks
// are commands that come to an end when the test says so.
func adopting(own, peer string, priority int, check func(service, real string) string) string {
	text := fmt.Sprintf(`global_defs {
	script_user root
	connection_sync {
		source %s
		peer %s
		adopt_peer_results
	}
}
vrrp_instance VI_1 {
	interface eth0
	virtual_router_id 51
	priority %d
	advert_int 1
	virtual_ipaddress {
		10.0.8.9/32
	}
}
`, own, peer, priority)
	for _, s := range []struct{ port, more string }{{"80", ""}, {"81", "alpha"}, {"82", "ha_suspend"}} {
		text += "virtual_server 10.0.8.9 " + s.port + " {\ndelay_loop 1\nwarmup 0\nlb_algo rr\nlb_kind DR\nprotocol TCP\n" + s.more + "\n"
		for _, real := range []string{"11", "12"} {
			text += "real_server 10.0.8." + real + " " + s.port + " {\n" + check(s.port, real) + "\n}\n"
		}
		text += "}\n"
	}
	return text
}

// whyOf is what a director says of a real server.
func whyOf(t *testing.T, director, service, real string) (w control.WhyReal) {
	t.Helper()
	o := vipd(t, "why", "--instance", director, "-o", "json", "10.0.8.9:"+service, "10.0.8."+real+":"+service)
	var all struct{ Services []control.Why }
	if err := json.Unmarshal([]byte(o.stdout), &all); err != nil || len(all.Services) != 1 || len(all.Services[0].Reals) != 1 {
		return w // it does not run yet
	}
	return all.Services[0].Reals[0]
}

// isSo waits until a director has a real server in its pool or out of it, by a rule.
func isSo(t *testing.T, director, service, real, verdict, rule string) (w control.WhyReal) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if w = whyOf(t, director, service, real); w.Verdict == verdict && len(w.Rules) > 0 && w.Rules[0].Rule == rule {
			return w
		}
	}
	t.Fatalf("%s does not have %s of service %s %s by %s: %+v", director, real, service, verdict, rule, w)
	return w
}

// TestADirectorBeginsWithWhatItsPeersChecksFound: with adopt_peer_results one that has just started, or that takes over and has not
// checked meanwhile, has the verdicts of the other one until its own checks have found something.
func TestADirectorBeginsWithWhatItsPeersChecksFound(t *testing.T) {
	if !alone(t, 4*time.Minute, "ip", "ethtool", "sysctl") {
		return
	}
	shell(t, twins)
	shell(t, `for h in d1 d2; do ip -n fwd-$h addr del 10.0.8.9/32 dev lo; done
for a in 11 12; do ip -n fwd-client addr add 10.0.8.$a/24 dev eth0; done`)
	opens := func(at string) {
		t.Helper()
		if err := in(t, "client", func() error {
			l, err := net.Listen("tcp4", at)
			if err != nil {
				return err
			}
			t.Cleanup(func() { l.Close() })
			go func() {
				for c, err := l.Accept(); err == nil; c, err = l.Accept() {
					c.Close()
				}
			}()
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []string{"10.0.8.12:80", "10.0.8.12:81", "10.0.8.12:82"} {
		opens(at)
	}
	dir := t.TempDir()
	script := write(t, dir, "wait.sh", "#!/bin/sh\nuntil [ -s \"$1\" ]; do sleep 0.05; done\nexit $(cat \"$1\")\n")
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	says := func(service, real, status string) { t.Helper(); write(t, dir, service+"-"+real, status) }
	isMaster := func(director string) {
		t.Helper()
		eventually(t, 60*time.Second, director+" is master", func() bool {
			return strings.Contains(vipd(t, "vrrp", "--instance", director).stdout, "VI_1: MASTER")
		})
	}
	stronger := adopting("10.0.8.1", "10.0.8.2", 150, func(string, string) string {
		return "TCP_CHECK {\nconnect_timeout 2\nretry 1\ndelay_before_retry 1\n}"
	})
	weaker := adopting("10.0.8.2", "10.0.8.1", 100, func(service, real string) string {
		return fmt.Sprintf("MISC_CHECK {\nmisc_path \"%s %s/%s-%s\"\nmisc_timeout 600\n}", script, dir, service, real)
	})

	// The weaker one alone knows of service 82 alone, and nothing of the others.
	says("82", "11", "1")
	says("82", "12", "0")
	d2 := directorOn(t, "d2", weaker)
	isMaster("d2")
	isSo(t, "d2", "82", "11", "out", "check")
	isSo(t, "d2", "82", "12", "in", "check")
	isSo(t, "d2", "80", "11", "in", "check") // as is assumed
	isSo(t, "d2", "81", "12", "out", "alpha")

	// The stronger one comes, whose checks find something else of 82; the weaker one is told, and does not check it any more.
	opens("10.0.8.11:82")
	d1 := directorOn(t, "d1", stronger)
	isMaster("d1")
	for _, f := range []string{"82-11", "82-12"} {
		if err := os.Remove(dir + "/" + f); err != nil {
			t.Fatal(err)
		}
	}
	isSo(t, "d1", "82", "11", "in", "check")
	eventually(t, 60*time.Second, "d2 has heard of 82, and keeps what it had found", func() bool {
		w := whyOf(t, "d2", "82", "11")
		return w.Verdict == "out" && w.Rules[0].Rule == "check" && len(w.Peers) == 1 && w.Peers[0].Up && w.Rules[len(w.Rules)-1].Rule == "suspend"
	})
	if out := works(t, "status", "--instance", "d2"); !strings.Contains(out, "peer 10.0.8.1 says up") {
		t.Errorf("the status does not show what the peer says:\n%s", out)
	}

	// The weaker one takes over.
	end(t, d1)
	isMaster("d2")
	if w := isSo(t, "d2", "82", "11", "in", "peer"); w.Rules[0].Says != "peer 10.0.8.1 says up" {
		t.Errorf("%+v", w)
	}
	says("82", "11", "1")
	says("82", "12", "0")
	isSo(t, "d2", "82", "11", "out", "check") // its own check counts for more
	isSo(t, "d2", "82", "12", "in", "check")

	// It starts anew beside the stronger one: no check of 80 and 81 comes to an end.
	end(t, d2)
	directorOn(t, "d1", stronger)
	isMaster("d1")
	isSo(t, "d1", "80", "11", "out", "check")
	isSo(t, "d1", "81", "12", "in", "check")
	directorOn(t, "d2", weaker)
	for _, is := range []struct{ service, real, verdict, says string }{
		{"80", "11", "out", "peer 10.0.8.1 says down: "}, {"80", "12", "in", "peer 10.0.8.1 says up"},
		{"81", "11", "out", "peer 10.0.8.1 says down: "}, {"81", "12", "in", "peer 10.0.8.1 says up"},
	} {
		w := isSo(t, "d2", is.service, is.real, is.verdict, "peer")
		if !strings.HasPrefix(w.Rules[0].Says, is.says) || len(w.Checks) != 1 || len(w.Checks[0].Last) != 0 {
			t.Errorf("%+v", w)
		}
	}
	out := works(t, "why", "--instance", "d2", "10.0.8.9:80", "10.0.8.11:80")
	if !strings.Contains(out, "peer") || !strings.Contains(out, "peer 10.0.8.1 says down") {
		t.Errorf("why:\n%s", out)
	}
	if out := works(t, "ipvsadm", "--instance", "d2", "-Sn"); strings.Contains(out, "-r 10.0.8.11:80 ") || !strings.Contains(out, "-r 10.0.8.12:81 ") {
		t.Errorf("the table:\n%s", out)
	}
	says("80", "11", "0")
	isSo(t, "d2", "80", "11", "in", "check")
	eventually(t, 60*time.Second, "the status shows that the peer says otherwise", func() bool {
		return strings.Contains(vipd(t, "status", "--instance", "d2").stdout, "peer 10.0.8.1 says down")
	})
}
