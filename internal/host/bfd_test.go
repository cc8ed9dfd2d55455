package host

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

func TestBFDPacketsTellWhereTheyCameFrom(t *testing.T) {
	for _, c := range []struct{ local, source string }{{"127.0.0.1", "127.0.0.7"}, {"127.0.0.1", ""}, {"::1", "::1"}} {
		l, err := ListenBFD(0)
		if err != nil {
			t.Fatal(err)
		}
		port := l.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		local, source := netip.MustParseAddr(c.local), netip.MustParseAddr(c.local)
		var from netip.Addr
		if c.source != "" {
			from = netip.MustParseAddr(c.source)
			source = from
		}
		s, err := DialBFD(from, netip.AddrPortFrom(local, port), 77)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send([]byte("abc")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		p, err := l.Recv(buf)
		if want := (BFDPacket{From: source, To: local, TTL: 77, Len: 3}); err != nil || p != want || string(buf[:3]) != "abc" {
			t.Errorf("%+v %v, want %+v", p, err, want)
		}
		if from := s.conn.LocalAddr().(*net.UDPAddr).Port; from < 49152 {
			t.Errorf("source port %d", from)
		}
		s.Close()
		l.Close()
		if _, err := l.Recv(buf); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
	if _, err := DialBFD(netip.MustParseAddr("192.0.2.1"), netip.MustParseAddrPort("127.0.0.1:3784"), 255); err == nil || err.Error() != "send BFD to 127.0.0.1: cannot assign requested address" {
		t.Errorf("%v", err)
	}
}
