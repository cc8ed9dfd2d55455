package host

import (
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Datagrams in tens by one system call: at thousands a second the calls are most of what one costs.

const (
	batchMost = 64      // datagrams of one call
	batchRoom = 1 << 20 // bytes that are kept for what is received
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	n uint32 // bytes of it that came
}

// batch is the memory of such calls, made once. One direction of one socket has one.
type batch struct {
	msgs []mmsghdr
	iovs []unix.Iovec
	from []unix.RawSockaddrInet6 // room for either family
	room []byte
	size int // of one datagram's room
}

// receiver makes a batch for datagrams of so many bytes at most.
func receiver(size int) *batch {
	b := newBatch(max(min(batchMost, batchRoom/size), 1))
	b.room, b.size = make([]byte, len(b.msgs)*size), size
	b.from = make([]unix.RawSockaddrInet6, len(b.msgs))
	for i := range b.msgs {
		b.iovs[i].Base = &b.room[i*size]
		b.iovs[i].SetLen(size)
		b.msgs[i].Name = (*byte)(unsafe.Pointer(&b.from[i]))
	}
	return b
}

func newBatch(n int) *batch {
	b := &batch{msgs: make([]mmsghdr, n), iovs: make([]unix.Iovec, n)}
	for i := range b.msgs {
		b.msgs[i].Iov = &b.iovs[i]
		b.msgs[i].SetIovlen(1)
	}
	return b
}

// recv waits for a datagram and takes those that are there, as many as there is room for.
func (b *batch) recv(raw syscall.RawConn) (n int, err error) {
	for i := range b.msgs {
		b.msgs[i].Namelen = unix.SizeofSockaddrInet6
	}
	var got error
	err = raw.Read(func(fd uintptr) bool {
		n, got = b.call(unix.SYS_RECVMMSG, fd, len(b.msgs))
		return got != unix.EAGAIN
	})
	if err != nil {
		return 0, err
	}
	return n, got
}

// call is recvmmsg(2) or sendmmsg(2) with the first n, which never waits.
func (b *batch) call(number, fd uintptr, n int) (done int, err error) {
	for {
		r, _, e := unix.Syscall6(number, fd, uintptr(unsafe.Pointer(&b.msgs[0])), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
		switch e {
		case 0:
			return int(r), nil
		case unix.EINTR:
		default:
			return 0, e
		}
	}
}

// datagram is the i-th that was received. It is good until the next are.
func (b *batch) datagram(i int) []byte {
	at := i * b.size
	return b.room[at : at+min(int(b.msgs[i].n), b.size)]
}

// sender is where the i-th came from.
func (b *batch) sender(i int) netip.AddrPort {
	from := &b.from[i]
	p := (*[2]byte)(unsafe.Pointer(&from.Port)) // both families have it at one place
	port := uint16(p[0])<<8 | uint16(p[1])
	switch from.Family {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(from)).Addr), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(from.Addr), port)
	}
	return netip.AddrPort{}
}

// send sends datagrams in their order to an address, or where a connected socket sends if there is none, and returns how many went.
// It waits for room as long as raw's deadline says if wait is true, and else not at all (unix.EAGAIN).
func (b *batch) send(raw syscall.RawConn, datagrams [][]byte, to *unix.RawSockaddrInet6, length uint32, wait bool) (sent int, err error) {
	defer clear(b.iovs) // what was sent is not held on to
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		for failed = nil; sent < len(datagrams); {
			part := datagrams[sent:min(sent+len(b.msgs), len(datagrams))]
			for i, d := range part {
				b.iovs[i].Base = unsafe.SliceData(d)
				b.iovs[i].SetLen(len(d))
				b.msgs[i].Name, b.msgs[i].Namelen = (*byte)(unsafe.Pointer(to)), length
			}
			n, err := b.call(unix.SYS_SENDMMSG, fd, len(part))
			if sent += n; err != nil {
				failed = err
				return !wait || err != unix.EAGAIN
			}
		}
		return true
	})
	if err != nil {
		return sent, err
	}
	return sent, failed
}

// rawAddr is an address as the kernel has it, and its length.
func rawAddr(to netip.AddrPort) (a *unix.RawSockaddrInet6, length uint32) {
	a = &unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: to.Addr().As16()}
	*(*[2]byte)(unsafe.Pointer(&a.Port)) = [2]byte{byte(to.Port() >> 8), byte(to.Port())}
	if to.Addr().Is4() {
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(a))
		*four = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: a.Port, Addr: to.Addr().As4()}
		return a, unix.SizeofSockaddrInet4
	}
	return a, unix.SizeofSockaddrInet6
}
