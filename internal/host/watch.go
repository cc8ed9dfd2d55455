package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Event is something that changed on the host: a LinkEvent, AddressEvent, RouteEvent, RuleEvent, NeighbourEvent or Resync.
type Event interface{ event() }

// LinkEvent tells that a link is new, changed or gone.
type LinkEvent struct {
	Link
	Gone bool
}

// AddressEvent tells that an address is new, changed or gone.
type AddressEvent struct {
	Assigned
	Gone bool
	By   Port
}

// RouteEvent tells that an entry of a routing table is new, changed or gone.
type RouteEvent struct {
	Route
	Gone bool
}

// RuleEvent tells that a rule of routing is new or gone. Which one is not looked at.
type RuleEvent struct{ Gone bool }

// NeighbourEvent tells that an ARP or ND entry is new, changed or gone.
type NeighbourEvent struct {
	Neighbour
	Gone bool
}

// Resync carries everything there is. It is the first event, and it comes again whenever changes have been lost: what
// was known before is to be replaced by it. Routes are not in it, as there may be a million of them; whoever needs one
// looks it up again.
type Resync struct {
	Links      []Link
	Addresses  []Assigned
	Neighbours []Neighbour
}

func (LinkEvent) event()      {}
func (AddressEvent) event()   {}
func (RouteEvent) event()     {}
func (RuleEvent) event()      {}
func (NeighbourEvent) event() {}
func (Resync) event()         {}

// watchBuffer is the receive buffer asked for: some ten thousand changes.
const watchBuffer = 4 << 20

var watchGroups = []int{unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
	unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE}

// Watcher is a subscription to the changes of this host. Make it with OpenWatch, then Run it.
type Watcher struct {
	file *os.File
	buf  []byte
}

// OpenWatch subscribes. Changes from now on are kept until Run reads them.
func OpenWatch() (*Watcher, error) { return openWatch(watchBuffer) }

func openWatch(buffer int) (*Watcher, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("watch the host: open netlink socket: %w", err)
	}
	if err := subscribe(fd, buffer); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("watch the host: %w", err)
	}
	return &Watcher{file: os.NewFile(uintptr(fd), "rtnetlink"), buf: make([]byte, 1<<16)}, nil
}

func subscribe(fd, buffer int) error {
	setBuffer(fd, buffer)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("bind netlink socket: %w", err)
	}
	for _, g := range watchGroups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g); err != nil {
			return fmt.Errorf("join netlink group %d: %w", g, err)
		}
	}
	return nil
}

// setBuffer asks for a receive buffer, beyond net.core.rmem_max where the privileges allow. A smaller one only makes
// losses likelier, and those are handled, so it is no error.
func setBuffer(fd, size int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size)
	}
}

// Watch subscribes and hands every change to fn until ctx ends. See Watcher.Run.
func Watch(ctx context.Context, fn func(Event)) error {
	w, err := OpenWatch()
	if err != nil {
		return err
	}
	return w.Run(ctx, fn)
}

// Run hands a Resync and then every change to fn, one at a time from the calling goroutine, until ctx ends; then the
// subscription is closed and Run returns nil. If fn is slower than the changes, some get lost and a Resync follows.
func (w *Watcher) Run(ctx context.Context, fn func(Event)) error {
	defer w.file.Close()
	stop := context.AfterFunc(ctx, func() { w.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	lost := true
	for ctx.Err() == nil {
		if lost {
			all, err := readAll()
			if err != nil {
				return fmt.Errorf("watch the host: %w", err)
			}
			fn(all)
		}
		n, err := w.receive()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case errors.Is(err, unix.ENOBUFS):
			lost = true
		case err != nil:
			return fmt.Errorf("watch the host: %w", err)
		case n > len(w.buf):
			lost = true
		default:
			lost = !eachMessage(w.buf[:n], func(m message) { tell(m, fn) })
		}
	}
	return nil
}

// Close ends a subscription that is not run. After Run it does nothing.
func (w *Watcher) Close() { w.file.Close() }

// receive waits for one datagram. A length above that of the buffer means that its end is lost.
func (w *Watcher) receive() (n int, err error) {
	err = pollFile(w.file, syscall.RawConn.Read, func(fd int) (err error) {
		n, err = fromKernel(fd, w.buf)
		return err
	})
	return n, err
}

// fromKernel reads one datagram without waiting. Another process may write to this socket: only the kernel is believed.
func fromKernel(fd int, buf []byte) (int, error) {
	for {
		n, from, err := unix.Recvfrom(fd, buf, unix.MSG_TRUNC)
		sa, ok := from.(*unix.SockaddrNetlink)
		if err != nil || ok && sa.Pid == 0 {
			return n, err
		}
	}
}

// readAll reads the tables for a Resync.
func readAll() (all Resync, err error) {
	if all.Links, err = Links(); err != nil {
		return all, err
	}
	if all.Addresses, err = AllAddresses(); err != nil {
		return all, err
	}
	all.Neighbours, err = Neighbours()
	return all, err
}

// tell hands the event of one message to fn, if it is one.
func tell(m message, fn func(Event)) {
	switch m.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if l, ok := parseLink(m.Body); ok {
			fn(LinkEvent{l, m.Type == unix.RTM_DELLINK})
		}
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if a, ok := parseAddress(m.Body); ok {
			fn(AddressEvent{a, m.Type == unix.RTM_DELADDR, m.Port})
		}
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		if r, ok := parseRoute(m.Body); ok {
			fn(RouteEvent{r, m.Type == unix.RTM_DELROUTE})
		}
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		fn(RuleEvent{m.Type == unix.RTM_DELRULE})
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		if n, ok := parseNeighbour(m.Body); ok {
			fn(NeighbourEvent{n, m.Type == unix.RTM_DELNEIGH})
		}
	}
}
