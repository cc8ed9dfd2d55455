package host

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Errors of FindScript. What it returns names the file; these are for errors.Is.
var (
	ErrScriptMissing  = errors.New("not found or not accessible")
	ErrScriptRefused  = errors.New("not a program that may be run")
	ErrScriptInsecure = errors.New("others than root can write to it or to a directory above it")
)

// Script is a command of the configuration as it can be run.
type Script struct {
	Args     []string // with the program's path
	Searched bool     // the program was named without a directory and found in PATH
	Insecure bool     // root would run what others can write to; keepalived then warns, or refuses with enable_script_security
}

// FindScript looks at the program of a command before anything runs it: does it exist, may its user run it, and can
// nobody but root change what root would run.
//
// keepalived: links in the path are resolved; only a program whose name differs from its link's keeps the link's name,
// because some programs act by their name. With links (use_symlink_paths) the path stays as it is.
func FindScript(args []string, as Identity, links bool) (Script, error) {
	s := Script{Args: append([]string(nil), args...)}
	if len(args) == 0 || args[0] == "" {
		return s, fmt.Errorf("an empty command: %w", ErrScriptMissing)
	}
	if redirection(args[0]) {
		return s, nil // the shell opens the file; nothing of it runs
	}
	path := args[0]
	if !strings.Contains(path, "/") {
		s.Searched = true
		if path = searchPath(path, as); path == "" {
			return s, fmt.Errorf("script %s in PATH: %w", args[0], ErrScriptMissing)
		}
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return s, fmt.Errorf("script %s: %w", path, ErrScriptMissing)
	}
	if real, err = filepath.Abs(real); err != nil {
		return s, fmt.Errorf("script %s: %w", path, ErrScriptMissing)
	}
	info, err := os.Stat(real)
	switch {
	case err != nil, !reachable(real, as):
		return s, fmt.Errorf("script %s: %w", path, ErrScriptMissing)
	case !executable(info, as):
		return s, fmt.Errorf("script %s: %w", path, ErrScriptRefused)
	}
	if s.Args[0] = path; !links {
		s.Args[0] = ownName(path, real, info)
	}
	if as.UID == 0 || as.GID == 0 || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
		s.Insecure = WritableByOthers(real) || WritableByOthers(s.Args[0])
	}
	return s, nil
}

// redirection tells that a command is a file to be opened by the shell and nothing to be run: "</path".
func redirection(word string) bool {
	rest, ok := strings.CutPrefix(word, "<")
	return ok && strings.HasPrefix(strings.TrimLeft(rest, " \t"), "/")
}

// ownName is the resolved path, under the name by which the program was called where that leads to the same file.
func ownName(path, real string, info fs.FileInfo) string {
	if filepath.Base(path) == filepath.Base(real) {
		return real
	}
	renamed := filepath.Join(filepath.Dir(real), filepath.Base(path))
	if other, err := os.Stat(renamed); err == nil && os.SameFile(other, info) {
		return renamed
	}
	return real
}

func searchPath(name string, as Identity) string {
	for _, dir := range filepath.SplitList(cmp.Or(os.Getenv("PATH"), "/bin:/usr/bin")) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && executable(info, as) {
			return path
		}
	}
	return ""
}

// executable tells whether as may execute a regular file.
func executable(info fs.FileInfo, as Identity) bool {
	return info.Mode().IsRegular() && enters(info, as)
}

// enters looks at the x bits. root may where anybody may, and into every directory.
func enters(info fs.FileInfo, as Identity) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	mode := info.Mode()
	switch {
	case !ok:
		return false
	case as.UID == 0:
		return mode.IsDir() || mode&0o111 != 0
	case st.Uid == as.UID:
		return mode&0o100 != 0
	case st.Gid == as.GID:
		return mode&0o010 != 0
	}
	return mode&0o001 != 0
}

// reachable tells whether as may enter every directory above a path without links.
func reachable(path string, as Identity) bool {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || !enters(info, as) {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

// WritableByOthers tells whether somebody other than root could change a file, or put another in its place.
func WritableByOthers(path string) bool {
	for ; ; path = filepath.Dir(path) {
		info, err := os.Lstat(path)
		if err != nil {
			return true
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || st.Uid != 0 {
			return true
		}
		mode := info.Mode()
		open := mode&0o002 != 0 || mode&0o020 != 0 && st.Gid != 0
		if open && mode&fs.ModeSymlink == 0 && (mode&fs.ModeSticky == 0 || !mode.IsDir()) {
			return true
		}
		if path == filepath.Dir(path) {
			return false
		}
	}
}

// shell is the command for a shell: every word quoted, but for a first one that is a redirection.
func (c Command) shell() []string {
	words := make([]string, len(c.Args))
	for i, a := range c.Args {
		words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		if i == 0 && redirection(a) {
			words[i] = a
		}
	}
	return []string{"/bin/sh", "-c", strings.Join(words, " ")}
}
