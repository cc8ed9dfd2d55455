package daemon

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"vipd/internal/conf"
	"vipd/internal/host"
)

// beatEvery is how often drivers are asked for their links. keepalived: the same.
const beatEvery = time.Second

// linkbeats are the interfaces whose drivers are asked for the link, as they do not tell it by themselves
// (linkbeat_interfaces, linkbeat_use_polling).
//
// keepalived: does not hear the kernel of such an interface; here it is heard as well, so that a link that both know of
// counts at once.
type linkbeats struct {
	host   Host
	events events

	asking sync.Mutex // held while drivers are asked, which may take a while, and to change what is asked
	mu     sync.Mutex // for a moment
	all    map[string]linkbeat
}

type linkbeat struct {
	wanted, way host.Linkbeat // way "": not found yet
	down        bool
}

// linkbeatsOf are those that a file has asked, by interface, and how: "" is any way.
func linkbeatsOf(cfg *conf.Config) map[string]host.Linkbeat {
	all := map[string]host.Linkbeat{}
	for _, r := range cfg.Routers {
		if r.Interface != "" && (r.Linkbeat || cfg.Global.Process.LinkbeatPolling) {
			all[r.Interface] = ""
		}
	}
	for _, b := range cfg.Linkbeats {
		all[b.Interface] = host.Linkbeat(b.Kind)
	}
	return all
}

// set has those of a file asked from now on that something follows.
func (b *linkbeats) set(wanted map[string]host.Linkbeat, followed []string) {
	b.asking.Lock()
	defer b.asking.Unlock()
	was, now := b.all, map[string]linkbeat{}
	for name, way := range wanted {
		link, err := b.host.Link(name)
		switch {
		case !slices.Contains(followed, name):
			b.events.Info("Turning off linkbeat for "+name+" since not used for tracking", "if", name)
		case err == nil && (link.Kind == "macvlan" || link.Kind == "ipvlan"):
			b.events.Info("Turning off linkbeat for "+name+" since netlink works for vmacs/ipvlans", "if", name)
		default:
			one := was[name]
			if one.wanted != way {
				one = linkbeat{}
			}
			one.wanted = way
			now[name] = b.ask(name, one)
		}
	}
	if len(now) > 0 && len(was) == 0 {
		b.events.Info("Using MII-BMSR/ETHTOOL NIC polling thread(s)...")
	}
	b.put(now)
}

func (b *linkbeats) put(all map[string]linkbeat) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = all
}

func (b *linkbeats) get(name string) (linkbeat, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one, ok := b.all[name]
	return one, ok
}

// ask asks one driver.
func (b *linkbeats) ask(name string, one linkbeat) linkbeat {
	if one.way == "" {
		if _, err := b.host.Link(name); err != nil {
			return one // it may come
		}
		way, err := b.host.FindLinkbeat(name, one.wanted)
		if err != nil {
			b.events.Warn(err.Error(), "if", name)
			return one
		}
		if one.way = way; one.wanted != "" && way != one.wanted {
			b.events.Info(fmt.Sprintf("(%s): Configured linkbeat type %s not supported, using %s", name, one.wanted, way), "if", name)
		}
	}
	one.down = !b.host.LinkbeatUp(name, one.way)
	return one
}

// changed asks all, and gives those of another answer than before.
func (b *linkbeats) changed() (names []string) {
	b.asking.Lock()
	defer b.asking.Unlock()
	now := map[string]linkbeat{}
	for name, one := range b.all {
		now[name] = b.ask(name, one)
		if now[name].down != one.down {
			names = append(names, name)
		}
	}
	b.put(now)
	return names
}

// down tells that the driver of an interface said at last that there is no link.
func (b *linkbeats) down(name string) bool {
	one, _ := b.get(name)
	return one.down
}

// who is who tells of an interface's link.
func (b *linkbeats) who(name string) string {
	if _, polled := b.get(name); polled {
		return "Linkbeat"
	}
	return "Netlink"
}

// way is what keepalived.data says of how an interface's state is known.
func (b *linkbeats) way(name string) string {
	switch one, polled := b.get(name); {
	case !polled:
		return "netlink status update"
	case one.way == host.LinkbeatMII:
		return "support MII regs"
	case one.way == host.LinkbeatEthtool:
		return "support ETHTOOL GLINK interface"
	}
	return "ioctl refresh polling"
}

// pollLinks asks every second until ctx ends, outside of the loop.
func (a *ha) pollLinks(ctx context.Context) {
	every := time.NewTicker(beatEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		for _, name := range a.beats.changed() {
			facts := a.look(name, a.interfaces()[name])
			a.loop.Send(func(now time.Time) { a.take(now, name, facts) })
		}
	}
}
