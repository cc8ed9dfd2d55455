package host

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPeersExchangeDatagrams(t *testing.T) {
	for _, loopback := range []string{"127.0.0.1", "::1"} {
		a, b := peerAt(t, loopback), peerAt(t, loopback)
		if a == nil {
			continue // no IPv6 here
		}
		if err := a.Send([]byte("of a"), local(t, b)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		n, from, err := b.Recv(buf)
		if err != nil || string(buf[:n]) != "of a" || from != local(t, a) {
			t.Errorf("%q from %s, %v", buf[:n], from, err)
		}
		done := make(chan error)
		go func() { _, _, err := b.Recv(buf); done <- err }()
		b.Close()
		if err := <-done; !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	}
}

func peerAt(t *testing.T, addr string) *PeerSocket {
	t.Helper()
	s, err := ListenPeers(netip.AddrPortFrom(netip.MustParseAddr(addr), 0))
	if err != nil {
		if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT) {
			return nil
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func local(t *testing.T, s *PeerSocket) netip.AddrPort {
	t.Helper()
	at, err := s.Local()
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestAnAddressThatIsNotHereIsNamed(t *testing.T) {
	if _, err := ListenPeers(netip.MustParseAddrPort("192.0.2.77:8849")); err == nil || err.Error() != "listen to peers: bind to 192.0.2.77:8849: cannot assign requested address" {
		t.Error(err)
	}
}
