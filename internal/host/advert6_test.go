package host

import (
	"bytes"
	"net/netip"
	"testing"
	"time"
)

// A frame of keepalived 2.4.3, as captured: fd00:9::21 is at 02:01.
const keepalivedNA = "333300000001 020000000001 86dd" + "6000000000203aff" + "fd000009000000000000000000000021" +
	"ff020000000000000000000000000001" + "88005a4920000000" + "fd000009000000000000000000000021" + "0201020000000001"

func TestNeighbourAdvertIsKeepalivedsByteForByte(t *testing.T) {
	got := NeighbourAdvert(MAC{2, 0, 0, 0, 0, 1}, addr("fd00:9::21"), false)
	if want := unhex(t, keepalivedNA); !bytes.Equal(got, want) || len(got) != NeighbourAdvertLen {
		t.Fatalf("got  %x\nwant %x", got, want)
	}
	if router := NeighbourAdvert(MAC{2, 0, 0, 0, 0, 1}, addr("fd00:9::21"), true); router[58] != 0xa0 || icmpv6Sum(router[14:]) != 0 {
		t.Errorf("of a router: %x", router)
	}
}

// linkLocal waits for an end's own IPv6 address.
func linkLocal(t *testing.T, dev string) (a netip.Addr) {
	t.Helper()
	var err error
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if a, err = LinkLocal(dev, nil); err == nil {
			return a
		}
	}
	t.Fatal(err)
	return a
}

func listen6(t *testing.T, dev string) *VRRPSocket {
	t.Helper()
	s, err := ListenVRRP(Endpoint{Dev: dev, V6: true})
	check(t, err)
	check(t, s.Join(addr("ff02::12")))
	check(t, s.Join(addr("ff02::12")))
	t.Cleanup(func() { s.Close() })
	return s
}

// advert6 is a packet with a message of eight bytes.
func advert6(from, to netip.Addr, hops byte) []byte {
	b := []byte{0x6c, 0, 0, 0, 0, 8, 112, hops}
	b = append(append(b, from.AsSlice()...), to.AsSlice()...)
	return append(b, 0x31, 51, 100, 0, 0, 100, 0, 0)
}

func TestIPv6AdvertsArriveWithTheHeaderThatWasWritten(t *testing.T) {
	c := newCable(t)
	near := listen6(t, c.near)
	var far *VRRPSocket
	var to netip.Addr
	from := linkLocal(t, c.near)
	c.do(func() { far, to = listen6(t, c.far), linkLocal(t, c.far) })
	for name, packet := range map[string][]byte{
		"to the group": advert6(from, addr("ff02::12"), 255), "to a neighbour": advert6(from, to, 64), "with other hops": advert6(from, to, 3),
	} {
		check(t, near.Send(packet, netip.AddrFrom16([16]byte(packet[24:40]))))
		if got := recv(t, far); !bytes.Equal(got, packet) {
			t.Fatalf("%s: got\n%x, sent\n%x", name, got, packet)
		}
	}
	silent(t, near)
	waiting := make(chan struct{})
	go func() {
		defer close(waiting)
		far.Recv(make([]byte, 100))
	}()
	time.Sleep(50 * time.Millisecond) // until it waits: TryRecv is not kept by it
	if n, err := far.TryRecv(make([]byte, 100)); n != 0 || err != nil {
		t.Errorf("%d bytes of nothing, %v", n, err)
	}
	check(t, far.Close())
	<-waiting
}

func TestASocketWithoutAnInterfaceHearsItsAddressAlone(t *testing.T) {
	c := newCable(t)
	near := listen(t, c.near)
	var far *VRRPSocket
	c.do(func() {
		var err error
		far, err = ListenVRRP(Endpoint{Local: addr("10.9.0.2")})
		check(t, err)
	})
	t.Cleanup(func() { far.Close() })
	packet := unhex(t, keepalivedAdvert)
	check(t, near.Send(packet, VRRPGroup))
	silent(t, far)
	copy(packet[16:], addr("10.9.0.2").AsSlice())
	check(t, near.Send(packet, addr("10.9.0.2")))
	if got := recv(t, far); !bytes.Equal(got[12:], packet[12:]) {
		t.Fatalf("got %x", got)
	}
}
