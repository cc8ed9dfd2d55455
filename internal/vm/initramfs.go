package vm

import (
	"crypto/rand"
	_ "embed"
	"fmt"
	"os/exec"
	"path"
	"slices"
	"strings"

	"vipd/internal/need"
)

//go:embed init.sh
var initScript []byte

// texts are what programs expect to find on any machine.
var texts = map[string]string{
	"/etc/passwd":        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
	"/etc/group":         "root:x:0:\nnogroup:x:65534:\n",
	"/etc/hosts":         "127.0.0.1 localhost\n",
	"/etc/nsswitch.conf": "hosts: files\nservices: files\nprotocols: files\n",
}

// initrd is the first file system of a machine and the mark that ends the script's output.
type initrd struct {
	content []byte
	mark    string
}

// archive makes the first file system. It takes some tens of milliseconds, so that nothing needs to be kept for later.
func (c Config) archive(k need.Kernel) (initrd, error) {
	a := newArchive()
	mark := "end-" + rand.Text()
	a.file("/init", 0o755, initScript)
	a.file("/vm/mark", 0o644, []byte(mark))
	a.file("/vm/script", 0o644, []byte(c.Script))
	a.file("/vm/modules", 0o644, []byte(loadLine(c.Modules)))
	for name, text := range c.Texts {
		a.file(name, 0o755, []byte(text))
	}
	for name, text := range texts {
		a.file(name, 0o644, []byte(text))
	}
	for _, dir := range []string{"/bin", "/sbin", "/usr/bin", "/usr/sbin", "/dev", "/proc", "/sys", "/run", "/tmp", "/root", "/out", "/var/log", "/var/tmp"} {
		a.folder(dir)
	}
	a.link("/var/run", "/run")
	a.link("/sbin/modprobe", busybox) // the kernel calls it there
	a.device("/dev/console", 5, 1)
	if err := a.bring(busybox, busybox); err != nil {
		return initrd{}, err
	}
	if err := a.addModules(k, slices.Concat(usual, c.Modules)); err != nil {
		return initrd{}, err
	}
	if err := c.addPrograms(a); err != nil {
		return initrd{}, err
	}
	return initrd{a.end(), mark}, nil
}

func loadLine(modules []string) string {
	if len(modules) == 0 {
		return ""
	}
	return "modprobe -a " + strings.Join(modules, " ") + "\n"
}

func (c Config) addPrograms(a *archive) error {
	for _, tool := range append([]string{"dash"}, c.Tools...) {
		from, err := exec.LookPath(tool)
		if err != nil {
			return fmt.Errorf("bring %s: %w", tool, err)
		}
		if err := a.program("/usr/bin/"+path.Base(tool), from); err != nil {
			return fmt.Errorf("bring %s: %w", tool, err)
		}
	}
	for to, from := range c.Files {
		if err := a.program(to, from); err != nil {
			return fmt.Errorf("bring %s: %w", from, err)
		}
	}
	for _, name := range []string{"/etc/services", "/etc/protocols"} {
		if err := a.bring(name, name); err != nil {
			return err
		}
	}
	return nil
}
