package host

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPeersExchangeDatagrams(t *testing.T) {
	for _, loopback := range []string{"127.0.0.1", "::1"} {
		a, b := peerAt(t, loopback), peerAt(t, loopback)
		if a == nil {
			continue // no IPv6 here
		}
		var sent, got [][]byte
		for i := range 3*batchMost + 1 { // more than one call takes
			sent = append(sent, fmt.Appendf(nil, "%d of a", i))
		}
		if n, err := a.Send(sent, local(t, b)); err != nil || n != len(sent) {
			t.Fatal(n, err)
		}
		for len(got) < len(sent) {
			err := b.Recv(func(d []byte, from netip.AddrPort) {
				if got = append(got, slices.Clone(d)); from != local(t, a) {
					t.Errorf("%q from %s", d, from)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if !slices.EqualFunc(sent, got, bytes.Equal) {
			t.Errorf("%q", got)
		}
		done := make(chan error)
		go func() { done <- b.Recv(func([]byte, netip.AddrPort) {}) }()
		b.Close()
		if err := <-done; !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
		if n, err := b.Send(sent, local(t, a)); n != 0 || !errors.Is(err, os.ErrClosed) {
			t.Error(n, err)
		}
	}
}

func TestWhatDoesNotGoIsSaidAndWhatIsInFrontOfItHasGone(t *testing.T) {
	a, b := peerAt(t, "127.0.0.1"), peerAt(t, "127.0.0.1")
	to := local(t, b)
	datagram := make([]byte, 100)
	datagrams := slices.Repeat([][]byte{datagram}, 100)
	datagrams[70] = make([]byte, 1<<16) // which no datagram can be
	if n, err := a.Send(datagrams, to); n != 70 || !errors.Is(err, unix.EMSGSIZE) {
		t.Error(n, err)
	}
}

func peerAt(t *testing.T, addr string) *PeerSocket {
	t.Helper()
	s, err := ListenPeers(netip.AddrPortFrom(netip.MustParseAddr(addr), 0), 100)
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
	if _, err := ListenPeers(netip.MustParseAddrPort("192.0.2.77:8849"), 100); err == nil || err.Error() != "listen to peers: bind to 192.0.2.77:8849: cannot assign requested address" {
		t.Error(err)
	}
}
