package daemon

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"vipd/internal/conf"
	"vipd/internal/health"
	"vipd/internal/host"
	"vipd/internal/vrrp"
)

// Signals that ask for dumps, by keepalived's numbers: those of Linux with the GNU C library (keepalived --signum=NAME).
const (
	sigData       = syscall.SIGUSR1
	sigStats      = syscall.SIGUSR2
	sigJSON       = syscall.Signal(36) // SIGRTMIN+2
	sigStatsClear = syscall.Signal(63) // SIGRTMAX-1
)

// dump is what is known at one moment, for the files that keepalived writes when it is asked to. Exporters parse them, so
// their form is keepalived 2.2.7's to the byte.
type dump struct {
	cfg     *conf.Config
	names   mailNames
	user    host.Identity // of scripts
	now     time.Time
	reload  time.Time // that reload_time_file has asked for. If zero, none.
	routers map[string]vrrp.Status
	next    map[string]time.Time // the earliest deadline of each
	groups  []vrrp.GroupStatus
	links   []host.Link
	nics    map[string]string // how their states are known, by name
	ready   map[*conf.Script]host.Command
	hands   []health.Held
}

// router is an instance with what is known of it.
type router struct {
	*conf.Instance
	vrrp.Status
}

// all lists the instances in the order of the file.
func (d *dump) all() (list []router) {
	for _, i := range d.cfg.Routers {
		if st, ok := d.routers[i.Name]; ok {
			list = append(list, router{i, st})
		}
	}
	return list
}

// snapshot collects a dump. It runs where the daemon serves.
func (d *daemon) snapshot() *dump {
	x := &dump{cfg: d.cfg, now: time.Now(), reload: d.due.at, routers: map[string]vrrp.Status{}, next: map[string]time.Time{}}
	for _, s := range d.ha.status() {
		x.routers[s.Name] = s
	}
	d.ha.loop.Do(func(time.Time) {
		x.groups = d.ha.speaker.Groups()
		for _, r := range d.ha.speaker.Routers() {
			x.next[r.Config().Name] = r.Next()
		}
	})
	if m := d.servicePool(); m != nil {
		_ = m.ask(func() error { x.hands = m.pools.Held(); return nil })
	}
	x.links, _ = host.Links()
	x.nics = map[string]string{}
	for _, l := range x.links {
		if d.ha != nil {
			x.nics[l.Name] = d.ha.beats.way(l.Name)
		}
	}
	x.ready = map[*conf.Script]host.Command{}
	if d.tell != nil { // nobody is told
		d.tell.mu.Lock()
		x.names, x.user, x.ready = d.tell.names, d.tell.user, maps.Clone(d.tell.ready)
		d.tell.mu.Unlock()
	}
	return x
}

// onDumps gives the signals that ask for dumps.
func onDumps() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 4)
	signal.Notify(c, sigData, sigStats, sigJSON, sigStatsClear)
	return c, func() { signal.Stop(c) }
}

// answerDump answers one of them, as keepalived's VRRP process does.
func (d *daemon) answerDump(sig os.Signal) {
	what, suffix, after := "data", "on signal", func() {}
	var text func(*dump, io.Writer)
	var path string
	m := d.cfg.Global.Manage
	x := d.snapshot()
	switch sig {
	case sigData:
		path, text = d.dumpPath("keepalived.data", m.StateFile), (*dump).data
	case sigJSON:
		what, path, text = "as json", d.dumpPath("keepalived.json", m.JSONFile), (*dump).json
	case sigStats, sigStatsClear:
		what, path = "stats", d.dumpPath("keepalived.stats", m.StatsFile)
		text = func(x *dump, w io.Writer) { x.stats(w, d.cleared) }
		if sig == sigStatsClear {
			what, after = "stats and clearing", func() { d.clear(x) }
		}
	}
	if sig == sigJSON && len(x.all()) == 0 {
		return // keepalived: no instance, no file
	}
	d.events.Info(fmt.Sprintf("Printing VRRP %s for process(%d) %s", what, os.Getpid(), suffix))
	var b bytes.Buffer
	text(x, &b)
	if err := replaceFile(path, b.Bytes()); err != nil {
		d.events.Error("Can't open " + path + ": " + err.Error())
		return
	}
	after()
}

// clear makes later statistics count from now. The metrics go on counting: a counter that falls is taken for a restart.
func (d *daemon) clear(x *dump) {
	d.cleared = map[string]vrrp.Counters{}
	for name, s := range x.routers {
		d.cleared[name] = s.Counters
	}
}

// dumpPath is where a dump goes: where the file says (a directory, if it ends in a slash), else into TMPDIR or /tmp.
func (d *daemon) dumpPath(name, asked string) string {
	if d.cfg.Global.Manage.UseInstance && d.cfg.Global.Process.Instance != "" {
		base, ext, _ := strings.Cut(name, ".")
		name = base + "." + d.cfg.Global.Process.Instance + "." + ext
	}
	switch {
	case strings.HasSuffix(asked, "/"):
		return filepath.Join(asked, name)
	case asked != "":
		return asked
	}
	return filepath.Join(cmp.Or(os.Getenv("TMPDIR"), "/tmp"), name)
}

// replaceFile writes a file that only its owner reads, whole or not at all; before is done to it before it has its name. A link of that name, which anybody can make in
// /tmp, is replaced and not followed.
func replaceFile(path string, text []byte, before ...func(*os.File) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(text)
	for _, do := range before {
		if err == nil {
			err = do(f)
		}
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// stats is keepalived.stats. What is subtracted was there when the statistics were cleared.
func (d *dump) stats(w io.Writer, cleared map[string]vrrp.Counters) {
	for _, r := range d.all() {
		s := statsOf(r.Counters, cleared[r.Status.Name])
		fmt.Fprintf(w, "VRRP Instance: %s\n", r.Status.Name)
		fmt.Fprintf(w, "  Advertisements:\n    Received: %d\n    Sent: %d\n", s.received, s.sent)
		fmt.Fprintf(w, "  Became master: %d\n  Released master: %d\n", s.became, s.released)
		fmt.Fprintf(w, "  Packet Errors:\n    Length: %d\n    TTL: %d\n    Invalid Type: %d\n    Advertisement Interval: %d\n    Address List: %d\n",
			s.length, s.ttl, s.kind, s.interval, s.addresses)
		fmt.Fprintf(w, "  Authentication Errors:\n    Invalid Type: %d\n    Type Mismatch: %d\n    Failure: %d\n", s.authInvalid, s.authType, s.authFailure)
		fmt.Fprintf(w, "  Priority Zero:\n    Received: %d\n    Sent: %d\n", s.zeroReceived, s.zeroSent)
	}
}

// adverts are the counters of keepalived.stats.
type adverts struct {
	received, sent, became, released                           uint64
	length, ttl, kind, interval, addresses                     uint64
	authInvalid, authType, authFailure, zeroReceived, zeroSent uint64
}

// statsOf sorts what was refused, by its reason, into keepalived's counters. Reasons for which it has none (checksum,
// version, destination) are in vipd status and the metrics alone, as with keepalived, which counts them for SNMP. All
// authentication types that are not ours are mismatches here; keepalived counts those above 2 apart.
func statsOf(c, base vrrp.Counters) adverts {
	refused := func(reasons ...vrrp.Reason) (n uint64) {
		for _, r := range reasons {
			n += c.Refused[r] - base.Refused[r]
		}
		return n
	}
	return adverts{received: c.Received - base.Received, sent: c.Sent - base.Sent, became: c.BecameMaster - base.BecameMaster,
		released: c.ReleasedMaster - base.ReleasedMaster, length: refused(vrrp.ReasonLength, vrrp.ReasonHeader), ttl: refused(vrrp.ReasonTTL),
		kind: refused(vrrp.ReasonType), interval: refused(vrrp.ReasonInterval), addresses: c.AddressList - base.AddressList,
		authType: refused(vrrp.ReasonAuthType), authFailure: refused(vrrp.ReasonPassword, vrrp.ReasonAHValue, vrrp.ReasonAHReplay),
		zeroReceived: c.PriorityZeroReceived - base.PriorityZeroReceived, zeroSent: c.PriorityZeroSent - base.PriorityZeroSent}
}

// vipText is an address as keepalived shows it; set says that it is on the host.
func vipText(a conf.Address, ifname string, set bool) string {
	var b strings.Builder
	addr, bits := a.Prefix.Addr(), a.Prefix.Bits()
	b.WriteString(addr.String())
	if bits != addr.BitLen() && !a.Peer.IsValid() {
		fmt.Fprintf(&b, "/%d", bits)
	}
	if a.Brd.IsValid() && addr.Is4() {
		b.WriteString(" brd " + a.Brd.String())
	}
	b.WriteString(" dev " + cmp.Or(a.Dev, ifname))
	flag := func(on bool, word string) {
		if on {
			b.WriteString(" " + word)
		}
	}
	flag(a.VMAC, "use_vmac")
	b.WriteString(" scope " + cmp.Or(a.Scope, "global"))
	flag(a.Label != "", "label "+a.Label)
	if a.Peer.IsValid() {
		fmt.Fprintf(&b, " peer %s/%d", a.Peer, bits)
	}
	flag(a.Home, "home")
	flag(a.NoDAD, "-nodad")
	flag(a.ManageTemp, "mngtmpaddr")
	flag(a.NoPrefixRoute, "noprefixroute")
	flag(a.AutoJoin, "autojoin")
	flag(a.NoTrack, "no_track")
	flag(a.TrackGroup != "", "track_group "+a.TrackGroup)
	if addr.Is6() {
		b.WriteString(" " + lifetime(a))
	}
	flag(set, "set")
	return b.String()
}

// lifetime is an IPv6 address's. keepalived: a /128 without preferred_lft is deprecated, so that nothing is sent from it.
func lifetime(a conf.Address) string {
	switch {
	case !a.PreferredSet && a.Prefix.Bits() == 128, a.PreferredSet && a.Preferred == 0:
		return "deprecated"
	case !a.PreferredSet, a.Preferred == 1<<32-1:
		return "preferred_lft forever"
	}
	return fmt.Sprintf("preferred_lft %d", a.Preferred)
}

// device is the interface that an instance is on, by its name: its own where it has one.
func (r router) device() string { return cmp.Or(r.Status.Own, r.Instance.Interface) }

// seconds are whole ones, and those of announcements where the file says nothing.
func seconds(d time.Duration) int64 { return int64(max(d, 0) / time.Second) }

func (r router) lowerDelay() time.Duration {
	if d := r.Instance.Garp.LowerDelay; d >= 0 {
		return d
	}
	return r.Instance.Garp.Delay
}

func (r router) lowerRepeat() int64 {
	if n := r.Instance.Garp.LowerRepeat; n >= 0 {
		return n
	}
	return int64(r.Instance.Garp.Repeat)
}

// masterInt is the interval that the master announced.
func (r router) masterInt() time.Duration { return cmp.Or(r.MasterInt, r.Status.AdvertInt) }
