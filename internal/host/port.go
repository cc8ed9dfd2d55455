package host

import (
	"fmt"
	"os"
	"strings"
)

// Port is the netlink port of who asked the kernel for a change: netlink(7) "for a netlink socket … usually the process
// ID". 0 is the kernel itself, or that nobody is known.
type Port uint32

const maxPID = 1 << 22 // PID_MAX_LIMIT of a 64-bit kernel

// String is " by PROCESS" if it can be known, and empty otherwise. A process that has ended is known by its number alone.
func (p Port) String() string {
	if p == 0 || p > maxPID { // the second and further sockets of a process get numbers that say nothing
		return ""
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", uint32(p)))
	if err != nil {
		return fmt.Sprintf(" by process %d, which has ended", uint32(p))
	}
	return fmt.Sprintf(" by process %d (%s)", uint32(p), strings.TrimSpace(string(name)))
}
