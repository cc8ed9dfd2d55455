package vm

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"vipd/internal/need"
	"vipd/internal/vm"
)

//go:embed testdata/syncways.sh
var syncWaysScript string

// syncWay is how the daemons are set up, the same on both sides.
type syncWay struct {
	name     string
	settings map[string]string
	group    netip.Addr
	port     uint16 // the first
	ports    int
	ttl      byte
	maxLen   int    // of a datagram; a backup has room for 1,024 at least
	options  string // of ipvsadm --start-daemon
}

var syncWays = []syncWay{
	{"nothing said", nil, netip.MustParseAddr("224.0.0.81"), 8848, 1, 1, 1472, ""},
	{"two ports, a group of IPv4", map[string]string{"sync_ports": "2"}, netip.MustParseAddr("224.0.0.99"), 9100, 2, 2, 1024,
		"--mcast-group 224.0.0.99 --mcast-port 9100 --mcast-ttl 2 --sync-maxlen 1024"},
	{"four ports, a group of IPv6", map[string]string{"sync_ports": "4", "sync_sock_size": "262144"}, netip.MustParseAddr("ff02::99"), 9200, 4, 3, 300,
		"--mcast-group ff02::99 --mcast-port 9200 --mcast-ttl 3 --sync-maxlen 300"},
	{"eight ports, a group of a site, a short queue", map[string]string{"sync_ports": "8", "sync_sock_size": "0", "sync_qlen_max": "4"}, netip.MustParseAddr("ff05::99"), 9300, 8, 1, 1452,
		"--mcast-group ff05::99 --mcast-port 9300"},
}

// syncServices are of both families and every method that the protocol tells; their ports tell them apart.
const syncServices = `-A -t 10.0.8.9:80 -s rr
-a -t 10.0.8.9:80 -r 10.0.8.12:80 -g
-A -t [fd00:8::9]:80 -s rr
-a -t [fd00:8::9]:80 -r [fd00:8::12]:80 -g
-A -t [fd00:8::9]:81 -s rr -p 300
-a -t [fd00:8::9]:81 -r [fd00:8::12]:81 -g
-A -t [fd00:8::9]:82 -s rr
-a -t [fd00:8::9]:82 -r [fd00:8::13]:82 -m
`

var syncTargets = []string{"10.0.8.9:80", "[fd00:8::9]:80", "[fd00:8::9]:81", "[fd00:8::9]:82"}

// perTarget is how many connections are made of each by either director: enough for every port.
const perTarget = 12

// TestTheKernelsDaemonsAndOursUnderstandEachOtherOnEveryPortAndGroup: with several ports, groups of either family, other ports, TTLs and
// lengths, connections of both families that are made at one director are in the table of the other with state and real server, and go
// on there. What is set by hand of vipd is so after a restart too.
func TestTheKernelsDaemonsAndOursUnderstandEachOtherOnEveryPortAndGroup(t *testing.T) {
	t.Parallel()
	binary := ""
	if os.Getenv(need.InVM) == "" {
		binary = filepath.Join(t.TempDir(), "vipd")
		buildProgram(t, binary)
	}
	if !vm.Inside(t, vm.Config{Tools: []string{"ip", "ipvsadm", "ethtool"}, Modules: []string{"bridge"}, Script: syncWaysScript, CountInstructions: true,
		Files: map[string]string{"/vm/vipd": binary}, Limit: time.Hour}) {
		return
	}
	s := newSyncPair(t)
	for _, w := range syncWays {
		s.play(w)
	}
	s.restart()
}

// syncPair is the two directors, and what is open through them.
type syncPair struct {
	*testing.T
	kernel, ours *syncSide
	running      *exec.Cmd // vipd
	open         []net.Conn
	heard        *syncHeard
}

// syncSide is a director.
type syncSide struct {
	name    string
	mac     string
	via     string // its address of IPv6, by which NAT's answers go
	ipvsadm []string
	setting func(name, value string) []string // the command that sets one
}

func newSyncPair(t *testing.T) *syncPair {
	s := &syncPair{T: t}
	s.kernel = &syncSide{"the kernel", "02:00:00:00:00:02", "fd00:8::2", []string{"ip", "netns", "exec", "k", "ipvsadm"},
		func(name, value string) []string {
			return []string{"ip", "netns", "exec", "k", "sysctl", "-qw", "net.ipv4.vs." + name + "=" + value}
		}}
	s.ours = &syncSide{"vipd", "02:00:00:00:00:03", "fd00:8::3", []string{"/vm/vipd", "ipvsadm"},
		func(name, value string) []string { return []string{"/vm/vipd", "sysctl", name + "=" + value} }}
	for ns, ports := range map[string][]uint16{"rs": {80, 81}, "nat": {82}} {
		for _, port := range ports {
			if err := in(ns, func() error { return echoBy(t, "tcp", port) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.start()
	t.Cleanup(func() { s.end(syscall.SIGKILL) })
	for _, d := range []*syncSide{s.kernel, s.ours} {
		restore := exec.Command(d.ipvsadm[0], append(d.ipvsadm[1:], "-R")...)
		restore.Stdin = strings.NewReader(syncServices)
		if out, err := restore.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", d.name, err, out)
		}
	}
	s.heard = &syncHeard{}
	if err := in("c", func() error { return s.heard.listen(t) }); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *syncPair) start() {
	s.Helper()
	log, err := os.OpenFile("/run/log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.Fatal(err)
	}
	defer log.Close()
	s.running = exec.Command("/vm/vipd", "run", "--no-config", "--interface", "eth0")
	s.running.Stdout, s.running.Stderr = log, log
	if err := s.running.Start(); err != nil {
		s.Fatal(err)
	}
	s.await("vipd runs", func() bool { return exec.Command("/vm/vipd", "status").Run() == nil })
}

func (s *syncPair) end(how syscall.Signal) {
	_ = s.running.Process.Signal(how)
	_ = s.running.Wait()
	if log, _ := os.ReadFile("/run/log"); s.Failed() {
		s.Logf("vipd said:\n%s", log[max(0, len(log)-8000):])
	}
}

func (s *syncPair) await(what string, is func() bool) {
	s.Helper()
	for began := time.Now(); !is(); time.Sleep(lookAgain) {
		if time.Since(began) > moveBound {
			s.Fatalf("not within %v: %s", moveBound, what)
		}
	}
}

func (s *syncPair) run(d *syncSide, args ...string) string {
	s.Helper()
	out, err := exec.Command(d.ipvsadm[0], append(slices.Clone(d.ipvsadm[1:]), args...)...).CombinedOutput()
	if err != nil {
		s.Fatalf("%s: %v: %v: %s", d.name, args, err, out)
	}
	return string(out)
}

// play sets the daemons up in one way, and has connections made at either director go on at the other.
func (s *syncPair) play(w syncWay) {
	s.Helper()
	both := []*syncSide{s.kernel, s.ours}
	for _, d := range both {
		for name, value := range w.settings {
			must(s.T, d.setting(name, value)...)
		}
		for _, part := range []string{"master", "backup"} {
			s.run(d, append([]string{"--start-daemon", part, "--mcast-interface", "eth0", "--syncid", "7"}, strings.Fields(w.options)...)...)
		}
	}
	want, got := s.run(s.kernel, "-l", "--daemon"), s.run(s.ours, "-l", "--daemon")
	if diff := cmp.Diff(want, got); diff != "" {
		s.Errorf("%s: daemons (-kernel +vipd):\n%s", w.name, diff)
	}
	s.heard.begin()
	for _, from := range both {
		to := both[0]
		if to == from {
			to = both[1]
		}
		s.by(from)
		made := s.begin()
		s.await(fmt.Sprintf("%s: %s has what was made at %s", w.name, to.name, from.name), func() bool { return s.lacks(to, from, made) == "" })
		s.by(to)
		s.say(made)
		s.open = append(s.open, made...)
	}
	s.Logf("%s: %s", w.name, s.heard.check(s.T, w))
	for _, c := range s.open {
		c.Close()
	}
	s.open = nil
	for _, d := range both {
		for _, part := range []string{"master", "backup"} {
			s.run(d, "--stop-daemon", part)
		}
	}
}

// by has packets of clients and of NAT's real server go to a director.
func (s *syncPair) by(d *syncSide) {
	s.Helper()
	for _, vip := range []string{"10.0.8.9", "fd00:8::9"} {
		must(s.T, "ip", "-n", "c", "neigh", "replace", vip, "lladdr", d.mac, "dev", "eth0", "nud", "permanent")
	}
	must(s.T, "ip", "-n", "nat", "-6", "route", "replace", "fd00:4::/64", "via", d.via)
}

// begin opens connections to every target, and says a word over each.
func (s *syncPair) begin() (made []net.Conn) {
	s.Helper()
	for _, target := range syncTargets {
		for range perTarget {
			var c net.Conn
			err := in("c", func() (err error) {
				c, err = (&net.Dialer{Timeout: moveBound, KeepAlive: -1}).Dial("tcp", target)
				return err
			})
			if err != nil {
				s.Fatalf("%s: %v", target, err)
			}
			s.Cleanup(func() { c.Close() })
			made = append(made, c)
		}
	}
	s.say(made)
	return made
}

// say hears over each connection what it says, twice, so that each has had more packets than it takes to be told.
func (s *syncPair) say(conns []net.Conn) {
	s.Helper()
	var answer [2]byte
	for range 2 {
		for _, c := range conns {
			err := c.SetDeadline(time.Now().Add(moveBound))
			if err == nil {
				_, err = c.Write([]byte("ab"))
			}
			if err == nil {
				_, err = c.Read(answer[:])
			}
			if err != nil {
				s.Fatalf("%v to %v: %v", c.LocalAddr(), c.RemoteAddr(), err)
			}
		}
	}
}

// conns is what a director lists: state and real server of each connection, by client and virtual address.
func (s *syncPair) conns(d *syncSide) map[string]string {
	s.Helper()
	all := map[string]string{}
	for line := range strings.Lines(s.run(d, "-lcn")) {
		if f := strings.Fields(line); len(f) == 6 && f[0] == "TCP" {
			all[f[3]+" "+f[4]] = f[2] + " " + f[5]
		}
	}
	return all
}

// lacks says what of the connections is not with one director as with the other.
func (s *syncPair) lacks(d, from *syncSide, conns []net.Conn) string {
	s.Helper()
	here, there := s.conns(d), s.conns(from)
	keys := map[string]bool{"[fd00:4::200]:0 [fd00:8::9]:81": true} // the template
	for _, c := range conns {
		keys[c.LocalAddr().String()+" "+c.RemoteAddr().String()] = true
	}
	for key := range keys {
		if there[key] == "" {
			s.Fatalf("%s is not with %s, which carries it: %v", key, from.name, there)
		}
		if here[key] != there[key] {
			return fmt.Sprintf("%s: %q, %s has %q", key, here[key], from.name, there[key])
		}
	}
	return ""
}

// restart ends vipd and starts it again.
func (s *syncPair) restart() {
	s.Helper()
	last := syncWays[len(syncWays)-1]
	s.run(s.ours, append([]string{"--start-daemon", "backup", "--mcast-interface", "eth0", "--syncid", "9"}, strings.Fields(last.options)...)...)
	settings := func() string {
		out, err := exec.Command("/vm/vipd", "sysctl").Output()
		if err != nil {
			s.Fatal(err)
		}
		return string(out)
	}
	had, daemons := settings(), s.run(s.ours, "-l", "--daemon")
	s.end(syscall.SIGTERM)
	s.start()
	if diff := cmp.Diff(had, settings()); diff != "" {
		s.Errorf("settings before and after a restart (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(daemons, s.run(s.ours, "-l", "--daemon")); diff != "" {
		s.Errorf("daemons before and after a restart (-before +after):\n%s", diff)
	}
}

// syncHeard is what the segment carries of synchronisation.
type syncHeard struct {
	mu   sync.Mutex
	seen map[string][]heardOne // by who sends it
}

// heardOne is a datagram.
type heardOne struct {
	to   netip.AddrPort
	ttl  byte
	size int
}

// listen reads until the test ends.
func (h *syncHeard) listen(t *testing.T) error {
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	all := int(binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	if err != nil {
		return err
	}
	err = errors.Join(unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: eth0.Index}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}))
	if err != nil {
		unix.Close(fd)
		return err
	}
	ended, stop := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-ended; unix.Close(fd) })
	go func() {
		defer close(ended)
		for buf := make([]byte, 2048); ; {
			select {
			case <-stop:
				return
			default:
			}
			if n, err := unix.Read(fd, buf); err == nil {
				h.frame(buf[:n])
			}
		}
	}()
	return nil
}

// frame notes a UDP datagram to a group: RFC 791 3.1, RFC 8200 3, RFC 768.
func (h *syncHeard) frame(b []byte) {
	if len(b) < 14+40+8 {
		return
	}
	ip := b[14:]
	var one heardOne
	var to netip.Addr
	var udp []byte
	switch binary.BigEndian.Uint16(b[12:]) {
	case unix.ETH_P_IP:
		to, one.ttl, udp = netip.AddrFrom4([4]byte(ip[16:])), ip[8], ip[20:]
		if ip[9] != unix.IPPROTO_UDP {
			return
		}
	case unix.ETH_P_IPV6:
		to, one.ttl, udp = netip.AddrFrom16([16]byte(ip[24:])), ip[7], ip[40:]
		if ip[6] != unix.IPPROTO_UDP {
			return
		}
	default:
		return
	}
	if !to.IsMulticast() {
		return
	}
	one.to = netip.AddrPortFrom(to, binary.BigEndian.Uint16(udp[2:]))
	one.size = int(binary.BigEndian.Uint16(udp[4:])) - 8
	h.mu.Lock()
	defer h.mu.Unlock()
	who := net.HardwareAddr(b[6:12]).String()
	h.seen[who] = append(h.seen[who], one)
}

// begin forgets what was heard.
func (h *syncHeard) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen = map[string][]heardOne{}
}

// check holds that either director told to the ports of the group and used more than one of several, ours more than half, and sent nothing
// that the way does not say.
func (h *syncHeard) check(t *testing.T, w syncWay) string {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	said := ""
	for who, mac := range map[string]string{"the kernel": "02:00:00:00:00:02", "vipd": "02:00:00:00:00:03"} {
		ports, want, longest := map[uint16]int{}, map[uint16]bool{}, 0
		for _, one := range h.seen[mac] {
			if one.to.Addr() != w.group {
				continue
			}
			ports[one.to.Port()]++
			longest = max(longest, one.size)
			if one.ttl != w.ttl || one.size > w.maxLen {
				t.Errorf("%s: %s sent %+v", w.name, who, one)
			}
		}
		for i := range w.ports {
			want[w.port+uint16(i)] = true
		}
		// The kernel's choice hangs on where in memory a connection is, ours on its client.
		if used := len(ports); used <= w.ports/2 && (who == "vipd" || used <= min(1, w.ports-1)) {
			t.Errorf("%s: %s sent to %d of %d ports: %v", w.name, who, used, w.ports, ports)
		}
		for port := range ports {
			if !want[port] {
				t.Errorf("%s: %s sent to port %d", w.name, who, port)
			}
		}
		said += fmt.Sprintf("%s sent %d datagrams of at most %d bytes; ", who, len(h.seen[mac]), longest)
	}
	return strings.TrimSuffix(said, "; ")
}
