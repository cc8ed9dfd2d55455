package vm

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// archive is a cpio archive of the form that the kernel unpacks as its first file system: newc
// (Documentation/driver-api/early-userspace/buffer-format.rst). It is not compressed: unpacking costs more than copying.
type archive struct {
	bytes.Buffer
	have  map[string]bool
	inode int
}

func newArchive() *archive {
	a := &archive{have: map[string]bool{"/": true}}
	a.Grow(64 << 20)
	return a
}

// entry writes one member, and the folders above it first. A path that is there already stays as it is.
func (a *archive) entry(name string, mode uint32, rdev [2]int, content []byte) {
	name = path.Clean("/" + name)
	if a.have[name] {
		return
	}
	a.folder(path.Dir(name))
	a.have[name] = true
	a.write(strings.TrimPrefix(name, "/"), mode, rdev, content)
}

func (a *archive) write(name string, mode uint32, rdev [2]int, content []byte) {
	a.inode++
	fmt.Fprintf(a, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", a.inode, mode, 0, 0, 1, 0,
		len(content), 0, 0, rdev[0], rdev[1], len(name)+1, 0)
	a.WriteString(name + "\x00")
	a.pad()
	a.Write(content)
	a.pad()
}

func (a *archive) pad() { a.Write(make([]byte, -a.Len()&3)) }

func (a *archive) folder(name string) {
	if name = path.Clean("/" + name); !a.have[name] {
		a.entry(name, unix.S_IFDIR|0o755, [2]int{}, nil)
	}
}

func (a *archive) file(name string, perm fs.FileMode, content []byte) {
	a.entry(name, unix.S_IFREG|uint32(perm.Perm()), [2]int{}, content)
}

func (a *archive) link(name, target string) {
	a.entry(name, unix.S_IFLNK|0o777, [2]int{}, []byte(target))
}

func (a *archive) device(name string, major, minor int) {
	a.entry(name, unix.S_IFCHR|0o600, [2]int{major, minor}, nil)
}

// bring copies a file of this machine, or a folder with everything in it.
func (a *archive) bring(name, from string) error {
	return filepath.WalkDir(from, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		below, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		a.file(path.Join(name, filepath.ToSlash(below)), info.Mode(), content)
		return nil
	})
}

// end writes the last member and returns the whole.
func (a *archive) end() []byte {
	a.write("TRAILER!!!", 0, [2]int{}, nil)
	return a.Bytes()
}
