package need

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// InVM is the environment variable that is set for every process in the VM (internal/vm).
const InVM = "VIPD_VM"

// Kernel is a Debian kernel package, unpacked and not installed.
type Kernel struct {
	Image   string // boot/vmlinuz-…
	Modules string // lib/modules/VERSION
}

// FindKernel finds what `.ci/setup test` has unpacked; the rule for the folder stands in both.
func FindKernel() (Kernel, error) {
	folder := os.Getenv("XDG_CACHE_HOME")
	if folder == "" {
		folder = "/var/cache"
	}
	folder = filepath.Join(folder, "vipd", "kernel")
	images, _ := filepath.Glob(filepath.Join(folder, "boot", "vmlinuz-*"))
	deps, _ := filepath.Glob(filepath.Join(folder, "lib", "modules", "*", "modules.dep"))
	if len(images) != 1 || len(deps) != 1 {
		return Kernel{}, fmt.Errorf("no kernel in %s", folder)
	}
	return Kernel{images[0], filepath.Dir(deps[0])}, nil
}

// QEMU needs what a VM is made of: the emulator, busybox and a kernel. A test that runs inside one needs none of them.
func QEMU(t testing.TB) {
	t.Helper()
	if os.Getenv(InVM) != "" {
		return
	}
	for _, program := range []string{"qemu-system-x86_64", "/bin/busybox"} {
		if _, err := exec.LookPath(program); err != nil {
			absent(t, program)
		}
	}
	if _, err := FindKernel(); err != nil {
		absent(t, fmt.Sprintf("the VM's kernel (%v; .ci/setup test)", err))
	}
}
