package vm

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// program brings a file with all that the loader will look for: the interpreter at its own path, every library in /lib,
// where ld.so(8) looks last without a cache. A file that is no program comes alone.
func (a *archive) program(name, from string) error {
	from, err := filepath.EvalSymlinks(from)
	if err != nil {
		return err
	}
	if err := a.bring(name, from); err != nil {
		return err
	}
	if info, err := os.Stat(from); err != nil || info.IsDir() {
		return err
	}
	return a.libraries(from)
}

func (a *archive) libraries(file string) error {
	needed, interpreter, dirs, err := linkage(file)
	if err != nil {
		return err
	}
	if interpreter != "" {
		if err := a.program(interpreter, interpreter); err != nil {
			return err
		}
	}
	for _, lib := range needed {
		to := "/lib/" + lib
		if a.have[to] {
			continue
		}
		i := slices.IndexFunc(dirs, func(dir string) bool { _, err := os.Stat(filepath.Join(dir, lib)); return err == nil })
		if i < 0 {
			return fmt.Errorf("%s needs %s, which is in none of %s", file, lib, strings.Join(dirs, " "))
		}
		if err := a.program(to, filepath.Join(dirs[i], lib)); err != nil {
			return err
		}
	}
	return nil
}

// linkage reads from an ELF file which libraries it names, its interpreter, and where they are looked for.
func linkage(file string) (needed []string, interpreter string, dirs []string, err error) {
	f, err := elf.Open(file)
	if format := (*elf.FormatError)(nil); errors.As(err, &format) {
		return nil, "", nil, nil // a script, a text
	} else if err != nil {
		return nil, "", nil, nil // a folder, or shorter than a header
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			path := make([]byte, p.Filesz)
			if _, err := p.ReadAt(path, 0); err != nil {
				return nil, "", nil, fmt.Errorf("%s: %w", file, err)
			}
			interpreter = string(bytes.TrimRight(path, "\x00"))
		}
	}
	if needed, err = f.ImportedLibraries(); err != nil {
		return nil, "", nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		paths, err := f.DynString(tag)
		if err != nil {
			return nil, "", nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, p := range paths {
			dirs = append(dirs, strings.Split(strings.ReplaceAll(p, "$ORIGIN", filepath.Dir(file)), ":")...)
		}
	}
	return needed, interpreter, append(dirs, libraryDirs()...), nil
}

// libraryDirs are the folders of ld.so(8): those of ld.so.conf and its usual snippets, then the built-in ones.
func libraryDirs() (dirs []string) {
	files, _ := filepath.Glob("/etc/ld.so.conf.d/*.conf")
	for _, file := range append(files, "/etc/ld.so.conf") {
		text, _ := os.ReadFile(file)
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "/") {
				dirs = append(dirs, line)
			}
		}
	}
	return append(dirs, "/lib", "/usr/lib", "/lib64")
}
