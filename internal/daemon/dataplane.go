package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"vipd/internal/control"
	"vipd/internal/plane/ipvs"
	"vipd/internal/plane/xdp"
)

// Where the choice of a data plane meets the machine: this program's XDP program, or the kernel's IPVS.

// choice is which data plane is wanted, and who says so.
type choice struct{ plane, by string }

// wanted is what the command line says, else the file, else xdp.
func (d *daemon) wanted() choice {
	switch {
	case d.opts.DataPlane != "":
		return choice{d.opts.DataPlane, "as --data-plane says"}
	case d.cfg.Global.DataPlane != "":
		return choice{d.cfg.Global.DataPlane, "as data_plane in the file says"}
	}
	return choice{"xdp", "the default"}
}

// opener makes a data plane and the pool that drives it, or leaves everything as it was.
type opener func() error

func (d *daemon) makePlane() error {
	want := d.wanted()
	path, err := choosePath(want, d.pinned(), d.makeXDP, d.makeIPVS)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.path, d.chosen = path, want
	d.mu.Unlock()
	d.events.of("plane").Info(fmt.Sprintf("data plane %s, %s", path.Name, path.Why))
	if path.Name == "xdp" && d.cfg.Global.Process.NamespaceIPVS != nil {
		d.events.of("plane").Warn("net_namespace_ipvs has no effect: the packet path is on the interfaces of this network namespace; with data_plane ipvs it has")
	}
	return nil
}

// choosePath opens what is wanted. auto never leaves a packet path of a process before: it forwards.
func choosePath(want choice, pinned bool, makeXDP, makeIPVS opener) (control.Path, error) {
	switch {
	case want.plane == "ipvs":
		return control.Path{Name: "ipvs", Why: want.by}, makeIPVS()
	case want.plane == "xdp":
		return control.Path{Name: "xdp", Why: want.by}, makeXDP()
	case pinned:
		return control.Path{Name: "xdp", Why: "auto: it was there already"}, makeXDP()
	}
	no := makeXDP()
	if no == nil {
		return control.Path{Name: "xdp", Why: "auto: it works here"}, nil
	}
	if err := makeIPVS(); err != nil {
		return control.Path{}, neither(no, err)
	}
	return control.Path{Name: "ipvs", Why: "auto: xdp does not work here: " + no.Error()}, nil
}

// neither is the failure of both planes; the advice is that for the first.
func neither(xdpErr, ipvsErr error) error {
	code, hint := ExitFatal, ""
	var f *Failure
	if errors.As(xdpErr, &f) {
		code, hint = f.Code, f.Hint
	}
	return fail(code, hint, "no data plane works here: xdp: %w; ipvs: %w", xdpErr, ipvsErr)
}

func (d *daemon) pinDir() string { return d.bpffs() + "/vipd/" + d.opts.Instance }

// pinned reports whether a process before has left its packet path.
func (d *daemon) pinned() bool {
	_, err := os.Stat(d.pinDir())
	return err == nil
}

// makeIPVS takes the kernel's IPVS. A packet path of a process before would take the packets away from it, so that goes.
func (d *daemon) makeIPVS() error {
	p, err := d.openIPVS()
	if err != nil {
		return pathFailure(err)
	}
	closePlane := func() { _ = p.Close() } // what it has stays in the kernel
	if d.pinned() {
		d.events.of("plane").Warn("the XDP packet path of the process before is removed, its connections are lost: the data plane is ipvs now")
		if err := xdp.Remove(d.pinDir()); err != nil {
			closePlane()
			return pathFailure(err)
		}
	}
	if err := d.tune(kernelPlane{p}); err != nil {
		closePlane()
		return fail(ExitFatal, "", "%w", err)
	}
	if len(d.opts.Interfaces) > 0 {
		d.events.of("plane").Warn("--interface has no effect: the kernel's IPVS sees what arrives by any interface")
	}
	d.undo = append(d.undo, closePlane)
	d.openPool(kernelPlane{p})
	return nil
}

// kernelPlane is the kernel's IPVS as the daemon drives a plane. The kernel finds next hops, estimates rates and removes
// nothing; why a packet went which way it does not count.
type kernelPlane struct{ *ipvs.Plane }

func (kernelPlane) Attach(string) (xdp.Mode, error)                      { return "", errors.ErrUnsupported }
func (kernelPlane) Hops() []netip.Addr                                   { return nil }
func (kernelPlane) SetHop(netip.Addr, xdp.Hop) error                     { return nil }
func (kernelPlane) NoteLink(int, [6]byte) error                          { return nil }
func (kernelPlane) SetPorts(map[int]xdp.Port, map[xdp.Station]int) error { return nil }
func (kernelPlane) SetDirectors(map[netip.Addr][6]byte) error            { return nil }
func (kernelPlane) ClearHop(netip.Addr) error                            { return nil }
func (kernelPlane) Sample(time.Time) error                               { return nil }
func (kernelPlane) BalanceOwn(bool) error                                { return nil }
func (kernelPlane) OwnConnections() ([]xdp.Outcome, error)               { return nil, nil }
func (kernelPlane) Reasons() ([]xdp.Reason, error)                       { return nil, nil }
func (kernelPlane) Remove() error                                        { return nil }
