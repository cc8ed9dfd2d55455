package vm

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vipd/internal/vm"
)

// TestStoredTracesAreWhatTheKernelPicks plays to the kernel's IPVS what the packet path is compared with: of all traces
// those of rr, wrr and sh.
func TestStoredTracesAreWhatTheKernelPicks(t *testing.T) {
	if !vm.Inside(t, vm.Config{
		Tools:  []string{"ip", "ipvsadm"},
		Files:  map[string]string{"/vm/traces": "../../bpf/testdata/traces"},
		Script: "gateway=10.0.8.2\n" + networkScript,
	}) {
		return
	}
	files, err := filepath.Glob("/vm/traces/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no traces: %v", err)
	}
	w := newWorld(t)
	for _, file := range files {
		if !strings.HasPrefix(filepath.Base(file), "rr-") && !strings.HasPrefix(filepath.Base(file), "wrr-") && !strings.HasPrefix(filepath.Base(file), "sh-") {
			continue // thousands of picks more, by the same player
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), "\nrst ") {
				return // clients that come and go at a certain time
			}
			w.TB = t
			p := &player{world: w}
			defer p.hangUp()
			for line := range strings.Lines(string(text)) {
				p.play(strings.Fields(line))
			}
		})
	}
	w.TB = t
}

// player plays one trace; bpf/testdata/README.md says how one is written.
type player struct {
	*world
	at          netip.AddrPort
	proto, step string
	next        netip.AddrPort
	held        []net.Conn
}

func (p *player) play(words []string) {
	p.Helper()
	switch words[0] {
	case "$":
		p.command(strings.Join(words[1:], " "))
		if len(words) > 4 && words[2] == "-A" {
			p.proto = map[string]string{"-t": "tcp", "-u": "udp"}[words[3]]
			p.at = netip.MustParseAddrPort(words[4])
		}
	case "udp", "tcp":
		p.step, p.next = words[1], netip.MustParseAddrPort(words[2])
		p.picks(words[3:])
	case "+":
		p.picks(words[1:])
	case "count":
		p.count(words[1:])
	default:
		p.Fatalf("what is %q?", words)
	}
}

// picks makes one new client for each answer.
func (p *player) picks(answers []string) {
	p.Helper()
	for _, want := range answers {
		got, held := p.call(p.proto, p.next, p.at)
		if held != nil {
			p.held = append(p.held, held)
		}
		if got != want {
			p.Fatalf("client %v went to %s, the trace says %s", p.next, got, want)
		}
		if p.step == "host" {
			p.next = netip.AddrPortFrom(p.next.Addr().Next(), p.next.Port())
		} else {
			p.next = netip.AddrPortFrom(p.next.Addr(), p.next.Port()+1)
		}
	}
}

// count compares a real server's last two columns.
func (p *player) count(words []string) {
	p.Helper()
	for line := range strings.Lines(p.command("ipvsadm -Ln")) {
		f := strings.Fields(line)
		if len(f) == 6 && f[1] == "10.0.8."+words[0]+":80" {
			if f[4] != words[1] || f[5] != words[2] {
				p.Errorf("%s has %s active and %s inactive, the trace says %v", f[1], f[4], f[5], words[1:])
			}
			return
		}
	}
	p.Errorf("10.0.8.%s is not listed", words[0])
}

func (p *player) hangUp() {
	for _, c := range p.held {
		reset(c)
	}
	p.world.hangUp()
}
