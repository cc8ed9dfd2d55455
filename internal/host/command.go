package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Command is a program that the daemon runs for the configuration: a check, a notification, the reader of a FIFO.
type Command struct {
	Args    []string      // the program first
	As      Identity      // who runs it
	Env     []string      // If nil, this process's own. keepalived: the same.
	Timeout time.Duration // after its start; then the whole process group is ended. If zero, none.
	Keep    int           // bytes of stdout and stderr that Exit.Output has at most. If zero, both go to /dev/null.
}

// Exit is how a Command ended.
type Exit struct {
	PID      int
	Code     int            // exit status; -1 if a signal ended it or it did not start
	Signal   syscall.Signal // that ended it; 0: none
	TimedOut bool           // Timeout passed, whatever the program then said
	Stopped  bool           // the context ended first
	Output   []byte
	Err      error // it could not be started; everything else is then zero
}

func (e Exit) String() string {
	switch {
	case e.Err != nil:
		return e.Err.Error()
	case e.TimedOut:
		return "timed out"
	case e.Signal != 0:
		return fmt.Sprintf("due to signal %d", e.Signal)
	}
	return fmt.Sprintf("exited with status %d", e.Code)
}

// OK tells that the program ended by itself with status 0.
func (e Exit) OK() bool {
	return e.Err == nil && !e.TimedOut && !e.Stopped && e.Signal == 0 && e.Code == 0
}

// Grace is the time between SIGTERM and SIGKILL. keepalived: the same.
const Grace = 2 * time.Second

// outputWait is how long output is waited for that a child of the program still holds open when the program has ended.
const outputWait = 200 * time.Millisecond

// Run starts the program in a process group of its own and waits for its end. When Timeout passes or ctx ends, the group
// gets SIGTERM and, after Grace, SIGKILL; whoever of the group is left when the program has gone gets SIGKILL at once. A
// program that ends by itself may leave children: they are its own business, as with keepalived.
//
// Run waits for as long as the program takes, so it belongs into a goroutine of its own and never into a loop.
func (c Command) Run(ctx context.Context) Exit {
	// PR_SET_PDEATHSIG is about the thread that forked: it must not end before the program does.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out := &head{limit: c.Keep}
	cmd, err := c.start(out)
	if err != nil {
		return Exit{Code: -1, Err: err}
	}
	e := Exit{PID: cmd.Process.Pid}
	c.attend(ctx, &e)
	_ = cmd.Wait() // what it says is in ProcessState; a pipe held open by a child of the program is no error
	e.Output = out.kept
	e.Code = cmd.ProcessState.ExitCode()
	if st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && st.Signaled() {
		e.Signal = st.Signal()
	}
	return e
}

// start starts the program; one that is a text without #! is given to the shell. keepalived: the same.
func (c Command) start(out *head) (*exec.Cmd, error) {
	if len(c.Args) == 0 || c.Args[0] == "" {
		return nil, errors.New("run a command: it is empty")
	}
	cmd := c.command(c.Args, out)
	if redirection(c.Args[0]) {
		cmd = c.command(c.shell(), out)
	}
	err := cmd.Start()
	if errors.Is(err, unix.ENOEXEC) {
		cmd = c.command(c.shell(), out)
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", c.Args[0], cause(err))
	}
	asUsual(cmd.Process.Pid)
	return cmd, nil
}

func (c Command) command(args []string, out *head) *exec.Cmd {
	cmd := &exec.Cmd{Path: args[0], Args: args, Env: c.Env, WaitDelay: outputWait}
	if c.Keep > 0 {
		cmd.Stdout, cmd.Stderr = out, out
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGTERM}
	if !c.As.ours() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: c.As.UID, Gid: c.As.GID, Groups: append([]uint32{c.As.GID}, c.As.Groups...)}
	}
	return cmd
}

// cause is the errno of a failed start: the words around it name the file again.
func cause(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// attend waits until the program has ended, and ends its group where it must. The program is then still to be waited
// for, so that its number is not given to another process while the group is being ended.
func (c Command) attend(ctx context.Context, e *Exit) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for unix.Waitid(unix.P_PID, e.PID, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
	}()
	var timeout <-chan time.Time
	if c.Timeout > 0 {
		timer := time.NewTimer(c.Timeout)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-ended:
		return
	case <-timeout:
		e.TimedOut = true
	case <-ctx.Done():
		e.Stopped = true
	}
	_ = unix.Kill(-e.PID, unix.SIGTERM)
	grace := time.NewTimer(Grace)
	defer grace.Stop()
	select {
	case <-ended:
	case <-grace.C:
	}
	_ = unix.Kill(-e.PID, unix.SIGKILL) // also children that did not heed SIGTERM
	<-ended
}

// head keeps the first bytes that are written to it and takes the rest.
type head struct {
	limit int
	kept  []byte
}

func (h *head) Write(p []byte) (int, error) {
	h.kept = append(h.kept, p[:min(len(p), h.limit-len(h.kept))]...)
	return len(p), nil
}
