package vrrp

import (
	"net/netip"
	"time"
)

// claim is what routers are compared by.
type claim struct {
	priority uint8
	addr     netip.Addr
}

// rules are the decisions that make an election come out, in one place and as values, so that a test can take one away
// and see that the simulation notices.
type rules struct {
	// skew delays weaker backups.
	skew func(version, priority uint8, interval time.Duration) time.Duration
	// weaker says whether a backup that may preempt ignores a master of that priority.
	weaker func(theirs, ours uint8) bool
	// yields says whether a master gives way.
	yields func(ours, theirs claim) bool
	// learns says whether a backup of version 3 takes over the master's interval.
	learns bool
	// leaving says whether a backup heeds priority 0.
	leaving bool
	// answers says whether a master advertises and announces again after a weaker advert.
	answers bool
	// vacates says whether adopted addresses go when another master is heard.
	vacates bool
	// hurries says whether the first advert of a takeover leaves before addresses that take long.
	hurries bool

	// Of sync groups: together says whether a member waits until all others want to be master too, follows whether a
	// change of one changes the others, shares whether the fault of one is the fault of all, heeds whether an advert ends
	// the wish to be master.
	together, follows, shares, heeds bool
}

var standard = rules{
	// RFC 3768 §6.1: "Skew_Time: Time to skew Master_Down_Interval in seconds. Calculated as:
	// ( (256 - Priority) / 256 )". RFC 9568 §6.1: "(((256 - Priority) * Active_Adver_Interval) / 256)".
	skew: func(version, priority uint8, interval time.Duration) time.Duration {
		if version != 3 {
			interval = time.Second
		}
		return time.Duration(256-int(priority)) * interval / 256
	},
	// RFC 3768 §6.4.2: "If Preempt_Mode is False, or If the Priority in the ADVERTISEMENT is greater than or equal to
	// the local Priority, then: Reset the Master_Down_Timer to Master_Down_Interval". The address does not count here.
	weaker: func(theirs, ours uint8) bool { return theirs < ours },
	// RFC 3768 §6.4.3: "If the Priority in the ADVERTISEMENT is greater than the local Priority, or If the Priority in
	// the ADVERTISEMENT is equal to the local Priority and the primary IP Address of the sender is greater than the
	// local primary IP Address"
	yields: func(ours, theirs claim) bool {
		if theirs.priority != ours.priority {
			return theirs.priority > ours.priority
		}
		return theirs.addr.Compare(ours.addr) > 0
	},
	learns:  true,
	leaving: true,
	answers: true,
	vacates: true,
	hurries: true,

	together: true, follows: true, shares: true, heeds: true,
}
