package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vipd/examples/site"
	"vipd/internal/conf"
	"vipd/internal/daemon"
	"vipd/internal/lab"
	"vipd/internal/vrrp"
)

// labPatience is how long a program of the lab has to end when a person says so.
const labPatience = 6 * time.Second

// lab makes the lab that the flags describe. Nothing on the machine is touched yet.
func (o *labOptions) lab() (*lab.Lab, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	configs := map[string][]byte{}
	for host, file := range map[string]string{"director1": o.config1, "director2": o.config2} {
		fsys, name := labConfig(host, file)
		if configs[host], err = fs.ReadFile(fsys, name); err != nil {
			return nil, &daemon.Failure{Code: daemon.ExitNoConfig, Err: fmt.Errorf("lab: read the configuration of %s: %w", host, err)}
		}
	}
	l := lab.New(self, configs)
	for _, host := range o.without {
		if !knownHost(l, host) {
			return nil, noHost(l, host)
		}
		l.Without[host] = true
	}
	return l, nil
}

// labConfig says where the configuration of a director is: in a file, or in this program.
func labConfig(host, file string) (fs.FS, string) {
	if file == "" {
		return site.Files, host + ".conf"
	}
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	return os.DirFS("/"), strings.TrimPrefix(file, "/")
}

// takeover is the longest silence that the protocol allows with the configurations of this lab.
func (o *labOptions) takeover() (time.Duration, error) {
	var bound time.Duration
	for host, file := range map[string]string{"director1": o.config1, "director2": o.config2} {
		vi, err := labInstance(labConfig(host, file))
		if err != nil {
			return 0, &daemon.Failure{Code: daemon.ExitConfig, Err: fmt.Errorf("lab: configuration of %s: %w", host, err)}
		}
		bound = max(bound, lab.TakeoverBound(vi))
	}
	return bound, nil
}

func labInstance(fsys fs.FS, name string) (vrrp.Config, error) {
	cfg, _, said := conf.Load(fsys, name, conf.Options{Env: os.Getenv})
	for _, d := range said {
		if d.Severity == conf.Error {
			return vrrp.Config{}, errors.New(d.String())
		}
	}
	if len(cfg.Instances) == 0 {
		return vrrp.Config{}, errors.New("no vrrp_instance in it")
	}
	return cfg.Instances[0], nil
}

func terminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
