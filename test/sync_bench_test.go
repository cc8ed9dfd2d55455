package test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/control"
)

const (
	changesPerSecond = 50_000
	changesFor       = 20 * time.Second
	changing         = 2 * changesPerSecond // connections: each changes every other second
	quietFor         = 10 * time.Second
)

// TestWhatFiftyThousandChangesASecondCost: packets change the states of so many connections a second on the director that is master,
// which tells the other, by the kernel's protocol and by connection_sync. It says what part of a processor telling and learning take
// each, beside what the same director with the same table takes when nothing changes, and what memory grows by. The packets' own
// path is in the kernel, on account of who sends them, which is this process.
func TestWhatFiftyThousandChangesASecondCost(t *testing.T) {
	if os.Getenv("VIPD_BENCH") == "" {
		t.Skip("a benchmark: make bench")
	}
	if !alone(t, 10*time.Minute, "ip") {
		return
	}
	for _, by := range []struct{ name, global string }{
		{"the kernel's protocol", fmt.Sprintf("    lvs_sync_daemon eth0 VI_1 id %d\n", syncID)},
		{"connection_sync, with HMAC", "    connection_sync {\n        peer OTHER\n        source OWN\n        key hex:" + strings.Repeat("5a", 32) + "\n    }\n"},
	} {
		pairSaying(t, func(_ int, own, other string) string {
			return strings.NewReplacer("OWN", own, "OTHER", other).Replace(by.global)
		})
		c := &changes{T: t, name: by.name}
		c.run()
		works(t, "lab", "down")
	}
}

// changes is one run of it.
type changes struct {
	*testing.T
	name  string
	nodes []*node // who tells, who learns
	fd    int
	frame []byte
}

func (c *changes) run() {
	for director, state := range map[string]string{stronger: "MASTER", weaker: "BACKUP"} { // each with its half of the kernel's protocol
		(&continuity{T: c.T}).becomes(director, state)
	}
	for _, name := range []string{stronger, weaker} {
		var st control.Status
		if err := json.Unmarshal([]byte(works(c.T, "status", "-o", "json", "--instance", name)), &st); err != nil {
			c.Fatal(err)
		}
		c.nodes = append(c.nodes, &node{cmd: &exec.Cmd{Process: &os.Process{Pid: st.PID}}})
	}
	// Real servers have no way back to these clients, and do not answer.
	shell(c.T, "for r in real1 real2; do ip -n vipd-lab-$r route add blackhole 100.64.0.0/10; done")
	inside(c.T, "vipd-lab-router", c.open)
	defer unix.Close(c.fd)
	c.fill()
	for range 3 { // as at the start of what is measured
		c.turn()
	}
	time.Sleep(2 * time.Second)
	idle := c.cost(func() { time.Sleep(quietFor) })
	memory := []int{ownMemory(c.T, c.nodes[0]), ownMemory(c.T, c.nodes[1])}
	told, learned := syncOf(c.T, stronger).Told, syncOf(c.T, weaker).Learned
	began, made := time.Now(), 0
	busy := c.cost(func() {
		for ; time.Since(began) < changesFor; made += 2 * changing {
			c.turn()
		}
	})
	took := time.Since(began).Seconds()
	told, learned = syncOf(c.T, stronger).Told-told, syncOf(c.T, weaker).Learned-learned
	for i, side := range []struct {
		does string
		n    uint64
	}{{"tells", told}, {"learns", learned}} {
		c.Logf("%s: who %s %.0f changes a second takes %.1f %% of a processor, %.1f %% when nothing changes; its memory went from %d to %d MiB", c.name, side.does,
			float64(side.n)/took, busy[i], idle[i], memory[i]>>10, ownMemory(c.T, c.nodes[i])>>10)
	}
	c.Logf("%.0f changes a second were made", float64(made)/took)
	load, _ := os.ReadFile("/proc/loadavg")
	c.Logf("load of the machine: %s", load)
}

// fill opens the connections. Cables of a busy machine lose packets, and nobody repairs what the kernel's protocol loses: what the other
// director has not got is closed and opened again until it has nine of ten.
func (c *changes) fill() {
	const enough = changing * 9 / 10
	c.second(0, changing/2, syn, ack, ack)
	c.second(changing/2, changing, syn, ack, ack)
	for range 10 {
		for range 5 {
			if linesOf(c.T, weaker) >= enough {
				return
			}
			time.Sleep(time.Second)
		}
		c.Logf("%s has %d connections, %s %d of %d: again", stronger, linesOf(c.T, stronger), weaker, linesOf(c.T, weaker), changing)
		c.turn()
	}
	c.Fatalf("%s has %d connections, %s %d of %d", stronger, linesOf(c.T, stronger), weaker, linesOf(c.T, weaker), changing)
}

// turn closes each connection and opens it again.
func (c *changes) turn() {
	c.second(0, changing/2, fin)
	c.second(changing/2, changing, fin)
	c.second(0, changing/2, syn, ack)
	c.second(changing/2, changing, syn, ack)
}

// cost is what part of a processor, in percent, each director takes while fn runs.
func (c *changes) cost(fn func()) (part []float64) {
	before := []time.Duration{ranFor(c.T, c.nodes[0]), ranFor(c.T, c.nodes[1])}
	began := time.Now()
	fn()
	took := time.Since(began)
	for i, n := range c.nodes {
		part = append(part, 100*(ranFor(c.T, n)-before[i]).Seconds()/took.Seconds())
	}
	return part
}

// TCP flags.
const (
	fin = 0x01
	syn = 0x02
	ack = 0x10
)

func (c *changes) open() error {
	ifi, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	if c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	c.frame = synFrame(net.HardwareAddr{2, 0, 10, 0, 8, 25}, ifi.HardwareAddr)
	return unix.Bind(c.fd, &unix.SockaddrLinklayer{Ifindex: ifi.Index})
}

// second sends packets with those flags of each of the connections from first to before end, and takes a second for it.
func (c *changes) second(first, end int, flags ...byte) {
	began := time.Now()
	for i := first; i < end; i++ {
		binary.BigEndian.PutUint32(c.frame[26:], 100<<24|64<<16|uint32(i))
		binary.BigEndian.PutUint16(c.frame[34:], 1024)
		for _, f := range flags {
			c.frame[47] = f
			checksums(c.frame)
			_, err := unix.Write(c.fd, c.frame)
			for err == unix.ENOBUFS {
				_, err = unix.Write(c.fd, c.frame)
			}
			if err != nil {
				c.Fatal(err)
			}
		}
		if at := i - first + 1; at%500 == 0 {
			time.Sleep(time.Until(began.Add(time.Second * time.Duration(at) / time.Duration(end-first))))
		}
	}
}
