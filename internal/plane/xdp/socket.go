package xdp

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"vipd/bpf"
)

// socketPrefix begins the pin of a program for this host's own sockets.
const socketPrefix = "socket_"

// socketMaps are those that only these programs use; pinned like the others as long as they are there.
var socketMaps = []string{bpf.SocketMapSocketChoices, bpf.SocketMapSocketNames, bpf.SocketMapSocketOutcomes}

// BalanceOwn says whether connections that this host itself opens to a service, from the network namespace of the calling
// thread, go to its real servers: XDP does not see them. A later process with the same pins takes it over as it is, and says
// anew. Errors: ErrPermission, ErrKernel (no cgroup2, no BPF for it).
func (p *Plane) BalanceOwn(on bool) error {
	if !on {
		p.owning = false
		return p.removeSockets()
	}
	if p.owning {
		return nil
	}
	progs, err := p.loadSockets()
	if err != nil {
		return fmt.Errorf("balance this host's own connections: %w", err)
	}
	defer func() {
		for _, prog := range progs {
			prog.Close() // its link holds it
		}
	}()
	root, err := cgroupRoot()
	if err != nil {
		return fmt.Errorf("balance this host's own connections: %w", err)
	}
	defer root.Close()
	for name, prog := range progs {
		if err := p.hang(name, prog, root); err != nil {
			return errors.Join(fmt.Errorf("balance this host's own connections: %w", err), p.removeSockets())
		}
	}
	p.owning = true
	return nil
}

// hang puts a program where its pin says that an older one hangs, or at the root of the cgroups.
func (p *Plane) hang(name string, prog *ebpf.Program, root *os.File) error {
	path := filepath.Join(p.dir, socketPrefix+name)
	if old, err := link.LoadPinnedLink(path, nil); err == nil {
		defer old.Close()
		return explain("replace the program "+name, old.Update(prog))
	}
	l, err := link.AttachRawLink(link.RawLinkOptions{Target: int(root.Fd()), Program: prog, Attach: socketPrograms[name]})
	if err != nil {
		return explain("attach "+name, err)
	}
	defer l.Close()
	return explain("pin "+name, l.Pin(path))
}

var socketPrograms = map[string]ebpf.AttachType{
	bpf.SocketProgConnect4: ebpf.AttachCGroupInet4Connect, bpf.SocketProgConnect6: ebpf.AttachCGroupInet6Connect,
	bpf.SocketProgSendmsg4: ebpf.AttachCGroupUDP4Sendmsg, bpf.SocketProgSendmsg6: ebpf.AttachCGroupUDP6Sendmsg,
	bpf.SocketProgRecvmsg4: ebpf.AttachCGroupUDP4Recvmsg, bpf.SocketProgRecvmsg6: ebpf.AttachCGroupUDP6Recvmsg,
	bpf.SocketProgGetpeername4: ebpf.AttachCgroupInet4GetPeername, bpf.SocketProgGetpeername6: ebpf.AttachCgroupInet6GetPeername,
}

// loadSockets loads the programs with the plane's maps, and pins those of their own.
func (p *Plane) loadSockets() (map[string]*ebpf.Program, error) {
	spec, err := bpf.LoadSocket()
	if err != nil {
		return nil, fmt.Errorf("read the object: %w", err)
	}
	bpf.Named(spec)
	cookie, err := namespaceCookie()
	if err != nil {
		return nil, err
	}
	constants := map[string]any{bpf.SocketVarRegionMask: p.meta.Regions - 1, bpf.SocketVarHashSeed: p.meta.Seed, bpf.SocketVarHashFactor: bpf.HashFactor(p.meta.Seed),
		bpf.SocketVarTickShift: p.meta.TickShift, bpf.SocketVarOwnNamespace: cookie}
	for name, value := range constants {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	have := map[string]*ebpf.Map{}
	for name, m := range p.maps {
		if spec.Maps[name] != nil {
			have[name] = m
		}
	}
	for _, name := range socketMaps {
		m, err := p.socketMap(name, spec.Maps[name])
		if err != nil {
			return nil, err
		}
		defer m.Close()
		have[name] = m
	}
	for name, m := range have {
		spec.Maps[name].MaxEntries = m.MaxEntries()
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: have})
	if err != nil {
		return nil, explain("load the programs", err)
	}
	for _, m := range coll.Maps {
		m.Close()
	}
	return coll.Programs, nil
}

// socketMap is a pinned map of an earlier process, or a new one in its place.
func (p *Plane) socketMap(name string, spec *ebpf.MapSpec) (*ebpf.Map, error) {
	path := filepath.Join(p.dir, name)
	if m, err := ebpf.LoadPinnedMap(path, nil); err == nil {
		if spec.Compatible(m) == nil {
			return m, nil
		}
		m.Close()
		os.Remove(path)
	}
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, explain("make "+name, err)
	}
	if err := m.Pin(path); err != nil {
		m.Close()
		return nil, explain("pin "+name, err)
	}
	return m, nil
}

// detachPin ends what the link of a pin does, at once: without its pin it would end a little later. A map's pin is none.
func detachPin(path string) {
	if l, err := link.LoadPinnedLink(path, nil); err == nil {
		l.Detach()
		l.Close()
	}
}

func (p *Plane) removeSockets() error {
	var errs []error
	for _, name := range pinned(p.dir) {
		if !strings.HasPrefix(name, socketPrefix) {
			continue
		}
		path := filepath.Join(p.dir, name)
		detachPin(path)
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
}

// OwnConnections says what became of the connections that this host itself opened to services: sent, here, refused, family,
// as shared.h has it. Nil where BalanceOwn is not on.
func (p *Plane) OwnConnections() ([]Outcome, error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(p.dir, bpf.SocketMapSocketOutcomes), &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return nil, nil
	}
	defer m.Close()
	var list []Outcome
	for i, name := range socketOutcomes {
		var each []uint64
		if err := m.Lookup(uint32(i), &each); err != nil {
			return nil, fmt.Errorf("read the outcomes of own connections: %w", err)
		}
		o := Outcome{Name: name}
		for _, n := range each {
			o.Count += n
		}
		list = append(list, o)
	}
	return list, nil
}

// Outcome is how many connections came to one end.
type Outcome struct {
	Name  string
	Count uint64
}

var socketOutcomes = [...]string{bpf.SocketSocketOutcomeSOCKET_SENT: "sent", bpf.SocketSocketOutcomeSOCKET_HERE: "here",
	bpf.SocketSocketOutcomeSOCKET_REFUSED: "refused", bpf.SocketSocketOutcomeSOCKET_FAMILY: "family"}

// namespaceCookie is the kernel's name for the network namespace of this thread (SO_NETNS_COOKIE, Linux 5.14).
func namespaceCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("ask for the network namespace: %w", err)
	}
	defer unix.Close(fd)
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("ask for the network namespace: %w", err)
	}
	return cookie, nil
}

// cgroupRoot opens the root of the cgroups of version 2 as this process sees it. It mounts them for itself alone, nowhere:
// whether and where somebody else has done so does not matter. Where that is not allowed, it takes the usual places.
func cgroupRoot() (*os.File, error) {
	fs, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err == nil {
		defer unix.Close(fs)
		if err = unix.FsconfigCreate(fs); err == nil {
			var fd int
			if fd, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0); err == nil {
				return os.NewFile(uintptr(fd), "cgroup2"), nil
			}
		}
	}
	for _, path := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var s unix.Statfs_t
		if unix.Statfs(path, &s) == nil && s.Type == unix.CGROUP2_SUPER_MAGIC {
			return os.Open(path)
		}
	}
	return nil, fmt.Errorf("%w: open the cgroups of version 2: %w", ErrKernel, err)
}
