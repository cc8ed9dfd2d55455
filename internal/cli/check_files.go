package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"vipd/internal/conf"
)

// maxConfig bounds what is read of one file: more than any configuration, less than a disk.
const maxConfig = 512 << 20

// source is a configuration ready to be read: a file system rooted at the root of this machine's, in which the main
// file has the text that was read already.
type source struct {
	fs.FS
	name  string // absolute, as package conf wants it
	shown string // as it was given
	text  string
	cwd   string
}

// openSource reads the configuration arg; "-" is the standard input. An error says what to do.
func openSource(env Env, arg string) (*source, error) {
	cwd, err := os.Getwd()
	if err != nil {
		cwd = "/"
	}
	if arg == "-" {
		return newSource(cwd, "<stdin>", env.Stdin, 0)
	}
	info, err := os.Stat(arg)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: no such file", arg)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: permission denied", arg)
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a directory; name a file in it, such as %s", arg, filepath.Join(arg, "keepalived.conf"))
	case !info.Mode().IsRegular() && info.Mode()&fs.ModeNamedPipe == 0:
		return nil, fmt.Errorf("%s is not a regular file", arg)
	}
	f, err := os.Open(arg)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%s: permission denied", arg)
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	return newSource(cwd, arg, f, info.Size())
}

// newSource reads all of r; size is what is expected, 0 if that is not known.
func newSource(cwd, shown string, r io.Reader, size int64) (*source, error) {
	if r == nil {
		r = strings.NewReader("")
	}
	var b strings.Builder
	b.Grow(int(min(size, maxConfig)))
	if _, err := io.Copy(&b, io.LimitReader(r, maxConfig+1)); err != nil {
		return nil, fmt.Errorf("read %s: %w", shown, err)
	}
	text := b.String()
	if len(text) > maxConfig {
		return nil, fmt.Errorf("%s has more than %d MiB; that is no configuration", shown, maxConfig>>20)
	}
	if at := strings.IndexByte(text[:min(len(text), 8000)], 0); at >= 0 {
		return nil, fmt.Errorf("%s is a binary file (byte %d is NUL), not a configuration", shown, at+1)
	}
	name := shown
	if !filepath.IsAbs(name) {
		name = filepath.Join(cwd, shown)
	}
	s := &source{name: name, shown: shown, text: text, cwd: cwd}
	s.FS = overlay{os.DirFS("/"), map[string]string{inRoot(name): text}}
	return s, nil
}

// inRoot is an absolute name in a file system rooted at /.
func inRoot(name string) string { return strings.TrimPrefix(path.Clean(name), "/") }

// relative shortens the names in what a diagnostic says: they are absolute in package conf.
func (s *source) relative(d conf.Diagnostic) conf.Diagnostic {
	fix := func(t string) string {
		t = strings.ReplaceAll(t, s.name, s.shown)
		if s.cwd != "/" {
			t = strings.ReplaceAll(t, s.cwd+"/", "")
		}
		return t
	}
	d.File, d.Text, d.Hint, d.Expected = fix(d.File), fix(d.Text), fix(d.Hint), fix(d.Expected)
	more := make([]string, len(d.More))
	for i, m := range d.More {
		more[i] = fix(m)
	}
	d.More = more
	return d
}

// overlay is a file system in which some files have another text, or exist only here.
type overlay struct {
	fs.FS
	files map[string]string
}

// Open implements fs.FS.
func (o overlay) Open(name string) (fs.File, error) {
	if text, ok := o.files[name]; ok {
		return &memoryFile{Reader: strings.NewReader(text), name: path.Base(name), size: int64(len(text))}, nil
	}
	return o.FS.Open(name)
}

// memoryFile is a file of an overlay.
type memoryFile struct {
	*strings.Reader
	name string
	size int64
}

func (f *memoryFile) Close() error               { return nil }
func (f *memoryFile) Stat() (fs.FileInfo, error) { return memoryInfo{f}, nil }

type memoryInfo struct{ f *memoryFile }

func (i memoryInfo) Name() string       { return i.f.name }
func (i memoryInfo) Size() int64        { return i.f.size }
func (i memoryInfo) Mode() fs.FileMode  { return 0o444 }
func (i memoryInfo) ModTime() time.Time { return time.Time{} }
func (i memoryInfo) IsDir() bool        { return false }
func (i memoryInfo) Sys() any           { return nil }
