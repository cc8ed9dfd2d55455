package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/host"
)

// recipe is what packaging/Containerfile says.
type recipe struct {
	copied  [2]string // from the tree, into the image
	command []string  // ENTRYPOINT and CMD
	caps    []string  // of --cap-add, with CAP_
	mounted []string  // of -v: the path in the container
}

func readRecipe(t *testing.T) (r recipe) {
	t.Helper()
	text, err := os.ReadFile("../packaging/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`(?m)^COPY (\S+) (\S+)$`).FindStringSubmatch(string(text)); m != nil {
		r.copied = [2]string{m[1], m[2]}
	}
	for _, m := range regexp.MustCompile(`(?m)^(?:ENTRYPOINT|CMD) (\[.*\])$`).FindAllStringSubmatch(string(text), -1) {
		var words []string
		if err := json.Unmarshal([]byte(m[1]), &words); err != nil {
			t.Fatal(err)
		}
		r.command = append(r.command, words...)
	}
	if m := regexp.MustCompile(`--cap-drop all --cap-add (\S+)`).FindStringSubmatch(string(text)); m != nil {
		for name := range strings.SplitSeq(m[1], ",") {
			r.caps = append(r.caps, "CAP_"+name)
		}
	}
	for _, m := range regexp.MustCompile(`-v ([^: ]+):([^: ]+)`).FindAllStringSubmatch(string(text), -1) {
		r.mounted = append(r.mounted, m[2])
	}
	if r.copied[0] != "bin/vipd" || len(r.command) < 2 || r.command[0] != r.copied[1] || len(r.caps) < 5 || len(r.mounted) != 3 || !strings.Contains(string(text), "FROM scratch\n") {
		t.Fatalf("the recipe is not understood: %+v", r)
	}
	return r
}

// TestTheContainerOfTheRecipe: a root with the binary and what is mounted into it, and with the capabilities of the recipe, is
// enough for a director.
func TestTheContainerOfTheRecipe(t *testing.T) {
	if !alone(t, 2*time.Minute, "ip") {
		return
	}
	r := readRecipe(t)
	addCables(t)
	root := t.TempDir()
	for _, dir := range append([]string{filepath.Dir(r.copied[1]), "/proc", "/sys", "/run/vipd"}, r.mounted...) {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"/proc", "/sys"} { // which engines mount
		if err := unix.Mount(dir, root+dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(root+dir, unix.MNT_DETACH)
	}
	if out, err := exec.Command("cp", program(), root+r.copied[1]).CombinedOutput(); err != nil {
		t.Fatal(string(out))
	}
	text := strings.Replace(siteFile(t, "eth0"), "priority 100", "priority 255", 1)
	if err := os.WriteFile(root+"/etc/keepalived/keepalived.conf", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(root + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	start := func(args ...string) *exec.Cmd {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = []string{"PATH=/usr/sbin"}
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		return cmd
	}
	run := start(r.command...)
	run.Stderr = log
	boundedTo(t, r.caps, run.Start)
	status := func() string {
		out, _ := start(r.copied[1], "status").CombinedOutput()
		return string(out)
	}
	eventually(t, 60*time.Second, "it is master in the container", func() bool {
		said, _ := os.ReadFile(log.Name())
		if run.ProcessState != nil || strings.Contains(string(said), "\nhint: ") {
			t.Fatalf("it does not run:\n%s", said)
		}
		return strings.Contains(status(), "MASTER")
	})
	if sets := capabilitiesOf(t, fmt.Sprintf("/proc/%d/status", run.Process.Pid)); sets["CapEff"] != bitsOf(r.caps) {
		t.Errorf("it holds %x, and the recipe gives %x", sets["CapEff"], bitsOf(r.caps))
	}
	if err := run.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := run.Wait(); err != nil {
		said, _ := os.ReadFile(log.Name())
		t.Errorf("it ended with %v:\n%s", err, said)
	}
}

// boundedTo starts something with these capabilities in its bounding set.
func boundedTo(t *testing.T, names []string, start func() error) {
	t.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocks: the thread ends with the goroutine
		keep := bitsOf(names)
		for bit := range 64 {
			if keep&(1<<bit) == 0 {
				_ = unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(bit), 0, 0, 0) // EINVAL: there is none of this number
			}
		}
		failed <- start()
	}()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

func bitsOf(names []string) (bits uint64) {
	for _, c := range host.Least {
		if slices.Contains(names, c.Name) {
			bits |= 1 << c.Bit
		}
	}
	return bits
}
