package test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestOwnConnectionsFollowTheFile: with lvs_local_clients off what the director itself opens to a virtual address stays with
// it, with on it goes to a real server, and a reload turns that round; lvs_connections is the table's size until the next start.
func TestOwnConnectionsFollowTheFile(t *testing.T) {
	if !alone(t, 3*time.Minute, "ip", "ethtool", "sysctl") {
		return
	}
	shell(t, routed)
	shell(t, "ip -n fwd-director addr add 10.0.8.9/32 dev lo")
	shout(t, "real", "10.0.8.12:8080")
	file := filepath.Join(t.TempDir(), "vipd.conf")
	write := func(own string, connections int) {
		t.Helper()
		text := fmt.Sprintf("global_defs {\n lvs_local_clients %s\n lvs_connections %d\n}\nvirtual_server 10.0.8.9 80 {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n real_server 10.0.8.12 8080 {\n }\n}\n", own, connections)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("off", 20000)
	cmd := exec.Command(program(), "run", "--instance", "forward", "--interface", "eth0", "--interface", "eth1", "-f", file)
	log, err := os.Create(file + ".log")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	said := func() string {
		text, err := os.ReadFile(log.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if err := in(t, "director", cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(unix.SIGTERM)
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("the director: %v\n%s", err, said())
		}
	})
	logged := func(what string) {
		t.Helper()
		eventually(t, 30*time.Second, "the log says "+what, func() bool { return strings.Contains(said(), what) })
	}
	own := func() (err error) {
		return in(t, "director", func() error {
			c, err := net.DialTimeout("tcp", virtual, 5*time.Second)
			if err == nil {
				c.Close()
			}
			return err
		})
	}
	logged("runs as instance")
	talks(t, virtual)
	if status := works(t, "status", "--instance", "forward", "-o", "json"); !strings.Contains(strings.ReplaceAll(status, " ", ""), `"table_size":32768`) {
		t.Errorf("20,000 connections are not 32,768 lines in\n%s", status)
	}
	for i, word := range []string{"off", "on", "off", "on"} {
		if i > 0 {
			write(word, 20000+i)
			works(t, "reload", "--instance", "forward")
		}
		err := own()
		if refused := errors.Is(err, syscall.ECONNREFUSED); refused != (word == "off") || !refused && err != nil {
			t.Errorf("lvs_local_clients %s: %v", word, err)
		}
	}
	logged("lvs_connections takes effect at the next start that finds no table")
	if n := strings.Count(said(), "lvs_connections takes effect"); n != 3 {
		t.Errorf("said %d times for three changes", n)
	}
}
