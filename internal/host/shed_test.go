package host

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	lock "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"vipd/internal/need"
)

// shedWord makes this test program a companion that sheds its rights and tries what it may do then.
const shedWord = "shed-and-try"

// stayWord makes it a companion that does not end with its sockets.
const stayWord = "stay"

// tried is what came of it: nil, or an error number.
type tried struct {
	UID, GID, Groups int
	Lacks            []string
	Errors           map[string]syscall.Errno
}

func numberOf(err error) syscall.Errno {
	var errno syscall.Errno
	errors.As(err, &errno)
	return errno
}

// shedAndTry wants a directory that may be read, a file beside it, and a port where somebody listens.
func shedAndTry(args []string) {
	conn, err := CompanionConn()
	if err != nil {
		os.Exit(1)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		os.Exit(1)
	}
	NameProcess("shed")
	out := tried{Errors: map[string]syscall.Errno{}}
	_ = raw.Control(func(fd uintptr) { out.Lacks = Shed(Identity{UID: 65534, GID: 65534}, int(fd), args[0]) })
	out.UID, out.GID = os.Getuid(), os.Getgid()
	groups, _ := os.Getgroups()
	out.Groups = len(groups)
	try := func(what string, err error) { out.Errors[what] = numberOf(err) }
	_, err = os.ReadFile(filepath.Join(args[0], "file"))
	try("read what it may", err)
	_, err = os.ReadFile(args[1])
	try("read another file", err)
	try("write", os.WriteFile(filepath.Join(args[0], "new"), nil, 0o600))
	try("execute", syscall.Exec("/bin/true", []string{"true"}, nil))
	_, err = net.Dial("tcp", args[2])
	try("connect", err)
	_, err = net.Dial("unix", args[3])
	try("speak to a socket", err)
	try("signal", unix.Kill(os.Getppid(), 0))
	try("be root again", unix.Setuid(0))
	port, _ := strconv.Atoi(args[4])
	_, err = unix.FcntlInt(uintptr(port), unix.F_GETFD, 0)
	try("have what was open", err)
	text, _ := json.Marshal(out)
	_, _ = conn.Write(text)
	os.Exit(0)
}

func TestWhoHasShedItsRightsMayDoNothing(t *testing.T) {
	need.Root(t)
	abi, err := lock.LandlockGetABIVersion()
	if err != nil {
		t.Logf("without Landlock: %v", err)
		abi = 0
	}
	dir := t.TempDir()
	readable, other, socket := filepath.Join(dir, "readable"), filepath.Join(dir, "other"), filepath.Join(dir, "socket")
	check(t, os.Mkdir(readable, 0o777))
	check(t, os.WriteFile(filepath.Join(readable, "file"), nil, 0o644))
	check(t, os.WriteFile(other, nil, 0o644))
	for d := readable; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		check(t, os.Chmod(d, 0o777))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	u, err := net.Listen("unix", socket)
	check(t, err)
	defer u.Close()
	check(t, os.Chmod(socket, 0o777))
	leaked, err := unix.Open(other, unix.O_RDONLY, 0) // as somebody's without FD_CLOEXEC
	check(t, err)
	defer unix.Close(leaked)

	c, err := StartCompanion(nil, shedWord, readable, other, l.Addr().String(), socket, strconv.Itoa(leaked))
	check(t, err)
	b := make([]byte, 1<<16)
	check(t, c.Conn.SetReadDeadline(time.Now().Add(time.Minute)))
	n, err := c.Conn.Read(b)
	exit := c.End(time.Minute)
	if err != nil {
		t.Fatalf("%v, %s: %s", err, exit, exit.Output)
	}
	var got tried
	check(t, json.Unmarshal(b[:n], &got))
	// Where cgo is, the syscall package has no way to every thread.
	got.Lacks = slices.DeleteFunc(got.Lacks, func(l string) bool { return strings.HasSuffix(l, "not supported") })
	if got.UID != 65534 || got.GID != 65534 || got.Groups != 0 || len(got.Lacks) > 0 {
		t.Errorf("%+v", got)
	}
	want := map[string]syscall.Errno{"read what it may": 0, "signal": unix.EPERM, "be root again": unix.EPERM, "have what was open": unix.EBADF}
	if abi >= 1 {
		want["read another file"], want["write"], want["execute"] = unix.EACCES, unix.EACCES, unix.EACCES
	}
	if abi >= 4 {
		want["connect"] = unix.EACCES
	}
	if abi >= 9 {
		want["speak to a socket"] = unix.EACCES
	}
	for what, errno := range want {
		if got.Errors[what] != errno {
			t.Errorf("Landlock %d: to %s: %v, want %v", abi, what, got.Errors[what], errno)
		}
	}
}

func TestACompanionEndsWithItsSockets(t *testing.T) {
	if _, err := CompanionConn(); err == nil {
		t.Error("who is none has the socket of one")
	}
	c, err := StartCompanion(nil, shedWord) // without what that wants
	check(t, err)
	if _, err := c.Conn.Read(make([]byte, 1)); err == nil {
		t.Error("it said something")
	}
	waitFor(t, "it has ended", func() bool {
		select {
		case <-c.ended:
			return true
		default:
			return false
		}
	})
	if exit := c.End(time.Minute); exit.Code != 2 || !strings.HasPrefix(string(exit.Output), "panic: ") {
		t.Errorf("%s: %s", exit, exit.Output)
	}
}

// TestACompanionThatCannotBeEndedIsNotWaitedForLong: without CAP_KILL one of another user may go on.
func TestACompanionThatCannotBeEndedIsNotWaitedForLong(t *testing.T) {
	c, err := StartCompanion(nil, stayWord)
	check(t, err)
	kill := c.kill
	c.kill = func() error { return unix.EPERM }
	if exit := c.End(10 * time.Millisecond); !errors.Is(exit.Err, unix.EPERM) || exit.PID != c.PID || exit.OK() {
		t.Errorf("%+v", exit)
	}
	c.kill = kill
	if exit := c.End(time.Minute); exit.Signal != unix.SIGKILL {
		t.Errorf("%+v", exit)
	}
}
