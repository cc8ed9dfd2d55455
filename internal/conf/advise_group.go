package conf

import "fmt"

// groupOf is the sync group of an instance as the file has it, or nil.
func groupOf(cfg *Config, instance string) *SyncGroup {
	for i := range cfg.SyncGroups {
		for _, m := range cfg.SyncGroups[i].Instances {
			if m == instance {
				return &cfg.SyncGroups[i]
			}
		}
	}
	return nil
}

// groups looks for members of a sync group that each director wins one of: they move together, so neither may keep what
// it wins.
func (p *pair) groups() {
	for _, g := range p.b.Config.SyncGroups {
		var here, there *router
		for _, m := range g.Instances {
			for _, r := range p.b.routers {
				o := p.same(r)
				switch {
				case r.Name != m || o == nil:
				case r.Priority > o.Priority:
					here = r
				case r.Priority < o.Priority:
					there = r
				}
			}
		}
		if here == nil || there == nil {
			continue
		}
		p.say(Warning, "sync-crossed", there, "priority", fmt.Sprintf("in the sync group %s this director wins %s and the other one %s: members move together, so both give up in turn and the addresses never settle",
			g.Name, here.Name, there.Name), "give one director the higher priority in all members of the group")
	}
}
