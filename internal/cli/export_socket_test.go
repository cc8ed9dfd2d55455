package cli

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"vipd/internal/control"
	"vipd/internal/haproxy"
	"vipd/internal/health"
	"vipd/internal/lb"
)

// refusingHAProxy has fifty servers of weight 1, and refuses to change the first.
func refusingHAProxy(t *testing.T) (socket string, told func() string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var lines []string
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(c).ReadString('\n')
			switch {
			case strings.HasPrefix(line, "show"):
				fmt.Fprint(c, "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight\n")
				for n := range 50 {
					fmt.Fprintf(c, "3 b %d s%d 10.0.8.12 2 0 1\n", n+1, n)
				}
			case strings.Contains(line, "b/s0 "):
				fmt.Fprint(c, "No such server.\n\n")
			}
			mu.Lock()
			lines = append(lines, line)
			mu.Unlock()
			c.Close()
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return socket, func() string { mu.Lock(); defer mu.Unlock(); return strings.Join(lines, "") }
}

func TestWhatHAProxyRefusesKeepsNothingElseFromIt(t *testing.T) {
	socket, told := refusingHAProxy(t)
	b := haproxy.Backend{Name: "b"}
	for n := range 50 {
		b.Servers = append(b.Servers, haproxy.Server{Name: fmt.Sprintf("s%d", n), Weight: 2})
	}
	_, err := tellHAProxy(context.Background(), socket, []haproxy.Backend{b})
	if err == nil || !strings.Contains(err.Error(), "No such server") {
		t.Errorf("%v", err)
	}
	if !strings.Contains(told(), "set server b/s49 weight 2") {
		t.Errorf("the last one is not told:\n%s", told())
	}
}

func TestASorryServersHostMayHaveAnotherServerMadeByHand(t *testing.T) {
	at := netip.MustParseAddrPort
	key := lb.ServiceKey{Protocol: lb.TCP, Addr: at("10.0.8.9:80")}
	p := haproxy.Pool{Members: []lb.ServiceKey{key}, Rules: health.Service{Service: lb.Service{ServiceKey: key}, Sorry: &lb.Real{Addr: at("10.0.8.99:80")}}}
	s := &control.Service{Service: lb.Service{ServiceKey: key}}
	for _, a := range []string{"10.0.8.99:80", "10.0.8.99:8080"} {
		s.Reals = append(s.Reals, control.Real{Real: lb.Real{Addr: at(a), Weight: 1}, InPool: true, Healthy: true})
	}
	if got := withStates(&p, s); len(got) != 1 || got[0].Addr.Port() != 8080 {
		t.Errorf("%+v", got)
	}
}

func TestTheFirstWriteOfAFileIsWhole(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"new", "link"} {
		path := filepath.Join(dir, name)
		if name == "link" {
			if err := os.Symlink("target", path); err != nil {
				t.Fatal(err)
			}
		}
		if err := create(path, "text"); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != "text" {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	all, _ := os.ReadDir(dir)
	if len(all) != 3 { // new, link and what it points to
		t.Errorf("%v", all)
	}
	if err := create(filepath.Join(dir, "missing", "x"), ""); err == nil {
		t.Error("no error without a folder")
	}
}
