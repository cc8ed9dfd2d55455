package host

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// PrivilegeError names the capabilities (capabilities(7)) that this process lacks.
type PrivilegeError struct{ Missing []string }

func (e *PrivilegeError) Error() string {
	return fmt.Sprintf("not permitted: this needs %s", strings.Join(e.Missing, ", "))
}

// needed are the capabilities of a director: any one of a line is enough.
var needed = []struct {
	bits []int
	name string
}{
	{[]int{unix.CAP_NET_ADMIN}, "CAP_NET_ADMIN"},                            // addresses, neighbours, XDP
	{[]int{unix.CAP_NET_RAW}, "CAP_NET_RAW"},                                // adverts, gratuitous ARP
	{[]int{unix.CAP_BPF, unix.CAP_SYS_ADMIN}, "CAP_BPF (or CAP_SYS_ADMIN)"}, // programs and maps; CAP_BPF is of Linux 5.8
}

// CheckPrivileges tells whether this process may do what a director does; if not, by a *PrivilegeError.
func CheckPrivileges() error {
	var data [2]unix.CapUserData // version 3 has 64 bits in two halves
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]); err != nil {
		return fmt.Errorf("read the capabilities of this process: %w", err)
	}
	if missing := missingPrivileges(uint64(data[1].Effective)<<32 | uint64(data[0].Effective)); missing != nil {
		return &PrivilegeError{Missing: missing}
	}
	return nil
}

func missingPrivileges(effective uint64) (missing []string) {
	for _, n := range needed {
		has := false
		for _, bit := range n.bits {
			has = has || effective&(1<<bit) != 0
		}
		if !has {
			missing = append(missing, n.name)
		}
	}
	return missing
}
