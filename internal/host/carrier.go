package host

// TagAD in a tag says that it is 802.1ad's (0x88a8); without it it is 802.1Q's (0x8100).
const TagAD = 0x1000

// Carrier is where an interface's frames are on the wire: the interface that carries them, and the tags that they have there.
type Carrier struct {
	Ifindex int
	Tags    [2]uint16 // VLAN identifiers, outer first, each with TagAD or not. 0: none
}

// maxStack is more than anybody stacks; a loop in what the kernel said ends there.
const maxStack = 8

// carrierOf walks down from a link through VLANs, macvlans and ipvlans to the interface that carries them all. It stops above a bridge,
// which takes tags off and keeps them beside the packet, and above what is in another namespace. False if the frames have
// more than two tags.
func carrierOf(l Link, links map[int]Link) (Carrier, bool) {
	var tags []uint16 // inner first
	for range maxStack {
		lower, known := links[l.Lower]
		if !l.stacked() || !known || lower.Kind == "bridge" {
			break
		}
		if l.Kind == "vlan" {
			tags = append(tags, l.Tag)
		}
		l = lower
	}
	p := Carrier{Ifindex: l.Index}
	if len(tags) > len(p.Tags) {
		return Carrier{}, false
	}
	for i, t := range tags {
		p.Tags[len(tags)-1-i] = t
	}
	return p, true
}

// stacked tells that the link's frames are another's, with a tag or an address of its own.
func (l Link) stacked() bool {
	return (l.Kind == "vlan" || l.Kind == "macvlan" || l.Kind == "ipvlan") && l.Lower != 0
}

// Station is a MAC address of this host at a port.
type Station struct {
	Carrier
	MAC MAC
}

// stations are the addresses that VLANs and macvlans have at their ports, with the index of each: frames to them are this
// host's, as those to the port's own address are. An ipvlan has its port's.
func stations(links map[int]Link) map[Station]int {
	all := map[Station]int{}
	for _, l := range links {
		p, ok := carrierOf(l, links)
		if ok && p.Ifindex != l.Index && l.Kind != "ipvlan" && l.Up && l.Ethernet && l.MAC != (MAC{}) {
			all[Station{p, l.MAC}] = l.Index
		}
	}
	return all
}

// CarrierOf names the interface that carries the frames of the one of this name: itself, unless that is a VLAN, a macvlan or an ipvlan.
func CarrierOf(name string) string {
	all, err := Links()
	if err != nil {
		return name // whoever uses it will hear why
	}
	links := map[int]Link{}
	for _, l := range all {
		links[l.Index] = l
	}
	for _, l := range all {
		if p, ok := carrierOf(l, links); ok && l.Name == name {
			return links[p.Ifindex].Name
		}
	}
	return name
}
