package host

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// An advert as keepalived 2.2.7 sends it: 10.9.0.1, two VIPs, PASS.
const keepalivedAdvert = "45c0002c00010000ff70d0840a090001e0000012" + "213396020101c56f0a0900640a0900657365637265743132"

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	check(t, err)
	return b
}

// advertOfFar has the far end's source address: a host takes no packet that claims to come from itself.
func advertOfFar(t *testing.T) []byte {
	b := unhex(t, keepalivedAdvert)
	copy(b[12:], addr("10.9.0.2").AsSlice())
	return b
}

func listen(t *testing.T, dev string) *VRRPSocket {
	t.Helper()
	s, err := ListenVRRP(Endpoint{Dev: dev})
	check(t, err)
	check(t, s.Join(VRRPGroup))
	t.Cleanup(func() { s.Close() })
	return s
}

func listenBothEnds(t *testing.T) (c *cable, near, far *VRRPSocket) {
	c = newCable(t)
	near = listen(t, c.near)
	c.do(func() { far = listen(t, c.far) })
	return c, near, far
}

// recv is Recv that fails the test instead of hanging it.
func recv(t *testing.T, s *VRRPSocket) []byte {
	t.Helper()
	check(t, s.file.SetReadDeadline(time.Now().Add(5*time.Second)))
	buf := make([]byte, 2048)
	n, err := s.Recv(buf)
	check(t, err)
	return buf[:n]
}

// silent checks that nothing waits to be received.
func silent(t *testing.T, s *VRRPSocket) {
	t.Helper()
	check(t, s.file.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	buf := make([]byte, 2048)
	if n, err := s.Recv(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("received %x, %v", buf[:n], err)
	}
}

func TestAdvertArrivesByteForByteAtTheOtherEndOnly(t *testing.T) {
	_, near, far := listenBothEnds(t)
	advert := unhex(t, keepalivedAdvert)
	for range 3 {
		check(t, near.Send(advert, VRRPGroup))
		if got := recv(t, far); !bytes.Equal(got, advert) {
			t.Fatalf("got  %x\nsent %x", got, advert)
		}
	}
	silent(t, near)
}

func TestAdvertIsSentWithoutAnyRoute(t *testing.T) {
	c, near, far := listenBothEnds(t)
	check(t, DelAddress(vip(c.near, "10.9.0.1/24")))
	advert := unhex(t, keepalivedAdvert)
	check(t, near.Send(advert, VRRPGroup))
	if got := recv(t, far); !bytes.Equal(got, advert) {
		t.Fatalf("got %x", got)
	}
}

func TestAdvertOfAnotherInterfaceIsNotReceived(t *testing.T) {
	c, near, _ := listenBothEnds(t)
	_, otherNear, otherFar := listenBothEnds(t)
	advert := advertOfFar(t)
	c.do(func() { check(t, listen(t, c.far).Send(advert, VRRPGroup)) })
	if got := recv(t, near); len(got) != len(advert) {
		t.Fatalf("got %x", got)
	}
	silent(t, otherNear)
	silent(t, otherFar)
}

func TestUnicastAdvertIsReceived(t *testing.T) {
	_, near, far := listenBothEnds(t)
	advert := unhex(t, keepalivedAdvert)
	copy(advert[16:], addr("10.9.0.2").AsSlice())
	check(t, near.Send(advert, addr("10.9.0.2")))
	got := recv(t, far)
	if len(got) != len(advert) || !bytes.Equal(got[12:], advert[12:]) {
		t.Fatalf("got  %x\nsent %x", got, advert)
	}
}

func TestSocketHasKeepalivedsPriorityAndALargeBuffer(t *testing.T) {
	s := listen(t, newCable(t).near)
	conn, err := s.file.SyscallConn()
	check(t, err)
	options := []struct {
		name              string
		level, opt, least int
	}{
		{"SO_PRIORITY", unix.SOL_SOCKET, unix.SO_PRIORITY, 6},
		{"IP_TOS", unix.IPPROTO_IP, unix.IP_TOS, 0xc0},
		{"SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, vrrpBuffer},
	}
	check(t, conn.Control(func(fd uintptr) {
		for _, o := range options {
			if got, err := unix.GetsockoptInt(int(fd), o.level, o.opt); err != nil || got < o.least {
				t.Errorf("%s: %d, %v", o.name, got, err)
			}
		}
	}))
}

func TestCloseEndsAWaitingRecv(t *testing.T) {
	s := listen(t, newCable(t).near)
	ended := make(chan error)
	go func() {
		_, err := s.Recv(make([]byte, 100))
		ended <- err
	}()
	time.Sleep(20 * time.Millisecond) // so that Recv most likely waits; the outcome is the same if not
	check(t, s.Close())
	select {
	case err := <-ended:
		if !errors.Is(err, os.ErrClosed) {
			t.Fatal(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Recv still waits")
	}
}

func TestRecvGoesOnAfterTheInterfaceWasDown(t *testing.T) {
	c, near, far := listenBothEnds(t)
	l, err := netlink.LinkByName(c.near)
	check(t, err)
	check(t, netlink.LinkSetDown(l))
	if err := near.Send(unhex(t, keepalivedAdvert), VRRPGroup); err == nil || !strings.Contains(err.Error(), c.near) {
		t.Fatalf("send on a downed interface: %v", err)
	}
	check(t, netlink.LinkSetUp(l))
	waitFor(t, "adverts arrive again", func() bool {
		check(t, near.file.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
		_ = far.Send(advertOfFar(t), VRRPGroup)
		_, err := near.Recv(make([]byte, 100))
		return err == nil
	})
}

func TestListenOnAMissingInterface(t *testing.T) {
	newCable(t)
	if s, err := ListenVRRP(Endpoint{Dev: "nosuch0"}); !errors.Is(err, ErrNoInterface) || s != nil {
		t.Fatalf("got %v", err)
	}
}

func TestSendRefusesIPv6(t *testing.T) {
	s := listen(t, newCable(t).near)
	if err := s.Send(nil, addr("ff02::12")); err == nil {
		t.Fatal("sent")
	}
}
