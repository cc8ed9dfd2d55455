package plane

import (
	"errors"
	"slices"

	"vipd/internal/lb"
)

// Syncer is a plane that tells other directors of its connections and learns of theirs.
type Syncer interface {
	// StartSync starts one half. ErrSyncRuns, ErrNoInterface; ErrInvalid while a real server of another family than its service
	// exists.
	StartSync(lb.SyncDaemon) error
	// StopSync ends one half. ErrNoSync.
	StopSync(master bool) error
	// Syncs are the halves that run, master first.
	Syncs() ([]lb.SyncDaemon, error)
}

// The errors of a Syncer.
var (
	ErrSyncRuns    = errors.New("the synchronisation daemon runs already") // EEXIST
	ErrNoSync      = errors.New("no such synchronisation daemon runs")     // ESRCH
	ErrNoInterface = errors.New("no such interface")                       // ENODEV
)

// MixedFamilies reports whether a real server is of another address family than its service, which synchronisation cannot say.
func MixedFamilies(pools []Pool) bool {
	return slices.ContainsFunc(pools, func(p Pool) bool {
		return slices.ContainsFunc(p.Reals, func(r Real) bool { return mixed(p.Service.ServiceKey, r.Real) })
	})
}

func mixed(k lb.ServiceKey, r lb.Real) bool { return k.Is6() != r.Addr.Addr().Is6() }

// CheckSync refuses a step that synchronisation cannot say, while it runs: ErrInvalid, as the kernel has it.
func CheckSync(op Op, syncs []lb.SyncDaemon) error {
	if len(syncs) > 0 && (op.Verb == AddReal || op.Verb == EditReal) && mixed(op.Service.ServiceKey, op.Real) {
		return ErrInvalid
	}
	return nil
}

// StartSync implements Syncer. All interfaces are Ethernets but for what SetMTU says.
func (m *Memory) StartSync(d lb.SyncDaemon) error {
	have, err := m.Read()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err = m.syncs.Start(d, have, m.mtu)
	return err
}

func (m *Memory) mtu(name string) (int, error) {
	mtu, said := m.mtus[name]
	switch {
	case !said:
		return 1500, nil
	case mtu == 0:
		return 0, ErrNoInterface
	}
	return mtu, nil
}

// StopSync implements Syncer.
func (m *Memory) StopSync(master bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.syncs.Stop(master)
}

// Syncs implements Syncer.
func (m *Memory) Syncs() ([]lb.SyncDaemon, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.syncs.List(), nil
}

// SyncHalves are the halves that run, by their rules.
type SyncHalves struct{ halves []lb.SyncDaemon }

// Start notes that d runs, with nothing left unsaid, which is returned. ErrInvalid with these pools, what mtu says of its interface,
// ErrSyncRuns.
func (h *SyncHalves) Start(d lb.SyncDaemon, pools []Pool, mtu func(name string) (int, error)) (lb.SyncDaemon, error) {
	if MixedFamilies(pools) {
		return d, ErrInvalid
	}
	n, err := mtu(d.Interface)
	if err != nil {
		return d, err
	}
	if h.at(d.Master) >= 0 {
		return d, ErrSyncRuns
	}
	d = d.On(n)
	h.halves = append(h.halves, d)
	return d, nil
}

// Stop notes that a half runs no more. ErrNoSync.
func (h *SyncHalves) Stop(master bool) error {
	at := h.at(master)
	if at < 0 {
		return ErrNoSync
	}
	h.halves = slices.Delete(h.halves, at, at+1)
	return nil
}

// List is master first.
func (h *SyncHalves) List() []lb.SyncDaemon {
	list := slices.Clone(h.halves)
	slices.SortFunc(list, func(a, b lb.SyncDaemon) int {
		if a.Master {
			return -1
		}
		return 1
	})
	return list
}

func (h *SyncHalves) at(master bool) int {
	return slices.IndexFunc(h.halves, func(d lb.SyncDaemon) bool { return d.Master == master })
}
