package conf

import (
	"io/fs"

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
	// MaxExpansion bounds what definitions (${NAME}), repetitions (~SEQ, ~LST) and files that are included again make, in
	// bytes of text; what goes beyond is not read, and an Error says so. If 0, 256 MiB. keepalived: without a bound, it reads until its memory or
	// the reader's patience ends.
	MaxExpansion int
	// Refuses says why the packet path cannot have a service or one of its real servers. If nil, it can have all. Only
	// Check asks: a daemon hears it from its plane.
	Refuses func(lb.Service, []lb.Real) error
	// RefusesSetting is the same for the value of an lvs_sysctl.
	RefusesSetting func(name string, value uint32) error
}

// Config is what a configuration says, with defaults and inheritance resolved as far as the file can resolve them.
//
// Instances and Health are the parts that internal/vrrp, internal/health and the packet path act on. Everything that
// the language can say is in the other fields, whether a version acts on it or not.
type Config struct {
	Global Global
	// Instances are the vrrp_instance blocks that can run, in file order; Routers has the same ones in full.
	Instances  []vrrp.Config
	Routers    []*Instance
	SyncGroups []SyncGroup
	// Health has the virtual_server blocks that have real servers, in file order. Services whose forwarding method or
	// scheduler the packet path does not have are in it too: the daemon says so. VirtualServers has all in full, those of
	// groups too.
	Health         health.Config
	VirtualServers []*VirtualServer
	ServiceGroups  []ServiceGroup
	TLS            *TLS // nil: there is no SSL block

	Scripts         []VRRPScript
	TrackFiles      []TrackFile
	TrackProcesses  []TrackProcess
	BFDs            []BFD
	TrackGroups     []TrackGroup
	StaticAddresses []Address
	StaticRoutes    []Route
	StaticRules     []Rule
	Linkbeats       []Linkbeat
	Delays          []Delay
	GarpGroups      []GarpGroup
}

// Load reads the file name from fsys, with all that it includes. A leading slash is dropped, so an absolute name goes
// with an fsys rooted at the root of the file system. The Config is never nil; whether it may be used is told by the
// Diagnostics: an Error among them means that keepalived would not start with it either (or Options.Strict).
func Load(fsys fs.FS, name string, opts Options) (*Config, *Tree, []Diagnostic) {
	l := readAll(fsys, name, opts, nil)
	return l.cfg, l.in.tree, l.diags.all()
}

// readAll is Load; tap sees every statement as it is read.
func readAll(fsys fs.FS, name string, opts Options, tap func(*stmt)) *loader {
	d := &diagnostics{strict: opts.Strict}
	r := newReader(fsys, opts, d)
	r.tap = tap
	l := &loader{in: r, diags: d, cfg: &Config{Global: newGlobal()}}
	if r.start(name) {
		l.block(root)
		r.finish()
		l.complete()
	}
	return l
}
