package host

import (
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock"
	"github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// Confine forbids this process for good to write, make, remove or execute any file, where the kernel can do that (Landlock,
// Linux 5.13; it does nothing on older ones). What is open stays open. It is for commands that only read what others have
// written: what they start would be confined too.
func Confine() error {
	const reading = syscall.AccessFSReadFile | syscall.AccessFSReadDir
	if err := landlock.V7.BestEffort().RestrictPaths(landlock.PathAccess(reading, "/")); err != nil {
		return fmt.Errorf("forbid this process to write files: %w", err)
	}
	return nil
}
