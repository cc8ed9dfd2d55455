package vrrp

import (
	"net/netip"
	"time"
)

// advertise sends an advert to the group or to each peer, and reports whether it could: without a source address there
// is none. All copies of one advert have one identification, one sequence number and one signature, as keepalived's.
func (r *Router) advertise(now time.Time, priority uint8) bool {
	if !r.source.IsValid() {
		return false
	}
	r.asked.mute = false
	r.id++
	if r.id == 0 {
		r.id = 1 // 0 makes the kernel choose one
	}
	advert := Advert{
		Source: r.source, TTL: r.ttl(), ID: r.id, Version: r.cfg.Version, VRID: r.cfg.VRID, Priority: priority,
		AuthType: r.cfg.AuthType, AdvertInt: r.cfg.AdvertInt, VIPs: r.vips, Sum: r.dialect(),
	}
	switch r.cfg.AuthType {
	case AuthPass:
		advert.AuthData = r.password
	case AuthAH:
		r.sequence++
		advert.AH = &AH{SPI: r.source.As4(), Sequence: r.sequence}
	}
	r.sign(now, &advert)
	for _, dest := range r.dests() {
		advert.Dest = dest
		r.emit(Send{Instance: r.cfg.Name, Packet: r.sealed(advert), To: dest})
	}
	r.counters.Sent++
	if priority == 0 {
		r.counters.PriorityZeroSent++
	}
	r.sentAt = now
	return true
}

func (r *Router) dests() []netip.Addr {
	if !r.cfg.Unicast {
		return []netip.Addr{r.cfg.McastDst}
	}
	var all []netip.Addr
	for _, p := range r.cfg.Peers {
		all = append(all, p.Addr)
	}
	return all
}

// kernelHops is the hop limit that a kernel gives by default.
const kernelHops = 64

func (r *Router) ttl() uint8 {
	switch {
	case !r.cfg.Unicast:
		return ttlOnLink
	case r.cfg.TTL > 0:
		return uint8(r.cfg.TTL)
	case r.cfg.V6:
		return kernelHops // keepalived: it sets none
	}
	return ttlOnLink
}

// sealed is the packet of an advert, with its AH value.
func (r *Router) sealed(a Advert) []byte {
	packet := a.Append(make([]byte, 0, ipv6Len+ahLen+headerLen+16*len(a.VIPs)+authLen+trailerLen))
	if a.AH != nil {
		value := icv(packet, r.password, r.cfg.Unicast)
		copy(packet[ipv4Len+ahLen-len(value):], value[:])
	}
	return packet
}

// dialect is the way in which the checksum is computed: the configured one, else what the peers were heard to use.
func (r *Router) dialect() Sums {
	switch {
	case r.cfg.V6:
		return SumPseudo
	case r.cfg.Version == 2 || r.cfg.V3ChecksumAsV2:
		return SumMessage
	case r.cfg.Unicast && r.cfg.OldChecksum == ChecksumOld:
		return SumGroup
	case r.learned != 0:
		return r.learned
	}
	return SumPseudo
}

// learnSum takes over the sender's way of computing checksums, if ours is not configured.
//
// keepalived: it learns SumGroup alone.
func (r *Router) learnSum(a *Advert) {
	if r.cfg.V6 || r.cfg.Version != 3 || a.Sum&r.dialect() != 0 {
		return
	}
	switch {
	case a.Sum&SumPseudo != 0:
		r.learned = 0
	case a.Sum&SumGroup != 0:
		r.learned = SumGroup
		r.warnOnce("learned", "Setting unicast VRRPv3 checksum to old version")
	default:
		r.learned = SumMessage
		r.warnOnce("learned", "Setting VRRPv3 checksum to cover the message only, as %s sends it (v3_checksum_as_v2)", a.Source)
	}
}

// assume asks for the addresses, also when they should be there: a lost one comes back.
func (r *Router) assume(term uint64) {
	r.detail("setting VIPs.")
	if len(r.cfg.Excluded) > 0 {
		r.detail("setting E-VIPs.")
	}
	r.holding = true
	r.emit(AddAddresses{Instance: r.cfg.Name, Term: term})
}

// withdraw asks for the addresses to go.
func (r *Router) withdraw() {
	r.detail("removing VIPs.")
	if len(r.cfg.Excluded) > 0 {
		r.detail("removing E-VIPs.")
	}
	r.holding = false
	r.emit(Silence{Instance: r.cfg.Name})
	r.emit(RemoveAddresses{Instance: r.cfg.Name})
}

// announce asks for repeat rounds over all addresses.
func (r *Router) announce(repeat int) {
	if repeat > 0 {
		r.emit(Announce{Instance: r.cfg.Name, Repeat: repeat, Targets: r.cfg.targets(r.cfg.VIPs, r.cfg.Excluded)})
	}
}

// targets are addresses with their devices.
func (c *Config) targets(lists ...[]Address) []Target {
	var all []Target
	for _, list := range lists {
		for _, vip := range list {
			t := Target{Dev: vip.Dev, Addr: vip.Prefix.Addr()}
			if t.Dev == "" {
				t.Dev = c.Interface
			}
			all = append(all, t)
		}
	}
	return all
}
