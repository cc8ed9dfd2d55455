package look

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/doctor"
)

// wire is a packet socket on all interfaces. What comes in is kept for those who ask.
type wire struct {
	file *os.File
	raw  int

	mu     sync.Mutex
	seen   []arrival
	gone   int           // that were before seen
	told   []arrival     // those that say who has an address, each once
	known  map[tell]bool // of told
	wake   chan struct{} // closed and replaced at each arrival
	closed bool
	done   chan struct{}
}

// arrival is one frame, without its Ethernet header if it is IP's.
type arrival struct {
	ifindex int
	src     [6]byte
	typ     uint16
	body    []byte
	ip      *heard // nil if it is not IP
}

// tell is what an arrival says of an address, and where.
type tell struct {
	ifindex int
	addr    netip.Addr
	mac     [6]byte
	unasked bool
}

const (
	mostArrivals = 20000 // that are kept; a busy director sees more, and old ones go
	mostTold     = 4096
)

func htons(v uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)) }

func openWire() (*wire, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(htons(unix.ETH_P_ALL)))
	if err != nil {
		return nil, fmt.Errorf("open a packet socket: %w", err)
	}
	w := &wire{file: os.NewFile(uintptr(fd), "packet socket"), raw: fd, known: map[tell]bool{}, wake: make(chan struct{}), done: make(chan struct{})}
	go w.read()
	return w, nil
}

func (w *wire) close() {
	w.file.Close()
	<-w.done
}

func (w *wire) read() {
	defer close(w.done)
	conn, err := w.file.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 64<<10)
	for {
		var n int
		var from unix.Sockaddr
		var rerr error
		if err := conn.Read(func(fd uintptr) bool {
			n, from, rerr = unix.Recvfrom(int(fd), buf, 0)
			return !errors.Is(rerr, unix.EAGAIN)
		}); err != nil {
			return
		}
		if rerr == nil {
			w.take(buf[:n], from)
		}
	}
}

func (w *wire) keep(ifindex int, b []byte) {
	a := arrival{ifindex: ifindex, src: [6]byte(b[6:12]), typ: binary.BigEndian.Uint16(b[12:])}
	if a.typ == etherIPv4 || a.typ == etherIPv6 {
		if a.ip = parse(b[14:], 0); a.ip == nil {
			return
		}
	}
	if a.typ == etherARP || a.ip != nil && a.ip.proto == protoICMP6 {
		a.body = append([]byte{}, b[14:]...)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if addr, mac, unasked, ok := a.claimed(); ok {
		if says := (tell{ifindex, addr, mac, unasked}); !w.known[says] && len(w.told) < mostTold {
			w.known[says], w.told = true, append(w.told, a)
		}
	}
	if len(w.seen) >= mostArrivals {
		w.seen = append([]arrival(nil), w.seen[mostArrivals/2:]...) // who looks at the old ones goes on to do so
		w.gone += mostArrivals / 2
	}
	w.seen = append(w.seen, a)
	close(w.wake)
	w.wake = make(chan struct{})
}

// send puts a frame on an interface.
func (w *wire) send(ifindex int, frame []byte) error {
	at := &unix.SockaddrLinklayer{Ifindex: ifindex, Halen: 6}
	copy(at.Addr[:], frame[:6])
	return unix.Sendto(w.raw, frame, 0, at)
}

// await looks at arrivals, those that were there and those that come, until one is what match wants or the time is over.
func (w *wire) await(limit time.Duration, match func(*arrival) (doctor.Answer, bool)) doctor.Answer {
	end := time.NewTimer(limit)
	defer end.Stop()
	for next, over := 0, false; ; {
		w.mu.Lock()
		fresh, wake := w.seen[max(next-w.gone, 0):], w.wake
		next = w.gone + len(w.seen)
		w.mu.Unlock()
		for i := range fresh {
			if a, ok := match(&fresh[i]); ok {
				return a
			}
		}
		if over {
			return doctor.Answer{Verdict: doctor.Silent}
		}
		select {
		case <-wake:
		case <-end.C:
			over = true
			w.drain() // what is there already counts, though nobody was scheduled to read it
		}
	}
}

// drain reads all that has arrived.
func (w *wire) drain() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := unix.Recvfrom(w.raw, buf, unix.MSG_DONTWAIT)
		if err != nil {
			return
		}
		w.take(buf[:n], from)
	}
}

// take keeps a frame that came from outside.
func (w *wire) take(b []byte, from unix.Sockaddr) {
	if at, ok := from.(*unix.SockaddrLinklayer); ok && at.Pkttype != unix.PACKET_OUTGOING && len(b) >= 14 {
		w.keep(at.Ifindex, b)
	}
}

// claims are the arrivals until now that say who has an address.
func (w *wire) claims() []arrival {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]arrival{}, w.told...)
}

// question is a packet and what its answer looks like.
type question struct {
	ifindex  int
	frame    []byte
	from, to netip.AddrPort // of the packet that asks; of an echo the port of from is its identifier
	proto    uint8
	mine     [6]byte
	reset    func(*heard) []byte // ends what a SYN-ACK has begun; nil: the kernel does
}

// ask sends a question, again at half of the time, and says what became of it.
func (w *wire) ask(q question, limit time.Duration) doctor.Answer {
	for range 2 {
		if err := w.send(q.ifindex, q.frame); err != nil {
			note := "it cannot be sent: " + err.Error()
			return doctor.Answer{Verdict: doctor.Refused, Note: note}
		}
		if a := w.await(limit/2, q.match(w)); a.Verdict != doctor.Silent {
			return a
		}
	}
	return doctor.Answer{Verdict: doctor.Silent}
}

func (q *question) match(w *wire) func(*arrival) (doctor.Answer, bool) {
	return func(a *arrival) (doctor.Answer, bool) {
		h := a.ip
		switch {
		case h == nil:
			return doctor.Answer{}, false
		case q.same(h) || q.same(h.inside):
			return doctor.Answer{Verdict: doctor.Bounced}, a.src != q.mine
		case h.about != nil && h.isError() && (q.same(h.about) || q.same(h.about.inside)):
			answer := h.answer()
			if q.same(h.about) {
				if answer.NoProtocol && q.proto == protoUDP {
					answer.Verdict = doctor.Closed
				}
				answer.NoProtocol = false // it is about the packet itself, which was unpacked, or in no tunnel
			}
			return answer, true
		case h.proto != q.proto || h.src != q.to.Addr() || h.dst != q.from.Addr():
			return doctor.Answer{}, false
		case q.proto == protoTCP || q.proto == protoUDP:
			return q.replied(w, h)
		}
		return doctor.Answer{Verdict: doctor.Open}, (h.icmp == 0 && h.proto == protoICMP || h.icmp == 129) && h.id == q.from.Port()
	}
}

func (q *question) replied(w *wire, h *heard) (doctor.Answer, bool) {
	switch {
	case h.sport != q.to.Port() || h.dport != q.from.Port():
		return doctor.Answer{}, false
	case h.proto == protoUDP:
		return doctor.Answer{Verdict: doctor.Open}, true
	case h.flags&flagRST != 0:
		return doctor.Answer{Verdict: doctor.Closed}, true
	case h.flags&(flagSYN|flagACK) != flagSYN|flagACK:
		return doctor.Answer{}, false
	}
	if q.reset != nil {
		_ = w.send(q.ifindex, q.reset(h)) // if it is lost, the other side gives up by itself
	}
	return doctor.Answer{Verdict: doctor.Open, MSS: h.mss}, true
}

// same tells that h is the packet that asked.
func (q *question) same(h *heard) bool {
	if h == nil || h.proto != q.proto || h.src != q.from.Addr() || h.dst != q.to.Addr() {
		return false
	}
	if q.proto == protoTCP || q.proto == protoUDP {
		return h.sport == q.from.Port() && h.dport == q.to.Port()
	}
	return h.id == q.from.Port()
}
