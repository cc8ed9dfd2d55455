package vrrp

import (
	"bytes"
	"testing"
	"time"
)

var (
	key1 = bytes.Repeat([]byte{1}, 32)
	key2 = bytes.Repeat([]byte{2}, 64)
)

// signed is a router of version 3 with auth_hmac, BACKUP since epoch.
func signed(t *testing.T, addr string, change ...func(*Config)) *Router {
	t.Helper()
	r := NewRouter(site(append([]func(*Config){func(c *Config) {
		c.Version, c.Source, c.Priority = 3, ip(addr), 100
		c.HMAC = HMAC{Keys: map[uint8][]byte{1: key1}, Active: 1}
	}}, change...)...))
	r.Start(epoch, false)
	taken(r)
	return r
}

// advertFrom is what r sends at now as a master.
func advertFrom(t *testing.T, r *Router, now time.Time) []byte {
	t.Helper()
	r.advertise(now, 200)
	sent := packets(taken(r))
	if len(sent) != 1 {
		t.Fatalf("%d adverts", len(sent))
	}
	return sent[0]
}

func keys(active uint8, mode HMACMode, keys map[uint8][]byte) func(*Config) {
	return func(c *Config) { c.HMAC = HMAC{Keys: keys, Active: active, Mode: mode} }
}

func TestSignedAdvertsAreTakenAndOthersRefusedByReason(t *testing.T) {
	one := map[uint8][]byte{1: key1}
	for _, c := range []struct {
		name   string
		sender func(*Config)
		change func(packet []byte) []byte // of what was sent
		at     time.Duration              // of arrival, after the sending
		mode   HMACMode
		reason Reason // empty: accepted
	}{
		{name: "the same key"},
		{name: "no trailer", sender: func(c *Config) { c.HMAC = HMAC{} }, reason: ReasonHMACMissing},
		{name: "no trailer while it is being introduced", sender: func(c *Config) { c.HMAC = HMAC{} }, mode: HMACPermissive},
		{name: "no trailer at the very start", sender: func(c *Config) { c.HMAC = HMAC{} }, mode: HMACReceiveOnly},
		{name: "a sender that only receives", sender: keys(1, HMACReceiveOnly, one), reason: ReasonHMACMissing},
		{name: "a bad trailer while it is being introduced", sender: keys(1, HMACEnforce, map[uint8][]byte{1: key2}), mode: HMACPermissive, reason: ReasonHMACTag},
		{name: "another key of the same id", sender: keys(1, HMACEnforce, map[uint8][]byte{1: key2}), reason: ReasonHMACTag},
		{name: "a key that we do not have", sender: keys(9, HMACEnforce, map[uint8][]byte{9: key1}), reason: ReasonHMACKey},
		{name: "an unknown type of trailer", change: func(p []byte) []byte { p[len(p)-28] = 2; return fixed(p) }, reason: ReasonHMACMalformed},
		{name: "a changed priority", change: func(p []byte) []byte { p[22] = 255; return fixed(p) }, reason: ReasonHMACTag},
		{name: "another sender's address", change: func(p []byte) []byte { p[15]++; return fixed(p) }, reason: ReasonHMACTag},
		{name: "at the edge of the window", at: 5 * time.Second},
		{name: "old", at: 7 * time.Second, reason: ReasonHMACStale},
		{name: "from the future", at: -7 * time.Second, reason: ReasonHMACStale},
	} {
		t.Run(c.name, func(t *testing.T) {
			sender := signed(t, "10.0.8.3", func(cfg *Config) {
				if c.sender != nil {
					c.sender(cfg)
				}
			})
			r := signed(t, "10.0.8.2", keys(1, c.mode, one))
			now := epoch.Add(time.Minute)
			packet := advertFrom(t, sender, now)
			if c.change != nil {
				packet = c.change(bytes.Clone(packet))
			}
			r.Receive(now.Add(c.at), packet)
			st := r.Status()
			if c.reason == "" {
				if st.Counters.Received != 1 {
					t.Errorf("refused: %+v", st.Refused)
				}
				return
			}
			if st.Counters.Refused[c.reason] != 1 || len(st.Refused) != 1 || st.Refused[0].Field == "" || st.Refused[0].Theirs == st.Refused[0].Ours {
				t.Errorf("refused %v, %+v", st.Counters.Refused, st.Refused)
			}
		})
	}
}

// fixed makes the checksum of a version 3 packet right again.
func fixed(p []byte) []byte {
	a, _ := Parse(p)
	a.putChecksum(a.messageOf(p), p[ipv4Len:])
	return p
}

func TestAReplayedAdvertIsRefusedPerSender(t *testing.T) {
	for _, monotonic := range []bool{false, true} {
		mode := func(c *Config) { c.HMAC.Monotonic = monotonic }
		r, x, y := signed(t, "10.0.8.2", mode), signed(t, "10.0.8.3", mode), signed(t, "10.0.8.4", mode)
		now := epoch.Add(time.Minute)
		first, of := advertFrom(t, x, now), advertFrom(t, y, now)
		second := advertFrom(t, x, now) // the clock did not move: the counter does
		for _, packet := range [][]byte{first, of, second, first, second} {
			r.Receive(now, packet)
		}
		if st := r.Status().Counters; st.Received != 3 || st.Refused[ReasonHMACReplay] != 2 {
			t.Errorf("monotonic %t: received %d, refused %v", monotonic, st.Received, st.Refused)
		}
	}
}

// A clock that is set back by more than the window must not silence its host for as long.
func TestAClockThatIsSetBackIsFollowed(t *testing.T) {
	r, x := signed(t, "10.0.8.2"), signed(t, "10.0.8.3")
	now := epoch.Add(time.Hour)
	r.Receive(now, advertFrom(t, x, now))
	before := now.Add(-10 * time.Minute)
	r.Receive(before, advertFrom(t, x, before))
	if st := r.Status(); st.Counters.Received != 2 {
		t.Errorf("refused %+v", st.Refused)
	}
}

// Keys go from one to the next in three steps, one router after the other, and no advert is lost in any of them.
func TestKeysAreRotatedWithoutAGap(t *testing.T) {
	both := map[uint8][]byte{1: key1, 2: key2}
	stages := []struct {
		keys   map[uint8][]byte
		active uint8
	}{{map[uint8][]byte{1: key1}, 1}, {both, 1}, {both, 2}, {map[uint8][]byte{2: key2}, 2}}
	now := epoch.Add(time.Minute)
	for i := range len(stages) - 1 {
		for _, pair := range [][2]int{{i, i}, {i + 1, i}, {i, i + 1}} {
			x := signed(t, "10.0.8.3", keys(stages[pair[0]].active, HMACEnforce, stages[pair[0]].keys))
			r := signed(t, "10.0.8.2", keys(stages[pair[1]].active, HMACEnforce, stages[pair[1]].keys))
			r.Receive(now, advertFrom(t, x, now))
			if st := r.Status(); st.Counters.Received != 1 {
				t.Errorf("stage %d heard by stage %d: refused %+v", pair[0], pair[1], st.Refused)
			}
		}
	}
}

func TestTheTableOfSendersIsBounded(t *testing.T) {
	var s signer
	h := &HMAC{Window: time.Minute}
	for i := range 100 {
		s.fresh(epoch, h, ip("10.0.8.1").Next(), uint64(i)<<32)
		a := ip("10.0.9.0")
		for range i {
			a = a.Next()
		}
		s.fresh(epoch, h, a, stamp(epoch))
	}
	if len(s.seen) > maxSenders {
		t.Errorf("%d senders", len(s.seen))
	}
}
