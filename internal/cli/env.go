package cli

import (
	"cmp"
	"io"
	"strings"
	"time"

	"vipd/internal/conf"
	"vipd/internal/control"
	"vipd/internal/daemon"
	"vipd/internal/lb"
	"vipd/internal/plane/xdp"
)

// Env is the outside world of a command: tests call the real commands in process with their own.
type Env struct {
	Args   []string // without the program name
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(string) string

	// Dial gives the daemon of an instance. If nil, the one behind its socket.
	Dial func(instance string) (control.Source, error)
	// Names resolves names of hosts and services. If nil, this machine's.
	Names Names
	// Refuses says what the packet path cannot have. If nil, xdp.Check.
	Refuses func(lb.Service, []lb.Real) error
	// Now is the clock that "status" counts from. If nil, time.Now.
	Now func() time.Time
	// DrainEvery is how often "drain --wait" looks. If zero, a second.
	DrainEvery time.Duration
	// ExportEvery is how often "export haproxy --watch" looks. If zero, a second.
	ExportEvery time.Duration
}

// instanceVariable names the environment variable that chooses an instance where no option does.
const instanceVariable = "VIPD_INSTANCE"

const defaultInstance = "default"

// instance is the name of the daemon to ask when no option says it.
func (e Env) instance() string {
	if e.Getenv == nil {
		return defaultInstance
	}
	if name := e.Getenv(instanceVariable); name != "" {
		return name
	}
	if name := e.namespaceInstance(); name != "" && e.Getenv(startVariable) != "" {
		return name
	}
	return defaultInstance
}

// stateVariable names the environment variable that says where an instance keeps what outlives a restart.
const stateVariable = "VIPD_STATE"

// state is that folder where no option says it: systemd's StateDirectory, else the usual one.
func (e Env) state() string {
	if e.Getenv == nil {
		return daemon.StateDir
	}
	first, _, _ := strings.Cut(e.Getenv("STATE_DIRECTORY"), ":") // systemd.exec(5): several are separated by colons
	return cmp.Or(e.Getenv(stateVariable), first, daemon.StateDir)
}

func (e Env) dial(instance string) (control.Source, error) {
	if e.Dial != nil {
		return e.Dial(instance)
	}
	c, err := control.Dial(instance)
	if err != nil {
		return nil, err // not c: a nil *Client is not a nil Source
	}
	return c, nil
}

// reading is how the commands that look at a configuration read it: for a director's name, against what the packet path
// can have.
func (e Env) reading(id string) conf.Options {
	return conf.Options{ID: id, Env: e.Getenv, Refuses: e.refuses(), RefusesSetting: xdp.CheckSetting}
}

func (e Env) refuses() func(lb.Service, []lb.Real) error {
	if e.Refuses != nil {
		return e.Refuses
	}
	return xdp.Check
}

func (e Env) now() time.Time {
	if e.Now != nil {
		return e.Now()
	}
	return time.Now()
}
