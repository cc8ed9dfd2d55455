package conf

import (
	"fmt"
)

// settleAddresses looks at interfaces and addresses.
func (l *loader) settleAddresses(v *instance) bool {
	if v.VMAC != nil && v.Strict && v.XmitBase {
		l.conflict(v, "xmit_base is incompatible with strict mode - resetting")
		v.XmitBase = false
	}
	if v.PromoteSecondaries && (v.VMAC != nil || v.IPVLAN != nil) {
		l.conflict(v, "promote_secondaries is automatically set for vmacs - ignoring")
		v.PromoteSecondaries = false
	}
	if p := v.IPVLAN; p != nil {
		switch {
		case !v.V6 && !p.Addr.IsValid():
			l.conflict(v, "IPv4 ipvlan requires a source ip address to be configured. setting instance to fault state")
			v.Defect = "use_ipvlan without an address"
		case p.Addr.IsValid() && p.Addr.Addr().Is6() != v.V6:
			l.conflict(v, "IPv4 ipvlan address family does not match instance. setting instance to fault state")
			v.Defect = "the address of use_ipvlan is of the other family"
		}
	}
	kept := v.Track.Interfaces[:0]
	for _, t := range v.Track.Interfaces {
		if t.Name == v.Interface {
			l.after(Warning, "own-interface", v.trackedAt[t.Name], fmt.Sprintf("(%s) Ignoring track_interface %s since own interface", v.Name, v.Interface)).
				Hint = "an instance always tracks its own interface"
			continue
		}
		kept = append(kept, t)
	}
	v.Track.Interfaces = kept
	if v.XmitBase && v.VMAC == nil {
		l.conflict(v, "vmac_xmit_base is only valid with a vmac")
		v.XmitBase = false
	}
	l.addressVMACs(v)
	if len(v.Addresses) == 0 && !(v.NoVIP && l.pass == passAll) {
		if v.V6 {
			l.after(Error, "no-vip", v.place, "("+v.Name+") No VIP specified; at least one is required").Hint = "add: virtual_ipaddress { ADDR }"
			return false
		}
		if l.pass != passAll {
			l.after(Warning, "no-vip", v.place, "("+v.Name+") No VIP specified; at least one is sensible")
		}
	}
	return true
}

// addressVMACs looks at use_vmac of addresses.
func (l *loader) addressVMACs(v *instance) {
	for _, list := range [][]Address{v.Addresses, v.ExcludedAddresses} {
		for i := range list {
			a := &list[i]
			if !a.VMAC {
				continue
			}
			own := a.Dev == "" || a.Dev == v.Interface
			same := a.Prefix.Addr().Is6() == v.V6
			switch {
			case own && v.VMAC != nil && same:
				l.conflict(v, "use_vmac specified for VIP/eVIP "+a.Text+" and vrrp instance")
				a.VMAC = false
			case (!own || !same) && v.VMACAddr:
				l.conflict(v, "use_vmac_addr specified and use_vmac specified for VIP/eVIP "+a.Text)
				a.VMAC = false
			}
		}
	}
}
