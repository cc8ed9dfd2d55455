package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"vipd/internal/lab"
)

// TestTheSiteByHand does what a person does with the site that stands: the commands of the scene, one after the other.
func TestTheSiteByHand(t *testing.T) {
	if !alone(t, 4*time.Minute, "ping", "curl", "ip", "tcpdump", "busybox") {
		return
	}
	before := left(t)
	if out := works(t, "lab", "up"); out != "" {
		t.Errorf("lab up says %q", out)
	}
	master, backup := masterAndBackup(t)
	t.Run("the master answers ping", func(t *testing.T) {
		if out := works(t, "lab", "exec", "client", "ping", "-c4", "-i0.2", "-W1", "10.0.8.9"); !strings.Contains(out, "4 packets transmitted, 4 received, 0% packet loss") {
			t.Error(out)
		}
	})
	t.Run("a web server answers", func(t *testing.T) {
		out := works(t, "lab", "exec", "client", "curl", "-sI", "--max-time", "5", "http://10.0.8.9/")
		if !strings.HasPrefix(out, "HTTP/1.1 200 OK\r\n") || !regexp.MustCompile(`(?m)^X-Real: 10\.0\.8\.1[23]\r$`).MatchString(out) {
			t.Error(out)
		}
	})
	t.Run("the address is on the master alone", func(t *testing.T) {
		of := func(host string) string {
			return works(t, "lab", "exec", host, "ip", "-4", "-o", "addr", "show", "dev", "eth0")
		}
		if out := of(master); !regexp.MustCompile(`(?m)^\d+: eth0 +inet 10\.0\.8\.9/32 scope global eth0\\`).MatchString(out) {
			t.Errorf("the master has:\n%s", out)
		}
		if out := of(backup); strings.Contains(out, "10.0.8.9/") {
			t.Errorf("the backup has:\n%s", out)
		}
	})
	t.Run("a program shows on the interface", func(t *testing.T) {
		if out := works(t, "lab", "exec", master, "ip", "link", "show", "dev", "eth0"); !strings.Contains(out, " xdp") || strings.Contains(out, "xdpgeneric") {
			t.Errorf("no native XDP program:\n%s", out)
		}
	})
	t.Run("ipvsadm lists services and connections", func(t *testing.T) { listings(t, master, backup) })
	t.Run("tcpdump shows adverts", func(t *testing.T) { adverts(t, master, backup) })
	t.Run("tcpdump shows answers from the virtual address", answers)
	t.Run("a command's exit code and standard input are its own", passing)
	t.Run("lab status", func(t *testing.T) { labStatus(t, master) })
	t.Run("telnet", func(t *testing.T) { telnet(t, master) })
	t.Run("each real server dies", func(t *testing.T) { eachRealServerDies(t, master) })
	t.Run("each director goes", func(t *testing.T) { eachDirectorGoes(t, master, backup) })
	if out := works(t, "lab", "down"); out != "" {
		t.Errorf("lab down says %q", out)
	}
	nothingNew(t, before)
	for _, args := range [][]string{{"exec", "client", "true"}, {"status"}, {"kill", "real1"}} {
		if o := vipd(t, append([]string{"lab"}, args...)...); o.code != 1 || o.stderr != "vipd: lab: no lab is up\nhint: vipd lab up builds one and leaves it standing\n" {
			t.Errorf("lab %s with no lab: %s", args[0], o)
		}
	}
	works(t, "lab", "down")
	nothingNew(t, before)
}

func masterAndBackup(t *testing.T) (master, backup string) {
	t.Helper()
	var hosts []lab.HostStatus
	if err := json.Unmarshal([]byte(works(t, "lab", "status", "-o", "json")), &hosts); err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		switch h.State {
		case "MASTER":
			master = h.Host
		case "BACKUP":
			backup = h.Host
		}
	}
	if master == "" || backup == "" {
		t.Fatalf("no master and backup: %+v", hosts)
	}
	return master, backup
}

// listings compares with ipvsadm's layout to the last blank; only ports, counts and seconds may differ.
func listings(t *testing.T, master, backup string) {
	conn, err := dial("10.0.4.105")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	real, err := ask(conn, bufio.NewReader(conn))
	if err != nil {
		t.Fatal(err)
	}
	service := `IP Virtual Server version 1\.2\.1 \(size=\d+\)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10\.0\.8\.9:80 wrr persistent 10
  -> 10\.0\.8\.12:80                 Route   2      %s {10}\d+ {9}
  -> 10\.0\.8\.13:80                 Route   2      %s {10}\d+ {9}
`
	active := map[bool]string{true: "1", false: "0"}
	wants := map[string]string{
		master: fmt.Sprintf(service, active[real == survivor], active[real == fallen]),
		backup: fmt.Sprintf(service, "0", "0"),
	}
	for host, want := range wants {
		if out := works(t, "lab", "exec", host, "ipvsadm", "-ln"); !regexp.MustCompile("^" + want + "$").MatchString(out) {
			t.Errorf("ipvsadm -ln on %s:\n%s", host, out)
		}
	}
	out := works(t, "lab", "exec", master, "ipvsadm", "-lcn")
	if !strings.HasPrefix(out, "IPVS connection entries\npro expire state       source             virtual            destination\n") {
		t.Errorf("ipvsadm -lcn begins:\n%s", out)
	}
	for _, want := range []string{
		fmt.Sprintf("TCP (14:5\\d|15:00)  ESTABLISHED %-18s 10.0.8.9:80        %s:80", conn.LocalAddr(), real),
		fmt.Sprintf("TCP 00:(0\\d|10)  ASSURED     10.0.4.105:0       10.0.8.9:80        %s:80", real),
	} {
		if !regexp.MustCompile("(?m)^" + want + "$").MatchString(out) {
			t.Errorf("ipvsadm -lcn has no line %q:\n%s", want, out)
		}
	}
}

// adverts wants them on the wire as the RFC and keepalived have them, a second apart, from the master alone.
func adverts(t *testing.T, master, backup string) {
	source := map[string]string{"director1": "10.0.8.25", "director2": "10.0.8.55"}[master]
	want := source + ` > 224.0.0.18: VRRPv2, Advertisement, vrid 51, prio 100, authtype simple, intvl 1s, length 20, addrs: 10.0.8.9 auth "1111"`
	for _, host := range []string{master, backup} {
		out := works(t, "lab", "exec", host, "timeout", "6", "tcpdump", "-c3", "-nn", "-v", "-tt", "-i", "eth0", "vrrp")
		if strings.Count(out, want) != 3 || strings.Count(out, "(tos 0xc0, ttl 255,") != 3 {
			t.Errorf("tcpdump on %s:\n%s", host, out)
		}
		var at []float64
		for line := range strings.Lines(out) {
			var s float64
			if _, err := fmt.Sscanf(line, "%f IP", &s); err == nil {
				at = append(at, s)
			}
		}
		if len(at) != 3 || at[2]-at[0] < 1.8 || at[2]-at[0] > 2.3 {
			t.Errorf("adverts on %s at %v", host, at)
		}
	}
}

// answers: what the client gets comes from the virtual address, though no director sends it.
func answers(t *testing.T) {
	dump := exec.Command(program(), "lab", "exec", "client", "timeout", "6", "tcpdump", "-c1", "-nn", "-e", "-i", "eth0",
		"src host 10.0.8.9 and port 80 and tcp[tcpflags] & tcp-syn != 0")
	got := make(chan outcome, 1)
	go func() { got <- finish(t, dump) }()
	for range 20 {
		works(t, "lab", "exec", "client", "curl", "-s", "--max-time", "5", "-o", "/dev/null", "http://10.0.8.9/")
		select {
		case o := <-got:
			if o.code != 0 || !strings.Contains(o.stdout, "10.0.8.9.80 > 10.0.4.102.") {
				t.Errorf("tcpdump on client: %s", o)
			}
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Errorf("tcpdump saw no answer: %s", <-got)
}

func passing(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"client", "sh", "-c", "exit 7"}, 7},
		{[]string{"client", "false"}, 1},
		{[]string{"client", "no-such-command"}, 127},
		{[]string{"client", "sh", "-c", "kill -9 $$"}, -1},
		{[]string{"nowhere", "true"}, 1},
	} {
		if o := vipd(t, append([]string{"lab", "exec"}, c.args...)...); o.code != c.code {
			t.Errorf("lab exec %q: want exit code %d, got %s", c.args, c.code, o)
		}
	}
	cat := exec.Command(program(), "lab", "exec", "real1", "sh", "-c", "cat; ip -o -4 addr show dev eth0")
	cat.Stdin = strings.NewReader("hello\n")
	if o := finish(t, cat); o.code != 0 || !strings.HasPrefix(o.stdout, "hello\n") || !strings.Contains(o.stdout, "10.0.8.13/24") {
		t.Errorf("lab exec real1: %s", o)
	}
}

func labStatus(t *testing.T, master string) {
	out := works(t, "lab", "status")
	for _, want := range []string{
		`client     10\.0\.4\.102-115`,
		`router     10\.0\.4\.1 10\.0\.8\.1`,
		master + `  10\.0\.8\.\d+ +vipd runs \(pid \d+\), MASTER, has the virtual IP`,
		`real1      10\.0\.8\.13 +web server runs \(pid \d+\)`,
		` +10\.0\.8\.12:80 +in the pool, weight 2, \d+ active, \d+ inactive connections`,
	} {
		if !regexp.MustCompile("(?m)^" + want + "$").MatchString(out) {
			t.Errorf("lab status has no line %q:\n%s", want, out)
		}
	}
}
