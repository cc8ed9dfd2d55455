package xdp

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// What may be wrong with the machine or with what is on it. Test with errors.Is.
var (
	// ErrLayout: the pins are of another version or size, or damaged. Nothing was touched.
	ErrLayout = errors.New("pinned state cannot be adopted")
	// ErrBusy: another process has this pin directory open.
	ErrBusy = errors.New("in use by another process")
	// ErrForeign: another XDP program is attached to the interface.
	ErrForeign = errors.New("another XDP program is attached")
	// ErrPermission: the right to use BPF is missing.
	ErrPermission = errors.New("not permitted to use BPF: root or CAP_BPF and CAP_NET_ADMIN are needed")
	// ErrKernel: the kernel lacks something that the packet path needs.
	ErrKernel = errors.New("this kernel cannot run the packet path")
	// ErrNoEthernet: the packet path reads Ethernet frames.
	ErrNoEthernet = errors.New("it has no Ethernet address")
	// ErrNoBPFFS: the pin directory is not in a BPF file system.
	ErrNoBPFFS = errors.New("not in a BPF file system: mount -t bpf bpf /sys/fs/bpf")
)

// explain adds the typed error to what the kernel said about a BPF call. EPERM says nothing that ErrPermission does not,
// and the library's guess at it (MEMLOCK) leads astray.
func explain(what string, err error) error {
	var refused *ebpf.VerifierError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused): // with EACCES, which is not about rights here
		return fmt.Errorf("%s: %w: %w", what, ErrKernel, err)
	case errors.Is(err, unix.EPERM), errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s: %w", what, ErrPermission)
	case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("%s: %w: %w", what, ErrKernel, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// usable asks the kernel for the least that BPF has, before anything is made: is there BPF, and for us?
func usable() error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "probe", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return explain("ask the kernel for BPF", err)
	}
	return m.Close()
}
