package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vipd/internal/conf"
	"vipd/internal/vrrp"
)

// load reads the daemon's own file.
func (d *daemon) load() error {
	if d.opts.NoConfig {
		d.cfg = &conf.Config{}
		return nil
	}
	path, err := filepath.Abs(d.opts.Config)
	if err != nil {
		return fail(ExitNoConfig, "", "%s: %w", d.opts.Config, err)
	}
	if d.cfg, err = d.read(path); err != nil {
		return err
	}
	d.opts.Config, d.inForce = path, path
	return nil
}

// read reads a configuration and says everything that there is to say about it. A file that keepalived would start
// with is started with; errors refuse it.
func (d *daemon) read(path string) (*conf.Config, error) {
	if err := readable(path); err != nil {
		return nil, fail(ExitNoConfig, "name the configuration file with -f FILE", "read %s: %w", path, err)
	}
	if kind := foreignKind(path); kind != "" {
		return nil, fail(ExitConfig, "name the configuration file with -f FILE", "%s: refused: it is %s", path, kind)
	}
	cfg, _, diags := conf.Load(os.DirFS("/"), path, conf.Options{Strict: d.opts.Strict, ID: cmp.Or(d.opts.ID, HostID()), Env: os.Getenv, Seed: uint64(d.started.UnixNano())})
	if nothing(cfg) && slices.ContainsFunc(diags, func(x conf.Diagnostic) bool { return x.Code == "unreadable-line" }) {
		return nil, fail(ExitConfig, "it may be a program, an archive, or text in UTF-16; vipd check FILE says more", "%s: refused: it has NUL bytes and no instance or virtual server, so it is no configuration", path)
	}
	if err := d.judge(path, diags); err != nil {
		return nil, err
	}
	d.leaveOut(cfg)
	return cfg, nil
}

// nothing tells a configuration of which nobody would notice that it runs.
//
// keepalived: leaves lines with NUL bytes out and runs with what is left, which of a file that is none is nothing: a reload would
// take all services down.
func nothing(cfg *conf.Config) bool { return len(cfg.Instances) == 0 && len(cfg.Health.Services) == 0 }

// leaveOut drops the instances that this version cannot run, loudly. keepalived would start with such a file, so the
// rest of it is started here too.
func (d *daemon) leaveOut(cfg *conf.Config) {
	cfg.Instances = slices.DeleteFunc(cfg.Instances, func(i vrrp.Config) bool {
		err := i.Check()
		if err != nil {
			d.events.of("config").Error(fmt.Sprintf("(%s) is left out: %v", i.Name, err), "vi", i.Name)
		}
		return err != nil
	})
}

// judge says each diagnostic in its long form, and refuses the file if one of them is an error.
func (d *daemon) judge(path string, diags []conf.Diagnostic) error {
	var first *conf.Diagnostic
	errs := 0
	for _, g := range diags {
		text := strings.TrimRight(g.Long(), "\n")
		d.said = append(d.said, text)
		text = strings.TrimPrefix(text, g.Severity.String()+": ")
		if d.hushed && g.Severity < conf.Error {
			continue
		}
		switch g.Severity {
		case conf.Notice:
			d.events.of("config").Info(text)
		case conf.Warning:
			d.events.of("config").Warn(text)
		default:
			if errs++; first == nil {
				first = &g
			}
			d.events.of("config").Error(text)
		}
	}
	if first == nil {
		return nil
	}
	return fail(ExitConfig, first.Hint, "%s: refused, %s: %s", path, count(errs, "error"), first)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss, first", n, what)
}

// readable tells why a path cannot be read as a file, without the path, which the caller names.
func readable(path string) error {
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		var info fs.FileInfo
		if info, err = f.Stat(); err == nil && info.IsDir() {
			return errors.New("it is a directory")
		}
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// kinds are files that are taken for a configuration by mistake, by what they begin with: a program may well have one in it.
var kinds = map[string]string{"\x7fELF": "a program", "\x1f\x8b": "compressed (gzip)", "PK\x03\x04": "an archive (zip)", "!<arch>\n": "an archive (ar, deb)",
	"\xfd7zXZ\x00": "compressed (xz)", "\x28\xb5\x2f\xfd": "compressed (zstd)", "BZh": "compressed (bzip2)", "\xff\xfe": "text in UTF-16", "\xfe\xff": "text in UTF-16"}

// foreignKind says what a file is that cannot be a configuration; "": it may be one. Of a pipe what was looked at would be gone.
func foreignKind(path string) string {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	var head [8]byte
	n, _ := io.ReadFull(f, head[:])
	for magic, kind := range kinds {
		if strings.HasPrefix(string(head[:n]), magic) {
			return kind
		}
	}
	return ""
}

// HostID is what @ID lines compare with: the host's name up to the first dot.
func HostID() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	name, _, _ = strings.Cut(name, ".")
	return name
}
