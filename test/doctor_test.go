package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/host"
)

// ward is a segment behind a router: a director, two real servers and a stranger. real1 has a second cable to the router.
const ward = `set -e
for h in client router switch director real1 real2 stranger; do
	ip netns add fwd-$h; ip -n fwd-$h link set lo up
	ip netns exec fwd-$h sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.all.arp_announce=0 \
		net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0 net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.accept_ra=0 net.ipv4.ip_forward=0
done
ip -n fwd-switch link add br0 type bridge
ip -n fwd-switch link set br0 up
n=0
for h in router director real1 real2 stranger; do
	ip link add eth0 netns fwd-$h type veth peer name $h netns fwd-switch
	ip netns exec fwd-$h ethtool -K eth0 tx off gro on >/dev/null
	ip netns exec fwd-switch ethtool -K $h tx off gro on >/dev/null
	ip -n fwd-switch link set $h master br0; ip -n fwd-switch link set $h up; ip -n fwd-$h link set eth0 up
done
ip link add eth0 netns fwd-client type veth peer name eth1 netns fwd-router
ip link add eth1 netns fwd-real1 type veth peer name eth2 netns fwd-router
for e in client/eth0 router/eth1 router/eth2 real1/eth1; do ip -n fwd-${e%/*} link set ${e#*/} up; ip netns exec fwd-${e%/*} ethtool -K ${e#*/} tx off >/dev/null; done
ip -n fwd-client addr add 10.0.4.102/24 dev eth0
ip -n fwd-router addr add 10.0.4.1/24 dev eth1
ip -n fwd-router addr add 10.0.5.1/24 dev eth2
ip -n fwd-router addr add 10.0.8.1/24 dev eth0
ip -n fwd-director addr add 10.0.8.25/24 dev eth0
ip -n fwd-real1 addr add 10.0.8.13/24 dev eth0
ip -n fwd-real1 addr add 10.0.5.13/24 dev eth1
ip -n fwd-real2 addr add 10.0.8.12/24 dev eth0
ip -n fwd-stranger addr add 10.0.8.66/24 dev eth0
ip -n fwd-client addr add 2001:db8:4::102/64 dev eth0
ip -n fwd-router addr add 2001:db8:4::1/64 dev eth1
ip -n fwd-router addr add 2001:db8:8::1/64 dev eth0
ip -n fwd-director addr add 2001:db8:8::25/64 dev eth0
ip -n fwd-real1 addr add 2001:db8:8::13/64 dev eth0
ip -n fwd-stranger addr add 2001:db8:8::66/64 dev eth0
ip -n fwd-client route add default via 10.0.4.1
ip -n fwd-client route add default via 2001:db8:4::1
for h in director real1; do ip -n fwd-$h route add default via 2001:db8:8::1; done
for h in director real1 real2; do ip -n fwd-$h route add default via 10.0.8.1; done
for h in router director; do ip netns exec fwd-$h sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; done
`

const wardConf = `vrrp_instance VI_1 {
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
	delay_loop 1
	lb_algo rr
	lb_kind DR
	protocol TCP
	check_path both
	real_server 10.0.8.13 80 {
		TCP_CHECK {
			connect_timeout 1
			delay_before_retry 1
		}
	}
}
virtual_server 10.0.8.9 81 {
	lb_algo rr
	lb_kind TUN
	protocol TCP
	real_server 10.0.8.13 81 {
	}
}
virtual_server 10.0.8.9 82 {
	lb_algo rr
	lb_kind NAT
	protocol TCP
	real_server 10.0.8.12 82 {
	}
}
virtual_server 10.0.8.9 83 {
	lb_algo rr
	lb_kind DR
	protocol TCP
	real_server 10.0.8.13 83 {
	}
}
virtual_server 10.0.8.9 87 {
	lb_algo rr
	lb_kind TUN
	protocol TCP
	real_server 10.0.8.13 87 {
	}
}
vrrp_instance VI_6 {
	state MASTER
	interface eth0
	virtual_router_id 52
	priority 100
	advert_int 1
	virtual_ipaddress {
		2001:db8:8::9
	}
}
virtual_server 2001:db8:8::9 86 {
	lb_algo rr
	lb_kind DR
	protocol TCP
	real_server 2001:db8:8::13 86 {
	}
}
`

// hospital is the ward with its doctor.
type hospital struct {
	*testing.T
	path string       // where vipd is found first
	skew atomic.Int64 // of the real servers' clocks
	web  func()       // ends the server at real1's port 80
}

// sh runs a line in a host, as somebody who copied it would.
func (p *hospital) sh(host, line string) (string, error) {
	p.Helper()
	var out []byte
	err := in(p.T, host, func() (err error) {
		cmd := exec.Command("sh", "-c", line)
		cmd.Env = append(os.Environ(), "PATH="+p.path+":"+os.Getenv("PATH"))
		out, err = cmd.CombinedOutput()
		return err
	})
	return string(out), err
}

func (p *hospital) do(host, line string) string {
	p.Helper()
	out, err := p.sh(host, line)
	if err != nil {
		p.Fatalf("%s: %s: %v: %s", host, line, err, out)
	}
	return out
}

// serve is a web server that says who it is, until the function that it returns is called.
func (p *hospital) serve(host, addr string) (end func()) {
	p.Helper()
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Date", time.Now().Add(time.Duration(p.skew.Load())).UTC().Format(http.TimeFormat))
		io.WriteString(w, host)
	})}
	err := in(p.T, host, func() error {
		l, err := net.Listen("tcp", addr)
		if err == nil {
			go srv.Serve(l)
		}
		return err
	})
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { srv.Close() })
	return func() { srv.Close() }
}

// fetch sends a page of so many bytes to a service, by a connection of its own.
func (p *hospital) fetch(port, size int, wait time.Duration) (body string, err error) {
	err = in(p.T, "client", func() error {
		vip := "10.0.8.9"
		if port == 86 {
			vip = "2001:db8:8::9"
		}
		c, err := net.DialTimeout("tcp", net.JoinHostPort(vip, fmt.Sprint(port)), wait)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(wait))
		fmt.Fprintf(c, "POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size))
		b, err := io.ReadAll(c)
		body = string(b)
		return err
	})
	return body, err
}

// well waits until a service serves, large requests too.
func (p *hospital) well(port int, host string) {
	p.Helper()
	var body string
	var err error
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if body, err = p.fetch(port, 50000, 3*time.Second); err == nil && strings.HasSuffix(body, "\r\n\r\n"+host) {
			return
		}
	}
	p.Fatalf("port %d does not serve: %v %q", port, err, body)
}

type diagnosis struct {
	Code, Subject, What, How string
	Warning                  bool
	Cures                    []struct{ For, Text string }
}

// examine asks the doctor.
func (p *hospital) examine(args ...string) []diagnosis {
	p.Helper()
	out, err := p.sh("director", "vipd doctor --instance doctor -o json --wait 1500ms "+strings.Join(args, " "))
	var all []diagnosis
	if e := json.Unmarshal([]byte(out), &all); e != nil {
		p.Fatalf("doctor %v: %v: %s", args, e, out)
	}
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	if want := slices.ContainsFunc(all, func(d diagnosis) bool { return !d.Warning }); (code == 1) != want || code > 1 {
		p.Errorf("doctor %v: exit code %d of %+v", args, code, all)
	}
	return all
}

// find is the finding of a code; all others are a mistake.
func (p *hospital) find(code string, args ...string) diagnosis {
	p.Helper()
	all := p.examine(args...)
	for _, d := range all {
		if d.Code == code && len(all) == 1 {
			return d
		}
	}
	p.Fatalf("doctor %v found %+v, want %s alone", args, all, code)
	return diagnosis{}
}

// cure is a text of a finding.
func (p *hospital) cure(d diagnosis, place string) string {
	p.Helper()
	for _, c := range d.Cures {
		if c.For == place {
			return c.Text
		}
	}
	p.Fatalf("%s has no cure for %q: %+v", d.Code, place, d.Cures)
	return ""
}

// admit makes the ward, in which all is well.
func admit(t *testing.T) *hospital {
	p := &hospital{T: t, path: t.TempDir()}
	if err := os.Symlink(program(), filepath.Join(p.path, "vipd")); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sh", "-c", ward).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p.do("real1", "vipd realserver prepare --vip 10.0.8.9 --method tun --decap --interface eth0 --apply --state "+p.path+"/state")
	p.do("real1", "vipd realserver prepare --vip 2001:db8:8::9 --method dr --interface eth0 --apply --state "+p.path+"/state6")
	p.do("real2", "vipd realserver prepare --vip 10.0.8.9 --method nat --director 10.0.8.9 --apply --state "+p.path+"/state2")
	p.web = p.serve("real1", "0.0.0.0:80")
	p.serve("real1", "0.0.0.0:81")
	p.serve("real1", "0.0.0.0:83")
	p.serve("real2", "0.0.0.0:82")
	p.serve("real1", "[::]:86")
	p.serve("real1", "0.0.0.0:87")
	p.run()
	for port, host := range map[int]string{80: "real1", 81: "real1", 82: "real2", 86: "real1"} {
		p.well(port, host)
	}
	p.healthy()
	return p
}

// The doctor's tests: one after the other each fault is made, found, named alone, and mended by what the doctor prints, pasted as it
// is; then the service serves. Nothing is found where nothing is wrong.

func TestTheDoctorFindsFaultsOfDirectRoutingAndItsCuresMend(t *testing.T) {
	if !alone(t, 8*time.Minute, wardTools...) {
		return
	}
	p := admit(t)
	p.filtered(83)
	p.stage("answers ARP", func() {
		p.do("real1", "sysctl -qw net.ipv4.conf.all.arp_ignore=0")
		p.do("real1", p.cure(p.find("answers-vip", "10.0.8.13:80"), "Linux, now"))
		p.well(80, "real1")
	})
	p.stage("announces itself, and does not answer", func() {
		p.do("real1", "ip addr add 10.0.8.9/24 dev eth0; nft 'add table arp mute; add chain arp mute out { type filter hook output priority 0; }; add rule arp mute out arp saddr ip 10.0.8.9 drop'")
		stop := p.announce("real1", "10.0.8.9")
		d := p.find("answers-vip", "--watch 3s")
		stop()
		if !strings.Contains(d.How, "by itself") {
			t.Errorf("%+v", d)
		}
		p.do("real1", p.cure(d, "Linux, now"))
		p.do("real1", "nft delete table arp mute")
		for _, host := range []string{"real2", "router"} { // which believed it
			p.do(host, "ip neigh flush dev eth0")
		}
		p.well(80, "real1")
	})
	p.stage("the virtual address on the segment", func() {
		p.do("real1", "ip addr add 10.0.8.9/24 dev eth0")
		p.do("real1", p.cure(p.find("answers-vip"), "Linux, now"))
		p.well(80, "real1")
	})
	p.stage("answers neighbour solicitations", func() {
		p.do("real1", "ip addr add 2001:db8:8::9/64 dev eth0 nodad")
		d := p.find("answers-vip")
		if !strings.Contains(d.What, "neighbour solicitations") || !strings.Contains(d.How, "was asked") {
			t.Errorf("%+v", d)
		}
		p.do("real1", p.cure(d, "Linux, now"))
		p.well(86, "real1")
	})
	p.stage("no virtual address", func() {
		p.do("real1", "ip addr del 10.0.8.9/32 dev lo")
		d := p.find("vip-missing", "10.0.8.13:80")
		p.beside()
		p.do("real1", p.cure(d, "Linux, now"))
		p.well(80, "real1")
	})
	p.stage("no virtual address of IPv6", func() {
		p.do("real1", "ip addr del 2001:db8:8::9/128 dev lo")
		p.do("real1", p.cure(p.find("vip-missing", "[2001:db8:8::13]:86"), "Linux, now"))
		p.well(86, "real1")
	})
	p.stage("nobody listens", func() {
		p.web()
		own := p.serve("real1", "10.0.8.13:80")
		p.find("no-listener", "10.0.8.13:80")
		own()
		p.find("down", "10.0.8.13:80")
		p.serve("real1", "0.0.0.0:80") // which is what the cure says in words
		p.well(80, "real1")
	})
	p.ends()
}

func TestTheDoctorFindsFaultsOfTunnelsAndItsCuresMend(t *testing.T) {
	if !alone(t, 8*time.Minute, wardTools...) {
		return
	}
	p := admit(t)
	p.filtered(87)
	p.stage("a firewall", func() {
		p.do("real1", "nft 'add table inet fw; add chain inet fw in { type filter hook input priority 0; }; add rule inet fw in ip daddr 10.0.8.9 tcp dport 81 drop'")
		p.do("real1", p.cure(p.find("firewall", "10.0.8.13:81"), "Linux, now"))
		p.well(81, "real1")
		p.do("real1", "nft 'flush chain inet fw in; add rule inet fw in ip daddr 10.0.8.9 tcp dport 81 reject with icmp type admin-prohibited'")
		p.do("real1", p.cure(p.find("firewall", "10.0.8.13:81"), "Linux, now"))
		p.well(81, "real1")
		p.do("real1", "nft delete table inet fw")
	})
	p.stage("no decapsulator", func() {
		p.do("real1", "vipd realserver decap --interface eth0 --off")
		p.do("real1", p.cure(p.find("no-decap", "10.0.8.13:81"), "Linux, now"))
		p.well(81, "real1")
	})
	p.stage("segments", func() {
		p.do("real1", "ip route replace default via 10.0.8.1 dev eth0")
		// What clients are told shows on the real server alone, as the segment has a route of its own.
		out, _ := p.sh("real1", "vipd realserver check -o json --vip 10.0.8.9 --method tun --decap --interface eth0")
		var all []diagnosis
		if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 || all[0].Code != "tunnel-mss" {
			t.Fatalf("%v: %s", err, out)
		}
		p.do("real1", p.cure(all[0], "Linux, now"))
		if out := p.do("real1", "vipd realserver check --vip 10.0.8.9 --method tun --decap --interface eth0"); out != "nothing is wrong\n" {
			t.Errorf("after the cure: %s", out)
		}
		p.well(81, "real1")
	})
	p.stage("a small MTU on the way", func() {
		p.do("switch", "ip link set real1 mtu 1400")
		p.do("director", p.cure(p.find("path-mtu", "10.0.8.13:81"), "this director, now"))
		p.well(81, "real1")
		p.do("switch", "ip link set real1 mtu 1500")
		p.do("director", "ip route del 10.0.8.13/32")
		for end := time.Now().Add(90 * time.Second); len(p.examine("10.0.8.13:81")) > 0 && time.Now().Before(end); {
			time.Sleep(300 * time.Millisecond)
		}
	})
	p.ends()
}

func TestTheDoctorFindsFaultsOfNATOfClocksAndDuplicatesAndItsCuresMend(t *testing.T) {
	if !alone(t, 8*time.Minute, wardTools...) {
		return
	}
	p := admit(t)
	p.stage("another gateway", func() {
		p.do("real2", "ip route replace default via 10.0.8.1")
		p.do("real2", p.cure(p.find("gateway", "10.0.8.12"), "Linux, now"))
		p.well(82, "real2")
	})
	p.stage("a wrong clock", func() {
		// A namespace has no clock of its own, and here is no systemd: the server's is what its Date says, and a stand-in sets it.
		tool := "#!/bin/sh\n[ \"$*\" = 'set-ntp true' ] && touch " + p.path + "/synchronised\n"
		if err := os.WriteFile(p.path+"/timedatectl", []byte(tool), 0o755); err != nil {
			t.Fatal(err)
		}
		p.skew.Store(int64(-90 * time.Second))
		d := p.find("clock", "10.0.8.12")
		if !d.Warning || !strings.Contains(d.What, "-1m30s") && !strings.Contains(d.What, "-1m29s") && !strings.Contains(d.What, "-1m31s") {
			t.Errorf("%+v", d)
		}
		p.do("real2", p.cure(d, "Linux, now"))
		if _, err := os.Stat(p.path + "/synchronised"); err != nil {
			t.Fatal("the cure does not have the clock set")
		}
		p.skew.Store(0)
		p.well(82, "real2")
	})
	p.stage("a duplicate", func() {
		p.do("stranger", "ip addr add 10.0.8.9/24 dev eth0")
		p.do("stranger", p.cure(p.find("duplicate-vip"), "Linux, now"))
		p.well(80, "real1")
	})
	p.stage("a duplicate of IPv6", func() {
		p.do("stranger", "ip addr add 2001:db8:8::9/64 dev eth0 nodad")
		p.do("stranger", p.cure(p.find("duplicate-vip"), "Linux, now"))
		p.well(86, "real1")
	})
	p.ends()
}

var wardTools = []string{"ip", "ethtool", "sysctl", "nft", "awk", "sed"}

// filtered is strict rp_filter, of direct routing or of what comes out of a tunnel: a service's first stage, as nothing of it has
// been complete until then.
func (p *hospital) filtered(port int) {
	p.Helper()
	p.stage("rp_filter", func() {
		p.do("real1", "ip route replace default via 10.0.5.1 dev eth1 advmss 1440; sysctl -qw net.ipv4.conf.eth0.rp_filter=1")
		for range 4 {
			if _, err := p.fetch(port, 10, 300*time.Millisecond); err == nil {
				p.Fatal("the fault is none")
			}
		}
		p.do("real1", p.cure(p.find("rp-filter", fmt.Sprintf("10.0.8.13:%d", port)), "Linux, now"))
		p.well(port, "real1")
		p.do("real1", "ip route replace default via 10.0.8.1 dev eth0 advmss 1440")
	})
}

// ends asks the real server itself.
func (p *hospital) ends() {
	p.Helper()
	if out := p.do("real1", "vipd realserver check --vip 10.0.8.9 --method tun --decap --interface eth0 --port 80,81,83"); out != "nothing is wrong\n" {
		p.Errorf("real1 says of itself: %s", out)
	}
	if out := p.do("real1", "vipd realserver check --vip 2001:db8:8::9 --method dr --interface eth0 --port 86"); out != "nothing is wrong\n" {
		p.Errorf("real1 says of its IPv6: %s", out)
	}
}

// announce has a host tell the segment that it has an address, until the function that it returns is called.
func (p *hospital) announce(on, vip string) (stop func()) {
	p.Helper()
	a := host.NewAnnouncer()
	say := func() error { return a.Announce("eth0", netip.MustParseAddr(vip)) }
	if err := in(p.T, on, say); err != nil {
		p.Fatal(err)
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.NewTicker(200 * time.Millisecond); ; {
			select {
			case <-done:
				tick.Stop()
				return
			case <-tick.C:
				_ = in(p.T, on, say)
			}
		}
	}()
	return func() { close(done); <-ended; a.Close() }
}

// stage is one fault, at whose end all is well again.
func (p *hospital) stage(name string, fault func()) {
	p.Helper()
	began := time.Now()
	fault()
	p.healthy()
	p.Logf("%s: %s", name, time.Since(began).Round(time.Millisecond))
}

func (p *hospital) healthy() {
	p.Helper()
	if all := p.examine("--all"); len(all) > 0 {
		p.Fatalf("what is well is %+v", all)
	}
}

// beside waits until the status sets both verdicts beside each other.
func (p *hospital) beside() {
	p.Helper()
	const want = "its own address answers, 10.0.8.9 through DR does not"
	out := ""
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if out = p.do("director", "vipd status --instance doctor"); strings.Contains(out, want) {
			return
		}
	}
	p.Errorf("the status lacks %q:\n%s", want, out)
}

// run starts the director.
func (p *hospital) run() {
	p.Helper()
	file := filepath.Join(p.path, "vipd.conf")
	if err := os.WriteFile(file, []byte(wardConf), 0o644); err != nil {
		p.Fatal(err)
	}
	cmd := exec.Command(program(), "run", "--instance", "doctor", "-f", file)
	log, err := os.Create(filepath.Join(p.path, "log"))
	if err != nil {
		p.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := in(p.T, "director", cmd.Start); err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() {
		cmd.Process.Signal(unix.SIGTERM)
		err := cmd.Wait()
		if text, _ := os.ReadFile(log.Name()); err != nil || p.Failed() {
			p.Errorf("the director: %v\n%s", err, text)
		}
	})
}
