package vrrp

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// heardByB is one advert of the capture.
type heardByB struct {
	at     time.Time
	ours   bool
	packet []byte
}

func capture(t *testing.T) []heardByB {
	t.Helper()
	text, err := os.ReadFile("testdata/twonode.adverts")
	if err != nil {
		t.Fatal(err)
	}
	var all []heardByB
	for line := range strings.Lines(string(text)) {
		var ms int
		var who, packet string
		if n, _ := fmt.Sscan(line, &ms, &who, &packet); n == 3 {
			all = append(all, heardByB{at(time.Duration(ms) * time.Millisecond), who == "b", unhex(t, packet)})
		}
	}
	return all
}

// The oracle: our router takes the place of a real keepalived and hears what that one heard. It must say the same lines
// in the same order, but that it is MASTER only after its addresses, and send the same bytes at the same times.
func TestInKeepalivedsPlaceARouterSaysAndSendsTheSame(t *testing.T) {
	r := NewRouter(Config{Name: "VI_1", Interface: "eth0", VRID: 51, Priority: 100, AdvertInt: time.Second,
		AuthType: AuthPass, AuthPass: "secret12", Source: ip("10.9.0.2"),
		VIPs: []Address{{Prefix: netip.MustParsePrefix("10.9.0.100/24")}, {Prefix: netip.MustParsePrefix("10.9.0.101/32")}}})
	var lines []string
	type sent struct {
		at     time.Time
		packet []byte
	}
	var ours, theirs []sent
	take := func(now time.Time) {
		effects := taken(r)
		for _, packet := range packets(effects) {
			ours = append(ours, sent{now, packet})
		}
		for _, line := range said(effects, false) {
			if strings.HasPrefix(line, "(VI_1)") {
				lines = append(lines, line)
			}
		}
	}
	until := func(end time.Time) {
		for next := r.Next(); !next.IsZero() && next.Before(end); next = r.Next() {
			r.Tick(next)
			take(next)
		}
	}
	r.Start(epoch, false)
	take(epoch)
	var last time.Time
	for _, advert := range capture(t) {
		last = advert.at
		if advert.ours {
			theirs = append(theirs, sent{advert.at, advert.packet})
			continue
		}
		until(advert.at)
		r.Receive(advert.at, advert.packet)
		take(advert.at)
	}
	until(last)
	r.Stop(last)
	take(last)

	want, err := os.ReadFile("testdata/twonode.log")
	if err != nil {
		t.Fatal(err)
	}
	theirWords := strings.ReplaceAll(strings.TrimSpace(string(want)), "(VI_1) Entering MASTER STATE\n(VI_1) setting VIPs.", "(VI_1) setting VIPs.\n(VI_1) Entering MASTER STATE")
	if diff := cmp.Diff(strings.Split(theirWords, "\n"), lines); diff != "" {
		t.Errorf("said (-keepalived +ours):\n%s", diff)
	}
	if len(ours) != len(theirs) {
		t.Fatalf("%d adverts, keepalived sent %d", len(ours), len(theirs))
	}
	for i := range ours {
		if !bytes.Equal(ours[i].packet, theirs[i].packet) {
			t.Errorf("advert %d: %x, keepalived's %x", i, ours[i].packet, theirs[i].packet)
		}
		// keepalived's own timers drift by a few milliseconds.
		if off := ours[i].at.Sub(theirs[i].at).Abs(); off > 30*time.Millisecond {
			t.Errorf("advert %d is %s off", i, off)
		}
	}
}
