package vrrp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var byAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// sample is one line of testdata/adverts.txt: an advert as keepalived sent it.
type sample struct {
	name   string
	advert Advert
	packet []byte
}

func samples(t testing.TB) []sample {
	t.Helper()
	text, err := os.ReadFile("testdata/adverts.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []sample
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		part := strings.Split(strings.TrimSpace(line), " | ")
		s := sample{name: part[0], packet: unhex(t, part[3])}
		a := &s.advert
		var seconds int
		var password, source string
		if _, err := fmt.Sscan(part[1], &a.VRID, &a.Priority, &seconds, &password, &source, &a.ID); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		a.AdvertInt = time.Duration(seconds) * time.Second
		if password != "-" {
			a.AuthType = AuthPass
			copy(a.AuthData[:], password)
		}
		a.Source, a.Dest, a.TTL, a.Version, a.Type = netip.MustParseAddr(source), GroupIPv4, 255, 2, 1
		for _, vip := range strings.Fields(part[2]) {
			a.VIPs = append(a.VIPs, netip.MustParseAddr(vip))
		}
		a.Count, a.Sum = uint8(len(a.VIPs)), SumMessage
		all = append(all, s)
	}
	return all
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestKeepalivedsAdvertsAreReadAndWrittenByteForByte(t *testing.T) {
	all := samples(t)
	if len(all) < 10 {
		t.Fatalf("only %d samples", len(all))
	}
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			got, err := Parse(s.packet)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(s.advert, got, byAddr); diff != "" {
				t.Errorf("read (-want +got):\n%s", diff)
			}
			if packet := s.advert.Append(nil); !bytes.Equal(packet, s.packet) {
				t.Errorf("written %x\n   want %x", packet, s.packet)
			}
		})
	}
}

// A router in the place of the one in the capture says the same from its first advert to its last.
func TestARouterSendsWhatKeepalivedSent(t *testing.T) {
	for _, s := range samples(t) {
		if s.advert.ID != 1 || s.advert.Priority == 0 {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			cfg := Config{Name: "x", Interface: "eth0", VRID: s.advert.VRID, Priority: s.advert.Priority, AdvertInt: s.advert.AdvertInt,
				AuthType: s.advert.AuthType, AuthPass: strings.TrimRight(string(s.advert.AuthData[:]), "\x00"), Source: s.advert.Source,
				Excluded: []Address{{Prefix: netip.MustParsePrefix("10.9.2.32/32")}}}
			for _, vip := range s.advert.VIPs {
				cfg.VIPs = append(cfg.VIPs, Address{Prefix: netip.PrefixFrom(vip, 24)})
			}
			r := NewRouter(cfg)
			r.Start(epoch, false)
			r.Tick(r.Next())
			sent := packets(taken(r))
			if len(sent) != 1 || !bytes.Equal(sent[0], s.packet) {
				t.Errorf("sent %x\nwant %x", sent, s.packet)
			}
		})
	}
}

func packets(effects []Effect) [][]byte {
	var all [][]byte
	for _, e := range effects {
		if send, ok := e.(Send); ok {
			all = append(all, send.Packet)
		}
	}
	return all
}

func TestBrokenPacketsAreRefusedWithTheirReason(t *testing.T) {
	good := samples(t)[0].packet
	with := func(change func(p []byte) []byte) []byte { return change(bytes.Clone(good)) }
	for _, c := range []struct {
		name   string
		packet []byte
		want   Reason
	}{
		{"nothing", nil, ReasonLength},
		{"half an IPv4 header", good[:10], ReasonLength},
		{"an IPv4 header alone", with(func(p []byte) []byte { p[3] = 20; return p[:20] }), ReasonLength},
		{"a message shorter than its fixed fields", with(func(p []byte) []byte { p[3] = 27; return p[:27] }), ReasonLength},
		{"an address is missing", with(func(p []byte) []byte { p[23] = 3; return p }), ReasonLength},
		{"the authentication data is missing", with(func(p []byte) []byte { p[3] -= 8; return p[:len(p)-8] }), ReasonLength},
		{"the total length is more than came", with(func(p []byte) []byte { p[3]++; return p }), ReasonLength},
		{"the total length is less than the header", with(func(p []byte) []byte { p[3] = 19; return p }), ReasonLength},
		{"IP version 6", with(func(p []byte) []byte { p[0] = 0x65; return p }), ReasonHeader},
		{"a header of 16 bytes", with(func(p []byte) []byte { p[0] = 0x44; return p }), ReasonHeader},
		{"an ICMP packet", with(func(p []byte) []byte { p[9] = 1; return p }), ReasonHeader},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(c.packet)
			var refusal *Refusal
			if !errors.As(err, &refusal) || refusal.Reason != c.want {
				t.Fatalf("error %v, want reason %s", err, c.want)
			}
		})
	}
}

func TestWhatDoesNotBelongToTheMessageIsIgnored(t *testing.T) {
	s := samples(t)[0]
	options := append(append([]byte{0x46}, s.packet[1:20]...), append([]byte{1, 1, 1, 1}, s.packet[20:]...)...)
	options[3] += 4
	trailer := append(bytes.Clone(s.packet), 1, 2, 3, 4)
	trailer[3] += 4
	for name, packet := range map[string][]byte{
		"Ethernet padding after the packet": append(bytes.Clone(s.packet), 9, 9, 9),
		"IP options before the message":     options,
		"a trailer inside the IP length":    trailer,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(packet)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(s.advert, got, byAddr); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestAnAdvertOfAnotherVersionStillHasItsVRID(t *testing.T) {
	packet := bytes.Clone(samples(t)[0].packet)
	packet[20] = 0x41
	got, err := Parse(packet)
	if err != nil || got.Version != 4 || got.VRID != 11 || got.Priority != 255 || got.VIPs != nil {
		t.Fatalf("%+v, %v", got, err)
	}
}
