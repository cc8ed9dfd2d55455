package conf

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"vipd/internal/vrrp"
)

// captured are keepalived's adverts by VRID.
func captured(t *testing.T) map[uint8][][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/wire.adverts")
	if err != nil {
		t.Fatal(err)
	}
	all := map[uint8][][]byte{}
	for line := range strings.Lines(string(text)) {
		var vrid uint8
		var digits string
		if n, _ := fmt.Sscan(line, &vrid, &digits); n != 2 {
			continue
		}
		packet, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		all[vrid] = append(all[vrid], packet)
	}
	return all
}

// sentAt is when an advert left, as far as it says so itself: that of its signature.
func sentAt(a vrrp.Advert, otherwise time.Time) time.Time {
	if a.Trailer == nil {
		return otherwise
	}
	fraction := int64(a.Trailer.Sequence >> 16 & 0xffff)
	return time.Unix(int64(a.Trailer.Sequence>>32), (fraction*1e9+1<<16-1)>>16)
}

// The oracle: from the same file our routers send what keepalived sent. The kernel's flow label of IPv6 is not compared.
func TestOurAdvertsAreKeepalivedsByteForByte(t *testing.T) {
	cfg, _, _ := Load(os.DirFS("testdata"), "wire.conf", Options{})
	adverts := captured(t)
	if len(cfg.Instances) != len(adverts) || len(adverts) < 13 {
		t.Fatalf("%d instances, adverts of %d", len(cfg.Instances), len(adverts))
	}
	for _, vi := range cfg.Instances {
		t.Run(vi.Name, func(t *testing.T) {
			first, err := vrrp.Parse(adverts[vi.VRID][0])
			if err != nil {
				t.Fatal(err)
			}
			r := vrrp.NewRouter(vi)
			now := sentAt(first, time.Unix(1700000000, 0))
			r.SetSource(now, first.Source)
			start := now.Add(-time.Minute)
			if vi.Priority == 255 {
				start = now
			}
			r.Start(start, false)
			var sent [][]byte
			for len(sent) < len(adverts[vi.VRID]) {
				a, _ := vrrp.Parse(adverts[vi.VRID][len(sent)])
				now := sentAt(a, r.Next())
				if a.Priority == 0 {
					r.Stop(r.Next())
				} else {
					r.Tick(now)
				}
				for effects := r.Take(); len(effects) > 0; effects = r.Take() {
					sent = append(sent, packetsOf(effects)...)
					confirm(now, r, effects)
				}
			}
			for i, want := range adverts[vi.VRID] {
				if got := sent[i]; !bytes.Equal(noFlow(got), noFlow(want)) {
					t.Errorf("advert %d\n%x, keepalived's is\n%x", i, got, want)
				}
			}
		})
	}
}

// confirm tells a router that the host has the addresses it asked for.
func confirm(now time.Time, r *vrrp.Router, effects []vrrp.Effect) {
	for _, e := range effects {
		if add, ok := e.(vrrp.AddAddresses); ok {
			r.Confirm(now, add.Term)
		}
	}
}

func packetsOf(effects []vrrp.Effect) (all [][]byte) {
	for _, e := range effects {
		if send, ok := e.(vrrp.Send); ok {
			all = append(all, send.Packet)
		}
	}
	return all
}

// noFlow is a packet without its flow label, which the kernel chooses.
func noFlow(packet []byte) []byte {
	packet = bytes.Clone(packet)
	if packet[0]>>4 == 6 {
		packet[1] &= 0xf0
		packet[2], packet[3] = 0, 0
	}
	return packet
}
