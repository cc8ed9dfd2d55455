package host

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Companion is a second process of this very program, which does what is better done by somebody with no rights. It is spoken
// with over a pair of sockets that keep messages apart (SOCK_SEQPACKET) and carry descriptors. It begins with all that this
// process may do, and gives it up itself: Shed.
type Companion struct {
	PID   int
	Conn  *net.UnixConn // closed by who uses it
	kill  func() error
	ended chan struct{}
	exit  Exit
}

// companionFD is the other end of Conn in the companion.
const companionFD = 3

// companionWords are bytes of what it says on its standard error that are kept: the beginning of a panic.
const companionWords = 4 << 10

// StartCompanion starts one with arguments and an environment of its own. It ends with this process, whatever that ends by.
func StartCompanion(env []string, args ...string) (*Companion, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("make a pair of sockets: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "companion"), os.NewFile(uintptr(pair[1]), "companion")
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	c := &Companion{Conn: conn.(*net.UnixConn), ended: make(chan struct{})}
	c.kill = func() error { return unix.Kill(c.PID, unix.SIGKILL) }
	said := &head{limit: companionWords}
	// The file may be another by now, or gone: this is the program that runs.
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: append([]string{"vipd"}, args...), Env: env, ExtraFiles: []*os.File{theirs}, Stderr: said, WaitDelay: outputWait,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}}
	started := make(chan error, 1)
	go c.attend(cmd, said, started)
	if err := <-started; err != nil {
		c.Conn.Close()
		return nil, fmt.Errorf("execute this program once more: %w", cause(err))
	}
	return c, nil
}

// attend starts it and waits for its end, in a thread that ends with it: PR_SET_PDEATHSIG is about the thread that forked.
func (c *Companion) attend(cmd *exec.Cmd, said *head, started chan<- error) {
	runtime.LockOSThread()
	_ = AsUsual() // refused where it was refused to be brisk
	err := cmd.Start()
	if err != nil {
		started <- err
		return
	}
	c.PID = cmd.Process.Pid
	started <- nil
	_ = cmd.Wait() // what it says is in ProcessState
	c.exit = Exit{PID: c.PID, Code: cmd.ProcessState.ExitCode(), Output: said.kept}
	if st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && st.Signaled() {
		c.exit.Signal = st.Signal()
	}
	close(c.ended)
}

// errLives is for a companion that this process may not end (it has another user, and CAP_KILL is missing) and that does not do so
// by itself.
var errLives = errors.New("it cannot be ended")

// End closes the sockets, ends the companion at once if it has not ended, and tells how it did. One that must not be ended has for
// patience to end without its sockets; after that its exit has an error, and it is waited for no more.
func (c *Companion) End(patience time.Duration) Exit {
	c.Conn.Close()
	select {
	case <-c.ended:
		return c.exit
	default:
	}
	// It is not waited for yet, so that the number is still its own.
	err := c.kill()
	if err == nil || errors.Is(err, unix.ESRCH) {
		<-c.ended
		return c.exit
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-c.ended:
		return c.exit
	case <-late.C:
		return Exit{PID: c.PID, Err: fmt.Errorf("%w: %w", errLives, err)}
	}
}

// errNoCompanion is for whoever calls by hand what only StartCompanion is to.
var errNoCompanion = errors.New("this is a part of vipd run, which starts it by itself")

// CompanionConn is, in the companion, the other end of Conn.
func CompanionConn() (*net.UnixConn, error) {
	if kind, err := unix.GetsockoptInt(companionFD, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_SEQPACKET {
		return nil, errNoCompanion
	}
	f := os.NewFile(companionFD, "companion")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errNoCompanion
	}
	return unixConn, nil
}
