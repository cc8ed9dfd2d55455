package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	lock "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Bounds of a process that has shed its rights.
const (
	shedFiles = 16 << 10 // descriptors
	shedData  = 1 << 30  // bytes of memory that it can write to, beside what it has by then; what asks for more ends
)

// Shed gives up, for good and in every thread, what this process may do beyond computing and using what is open: it becomes
// another user, without capabilities and without ways to new ones (no_new_privs); it may open no file but to read what is below
// readable, make no TCP connection, speak to no Unix socket, send no signal outside (Landlock, as far as the kernel has it); its
// memory and descriptors are bounded. Of what was open before, its standard streams and keep stay.
//
// What could not be given up is told; the rest is all the same. It is for a process that has not read anything from outside yet.
func Shed(as Identity, keep int, readable ...string) (lacks []string) {
	closeOthers(keep)
	_ = raiseOOM()
	lack := func(what string, err error) {
		if err != nil {
			lacks = append(lacks, fmt.Sprintf("%s: %v", what, err))
		}
	}
	lack("forbid new privileges", inAllThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1))
	lack(fmt.Sprintf("become user %d", as.UID), become(as))
	lack("give up capabilities", shedCapabilities())
	lack("hide from other processes of this user", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
	for resource, most := range map[int]uint64{unix.RLIMIT_NOFILE: shedFiles, unix.RLIMIT_DATA: hasData() + shedData, unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: 0, unix.RLIMIT_MEMLOCK: 0} {
		lack("bound resources", bound(resource, most))
	}
	const reading = lock.AccessFSReadFile | lock.AccessFSReadDir
	var rules []landlock.Rule
	for _, path := range readable {
		if _, err := os.Stat(path); err == nil {
			rules = append(rules, landlock.PathAccess(accessTo(path), path))
		}
	}
	lack("confine to what is open", landlock.V9.BestEffort().Restrict(rules...))
	// It is about the thread that calls, which must be one that lives as long as the process; and a change of user has undone it.
	lack("end with the process that started this", inAllThreads(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL)))
	return lacks
}

func accessTo(path string) landlock.AccessFSSet {
	if st, err := os.Stat(path); err == nil && !st.IsDir() {
		return lock.AccessFSReadFile
	}
	return lock.AccessFSReadFile | lock.AccessFSReadDir
}

// closeOthers closes what whoever started vipd has left open, but what the Go runtime holds: that is no file, or of cgroups.
func closeOthers(keep int) {
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range dir {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 || fd == keep {
			continue
		}
		name, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if err != nil || strings.HasPrefix(name, "anon_inode:[event") || strings.HasPrefix(name, "/sys/fs/cgroup/") {
			continue
		}
		unix.Close(fd)
	}
}

// raiseOOM has the kernel take this process rather than the one that started it.
func raiseOOM() error {
	const path = "/proc/self/oom_score_adj"
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || n >= 0 {
		return err
	}
	err = os.WriteFile(path, []byte("0"), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// become changes the user and drops all groups but its own. The syscall package does it in every thread. Who is not root can be
// nobody else.
func become(as Identity) error {
	if as.ours() || os.Geteuid() != 0 && os.Geteuid() == int(as.UID) {
		return nil
	}
	if err := syscall.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setresgid(int(as.GID), int(as.GID), int(as.GID)); err != nil {
		return err
	}
	return syscall.Setresuid(int(as.UID), int(as.UID), int(as.UID))
}

func shedCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var has, none [2]unix.CapUserData
	if err := unix.Capget(&header, &has[0]); err != nil {
		return err
	}
	if has == none {
		return nil
	}
	return capsetAll(&header, &none)
}

func bound(resource int, most uint64) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(resource, &limit); err != nil {
		return err
	}
	limit.Max = min(limit.Max, most)
	limit.Cur = limit.Max
	return unix.Setrlimit(resource, &limit)
}

// hasData is how many bytes of memory this process can write to (proc_pid_status(5), VmData).
func hasData() uint64 {
	text, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(text), "VmData:")
	if f := strings.Fields(rest); len(f) > 0 {
		kib, _ := strconv.ParseUint(f[0], 10, 54)
		return kib << 10
	}
	return 0
}

func inAllThreads(call uintptr, args ...uintptr) error {
	var a [3]uintptr
	copy(a[:], args)
	_, _, errno := syscall.AllThreadsSyscall6(call, a[0], a[1], a[2], 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// NameProcess is how ps(1) and top(1) call this process: at most 15 bytes.
func NameProcess(name string) { _ = os.WriteFile("/proc/self/comm", []byte(name), 0) }
