package vrrp

import "net/netip"

// Effect is something that the machine wants done. It is one of the types below.
type Effect interface{ effect() }

// Send puts an advert on the wire: a whole IPv4 or IPv6 packet, header included, for the instance's interface.
type Send struct {
	Instance string
	Packet   []byte
	To       netip.Addr
}

// AddAddresses and RemoveAddresses put the instance's VIPs on the host or take them off. Neither is an error when the
// host is already so. One with a Term waits for Router.Confirm, or for a Fault that says why not.
type AddAddresses struct {
	Instance string
	Term     uint64 // of a takeover; 0: addresses that were added or lost
}

// RemoveAddresses is the opposite of AddAddresses.
type RemoveAddresses struct{ Instance string }

// Announce sends gratuitous ARP for every target (unsolicited neighbour adverts for IPv6), Repeat rounds over all of
// them. An Announcer makes single frames of it, with their log lines.
type Announce struct {
	Instance string
	Repeat   int
	Targets  []Target
}

// Change tells that the instance went from one state to another, and why in one clause for a person. It comes after
// the effects that the transition needs. To is Init when the instance was stopped.
type Change struct {
	Instance string
	From, To State
	Why      string
}

// Weaker tells that a master heard a weaker one, after it was answered: keepalived's MASTER_RX_LOWER_PRI.
type Weaker struct {
	Instance string
	Peer     netip.Addr
	Priority uint8
}

// Silence takes back the announcements that have not left yet: the addresses go.
type Silence struct{ Instance string }

// Say is a log line. Detail lines are those that keepalived prints only with -D.
type Say struct {
	Instance string
	Text     string
	Warning  bool
	Detail   bool
}

func (Send) effect()            {}
func (AddAddresses) effect()    {}
func (RemoveAddresses) effect() {}
func (Announce) effect()        {}
func (Change) effect()          {}
func (Say) effect()             {}
func (Weaker) effect()          {}
func (Silence) effect()         {}
