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
	configs, err := site.For(o.method, o.site)
	if o.continuity.play {
		configs, err = site.Synchronized(o.method)
	}
	if err != nil {
		return nil, &daemon.Failure{Code: daemon.ExitFatal, Err: fmt.Errorf("lab: --method: %w", err), Hint: "the methods are " + strings.Join(lab.Methods, ", ")}
	}
	for host, file := range map[string]string{"director1": o.config1, "director2": o.config2} {
		if file == "" {
			continue
		}
		fsys, name := labConfig(host, file)
		if configs[host], err = fs.ReadFile(fsys, name); err != nil {
			return nil, &daemon.Failure{Code: daemon.ExitNoConfig, Err: fmt.Errorf("lab: read the configuration of %s: %w", host, err)}
		}
	}
	l := lab.New(self, configs)
	if err := lacking("the method "+o.method, l.Use(o.method)); err != nil {
		return nil, err
	}
	if err := o.furnish(l, self); err != nil {
		return nil, err
	}
	for _, host := range o.without {
		if !knownHost(l, host) {
			return nil, noHost(l, host)
		}
		l.Without[host] = true
	}
	return l, nil
}

// furnish gives the lab its third tier, if the flags ask for it.
func (o *labOptions) furnish(l *lab.Lab, self string) error {
	if !o.site {
		return nil
	}
	forum := o.forum
	if forum == "" {
		forum = filepath.Join(filepath.Dir(self), "forum")
	}
	forum, err := filepath.Abs(forum)
	if err != nil {
		return err
	}
	if info, err := os.Stat(forum); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return &daemon.Failure{Code: daemon.ExitFatal, Err: fmt.Errorf("lab: no program %s: it is the forum that the real servers run", forum),
			Hint: "make forum builds it; --forum says where it is"}
	}
	return lacking("the site's third tier", l.Furnish(forum))
}

// lacking says how to get the programs that something needs.
func lacking(what string, err error) error {
	var missing *lab.MissingError
	if errors.As(err, &missing) {
		return &daemon.Failure{Code: daemon.ExitFatal, Err: fmt.Errorf("lab: of %s %w", what, err), Hint: "apt-get install " + strings.Join(missing.Packages, " ")}
	}
	return err
}

// standing is the lab that an earlier process has left standing, of whatever kind.
func standing() (*lab.Lab, error) {
	l, err := (&labOptions{method: lab.DR}).lab()
	if err != nil {
		return nil, err
	}
	return l, l.Recall()
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
