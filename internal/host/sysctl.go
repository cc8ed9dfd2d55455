package host

import (
	"fmt"
	"os"
	"strings"
)

// Sysctl reads a kernel parameter, by its path below /proc/sys.
func Sysctl(name string) (string, error) {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return "", fmt.Errorf("read sysctl %s: %w", name, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// SetSysctl sets a kernel parameter, by its path below /proc/sys, and returns what it was.
func SetSysctl(name, value string) (old string, err error) {
	if old, err = Sysctl(name); err != nil || old == value {
		return old, err
	}
	if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
		return old, fmt.Errorf("set sysctl %s: %w", name, err)
	}
	return old, nil
}
