package daemon

import (
	"cmp"
	"context"
	"errors"
	"os"
	"syscall"

	"vipd/internal/conf"
	"vipd/internal/host"
	"vipd/internal/plane/ipvs"
)

// namespace is the network namespace that the program is to be in: of the command line, else of the file. "": where it was started.
func (d *daemon) namespace(cfg *conf.Config) string {
	return cmp.Or(d.opts.Namespace, cfg.Global.Process.Namespace)
}

// movedVar is set for a program that begins anew in its namespace: the file's diagnostics have been said.
const movedVar = "VIPD_MOVED"

// moved tells whether this is such a one.
func moved() bool {
	defer os.Unsetenv(movedVar) // what is started from here has not moved
	return os.Getenv(movedVar) != ""
}

// enterNamespace goes there before anything is touched. The program then begins anew.
func (d *daemon) enterNamespace() error {
	name := d.namespace(d.cfg)
	if name == "" {
		return nil
	}
	err := host.EnterNamespace(name, movedVar+"=1")
	switch {
	case errors.Is(err, host.ErrNoNamespace):
		return fail(ExitFatal, "make it, with what is to be in it, before: ip netns add "+name, "net_namespace: %w", err)
	case errors.Is(err, syscall.EPERM):
		return fail(ExitPermission, "entering one needs CAP_SYS_ADMIN at the start; with systemd let the unit begin there: NetworkNamespacePath=/run/netns/"+name, "net_namespace: %w", err)
	case err != nil:
		return fail(ExitFatal, "", "net_namespace: %w", err)
	}
	d.events.Info("in network namespace " + name)
	return nil
}

// followName has the daemon end with the name of its network namespace, which it would keep otherwise: with its interfaces,
// and their other ends elsewhere.
func (d *daemon) followName(context.Context) error {
	if !d.opts.WhileNamed {
		return nil
	}
	_, named, err := host.NamedNamespace()
	if err != nil {
		return fail(ExitFatal, "", "%w", err)
	}
	if !named {
		return fail(ExitFatal, "run it in one: ip netns add NAME; ip netns exec NAME vipd run …", "--while-named: this network namespace has no name")
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.unnamed, d.undo = make(chan error, 1), append(d.undo, cancel)
	d.wg.Go(func() {
		if err := host.AwaitUnnamed(ctx); ctx.Err() == nil {
			d.unnamed <- err
		}
	})
	return nil
}

// sayUnnamed says why the daemon ends. It does so too if it cannot know.
func (d *daemon) sayUnnamed(err error) {
	if err != nil {
		d.events.Error(err.Error() + "; this ends with it, as --while-named cannot be kept")
		return
	}
	d.events.Info("the network namespace has no name any more: this ends with it")
}

// staysWhereItIs refuses a reload that would have to move the program, or the services.
//
// keepalived: "Cannot change network namespace at a reload - please restart", and likewise.
func (d *daemon) staysWhereItIs(cfg *conf.Config) error {
	old, now := d.cfg.Global.Process.NamespaceIPVS, cfg.Global.Process.NamespaceIPVS
	switch {
	case d.namespace(cfg) != d.namespace(d.cfg):
		return fail(ExitConfig, "restart, or leave net_namespace as it was", "Cannot change network namespace at a reload - please restart")
	case (old == nil) != (now == nil), old != nil && *old != *now:
		return fail(ExitConfig, "restart, or leave net_namespace_ipvs as it was", "Cannot change IPVS network namespace at a reload - please restart")
	}
	return nil
}

// openIPVS opens the kernel's IPVS, in the network namespace of net_namespace_ipvs.
func (d *daemon) openIPVS() (*ipvs.Plane, error) {
	if in := d.cfg.Global.Process.NamespaceIPVS; in != nil {
		return ipvs.OpenIn(host.NamespacePath(*in))
	}
	return ipvs.Open()
}
