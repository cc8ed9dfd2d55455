package daemon

import (
	"fmt"
	"runtime/debug"
)

// Exit codes of vipd run, as far as keepalived has them with the same meaning.
const (
	ExitFatal      = 1 // the machine is not as the file needs it: interface, kernel, address in use
	ExitConfig     = 2 // the file was refused
	ExitRunning    = 3 // an instance of this name runs already
	ExitPermission = 4
	ExitNoConfig   = 6 // the file cannot be read
)

// Failure is why the daemon could not start or go on: one sentence that names the thing, the next step, an exit code.
type Failure struct {
	Code int
	Err  error
	Hint string // If empty, there is no advice better than the sentence.
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

func fail(code int, hint, format string, args ...any) error {
	return &Failure{Code: code, Err: fmt.Errorf(format, args...), Hint: hint}
}

// version is set at link time: -X vipd/internal/daemon.version=1.2.3.
var version = "0.1.0"

// Version is this build's version, with the commit where the build knows it.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return version + "+" + s.Value[:12]
		}
	}
	return version
}
