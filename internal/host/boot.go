package host

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// BootID is another one after every boot: /proc/sys/kernel/random/boot_id (random(4)).
func BootID() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// SinceBoot is the time since the boot to the nanosecond, what was slept included: the same for all processes.
func SinceBoot() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0, fmt.Errorf("read the time since boot: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// Unit is the systemd unit that this process belongs to, by its control group: vipd.service.
func Unit() (string, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("read the control group: %w", err)
	}
	for line := range strings.Lines(string(text)) { // HIERARCHY:CONTROLLERS:PATH (cgroups(7)); systemd's own has no controllers but a name
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 && (parts[1] == "" || parts[1] == "name=systemd") && strings.HasSuffix(parts[2], ".service") {
			return path.Base(parts[2]), nil
		}
	}
	return "", errors.New("this process is in no service's control group")
}
