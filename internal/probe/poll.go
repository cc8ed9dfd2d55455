package probe

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poll is an epoll(7) of many sockets. The runtime waits for it as for one.
type poll struct {
	fd     int
	file   *os.File
	raw    syscall.RawConn
	events [128]unix.EpollEvent
	n      int                // of events
	ready  func(uintptr) bool // look
	at     time.Time          // when wait returns without an event. Zero: never.
	looked time.Time          // when the last look at what is late began
}

func newPoll() (*poll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // which only os.NewFile looks at
		unix.Close(fd)
		return nil, fmt.Errorf("fcntl: %w", err)
	}
	p := &poll{fd: fd, file: os.NewFile(uintptr(fd), "epoll")}
	p.ready = p.look
	if p.raw, err = p.file.SyscallConn(); err == nil {
		err = p.file.SetReadDeadline(time.Time{}) // it fails where the runtime does not wait for it
	}
	if err != nil {
		p.file.Close()
		return nil, err
	}
	return p, nil
}

// add has a socket watched until it is closed; events tell of it by its descriptor and turn. The caller sees to it that the
// poll is not closed meanwhile.
func (p *poll) add(fd int, turn int32) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(fd), Pad: turn}))
}

// wake sets when wait returns without an event; zero: never. The caller sees to it that no two do so at a time.
func (p *poll) wake(at time.Time) {
	if !at.Equal(p.at) {
		p.at = at
		_ = p.file.SetReadDeadline(at)
	}
}

// wait waits for events, which hold until it is called again, or until it is late. ok is false when the poll was closed.
func (p *poll) wait() (events []unix.EpollEvent, late, ok bool) {
	err := p.raw.Read(p.ready)
	if late = errors.Is(err, os.ErrDeadlineExceeded); late {
		p.looked = time.Now()
		err = p.raw.Control(func(epoll uintptr) { p.look(epoll) })
	}
	return p.events[:p.n], late, err == nil
}

func (p *poll) look(epoll uintptr) bool {
	n, err := unix.EpollWait(int(epoll), p.events[:], 0)
	for err == unix.EINTR {
		n, err = unix.EpollWait(int(epoll), p.events[:], 0)
	}
	p.n = max(n, 0)
	return p.n > 0
}

func (p *poll) close() { p.file.Close() }
