package host

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Uptime is how long ago the system booted.
func Uptime() (time.Duration, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("ask for the uptime: %w", err)
	}
	return time.Duration(info.Uptime) * time.Second, nil
}
