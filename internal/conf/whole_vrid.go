package conf

import (
	"fmt"
	"net/netip"
)

// sharedVRIDs reports instances that would hear each other. In one reading of everything the second one is left out.
func (l *loader) sharedVRIDs(usable map[*instance]bool) bool {
	found := false
	near := map[vridKey][]*instance{} // few of many can hear each other at all
	for _, v := range l.vis {
		near[v.vridKey()] = append(near[v.vridKey()], v)
	}
	for _, v := range l.vis {
		key := v.vridKey()
		near[key] = near[key][1:] // v itself
		for _, o := range near[key] {
			if !usable[v] || !usable[o] || v.Unicast && !l.samePeers(v, o) {
				continue
			}
			text := fmt.Sprintf("(%s) duplicate VRID conflict with %s VRID %d", v.Name, o.Name, v.VRID)
			if !v.Unicast {
				text = fmt.Sprintf("%s and %s both use VRID %s", v.Name, o.Name, v.onKey())
			}
			// keepalived refuses to start with this.
			d := l.after(Error, "duplicate-vrid", o.place, text)
			d.Hint = fmt.Sprintf("give one of them another virtual_router_id, 1..255; %s is at line %d", v.Name, v.tok.Line)
			if found = l.pass != passAll; !found {
				usable[o] = false
			}
		}
	}
	return found
}

// vridKey is what instances have in common that hear each other, with unicast if they have a peer in common too.
type vridKey struct {
	vrid     uint8
	v6       bool
	unicast  bool
	on       string
	mcastDst netip.Addr
}

func (v *instance) vridKey() vridKey {
	k := vridKey{vrid: v.VRID, v6: v.V6, unicast: v.Unicast}
	if !v.Unicast {
		k.on, k.mcastDst = v.Interface, v.McastDst
	}
	return k
}

// samePeers tells unicast instances that share interface, source and a peer.
func (l *loader) samePeers(v, o *instance) bool {
	if v.Interface != "" && o.Interface != "" && v.Interface != o.Interface || v.ownsInterface() || o.ownsInterface() {
		return false
	}
	from, ok1 := l.source(v)
	to, ok2 := l.source(o)
	if from != to || !ok1 || !ok2 {
		return false
	}
	for _, p := range v.Peers {
		for _, q := range o.Peers {
			if p.Addr == q.Addr {
				return true
			}
		}
	}
	return false
}

// ownsInterface tells an instance whose adverts have an interface that it makes itself.
func (v *instance) ownsInterface() bool { return v.VMAC != nil || v.IPVLAN != nil }

// source is where the adverts of an instance come from. It gives false where Test finds no address on the interface, and
// the zero address, which all instances of an interface share, where nothing is asked.
func (l *loader) source(v *instance) (netip.Addr, bool) {
	switch {
	case v.SourceSet:
		return v.Source, true
	case v.Interface == "":
		return netip.Addr{}, l.pass == passAll
	case l.host == nil || l.host.Interfaces == nil:
		return netip.Addr{}, true
	}
	host, _ := l.host.Interfaces(v.Interface)
	if v.V6 {
		return host.V6, host.V6.IsValid()
	}
	return host.V4, host.V4.IsValid()
}
