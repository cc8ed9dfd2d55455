package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"vipd/internal/control"
	"vipd/internal/host"
	"vipd/internal/vrrp"
)

// A restart that nobody notices. The process that ends leaves everything as it is: addresses, pins and programs, and a file
// that says of which instances it was master. The one that follows takes VRRP up before anything else, as master, and then
// the packet path, which has gone on by itself meanwhile.

// handover is what a process leaves to the next one.
type handover struct {
	Version  int            `json:"version"`
	Boot     string         `json:"boot"` // the kernel's boot id
	At       time.Duration  `json:"at"`   // since boot
	Masters  []mastership   `json:"masters"`
	Trackers []trackedThing `json:"trackers"`
	// The network namespace where all that is: its name, if it has one, and which one it is (host.NamespaceID). "": of a
	// version that did not say.
	Namespace   string `json:"namespace,omitempty"`
	NamespaceID string `json:"namespace_id,omitempty"`
}

type mastership struct {
	vrrp.Mastership
	Addresses []host.Address `json:"addresses"`
}

type trackedThing struct {
	vrrp.Thing
	vrrp.Verdict
}

// handoverVersion is raised when the file could no longer be read by its meaning.
const handoverVersion = 1

func (d *daemon) handoverPath() string {
	return filepath.Join(control.Dir, d.opts.Instance+".handover")
}

// leave ends as a process that another one of this host follows at once.
func (d *daemon) leave() {
	d.settlePending()
	d.events.Info("Handing over to the next process")
	d.over.tell("STATUS=handing over to the next process")
	h := handover{Version: handoverVersion, Namespace: d.namespace(d.cfg)}
	d.ha.do(func(now time.Time) {
		h.Masters, h.Trackers = d.ha.handOver(now)
		d.ha.drain(now)
	})
	if err := d.writeHandover(h); err != nil {
		d.events.Error("hand over: " + err.Error() + "; the next process begins as backup")
	}
	d.endLoops()
	told := make(chan struct{})
	go func() { // a mail or a script that hangs is not waited for: adverts are
		d.tell.end()
		close(told)
	}()
	select {
	case <-told:
	case <-time.After(lingerHeard):
	}
	d.endCell()
}

func (d *daemon) writeHandover(h handover) (err error) {
	if h.Boot, err = host.BootID(); err != nil {
		return err
	}
	if h.At, err = host.SinceBoot(); err != nil {
		return err
	}
	if h.NamespaceID, err = host.NamespaceID(); err != nil {
		return err
	}
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return os.WriteFile(d.handoverPath(), text, 0o600)
}

// takeHandover reads what the process before has left, once. What cannot be used is said and is as if there was nothing.
func (d *daemon) takeHandover(context.Context) error {
	path := d.handoverPath()
	text, err := os.ReadFile(path) // of our own, in a directory of root's
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	_ = os.Remove(path)
	var h handover
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err == nil {
		err = h.usable()
	}
	if err != nil {
		d.events.Warn("what the process before has left cannot be used, this one begins as backup: " + err.Error())
		return nil
	}
	if err := h.here(); err != nil {
		d.events.Warn("this process begins as backup: " + err.Error())
		d.removeHanded(h)
		return nil
	}
	d.handed = &h
	return nil
}

// here tells whether this is the network namespace of the process before.
func (h *handover) here() error {
	now, err := host.NamespaceID()
	if err == nil && h.NamespaceID != "" && h.NamespaceID != now {
		err = errors.New("the process before was in " + h.place())
	}
	return err
}

func (h *handover) place() string {
	if h.Namespace == "" {
		return "another network namespace"
	}
	return "network namespace " + h.Namespace
}

// removeHanded takes the addresses away that the process before had, in its network namespace and nowhere else.
func (d *daemon) removeHanded(h handover) {
	remove := func() error {
		for _, m := range h.Masters {
			d.events.Error("("+m.Instance+") the process before was master and this one does not take over: its addresses are removed", "vi", m.Instance)
			for _, addr := range m.Addresses {
				if err := host.DelAddress(addr); err != nil {
					d.events.Error("("+m.Instance+") "+err.Error(), "vi", m.Instance, "if", addr.Dev)
				}
			}
		}
		return nil
	}
	if len(h.Masters) == 0 {
		return
	}
	if h.here() == nil {
		_ = remove()
		return
	}
	err := errors.New("it has no name to enter it by")
	if h.Namespace != "" {
		err = host.InNamespace(h.Namespace, h.NamespaceID, remove)
	}
	switch {
	case errors.Is(err, host.ErrNoNamespace): // and its addresses went with it
	case err != nil:
		for _, m := range h.Masters {
			d.events.Error("("+m.Instance+") the addresses of the process before are still in "+h.place()+": "+err.Error(), "vi", m.Instance)
		}
	}
}

func (h *handover) usable() error {
	boot, err := host.BootID()
	switch {
	case err != nil:
		return err
	case h.Version != handoverVersion:
		return fmt.Errorf("it has version %d, this one reads %d", h.Version, handoverVersion)
	case h.Boot != boot:
		return errors.New("it is of before the last boot")
	}
	return nil
}

// resume takes up VRRP before anything else of a start, if the process before was master a moment ago.
func (d *daemon) resume(context.Context) error {
	h := d.handed
	if h == nil {
		return nil
	}
	up, err := host.SinceBoot()
	if err != nil {
		return fail(ExitFatal, "", "%w", err)
	}
	d.dropStale(*h)
	silent := up - h.At
	resumed := 0
	for _, m := range h.Masters {
		r := d.ha.speaker.Router(m.Instance)
		switch {
		case r == nil:
		case silent >= min(m.Within, time.Duration(r.Config().DownTimerAdverts)*r.Config().AdvertInt):
			d.events.Warn(fmt.Sprintf("(%s) the process before was master, but %s have passed: another may be by now", m.Instance, silent.Round(time.Millisecond)), "vi", m.Instance)
		default:
			r.Resume(m.Mastership)
			resumed++
		}
	}
	if resumed == 0 {
		return nil
	}
	d.events.Info(fmt.Sprintf("Taking over from the process before after %s: master of %d instances", silent.Round(time.Millisecond), resumed))
	now := time.Now()
	for _, t := range h.Trackers {
		d.ha.track.trackers.Observe(now, t.Thing, t.Verdict)
	}
	d.beginLoops()
	d.undo = append(d.undo, func() { d.ha.do(d.ha.speaker.Stop) }) // a start that fails says so to the other directors
	d.ha.run(d.ctx, &d.wg)
	d.startHA()
	return nil
}

// dropStale removes the addresses that the configuration no longer has.
func (d *daemon) dropStale(h handover) {
	var wanted []host.Address
	for _, cfg := range d.cfg.Instances {
		wanted = append(wanted, addresses(cfg)...)
	}
	for _, m := range h.Masters {
		for _, addr := range m.Addresses {
			if slices.ContainsFunc(wanted, func(w host.Address) bool { return w.Dev == addr.Dev && w.Prefix.Addr() == addr.Prefix.Addr() }) {
				continue
			}
			if err := d.host.DelAddress(addr); err != nil {
				d.events.Error("("+m.Instance+") "+err.Error(), "vi", m.Instance, "if", addr.Dev)
			}
		}
	}
}

// handOver gives the masterships away, and says goodbye for what the next process cannot take up at once: a sync group that
// is not master as a whole, and who follows a BFD session, which ends with this process.
func (a *ha) handOver(now time.Time) (masters []mastership, trackers []trackedThing) {
	stays := map[string]bool{}
	for _, s := range a.track.trackers.Status() {
		switch {
		case s.Kind == vrrp.TrackBFD:
			for _, name := range s.Followers {
				stays[name] = true
			}
		case s.Kind != vrrp.TrackInterface && s.Known:
			trackers = append(trackers, trackedThing{s.Thing, s.Verdict})
		}
	}
	for _, r := range a.speaker.Routers() {
		stays[r.Config().Name] = stays[r.Config().Name] || r.Status().State != vrrp.Master
	}
	for _, g := range a.speaker.Groups() {
		if slices.ContainsFunc(g.Instances, func(name string) bool { return stays[name] }) {
			for _, name := range g.Instances {
				stays[name] = true
			}
		}
	}
	for _, r := range a.speaker.Routers() {
		m, ok := vrrp.Mastership{}, false
		if !stays[r.Config().Name] {
			m, ok = r.HandOver(now)
		}
		if !ok {
			r.Stop(now)
			continue
		}
		masters = append(masters, mastership{m, addresses(r.Config())})
	}
	return masters, trackers
}

// replace makes this process the program at path, which has passed probe. It returns if that fails.
func (d *daemon) replace(path string) error {
	d.over.tell(fmt.Sprintf("WATCHDOG_USEC=%d", (2 * time.Minute).Microseconds()))
	_ = host.AsUsual() // refused where it was refused to be brisk
	d.events.Info("Replaced by " + path)
	d.events.sink().close()
	return fmt.Errorf("execute %s: %w", path, syscall.Exec(path, append([]string{os.Args[0]}, os.Args[1:]...), os.Environ()))
}

// restarts tells whether another process follows at once which can take over. Otherwise this is a stop: addresses that nobody
// answers for must not stay.
func (d *daemon) restarts() bool {
	restart, err := d.over.restarting()
	if restart && err == nil {
		var program string
		if program, err = programAt(""); err == nil {
			_, err = probeProgram(context.Background(), program)
		}
	}
	if err != nil {
		d.events.Warn(err.Error() + "; this is taken for a stop")
	}
	return restart && err == nil
}

// renounce is for a start that fails after another process has handed over: its addresses go, so that whoever takes over is
// alone. It does nothing while another process of this instance runs.
func (d *daemon) renounce() {
	if control.CheckInstance(d.opts.Instance) != nil {
		return
	}
	if d.handed == nil {
		if _, err := os.Stat(d.handoverPath()); err != nil {
			return
		}
		l, err := host.LockInstance(control.Dir, d.opts.Instance)
		if err != nil {
			return
		}
		defer func() { _ = l.Release() }()
		if d.takeHandover(context.Background()) != nil || d.handed == nil { // what was left elsewhere is removed by then
			return
		}
	}
	d.removeHanded(*d.handed)
}

// restarting tells whether the stop that this process was told is the first half of a restart, after which systemd starts
// it again at once.
func (s supervisor) restarting() (bool, error) {
	if s.send == nil {
		return false, nil
	}
	unit, err := host.Unit()
	if err != nil {
		return false, nil // NOTIFY_SOCKET is somebody else's
	}
	systemctl, err := exec.LookPath("systemctl")
	if err != nil {
		return false, nil
	}
	ask := host.Command{Args: []string{systemctl, "list-jobs", "--full", "--no-legend", "--no-pager"}, Timeout: 2 * time.Second, Keep: 1 << 20}
	e := ask.Run(context.Background())
	if e.Err != nil || e.Code != 0 {
		return false, fmt.Errorf("ask systemctl for its jobs: %s", e)
	}
	return jobIsRestart(string(e.Output), unit), nil
}

// jobIsRestart looks for the job of a unit in what systemctl list-jobs prints: JOB UNIT TYPE STATE.
func jobIsRestart(list, unit string) bool {
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) >= 3 && f[1] == unit && (f[2] == "restart" || f[2] == "try-restart") {
			return true
		}
	}
	return false
}
