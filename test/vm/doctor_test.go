package vm

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vipd/internal/need"
	"vipd/internal/vm"
)

//go:embed testdata/doctor.sh
var doctorScript string

const doctorConf = `vrrp_instance VI_1 {
	state MASTER
	interface eth0
	virtual_router_id 51
	priority 100
	advert_int 1
	virtual_ipaddress {
		10.0.8.9
	}
}
virtual_server 10.0.8.9 80 {
	lb_algo rr
	lb_kind TUN
	protocol TCP
	real_server 10.0.8.13 80 {
	}
}
`

// TestReversePathFilteringBehindATunnelDeviceIsFoundAndCured has a real server with the kernel's own tunnel device, which the kernel
// under the other tests may lack. Each way in which its reverse path filter gets strict is made; the real server's own check and the
// director's doctor find it alone, and what each prints mends it, pasted as it is.
func TestReversePathFilteringBehindATunnelDeviceIsFoundAndCured(t *testing.T) {
	t.Parallel()
	binary := ""
	if os.Getenv(need.InVM) == "" {
		binary = filepath.Join(t.TempDir(), "vipd")
		buildProgram(t, binary)
	}
	if !vm.Inside(t, vm.Config{Tools: []string{"ip", "ethtool"}, Script: doctorScript, CountInstructions: true, Files: map[string]string{"/usr/bin/vipd": binary}}) {
		return
	}
	p := &patient{t}
	p.do("real", "vipd realserver prepare --vip 10.0.8.9 --method tun --apply --state /run/state")
	if out := p.do("real", "ip -d link show tunl0"); !strings.Contains(out, "UP") || !strings.Contains(out, "ipip") {
		t.Fatalf("the real server is not prepared with the kernel's tunnel: %s", out)
	}
	p.serve()
	p.run()
	p.well("at the start")
	faults := []string{
		"sysctl -w net.ipv4.conf.tunl0.rp_filter=1",
		"sysctl -w net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.tunl0.rp_filter=0",
		"sysctl -w net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.tunl0.rp_filter=1",
		"ip addr del 10.0.8.9/32 dev tunl0", // which makes a loose one strict
	}
	for _, fault := range faults {
		for _, by := range []struct{ who, command, code, word string }{
			{"real", "vipd realserver check -o json --vip 10.0.8.9 --method tun --port 80", "rp-filter", "rp_filter of tunl0 is "},
			{"director", "vipd doctor -o json --wait 1500ms 10.0.8.13:80", "tunnel-silent", "strict rp_filter on its tunnel device"},
		} {
			p.do("real", fault)
			if body, err := p.fetch(3 * time.Second); err == nil {
				t.Fatalf("%s: the fault is none: %q", fault, body)
			}
			cure := p.find(by.who, by.command, by.code, by.word)
			p.do("real", cure)
			p.well(fault + ", cured by what " + by.who + " prints:\n" + cure)
			p.do("real", "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.tunl0.rp_filter=2")
			p.well("as it was")
		}
	}
}

// patient is the network of doctor.sh.
type patient struct{ *testing.T }

// sh runs a line on a host, as somebody who copied it would.
func (p *patient) sh(host, line string) (string, error) {
	out, err := exec.Command("ip", "netns", "exec", host, "sh", "-c", line).CombinedOutput()
	return string(out), err
}

func (p *patient) do(host, line string) string {
	p.Helper()
	out, err := p.sh(host, line)
	if err != nil {
		p.Fatalf("%s: %s: %v: %s", host, line, err, out)
	}
	return out
}

// serve is a web server on all addresses of the real server.
func (p *patient) serve() {
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "took %d", n)
	})}
	err := in("real", func() error {
		l, err := net.Listen("tcp4", ":80")
		if err == nil {
			go srv.Serve(l)
		}
		return err
	})
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { srv.Close() })
}

// run starts the director and waits until it is master.
func (p *patient) run() {
	p.Helper()
	file := filepath.Join(p.TempDir(), "vipd.conf")
	if err := os.WriteFile(file, []byte(doctorConf), 0o600); err != nil {
		p.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", "director", "vipd", "run", "-f", file)
	log, err := os.Create(filepath.Join(p.TempDir(), "log"))
	if err != nil {
		p.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		err := cmd.Wait()
		if text, _ := os.ReadFile(log.Name()); err != nil || p.Failed() {
			p.Errorf("the director: %v\n%s", err, text)
		}
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if out, _ := p.sh("director", "vipd vrrp"); strings.Contains(out, "VI_1: MASTER") {
			return
		}
		if time.Now().After(end) {
			p.Fatal("it does not become master")
		}
	}
}

// fetch sends the service more than fits into one packet.
func (p *patient) fetch(wait time.Duration) (body string, err error) {
	err = in("client", func() error {
		c, err := net.DialTimeout("tcp4", "10.0.8.9:80", wait)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		const size = 50000
		fmt.Fprintf(c, "POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size))
		b, err := io.ReadAll(c)
		body = string(b)
		return err
	})
	return body, err
}

// well wants the service to serve, and nobody to find anything.
func (p *patient) well(when string) {
	p.Helper()
	if body, err := p.fetch(patience); err != nil || !strings.HasSuffix(body, "took 50000") {
		p.Fatalf("%s: it does not serve: %v %q", when, err, body)
	}
	for host, command := range map[string]string{"real": "vipd realserver check --vip 10.0.8.9 --method tun --port 80", "director": "vipd doctor --all --wait 1500ms"} {
		if out, err := p.sh(host, command); err != nil {
			p.Fatalf("%s: %s on %s: %v: %s", when, command, host, err, out)
		}
	}
	p.Log(when)
}

// find wants one finding, of a code and with those words, and returns what mends it on Linux at once.
func (p *patient) find(host, command, code, words string) string {
	p.Helper()
	out, err := p.sh(host, command)
	var all []struct {
		Code, What, How string
		Cures           []struct{ For, Text string }
	}
	if e := json.Unmarshal([]byte(out), &all); e != nil || err == nil {
		p.Fatalf("%s: %v %v: %s", command, e, err, out)
	}
	if len(all) != 1 || all[0].Code != code || !strings.Contains(all[0].What+" "+all[0].How, words) {
		p.Fatalf("%s: want %s (%s) alone: %s", command, code, words, out)
	}
	for _, c := range all[0].Cures {
		if c.For == "Linux, now" {
			return c.Text
		}
	}
	p.Fatalf("%s: no cure for Linux: %s", command, out)
	return ""
}
