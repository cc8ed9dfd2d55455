package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"vipd/internal/control"
	"vipd/internal/host"
	"vipd/internal/lb"
	"vipd/internal/plane"
)

// What is set by hand of the packet path holds over a restart until the host boots, as what sysctl and ipvsadm say to the kernel's
// IPVS does: settings, and sync daemons. The pinned maps have no room for those of synchronisation, and a stop removes the maps.

// keptVersion is raised when the file could no longer be read by its meaning.
const keptVersion = 1

// handMade is settings.json. Its zero value is nothing set by hand.
type handMade struct {
	Version   int               `json:"version"`
	Boot      string            `json:"boot"`         // the kernel's boot id
	Namespace string            `json:"namespace_id"` // host.NamespaceID
	Settings  map[string]uint32 `json:"settings,omitempty"`
	Daemons   []lb.SyncDaemon   `json:"sync_daemons,omitempty"` // at most one of a part
}

func (d *daemon) keptPath() string {
	return filepath.Join(d.opts.State, d.opts.Instance, "settings.json")
}

// note takes over what was changed and not refused. It tells whether that was anything to keep.
func (k *handMade) note(changes []control.Change, answers []control.Answer) (noted bool) {
	for i, c := range changes {
		if answers[i].Errno != "" {
			continue
		}
		switch c.Do {
		case control.Tune:
			k.set(c.Setting, c.Value)
		case control.StartDaemon:
			k.Daemons = append(slices.DeleteFunc(k.Daemons, partOf(c.Daemon.Master)), c.Daemon)
		case control.StopDaemon:
			k.Daemons = slices.DeleteFunc(k.Daemons, partOf(c.Daemon.Master))
		default:
			continue
		}
		noted = true
	}
	return noted
}

// set keeps a value, also one that is what the setting begins with: sync_threshold and sync_period bound each other.
func (k *handMade) set(name string, value uint32) {
	if k.Settings == nil {
		k.Settings = map[string]uint32{}
	}
	k.Settings[name] = value
}

func partOf(master bool) func(lb.SyncDaemon) bool {
	return func(d lb.SyncDaemon) bool { return d.Master == master }
}

// keepByHand writes down what a hand has changed; the kernel keeps its own.
func (d *daemon) keepByHand(m *pool, changes []control.Change, answers []control.Answer) {
	if d.opts.State == "" || m.shared {
		return
	}
	d.handsMu.Lock()
	defer d.handsMu.Unlock()
	if !d.handMade.note(changes, answers) {
		return
	}
	if err := d.handMade.write(d.keptPath()); err != nil {
		d.events.of("operator").Error("what was set by hand is so now, but would be forgotten at a restart: " + err.Error())
	}
}

// forgetSettings is for a reload, after which the settings are what the file says.
func (d *daemon) forgetSettings() {
	d.handsMu.Lock()
	defer d.handsMu.Unlock()
	if len(d.handMade.Settings) == 0 {
		return
	}
	d.handMade.Settings = nil
	if err := d.handMade.write(d.keptPath()); err != nil {
		d.events.of("operator").Error("what was set by hand would come back at a restart: " + err.Error())
	}
}

// write replaces the file; with nothing set it goes.
func (k *handMade) write(path string) (err error) {
	if len(k.Settings) == 0 && len(k.Daemons) == 0 {
		if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	k.Version = keptVersion
	if k.Boot, k.Namespace, err = whereItHolds(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(k, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err != nil {
		return err
	}
	return replaceFile(path, append(text, '\n'))
}

func whereItHolds() (boot, namespace string, err error) {
	if boot, err = host.BootID(); err == nil {
		namespace, err = host.NamespaceID()
	}
	return boot, namespace, err
}

// restoreKept reads what was set by hand in the processes before. What cannot be used is said and is as if there was nothing.
func (d *daemon) restoreKept() {
	if d.opts.State == "" {
		return
	}
	k, err := readKept(d.keptPath())
	if err != nil {
		d.events.of("operator").Warn("what was set by hand before is not set: " + err.Error())
	}
	d.handsMu.Lock()
	defer d.handsMu.Unlock()
	d.handMade = k
}

// readKept reads the file; none, one of before the last boot and one of another network namespace are nothing set.
func readKept(path string) (k handMade, err error) {
	text, err := os.ReadFile(path) // of our own, in a directory of root's
	if errors.Is(err, fs.ErrNotExist) {
		return handMade{}, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &k)
	}
	if err == nil && k.Version != keptVersion {
		err = fmt.Errorf("it has version %d, this one reads %d", k.Version, keptVersion)
	}
	if err == nil {
		err = k.check()
	}
	if err != nil {
		return handMade{}, fmt.Errorf("read %s: %w", path, err)
	}
	boot, namespace, err := whereItHolds()
	if err != nil || k.Boot != boot || k.Namespace != namespace {
		return handMade{}, err
	}
	return k, nil
}

func (k *handMade) check() error {
	for name, value := range k.Settings {
		if _, err := plane.CheckSetting(name, value); err != nil {
			return err
		}
	}
	if len(k.Daemons) > 2 || len(k.Daemons) == 2 && k.Daemons[0].Master == k.Daemons[1].Master {
		return errors.New("more than one sync daemon of a part")
	}
	return nil
}

// keptSettings are those that were set by hand.
func (d *daemon) keptSettings() map[string]uint32 {
	d.handsMu.Lock()
	defer d.handsMu.Unlock()
	return maps.Clone(d.handMade.Settings)
}

// startKept starts the sync daemons that a hand started and none has stopped.
func (d *daemon) startKept() {
	m := d.servicePool()
	if m == nil || m.shared {
		return
	}
	d.handsMu.Lock()
	daemons := slices.Clone(d.handMade.Daemons)
	d.handsMu.Unlock()
	for _, one := range daemons {
		err := m.ask(func() error { return m.syncer().StartSync(one) })
		if err != nil && !errors.Is(err, errStopping) {
			m.events.of("sync").Error("started by hand before: " + err.Error())
		}
	}
}
