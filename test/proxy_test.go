package test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lossy drops one of thirty segments on their way into the real server, and one of thirty of what it sends.
const lossy = `set -e
ip netns exec fwd-real nft -f - <<E
table inet lossy {
	chain in { type filter hook input priority 0; iifname eth0 meta l4proto tcp numgen random mod 30 0 drop; }
	chain out { type filter hook output priority 0; oifname eth0 meta l4proto tcp numgen random mod 30 0 drop; }
}
E
`

// acceptProxy is HAProxy in front of a server on the real server: it takes no connection without a header of the PROXY protocol,
// and says in a line of text to the server behind it whom that named.
func acceptProxy(t *testing.T, addr, behind string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	text := fmt.Sprintf("defaults\n mode tcp\n timeout connect 30s\n timeout client 60s\n timeout server 60s\nlisten front\n bind %s accept-proxy\n server behind %s send-proxy\n", addr, behind)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("haproxy", "-db", "-f", file)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := in(t, "real", cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(unix.SIGTERM)
		if err := cmd.Wait(); t.Failed() {
			t.Logf("HAProxy: %v\n%s", err, log.String())
		}
	})
}

// TestClientsAreNamedByThePROXYProtocol: HAProxy behind FULLNAT hears who the client is, of both families, whatever is lost on
// the way and whatever size is said.
func TestClientsAreNamedByThePROXYProtocol(t *testing.T) {
	if !alone(t, 3*time.Minute, "ip", "ethtool", "sysctl", "nft", "haproxy") {
		return
	}
	shell(t, routed6)
	shell(t, "ip -n fwd-real route del default; ip -n fwd-real -6 route del default")
	shout(t, "real", "127.0.0.1:9000")
	for _, row := range []struct{ name, service, real, local, client, family string }{
		{"IPv4", virtual, "10.0.8.12 8080", "10.0.8.25", "10.0.4.102", "TCP4"},
		{"IPv6", virtual6, "2001:db8:8::12 8080", "2001:db8:8::25", "2001:db8:4::102", "TCP6"},
	} {
		t.Run(row.name, func(t *testing.T) {
			addr := strings.Replace(row.real, " ", ":", 1)
			if row.family == "TCP6" {
				addr = "[2001:db8:8::12]:8080"
			}
			acceptProxy(t, addr, "127.0.0.1:9000")
			direct(t, row.service, "lb_kind NAT\n fullnat "+row.local+"\n send_proxy_v2\n real_server "+row.real+" {\n }")
			named := func(text []byte, wait time.Duration) error {
				answer, err := converse(t, row.service, text, wait)
				line, rest, _ := bytes.Cut(answer, []byte("\r\n"))
				at := netip.MustParseAddrPort(row.service)
				if words := strings.Fields(string(line)); err != nil || len(words) != 6 || words[1] != row.family || !strings.EqualFold(words[2], row.client) ||
					!strings.EqualFold(words[3], at.Addr().String()) || words[5] != "80" {
					return errors.Join(err, fmt.Errorf("named by %q", line))
				}
				if !bytes.Equal(rest, bytes.ToUpper(text)) {
					return fmt.Errorf("of %d bytes %d came back", len(text), len(rest))
				}
				return nil
			}
			var err error
			for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
				if err = named([]byte("hello"), 5*time.Second); err == nil {
					break
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := named(nil, 10*time.Second); err != nil {
				t.Errorf("a client that says nothing: %v", err)
			}
			shell(t, lossy)
			defer shell(t, "ip netns exec fwd-real nft delete table inet lossy")
			for range 3 {
				if err := named(bytes.Repeat([]byte("abcdefgh"), 1<<12), 60*time.Second); err != nil {
					t.Errorf("with losses: %v", err)
				}
			}
		})
	}
}
