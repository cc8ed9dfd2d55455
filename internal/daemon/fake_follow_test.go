package daemon

import (
	"bytes"
	"context"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"vipd/internal/host"
)

// fakeFollowed is a machine whose scripts, files, processes and links are as a test wants them.
type fakeFollowed struct {
	links map[string]bool // beside eth0

	fmu     sync.Mutex
	exits   map[string]host.Exit     // of scripts, by the file's name
	takes   map[string]time.Duration // how long they run
	running map[string]int
	ran     map[string]int
	files   map[string]string
	counts  map[string]int
	changed chan string // paths
	counted chan struct{}
	bfdIn   chan fakeBFDPacket // what arrives
	bfdOut  chan []byte        // what is sent
}

type fakeBFDPacket struct {
	host.BFDPacket
	data []byte
}

// fakeBFD is both ends of a cable.
type fakeBFD struct {
	h      *fakeFollowed
	closed chan struct{}
	once   sync.Once
}

func (h *fakeFollowed) ListenBFD(uint16) (BFDListener, error) {
	return &fakeBFD{h: h, closed: make(chan struct{})}, nil
}

func (h *fakeFollowed) DialBFD(netip.Addr, netip.AddrPort, uint8) (BFDSender, error) {
	return &fakeBFD{h: h, closed: make(chan struct{})}, nil
}

func (f *fakeBFD) Recv(buf []byte) (host.BFDPacket, error) {
	select {
	case p := <-f.h.bfdIn:
		p.Len = copy(buf, p.data)
		return p.BFDPacket, nil
	case <-f.closed:
		return host.BFDPacket{}, net.ErrClosed
	}
}

func (f *fakeBFD) Send(p []byte) error {
	select {
	case f.h.bfdOut <- bytes.Clone(p):
	default: // nobody looks
	}
	return nil
}

func (f *fakeBFD) Close() error {
	f.once.Do(func() { close(f.closed) })
	return nil
}

func (h *fakeFollowed) RunCommand(ctx context.Context, c host.Command) host.Exit {
	name := filepath.Base(c.Args[0])
	h.fmu.Lock()
	exit, takes := h.exits[name], h.takes[name]
	if h.running == nil {
		h.running, h.ran = map[string]int{}, map[string]int{}
	}
	h.running[name]++
	h.ran[name]++
	h.fmu.Unlock()
	defer func() {
		h.fmu.Lock()
		h.running[name]--
		h.fmu.Unlock()
	}()
	if takes == 0 {
		return exit
	}
	end, timeout := time.NewTimer(takes), time.NewTimer(c.Timeout)
	defer end.Stop()
	defer timeout.Stop()
	select {
	case <-end.C:
		return exit
	case <-timeout.C:
		return host.Exit{Code: -1, Signal: 15, TimedOut: true}
	case <-ctx.Done():
		return host.Exit{Code: -1, Signal: 15, Stopped: true}
	}
}

func (h *fakeFollowed) set(do func()) {
	h.fmu.Lock()
	defer h.fmu.Unlock()
	do()
}

func (h *fakeFollowed) ReadHead(path string, _ int) ([]byte, error) {
	h.fmu.Lock()
	defer h.fmu.Unlock()
	text, ok := h.files[filepath.Base(path)]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(text), nil
}

func (h *fakeFollowed) WatchFiles(ctx context.Context, _ []string, begun func(), changed func(string)) error {
	begun()
	for {
		select {
		case path := <-h.changed:
			changed(path)
		case <-ctx.Done():
			return nil
		}
	}
}

func (h *fakeFollowed) CountProcesses(map[string]host.ProcessMatch) (map[string]int, error) {
	h.fmu.Lock()
	defer h.fmu.Unlock()
	return maps.Clone(h.counts), nil
}

func (h *fakeFollowed) WatchProcesses(ctx context.Context, m map[string]host.ProcessMatch, counted func(map[string]int), _ func(error)) error {
	for {
		counts, _ := h.CountProcesses(m)
		counted(counts)
		select {
		case <-h.counted:
		case <-ctx.Done():
			return nil
		}
	}
}

// scriptFile makes a file that FindScript accepts; the fake runs it by its name.
func scriptFile(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
