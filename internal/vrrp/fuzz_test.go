package vrrp

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// again checks that a packet which is right in itself is the same when it is read, written and read once more.
func again(t *testing.T, packet []byte) {
	a, err := Parse(packet)
	if err != nil || a.Sum == 0 || a.Type != typeAdvert || a.Version != 2 && a.Version != 3 {
		return
	}
	b, err := Parse(a.Append(nil))
	if err != nil {
		t.Fatalf("what was read cannot be read when written: %v", err)
	}
	if a.Source.Is6() {
		b.Sum = a.Sum
	}
	if b.Sum&a.Sum == 0 {
		t.Fatalf("checksum %v, then %v", a.Sum, b.Sum)
	}
	if b.Sum = a.Sum; !cmp.Equal(a, b, byAddr) {
		t.Fatalf("read, written, read (-first +second):\n%s", cmp.Diff(a, b, byAddr))
	}
}

// everyKind are adverts of all formats.
func everyKind(f *testing.F, only ...changes) {
	for _, c := range only {
		r := NewRouter(site(append(changes{func(c *Config) { c.Source = ip("10.0.8.3") }}, c...)...))
		r.advertise(epoch, 200)
		for _, packet := range packets(taken(r)) {
			f.Add(packet)
			f.Add(packet[:len(packet)-9])
		}
	}
}

func hmacOn(c *Config) { c.HMAC = HMAC{Keys: map[uint8][]byte{1: key1}, Active: 1} }

func FuzzAdvertV2(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s.packet)
	}
	everyKind(f, nil, changes{unicast})
	f.Fuzz(again)
}

func FuzzAdvertV3(f *testing.F) {
	everyKind(f, changes{v3}, changes{v3, asV2}, changes{v3, unicast, old}, changes{v6}, changes{v6, unicast})
	f.Fuzz(again)
}

func FuzzAdvertAH(f *testing.F) {
	everyKind(f, changes{ah}, changes{unicast, ah})
	f.Fuzz(func(t *testing.T, packet []byte) {
		again(t, packet)
		receiveAny(t, packet, ah)
	})
}

func FuzzAdvertHMAC(f *testing.F) {
	everyKind(f, changes{v3, hmacOn}, changes{hmacOn}, changes{v6, hmacOn})
	f.Fuzz(func(t *testing.T, packet []byte) {
		again(t, packet)
		receiveAny(t, packet, v3, hmacOn)
		receiveAny(t, packet, v6, hmacOn)
	})
}

// receiveAny gives a packet to a router that has the key: nothing forged may be accepted, so any accepted one is
// something that the key made.
func receiveAny(t *testing.T, packet []byte, change ...func(*Config)) {
	r := NewRouter(site(append([]func(*Config){func(c *Config) { c.Source = ip("10.0.8.2") }}, change...)...))
	r.Start(epoch, false)
	before := bytes.Clone(packet)
	r.Receive(epoch, packet)
	if !bytes.Equal(before, packet) {
		t.Fatal("the packet was changed")
	}
	if r.State() != Backup {
		t.Fatalf("an advert made it %s", r.State())
	}
}
