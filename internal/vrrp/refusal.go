package vrrp

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Reason is why an advert was not accepted. The strings are stable: they are metric labels.
type Reason string

// Reasons, in the order in which they are looked for; the first that holds is counted.
const (
	ReasonHeader        Reason = "ip_header"
	ReasonLength        Reason = "packet_length"
	ReasonTTL           Reason = "ttl"
	ReasonVersion       Reason = "version"
	ReasonType          Reason = "type"
	ReasonHMACMissing   Reason = "hmac_missing"
	ReasonHMACMalformed Reason = "hmac_malformed"
	ReasonHMACKey       Reason = "hmac_unknown_key"
	ReasonHMACTag       Reason = "hmac_invalid"
	ReasonHMACStale     Reason = "hmac_stale"
	ReasonHMACReplay    Reason = "hmac_replay"
	ReasonAuthType      Reason = "auth_type"
	ReasonPassword      Reason = "auth_password"
	ReasonAHValue       Reason = "ah_value"
	ReasonAHReplay      Reason = "ah_replay"
	ReasonChecksum      Reason = "checksum"
	ReasonInterval      Reason = "advert_interval"
	ReasonDestination   Reason = "destination"
	ReasonSource        Reason = "source"
	ReasonOwner         Reason = "owner"
	ReasonVRID          Reason = "unknown_vrid" // counted by the Speaker: there is no instance to count it
)

// Reasons lists all of them, for a metric that shows zeros too.
var Reasons = []Reason{
	ReasonHeader, ReasonLength, ReasonTTL, ReasonVersion, ReasonType, ReasonHMACMissing, ReasonHMACMalformed, ReasonHMACKey,
	ReasonHMACTag, ReasonHMACStale, ReasonHMACReplay, ReasonAuthType, ReasonPassword, ReasonAHValue, ReasonAHReplay,
	ReasonChecksum, ReasonInterval, ReasonDestination, ReasonSource, ReasonOwner, ReasonVRID,
}

// Refusal says that an advert was dropped, and what is theirs and what is ours.
type Refusal struct {
	Reason Reason
	Text   string // in keepalived's words where it has any, without the instance
	Field  string // what differs, as the configuration or the standard calls it
	Theirs string
	Ours   string
}

func (r *Refusal) Error() string { return r.Text }

func refuse(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

// versus names the field that differs. Secrets are never among the values.
func (r *Refusal) versus(field string, theirs, ours any) *Refusal {
	r.Field, r.Theirs, r.Ours = field, fmt.Sprint(theirs), fmt.Sprint(ours)
	return r
}

func tooShort(have, want int) *Refusal {
	return refuse(ReasonLength, "vrrp packet too short, length %d and expect %d", have, want).versus("length", have, want)
}

// Refused is what one peer's adverts were refused for: the last case, and how often there was one.
type Refused struct {
	Peer netip.Addr // zero if the packet was too broken to tell
	Refusal
	Count uint64
	First time.Time
	Last  time.Time
}

// maxRefused bounds what an instance remembers, so that forged sources fill no memory. The counters by reason go on.
const maxRefused = 64

type refusedKey struct {
	peer   netip.Addr
	reason Reason
}

// remember notes a refusal for those who ask later.
func (r *Router) remember(now time.Time, peer netip.Addr, why *Refusal) {
	key := refusedKey{peer, why.Reason}
	have := r.refusedOf[key]
	if have == nil {
		if len(r.refusedOf) >= maxRefused {
			delete(r.refusedOf, r.stalest())
		}
		have = &Refused{Peer: peer, First: now}
		r.refusedOf[key] = have
	}
	have.Refusal, have.Last = *why, now
	have.Count++
}

// stalest is the refusal that is longest ago.
func (r *Router) stalest() (oldest refusedKey) {
	var at time.Time
	for key, have := range r.refusedOf {
		if at.IsZero() || have.Last.Before(at) {
			oldest, at = key, have.Last
		}
	}
	return oldest
}

// refusals lists what was refused, the latest first.
func (r *Router) refusals() []Refused {
	var all []Refused
	for _, have := range r.refusedOf {
		all = append(all, *have)
	}
	slices.SortFunc(all, func(a, b Refused) int {
		return cmp.Or(b.Last.Compare(a.Last), a.Peer.Compare(b.Peer), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}
