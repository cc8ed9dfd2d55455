package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ProcessMatch says which processes are meant.
type ProcessMatch struct {
	Name        string   // of the program as the kernel keeps it (comm), or with FullCommand the first word of the command line
	FullCommand bool     // compare the command line
	Params      []string // what follows the first word …
	Match       string   // … "": anything; exact; partial (these and more); initial (partial, and the last may be longer)
}

// commLen is TASK_COMM_LEN without the terminator: a longer name is cut by the kernel.
const commLen = 15

// Matches tells whether a process is meant; cmdline is its words, each with a terminating zero byte.
//
// keepalived: compares a name of more than 15 bytes whole, so that it never meets one.
func (m ProcessMatch) Matches(comm string, cmdline []byte) bool {
	if !m.FullCommand {
		return comm == m.Name[:min(len(m.Name), commLen)]
	}
	first, rest, _ := bytes.Cut(cmdline, []byte{0})
	if len(cmdline) == 0 || string(first) != m.Name {
		return false
	}
	var want []byte
	for _, p := range m.Params {
		want = append(append(want, p...), 0)
	}
	switch m.Match {
	case "exact":
		return bytes.Equal(rest, want)
	case "partial":
		return bytes.HasPrefix(rest, want)
	case "initial":
		return bytes.HasPrefix(rest, bytes.TrimSuffix(want, []byte{0}))
	}
	return true
}

// ProcessWatch counts the processes of this machine that match. The kernel's proc connector tells of every new name at
// once; where it is not to be had (outside the first network namespace, or without CAP_NET_ADMIN) /proc is read every
// ScanInterval.
type ProcessWatch struct {
	matches map[string]ProcessMatch
	found   map[int][]string // by process: the names of the matches that it meets
	file    *os.File         // of the connector; nil: none
	Polls   error            // why there is no connector. nil: there is one.
}

// ScanInterval is how often /proc is read where nobody tells of changes.
const ScanInterval = time.Second

// Of linux/connector.h and linux/cn_proc.h.
const (
	cnIdxProc        = 1
	cnValProc        = 1
	procCnMcast      = 1
	procEventFork    = 0x1
	procEventExec    = 0x2
	procEventComm    = 0x200
	procEventExit    = 0x80000000
	cnMsgLen         = 20
	procEventHead    = 16
	netlinkConnector = 11
)

// WatchProcesses begins to watch and counts once; Counts tells the result.
func WatchProcesses(matches map[string]ProcessMatch) (*ProcessWatch, error) {
	w := &ProcessWatch{matches: matches}
	w.file, w.Polls = openConnector()
	if err := w.scan(); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// CountProcesses tells how many processes meet each match now.
func CountProcesses(matches map[string]ProcessMatch) (map[string]int, error) {
	w := &ProcessWatch{matches: matches}
	if err := w.scan(); err != nil {
		return nil, err
	}
	return w.Counts(), nil
}

// Close ends a watch that is not run. After Run it does nothing.
func (w *ProcessWatch) Close() {
	if w.file != nil {
		_ = w.file.Close()
	}
}

func openConnector() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, netlinkConnector)
	if err != nil {
		return nil, fmt.Errorf("watch processes: open the proc connector: %w", err)
	}
	setBuffer(fd, watchBuffer)
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: cnIdxProc})
	if err == nil {
		err = unix.Sendto(fd, listenMessage(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("watch processes: listen on the proc connector: %w", err)
	}
	return os.NewFile(uintptr(fd), "proc connector"), nil
}

// listenMessage is PROC_CN_MCAST_LISTEN.
func listenMessage() []byte {
	b := make([]byte, nlmsghdrLen+cnMsgLen+4)
	native.PutUint32(b, uint32(len(b)))
	native.PutUint16(b[4:], unix.NLMSG_DONE)
	native.PutUint32(b[12:], uint32(os.Getpid()))
	cn := b[nlmsghdrLen:]
	native.PutUint32(cn, cnIdxProc)
	native.PutUint32(cn[4:], cnValProc)
	native.PutUint16(cn[16:], 4)
	native.PutUint32(cn[cnMsgLen:], procCnMcast)
	return b
}

// Counts are how many processes meet each match.
func (w *ProcessWatch) Counts() map[string]int {
	counts := map[string]int{}
	for name := range w.matches {
		counts[name] = 0
	}
	for _, names := range w.found {
		for _, n := range names {
			counts[n]++
		}
	}
	return counts
}

// Run calls fn with the counts whenever they may have changed, from the calling goroutine, until ctx ends.
func (w *ProcessWatch) Run(ctx context.Context, fn func(map[string]int)) error {
	if w.file == nil {
		return w.poll(ctx, fn)
	}
	defer w.file.Close()
	stop := context.AfterFunc(ctx, func() { w.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 8<<10)
	for ctx.Err() == nil {
		n := 0
		err := pollFile(w.file, syscall.RawConn.Read, func(fd int) (err error) {
			n, err = fromKernel(fd, buf)
			return err
		})
		changed := false
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case errors.Is(err, unix.ENOBUFS): // some events are lost
			if err := w.scan(); err != nil {
				return err
			}
			changed = true
		case err != nil:
			return fmt.Errorf("watch processes: %w", err)
		default:
			eachMessage(buf[:min(n, len(buf))], func(m message) { changed = w.event(m.Body) || changed })
		}
		if changed {
			fn(w.Counts())
		}
	}
	return nil
}

func (w *ProcessWatch) poll(ctx context.Context, fn func(map[string]int)) error {
	tick := time.NewTicker(ScanInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := w.scan(); err != nil {
			return err
		}
		fn(w.Counts())
	}
}

// event takes one message of the connector and reports whether it changed anything.
func (w *ProcessWatch) event(b []byte) bool {
	if len(b) < cnMsgLen+procEventHead+8 || native.Uint32(b) != cnIdxProc || native.Uint32(b[4:]) != cnValProc {
		return false
	}
	b = b[cnMsgLen:]
	what, data := native.Uint32(b), b[procEventHead:]
	pid, tgid := int(native.Uint32(data)), int(native.Uint32(data[4:]))
	switch what {
	case procEventFork: // a new process is what its parent was; a thread is none
		if len(data) < 16 {
			return false
		}
		child, childTgid := int(native.Uint32(data[8:])), int(native.Uint32(data[12:]))
		if names := w.found[tgid]; child == childTgid && len(names) > 0 {
			w.found[childTgid] = names
			return true
		}
	case procEventExec:
		return w.look(tgid)
	case procEventComm:
		return pid == tgid && w.look(tgid)
	case procEventExit:
		if _, ours := w.found[tgid]; ours && pid == tgid {
			delete(w.found, tgid)
			return true
		}
	}
	return false
}

// look reads what a process is now.
func (w *ProcessWatch) look(pid int) bool {
	was, now := w.found[pid], w.names(pid)
	if len(now) == 0 {
		delete(w.found, pid)
	} else {
		w.found[pid] = now
	}
	return !slices.Equal(was, now)
}

// names are the matches that a process meets. One that is gone, or a zombie, meets none.
func (w *ProcessWatch) names(pid int) (names []string) {
	dir := "/proc/" + strconv.Itoa(pid)
	comm, alive := readStat(dir)
	if !alive {
		return nil
	}
	var cmdline []byte
	for name, m := range w.matches {
		if m.FullCommand && cmdline == nil {
			// keepalived: read only if asked for, because it may have to be swapped in
			if cmdline, _ = os.ReadFile(dir + "/cmdline"); cmdline == nil {
				cmdline = []byte{}
			}
		}
		if m.Matches(comm, cmdline) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// readStat reads a process's name and whether it is alive.
func readStat(dir string) (comm string, alive bool) {
	b, err := os.ReadFile(dir + "/stat")
	from, to := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if err != nil || from < 0 || to < from || len(b) < to+3 {
		return "", false
	}
	return string(b[from+1 : to]), b[to+2] != 'Z' && b[to+2] != 'X'
}

func (w *ProcessWatch) scan() error {
	dir, err := os.Open("/proc")
	if err != nil {
		return fmt.Errorf("watch processes: %w", err)
	}
	defer dir.Close()
	entries, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("watch processes: %w", err)
	}
	w.found = map[int][]string{}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e); err == nil {
			w.look(pid)
		}
	}
	return nil
}
