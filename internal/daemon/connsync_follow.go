package daemon

import (
	"errors"
	"time"

	"vipd/internal/conf"
	"vipd/internal/lb"
	"vipd/internal/plane"
	"vipd/internal/vrrp"
)

// Where lvs_sync_daemon meets VRRP: a director that is master of the instance tells, one that is not listens; without an
// instance it does both all the time.

// syncWish is what lvs_sync_daemon asks for. The zero value asks for nothing.
type syncWish struct {
	daemon   lb.SyncDaemon // Interface empty: nothing
	instance string        // empty: master and backup both
	master   bool          // of the instance
}

// syncWishOf reads the configuration; masters says whether an instance is master now.
func syncWishOf(cfg *conf.Config, master func(instance string) bool) (w syncWish) {
	d := cfg.Global.SyncDaemon
	if d.Interface == "" {
		return w
	}
	w.instance = d.Instance
	w.daemon = lb.SyncDaemon{Interface: d.Interface, MaxLen: d.MaxLen, Group: d.Group, Port: d.Port, TTL: d.TTL}
	if d.ID >= 0 {
		w.daemon.ID = uint8(d.ID)
	}
	if w.instance == "" {
		return w
	}
	for _, i := range cfg.Instances {
		if i.Name != w.instance {
			continue
		}
		if d.ID < 0 {
			w.daemon.ID = i.VRID // keepalived: the virtual router's, without an instance 0
		}
		w.master = master(i.Name)
		return w
	}
	return syncWish{} // the file's check has said that there is no such instance
}

// wants is the half that is to run, if it is.
func (w syncWish) wants(master bool) (lb.SyncDaemon, bool) {
	d := w.daemon
	d.Master = master
	return d.Normal(), d.Interface != "" && (w.instance == "" || w.master == master)
}

// syncer is what starts and stops sync daemons; nil if the plane has none.
func (m *pool) syncer() plane.Syncer {
	if m.syncs != nil {
		return m.syncs
	}
	s, _ := m.plane.(plane.Syncer)
	return s
}

// wish makes the halves run that w asks for. One that was started by hand is left alone.
func (m *pool) wish(w syncWish) {
	if m.wished == w {
		return
	}
	s, old := m.syncer(), m.wished
	m.wished, m.syncFailed = w, ""
	if s == nil {
		return
	}
	for _, master := range []bool{true, false} {
		was, ran := old.wants(master)
		if now, runs := w.wants(master); ran && (!runs || now != was) {
			if err := s.StopSync(master); err != nil && !errors.Is(err, plane.ErrNoSync) {
				m.events.of("sync").Error(err.Error())
			}
		}
	}
	m.startWished()
}

// startWished starts what is to run and does not; what fails is said once, and tried again.
func (m *pool) startWished() {
	s := m.syncer()
	if s == nil || m.wished.daemon.Interface == "" {
		return
	}
	have, err := s.Syncs()
	for _, master := range []bool{false, true} {
		want, runs := m.wished.wants(master)
		if err == nil && runs && !hasHalf(have, master) {
			want.MaxLen = m.wished.daemon.MaxLen // what is not said, the interface does
			err = s.StartSync(want)
		}
	}
	failed := ""
	if err != nil {
		if failed = err.Error(); failed != m.syncFailed {
			m.events.of("sync").Error(failed)
		}
	}
	m.syncFailed = failed
}

func hasHalf(have []lb.SyncDaemon, master bool) bool {
	for _, d := range have {
		if d.Master == master {
			return true
		}
	}
	return false
}

// followSync makes the pool do what cfg's lvs_sync_daemon asks for.
func (d *daemon) followSync(cfg *conf.Config) error {
	m := d.servicePool()
	if m == nil {
		return nil
	}
	return m.ask(func() error {
		m.wish(syncWishOf(cfg, d.masterOf))
		return nil
	})
}

// masterOf says whether an instance was master when turned was told of it last.
func (d *daemon) masterOf(instance string) bool {
	state, _ := d.states.Load(instance)
	return state == vrrp.Master
}

// turned is told of each change of an instance, in the order of the changes, in the loop of the instances.
func (d *daemon) turned(instance string, to vrrp.State) {
	d.claims.turned(to)
	if to == vrrp.Init { // it begins, or is no more
		d.states.Delete(instance)
	} else {
		d.states.Store(instance, to) // before the pool is told: who asks in its loop sees this one, or is told
	}
	m := d.servicePool()
	if m == nil {
		return
	}
	m.loop.Send(func(now time.Time) {
		if m.peers != nil {
			m.peers.turnsMaster(now, to == vrrp.Master)
		}
		if w := m.wished; !m.closed && w.instance == instance && w.daemon.Interface != "" {
			w.master = d.masterOf(instance)
			m.wish(w)
		}
	})
}
