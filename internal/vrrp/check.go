package vrrp

import (
	"net/netip"
	"slices"
	"time"
)

// check applies RFC 3768 §7.1 and RFC 9568 §7.1 in keepalived's order. The VRID is known to be ours: the Speaker looked
// it up. packet is what a was read from.
func (r *Router) check(now time.Time, a *Advert, packet []byte) error {
	if err := r.checkHead(a); err != nil {
		return err
	}
	if r.cfg.HMAC.On() {
		if err := r.checkHMAC(now, a, a.messageOf(packet)); err != nil {
			return err
		}
	}
	if r.cfg.Version == 2 {
		if err := r.checkAuth(a, packet); err != nil {
			return err
		}
	}
	if err := r.checkSum(a); err != nil {
		return err
	}
	// RFC 3768 §7.1: "MUST verify that the Adver Interval in the packet is the same as the locally configured for this
	// virtual router". Version 3 learns it instead.
	if r.cfg.Version == 2 && a.AdvertInt != r.cfg.AdvertInt {
		return refuse(ReasonInterval, "advertisement interval mismatch with %s mine=%d sec rcv'd=%d sec",
			a.Source, r.cfg.AdvertInt/time.Second, a.AdvertInt/time.Second).versus("advert_int", a.AdvertInt, r.cfg.AdvertInt)
	}
	return r.checkSender(a)
}

func (r *Router) checkHead(a *Advert) error {
	switch {
	case (a.AH != nil) != (r.cfg.AuthType == AuthAH) && a.AH != nil:
		return refuse(ReasonAuthType, "Received AH header but auth type not AH").versus("authentication", AuthAH, r.cfg.AuthType)
	case (a.AH != nil) != (r.cfg.AuthType == AuthAH):
		return refuse(ReasonAuthType, "No AH header but auth type is AH").versus("authentication", a.AuthType, AuthAH)
	case a.Trailer != nil && !r.cfg.HMAC.On():
		// keepalived: to one without auth_hmac such a packet is too long.
		return refuse(ReasonLength, "vrrp packet from %s too long, by an authentication trailer with key %d", a.Source, a.Trailer.Key).
			versus("auth_hmac", "signed", "none")
	// RFC 9568 §7.1: "It MUST verify that the IPv4 TTL or IPv6 Hop Limit is 255." keepalived: not with unicast.
	case a.TTL != ttlOnLink && !r.cfg.Unicast:
		return refuse(ReasonTTL, "invalid TTL/HL. Received %d and expect %d", a.TTL, ttlOnLink).versus("TTL", a.TTL, ttlOnLink)
	// "It MUST verify that the VRRP version is 3."
	case a.Version != r.cfg.Version:
		return refuse(ReasonVersion, "wrong version. Received %d and expect %d", a.Version, r.cfg.Version).versus("version", a.Version, r.cfg.Version)
	// "It MUST verify that the VRRP packet type is 1 (ADVERTISEMENT)."
	case a.Type != typeAdvert:
		return refuse(ReasonType, "Invalid packet type. %d and expect %d", a.Type, typeAdvert).versus("type", a.Type, typeAdvert)
	}
	return nil
}

// checkAuth: RFC 3768 §7.1: "MUST verify that the Auth Type matches the locally configured authentication method for the
// virtual router and perform that authentication method."
func (r *Router) checkAuth(a *Advert, packet []byte) error {
	switch {
	case a.AuthType != r.cfg.AuthType:
		return refuse(ReasonAuthType, "received a %d auth, expecting %d!", uint8(a.AuthType), uint8(r.cfg.AuthType)).versus("authentication", a.AuthType, r.cfg.AuthType)
	case a.AuthType == AuthPass && !equal(a.AuthData, r.password):
		return refuse(ReasonPassword, "received an invalid passwd!").versus("auth_pass", "another", "the one in the file")
	case a.AuthType == AuthAH:
		if err := r.checkAH(a, packet); err != nil {
			return err
		}
	}
	return nil
}

// equal takes the same time wherever the first difference is, so that a password cannot be guessed byte by byte.
func equal(a, b [authLen]byte) bool {
	var diff byte
	for i := range a {
		diff |= a[i] ^ b[i]
	}
	return diff == 0
}

// checkSum: "It MUST verify the VRRP checksum." Of version 3 over IPv4 every way is taken: what is wrong in one way is
// hardly ever right in another, and routers that differ in this alone should not both become master.
//
// keepalived: it takes its own way only, and old unicast senders' unless told never to; with v3_checksum_as_v2 a wrong
// checksum too.
func (r *Router) checkSum(a *Advert) error {
	right := a.Sum
	if r.cfg.OldChecksum == ChecksumNever && r.cfg.Unicast {
		right &^= SumGroup
	}
	if right != 0 {
		return nil
	}
	return refuse(ReasonChecksum, "Invalid VRRPv%d checksum", r.cfg.Version).versus("checksum", a.Sum, r.dialect())
}

// checkSender looks at who sent it and how.
func (r *Router) checkSender(a *Advert) error {
	switch {
	case a.Dest.IsMulticast() && r.cfg.Unicast:
		return refuse(ReasonDestination, "Expected unicast packet but received multicast packet").versus("destination", a.Dest, r.source)
	case !a.Dest.IsMulticast() && !r.cfg.Unicast:
		return refuse(ReasonDestination, "Expected multicast packet but received unicast packet").versus("destination", a.Dest, r.cfg.McastDst)
	case r.cfg.OwnerIgnores && r.priority == 255:
		return refuse(ReasonOwner, "Dropping packet(s) from %s since we are address owner", a.Source).versus("priority", a.Priority, 255)
	case !r.cfg.Unicast || !r.cfg.CheckUnicastSrc:
		return nil
	}
	i := slices.IndexFunc(r.cfg.Peers, func(p Peer) bool { return p.Addr == a.Source })
	if i < 0 {
		return refuse(ReasonSource, "unicast source address %s not a unicast peer", a.Source).versus("source", a.Source, "a unicast_peer")
	}
	if p := r.cfg.Peers[i]; a.TTL < p.MinTTL || a.TTL > p.MaxTTL {
		return refuse(ReasonTTL, "TTL/HL %d not in range %d - %d", a.TTL, p.MinTTL, p.MaxTTL).versus("TTL", a.TTL, [2]uint8{p.MinTTL, p.MaxTTL})
	}
	return nil
}

func (r *Router) isPeer(addr netip.Addr) bool {
	return slices.ContainsFunc(r.cfg.Peers, func(p Peer) bool { return p.Addr == addr })
}

// compareVIPs: "MAY verify that "Count IP Addrs" and the list of IP Address matches the IP_Addresses configured for
// the VRID. If the above check fails, the receiver SHOULD log the event … If the packet was not generated by the
// address owner …, the receiver MUST drop the packet". keepalived: since 2.3.3 it logs, counts and accepts, as here: a
// list that is being changed on one router after the other must not make two masters.
//
// With skip_check_adv_addr the addresses are compared only when the master is a new one, their number always.
func (r *Router) compareVIPs(a *Advert, known bool) {
	if slices.Equal(a.VIPs, r.vips) {
		return // the usual case, in order
	}
	if len(a.VIPs) != len(r.vips) {
		r.counters.AddressList++
		r.warnOnce("vip_count", "expected %d VIPs but received %d", len(r.vips), len(a.VIPs))
		return
	}
	if known && r.cfg.SkipCheckAdvAddr {
		return
	}
	missing := slices.IndexFunc(r.vips, func(vip netip.Addr) bool { return !slices.Contains(a.VIPs, vip) })
	if missing >= 0 {
		r.counters.AddressList++
		r.warnOnce("vip_list", "ip address associated with VRID %d not present in advert from %s: %s", r.cfg.VRID, a.Source, r.vips[missing])
	}
}
