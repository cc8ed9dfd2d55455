package test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAProgramForAnotherProcessor: no word of ours can be said by a program that does not run here. The package refuses, and the
// book says what the shell's words mean.
func TestAProgramForAnotherProcessor(t *testing.T) {
	data, err := os.ReadFile(build(t))
	if err != nil {
		t.Fatal(err)
	}
	const machine, s390 = 18, 22 // ELF: e_machine, and a value that this processor is not
	binary.LittleEndian.PutUint16(data[machine:], s390)
	foreign := t.TempDir() + "/vipd"
	if err := os.WriteFile(foreign, data, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", foreign+" --version").CombinedOutput()
	m := regexp.MustCompile(`Exec format error`).Find(out)
	if err == nil || m == nil {
		t.Fatalf("%v: %s", err, out)
	}
	book, err := os.ReadFile("../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(book), string(m)) || !strings.Contains(string(book), "dpkg --print-architecture") {
		t.Errorf("docs/install.md does not explain %q", m)
	}
}

// TestAStartNeedsNeitherLockedMemoryNorTypes: kernels before 5.11, which are too old for the packet path, count maps against
// RLIMIT_MEMLOCK, and what has BTF is not asked for. A start succeeds with the lowest limit, which it may not raise (a container without
// CAP_SYS_RESOURCE), and without the kernel's BTF.
func TestAStartNeedsNeitherLockedMemoryNorTypes(t *testing.T) {
	if !alone(t, 2*time.Minute, "setpriv", "prlimit", "unshare") {
		return
	}
	addCables(t)
	file := write(t, t.TempDir(), "owner.conf", strings.Replace(siteFile(t, "eth0"), "priority 100", "priority 255", 1))
	run := &running{cmd: exec.Command("unshare", "--mount", "sh", "-c", `mount -n -t tmpfs none /sys/kernel/btf && exec "$@"`, "sh", "prlimit", "--memlock=65536:65536", "setpriv", "--bounding-set=-sys_resource,-ipc_lock", "--inh-caps=-sys_resource,-ipc_lock",
		program(), "run", "-f", file), log: &strings.Builder{}}
	run.cmd.Stderr = run.log
	if err := run.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "it is master with little locked memory", func() bool { return strings.Contains(vipd(t, "status").stdout, "MASTER") })
	if code := run.end(t, syscall.SIGTERM); code != 0 || strings.Contains(run.log.String(), "ERROR") {
		t.Errorf("it ended with %d", code)
	}
}
