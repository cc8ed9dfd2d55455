package ipvs

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"vipd/internal/lb"
	"vipd/internal/plane"
)

var _ plane.Syncer = (*Plane)(nil)

// StartSync starts a daemon of the kernel, which synchronises by itself from then on.
func (p *Plane) StartSync(d lb.SyncDaemon) error {
	err := p.client.StartSync(Sync{State: stateOf(d.Master), Interface: d.Interface, ID: uint32(d.ID), MaxLen: d.MaxLen, Group: d.Group, Port: d.Port, TTL: d.TTL})
	return syncMeaning("start", d, err)
}

// StopSync ends one.
func (p *Plane) StopSync(master bool) error {
	return syncMeaning("stop", lb.SyncDaemon{Master: master}, p.client.StopSync(stateOf(master)))
}

// Syncs are those that the kernel runs, whoever started them.
func (p *Plane) Syncs() (all []lb.SyncDaemon, err error) {
	list, err := p.client.Syncs()
	if err != nil {
		return nil, fmt.Errorf("list the sync daemons: %w", err)
	}
	slices.SortFunc(list, func(a, b Sync) int { return cmp.Compare(a.State, b.State) })
	for _, s := range list {
		all = append(all, lb.SyncDaemon{Master: s.State == SyncMaster, Interface: s.Interface, ID: uint8(s.ID), MaxLen: s.MaxLen, Group: s.Group, Port: s.Port, TTL: s.TTL})
	}
	return all, nil
}

func stateOf(master bool) SyncState {
	if master {
		return SyncMaster
	}
	return SyncBackup
}

// syncMeanings are those of the commands of daemons.
var syncMeanings = map[syscall.Errno]error{syscall.EEXIST: plane.ErrSyncRuns, syscall.ESRCH: plane.ErrNoSync, syscall.ENODEV: plane.ErrNoInterface}

func syncMeaning(do string, d lb.SyncDaemon, err error) error {
	if err == nil {
		return nil
	}
	var errno syscall.Errno
	known := errors.As(err, &errno)
	if m := syncMeanings[errno]; known && m != nil {
		err = &refusal{errno, m}
	} else {
		err = meaning(plane.EditService, err)
	}
	return fmt.Errorf("%s the sync daemon %s: %w", do, d.Part(), err)
}
