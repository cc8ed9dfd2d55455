package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	stdmaps "maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// lockDir takes the directory for this process. The lock ends with the process, however that ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, explain("open the pins", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrBusy
		}
		return nil, fmt.Errorf("lock: %w", err)
	}
	return f, nil
}

// pinned lists what is in a pin directory.
func pinned(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// removeStale clears away what a process that ended in create or Remove left. Nothing in such a directory is live, but
// for links that Remove had not come to. Links that are pinned under the live name as well (migrate) are that one's.
func removeStale(temp string) error {
	live := strings.TrimSuffix(temp, "~")
	lock, err := lockDir(temp)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("clean up %s: %w", temp, err)
	}
	defer lock.Close()
	for _, name := range pinned(temp) {
		path := filepath.Join(temp, name)
		if strings.HasPrefix(name, linkPrefix) && !exists(filepath.Join(live, name)) || strings.HasPrefix(name, socketPrefix) {
			detachPin(path)
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("clean up: %w", err)
		}
	}
	if err := os.Remove(temp); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Remove detaches every interface and removes all pins: connections and counts are gone. The plane is closed after it.
func (p *Plane) Remove() error {
	var errs []error
	for ifindex := range p.links {
		errs = append(errs, p.detach(ifindex))
	}
	temp := p.dir + "~"
	if err := os.Rename(p.dir, temp); err != nil { // from here on the next Open begins anew
		errs = append(errs, err)
	}
	p.release()
	errs = append(errs, removeStale(temp))
	if parent := filepath.Dir(p.dir); filepath.Base(parent) == "vipd" {
		os.Remove(parent) // unless another instance is there
	}
	return errors.Join(errs...)
}

// Remove ends whatever is pinned in dir, of any version, without opening it: the way out of ErrLayout. Interfaces are
// detached. A directory that is not there is no error; ErrBusy if a process has it open.
func Remove(dir string) error {
	lock, err := lockDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	err = os.Rename(dir, dir+"~")
	lock.Close()
	if err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return removeStale(dir + "~")
}

// adopt takes over the pins, or says why not before it has touched anything.
func (p *Plane) adopt(opts Options) error {
	names := pinned(p.dir)
	if len(names) == 0 {
		// Nobody fills a directory under its live name; somebody's mkdir is as good as none.
		os.Remove(p.dir)
		p.lock.Close()
		p.adopted = false
		return p.create(opts)
	}
	spec, have, err := p.fitting(names, opts)
	defer have.close()
	if err == nil {
		return p.start(spec, have)
	}
	from, err := movable(p.dir, err)
	if err != nil {
		return err
	}
	if err := p.migrate(opts, from); err != nil {
		layout := from.meta.Layout
		from.close()
		return damaged(fmt.Errorf("layout %d was not taken over: %w", layout, err))
	}
	return nil
}

// fitting opens the pins and compares them with what this binary would make. It writes nothing.
func (p *Plane) fitting(names []string, opts Options) (spec *ebpf.CollectionSpec, have maps, err error) {
	if err := p.readMeta(names, opts); err != nil {
		return nil, nil, err
	}
	if spec, err = load(opts, p.meta); err != nil {
		return nil, nil, err
	}
	have = maps{}
	for _, name := range slices.Sorted(stdmaps.Keys(spec.Maps)) {
		if strings.HasPrefix(name, ".") {
			continue
		}
		m, err := ebpf.LoadPinnedMap(filepath.Join(p.dir, name), nil)
		if err != nil {
			return nil, have, damaged(fmt.Errorf("map %s: %w", name, err))
		}
		have[name] = m
		if err := spec.Maps[name].Compatible(m); err != nil {
			return nil, have, damaged(fmt.Errorf("map %s: %w", name, err))
		}
	}
	return spec, have, nil
}

// Adoptable tells whether Open with these options would take over what is pinned in opts.PinDir, and if not why (ErrLayout).
// Nothing is touched, and another process may have it open. With nothing pinned there it is nil.
func Adoptable(opts Options) error {
	names := pinned(opts.PinDir)
	if len(names) == 0 {
		return nil
	}
	p := &Plane{dir: opts.PinDir}
	_, have, err := p.fitting(names, opts)
	have.close()
	if err != nil {
		var from *source
		if from, err = movable(opts.PinDir, err); err == nil {
			from.close()
		}
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", opts.PinDir, err)
	}
	return nil
}

func damaged(err error) error {
	return fmt.Errorf("%w: %w", ErrLayout, err)
}

// standing says what is where pins are left as they are.
func standing(dir string) string {
	var names []string
	for _, pin := range pinned(dir) {
		number, ok := strings.CutPrefix(pin, linkPrefix)
		if !ok {
			continue
		}
		name := "interface " + number
		if index, err := strconv.Atoi(number); err == nil {
			if ifi, err := net.InterfaceByIndex(index); err == nil {
				name = ifi.Name
			}
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return "nothing was touched; it is on no interface"
	}
	return "nothing was touched; it goes on forwarding on " + strings.Join(names, ", ") + ", by the services that it has"
}

func (p *Plane) readMeta(names []string, opts Options) error {
	if !slices.Contains(names, metaMap) {
		return damaged(errors.New("there is no meta"))
	}
	m, err := ebpf.LoadPinnedMap(filepath.Join(p.dir, metaMap), &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return damaged(err)
	}
	defer m.Close()
	value, err := m.LookupBytes(uint32(0))
	if err == nil {
		own := make([]byte, binary.Size(meta{})) // what an older one does not have is 0, and what a newer one has more is not read
		copy(own, value)
		err = decode(own, &p.meta)
	}
	if err != nil {
		return damaged(fmt.Errorf("read meta: %w", err))
	}
	hz, err := kernelHZ()
	if err != nil {
		return err
	}
	switch have := p.meta; {
	case have.Hz != hz || have.TickShift != tickShift(hz):
		return damaged(fmt.Errorf("it counts time in 2^%d of 1/%d s, this kernel has 1/%d s", have.TickShift, have.Hz, hz))
	case have.Regions == 0 || have.Regions&(have.Regions-1) != 0:
		return damaged(fmt.Errorf("it says %d regions", have.Regions))
	case have.Layout != layout:
		return damaged(foreignLayout{have})
	case opts.TableSize != 0 && regionsFor(opts.TableSize) != have.Regions:
		return damaged(fmt.Errorf("its connection table has %d lines, %d are wanted", have.Regions*regionLines, regionsFor(opts.TableSize)*regionLines))
	}
	p.clock = clock{p.meta.Hz, p.meta.TickShift}
	return nil
}
