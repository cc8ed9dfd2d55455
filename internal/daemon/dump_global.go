package daemon

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"vipd/internal/conf"
	"vipd/internal/host"
)

// globals is the first part of keepalived.data, in its order.
func (d *dump) globals(w io.Writer) {
	g := d.cfg.Global
	fmt.Fprintln(w, "------< Global definitions >------")
	ns := "(main namespace)"
	if p := g.Process.NamespaceIPVS; p != nil {
		ns = cmp.Or(*p, "(default)")
	}
	printRows(w, " ", []row{
		maybe(g.Manage.SaveDir != "", "Config save dir", g.Manage.SaveDir),
		line("Network namespace", cmp.Or(g.Process.Namespace, "(default)")),
		line("Network namespace ipvs", ns),
		maybe(g.Process.Instance != "", "Instance name", g.Process.Instance),
		line("Router ID", d.names.router),
	})
	d.mailGlobals(w)
	alert := func(b *bool) string {
		if b == nil {
			return "unset"
		}
		return pick(*b, "on", "off")
	}
	printRows(w, " ", []row{
		line("Default smtp_alert", alert(g.SMTPAlert)),
		line("Default smtp_alert_vrrp", alert(g.SMTPAlertVRRP)),
		line("Default smtp_alert_checker", alert(g.SMTPAlertChecker)),
		line("Checkers log all failures", g.LogAllFailures),
	})
	fmt.Fprintln(w, pick(g.Manage.CheckReload == "", " No test config before reload", " Test config before reload, log to "+g.Manage.CheckReload))
	printRows(w, " ", []row{
		maybe(g.Manage.ReloadTimeFile != "", "Reload time file", g.Manage.ReloadTimeFile+pick(g.Manage.ReloadRepeat, " (repeat)", "")),
	})
	if g.Manage.ReloadTimeFile != "" {
		fmt.Fprintln(w, pick(d.reload.IsZero(), " No reload scheduled", " Reload scheduled for "+d.reload.Format("2006-01-02 15:04:05")))
	}
	printRows(w, " ", []row{maybe(g.Manage.ReloadFile != "", "Reload_file", g.Manage.ReloadFile)})
	if g.Manage.UseInstance {
		fmt.Fprintln(w, " Use instance name in data dumps")
	}
	printRows(w, " ", []row{
		line("Dynamic interfaces", g.DynamicInterfaces),
		maybe(g.DynamicInterfaces, "Allow interface changes", g.AllowIfChanges),
		maybe(g.NoEmailFaults, "Send emails for fault transitions", "off"),
		maybe(g.Timeouts.TCP > 0, "LVS TCP timeout", seconds(g.Timeouts.TCP)),
		maybe(g.Timeouts.TCPFin > 0, "LVS TCP FIN timeout", seconds(g.Timeouts.TCPFin)),
		maybe(g.Timeouts.UDP > 0, "LVS TCP timeout", seconds(g.Timeouts.UDP)), // keepalived: its own words for UDP too
		line("Default interface", cmp.Or(g.DefaultInterface, "eth0")),
		line("Disable local IGMP", yes(g.NoLocalIGMP)),
	})
	d.syncGlobals(w)
	printRows(w, " ", []row{
		line("LVS flush", g.Flush),
		line("LVS flush on stop", cmp.Or(g.FlushStop, "disabled")),
	})
	d.fifoGlobals(w)
	d.vrrpGlobals(w)
	d.otherGlobals(w)
}

// syncGlobals is lvs_sync_daemon.
func (d *dump) syncGlobals(w io.Writer) {
	s := d.cfg.Global.SyncDaemon
	if s.Interface == "" {
		return
	}
	vrid, id := 0, s.ID
	for _, i := range d.cfg.Routers {
		if i.Name == s.Instance {
			vrid = int(i.VRID)
		}
	}
	if id < 0 {
		id = vrid
	}
	printRows(w, " ", []row{
		maybe(s.Instance != "", pick(vrid > 0, "LVS syncd vrrp instance", "LVS syncd vrrp name"), s.Instance),
		line("LVS syncd interface", s.Interface),
		line("LVS syncd syncid", id),
		maybe(s.MaxLen > 0, "LVS syncd maxlen", s.MaxLen),
	})
	if s.Group.IsValid() {
		fmt.Fprintf(w, " LVS mcast group %s\n", s.Group)
	}
	printRows(w, " ", []row{
		maybe(s.Port > 0, "LVS syncd mcast port", s.Port),
		maybe(s.TTL > 0, "LVS syncd mcast ttl", s.TTL),
	})
}

func (d *dump) mailGlobals(w io.Writer) {
	g := d.cfg.Global
	server, mails := g.SMTPServer != "", len(g.NotificationEmail) > 0
	printRows(w, " ", []row{
		maybe(server, "Smtp server", g.SMTPServer),
		maybe(server, "Smtp server port", cmp.Or(g.SMTPPort, 25)),
		maybe(server && d.names.helo != "", "Smtp HELO name", d.names.helo),
		maybe(server, "Smtp server connection timeout", cmp.Or(seconds(g.SMTPConnectTimeout), 30)),
		maybe(mails && d.names.from != "", "Email notification from", d.names.from),
	})
	if mails && d.names.from != "" {
		fmt.Fprintln(w, " Email notification to:")
		for _, a := range g.NotificationEmail {
			fmt.Fprintf(w, "   %s\n", a)
		}
	}
}

func (d *dump) fifoGlobals(w io.Writer) {
	s := d.cfg.Global.Scripts
	for _, f := range []struct {
		name string
		fifo conf.FIFO
	}{{"Global", s.Notify}, {"VRRP", s.NotifyVRRP}, {"LVS", s.NotifyLVS}} {
		if f.fifo.Path == "" {
			continue
		}
		id := d.user
		if f.fifo.User != "" {
			id, _ = host.LookupIdentity(f.fifo.User, f.fifo.Group)
		}
		fmt.Fprintf(w, " %s notify fifo = %s, uid:gid %d:%d\n", f.name, f.fifo.Path, id.UID, id.GID)
		if c, ok := d.ready[f.fifo.Script]; ok && f.fifo.Script != nil {
			fmt.Fprintf(w, " %s notify fifo script = %s, uid:gid %d:%d\n", f.name, quoted(append(f.fifo.Script.Args[:len(f.fifo.Script.Args):len(f.fifo.Script.Args)], f.fifo.Path)), c.As.UID, c.As.GID)
		}
	}
	printRows(w, " ", []row{line("FIFO write vrrp states on reload", s.StatesOnReload), line("VRRP notify priority changes", s.PriorityChanges)})
}

func (d *dump) vrrpGlobals(w io.Writer) {
	v := d.cfg.Global.VRRP
	lowerDelay, lowerRepeat := v.Garp.LowerDelay, v.Garp.LowerRepeat
	if lowerDelay < 0 {
		lowerDelay = v.Garp.Delay
	}
	if lowerRepeat < 0 {
		lowerRepeat = int64(v.Garp.Repeat)
	}
	printRows(w, " ", []row{
		line("VRRP IPv4 mcast group", v.Group4),
		line("VRRP IPv6 mcast group", v.Group6),
		line("Gratuitous ARP delay", seconds(v.Garp.Delay)),
		line("Gratuitous ARP repeat", v.Garp.Repeat),
		line("Gratuitous ARP refresh timer", seconds(v.Garp.Refresh)),
		line("Gratuitous ARP refresh repeat", v.Garp.RefreshRepeat),
		line("Gratuitous ARP lower priority delay", seconds(lowerDelay)),
		line("Gratuitous ARP lower priority repeat", lowerRepeat),
		line("Num adverts before down", v.DownTimerAdverts),
		line("Gratuitous ARP for each secondary "+pick(v.ExtraAll, "i/f", "VMAC"), fmt.Sprintf("%ds", seconds(v.ExtraIf))),
		line("Send advert after receive lower priority advert", !v.LowerPrioNoAdvert),
		line("Send advert after receive higher priority advert", v.HigherPrioSend),
		line("Gratuitous ARP interval", fmt.Sprintf("%f", v.GarpInterval.Seconds())),
		line("Gratuitous NA interval", fmt.Sprintf("%f", v.GnaInterval.Seconds())),
		line("VRRP default protocol version", v.Version),
	})
	if v.Table != "" {
		printRows(w, " ", []row{line("nftables table name", v.Table), line("nftables base chain priority", v.ChainPriority)})
		fmt.Fprintf(w, " nftables %sforce use ifindex for link local IPv6\n", pick(v.TableIfindex, "", "don't "))
	}
	fmt.Fprintf(w, " nftables with%s counters\n", pick(v.TableCounters, "", "out"))
	printRows(w, " ", []row{
		line("VRRP check unicast_src", v.CheckUnicastSrc),
		line("VRRP skip check advert addresses", v.SkipCheckAdvAddr),
		line("VRRP strict mode", v.Strict),
	})
}

func (d *dump) otherGlobals(w io.Writer) {
	g := d.cfg.Global
	p := g.Process
	auto := fmt.Sprint(p.MaxAutoPriority)
	if p.MaxAutoPriority == -1 {
		auto = "Disabled"
	}
	printRows(w, " ", []row{line("Max auto priority", auto), line("Min auto priority delay", fmt.Sprintf("%d usecs", p.MinAutoDelay.Microseconds()))})
	for _, t := range []struct {
		name string
		conf.Tuning
	}{{"VRRP", p.VRRP}, {"Checker", p.Checker}, {"BFD", p.BFD}} {
		printRows(w, " "+t.name+" ", []row{line("process priority", t.Nice), line("don't swap", t.NoSwap), line("realtime priority", t.Realtime), line("realtime limit", t.RTLimit)})
	}
	m := g.Manage
	for _, s := range []struct {
		name string
		on   bool
	}{{"SNMP vrrp", m.SNMPVRRP}, {"SNMP checker", m.SNMPChecker}, {"SNMP RFCv2", m.SNMPv2}, {"SNMP RFCv3", m.SNMPv3}, {"SNMP traps", m.Traps}} {
		fmt.Fprintf(w, " %s %s\n", s.name, enabled(s.on))
	}
	fmt.Fprintf(w, " SNMP socket = %s\n DBus %s\n DBus service name = %s\n", cmp.Or(m.SNMPSocket, "default (unix:/var/agentx/master)"), enabled(m.DBus), m.DBusName)
	fmt.Fprintf(w, " Script security %s\n Default script uid:gid %d:%d\n", enabled(g.Scripts.Security), d.user.UID, d.user.GID)
	for _, name := range strings.Fields("vrrp_netlink_cmd_rcv_bufs vrrp_netlink_monitor_rcv_bufs process_monitor_rcv_bufs lvs_netlink_cmd_rcv_bufs lvs_netlink_monitor_rcv_bufs") {
		printRows(w, " ", []row{line(name, p.Buffers[name]), line(name+"_force", pick(p.Force[name+"_force"] || p.Force[name], "1", "0"))})
	}
	printRows(w, " ", []row{
		line("rs_init_notifies", pick(g.InitNotifies, "1", "0")),
		line("no_checker_emails", pick(g.NoCheckerEmails, "1", "0")),
		line("rx_bufs_multiples", g.VRRP.RxMultiplier),
		line("umask", fmt.Sprintf("0%o", p.Umask)),
		maybe(g.VRRP.StartupDelay > 0, "vrrp_startup_delay", fmt.Sprintf("%g", g.VRRP.StartupDelay.Seconds())),
	})
	if g.VRRP.LogUnknownVRIDs {
		fmt.Fprintln(w, " log_unknown_vrids")
	}
}
