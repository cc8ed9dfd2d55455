package vrrp

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Census is what is heard of VRRP on some interfaces, of every virtual router and whoever's it is. It refuses nothing.
type Census struct {
	heard  map[heardKey]*Heard
	Broken uint64 // packets too short or too odd to say anything
}

type heardKey struct {
	link
	source netip.Addr
}

// Heard is one router of one virtual router, as its last advert has it.
type Heard struct {
	Interface   string
	Advert      Advert
	Adverts     uint64
	First, Last time.Time
}

// NewCensus makes an empty one.
func NewCensus() *Census { return &Census{heard: map[heardKey]*Heard{}} }

// maxHeard bounds the census: a flood of forged adverts fills no memory.
const maxHeard = 4096

// Hear takes a packet that arrived on an interface.
func (c *Census) Hear(now time.Time, ifname string, packet []byte) {
	a, err := Parse(packet)
	if err != nil || a.VRID == 0 {
		c.Broken++
		return
	}
	key := heardKey{link{ifname, a.VRID, a.Source.Is6()}, a.Source}
	h := c.heard[key]
	if h == nil {
		if len(c.heard) >= maxHeard {
			c.Broken++
			return
		}
		h = &Heard{Interface: ifname, First: now}
		c.heard[key] = h
	}
	h.Advert, h.Last = a, now
	h.Adverts++
}

// List gives the routers by interface, family, VRID and address.
func (c *Census) List() []Heard {
	var all []Heard
	for _, h := range c.heard {
		all = append(all, *h)
	}
	slices.SortFunc(all, func(a, b Heard) int {
		return cmp.Or(cmp.Compare(a.Interface, b.Interface), cmp.Compare(a.Advert.Source.BitLen(), b.Advert.Source.BitLen()),
			cmp.Compare(a.Advert.VRID, b.Advert.VRID), a.Advert.Source.Compare(b.Advert.Source))
	})
	return all
}

// Masters are the routers of one virtual router that were master at the same time: each sent while another did. Fewer
// than two is as it should be.
func (c *Census) Masters(ifname string, vrid uint8, v6 bool) (all []netip.Addr) {
	list := slices.DeleteFunc(c.List(), func(h Heard) bool {
		return h.Interface != ifname || h.Advert.VRID != vrid || h.Advert.Source.Is6() != v6 || h.Advert.Priority == 0
	})
	for _, a := range list {
		if slices.ContainsFunc(list, func(b Heard) bool {
			return a.Advert.Source != b.Advert.Source && a.Last.After(b.First) && b.Last.After(a.First) && a.Adverts > 1 && b.Adverts > 1
		}) {
			all = append(all, a.Advert.Source)
		}
	}
	return all
}

// Free is the lowest VRID that is neither heard on the interface nor taken, or 0.
func (c *Census) Free(ifname string, taken func(vrid uint8) bool) uint8 {
	for vrid := 1; vrid <= 255; vrid++ {
		used := taken(uint8(vrid))
		for key := range c.heard {
			used = used || key.ifname == ifname && key.vrid == uint8(vrid)
		}
		if !used {
			return uint8(vrid)
		}
	}
	return 0
}

// Own is what one of our instances says of itself, for comparison.
type Own struct {
	Name      string
	Version   uint8
	AdvertInt time.Duration
	Auth      string // none, PASS, AH or HMAC
	Sum       string // as Sums.String has it
	Unicast   bool
	VIPs      []netip.Addr
}

// Mismatch is a field in which a router differs from ours.
type Mismatch struct {
	Field, Theirs, Ours string
	Fatal               bool // neither hears the other: both become master
}

// Differs lists the fields in which a router differs from ours, the fatal ones first. keepalived says nothing of most.
func (h *Heard) Differs(own Own) (all []Mismatch) {
	a := &h.Advert
	add := func(fatal bool, field, theirs, ours string) {
		if theirs != ours {
			all = append(all, Mismatch{field, theirs, ours, fatal})
		}
	}
	add(true, "version", fmt.Sprint(a.Version), fmt.Sprint(own.Version))
	add(true, "authentication", h.Auth(), own.Auth)
	if a.Version == 2 && own.Version == 2 {
		add(true, "advert_int", a.AdvertInt.String(), own.AdvertInt.String())
	}
	add(true, "destination", multicastOr(!a.Dest.IsMulticast()), multicastOr(own.Unicast))
	if a.Version == 3 && own.Version == 3 {
		add(false, "advert_int", a.AdvertInt.String(), own.AdvertInt.String())
	}
	if a.Sum == 0 {
		add(true, "checksum", a.Sum.String(), own.Sum)
	} else if a.Version == 3 && own.Version == 3 && a.Source.Is4() {
		add(false, "checksum", a.Sum.String(), own.Sum)
	}
	add(false, "virtual addresses", joined(a.VIPs), joined(own.VIPs))
	return all
}

func multicastOr(unicast bool) string {
	if unicast {
		return "unicast"
	}
	return "multicast"
}

// joined writes addresses in their order by value: it does not matter which comes first.
func joined(list []netip.Addr) string {
	list = slices.Clone(list)
	slices.SortFunc(list, netip.Addr.Compare)
	var text []string
	for _, a := range list {
		text = append(text, a.String())
	}
	return strings.Join(text, " ")
}

// Auth is how a router signs its adverts.
func (h *Heard) Auth() string {
	switch {
	case h.Advert.Trailer != nil:
		return "HMAC"
	case h.Advert.AH != nil:
		return "AH"
	}
	return h.Advert.AuthType.String()
}
