package test

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The rest of what the how-to does with the site that stands, in its order: a port is tried by hand, each real server is killed,
// each director is stopped or killed, and the log is followed. What else it does is in TestTheSiteByHand; the three methods and the
// distribution by content are in TestTheSiteBy…, the service that starts at boot is in TestTheServiceUnderSystemd.

// telnet is step 2 and 5: `telnet 10.0.8.13 80` by hand, and the same to the virtual address.
func telnet(t *testing.T, master string) {
	for host, addr := range map[string]string{master: "10.0.8.13", "client": "10.0.8.9"} {
		out := works(t, "lab", "exec", host, "sh", "-c", `(printf 'HEAD / HTTP/1.0\r\n\r\n'; sleep 2) | busybox telnet `+addr+" 80; true") // it ends with 1 when the other side hangs up
		if !strings.Contains(out, "HTTP/1.0 200 OK") {
			t.Errorf("telnet from %s to %s:\n%s", host, addr, out)
		}
	}
}

// answered wants the site to answer, by the real server of that address if one is named.
func answered(t *testing.T, by string) bool {
	t.Helper()
	out, err := exec.Command(program(), "lab", "exec", "client", "curl", "-sI", "--max-time", "2", "http://10.0.8.9/").Output()
	return err == nil && strings.HasPrefix(string(out), "HTTP/1.1 200 OK\r\n") && (by == "" || strings.Contains(string(out), "X-Real: "+by+"\r\n"))
}

// eachRealServerDies is step 7: one is stopped, the site stays up.
func eachRealServerDies(t *testing.T, master string) {
	listed := func(addr string) func() bool {
		return func() bool {
			return strings.Contains(works(t, "lab", "exec", master, "ipvsadm", "-ln"), "  -> "+addr+":80 ")
		}
	}
	for _, row := range []struct{ host, addr, other string }{{"real1", fallen, survivor}, {"real2", survivor, fallen}} {
		works(t, "lab", "kill", row.host)
		eventually(t, 60*time.Second, row.addr+" is out of the table", func() bool { return !listed(row.addr)() })
		for range 5 {
			if !answered(t, row.other) {
				t.Errorf("without %s the site does not answer by %s", row.host, row.other)
			}
		}
		works(t, "lab", "start", row.host)
		eventually(t, 60*time.Second, row.addr+" is back in the table", listed(row.addr))
	}
}

// eachDirectorGoes is the rest of step 7: a service stop, then a kill; the other takes over.
func eachDirectorGoes(t *testing.T, master, backup string) {
	has := func(host string) bool {
		return strings.Contains(works(t, "lab", "exec", host, "ip", "-4", "-o", "addr", "show", "dev", "eth0"), "10.0.8.9/32")
	}
	takes := func(host string) {
		t.Helper()
		eventually(t, 30*time.Second, host+" has the address", func() bool { return has(host) })
		eventually(t, 10*time.Second, "the site answers by "+host, func() bool { return answered(t, "") })
		eventually(t, 30*time.Second, "its log says so", func() bool {
			out := works(t, "lab", "exec", host, "sh", "-c", "timeout 1 tail -n 200 -f /run/vipd/lab/"+host+".log; true")
			return strings.Contains(out, "Entering MASTER STATE")
		})
	}
	works(t, "lab", "stop", master)
	takes(backup)
	if has(master) {
		t.Errorf("%s was stopped and has the address", master)
	}
	works(t, "lab", "start", master)
	eventually(t, 60*time.Second, "both speak", func() bool {
		out := works(t, "lab", "status")
		return strings.Count(out, ", MASTER") == 1 && strings.Count(out, ", BACKUP") == 1
	})
	_, waiting := masterAndBackup(t)
	works(t, "lab", "kill", map[string]string{master: backup, backup: master}[waiting])
	takes(waiting)
}
