package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"vipd/internal/control"
	"vipd/internal/daemon"
	"vipd/internal/host"
	"vipd/internal/vrrp"
)

func newScanCommand(env Env) *cobra.Command {
	var instance string
	var listen time.Duration
	cmd := &cobra.Command{
		Use:   "scan [INTERFACE]...",
		Short: "Listen for every virtual router on a segment and compare it with ours",
		Long: `Listen on interfaces (all that are up, unless named) for adverts of every virtual router, whoever's it is, and show
who sends them and how: version, destination, priority, interval, authentication, checksum, addresses. With a daemon that
runs here each router of our VRIDs is compared with our instance, field by field; "!" marks what makes two masters.
Also shown: virtual routers with two masters, and a VRID that is free.

It only listens: to adverts of multicast, to the group of keepalived's default and those of our own instances, and to
those that are sent to this host. Unicast between others is not heard, and neither are backups: they say nothing.`,
		SilenceUsage: true,
		RunE: func(_ *cobra.Command, args []string) error {
			names, err := scanned(args)
			if err != nil {
				return &daemon.Failure{Code: daemon.ExitFatal, Err: err}
			}
			before, _ := scanStatus(env, instance) // without a daemon there are no groups of its own
			c, err := hear(names, ownGroups(before.VRRP), listen)
			if err != nil {
				code := daemon.ExitFatal
				if errors.Is(err, os.ErrPermission) {
					code = daemon.ExitPermission
				}
				return &daemon.Failure{Code: code, Err: err}
			}
			s, err := scanStatus(env, instance)
			return printScan(env.Stdout, c, names, s.VRRP, err == nil, env.now())
		},
	}
	cmd.Flags().StringVar(&instance, "instance", env.instance(), "name of the daemon to compare with ($"+instanceVariable+")")
	cmd.Flags().DurationVar(&listen, "for", 5*time.Second, "how long to listen: longer than the longest interval")
	return cmd
}

// scanned are the interfaces to listen on.
func scanned(names []string) ([]string, error) {
	if len(names) > 0 {
		return names, nil
	}
	links, err := host.UpLinks()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		names = append(names, l.Name)
	}
	if len(names) == 0 {
		return nil, errors.New("no interface is up")
	}
	return names, nil
}

func scanStatus(env Env, instance string) (control.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), statusTime)
	defer cancel()
	return askStatus(ctx, env, instance)
}

// ownGroups are the multicast groups that our instances send to.
func ownGroups(routers []control.Router) []netip.Addr {
	groups := []netip.Addr{vrrp.GroupIPv4, vrrp.GroupIPv6}
	for _, r := range routers {
		for _, to := range r.To {
			if a, err := netip.ParseAddr(to); err == nil && a.IsMulticast() && !slices.Contains(groups, a) {
				groups = append(groups, a)
			}
		}
	}
	return groups
}

// hear listens on interfaces for a while, as a member of groups where an interface has multicast.
func hear(names []string, groups []netip.Addr, listen time.Duration) (*vrrp.Census, error) {
	var sockets []*host.VRRPSocket
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() {
		for _, s := range sockets {
			_ = s.Close()
		}
	}()
	c, mu := vrrp.NewCensus(), sync.Mutex{}
	for _, name := range names {
		for _, at := range []host.Endpoint{{Dev: name}, {Dev: name, AH: true}, {Dev: name, V6: true}} {
			s, err := host.ListenVRRP(at)
			if err != nil {
				return nil, err
			}
			sockets = append(sockets, s)
			for _, group := range groups {
				if group.Is6() == at.V6 {
					_ = s.Join(group) // an interface without multicast, or without IPv6, has unicast
				}
			}
			wg.Go(func() {
				buf := make([]byte, 64<<10)
				for n, err := s.Recv(buf); err == nil; n, err = s.Recv(buf) {
					mu.Lock()
					c.Hear(time.Now(), name, slices.Clone(buf[:n]))
					mu.Unlock()
				}
			})
		}
	}
	time.Sleep(listen)
	mu.Lock()
	defer mu.Unlock()
	return c, nil
}

// printScan writes the census beside our instances.
func printScan(w io.Writer, c *vrrp.Census, names []string, ours []control.Router, running bool, now time.Time) error {
	out := &screen{now: now}
	if !running {
		out.linef("no daemon runs here: nothing to compare with")
	}
	for _, name := range names {
		out.segment(c, name, ours)
	}
	if c.Broken > 0 {
		out.linef("%d packets were too broken to read", c.Broken)
	}
	_, err := w.Write(out.Bytes())
	return err
}

func (o *screen) segment(c *vrrp.Census, name string, ours []control.Router) {
	mine := slices.DeleteFunc(slices.Clone(ours), func(r control.Router) bool { return r.Interface != name })
	heard := slices.DeleteFunc(c.List(), func(h vrrp.Heard) bool { return h.Interface != name })
	o.linef("%s: %d routers heard, %d instances of ours", name, len(heard), len(mine))
	for i, h := range heard {
		a := &h.Advert
		v6 := a.Source.Is6()
		if i == 0 || heard[i-1].Advert.VRID != a.VRID || heard[i-1].Advert.Source.Is6() != v6 {
			o.linef("  VRID %d, %s", a.VRID, map[bool]string{false: "IPv4", true: "IPv6"}[v6])
			if all := c.Masters(name, a.VRID, v6); len(all) > 1 {
				o.linef("    ! %d masters at the same time: %s", len(all), fmt.Sprint(all))
			}
		}
		o.linef("    %s to %s: version %d, priority %d, every %s, authentication %s, checksum %s, addresses %s; %d adverts, the last %s",
			a.Source, a.Dest, a.Version, a.Priority, a.AdvertInt, h.Auth(), a.Sum, fmt.Sprint(a.VIPs), h.Adverts, o.since(h.Last))
		o.compare(&h, mine)
	}
	taken := func(vrid uint8) bool {
		return slices.ContainsFunc(mine, func(r control.Router) bool { return r.VRID == vrid })
	}
	if free := c.Free(name, taken); free > 0 {
		o.linef("  VRID %d is free", free)
	}
}

// compare names what differs between a router and our instance of the same VRID.
func (o *screen) compare(h *vrrp.Heard, mine []control.Router) {
	for _, r := range mine {
		if r.VRID != h.Advert.VRID || r.V6 != h.Advert.Source.Is6() {
			o.otherVRID(h, &r)
			continue
		}
		for _, m := range h.Differs(ownOf(&r)) {
			o.linef("    %s %s is %s, ours (%s) %s", map[bool]string{false: "-", true: "!"}[m.Fatal], m.Field, m.Theirs, r.Name, m.Ours)
		}
		for _, f := range r.Refusals {
			if f.Peer == h.Advert.Source.String() {
				o.linef("    ! %s refused %d of its adverts: %s is %s, ours %s", r.Name, f.Count, f.Field, f.Theirs, f.Ours)
			}
		}
		if r.State == "MASTER" && h.Advert.Priority > 0 && o.now.Sub(h.Last) < 3*h.Advert.AdvertInt {
			o.linef("    ! our %s is MASTER too", r.Name)
		}
	}
}

// otherVRID points at a router that announces our addresses under another VRID.
func (o *screen) otherVRID(h *vrrp.Heard, r *control.Router) {
	for _, vip := range ownOf(r).VIPs {
		if slices.Contains(h.Advert.VIPs, vip) {
			o.linef("    ! it announces %s, an address of our %s, whose virtual_router_id is %d", vip, r.Name, r.VRID)
		}
	}
}

func ownOf(r *control.Router) vrrp.Own {
	own := vrrp.Own{Name: r.Name, Version: r.Version, AdvertInt: r.AdvertInt, Auth: r.Auth, Sum: r.Checksum, Unicast: r.Unicast}
	for _, v := range r.VIPs {
		if p, err := netip.ParsePrefix(v); err == nil {
			own.VIPs = append(own.VIPs, p.Addr())
		}
	}
	return own
}
