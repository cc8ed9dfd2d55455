package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"time"

	"vipd/internal/health"
)

// exchange opens a connected datagram socket, sends, and hands each answer to look until it is content, or the
// connect_timeout is over.
func exchange(ctx context.Context, c health.Checker, network, address string, packet []byte, look func([]byte) (health.Result, bool)) health.Result {
	timeout := patienceOf(c)
	conn, res := connectDatagrams(ctx, c, network, address)
	if conn == nil {
		return res
	}
	defer conn.Close()
	if e := errandOf(ctx); e != nil {
		return e.run(ctx, c, conn.(syscall.Conn))
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(timeout))
	if _, err := conn.Write(packet); err != nil {
		return lost(ctx, err, timeout)
	}
	witnessOf(ctx).note(func(s *health.Seen) { s.Sent += len(packet) })
	buf := make([]byte, 64<<10)
	for {
		n, err := receive(conn, buf)
		if err != nil {
			return lost(ctx, err, timeout)
		}
		witnessOf(ctx).received(buf[:n])
		if res, done := look(buf[:n]); done {
			return res
		}
	}
}

// connectDatagrams opens the socket that exchange uses, or has it from the process that did. Without one the result tells why.
func connectDatagrams(ctx context.Context, c health.Checker, network, address string) (net.Conn, health.Result) {
	if h := handedOf(ctx); h != nil {
		return h.conn, health.Result{}
	}
	timeout := patienceOf(c)
	dialer := net.Dialer{Timeout: timeout, Control: control(ctx, c)}
	if c.Bind.IsValid() || c.Bind.Port() != 0 {
		dialer.LocalAddr = &net.UDPAddr{IP: c.Bind.Addr().AsSlice(), Port: int(c.Bind.Port()), Zone: c.Bind.Addr().Zone()}
		if !strings.HasPrefix(network, "udp") {
			dialer.LocalAddr = &net.IPAddr{IP: c.Bind.Addr().AsSlice(), Zone: c.Bind.Addr().Zone()}
		}
	}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, failure(ctx, c, err, timeout)
	}
	return conn, health.Result{}
}

// receive reads a datagram without its IP header, which Read of a raw socket would leave on.
func receive(conn net.Conn, buf []byte) (n int, err error) {
	if raw, ok := conn.(*net.IPConn); ok {
		n, _, err = raw.ReadFrom(buf)
		return n, err
	}
	return conn.Read(buf)
}

// lost is a failure of sending or receiving. An ICMP error that came for the socket is one: connection refused and the like.
func lost(ctx context.Context, err error, timeout time.Duration) health.Result {
	if ctx.Err() != nil {
		return health.Result{Inconclusive: true, Why: "cancelled"}
	}
	return unread(err, timeout)
}

// udp makes a UDP_CHECK: silence is good unless an answer is asked for, an ICMP error is not.
func udp(ctx context.Context, c health.Checker) health.Result {
	ask := health.UDP{}
	if c.UDP != nil {
		ask = *c.UDP
	}
	if len(ask.Payload) == 0 {
		ask.Payload = make([]byte, 32) // keepalived: some bytes of no meaning
		for i := range ask.Payload {
			ask.Payload[i] = byte(rand.Uint32())
		}
	}
	res := exchange(ctx, c, "udp", c.Target.String(), ask.Payload, func(b []byte) (health.Result, bool) {
		return answers(ask, b), true
	})
	if res.Timeout && !ask.NeedReply {
		return health.Result{OK: true}
	}
	return res
}

// answers compares an answer with the one that is asked for; only as much as both have.
func answers(ask health.UDP, b []byte) health.Result {
	if !ask.NeedReply || len(ask.Reply) == 0 {
		return health.Result{OK: true}
	}
	if len(b) < ask.Min || len(b) > ask.Max {
		return health.Result{Why: fmt.Sprintf("the answer has %d bytes, expected %d to %d", len(b), ask.Min, ask.Max)}
	}
	for i := range min(len(b), len(ask.Reply)) {
		mask := byte(0)
		if i < len(ask.ReplyMask) {
			mask = ask.ReplyMask[i]
		}
		if (b[i]^ask.Reply[i])&^mask != 0 {
			return health.Result{Why: fmt.Sprintf("byte %d of the answer is %#02x, expected %#02x", i, b[i], ask.Reply[i])}
		}
	}
	return health.Result{OK: true}
}

var dnsTypes = map[string]uint16{"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "MX": 15, "TXT": 16, "AAAA": 28, "RRSIG": 46, "DNSKEY": 48}

const dnsHeaderLen = 12 // RFC 1035 4.1.1

// dns makes a DNS_CHECK: any answer to our question whose RCODE is 0 is good.
func dns(ctx context.Context, c health.Checker) health.Result {
	ask := health.DNS{}
	if c.DNS != nil {
		ask = *c.DNS
	}
	id := uint16(rand.Uint32())
	question, err := dnsQuestion(id, ask)
	if err != nil {
		return said(health.Result{Why: err.Error()}, err.Error())
	}
	res := exchange(ctx, c, "udp", c.Target.String(), question, func(b []byte) (health.Result, bool) { return dnsAnswer(id, b) })
	switch {
	case res.OK || res.Said != "":
	case res.Timeout:
		res.Said = "read timeout from socket"
	case strings.Contains(res.Why, "unreachable"):
		res.Said = "network unreachable for " + server(c)
	default:
		res.Said = "failed to read socket; " + res.Why
	}
	return res
}

// dnsQuestion is a query with recursion desired: RFC 1035 4.1.
func dnsQuestion(id uint16, ask health.DNS) ([]byte, error) {
	b := binary.BigEndian.AppendUint16(nil, id)
	b = append(b, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	for label := range strings.SplitSeq(strings.TrimSuffix(ask.Name, "."), ".") {
		if len(label) > 63 { // RFC 1035 2.3.4
			return nil, errors.New("a label of the name is longer than 63 bytes")
		}
		if label != "" {
			b = append(append(b, byte(len(label))), label...)
		}
	}
	typ, ok := dnsTypes[ask.Type]
	if !ok {
		typ = dnsTypes["SOA"]
	}
	b = binary.BigEndian.AppendUint16(append(b, 0), typ)
	return binary.BigEndian.AppendUint16(b, 1), nil // class IN
}

// dnsAnswer looks at a message; what is no answer to our question is passed over.
func dnsAnswer(id uint16, b []byte) (health.Result, bool) {
	const response = 0x80 // QR, in the third byte
	if len(b) < dnsHeaderLen || binary.BigEndian.Uint16(b) != id || b[2]&response == 0 {
		return health.Result{}, false
	}
	if rcode := b[3] & 0x0f; rcode != 0 {
		text := fmt.Sprintf("read error occurred. (rcode = %d)", rcode)
		return said(health.Result{Why: fmt.Sprintf("the name server answers %s", rcodes(rcode))}, text), true
	}
	return health.Result{OK: true}, true
}

// rcodes names what RFC 1035 4.1.1 has.
func rcodes(n byte) string {
	names := map[byte]string{1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
	if name, ok := names[n]; ok {
		return name
	}
	return fmt.Sprintf("RCODE %d", n)
}

const pingBytes = 128 // keepalived's

// ping makes a PING_CHECK: an echo request and its reply (RFC 792, RFC 4443 4.1).
func ping(ctx context.Context, c health.Checker) health.Result {
	network, request, want := "ip4:icmp", byte(8), byte(0)
	if c.Target.Addr().Is6() {
		network, request, want = "ip6:ipv6-icmp", 128, 129
	}
	mark := rand.Uint64()
	packet := make([]byte, 8+pingBytes)
	packet[0] = request
	binary.BigEndian.PutUint16(packet[4:], uint16(rand.Uint32()))
	binary.BigEndian.PutUint16(packet[6:], 1)
	binary.BigEndian.PutUint64(packet[8:], mark)
	if request == 8 { // of ICMPv6 the kernel fills it in: RFC 3542 3.1
		binary.BigEndian.PutUint16(packet[2:], checksum(packet))
	}
	return exchange(ctx, c, network, c.Target.Addr().String(), packet, func(b []byte) (health.Result, bool) {
		ours := len(b) >= 16 && b[0] == want && string(b[4:8]) == string(packet[4:8]) && binary.BigEndian.Uint64(b[8:]) == mark
		return health.Result{OK: true}, ours
	})
}

// checksum is RFC 1071's.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
