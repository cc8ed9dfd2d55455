package host

import (
	"fmt"
	"os"
	"strings"
)

// SetSysctl sets a kernel parameter, by its path below /proc/sys, and returns what it was.
func SetSysctl(name, value string) (old string, err error) {
	file := "/proc/sys/" + name
	was, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read sysctl %s: %w", name, err)
	}
	if old = strings.TrimSpace(string(was)); old == value {
		return old, nil
	}
	if err := os.WriteFile(file, []byte(value), 0); err != nil {
		return old, fmt.Errorf("set sysctl %s: %w", name, err)
	}
	return old, nil
}
