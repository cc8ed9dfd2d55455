package daemon

import (
	"context"
	"net/netip"
	"time"

	"vipd/internal/bfd"
	"vipd/internal/host"
)

// What checks go by besides their results: which addresses this host has (ha_suspend) and BFD sessions (BFD_CHECK).

// startPool starts the machine of checks, which is then told of addresses and sessions.
func (d *daemon) startPool(ctx context.Context) {
	m := d.pool
	d.checked.Store(m)
	m.run(ctx, &d.wg)
	addresses, err := host.AllAddresses()
	if err != nil {
		d.events.Error("look at the addresses of this host: " + err.Error())
	}
	m.loop.Do(func(now time.Time) {
		m.resync(now, addresses)
		m.start(now)
	})
}

// addressChanged takes news of addresses from the host.
func (d *daemon) addressChanged(e host.Event) {
	m := d.checked.Load()
	if m == nil {
		return
	}
	switch e := e.(type) {
	case host.AddressEvent:
		m.loop.Send(func(now time.Time) { m.address(now, e.Prefix.Addr(), e.Ifindex, !e.Gone) })
	case host.Resync:
		m.loop.Send(func(now time.Time) { m.resync(now, e.Addresses) })
	}
}

// resync replaces what is known of addresses.
func (m *pool) resync(now time.Time, all []host.Assigned) {
	type place struct {
		addr  netip.Addr
		index int
	}
	here := map[place]bool{}
	for _, a := range all {
		here[place{a.Prefix.Addr(), a.Ifindex}] = true
		m.address(now, a.Prefix.Addr(), a.Ifindex, true)
	}
	for addr, on := range m.held {
		for index := range on {
			if !here[place{addr, index}] {
				m.address(now, addr, index, false)
			}
		}
	}
}

// address notes an address of one interface. The same may be on several, a link-local one above all.
func (m *pool) address(now time.Time, addr netip.Addr, index int, here bool) {
	on := m.held[addr]
	switch {
	case here && on == nil:
		m.held[addr] = map[int]bool{index: true}
	case here:
		on[index] = true
	default:
		if delete(on, index); len(on) == 0 {
			delete(m.held, addr)
		}
	}
	m.pools.Address(now, addr, len(m.held[addr]) > 0)
}

// sessionChanged takes news of a BFD session from its loop, without waiting.
func (d *daemon) sessionChanged(session string, up bool) {
	if m := d.checked.Load(); m != nil {
		m.loop.Send(func(now time.Time) { m.pools.Session(now, session, up) })
	}
}

// tellSessions tells the checks how every session is: at the start, and at a reload, which may bring new checks.
func (d *daemon) tellSessions() {
	d.bfd.loop.Do(func(time.Time) {
		for _, s := range d.bfd.sessions.Status() {
			d.sessionChanged(s.Name, s.State == bfd.Up)
		}
	})
}
