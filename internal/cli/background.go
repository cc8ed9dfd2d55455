package cli

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// errLate is background's error for a command that was not ready in time.
var errLate = fmt.Errorf("it has not come up within %v, and was ended", startsWithin)

// background starts a director in a session of its own and returns when it runs. It hears that as systemd would, by a socket.
// One that ends instead is an *exec.ExitError, and what it said goes to env.Stderr, if cmd.Stderr is nil.
func background(cmd *exec.Cmd, env Env) error {
	dir, err := os.MkdirTemp("", "vipd-start-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		return err
	}
	defer l.Close()
	cmd.Dir, cmd.Env = "/", append(os.Environ(), "NOTIFY_SOCKET="+l.LocalAddr().String())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	said := ""
	if cmd.Stderr == nil {
		out, err := os.CreateTemp(dir, "said-")
		if err != nil {
			return err
		}
		defer out.Close()
		cmd.Stderr, said = out, out.Name()
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start it in the background: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ready := make(chan struct{})
	go hearReady(l, ready)
	select {
	case <-ready:
		return nil
	case err := <-ended:
		if b, e := os.ReadFile(said); e == nil {
			_, _ = env.Stderr.Write(b)
		}
		if err == nil {
			err = errors.New("it ended at once")
		}
		return err
	case <-time.After(startsWithin):
		_ = cmd.Process.Kill()
		return errLate
	}
}

// hearReady closes ready when somebody says READY=1 (sd_notify(3)). It ends with l.
func hearReady(l *net.UnixConn, ready chan<- struct{}) {
	b := make([]byte, 4096)
	for {
		n, err := l.Read(b)
		if err != nil {
			return
		}
		if bytes.Contains(b[:n], []byte("READY=1")) {
			close(ready)
			return
		}
	}
}
