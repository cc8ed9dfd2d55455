package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Process is a program that this lab started in one of its hosts.
type Process struct {
	Host, Role string
	cmd        *exec.Cmd
	out        io.ReadCloser  // of a piped process
	in         io.WriteCloser // of a piped process
	done       chan struct{}
	err        error // how it ended; read after done
}

// start runs vipd with args inside host.
func (l *Lab) start(host, role string, pipes bool, args ...string) (*Process, error) {
	return l.spawn(host, role, program{path: l.Program, args: args}, pipes)
}

// spawn runs a program inside host. Its output goes to the host's log, or with pipes its standard input and output to the
// caller.
func (l *Lab) spawn(host, role string, prog program, pipes bool) (*Process, error) {
	log, err := os.OpenFile(l.LogFile(host), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	// HAProxy takes O_APPEND away (F_SETFL with O_NONBLOCK alone), and one that comes back would write over what the last one said.
	if _, err := log.Seek(0, io.SeekEnd); err != nil {
		return nil, err
	}
	p := &Process{Host: host, Role: role, done: make(chan struct{})}
	p.cmd = exec.Command(prog.path, prog.args...)
	p.cmd.Dir = "/"
	p.cmd.Env = l.withMark(os.Environ(), host, role)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if p.cmd.SysProcAttr, err = prog.attributes(); err != nil {
		return nil, fmt.Errorf("start %s in %s: %w", filepath.Base(prog.path), host, err)
	}
	if l.Hold {
		p.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if pipes {
		if err := p.pipes(); err != nil {
			return nil, err
		}
	}
	if err := l.built.inside(host, p.cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s in %s: %w", role, host, err)
	}
	if !pipes {
		go p.wait()
	}
	return p, nil
}

func (p *Process) pipes() (err error) {
	p.cmd.Stdout = nil
	if p.out, err = p.cmd.StdoutPipe(); err != nil {
		return err
	}
	p.in, err = p.cmd.StdinPipe()
	return err
}

// wait reaps the process. With pipes it is called when everything was read, as exec.Cmd.Wait demands.
func (p *Process) wait() {
	p.err = p.cmd.Wait()
	close(p.done)
}

// ended waits for the end of the process, at most for limit.
func (p *Process) ended(limit time.Duration) error {
	select {
	case <-p.done:
		return p.err
	case <-time.After(limit):
		return fmt.Errorf("%s in %s still runs after %s", p.Role, p.Host, limit)
	}
}

// alive tells whether the process runs.
func (p *Process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// LogFile is where the output of host's program goes.
func (l *Lab) LogFile(host string) string { return filepath.Join(l.Dir, host+".log") }

// Tail is the last n lines of host's log; empty if there is none.
func (l *Lab) Tail(host string, n int) []string {
	data, err := os.ReadFile(l.LogFile(host))
	if data = bytes.TrimSpace(data); err != nil || len(data) == 0 {
		return nil
	}
	lines := strings.Split(string(data), "\n")
	return lines[max(0, len(lines)-n):]
}

// lastWords is the end of host's log, for a message about a program that is not there any more.
func (l *Lab) lastWords(host string) string { return strings.Join(l.Tail(host, 2), "; ") }

// StartDirector starts vipd on a director host, from the host's configuration.
func (l *Lab) StartDirector(host string) error {
	if _, ok := l.Configs[host]; !ok {
		return fmt.Errorf("host %s is no director", host)
	}
	return l.track(l.start(host, RoleDirector, false, "run", "-f", l.ConfigFile(host), "--instance", l.InstanceOf(host),
		"--log-format", "text", "--state", filepath.Join(l.Dir, "state")))
}

// StartWeb starts the web server of a real server: the forum, or without a third tier a page that says who answers.
func (l *Lab) StartWeb(host string) error {
	addr, ok := l.Reals[host]
	if !ok {
		return fmt.Errorf("host %s is no real server", host)
	}
	listen := fmt.Sprintf("0.0.0.0:%d", l.VIP.Port())
	args := []string{"--listen", listen, "--name", addr.String(), "--proxies", l.proxyAddrs()}
	if l.Forum != "" {
		return l.track(l.spawn(host, RoleWeb, program{path: l.Forum, args: append(args, forumArgs()...)}, false))
	}
	return l.track(l.start(host, RoleWeb, false, append([]string{"lab", "serve"}, args...)...))
}

// forumArgs tell the forum where the third tier is.
func forumArgs() []string {
	at := func(host string) string {
		s, _ := storeOf(host)
		return fmt.Sprintf("%s:%d", s.addr, s.port)
	}
	return []string{"--memcached", at("cache"), "--ftp", at("files"), "--posts", "postgres://forum@" + at("posts") + "/postgres?sslmode=disable"}
}

// Start starts what belongs on host, if it does not run.
func (l *Lab) Start(host string) error {
	if _, running := l.running(host); running {
		return fmt.Errorf("%s runs already", host)
	}
	if _, ok := l.Reals[host]; ok {
		return l.StartWeb(host)
	}
	if _, ok := l.Configs[host]; ok {
		return l.StartDirector(host)
	}
	if _, ok := l.Proxies[host]; ok {
		return l.StartProxy(host)
	}
	return l.StartStore(host)
}

func (l *Lab) track(p *Process, err error) error {
	if err == nil {
		l.procs[p.Host] = p
	}
	return err
}

// running finds the program of host, whoever started it: of several processes the one that the others come from.
func (l *Lab) running(host string) (Member, bool) {
	all, err := members(l.Name)
	if err != nil {
		return Member{}, false
	}
	return mainOf(all, host)
}

func mainOf(all []Member, host string) (Member, bool) {
	own := map[int]Member{}
	for _, m := range all {
		if m.Host == host && (m.Role == RoleDirector || m.Role == RoleWeb || m.Role == RoleStore || m.Role == RoleProxy) {
			own[m.PID] = m
		}
	}
	for pid, m := range own {
		if _, child := own[parent(pid)]; !child {
			return m, true
		}
	}
	return Member{}, false
}

// Signal sends sig to the program of host and waits until it has ended, at most for limit.
func (l *Lab) Signal(host string, sig syscall.Signal, limit time.Duration) error {
	m, ok := l.running(host)
	if !ok {
		return fmt.Errorf("nothing runs on %s", host)
	}
	if err := m.signal(l.Name, sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s on %s: %w", m.Role, host, err)
	}
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if now, ok := member(m.PID, l.Name); !ok || now != m {
			return nil
		}
	}
	return fmt.Errorf("%s on %s did not end within %s of %s", m.Role, host, limit, sig)
}
