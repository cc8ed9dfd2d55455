package daemon

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"vipd/internal/conf"
	"vipd/internal/host"
	"vipd/internal/vrrp"
)

// data is keepalived.data: settings, instances, scripts and interfaces. What does not exist here (socket numbers, saved
// sysctls, counters of library versions) has no line.
func (d *dump) data(w io.Writer) {
	d.globals(w)
	if len(d.cfg.Routers) > 0 {
		fmt.Fprintln(w, "------< VRRP Topology >------")
	}
	for _, r := range d.all() {
		d.instance(w, r)
	}
	if len(d.cfg.SyncGroups) > 0 {
		fmt.Fprintln(w, "------< VRRP Sync groups >------")
	}
	for _, g := range d.cfg.SyncGroups {
		d.group(w, g)
	}
	if len(d.cfg.Scripts) > 0 {
		fmt.Fprintln(w, "------< VRRP Scripts >------")
	}
	for _, s := range d.cfg.Scripts {
		d.script(w, s)
	}
	d.held(w)
	fmt.Fprintln(w, "------< Interfaces >------")
	for _, l := range d.links {
		d.link(w, l)
	}
}

// row is one line of a dump; one that is not wanted is not printed.
type row struct {
	name  string
	value any
	only  bool
}

func line(name string, value any) row             { return row{name, value, true} }
func maybe(only bool, name string, value any) row { return row{name, value, only} }

func printRows(w io.Writer, indent string, rows []row) {
	for _, r := range rows {
		if r.only {
			fmt.Fprintf(w, "%s%s = %v\n", indent, r.name, r.value)
		}
	}
}

func yes(b bool) string     { return pick(b, "yes", "no") }
func enabled(b bool) string { return pick(b, "enabled", "disabled") }

func pick(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

// stamp is a time as keepalived shows it, twice.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "DISABLED"
	}
	usec := t.Nanosecond() / 1000
	return fmt.Sprintf("%d.%06d (%s.%06d %d)", t.Unix(), usec, t.Format("Mon Jan _2 15:04:05"), usec, t.Year())
}

func (d *dump) instance(w io.Writer, r router) {
	i, st := r.Instance, r.Status
	fmt.Fprintf(w, " VRRP Instance = %s\n", i.Name)
	backup, v3 := st.State == vrrp.Backup, st.Version == 3
	printRows(w, "   ", []row{line("VRRP Version", st.Version), maybe(st.Group != "", "Sync group", st.Group)})
	if st.V6 {
		fmt.Fprintln(w, "   Using Native IPv6")
	}
	printRows(w, "   ", []row{
		line("State", st.State),
		maybe(backup, "Master router", addrText(st.Master)),
		maybe(backup, "Master priority", st.HeardPriority),
		maybe(backup && v3, "Master advert int", fmt.Sprintf("%.2f sec", r.masterInt().Seconds())),
	})
	r.flags(w)
	printRows(w, "   ", []row{
		line("Wantstate", st.State),
		line("Number of config faults", 0),
		line("Number of interface and track script faults", len(st.Faults)),
		line("Number of track scripts init", len(strings.Fields(pick(st.Waiting != "", "1", "")))),
		line("Last transition", stamp(st.Since)),
		line("Read timeout", stamp(d.next[i.Name])),
		line("Master down timer", fmt.Sprintf("%d usecs", r.downTime().Microseconds())),
	})
	d.device(w, r)
	r.options(w, d.index(r))
	r.timing(w)
	r.authentication(w)
	r.things(w)
	r.tracked(w)
	printRows(w, "   ", []row{
		line("Using smtp notification", yes(i.SMTPAlert)),
		line("Notify deleted", pick(i.Notify.OnDelete, "Deleted", "Fault")),
	})
	d.scripts(w, i.Notify)
	fmt.Fprintf(w, "   Notify priority changes = %t\n", i.Notify.PriorityChanges != nil && *i.Notify.PriorityChanges || i.Notify.PriorityChanges == nil && d.cfg.Global.Scripts.PriorityChanges)
}

// device says what the instance is on: an interface, or one of its own upon that.
func (d *dump) device(w io.Writer, r router) {
	i, own := r.Instance, r.Status.Own
	up := slices.ContainsFunc(d.links, func(l host.Link) bool { return l.Name == own && l.Up })
	on := r.device()
	switch {
	case own == "":
	case i.IPVLAN != nil:
		addr := pick(i.IPVLAN.Addr.IsValid(), ", i/f address = "+prefixText(i.IPVLAN.Addr), "")
		fmt.Fprintf(w, "   Use IPVLAN, i/f %s, is_up = %t%s, type %s\n", own, up, addr, cmp.Or(i.IPVLAN.Kind, "bridge"))
		on += ", ipvlan on " + i.Interface
	default:
		fmt.Fprintf(w, "   Use VMAC, i/f name %s, is_up = %t, xmit_base = %t\n", own, up, i.XmitBase)
		on += ", vmac on " + i.Interface + pick(i.XmitBase, ", xmit base i/f", "")
	}
	printRows(w, "   ", []row{line("Interface", cmp.Or(on, "not configured")), maybe(i.VRF != "", "VRF", i.VRF)})
}

// prefixText leaves out the length of a single address, as keepalived does.
func prefixText(p netip.Prefix) string { return pick(p.IsSingleIP(), p.Addr().String(), p.String()) }

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return "(none)"
	}
	return a.String()
}

func (r router) flags(w io.Writer) {
	i := r.Instance
	if !i.Unicast && i.VMAC == nil && !i.NoPreempt && !i.PromoteSecondaries && !i.DontTrackOwn && !i.SkipCheckAdvAddr {
		fmt.Fprintln(w, "   Flags: none")
		return
	}
	fmt.Fprintln(w, "   Flags:")
	if i.Unicast {
		fmt.Fprintln(w, "     Using unicast")
	}
	if i.FaultNoPeer {
		fmt.Fprintln(w, "     If unicast go to fault state if no peers")
	}
}

// downTime is how long a backup waits: RFC 3768 §6.1, RFC 9568 §6.1.
func (r router) downTime() time.Duration {
	skew := time.Duration(256-int(r.Status.Priority)) * time.Second / 256
	interval := r.Status.AdvertInt
	if r.Status.Version == 3 {
		interval = r.masterInt()
		skew = time.Duration(256-int(r.Status.Priority)) * interval / 256
	}
	return time.Duration(max(r.Instance.DownTimerAdverts, 1))*interval + skew
}

func (d *dump) index(r router) int {
	on := pick(r.Instance.XmitBase, r.Instance.Interface, r.device())
	if i := slices.IndexFunc(d.links, func(l host.Link) bool { return l.Name == on }); i >= 0 {
		return d.links[i].Index
	}
	return 0
}

// options has the index of the interface that adverts leave by.
func (r router) options(w io.Writer, index int) {
	i := r.Instance
	for _, o := range []struct {
		on   bool
		text string
	}{{i.DontTrackOwn, "VRRP interface tracking disabled"}, {i.SkipCheckAdvAddr, "Skip checking advert IP addresses"}, {i.Strict, "Enforcing strict VRRP compliance"}} {
		if o.on {
			fmt.Fprintf(w, "   %s\n", o.text)
		}
	}
	fmt.Fprintf(w, "   Using src_ip = %s%s\n", addrText(r.Source), pick(i.SourceSet, " (from configuration)", ""))
	if !i.Unicast {
		fmt.Fprintf(w, "   Multicast address %s%s\n", i.McastDst, pick(r.V6, fmt.Sprintf(", ifindex %d", index), ""))
	}
}

func (r router) timing(w io.Writer) {
	i, st := r.Instance, r.Status
	v3 := st.Version == 3
	interval := fmt.Sprintf("%d sec", seconds(st.AdvertInt))
	if v3 {
		interval = fmt.Sprintf("%d milli-sec", st.AdvertInt.Milliseconds())
	}
	printRows(w, "   ", []row{
		line("Gratuitous ARP delay", seconds(i.Garp.Delay)),
		line("Gratuitous ARP repeat", i.Garp.Repeat),
		line("Gratuitous ARP refresh", seconds(i.Garp.Refresh)),
		line("Gratuitous ARP refresh repeat", i.Garp.RefreshRepeat),
		line("Gratuitous ARP lower priority delay", seconds(r.lowerDelay())),
		line("Gratuitous ARP lower priority repeat", r.lowerRepeat()),
		line("Down timer adverts", i.DownTimerAdverts),
		line("Send advert after receive lower priority advert", !i.LowerPrioNoAdvert),
		line("Send advert after receive higher priority advert", i.HigherPrioSendAdv),
		line("Virtual Router ID", i.VRID),
		line("Priority", st.Base),
		line("Effective priority", st.Priority),
		line("Total priority", st.Priority),
		line("Advert interval", interval),
		maybe(v3 && st.State == vrrp.Backup, "Master advert interval", fmt.Sprintf("%d milli-sec", r.masterInt().Milliseconds())),
		line("Accept", enabled(i.Accept)),
		line("Preempt", enabled(!i.NoPreempt)),
		maybe(i.PreemptDelay > 0, "Preempt delay", fmt.Sprintf("%g secs", i.PreemptDelay.Seconds())),
		line("Promote_secondaries", enabled(i.PromoteSecondaries)),
	})
}

func (r router) authentication(w io.Writer) {
	switch {
	case r.Instance.AuthType == vrrp.AuthAH:
		fmt.Fprintln(w, "   Authentication type = IPSEC_AH")
	case r.Instance.AuthType == vrrp.AuthPass:
		fmt.Fprintf(w, "   Authentication type = SIMPLE_PASSWORD\n   Password = %s\n", r.password())
	case r.Status.Version == 2:
		fmt.Fprintln(w, "   Authentication type = none")
	}
}

// password is what of it counts.
func (r router) password() string {
	p := r.Instance.AuthPass
	return p[:min(len(p), 8)]
}

// things are what an instance holds, and to whom it speaks.
func (r router) things(w io.Writer) {
	i := r.Instance
	list := func(title string, texts []string) {
		if len(texts) == 0 {
			return
		}
		fmt.Fprintf(w, "   %s:\n", title)
		for _, t := range texts {
			fmt.Fprintf(w, "     %s\n", t)
		}
	}
	list(fmt.Sprintf("Virtual IP (%d)", len(i.Addresses)), r.vips(i.Addresses))
	list("Virtual IP Excluded ", r.vips(i.ExcludedAddresses))
	if i.Unicast {
		if i.TTL > 0 {
			fmt.Fprintf(w, "   Unicast TTL = %d\n", i.TTL)
		}
		fmt.Fprintf(w, "   Check unicast src : %s\n", yes(i.CheckUnicastSrc))
		var peers []string
		for _, p := range i.Peers {
			peers = append(peers, fmt.Sprintf("%s min_ttl %d max_ttl %d", p.Addr, p.MinTTL, p.MaxTTL))
		}
		list("Unicast Peer ", peers)
		fmt.Fprintf(w, "   Unicast checksum compatibility = %s\n", pick(i.OldChecksum == "", "no", i.OldChecksum))
	}
	list("Virtual Routes ", routeTexts(i.Routes))
	list("Virtual Rules ", ruleTexts(i.Rules))
}

// trackedTitle and its form are those of one kind of tracked thing.
func (r router) tracked(w io.Writer) { printTracked(w, r.Instance.Track) }

func printTracked(w io.Writer, t conf.Track) {
	for _, k := range []struct {
		title, form string
		list        []conf.Tracked
	}{
		{"Tracked interfaces", "%s weight %d%s", t.Interfaces}, {"Tracked scripts", "%s weight %d%s", t.Scripts}, {"Tracked files", "%s, weight %d%s", t.Files},
		{"Tracked processes", "%s, weight %d%s", t.Processes}, {"Tracked BFDs", "%s: weight %d%s", t.BFDs},
	} {
		if len(k.list) > 0 {
			fmt.Fprintf(w, "   %s :\n", k.title)
		}
		for _, x := range k.list {
			fmt.Fprintf(w, "     "+k.form+"\n", x.Name, x.Weight, pick(x.Reverse, " reverse", ""))
		}
	}
}

// scripts lists the notify scripts that would be run, and by whom.
func (d *dump) scripts(w io.Writer, n conf.Notify) {
	for _, s := range []struct {
		name   string
		script *conf.Script
	}{{"Backup", n.Backup}, {"Master", n.Master}, {"Fault", n.Fault}, {"Stop", n.Stop}, {"Deleted", n.Deleted}, {"Generic", n.Any}, {"Master rx lower pri", n.MasterRxLowerPri}} {
		if c, ok := d.ready[s.script]; ok && s.script != nil {
			fmt.Fprintf(w, "   %s state transition script = %s, uid:gid %d:%d\n", s.name, quoted(s.script.Args), c.As.UID, c.As.GID)
		}
	}
}

func (d *dump) group(w io.Writer, g conf.SyncGroup) {
	state := vrrp.Init
	for _, st := range d.groups {
		if st.Name == g.Name {
			state = st.State
		}
	}
	faults := 0
	for _, name := range g.Instances {
		if d.routers[name].State == vrrp.Fault {
			faults++
		}
	}
	fmt.Fprintf(w, " VRRP Sync Group = %s, %s\n   Num member fault %d, num member init 0\n", g.Name, state, faults)
	if len(g.Instances) > 0 {
		fmt.Fprintln(w, "   VRRP member instances :")
	}
	for _, name := range g.Instances {
		fmt.Fprintf(w, "     %s\n", name)
	}
	if g.TrackingWeight {
		fmt.Fprintln(w, "   sync group tracking weight set")
	}
	printRows(w, "   ", []row{
		line("Using smtp notification", yes(g.SMTPAlert)),
		maybe(g.Notify.PriorityChanges != nil, "Notify priority changes", yes(g.Notify.PriorityChanges != nil && *g.Notify.PriorityChanges)),
	})
	printTracked(w, g.Track)
	d.scripts(w, g.Notify)
}

func (d *dump) script(w io.Writer, s conf.VRRPScript) {
	fmt.Fprintf(w, " VRRP Script = %s\n", s.Name)
	printRows(w, "   ", []row{
		line("Command", quoted(s.Script.Args)),
		line("Interval", fmt.Sprintf("%d sec", seconds(s.Interval))),
		line("Timeout", fmt.Sprintf("%d sec", seconds(s.Timeout))),
		line("Weight", fmt.Sprintf("%d%s", s.Weight, pick(s.Reverse, " reverse", ""))),
		line("Rise", s.Rise),
		line("Fall", s.Fall),
	})
	var by []string
	for _, i := range d.cfg.Routers {
		for _, t := range i.Track.Scripts {
			if t.Name == s.Name {
				by = append(by, fmt.Sprintf("     %s, weight %d%s\n", i.Name, t.Weight, pick(t.Reverse, " reverse", "")))
			}
		}
	}
	if len(by) > 0 {
		fmt.Fprint(w, "   Tracking instances :\n", strings.Join(by, ""))
	}
}

func (d *dump) link(w io.Writer, l host.Link) {
	v4, v6 := firstAddrs(l.Index)
	fmt.Fprintf(w, " Name = %s\n   index = %d\n   IPv4 address = %s\n   IPv6 address = %s\n", l.Name, l.Index, v4, v6)
	if l.Ethernet {
		fmt.Fprintf(w, "   MAC = %s\n   MAC broadcast = ff:ff:ff:ff:ff:ff\n", net.HardwareAddr(l.MAC[:]))
	}
	fmt.Fprintf(w, "   State = %sUP, %sRUNNING%s%s\n", pick(l.Up, "", "not "), pick(l.Running, "", "not "),
		pick(l.Loopback, ", no broadcast, loopback, no multicast", ""), pick(l.NoARP && !l.Loopback, ", no arp", ""))
	fmt.Fprintf(w, "   MTU = %d\n", l.MTU)
	if l.Loopback || l.Ethernet {
		fmt.Fprintf(w, "   HW Type = %s\n", pick(l.Loopback, "LOOPBACK", "ETHERNET"))
	}
	fmt.Fprintf(w, "   NIC %s\n", cmp.Or(d.nics[l.Name], "netlink status update"))
}

// firstAddrs are the first IPv4 and the link-local IPv6 address of an interface.
func firstAddrs(index int) (v4, v6 string) {
	v4, v6 = "(none)", "(none)"
	i, err := net.InterfaceByIndex(index)
	if err != nil {
		return v4, v6
	}
	addrs, _ := i.Addrs()
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		switch {
		case err != nil:
		case p.Addr().Is4() && v4 == "(none)":
			v4 = p.Addr().String()
		case p.Addr().IsLinkLocalUnicast() && p.Addr().Is6() && v6 == "(none)":
			v6 = p.Addr().String()
		}
	}
	return v4, v6
}
