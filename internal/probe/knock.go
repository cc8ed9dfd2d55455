package probe

import (
	"context"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/health"
)

// knocker makes the TCP_CHECKs that are no more than a connection which is made and closed. Of ten thousand a second a
// goroutine, a deadline and a dialer each are what costs most, so it has none of them: the sockets stand in one epoll(7), of
// which the runtime is told when one of them is ready.
//
// What is to be opened is opened by a goroutine that ends when there is nothing more, what is ready is looked at by one that
// lives from the first check to close.
type knocker struct {
	ctx   context.Context
	limit int
	group *sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	poll    *poll // nil: before the first check
	queue   []job
	first   int            // of queue, that waits
	opening bool           // a goroutine does
	pending map[int]*knock // by descriptor
	waits   waits
	free    *knock // a list of those that have ended
	turn    int32  // of the last knock
}

// knock is a connection that is being made.
type knock struct {
	job
	fd         int
	turn       int32 // tells an event of this descriptor from one of an earlier with the same number
	to         unix.Sockaddr
	began, end time.Time
	prev, next *knock // of the same timeout
}

// plain tells of a check that a knocker can make.
func plain(c health.Checker) bool {
	return c.Kind == health.TCPCheck && c.Way == nil && c.Bind.Port() == 0 && c.Target.Addr().Zone() == "" && c.Bind.Addr().Zone() == ""
}

func newKnocker(ctx context.Context, limit int, group *sync.WaitGroup) *knocker {
	return &knocker{ctx: ctx, limit: limit, group: group, pending: map[int]*knock{}, waits: waits{}}
}

// start has a check made. false: it cannot be made here.
func (k *knocker) start(j job) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return true
	}
	if k.poll == nil {
		p, err := newPoll()
		if err != nil {
			return false
		}
		k.poll = p
		k.group.Go(k.watch)
	}
	k.queue = append(k.queue, j)
	k.more()
	return true
}

// more has what waits opened, if there is room for it. The caller holds the lock, here and in take.
func (k *knocker) more() {
	if !k.opening && !k.closed && k.first < len(k.queue) && len(k.pending) < k.limit {
		k.opening = true
		k.group.Go(k.open)
	}
}

// open opens what waits.
func (k *knocker) open() {
	for n := k.take(); n != nil; n = k.take() {
		err, over := k.dial(n)
		if over {
			k.finish(n, err)
		}
	}
}

// take is the next one to open, nil if there is none or no room.
func (k *knocker) take() *knock {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.first == len(k.queue) || len(k.pending) >= k.limit {
		k.opening = false
		return nil
	}
	n := k.free
	if n == nil {
		n = &knock{}
	} else {
		k.free, n.next = n.next, nil
	}
	k.turn++
	n.job, n.turn, n.fd = k.queue[k.first], k.turn, -1
	k.queue[k.first] = job{}
	if k.first++; k.first == len(k.queue) {
		k.queue, k.first = k.queue[:0], 0
	}
	return n
}

// dial begins a connection. If that is over at once, it is not watched; errors are those of net.Dialer.
func (k *knocker) dial(n *knock) (err error, over bool) {
	c := n.checker
	n.began = time.Now()
	n.end = n.began.Add(patienceOf(c))
	fd, err := unix.Socket(familyOf(c.Target.Addr()), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return os.NewSyscallError("socket", err), true
	}
	n.fd, n.to = fd, sockaddr(c.Target)
	if err := prepare(k.ctx, fd, c); err != nil {
		return err, true
	}
	if over, err := connected(fd, n.to); over {
		return err, true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		unix.Close(fd)
		return nil, false
	}
	if err := k.poll.add(fd, n.turn); err != nil {
		return err, true
	}
	k.pending[fd] = n
	k.waits.put(n)
	if at := k.poll.at; at.IsZero() || n.end.Before(at) {
		k.poll.wake(n.end) // else it wakes before, and then looks who is the first
	}
	return nil, false
}

// watch looks at what is ready and at what has taken too long, until close.
func (k *knocker) watch() {
	for {
		events, late, ok := k.poll.wait()
		if !ok {
			k.drop()
			return
		}
		for _, e := range events {
			if n := k.ready(e); n != nil {
				k.finish(n, endOf(n, e.Events))
			}
		}
		// What had come by then is known before anything is taken for too late: a look that found less than it had room for saw all.
		now := k.poll.looked
		if !late || len(events) == len(k.poll.events) {
			continue
		}
		for n := k.expired(now); n != nil; n = k.expired(now) {
			k.finish(n, os.ErrDeadlineExceeded)
		}
	}
}

// ready is whom an event is about; it is not pending any more. nil: nobody.
//
// A child that has not come to its execve(2) has the descriptors of this process, and while it has one that is closed here,
// epoll goes on to tell of it by a number that may be another's by now.
func (k *knocker) ready(e unix.EpollEvent) *knock {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.pending[int(e.Fd)]
	if n == nil || n.turn != e.Pad {
		return nil
	}
	k.forget(n)
	return n
}

// expired is one whose time has come, if there is one. Without one the poll wakes at the next end.
func (k *knocker) expired(now time.Time) *knock {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.waits.first()
	switch {
	case n == nil:
		k.poll.wake(time.Time{})
		return nil
	case n.end.After(now):
		k.poll.wake(n.end)
		return nil
	}
	k.forget(n)
	return n
}

func (k *knocker) forget(n *knock) {
	delete(k.pending, n.fd)
	k.waits.drop(n)
	k.more()
}

// endOf is how connecting ended. An error is asked for where the kernel says that there is one.
func endOf(n *knock, events uint32) error {
	if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		if over, err := connected(n.fd, n.to); over && err != nil {
			return err
		}
	}
	if isOwn(n.fd, n.checker.Target) {
		return os.NewSyscallError("connect", unix.ECONNREFUSED)
	}
	return nil
}

// finish closes a connection, with FIN if it was made, and tells its result.
func (k *knocker) finish(n *knock, err error) {
	if n.fd >= 0 {
		unix.Close(n.fd)
	}
	res := health.Result{OK: true}
	if err != nil {
		res = failure(k.ctx, n.checker, err, patienceOf(n.checker))
	}
	res.Took = time.Since(n.began)
	done := n.done
	k.mu.Lock()
	*n = knock{next: k.free}
	k.free = n
	closed := k.closed
	k.mu.Unlock()
	if !closed {
		done(res)
	}
}

// close ends everything. Nothing is told any more.
func (k *knocker) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed, k.queue, k.first = true, nil, 0
	if k.poll != nil {
		k.poll.close()
	}
}

// drop closes what is under way.
func (k *knocker) drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for fd := range k.pending {
		unix.Close(fd)
	}
	clear(k.pending)
}

// prepare is what must stand before connect(2).
func prepare(ctx context.Context, fd int, c health.Checker) error {
	if err := options(ctx, fd, c); err != nil {
		return err
	}
	if !c.Bind.Addr().IsValid() {
		return nil
	}
	return os.NewSyscallError("bind", unix.Bind(fd, sockaddr(c.Bind)))
}

// connected tells whether connecting is over, and how it went. It may be asked again and again.
func connected(fd int, to unix.Sockaddr) (over bool, err error) {
	for {
		switch err := unix.Connect(fd, to); err {
		case nil, unix.EISCONN:
			return true, nil
		case unix.EINPROGRESS, unix.EALREADY:
			return false, nil
		case unix.EINTR:
		default:
			return true, os.NewSyscallError("connect", err)
		}
	}
}

// isOwn tells of a socket that met itself: on this host, where nobody listens, the port that the kernel chose for this end
// may be the very one that is checked (RFC 9293 3.5, a simultaneous open).
func isOwn(fd int, target netip.AddrPort) bool {
	if target.Port() < 1024 {
		return false
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return target == netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return target == netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return false
}

func familyOf(a netip.Addr) int {
	if a.Unmap().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if ip := a.Addr().Unmap(); ip.Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
