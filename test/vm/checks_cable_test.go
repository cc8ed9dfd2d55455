package vm

import (
	"encoding/binary"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The hosts that no kernel answers for: packets to them go to the test, at the other end of a cable.

var (
	pinged   = netip.MustParseAddr("10.0.0.62")
	silent   = netip.MustParseAddr("10.0.0.63")
	dead     = netip.MustParseAddr("10.0.0.65") // of which nothing ever comes
	sessions = netip.MustParseAddr("10.0.0.73")

	echoes    = []string{"answer", "answer", "nothing", "answer", "nothing", "nothing", "answer", "refusal", "refusal", "answer"}
	datagrams = []string{"nothing", "nothing", "refusal", "nothing", "refusal", "refusal", "nothing", "nothing", "refusal", "nothing"}
	// sessionOf is what the neighbour does since its first packet: up to each time.
	sessionOf = []struct {
		until time.Duration
		how   string
	}{{9 * time.Second, "answer"}, {15 * time.Second, "nothing"}, {21 * time.Second, "answer"}, {26 * time.Second, "down"}, {time.Hour, "answer"}}
)

// cable is the end that the test holds.
type cable struct {
	file             *os.File
	echoes, datagram int
	began            time.Time // of the session
	state            byte      // of the neighbour, as RFC 5880 numbers them
}

// hold makes the cable in the namespace of its thread.
func (d *director) hold(t *testing.T) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	request, err := unix.NewIfreq("cable")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return err
	}
	k := &cable{file: os.NewFile(uintptr(fd), "cable"), state: bfdDown} // which can be waited for from here on
	t.Cleanup(func() { k.file.Close() })
	if err := exec.Command("ip", "-n", d.name, "link", "set", "cable", "up").Run(); err != nil {
		return err
	}
	for _, a := range []netip.Addr{pinged, silent, dead, sessions} {
		if err := exec.Command("ip", "-n", d.name, "route", "add", a.String(), "dev", "cable").Run(); err != nil {
			return err
		}
	}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := k.file.Read(buf)
			if err != nil {
				return
			}
			if answer := k.take(buf[:n]); answer != nil {
				_, _ = k.file.Write(answer)
			}
		}
	}()
	return nil
}

// take answers a packet of IPv4, or not.
func (k *cable) take(packet []byte) []byte {
	if len(packet) < 28 || packet[0]>>4 != 4 {
		return nil
	}
	body := packet[int(packet[0]&15)*4:]
	to := netip.AddrFrom4([4]byte(packet[16:20]))
	switch proto := packet[9]; {
	case to == pinged && proto == unix.IPPROTO_ICMP && body[0] == 8:
		k.echoes++
		return answerAs(turn(echoes, k.echoes-1), packet, 1, func() []byte { return ip4(packet, unix.IPPROTO_ICMP, 64, icmp(0, 0, body[4:])) })
	case to == silent && proto == unix.IPPROTO_UDP:
		k.datagram++
		return answerAs(turn(datagrams, k.datagram-1), packet, 3, nil)
	case to == sessions && proto == unix.IPPROTO_UDP && binary.BigEndian.Uint16(body[2:]) == 3784 && len(body) >= 8+bfdSize:
		return k.converse(packet, body[8:])
	}
	return nil
}

// answerAs is an answer, an error of ICMP with a code, or nothing.
func answerAs(how string, packet []byte, code byte, answer func() []byte) []byte {
	switch how {
	case "answer":
		return answer()
	case "refusal":
		return ip4(packet, unix.IPPROTO_ICMP, 64, icmp(3, code, append(make([]byte, 4), packet...)))
	}
	return nil
}

// ip4 is a packet back to where one came from.
func ip4(back []byte, proto, ttl byte, body []byte) []byte {
	out := make([]byte, 20, 20+len(body))
	out[0], out[8], out[9] = 0x45, ttl, proto
	binary.BigEndian.PutUint16(out[2:], uint16(20+len(body)))
	copy(out[12:16], back[16:20])
	copy(out[16:20], back[12:16])
	binary.BigEndian.PutUint16(out[10:], checksum(out))
	return append(out, body...)
}

// icmp is a message with what follows its checksum.
func icmp(kind, code byte, rest []byte) []byte {
	out := append([]byte{kind, code, 0, 0}, rest...)
	binary.BigEndian.PutUint16(out[2:], checksum(out))
	return out
}

func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) > 0 {
		sum += uint32(b[0]) << 8
	}
	sum = sum>>16 + sum&0xffff
	return ^uint16(sum + sum>>16)
}

// States of a session, and the size of its packet: RFC 5880, section 4.1.
const (
	bfdDown = 1
	bfdInit = 2
	bfdUp   = 3
	bfdSize = 24
)

// converse is the neighbour of a session, which speaks when it is spoken to.
func (k *cable) converse(packet, said []byte) []byte {
	if k.began.IsZero() {
		k.began = time.Now()
	}
	how, since := "", time.Since(k.began)
	for _, step := range sessionOf {
		if since < step.until {
			how = step.how
			break
		}
	}
	theirs := said[1] >> 6
	switch {
	case how == "nothing":
		k.state = bfdDown
		return nil
	case how == "down":
		k.state = bfdDown
	case theirs == bfdDown && k.state == bfdUp:
		k.state = bfdDown
	case theirs == bfdDown:
		k.state = bfdInit
	case theirs == bfdInit, theirs == bfdUp && k.state == bfdInit:
		k.state = bfdUp
	}
	udp := make([]byte, 8+bfdSize) // without a checksum
	binary.BigEndian.PutUint16(udp, 49152)
	binary.BigEndian.PutUint16(udp[2:], 3784)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	say := udp[8:]
	say[0], say[1], say[2], say[3] = 1<<5, k.state<<6|said[1]&0x20>>1, 5, bfdSize // a poll is answered as final
	binary.BigEndian.PutUint32(say[4:], 73)
	copy(say[8:12], said[4:8])
	for at, microseconds := range map[int]uint32{12: 200_000, 16: 200_000} {
		binary.BigEndian.PutUint32(say[at:], microseconds)
	}
	return ip4(packet, unix.IPPROTO_UDP, 255, udp)
}
