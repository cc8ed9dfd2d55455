package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"vipd/internal/conf"
	"vipd/internal/host"
	"vipd/internal/vrrp"
)

// following is all that a configuration has instances follow, looked at on this machine: what cannot be followed is left
// out, and said.
type following struct {
	followers []vrrp.Follower
	groups    []vrrp.GroupConfig
	scripts   []vrrp.ScriptConfig
	commands  map[string]host.Command // of scripts
	files     map[string]string       // path by name
	processes []vrrp.ProcessConfig
	matches   map[string]host.ProcessMatch // of processes
	values    map[string]int64             // of files, as they are now
	counts    map[string]int               // of processes, as they are now
}

// follower finds out what cfg follows. reload says that init_file has been obeyed before.
func follower(h Followed, cfg *conf.Config, ev events, reload bool) following {
	f := following{commands: map[string]host.Command{}, files: map[string]string{}, matches: map[string]host.ProcessMatch{}, values: map[string]int64{}}
	f.followers, f.groups = followersOf(cfg)
	gone := map[vrrp.Thing]bool{}
	f.addScripts(cfg, ev, gone)
	f.addFiles(h, cfg, ev, gone, reload)
	f.addProcesses(cfg)
	if len(f.matches) > 0 {
		var err error
		if f.counts, err = h.CountProcesses(f.matches); err != nil {
			ev.Error("count processes: " + err.Error())
		}
	}
	for i := range f.followers {
		f.followers[i].Things = slices.DeleteFunc(f.followers[i].Things, func(t vrrp.Tracked) bool { return gone[t.Thing] })
	}
	return f
}

// followersOf joins the lists of instances with those of their groups. An instance follows its own interface as well.
func followersOf(cfg *conf.Config) (followers []vrrp.Follower, groups []vrrp.GroupConfig) {
	full, shared := map[string]*conf.Instance{}, map[string][]vrrp.Tracked{}
	for _, r := range cfg.Routers {
		full[r.Name] = r
	}
	for _, g := range cfg.SyncGroups {
		groups = append(groups, vrrp.GroupConfig{Name: g.Name, Instances: g.Instances})
		for _, member := range g.Instances {
			shared[member] = trackedOf(g.Track)
		}
	}
	for _, g := range cfg.TrackGroups {
		for _, member := range g.Instances {
			shared[member] = vrrp.Merge(shared[member], carriersOf(cfg, g.Name))
		}
	}
	for _, i := range cfg.Instances {
		var own []vrrp.Tracked
		r := full[i.Name]
		if i.Interface != "" && (r == nil || !r.DontTrackOwn) {
			own = []vrrp.Tracked{{Thing: vrrp.Thing{Kind: vrrp.TrackInterface, Name: i.Interface}}}
			if i.Wire != "" {
				own = append(own, vrrp.Tracked{Thing: vrrp.Thing{Kind: vrrp.TrackInterface, Name: i.Wire}})
			}
		}
		if r != nil {
			own = vrrp.Merge(own, trackedOf(r.Track))
		}
		followers = append(followers, vrrp.Follower{Instance: i.Name, Things: vrrp.Merge(own, shared[i.Name])})
	}
	return followers, groups
}

// carriersOf are the interfaces that the static entries of a track_group stand on.
//
// keepalived: that is all that a track_group does; an entry that somebody removes is put back and nobody steps down.
func carriersOf(cfg *conf.Config, group string) (all []vrrp.Tracked) {
	add := func(of string, devs ...string) {
		for _, dev := range devs {
			if thing := (vrrp.Tracked{Thing: vrrp.Thing{Kind: vrrp.TrackInterface, Name: dev}}); of == group && dev != "" && !slices.Contains(all, thing) {
				all = append(all, thing)
			}
		}
	}
	for _, a := range cfg.StaticAddresses {
		add(a.TrackGroup, a.Dev)
	}
	for _, r := range cfg.StaticRoutes {
		add(r.TrackGroup, r.Dev)
		for _, hop := range r.Nexthops {
			add(r.TrackGroup, hop.Dev)
		}
	}
	for _, r := range cfg.StaticRules {
		add(r.TrackGroup, r.In, r.Out)
	}
	return all
}

func trackedOf(t conf.Track) (all []vrrp.Tracked) {
	for kind, list := range [][]conf.Tracked{vrrp.TrackInterface: t.Interfaces, vrrp.TrackScript: t.Scripts, vrrp.TrackFile: t.Files,
		vrrp.TrackProcess: t.Processes, vrrp.TrackBFD: t.BFDs} {
		for _, c := range list {
			all = append(all, vrrp.Tracked{Thing: vrrp.Thing{Kind: vrrp.Kind(kind), Name: c.Name}, Weight: c.Weight, Reverse: c.Reverse})
		}
	}
	return all
}

// follows tells whether any instance follows a thing.
func (f *following) follows(kind vrrp.Kind, name string) bool {
	return slices.ContainsFunc(f.followers, func(w vrrp.Follower) bool {
		return slices.ContainsFunc(w.Things, func(t vrrp.Tracked) bool { return t.Thing == vrrp.Thing{Kind: kind, Name: name} })
	})
}

func (f *following) addScripts(cfg *conf.Config, ev events, gone map[vrrp.Thing]bool) {
	look := newCommands(ev, cfg.Global.Scripts)
	for _, s := range cfg.Scripts {
		if !f.follows(vrrp.TrackScript, s.Name) {
			ev.Warn("Warning - script " + s.Name + " is not used")
			continue
		}
		cmd, err := look.command(&s.Script)
		if err != nil {
			ev.Warn(disabling(s.Name, err))
			gone[vrrp.Thing{Kind: vrrp.TrackScript, Name: s.Name}] = true
			continue
		}
		f.commands[s.Name] = cmd
		f.scripts = append(f.scripts, vrrp.ScriptConfig{Name: s.Name, Interval: s.Interval, Timeout: s.Timeout, Rise: s.Rise, Fall: s.Fall, InitFail: s.InitFail})
	}
	if len(scriptsOf(cfg)) == 0 { // else the teller says it
		look.judge()
	}
}

func (f *following) addFiles(h Followed, cfg *conf.Config, ev events, gone map[vrrp.Thing]bool, reload bool) {
	for _, t := range cfg.TrackFiles {
		if err := initFile(t, reload); err != nil {
			ev.Warn("Unable to initialise track file " + t.Name + ": " + err.Error())
		}
		if !f.follows(vrrp.TrackFile, t.Name) {
			continue
		}
		path, err := filePath(t.Path)
		if err != nil {
			ev.Warn("Track file directory for " + t.Name + " does not exist - removing: " + err.Error())
			gone[vrrp.Thing{Kind: vrrp.TrackFile, Name: t.Name}] = true
			continue
		}
		f.files[t.Name] = path
		if n, ok := fileNumber(h, path, ev); ok {
			f.values[t.Name] = n
		}
	}
}

// fileNumber reads a track_file. keepalived: one that is not there says 0, and one whose number is too large nothing.
func fileNumber(h Followed, path string, ev events) (int64, bool) {
	text, _ := h.ReadHead(path, vrrp.FileLimit)
	n, ok := vrrp.ParseFile(text)
	if !ok {
		ev.Warn("Invalid number read from " + path + " - ignoring")
	}
	return n, ok
}

// initFile makes the file of a track_file with init_file. keepalived: what is there is overwritten at a start alone.
func initFile(t conf.TrackFile, reload bool) error {
	if !t.Init {
		return nil
	}
	info, err := os.Stat(t.Path)
	switch {
	case err == nil && (!t.Overwrite || reload):
		return nil
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("%s: it is not a regular file", t.Path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return os.WriteFile(t.Path, fmt.Appendf(nil, "%d\n", t.InitValue), 0o644)
}

// filePath is a path without links. The file need not exist, its directory must.
func filePath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real, nil
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", fmt.Errorf("%s: it is not a directory", dir)
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

func (f *following) addProcesses(cfg *conf.Config) {
	for _, p := range cfg.TrackProcesses {
		if !f.follows(vrrp.TrackProcess, p.Name) {
			continue
		}
		f.matches[p.Name] = host.ProcessMatch{Name: p.Process, FullCommand: p.FullCommand, Params: p.Params, Match: p.Match}
		f.processes = append(f.processes, vrrp.ProcessConfig{Name: p.Name, Quorum: p.Quorum, QuorumMax: p.QuorumMax, TerminateDelay: p.TerminateDelay, ForkDelay: p.ForkDelay})
	}
}
