package conf

import (
	"io/fs"
	"time"

	"vipd/internal/health"
	"vipd/internal/lb"
	"vipd/internal/vrrp"
)

// Options change how a file is read.
type Options struct {
	// Strict makes every Warning an Error.
	Strict bool
	// ID is the config id that @ID lines compare with, and ${_INSTANCE}. keepalived: -i, else the host's name up to
	// the first dot; the caller fills it in. If empty, no @ID line is kept and every @^ID line is.
	ID string
	// Env looks up ${_ENV NAME}. If nil, every name is empty.
	Env func(name string) string
	// Seed starts ${_RANDOM}, so that the same seed gives the same configuration.
	Seed uint64
}

// Config is what a configuration says, with defaults and inheritance resolved as far as the file can resolve them.
type Config struct {
	Global Global
	// Instances are the vrrp_instance blocks that can run, in file order.
	Instances  []vrrp.Config
	SyncGroups []SyncGroup
	// Health has the virtual_server blocks that have real servers, in file order. Services whose forwarding method or
	// scheduler the packet path does not have are in it too: the daemon says so.
	Health health.Config
}

// Global is what global_defs says and no other package owns.
type Global struct {
	RouterID           string // If empty, the host's name.
	NotificationEmail  []string
	EmailFrom          string
	SMTPServer         string // address or name. If empty, none.
	SMTPPort           uint16 // If zero, 25.
	SMTPHelo           string
	SMTPConnectTimeout time.Duration // If zero, 30 s.
	DefaultInterface   string        // for addresses without dev. If empty, eth0.
	// Timeouts are lvs_timeouts. A zero one is left as it is.
	Timeouts lb.Timeouts
}

// SyncGroup is a vrrp_sync_group: instances that move together.
type SyncGroup struct {
	Name      string
	Instances []string
}

// Load reads the file name from fsys, with all that it includes. A leading slash is dropped, so an absolute name goes
// with an fsys rooted at the root of the file system. The Config is never nil; whether it may be used is told by the
// Diagnostics: an Error among them means that keepalived would not start with it either (or Options.Strict).
func Load(fsys fs.FS, name string, opts Options) (*Config, *Tree, []Diagnostic) {
	d := &diagnostics{strict: opts.Strict}
	r := newReader(fsys, opts, d)
	l := &loader{in: r, diags: d, cfg: &Config{}, glob: newGlobals()}
	if r.start(name) {
		l.block(root)
		l.complete()
	}
	return l.cfg, r.tree, d.all()
}

// complete makes the checks over the whole file and fills the Config.
func (l *loader) complete() {
	l.at = nil
	l.completeInstances()
	l.completeGroups()
	l.completeServices()
}
