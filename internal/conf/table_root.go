package conf

// root is the outer level. Rows of all blocks are in the table_*.go files; the order is that of the documentation.
var root = &block{rows: []keyword{
	row(Works, "global_defs", "", "", "Settings of the whole daemon and defaults for instances.").with(globalBlock, nil),
	works("vrrp_instance", "NAME", "", "One virtual router: who holds a set of addresses.", beginInstance).with(instanceBlock, endInstance),
	planned("vrrp_sync_group", "NAME", "", "Instances that change state together.").begin(beginGroup).with(groupBlock, endGroup),
	works("virtual_server", "IP [PORT] | fwmark N | group NAME", "", "One service and its real servers.", beginService).with(serviceBlock, endService),
	planned("virtual_server_group", "NAME", "", "Addresses and ports that one virtual_server serves.").lines(nil),
	planned("SSL", "", "", "The client side of SSL_GET.").with(sslBlock, nil),

	planned("vrrp_script", "NAME", "", "A command whose success or failure changes priorities.").with(scriptBlock, nil),
	planned("track_file", "NAME", "", "A file whose number changes priorities.").with(trackFileBlock, nil),
	planned("vrrp_track_file", "NAME", "", "A file whose number changes priorities. Another name of track_file.").with(trackFileBlock, nil),
	planned("vrrp_track_process", "NAME", "", "A process whose presence changes priorities.").with(processBlock, nil),
	planned("bfd_instance", "NAME", "", "A bidirectional forwarding detection session (RFC 5880).").with(bfdBlock, nil),

	planned("static_ipaddress", "", "", "Addresses that stay while the daemon runs.").lines(nil),
	planned("static_routes", "", "", "Routes that stay while the daemon runs.").lines(nil),
	planned("static_rules", "", "", "Policy rules that stay while the daemon runs.").lines(nil),
	planned("track_group", "NAME", "", "Instances that step back when a static entry is lost.").with(trackGroupBlock, nil),
	inert("linkbeat_interfaces", "", "", "Interfaces whose link is polled.", linkWhy).lines(nil),
	planned("interface_up_down_delays", "", "", "Delays before a link change counts.").lines(nil),
	planned("garp_group", "", "", "Announcement pacing shared by some interfaces.").with(garpBlock, nil),

	inert("linkbeat_use_polling", "", "off", "Poll the link state of every interface.", linkWhy),
	planned("net_namespace", "NAME", "", "Run in a named network namespace."),
	planned("net_namespace_ipvs", "[NAME]", "", "Keep the load balancing in another network namespace."),
	inert("namespace_with_ipsets", "", "off", "Allow ipsets in a namespace on kernels before 3.13.", "no ipsets are used"),
	inert("use_pid_dir", "", "off", "Put pid files under /run/keepalived.", "there are no pid files"),
	inert("instance", "NAME", "", "A name for this daemon among several on one host.", "use --instance"),
	inert("child_wait_time", "SECS", "5", "Seconds to wait for child processes at the stop.", "there are no child processes"),
}}

const linkWhy = "the kernel tells of link changes at once"

// begin gives a planned row something to do all the same.
func (k keyword) begin(set setter) keyword { k.set = set; return k }

var sslBlock = &block{name: "SSL", rows: []keyword{
	planned("password", "STRING", "", "Password of the key."),
	planned("ca", "FILE", "", "Certificate authority."),
	planned("certificate", "FILE", "", "Client certificate."),
	planned("key", "FILE", "", "Client key."),
}}

var trackGroupBlock = &block{name: "track_group", rows: []keyword{
	planned("group", "", "", "The instances.").lines(nil),
}}

var garpBlock = &block{name: "garp_group", rows: []keyword{
	planned("garp_interval", "SECS", "", "Time between gratuitous ARPs."),
	planned("gna_interval", "SECS", "", "Time between unsolicited neighbour advertisements."),
	planned("interface", "IF", "", "The one interface of the group."),
	planned("interfaces", "", "", "The interfaces of the group.").lines(nil),
}}
