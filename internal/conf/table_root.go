package conf

import "time"

// root is the outer level. Rows of all blocks are in the table_*.go files; the order is that of the documentation.
var root = &block{rows: []keyword{
	row(Works, "global_defs", "", "", "Settings of the whole daemon and defaults for instances.").with(globalBlock, nil).by(passParent),
	works("vrrp_instance", "NAME", "", "One virtual router: who holds a set of addresses.", beginInstance).with(instanceBlock, endInstance).by(passVRRP),
	acts("vrrp_sync_group", "NAME", "", "Instances that change state together.").begin(beginGroup).with(groupBlock, endGroup).by(passVRRP),
	works("virtual_server", "IP [PORT] | fwmark N | group NAME", "", "One service and its real servers.", beginService).with(serviceBlock, endService).by(passChecker),
	acts("virtual_server_group", "NAME", "", "Addresses and ports that one virtual_server serves.").begin(beginServiceGroup).
		lines(addGroupLine).ends(endServiceGroup).by(passChecker),
	row(Works, "SSL", "", "", "The client side of SSL_GET.").begin(beginTLS).with(sslBlock, nil).by(passChecker),

	acts("vrrp_script", "NAME", "", "A command whose success or failure changes priorities.").begin(beginScript).with(scriptBlock, endScript).by(passVRRP),
	acts("track_file", "NAME", "", "A file whose number changes priorities.").begin(beginFile).with(trackFileBlock, endFile).by(passVRRP | passChecker),
	acts("vrrp_track_file", "NAME", "", "A file whose number changes priorities. Another name of track_file.").begin(beginFile).
		with(trackFileBlock, endFile).by(passVRRP | passChecker),
	acts("vrrp_track_process", "NAME", "", "A process whose presence changes priorities.").begin(beginProcess).with(processBlock, endProcess).by(passVRRP),
	acts("bfd_instance", "NAME", "", "A bidirectional forwarding detection session (RFC 5880).").begin(beginBFD).with(bfdBlock, endBFD).
		by(passVRRP | passChecker | passBFD),

	row(Works, "static_ipaddress", "", "", "Addresses that stay while the daemon runs.").lines(addStaticAddress).by(passVRRP),
	row(Works, "static_routes", "", "", "Routes that stay while the daemon runs.").
		lines(routeLines(true, func(l *loader, r Route) { l.cfg.StaticRoutes = append(l.cfg.StaticRoutes, r) })).by(passVRRP),
	row(Works, "static_rules", "", "", "Policy rules that stay while the daemon runs.").
		lines(ruleLines(true, func(l *loader, r Rule) { l.cfg.StaticRules = append(l.cfg.StaticRules, r) })).by(passVRRP),
	acts("track_group", "NAME", "", "Instances that follow the interfaces of static entries.").begin(beginTrackGroup).with(trackGroupBlock, nil).by(passVRRP),
	row(Works, "linkbeat_interfaces", "", "", "Interfaces whose driver is asked for its link every second: IFACE [MII|ETHTOOL|IOCTL].").lines(addLinkbeat).by(passVRRP),
	acts("interface_up_down_delays", "", "", "Delays before a link change counts.").lines(addDelay).by(passVRRP),
	row(Works, "garp_group", "", "", "Announcement pacing shared by some interfaces.").begin(beginGarpGroup).with(garpBlock, endGarpGroup).by(passVRRP),

	row(Works, "linkbeat_use_polling", "", "off", "The same of every instance's interface.").begin(gFlag(func(g *Global) *bool { return &g.Process.LinkbeatPolling })).by(passParent),
	row(Works, "net_namespace", "NAME", "", "Run in a named network namespace.").
		begin(gOnce("Duplicate net_namespace definition {value} - ignoring", func(g *Global) *string { return &g.Process.Namespace })).by(passParent),
	row(Works, "net_namespace_ipvs", "[NAME]", "", "Keep the load balancing in another network namespace.").only("with data_plane ipvs").begin(setNamespaceIPVS).by(passParent),
	inert("namespace_with_ipsets", "", "off", "Allow ipsets in a namespace on kernels before 3.13.", "no ipsets are used").
		begin(gFlag(func(g *Global) *bool { return &g.Process.NamespaceIpsets })).by(passParent),
	inert("use_pid_dir", "", "off", "Put pid files under /run/keepalived.", "there are no pid files").begin(gFlag(func(g *Global) *bool { return &g.Process.PidDir })).by(passParent),
	inert("instance", "NAME", "", "A name for this daemon among several on one host.", "use --instance").
		begin(gOnce("Duplicate instance definition {value} - ignoring", func(g *Global) *string { return &g.Process.Instance })).by(passParent),
	inert("child_wait_time", "SECS", "5", "Seconds to wait for child processes at the stop.", "there are no child processes").
		begin(number(0, 1<<32-1, "Invalid child_wait_time {value}", func(l *loader, v int64) { l.cfg.Global.Process.ChildWait = time.Duration(v) * time.Second })).by(passParent),
}}

func beginTLS(l *loader, s *stmt) {
	if l.cfg.TLS != nil {
		l.warn(s.words[0], "repeated", "SSL context already specified - replacing")
	}
	l.cfg.TLS = &TLS{}
}

// tlsWord keeps one word of the SSL block; the last one counts.
func tlsWord(what string, at func(t *TLS) *string) setter {
	return func(l *loader, s *stmt) {
		p := at(l.cfg.TLS)
		if *p != "" {
			l.warn(s.words[0], "repeated", "SSL "+what+" already specified - replacing")
		}
		*p = s.text(1)
	}
}

var sslBlock = &block{name: "SSL", rows: []keyword{
	row(Works, "password", "STRING", "", "Password of the key.").begin(tlsWord("password", func(t *TLS) *string { return &t.Password })),
	inert("ca", "FILE", "", "Certificate authority.", "certificates of real servers are not verified, as with keepalived").begin(tlsWord("cafile", func(t *TLS) *string { return &t.CA })),
	row(Works, "certificate", "FILE", "", "Client certificate.").begin(tlsWord("certfile", func(t *TLS) *string { return &t.Certificate })),
	row(Works, "key", "FILE", "", "Client key.").begin(tlsWord("keyfile", func(t *TLS) *string { return &t.Key })),
}}

var trackGroupBlock = &block{name: "track_group", rows: []keyword{
	acts("group", "", "", "The instances.").begin(beginTrackGroupMembers).lines(addTrackGroupMember).ends(endTrackGroupMembers),
}}

var garpBlock = &block{name: "garp_group", rows: []keyword{
	row(Works, "garp_interval", "SECS", "", "Time between gratuitous ARPs.").begin(garpGroupTime(func(g *GarpGroup) *time.Duration { return &g.Garp })),
	row(Works, "gna_interval", "SECS", "", "Time between unsolicited neighbour advertisements.").begin(garpGroupTime(func(g *GarpGroup) *time.Duration { return &g.Gna })),
	row(Works, "interface", "IF", "", "The one interface of the group.").begin(garpGroupInterface),
	row(Works, "interfaces", "", "", "The interfaces of the group.").lines(garpGroupInterfaces).ends(endGarpGroupInterfaces),
}}
