package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// server is one of the real servers behind the forum: it can be killed and started again, at the same port.
type server struct {
	t     *testing.T
	host  string // a loopback address of its own: no other test takes a port of it
	port  int
	start func() *exec.Cmd
	cmd   *exec.Cmd
}

func (s *server) addr() string { return fmt.Sprintf("%s:%d", s.host, s.port) }

// up starts it and waits until it listens.
func (s *server) up() {
	s.t.Helper()
	s.cmd = s.start()
	s.cmd.Stderr = s.t.Output()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, s.cmd.Path+" listens", func() bool {
		conn, err := net.Dial("tcp", s.addr())
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func (s *server) kill() {
	s.cmd.Process.Signal(syscall.SIGKILL)
	s.cmd.Wait()
}

func eventually(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ready(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after 30 s not so: %s", what)
		}
	}
}

// tool finds a program, also where Debian keeps those that are in no PATH. Without it the test is skipped, but not in CI.
func tool(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); len(found) > 0 {
		return found[len(found)-1]
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing, and this is CI", name)
	}
	t.Skipf("%s is missing", name)
	return ""
}

func freePort(t *testing.T, host string) int {
	t.Helper()
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// started returns a server that runs, and is ended after the test.
func started(t *testing.T, start func(host string, port int) *exec.Cmd) *server {
	t.Helper()
	s := &server{t: t, host: fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))}
	s.port = freePort(t, s.host)
	s.start = func() *exec.Cmd { return start(s.host, s.port) }
	s.up()
	t.Cleanup(s.kill)
	return s
}

// open makes a directory that other users can use, outside the test's own, which they cannot enter.
func open(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "forum-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func startMemcached(t *testing.T) *server {
	program := tool(t, "memcached")
	return started(t, func(host string, port int) *exec.Cmd {
		return exec.Command(program, "-l", host, "-p", strconv.Itoa(port), "-U", "0", "-u", "nobody")
	})
}

// startFTP starts vsftpd for anonymous users, who may store files.
func startFTP(t *testing.T) *server {
	program, dir := tool(t, "vsftpd"), open(t)
	files := filepath.Join(dir, "files")
	for _, d := range []string{"files", "empty"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := user.Lookup("ftp"); err != nil {
		t.Fatal(err) // the package makes it
	}
	return started(t, func(host string, port int) *exec.Cmd {
		text := fmt.Sprintf(vsftpdConf, host, port, files, filepath.Join(dir, "empty"))
		file := filepath.Join(dir, "vsftpd.conf")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(files, "attachments"), 0o755); err != nil {
			t.Fatal(err)
		}
		own(t, filepath.Join(files, "attachments"), "ftp")
		return exec.Command(program, file)
	})
}

const vsftpdConf = `listen=YES
listen_ipv6=NO
listen_address=%s
listen_port=%d
background=NO
anonymous_enable=YES
write_enable=YES
anon_upload_enable=YES
anon_umask=022
anon_world_readable_only=NO
anon_root=%s
secure_chroot_dir=%s
seccomp_sandbox=NO
`

func own(t *testing.T, path, name string) (uid, gid uint32) {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid64, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid64, _ := strconv.ParseUint(u.Gid, 10, 32)
	if err := os.Chown(path, int(uid64), int(gid64)); err != nil {
		t.Fatal(err)
	}
	return uint32(uid64), uint32(gid64)
}

// startPostgres starts a database with a user forum. It refuses to run as root, and its shared memory is of an IPC namespace
// of its own, so that a kill leaves nothing behind.
func startPostgres(t *testing.T) *server {
	initdb, postgres, dir := tool(t, "initdb"), tool(t, "postgres"), open(t)
	uid, gid := own(t, dir, "postgres")
	as := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}, Cloneflags: syscall.CLONE_NEWIPC}
	data := filepath.Join(dir, "data")
	cmd := exec.Command(initdb, "-D", data, "-U", "forum", "-A", "trust", "--no-sync", "--wal-segsize=1", "--locale=C.UTF-8")
	cmd.SysProcAttr, cmd.Dir = as, "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	return started(t, func(host string, port int) *exec.Cmd {
		cmd := exec.Command(postgres, "-D", data, "-p", strconv.Itoa(port), "-c", "listen_addresses="+host, "-c", "unix_socket_directories=",
			"-c", "dynamic_shared_memory_type=mmap", "-c", "fsync=off")
		cmd.SysProcAttr, cmd.Dir = as, "/"
		return cmd
	})
}
