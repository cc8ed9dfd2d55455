package vm

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vipd/internal/need"
	"vipd/internal/vm"
)

// TestStoredCallsAreWhatTheKernelDoes gives the SIP messages of bpf/testdata/sip.txt to the kernel's engine (ip_vs_pe_sip): the same real
// server or none, and the same template, as the packet path has by bpf's TestCallsAreThoseOfIPVS.
func TestStoredCallsAreWhatTheKernelDoes(t *testing.T) {
	t.Parallel()
	if !vm.Inside(t, vm.Config{
		Tools:   []string{"ip", "ipvsadm", need.Tool(t, "nft"), need.Tool(t, "ethtool")}, // the script of the histories has marks
		Modules: []string{"ip_vs_pe_sip"},
		Files:   map[string]string{"/vm/sip.txt": "../../bpf/testdata/sip.txt"},
		Script:  historyScript + "modprobe ip_vs_pe_sip\n",
	}) {
		return
	}
	text, err := os.ReadFile("/vm/sip.txt")
	if err != nil {
		t.Fatal(err)
	}
	w, director := openWire(t, "out"), &world{TB: t}
	director.command("ipvsadm -A -u 10.0.8.9:5060 -s rr -p 60 --pe sip")
	director.command("ipvsadm -a -u 10.0.8.9:5060 -r 10.0.8.11:5060")
	director.command("ipvsadm -a -u 10.0.8.9:5060 -r 10.0.8.12:5060")
	rows := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		var from, how, server, call, message string
		if _, err := fmt.Sscanf(line, "%s %s %s %q %q", &from, &how, &server, &call, &message); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if how == "one-packet" {
			director.command("ipvsadm -E -u 10.0.8.9:5060 -s rr -p 60 --pe sip -o")
		}
		if got := receivers(w, t, netip.MustParseAddrPort(from), message, how == "fragments"); got != server {
			t.Errorf("%q went to %s, stored is %s", message, got, server)
		}
		// Blanks cannot be in a Call-ID.
		listed, err := os.ReadFile("/proc/thread-self/net/ip_vs_conn") // /proc/net is the first thread's, which may have been at the wire
		if err != nil {
			t.Fatal(err)
		}
		if server != nobody && !hasCall(string(listed), server, call) {
			t.Errorf("%q: no template of call %q at %s in\n%s", message, call, server, listed)
		}
		if _, port, _ := strings.Cut(from, ":"); server == nobody && hasPort(string(listed), port) {
			t.Errorf("%q has an entry:\n%s", message, listed)
		}
		rows++
	}
	t.Logf("%d messages", rows)
}

// receivers sends a message of SIP by the wire, in two fragments if asked to, and tells who gets it.
func receivers(w *wire, t *testing.T, from netip.AddrPort, message string, fragments bool) string {
	t.Helper()
	at := netip.AddrPortFrom(historyVIP, 5060)
	body := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, from.Port()), at.Port())
	body = append(binary.BigEndian.AppendUint16(body, uint16(8+len(message))), 0, 0) // without a checksum
	body = append(body, message...)
	const cut = 64
	pieces := []struct {
		body []byte
		frag uint16
	}{{body, 0}}
	if fragments {
		pieces = append(pieces[:0], struct {
			body []byte
			frag uint16
		}{body[:cut], 0x2000}, struct {
			body []byte
			frag uint16
		}{body[cut:], cut / 8})
	}
	var to []string
	for _, p := range pieces {
		ip := packetOf(from.Addr(), at.Addr(), unix.IPPROTO_UDP, p.body)
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		binary.BigEndian.PutUint16(ip[6:], p.frag)
		binary.BigEndian.PutUint16(ip[10:], 0)
		binary.BigEndian.PutUint16(ip[10:], ^sum16(ip[:20]))
		frame := append(append(append(directorMAC[:len(directorMAC):6], routerMAC[:]...), 8, 0), ip...)
		for _, out := range w.exchange(t, frame) {
			to = append(to, fmt.Sprintf("%x", out[5]))
		}
	}
	switch to = slices.Compact(to); len(to) {
	case 0:
		return nobody
	case 1:
		return to[0]
	}
	return fmt.Sprint(to)
}

// hasCall looks for the template of a call in /proc/net/ip_vs_conn: its last two columns are the engine and the Call-ID.
func hasCall(listed, server, call string) bool {
	for line := range strings.Lines(listed) {
		f := strings.Fields(line)
		if len(f) > 10 && f[9] == "sip" && strings.Join(f[10:], " ") == call && strings.HasSuffix(f[5], map[string]string{"11": "0B", "12": "0C"}[server]) {
			return true
		}
	}
	return false
}

// hasPort tells whether a connection of this client's port is listed.
func hasPort(listed, port string) bool {
	for line := range strings.Lines(listed) {
		f := strings.Fields(line)
		var n int
		if len(f) > 2 {
			if _, err := fmt.Sscanf(f[2], "%X", &n); err == nil && fmt.Sprint(n) == port {
				return true
			}
		}
	}
	return false
}
