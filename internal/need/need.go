// Package need states what a test needs of the machine it runs on. A skip is a claim that the thing is truly absent;
// where the environment variable CI is set, absence is a failure instead, so that nothing is skipped there unseen.
package need

import (
	"os"
	"os/exec"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// absent skips, or fails under CI.
func absent(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing, and this is CI", what)
	}
	t.Skipf("%s is missing", what)
}

// Root needs uid 0.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		absent(t, "root")
	}
}

// BPF needs the right to load BPF programs and a bpffs, which is mounted if nobody has: a machine without systemd.
func BPF(t testing.TB) {
	t.Helper()
	Root(t)
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		absent(t, "kernel BTF")
	}
	bpffs.Do(func() {
		var s unix.Statfs_t
		if err := unix.Statfs(bpffsPath, &s); err == nil && s.Type == unix.BPF_FS_MAGIC {
			return
		}
		if err := unix.Mount("bpf", bpffsPath, "bpf", 0, "mode=0700"); err != nil {
			absent(t, "a BPF file system ("+err.Error()+")")
		}
	})
}

const bpffsPath = "/sys/fs/bpf"

var bpffs sync.Once

// Tool needs a program in PATH and returns its path.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		absent(t, "the program "+name)
	}
	return path
}

// IPVS needs a kernel with ip_vs, and root to drive it. Where it is absent nothing goes unseen, also under CI: test/vm
// runs the same tests in the VM.
func IPVS(t testing.TB) {
	t.Helper()
	Root(t)
	if _, err := os.Stat("/proc/net/ip_vs"); err == nil {
		return
	}
	if err := exec.Command("modprobe", "-q", "ip_vs").Run(); err != nil {
		t.Skip("ip_vs is missing here; test/vm runs this test in the VM")
	}
}
