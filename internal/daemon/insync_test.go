package daemon

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"vipd/internal/lb"
)

func TestAnAddressIsGivenUpWhenThePeersHaveWhatIsOpen(t *testing.T) {
	n := &peerNet{at: map[netip.AddrPort]*peerEnd{}, cut: map[netip.Addr]bool{}}
	a, b := newPeerDirector(t, n, "10.0.0.1", "10.0.0.2"), newPeerDirector(t, n, "10.0.0.2", "10.0.0.1")
	a.table.fill(3000)
	a.begin(n)
	var said []string
	say := func(text string) { said = append(said, text) }
	runs, began := true, time.Now()
	look := func() (peers []syncedPeer, _ bool, err error) {
		err = a.loop.ask(func() error { peers = a.synced(time.Now(), began); return nil })
		return peers, runs, err
	}
	err := waitForPeers(t.Context(), 50*time.Millisecond, say, look)
	if err == nil || !strings.Contains(err.Error(), "not within 50ms: peer 10.0.0.2 is not heard yet") || len(said) != 1 {
		t.Errorf("nobody hears, and it goes on: %v, %q", err, said)
	}
	b.begin(n)
	said, began = nil, time.Now()
	if err := waitForPeers(t.Context(), time.Minute, say, look); err != nil {
		t.Fatal(err)
	}
	if len(said) != 1 || !strings.HasPrefix(said[0], "peer 10.0.0.2 has 100 % of 3,000 connections, ") || !strings.HasSuffix(said[0], " ms behind") {
		t.Errorf("%q", said)
	}
	if got := b.learned(); got != 3000 {
		t.Errorf("the peer has %d", got)
	}
	said, runs = nil, false
	if err := waitForPeers(t.Context(), time.Minute, say, look); err != nil || len(said) != 1 || !strings.HasPrefix(said[0], "no connection_sync") {
		t.Errorf("%v %q", err, said)
	}
}

func TestWhoHasNoPeerDrains(t *testing.T) {
	want := []lb.Pool{{Reals: []lb.Real{{Weight: 3}, {Weight: 1}}}}
	if got := without(want); got[0].Reals[0].Weight != 0 || got[0].Reals[1].Weight != 0 || !slices.Equal(want[0].Reals, []lb.Real{{Weight: 3}, {Weight: 1}}) {
		t.Errorf("%v, of %v", got, want)
	}
}

func TestOnlyAllIsAHundredPercent(t *testing.T) {
	for has, text := range map[uint32]string{0: "0.00", 123_456: "12.35", 999_999: "99.99", 1_000_000: "100"} {
		if got := percent(has, 1_000_000); got != text {
			t.Errorf("%d: %s", has, got)
		}
	}
}
