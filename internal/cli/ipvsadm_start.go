package cli

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/control"
	"vipd/internal/daemon"
	"vipd/internal/host"
)

// startVariable has the first change in a named network namespace start a daemon there, as a first ipvsadm loads the kernel's
// module. Its value is the absolute path of a file for the log, or anything else for none.
const startVariable = "VIPD_START"

// startedConnections is what the table of such a daemon is made for: a machine has many namespaces, and scripts few clients.
const startedConnections = 100_000

// namespaceInstance is the name of the daemon of this network namespace; empty if that has no name itself.
func (e Env) namespaceInstance() string {
	number, named, err := host.NamedNamespace()
	if err != nil || !named {
		return ""
	}
	return "netns-" + strconv.FormatUint(number, 10)
}

// starts tells whether a change may start this instance.
func (e Env) starts(instance string) bool {
	return e.Dial == nil && e.Getenv != nil && e.Getenv(startVariable) != "" && instance == e.namespaceInstance()
}

// startDirector starts the daemon of this network namespace and returns when it answers. It ends with the namespace's name.
func startDirector(instance string, env Env) error {
	cmd := exec.Command("/proc/self/exe", "run", "--no-config", "--while-named", "--instance", instance,
		"--connections", strconv.Itoa(startedConnections), "--state", "")
	cmd.Args[0] = "vipd"
	if path := env.Getenv(startVariable); filepath.IsAbs(path) {
		log, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return fmt.Errorf("%s: %w", startVariable, err)
		}
		defer log.Close()
		cmd.Stderr = log
	}
	// It outlives the script, whose locks and pipes must not: from here on this program executes nothing else.
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	err := background(cmd, env)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == daemon.ExitRunning {
		return awaitDirector(instance) // somebody else has just done the same
	}
	if err != nil {
		return fmt.Errorf("start a daemon (%s): %w", startVariable, err)
	}
	return nil
}

// awaitDirector waits until the instance that another process starts can be asked.
func awaitDirector(instance string) error {
	for end := time.Now().Add(startsWithin); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("unix", control.SocketPath(instance))
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(end) {
			return fmt.Errorf("instance %s was started by another command and does not answer: %w", instance, err)
		}
	}
}
