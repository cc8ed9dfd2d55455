package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"vipd/internal/lb"
)

// Where leaving on purpose meets synchronisation: an address is given up when the peers have what is open, and where nobody
// takes over when nothing is open any more.

// syncedPeer is how far one peer is with the connections that were open at a moment.
type syncedPeer struct {
	all  bool // it has acknowledged every one, or said that it cannot keep it
	text string
}

// synced looks at each peer, in the loop: does it have all that was in the table at since?
func (p *peering) synced(now, since time.Time) (all []syncedPeer) {
	for _, peer := range p.peers {
		one := syncedPeer{text: fmt.Sprintf("peer %s is not heard", peer.addr.Addr())}
		if peer.stream != nil {
			one = syncedPeer{text: fmt.Sprintf("peer %s has no connections yet", peer.addr.Addr())}
			switch st := peer.stream.Status(now); {
			case !st.Alive:
				one.text = fmt.Sprintf("peer %s is %s", peer.addr.Addr(), silence(st.Silent))
			case st.Lag >= 0:
				one.all = st.Lag <= now.Sub(since)
				one.text = fmt.Sprintf("peer %s has %s %% of %s connections, %d ms behind", peer.addr.Addr(), percent(st.Has, st.Total), thousands(st.Total), st.Lag.Milliseconds())
				if st.Refused > 0 {
					one.text += fmt.Sprintf("; it could not keep %d", st.Refused)
				}
			}
		}
		all = append(all, one)
	}
	return all
}

// percent never says 100 of what is not all.
func percent(has, of uint32) string {
	if has >= of {
		return "100"
	}
	return fmt.Sprintf("%.2f", min(float64(has)*100/float64(of), 99.99))
}

// awaitPeers waits until each peer of connection_sync has all connections that are open now, and says what is known.
func (d *daemon) awaitPeers(ctx context.Context, bound time.Duration, said *[]string) error {
	m := d.servicePool()
	if m == nil {
		return nil // nothing is forwarded
	}
	began := time.Now()
	var hurried time.Time
	return waitForPeers(ctx, bound, func(text string) { d.sayLeaving(said, text) }, func() (peers []syncedPeer, runs bool, err error) {
		err = m.ask(func() error {
			if runs = m.peers != nil; runs {
				if now := time.Now(); m.peers.wire != nil && now.Sub(hurried) >= turning { // whatever the interval is
					hurried = now
					m.peers.turnsMaster(now, false)
				}
				peers = m.peers.synced(time.Now(), began)
			}
			return nil
		})
		return peers, runs, err
	})
}

// waitForPeers waits until look finds none that lacks something, for bound at most.
func waitForPeers(ctx context.Context, bound time.Duration, say func(string), look func() (peers []syncedPeer, runs bool, err error)) error {
	var peers []syncedPeer
	for began := time.Now(); ; {
		var runs bool
		var err error
		if peers, runs, err = look(); err != nil {
			return err
		}
		if !runs {
			say("no connection_sync: it is not known which connections the other director has")
			return nil
		}
		if time.Since(began) >= bound || !slices.ContainsFunc(peers, func(p syncedPeer) bool { return !p.all }) {
			break
		}
		if !pause(ctx, peekEvery) {
			return ctx.Err()
		}
	}
	var late []string
	for _, p := range peers {
		if say(p.text); !p.all {
			late = append(late, p.text)
		}
	}
	if late == nil {
		return nil
	}
	return fail(ExitFatal, "nothing was interrupted; --wait waits for longer, --now does it all the same and loses what the peer lacks",
		"not within %s: %s", bound, strings.Join(late, ", "))
}

func (d *daemon) sayLeaving(said *[]string, text string) {
	d.events.of("sync").Info("Leaving: " + text)
	*said = append(*said, text)
}

// drainAll goes on without new connections until the open ones have ended, for most at most.
func (d *daemon) drainAll(ctx context.Context, most time.Duration, said *[]string) {
	m := d.servicePool()
	if m == nil || most <= 0 {
		return
	}
	d.quiesce(true)
	began := time.Now()
	first, left := -1, 0
	for {
		if err := m.ask(func() (err error) { left, err = m.active(); return err }); err != nil {
			d.events.Error("drain: " + err.Error())
			return
		}
		if first < 0 {
			first = left
			d.sayLeaving(said, fmt.Sprintf("nobody takes over: no new connections from now on, %d are open", first))
		}
		if left == 0 || time.Since(began) >= most || !pause(ctx, peekEvery) {
			break
		}
	}
	d.sayLeaving(said, fmt.Sprintf("after %s %d of %d connections are open", time.Since(began).Round(100*time.Millisecond), left, first))
}

// quiesce has no real server get new connections, or all again.
func (d *daemon) quiesce(on bool) {
	m := d.servicePool()
	if m == nil {
		return
	}
	err := m.ask(func() error {
		if m.quiet != on {
			m.quiet = on
			m.sync()
		}
		return nil
	})
	if err != nil && !errors.Is(err, errStopping) {
		d.events.Error(err.Error())
	}
}

// without is what is wanted, but for new connections.
func without(want []lb.Pool) []lb.Pool {
	out := slices.Clone(want)
	for i, p := range out {
		out[i].Reals = slices.Clone(p.Reals)
		for k := range out[i].Reals {
			out[i].Reals[k].Weight = 0
		}
	}
	return out
}

// active is how many connections are open.
func (m *pool) active() (n int, err error) {
	have, err := m.plane.Read()
	for _, p := range have {
		for _, r := range p.Reals {
			n += int(r.Active)
		}
	}
	return n, err
}
