package vm

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vipd/internal/need"
	"vipd/internal/vm"
)

var (
	//go:embed testdata/moves.sh
	movesScript string
	//go:embed testdata/moves.conf
	movesConf string
)

const (
	movesVar  = "VIPD_MOVES" // how often the address moves: 100 is the long run
	fewMoves  = 2            // by SIGKILL, after one each way by a stop
	perCase   = 34           // connections, half of them begun at either director
	lookAgain = time.Second  // waiting costs nothing, looking does
	moveBound = time.Minute  // of the machine's clock, which does not go while nobody works: nothing is decided by it
)

// movedCase is a service, and how its connections fared.
type movedCase struct {
	name       string
	port       uint16
	kind       string // of the real servers
	method     string // as keepalived calls it
	persistent bool

	moves, broken int
}

// TestTheAddressMovesBetweenKeepalivedAndVipd: keepalived with the kernel's IPVS on one director, vipd on the other, each telling
// the other by lvs_sync_daemon. Both list the same of 200 open connections that were made on either, and while the address moves to and fro (by a stop, and by
// SIGKILL of what holds it) none of those that both know breaks.
//
// The machine's clock counts instructions, so that waiting takes no time and a busy machine makes nothing late.
func TestTheAddressMovesBetweenKeepalivedAndVipd(t *testing.T) {
	t.Parallel()
	binary := ""
	if os.Getenv(need.InVM) == "" {
		binary = filepath.Join(t.TempDir(), "vipd")
		buildProgram(t, binary)
	}
	if !vm.Inside(t, vm.Config{Tools: []string{"ip", "ipvsadm", "keepalived", "ethtool"}, Modules: []string{"bridge", "ipip"}, CountInstructions: true,
		Script: exported(movesVar) + movesScript, Files: map[string]string{"/vm/vipd": binary}, Limit: 2 * time.Hour}) {
		return
	}
	m := newMoving(t)
	k, v := m.sides[0], m.sides[1]
	k.start()
	m.await("the kernel's director is master", k.holds)
	v.start()
	m.await("vipd is backup", v.backup)
	half := perCase / 2
	m.begin(half)
	m.inStep(v, half*len(m.cases), "made on the kernel's director")
	m.move(k, v, false)
	m.begin(perCase - half)
	m.inStep(k, (perCase-half)*len(m.cases), "made on vipd's director")
	m.move(v, k, false)
	for i := range numberOf(movesVar, fewMoves) {
		from, to := m.sides[i%2], m.sides[1-i%2]
		m.move(from, to, i/2%2 == 0)
		if i%10 == 9 {
			t.Logf("%d moves", i+1)
		}
	}
	for _, c := range m.cases {
		t.Logf("%-16s %3d connections, each moved %3d times: %d broken", c.name, perCase, c.moves, c.broken)
	}
	t.Logf("the longest that a connection waited for an answer: %v after a stop, %v after SIGKILL", m.worst[0].Round(10*time.Millisecond), m.worst[1].Round(10*time.Millisecond))
}

// moving is the whole of it.
type moving struct {
	*testing.T
	sides []*side
	cases []*movedCase
	conns []*moved
	worst [2]time.Duration // by whether the holder was killed
}

// side is a director.
type side struct {
	*moving
	name    string
	in      string // its namespace; empty: the VM's own
	command []string
	list    []string // prints its connections
	running *exec.Cmd
	ended   chan error
}

// moved is an open connection.
type moved struct {
	net.Conn
	of   *movedCase
	said int
}

func newMoving(t *testing.T) *moving {
	m := &moving{T: t}
	for i, kind := range []struct{ kind, method string }{{"d", "DR"}, {"n", "NAT"}, {"t", "TUN"}} {
		port := uint16(80 + 2*i)
		m.cases = append(m.cases, &movedCase{name: kind.method, port: port, kind: kind.kind, method: kind.method},
			&movedCase{name: kind.method + " persistent", port: port + 1, kind: kind.kind, method: kind.method, persistent: true})
	}
	for _, c := range m.cases {
		for _, n := range []string{"1", "2"} {
			if err := in(c.kind+n, func() error { return echo(t, c.port) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	m.sides = []*side{
		{moving: m, name: "keepalived", in: "k", command: []string{"keepalived", "-nlD", "-p", "/run/k.pid", "-r", "/run/kv.pid", "-c", "/run/kc.pid", "-f"},
			list: []string{"ip", "netns", "exec", "k", "ipvsadm"}},
		{moving: m, name: "vipd", command: []string{"/vm/vipd", "run", "-f"}, list: []string{"/vm/vipd", "ipvsadm"}},
	}
	for i, s := range m.sides {
		if err := os.WriteFile(s.file("conf"), []byte(m.config(s.name, 100+i)), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				log, _ := os.ReadFile(s.file("log"))
				t.Logf("%s said:\n%s", s.name, log[max(0, len(log)-8000):])
			}
			if s.running != nil {
				s.signal(syscall.SIGKILL)
				<-s.ended
			}
		})
	}
	return m
}

func (m *moving) config(name string, priority int) string {
	settings := "" // keepalived's are those of its namespace: see moves.sh
	if name == "vipd" {
		settings = "lvs_sysctl sync_threshold 0 1"
	}
	text := strings.NewReplacer("NAME", name, "PRIORITY", fmt.Sprint(priority), "SETTINGS", settings).Replace(movesConf)
	for _, c := range m.cases {
		text += fmt.Sprintf("virtual_server 10.0.8.9 %d {\n\tprotocol TCP\n\tlb_algo rr\n\tlb_kind %s\n", c.port, c.method)
		if c.persistent {
			text += "\tpersistence_timeout 3600\n"
		}
		first := map[string]int{"d": 11, "n": 13, "t": 15}[c.kind]
		for i := range 2 {
			text += fmt.Sprintf("\treal_server 10.0.8.%d %d {\n\t\tweight 1\n\t}\n", first+i, c.port)
		}
		text += "}\n"
	}
	return text
}

// echo says what it hears, on a port of all addresses of IPv4 of this namespace.
func echo(t *testing.T, port uint16) error { return echoBy(t, "tcp4", port) }

// echoBy is echo by a network of package net.
func echoBy(t *testing.T, network string, port uint16) error {
	l, err := net.Listen(network, fmt.Sprintf(":%d", port))
	if err != nil {
		return err
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return nil
}

func (m *moving) await(what string, is func() bool) {
	m.Helper()
	for began := time.Now(); !is(); time.Sleep(lookAgain) {
		if time.Since(began) > moveBound {
			m.Fatalf("not within %v: %s", moveBound, what)
		}
	}
}

// begin opens so many connections of each case through whoever is master.
func (m *moving) begin(n int) {
	m.Helper()
	for _, c := range m.cases {
		for range n {
			one := &moved{of: c}
			local := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 4, byte(200 + len(m.conns)%10)}), 0)
			err := in("client", func() (err error) {
				dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(local), Timeout: moveBound, KeepAlive: -1}
				one.Conn, err = dialer.Dial("tcp4", fmt.Sprintf("10.0.8.9:%d", c.port))
				return err
			})
			if err != nil {
				m.Fatalf("%s: %v", c.name, err)
			}
			m.conns = append(m.conns, one)
			m.Cleanup(func() { one.Close() })
		}
	}
	m.sayAll()
}

// sayAll says a word over each connection and hears it; what does not work is broken. It returns the longest that one took.
func (m *moving) sayAll() time.Duration {
	m.Helper()
	var wg sync.WaitGroup
	turn := make(chan struct{}, 8) // what nobody has time for is sent again
	took, broken := make([]time.Duration, len(m.conns)), make([]error, len(m.conns))
	for i, c := range m.conns {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			began := time.Now()
			broken[i] = c.say()
			took[i] = time.Since(began)
		})
	}
	wg.Wait()
	worst := time.Duration(0)
	left := m.conns[:0:0]
	for i, c := range m.conns {
		if broken[i] != nil {
			m.Errorf("%s, %v: %v", c.of.name, c.LocalAddr(), broken[i])
			c.of.broken++
			continue
		}
		left = append(left, c)
		worst = max(worst, took[i])
	}
	m.conns = left
	return worst
}

func (c *moved) say() error {
	c.said++
	word := fmt.Sprintf("%d\n", c.said)
	if err := c.SetDeadline(time.Now().Add(moveBound)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, word); err != nil {
		return err
	}
	got, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && got != word {
		err = fmt.Errorf("%q, want %q", got, word)
	}
	return err
}

// move ends what holds the address, and when all connections went on at the other director brings it back as the backup that has them all.
func (m *moving) move(from, to *side, kill bool) {
	m.Helper()
	how := 0
	if kill {
		how = 1
		from.signal(syscall.SIGKILL)
	} else {
		from.signal(syscall.SIGTERM)
	}
	<-from.ended
	from.running = nil
	m.await(to.name+" is master", to.holds)
	m.worst[how] = max(m.worst[how], m.sayAll())
	for _, c := range m.cases {
		c.moves++
	}
	from.start()
	m.await(from.name+" is backup", from.backup)
	m.sayAll()
	m.await(from.name+" has all connections again", func() bool { return from.lacks(to) == "" })
}

func (s *side) file(ext string) string { return "/run/" + s.name + "." + ext }

func (s *side) start() {
	s.Helper()
	log, err := os.OpenFile(s.file("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.Fatal(err)
	}
	defer log.Close()
	args := append(s.command, s.file("conf"))
	if s.in != "" {
		args = append([]string{"ip", "netns", "exec", s.in}, args...)
	}
	s.running = exec.Command(args[0], args[1:]...)
	s.running.Stdout, s.running.Stderr = log, log
	if err := s.running.Start(); err != nil {
		s.Fatal(err)
	}
	s.ended = make(chan error, 1)
	go func() { s.ended <- s.running.Wait() }()
}

// signal is for all processes of the director, or for the first one, which ends the others.
func (s *side) signal(what syscall.Signal) {
	if what != syscall.SIGKILL {
		_ = s.running.Process.Signal(what)
		return
	}
	all, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, file := range all {
		if name, _ := os.ReadFile(file); strings.TrimSpace(string(name)) == s.name {
			if pid, err := strconv.Atoi(strings.Split(file, "/")[2]); err == nil {
				_ = syscall.Kill(pid, what)
			}
		}
	}
}

// run gives what a command of the director's prints.
func (s *side) run(command ...string) string {
	s.Helper()
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.Fatalf("%v: %v", command, err)
	}
	return string(out)
}

// holds: it runs, and is master of the address by what it tells.
func (s *side) holds() bool {
	s.Helper()
	return s.hasAddress() && s.half() == "master"
}

func (s *side) backup() bool {
	s.Helper()
	return !s.hasAddress() && s.half() == "backup"
}

func (s *side) hasAddress() (has bool) {
	s.Helper()
	look := func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		all, err := eth0.Addrs()
		has = slices.ContainsFunc(all, func(a net.Addr) bool { return a.String() == "10.0.8.9/32" })
		return err
	}
	if s.in != "" {
		inner := look
		look = func() error { return in(s.in, inner) }
	}
	if err := look(); err != nil {
		s.Fatal(err)
	}
	return has
}

// half is which sync daemon runs.
func (s *side) half() string {
	s.Helper()
	word, _, _ := strings.Cut(s.run(append(s.list, "-l", "--daemon")...), " ")
	return word
}

// listed is a connection in a table.
type listed struct {
	state, real string
	expires     time.Duration
}

// table is what a director lists, by protocol, client and virtual address.
func (s *side) table() map[string]listed {
	s.Helper()
	all := map[string]listed{}
	for line := range strings.Lines(s.run(append(s.list, "-lcn")...)) {
		f := strings.Fields(line)
		if len(f) < 6 || f[0] != "TCP" {
			continue
		}
		minutes, seconds, _ := strings.Cut(f[1], ":")
		min, err1 := strconv.Atoi(minutes)
		sec, err2 := strconv.Atoi(seconds)
		if err := errors.Join(err1, err2); err != nil {
			s.Fatalf("%s: %v", line, err)
		}
		all[strings.Join([]string{f[0], f[3], f[4]}, " ")] = listed{f[2], f[5], time.Duration(min)*time.Minute + time.Duration(sec)*time.Second}
	}
	return all
}

// keys are how the tables name what is open: the connections, and the templates of persistent clients.
func keysOf(conns []*moved) map[string]bool {
	all := map[string]bool{}
	for _, c := range conns {
		local := c.LocalAddr().(*net.TCPAddr)
		all[fmt.Sprintf("TCP %v 10.0.8.9:%d", local, c.of.port)] = true
		if c.of.persistent {
			all[fmt.Sprintf("TCP %v:0 10.0.8.9:%d", local.IP, c.of.port)] = true
		}
	}
	return all
}

// lacks says what of the open connections is not in this table as it is in the other one.
func (s *side) lacks(other *side) string {
	s.Helper()
	here, there := s.table(), other.table()
	for key := range keysOf(s.conns) {
		a, b := here[key], there[key]
		switch {
		case b.state == "":
			s.Fatalf("%s is not with %s, which carries it", key, other.name)
		case a.state != b.state || a.real != b.real:
			return fmt.Sprintf("%s: %+v, %s has %+v", key, a, other.name, b)
		}
	}
	return ""
}

// inStep waits until this table has all that is open, and compares it with the other one: states, real servers, what is counted
// as active and inactive, and the times of those that were made last. (Of others one packet in 50 is told, by the kernel's rule.)
func (m *moving) inStep(s *side, made int, what string) {
	m.Helper()
	other := m.sides[0]
	if s == other {
		other = m.sides[1]
	}
	m.await("it is told what was "+what, func() bool { return s.lacks(other) == "" })
	// Every packet is told by both (sync_threshold 0 1). Two directors with the kernel's IPVS are 0 s apart by this test. The kernel looks each
	// second for a datagram that is not full and 2 s old.
	const apart = 3 * time.Second
	here, there := s.table(), other.table()
	worst := time.Duration(0)
	for key := range keysOf(m.conns[len(m.conns)-made:]) {
		by := (here[key].expires - there[key].expires).Abs()
		if by > apart {
			m.Errorf("%s: %s says %v, %s %v", key, s.name, here[key].expires, other.name, there[key].expires)
		}
		worst = max(worst, by)
	}
	if a, b := s.counted(), other.counted(); a != b {
		m.Errorf("%s counts\n%s%s\n%s", s.name, a, other.name, b)
	}
	m.Logf("%s: %d lines are the same on both, their times by %v at most", what, len(keysOf(m.conns)), worst)
}

// counted is each real server's method, active and inactive connections.
func (s *side) counted() (out string) {
	s.Helper()
	for line := range strings.Lines(s.run(append(s.list, "-ln")...)) {
		if f := strings.Fields(line); len(f) == 6 && f[0] == "->" && strings.HasPrefix(f[1], "10.") {
			out += strings.Join([]string{f[1], f[2], f[4], f[5]}, " ") + "\n"
		}
	}
	return out
}
