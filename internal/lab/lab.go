package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"vipd/internal/control"
)

// Lab is a site with the programs in it. Make it with New; Up builds and starts everything, Down removes everything,
// Open takes over what another process has left standing.
type Lab struct {
	Site
	Dir       string                                                             // logs, configurations, bin; removed by Down
	Instances string                                                             // prefix of the directors' instance names
	Program   string                                                             // the vipd binary
	Configs   map[string][]byte                                                  // director host to its keepalived.conf
	Method    string                                                             // how directors forward: DR if not said otherwise (Use)
	Forum     string                                                             // the program that the real servers run; empty: there is no third tier (Furnish)
	Hold      bool                                                               // processes end with this one
	Without   map[string]bool                                                    // hosts whose program Up does not start
	Ask       func(ctx context.Context, instance string) (control.Status, error) // the directors' control sockets

	built *built
	procs map[string]*Process // by host
}

// New is the lab of this machine: namespaces vipd-lab-HOST, files in /run/vipd/lab, instances lab-HOST.
func New(program string, configs map[string][]byte) *Lab {
	return Named("vipd-lab", "/run/vipd/lab", "lab-", program, configs)
}

// Named is a lab beside the usual one.
func Named(name, dir, instances, program string, configs map[string][]byte) *Lab {
	return &Lab{Site: NewSite(name), Dir: dir, Instances: instances, Program: program, Configs: configs, Ask: ask, Method: DR,
		Without: map[string]bool{}, procs: map[string]*Process{}}
}

// InstanceOf is the name of the daemon that runs on host.
func (l *Lab) InstanceOf(host string) string { return l.Instances + host }

// ConfigFile is where host's configuration is put.
func (l *Lab) ConfigFile(host string) string { return filepath.Join(l.Dir, host+".conf") }

// Up builds the network and starts directors and real servers. What an earlier lab of the same name left is removed
// first. On failure nothing is left behind.
func (l *Lab) Up() error {
	if err := l.Down(); err != nil {
		return fmt.Errorf("clear what an earlier lab left: %w", err)
	}
	if err := l.up(); err != nil {
		return errors.Join(err, l.Down())
	}
	return nil
}

func (l *Lab) up() (err error) {
	if err := l.writeFiles(); err != nil {
		return err
	}
	if l.built, err = build(l.Network); err != nil {
		return err
	}
	if err := l.unpack(); err != nil {
		return err
	}
	for host := range l.Reals {
		if !l.Without[host] {
			if err := l.StartWeb(host); err != nil {
				return err
			}
		}
	}
	if err := l.startProxies(); err != nil {
		return err
	}
	for _, host := range l.Directors {
		if !l.Without[host] {
			if err := l.StartDirector(host); err != nil {
				return err
			}
		}
	}
	if l.Forum == "" {
		return nil
	}
	return l.startStores() // last: directors need a while to begin, and the forum can wait
}

// writeFiles makes the lab's directory: configurations, and the names that `lab exec` finds first in PATH.
func (l *Lab) writeFiles() error {
	bin := filepath.Join(l.Dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"vipd", "ipvsadm"} {
		if err := os.Symlink(l.Program, filepath.Join(bin, name)); err != nil {
			return err
		}
	}
	for host, text := range l.Configs {
		if err := os.WriteFile(l.ConfigFile(host), text, 0o644); err != nil {
			return err
		}
	}
	return l.remember()
}

// Open takes over a lab that stands.
func (l *Lab) Open() (err error) {
	if !l.Stands() {
		return ErrNoLab
	}
	l.built, err = open(l.Network)
	return err
}

// ErrNoLab says that there is no lab to talk about.
var ErrNoLab = errors.New("no lab is up")

// Stands tells whether every host of the lab exists.
func (l *Lab) Stands() bool {
	for _, h := range l.Hosts {
		if !namespaceExists(l.Namespace(h.Name)) {
			return false
		}
	}
	return true
}

// Close lets go of a lab that shall stay.
func (l *Lab) Close() {
	if l.built != nil {
		l.built.close()
		l.built = nil
	}
}

// grace is how long a process has to end when it was asked to.
const grace = 3 * time.Second

// Down removes the lab, whoever made it and however far that came. Nothing to remove is no error.
func (l *Lab) Down() error {
	errs := []error{endMembers(l.Name, grace)}
	for _, p := range l.procs {
		errs = append(errs, p.reap())
	}
	l.procs = map[string]*Process{}
	l.Close()
	errs = append(errs, removeNamespaces(l.Name+"-"))
	for _, host := range l.Directors {
		errs = append(errs, l.forget(host))
	}
	os.Remove(pinDir) // the last instance on this machine leaves no empty directory; otherwise it is not empty, and stays
	return errors.Join(append(errs, os.RemoveAll(l.Dir))...)
}

// reap waits for a process that was ended, so that its log is complete.
func (p *Process) reap() error {
	select {
	case <-p.done:
		return nil
	case <-time.After(grace):
		return fmt.Errorf("%s in %s does not end", p.Role, p.Host)
	}
}

// Where a daemon keeps its pins and its files, by instance name.
const (
	pinDir = "/sys/fs/bpf/vipd"
	runDir = "/run/vipd"
)

// forget removes what a director that was killed leaves on the machine: pins, socket, lock.
func (l *Lab) forget(host string) error {
	inst := l.InstanceOf(host)
	errs := []error{os.RemoveAll(filepath.Join(pinDir, inst))}
	files, err := filepath.Glob(filepath.Join(runDir, inst+".*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		errs = append(errs, os.Remove(f))
	}
	return errors.Join(errs...)
}
