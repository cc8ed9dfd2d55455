package vrrp

import "fmt"

// Reason is why an advert was not accepted. The strings are stable: they are metric labels.
type Reason string

// Reasons, in the order in which they are looked for; the first that holds is counted.
const (
	ReasonHeader      Reason = "ip_header"
	ReasonLength      Reason = "packet_length"
	ReasonTTL         Reason = "ttl"
	ReasonVersion     Reason = "version"
	ReasonType        Reason = "type"
	ReasonAuthType    Reason = "auth_type"
	ReasonPassword    Reason = "auth_password"
	ReasonChecksum    Reason = "checksum"
	ReasonInterval    Reason = "advert_interval"
	ReasonDestination Reason = "destination"
	ReasonVRID        Reason = "unknown_vrid" // counted by the Speaker: there is no instance to count it
)

// Reasons lists all of them, for a metric that shows zeros too.
var Reasons = []Reason{
	ReasonHeader, ReasonLength, ReasonTTL, ReasonVersion, ReasonType, ReasonAuthType, ReasonPassword,
	ReasonChecksum, ReasonInterval, ReasonDestination, ReasonVRID,
}

// Refusal says that an advert was dropped, and what is theirs and what is ours.
type Refusal struct {
	Reason Reason
	Text   string // in keepalived's words where it has any, without the instance
}

func (r *Refusal) Error() string { return r.Text }

func refuse(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

func tooShort(have, want int) *Refusal {
	return refuse(ReasonLength, "vrrp packet too short, length %d and expect %d", have, want)
}
