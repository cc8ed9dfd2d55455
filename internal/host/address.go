package host

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Address is an address that is to be on an interface, with the attributes that keepalived gives one. Its fields are
// those of vrrp.Address, in the same order, so that one converts to the other.
type Address struct {
	Prefix netip.Prefix // the address and its length; which length is the default is the caller's business
	Dev    string
	Label  string     // If empty, none.
	Scope  string     // global, site, link, host, nowhere or 0..255. If empty, global.
	Brd    netip.Addr // If zero, none.
	Peer   netip.Addr // the other end of a point-to-point link, whose length is Prefix's. If zero, none.

	Home, NoDAD, ManageTemp, NoPrefixRoute, AutoJoin bool // flags of ip-address(8)

	Preferred    uint32 // seconds for which it is a source by preference, the largest number for ever
	PreferredSet bool   // If not, for ever; an IPv6 /128 never.
}

func (a Address) String() string { return a.Prefix.String() + " dev " + a.Dev }

// Assigned is an address as the kernel has it.
type Assigned struct {
	Ifindex    int
	Prefix     netip.Prefix
	Label      string
	Scope      uint8 // RT_SCOPE_ number: 0 is global
	Brd        netip.Addr
	Proto      uint8 // who added it, 0 where nobody said or the kernel (before 5.18) does not keep it
	Secondary  bool  // IPv4: another address of the same network came first
	Deprecated bool
	Tentative  bool
}

// AddAddress puts a on its interface. That it is there already is no error. An unknown interface is a
// *NoInterfaceError.
//
// keepalived: protocol 18; IPv6 without duplicate address detection, because the other director may still hold the
// address for a moment; an IPv6 /128 is deprecated, so that it is not chosen as the source of this host's own traffic.
func AddAddress(a Address) error {
	link, err := addressLink(a)
	if err == nil {
		var body []byte
		if body, err = newAddress(a, link.Index); err == nil {
			_, err = request(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_ACK, body)
		}
	}
	if err == nil || errors.Is(err, unix.EEXIST) {
		return nil
	}
	return fmt.Errorf("add address %s: %w", a, gone(err, a.Dev))
}

// DelAddress takes a off its interface. That it (or the interface) is not there is no error. Label, scope and
// broadcast do not matter: an address that was added with others is the same address.
func DelAddress(a Address) error {
	link, err := addressLink(a)
	if errors.Is(err, ErrNoInterface) {
		return nil
	}
	if err == nil {
		_, err = request(unix.RTM_DELADDR, unix.NLM_F_ACK, bareAddress(a, link.Index, 0))
	}
	if err == nil || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return fmt.Errorf("remove address %s: %w", a, err)
}

// addressLink finds the interface of a, after a itself has been looked at.
func addressLink(a Address) (Link, error) {
	if !a.Prefix.IsValid() {
		return Link{}, errors.New("not an address")
	}
	return LinkByName(a.Dev)
}

// gone turns the kernel's "no such device" into the typed error: the link went between look-up and use.
func gone(err error, dev string) error {
	if errors.Is(err, unix.ENODEV) {
		return &NoInterfaceError{Name: dev}
	}
	return err
}

// bareAddress is an ifaddrmsg with the address alone.
func bareAddress(a Address, ifindex int, scope uint8) []byte {
	ip := a.Prefix.Addr()
	b := []byte{family(ip), uint8(a.Prefix.Bits()), 0, scope}
	b = native.AppendUint32(b, uint32(ifindex))
	b = append(b, attr(unix.IFA_LOCAL, ip.AsSlice())...)
	if a.Peer.IsValid() {
		ip = a.Peer
	}
	return append(b, attr(unix.IFA_ADDRESS, ip.AsSlice())...)
}

// newAddress is the body of the RTM_NEWADDR for a.
func newAddress(a Address, ifindex int) ([]byte, error) {
	scope, err := scopeNumber(a.Scope)
	if err != nil {
		return nil, err
	}
	b := bareAddress(a, ifindex, scope)
	b = append(b, attr(ifaProto, []byte{Protocol})...)
	if a.Label != "" {
		b = append(b, attrString(unix.IFA_LABEL, a.Label)...)
	}
	if a.Brd.Is4() && a.Prefix.Addr().Is4() {
		b = append(b, attr(unix.IFA_BROADCAST, a.Brd.AsSlice())...)
	}
	if flags := a.flags(); flags != 0 {
		b = append(b, attrUint32(unix.IFA_FLAGS, flags)...)
	}
	if life := a.lifetime(); life != forever {
		// struct ifa_cacheinfo: preferred and valid lifetime in seconds, then two time stamps that are not read.
		info := native.AppendUint32(native.AppendUint32(nil, life), forever)
		b = append(b, attr(unix.IFA_CACHEINFO, append(info, make([]byte, 8)...))...)
	}
	return b, nil
}

const forever = math.MaxUint32 // INFINITY_LIFE_TIME of linux/if_addr.h

func (a Address) flags() (flags uint32) {
	for flag, set := range map[uint32]bool{
		unix.IFA_F_NODAD:          a.NoDAD || a.Prefix.Addr().Is6(),
		unix.IFA_F_HOMEADDRESS:    a.Home,
		unix.IFA_F_MANAGETEMPADDR: a.ManageTemp,
		unix.IFA_F_NOPREFIXROUTE:  a.NoPrefixRoute,
		unix.IFA_F_MCAUTOJOIN:     a.AutoJoin,
	} {
		if set {
			flags |= flag
		}
	}
	return flags
}

// lifetime is the preferred one, in seconds. keepalived: an IPv4 address has none, whatever the line says.
func (a Address) lifetime() uint32 {
	switch {
	case a.Prefix.Addr().Is4():
		return forever
	case a.PreferredSet:
		return a.Preferred
	case a.Prefix.IsSingleIP():
		return 0
	}
	return forever
}

var scopes = map[string]uint8{
	"": unix.RT_SCOPE_UNIVERSE, "global": unix.RT_SCOPE_UNIVERSE, "site": unix.RT_SCOPE_SITE,
	"link": unix.RT_SCOPE_LINK, "host": unix.RT_SCOPE_HOST, "nowhere": unix.RT_SCOPE_NOWHERE,
}

// scopeNumber reads a scope as ip-address(8) writes it.
func scopeNumber(s string) (uint8, error) {
	if n, ok := scopes[s]; ok {
		return n, nil
	}
	n, err := strconv.ParseUint(s, 0, 8)
	if err != nil {
		return 0, fmt.Errorf("scope %q is none of global, site, link, host, nowhere, 0..255", s)
	}
	return uint8(n), nil
}

// AllAddresses lists the addresses of every interface, in the kernel's order.
func AllAddresses() ([]Assigned, error) {
	bodies, err := dump(unix.RTM_GETADDR, "addresses", make([]byte, ifaddrmsgLen))
	if err != nil {
		return nil, err
	}
	var all []Assigned
	for _, b := range bodies {
		if a, ok := parseAddress(b); ok {
			all = append(all, a)
		}
	}
	return all, nil
}

// Addresses lists the addresses of one interface, in the kernel's order: those of IPv4 first, the oldest primary first.
func Addresses(dev string) ([]Assigned, error) {
	link, err := LinkByName(dev)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	all, err := AllAddresses()
	return slices.DeleteFunc(all, func(a Assigned) bool { return a.Ifindex != link.Index }), err
}

// HasAddress tells whether a, with its length, is on its interface. An unknown interface has no address.
func HasAddress(a Address) (bool, error) {
	all, err := Addresses(a.Dev)
	if errors.Is(err, ErrNoInterface) {
		return false, nil
	}
	return slices.ContainsFunc(all, func(have Assigned) bool { return have.Prefix == a.Prefix }), err
}

// PrimaryIPv4 is the address that adverts on dev leave from: the first that is neither one of vips nor secondary, or
// failing that the first that is not one of vips (a VIP of the same network that survived a killed daemon can have made
// the interface's own address the secondary one). None is ErrNoAddress.
func PrimaryIPv4(dev string, vips []netip.Addr) (netip.Addr, error) {
	return primary(dev, func(all []Assigned) (netip.Addr, bool) { return choosePrimary(all, vips) })
}

// LinkLocal is the address that IPv6 adverts on dev leave from (RFC 9568 §5.1.2.1): its first link-local one that is
// none of vips and whose duplicate address detection is over. None is ErrNoAddress.
func LinkLocal(dev string, vips []netip.Addr) (netip.Addr, error) {
	return primary(dev, func(all []Assigned) (netip.Addr, bool) { return chooseLinkLocal(all, vips) })
}

func primary(dev string, choose func([]Assigned) (netip.Addr, bool)) (netip.Addr, error) {
	all, err := Addresses(dev)
	if err != nil {
		return netip.Addr{}, err
	}
	if ip, ok := choose(all); ok {
		return ip, nil
	}
	return netip.Addr{}, fmt.Errorf("interface %s: %w", dev, ErrNoAddress)
}

func choosePrimary(all []Assigned, vips []netip.Addr) (netip.Addr, bool) {
	var second netip.Addr
	for _, a := range all {
		ip := a.Prefix.Addr()
		switch {
		case !ip.Is4() || slices.Contains(vips, ip):
		case !a.Secondary:
			return ip, true
		case !second.IsValid():
			second = ip
		}
	}
	return second, second.IsValid()
}

func chooseLinkLocal(all []Assigned, vips []netip.Addr) (netip.Addr, bool) {
	i := slices.IndexFunc(all, func(a Assigned) bool {
		ip := a.Prefix.Addr()
		return ip.Is6() && ip.IsLinkLocalUnicast() && !a.Tentative && !slices.Contains(vips, ip)
	})
	if i < 0 {
		return netip.Addr{}, false
	}
	return all[i].Prefix.Addr(), true
}

// parseAddress reads an ifaddrmsg. Where a peer is set, IFA_LOCAL is the host's own address and IFA_ADDRESS the peer's;
// IPv6 gives IFA_ADDRESS alone.
func parseAddress(b []byte) (Assigned, bool) {
	if len(b) < ifaddrmsgLen {
		return Assigned{}, false
	}
	var local, other netip.Addr
	flags := uint32(b[2])
	a := Assigned{Scope: b[3], Ifindex: int(int32(native.Uint32(b[4:])))}
	eachAttr(b[ifaddrmsgLen:], func(typ uint16, val []byte) {
		switch typ {
		case unix.IFA_LOCAL:
			local = address(val)
		case unix.IFA_ADDRESS:
			other = address(val)
		case unix.IFA_BROADCAST:
			a.Brd = address(val)
		case unix.IFA_LABEL:
			a.Label = text(val)
		case unix.IFA_FLAGS:
			flags = number(val)
		case ifaProto:
			if len(val) > 0 {
				a.Proto = val[0]
			}
		}
	})
	if !local.IsValid() {
		local = other
	}
	a.Prefix = netip.PrefixFrom(local, int(b[1]))
	a.Secondary = local.Is4() && flags&unix.IFA_F_SECONDARY != 0
	a.Deprecated = flags&unix.IFA_F_DEPRECATED != 0
	a.Tentative = flags&unix.IFA_F_TENTATIVE != 0
	return a, a.Ifindex > 0 && a.Prefix.IsValid()
}
