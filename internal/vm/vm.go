// Package vm runs a script, or a compiled Go test, as root inside a throw-away virtual machine whose kernel is Debian's
// own: one with ip_vs, ipip, vlan and the other modules that the machine under the tests may lack. It boots in about
// four seconds under QEMU's software emulation, from an archive in memory, and leaves nothing behind.
//
// It is test support: no program of vipd imports it. It installs nothing: `.ci/setup test` brings QEMU, busybox and the
// unpacked kernel, and need.QEMU asks for them.
//
// Invariant: a machine does not outlive Run. When Run returns, also after a cancelled context or a broken guest, its
// process is reaped and no goroutine, file or namespace of it is left.
//
// Tests of whole things (test/vm), of the packet path on an older kernel and of the kernel's IPVS call it, mostly
// through Inside and GoTest.
package vm

import (
	"context"
	"fmt"
	"io"
	"time"

	"vipd/internal/need"
)

// Config says what a machine holds and does. The zero value boots, does nothing and ends.
type Config struct {
	// Script is run by dash as root, in /vm. busybox's commands, Tools and a mounted bpffs, cgroup2, tracefs and tmpfs /run
	// are there. What it leaves in /out comes back. Modules are loaded when the kernel asks for them.
	Script string
	// Tools are programs of this machine, by name or path. They come with the libraries that they are linked with.
	Tools []string
	// Files are further files: the path inside the VM, and the path here. A folder comes whole, a program with its libraries.
	Files map[string]string
	// Texts are files by their content.
	Texts map[string]string
	// Modules are kernel modules beyond the usual networking ones, by name.
	Modules []string
	CPUs    int // If zero, 1.
	Memory  int // MiB. If zero, 1024.
	// CountInstructions makes the guest's clock count: one instruction is one nanosecond, and waiting takes no time. So a
	// duration inside is a count that repeats, whatever else this machine does. It allows one CPU only.
	CountInstructions bool
	// Output gets what Script prints, line by line while it runs. If nil, only Result has it.
	Output io.Writer
	Limit  time.Duration // of the whole, by this machine's clock. If zero, ten minutes.
}

// Result is what a machine left.
type Result struct {
	Status  int               // exit status of the script
	Output  string            // what it printed on both channels
	Files   map[string][]byte // the files under /out, by their path below it
	Console string            // the kernel's messages
}

const (
	emulator = "qemu-system-x86_64"
	busybox  = "/bin/busybox"

	defaultLimit  = 10 * time.Minute // a boot takes ten times as long on a machine that is busy
	defaultMemory = 1024
)

// Run boots a machine and runs the script in it. A script that fails is no error: Result.Status tells. An error means
// that the machine could not be made or gave no result: no kernel, a panic, a cancelled context, the limit.
func Run(ctx context.Context, c Config) (Result, error) {
	if c.CountInstructions && c.CPUs > 1 {
		return Result{}, fmt.Errorf("vm: %d CPUs cannot have a clock that counts instructions", c.CPUs)
	}
	k, err := need.FindKernel()
	if err != nil {
		return Result{}, fmt.Errorf("vm: %w", err)
	}
	initrd, err := c.archive(k)
	if err != nil {
		return Result{}, fmt.Errorf("vm: %w", err)
	}
	limit := c.Limit
	if limit == 0 {
		limit = defaultLimit
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not finished after %v", limit))
	defer cancel()
	result, err := c.boot(ctx, k, initrd)
	if err != nil {
		return result, fmt.Errorf("vm: %w\n%s", err, tail(result.Console+result.Output, 6000))
	}
	return result, nil
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }
