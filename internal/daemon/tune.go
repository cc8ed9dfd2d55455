package daemon

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"vipd/internal/control"
	"vipd/internal/lb"
	"vipd/internal/plane"
)

// Settings and classes of the data plane: from the file, and by hand.

// tune gives a plane the timeouts, settings and classes of the configuration in force. Of the packet path what no line sets
// is as a hand has set it since the last reload, else it has its default; of the kernel's IPVS it stays as it is, because it is the host's.
func (d *daemon) tune(p plane.Plane) error {
	g := d.cfg.Global
	if err := p.SetTimeouts(g.Timeouts); err != nil {
		return fmt.Errorf("set the connection timeouts: %w", err)
	}
	if tuner, ok := p.(plane.Tuner); ok {
		if err := d.tuneTo(tuner, g.Sysctls); err != nil {
			return err
		}
	}
	if d.opts.NoConfig {
		return nil
	}
	c, ok := p.(plane.Classifier)
	if !ok {
		if len(g.Classes) > 0 {
			d.events.of("plane").Warn("fwmark_class has no effect: the kernel's IPVS has firewall marks from netfilter")
		}
		return nil
	}
	if have, err := c.Classes(); err == nil && slices.Equal(have, g.Classes) {
		return nil
	}
	return c.SetClasses(g.Classes)
}

func (d *daemon) tuneTo(t plane.Tuner, want map[string]uint32) error {
	_, kernel := t.(kernelPlane)
	if kernel && len(want) == 0 {
		return nil
	}
	have, err := t.Settings()
	if err != nil {
		return err
	}
	wish := map[string]uint32{}
	if !kernel {
		wish = d.unsaid(have)
	}
	maps.Copy(wish, want)
	// The two numbers of sync_threshold bound each other.
	threshold, pair := wish["sync_threshold"]
	period := wish["sync_period"]
	if pair && (have["sync_threshold"] != threshold || have["sync_period"] != period) {
		if err := plane.SetThreshold(t, threshold, period); err != nil {
			return fmt.Errorf("lvs_sysctl: %w", err)
		}
	}
	delete(wish, "sync_threshold")
	delete(wish, "sync_period")
	for _, name := range slices.Sorted(maps.Keys(wish)) {
		value := wish[name]
		if have[name] == value {
			continue
		}
		err := t.Set(name, value)
		if errors.Is(err, plane.ErrUnsupported) {
			d.events.of("plane").Warn(fmt.Sprintf("lvs_sysctl %s %d has no effect: %v", name, value, err))
		} else if err != nil {
			return fmt.Errorf("lvs_sysctl %s %d: %w", name, value, err)
		}
	}
	return nil
}

// unsaid is what settings of the packet path are that no line sets. Without a configuration they stay as they are but for what the
// packet path does not keep.
func (d *daemon) unsaid(have map[string]uint32) map[string]uint32 {
	wish := maps.Clone(have)
	if !d.opts.NoConfig {
		for _, s := range plane.Settings {
			wish[s.Name] = s.Default
		}
	}
	maps.Copy(wish, d.keptSettings())
	if plane.CheckThreshold(wish["sync_threshold"], wish["sync_period"]) != nil { // one of the two was set beside a line that is gone
		wish["sync_threshold"], wish["sync_period"] = have["sync_threshold"], have["sync_period"]
	}
	return wish
}

func setByHand(p plane.Plane, name string, value uint32) error {
	t, ok := p.(plane.Tuner)
	if !ok {
		return fmt.Errorf("%s: %w", name, plane.ErrUnsupported)
	}
	return t.Set(name, value)
}

// errNoClass is the answer to the removal of what is not there.
var errNoClass = errors.New("no such class")

func classByHand(p plane.Plane, c control.Change) error {
	classifier, ok := p.(plane.Classifier)
	if !ok {
		return fmt.Errorf("classes (the kernel's IPVS has firewall marks from netfilter): %w", plane.ErrUnsupported)
	}
	list, err := classifier.Classes()
	if err != nil {
		return err
	}
	switch c.Do {
	case control.AddClass:
		list = append(list, c.Class)
	case control.DeleteClass:
		at := slices.Index(list, c.Class)
		if at < 0 {
			return fmt.Errorf("%s: %w", c.Class, errNoClass)
		}
		list = slices.Delete(list, at, at+1)
	default:
		list = []lb.Class{}
	}
	return classifier.SetClasses(list)
}
