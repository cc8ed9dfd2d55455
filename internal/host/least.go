package host

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Capability is a right of capabilities(7) that a director that runs holds on to.
type Capability struct {
	Bit  int
	Name string
	For  string // what needs it
}

// Least are the capabilities that a director needs once it is in force; docs/install.md has the same list.
var Least = []Capability{
	{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN", "addresses, routes, virtual MACs, programs on interfaces"},
	{unix.CAP_NET_RAW, "CAP_NET_RAW", "adverts, gratuitous ARP, PING_CHECK"},
	{unix.CAP_BPF, "CAP_BPF", "the packet path's maps and programs"},
	{unix.CAP_PERFMON, "CAP_PERFMON", "the packet path's programs at a reload"},
	{unix.CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE", "checks from low ports"},
	{unix.CAP_SETUID, "CAP_SETUID", "scripts of other users"},
	{unix.CAP_SETGID, "CAP_SETGID", "scripts of other users"},
	{unix.CAP_KILL, "CAP_KILL", "ending those"},
	{unix.CAP_CHOWN, "CAP_CHOWN", "FIFOs and the socket"},
	{unix.CAP_FOWNER, "CAP_FOWNER", "FIFOs and dumps in directories of other users"},
	{unix.CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE", "files of other users: the configuration, tracked files, FIFOs"},
	{unix.CAP_SYS_NICE, "CAP_SYS_NICE", "the priority of threads"},
	{unix.CAP_IPC_LOCK, "CAP_IPC_LOCK", "vrrp_no_swap and its kin"},
}

// whereHidden is kept where /proc hides the processes of other users, so that they are found (proc(5), hidepid).
var whereHidden = Capability{unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "track_process where /proc hides processes"}

// OtherNamespace is needed to look into another network namespace (setns(2)).
var OtherNamespace = Capability{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "IPVS in another network namespace"}

// NoNewPrivileges tells whether this process and its children get no capabilities by execve(2) that it does not hold itself
// (prctl(2), PR_SET_NO_NEW_PRIVS), as root's neither.
func NoNewPrivileges() bool {
	on, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	return err == nil && on == 1
}

// DropPrivileges gives up, in every thread, each capability that is not one of Least or of more, and returns the names of those that
// are left. It takes them from the permitted and the effective set. The bounding set stays: execve(2) gives a program of
// root's what is in it (capabilities(7), "P'(permitted) = (P(inheritable) & F(inheritable)) | (F(permitted) &
// P(bounding))", where for root F is everything), so scripts that the configuration has root run, and the program that
// takes this one's place, have what they always had.
func DropPrivileges(more ...Capability) (kept []string, err error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return nil, fmt.Errorf("read the capabilities of this process: %w", err)
	}
	keep := append(Least[:len(Least):len(Least)], more...)
	if hidesProcesses("/proc/self/mountinfo") {
		keep = append(keep, whereHidden)
	}
	var mask [2]uint32
	for _, c := range keep {
		mask[c.Bit/32] |= 1 << (c.Bit % 32)
		if data[c.Bit/32].Effective&(1<<(c.Bit%32)) != 0 {
			kept = append(kept, c.Name)
		}
	}
	for i := range data {
		data[i].Effective &= mask[i]
		data[i].Permitted &= mask[i]
	}
	return kept, capsetAll(&header, &data)
}

// capsetAll is capset(2) in every thread: capabilities are a thread's own.
func capsetAll(header *unix.CapUserHeader, data *[2]unix.CapUserData) error {
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(data)), 0)
	switch {
	case errno == syscall.ENOTSUP: // syscall.AllThreadsSyscall: "returns ENOTSUP" for binaries that use cgo, which vipd's are not
		return errors.New("give up capabilities: this program was built with cgo")
	case errno != 0:
		return fmt.Errorf("give up capabilities: %w", errno)
	}
	return nil
}

// hidesProcesses tells whether /proc is mounted so that processes of other users are not to be seen.
func hidesProcesses(mountinfo string) bool {
	f, err := os.Open(mountinfo)
	if err != nil {
		return false
	}
	defer f.Close()
	hides := false
	for s := bufio.NewScanner(f); s.Scan(); {
		mount, source, _ := strings.Cut(s.Text(), " - ")
		// proc_pid_mountinfo(5): the fifth field is the mount point; behind the separator type, source and the options of the
		// file system. The last mount on /proc is the one that is seen.
		at, what := strings.Fields(mount), strings.Fields(source)
		if len(at) < 5 || len(what) < 3 || at[4] != "/proc" {
			continue
		}
		hides = false
		for option := range strings.SplitSeq(what[2], ",") {
			if how, ok := strings.CutPrefix(option, "hidepid="); ok && how != "0" && how != "off" {
				hides = true
			}
		}
	}
	return hides
}
