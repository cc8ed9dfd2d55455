package lab

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"

	"vipd/internal/control"
)

// Sight is what can be seen of a director at one moment.
type Sight struct {
	Host   string
	Up     bool // its control socket answers
	Status control.Status
	VIP    bool // its host has the virtual IP; a director that was killed keeps it
}

// ask asks a daemon over its control socket.
func ask(ctx context.Context, instance string) (control.Status, error) {
	c, err := control.Dial(instance)
	if err != nil {
		return control.Status{}, err
	}
	return c.Status(ctx)
}

// Look sees every director. A director that does not answer is simply not up.
func (l *Lab) Look(ctx context.Context) []Sight {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var out []Sight
	for _, host := range l.Directors {
		s := Sight{Host: host, VIP: l.holdsVIP(host)}
		if st, err := l.Ask(ctx, l.InstanceOf(host)); err == nil {
			s.Up, s.Status = true, st
		}
		out = append(out, s)
	}
	return out
}

// holdsVIP asks the host's kernel, not its director.
func (l *Lab) holdsVIP(host string) bool {
	found := false
	err := l.built.inside(host, func() error {
		addrs, err := netlink.AddrList(nil, netlink.FAMILY_V4)
		for _, a := range addrs {
			if ip, ok := netip.AddrFromSlice(a.IP.To4()); ok && ip == l.VIP.Addr() {
				found = true
			}
		}
		return err
	})
	return err == nil && found
}

// State is the director's VRRP state, in a word.
func (s Sight) State() string {
	if !s.Up {
		return "down"
	}
	if len(s.Status.VRRP) == 0 {
		return "no VRRP"
	}
	return s.Status.VRRP[0].State
}

// Master tells whether the director says it is the active one.
func (s Sight) Master() bool { return s.State() == "MASTER" }

// service finds the virtual service of the site.
func (s Sight) service(vip netip.AddrPort) (control.Service, bool) {
	for _, svc := range s.Status.Services {
		if svc.Addr == vip {
			return svc, true
		}
	}
	return control.Service{}, false
}

// InPool tells whether the director sends new connections to the real server.
func (s Sight) InPool(vip netip.AddrPort, real netip.Addr) bool {
	svc, _ := s.service(vip)
	for _, pool := range append([]control.Service{svc}, s.Status.Services...) { // the method content has pools beside the service's
		for _, r := range pool.Reals {
			if r.Real.Addr.Addr() == real {
				return r.InPool && r.Weight > 0
			}
		}
	}
	return false
}

// active returns the one director that is master, or an error that says how it is instead.
func active(all []Sight) (Sight, error) {
	var found []Sight
	said := ""
	for _, s := range all {
		if s.Master() {
			found = append(found, s)
		}
		said += fmt.Sprintf(", %s is %s", s.Host, s.State())
	}
	if len(found) != 1 {
		return Sight{}, fmt.Errorf("%d directors are master%s", len(found), said)
	}
	return found[0], nil
}

// others returns the sights but that of host.
func others(all []Sight, host string) []Sight {
	var out []Sight
	for _, s := range all {
		if s.Host != host {
			out = append(out, s)
		}
	}
	return out
}
