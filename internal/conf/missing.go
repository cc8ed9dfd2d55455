package conf

// tolerant are the keywords whose missing argument does not stop keepalived, by block, with what it says of that. An
// empty text stands for the common one. Everywhere else a missing argument is the hard failure of syntax.
// Measured with keepalived 2.2.7; the oracle test asks it again.
var tolerant = map[string]map[string]string{
	"": {
		"vrrp_instance": "vrrp_instance must have a name", "vrrp_sync_group": "vrrp_sync_group must have a name - skipping",
		"track_group": "track_group must have a name - skipping", "instance": "instance name missing - ignoring",
		"net_namespace": "net_namespace name missing - ignoring",
	},
	"global_defs": {
		"router_id": "routerid name missing - ignoring", "notification_email_from": "emailfrom missing - ignoring", "smtp_helo_name": "",
		"script_user": "No script username specified", "startup_script": "startup script missing", "shutdown_script": "shutdown script missing",
		"startup_script_timeout": "startup_script_timeout requires value", "shutdown_script_timeout": "shutdown_script_timeout requires value",
		"notify_fifo": "No notify_fifo name specified", "notify_fifo_script": "No notify_fifo_script specified",
		"vrrp_notify_fifo": "No vrrp_notify_fifo name specified", "vrrp_notify_fifo_script": "No vrrp_notify_fifo_script specified",
		"lvs_notify_fifo": "No lvs_notify_fifo name specified", "lvs_notify_fifo_script": "No lvs_notify_fifo_script specified",
		"default_interface": "default_interface requires interface name", "lvs_sync_daemon": "lvs_sync_daemon requires interface",
		"vrrp_rx_bufs_policy": "vrrp_rx_bufs_policy missing", "vrrp_rx_bufs_multiplier": "Invalid vrrp_rx_bufs_multiplier",
		"vrrp_priority": "No vrrp process priority specified", "checker_priority": "No checker process priority specified",
		"bfd_priority": "No bfd process priority specified", "vrrp_rt_priority": "No vrrp process real-time priority specified",
		"checker_rt_priority": "No checker process real-time priority specified", "bfd_rt_priority": "No bfd process real-time priority specified",
		"vrrp_cpu_affinity": "No vrrp cpu_id set specified", "checker_cpu_affinity": "No checker cpu_id set specified",
		"bfd_cpu_affinity": "No bfd cpu_id set specified", "min_auto_priority_delay": "min_auto_priority_delay requires delay time",
		"vrrp_netlink_cmd_rcv_bufs":     "vrrp_netlink_cmd_rcv_bufs size missing",
		"vrrp_netlink_monitor_rcv_bufs": "vrrp_netlink_monitor_rcv_bufs size missing",
		"lvs_netlink_cmd_rcv_bufs":      "lvs_netlink_cmd_rcv_bufs size missing",
		"lvs_netlink_monitor_rcv_bufs":  "lvs_netlink_monitor_rcv_bufs size missing",
		"process_monitor_rcv_bufs":      "process_monitor_rcv_bufs size missing",
		"snmp_socket":                   "SNMP error : snmp socket name missing", "dbus_service_name": "dbus_service_name missing - ignoring",
		"reload_time_file": "reload_time_file invalid", "tmp_config_directory": "tmp_config_directory missing directory name",
	},
	"vrrp_instance":      {"kernel_rx_buf_size": "({vi}) invalid kernel_rx_buf_size specified"},
	"vrrp_script":        {"script": ""},
	"track_file":         {"file": "track file file name missing", "weight": "No weight specified for track file {file} - ignoring"},
	"vrrp_track_process": {"weight": "No weight specified for track process {proc} - ignoring"},
	"virtual_server": {
		"virtualhost": "virtual server virtualhost missing", "snmp_name": "virtual server snmp_name missing or extra parameters",
	},
	"real_server": {"virtualhost": "real server virtualhost missing", "snmp_name": "real server snmp_name missing or extra parameters"},
	"HTTP_GET":    {"virtualhost": "HTTP_GET virtualhost name missing", "http_protocol": "Missing http_protocol version"},
	"url":         {"virtualhost": "Missing HTTP_GET virtualhost name", "regex": ""},
	"SMTP_CHECK":  {"helo_name": "SMTP_CHECK helo name missing"},
	"MISC_CHECK":  {"misc_path": "", "user": "No user specified for misc checker script"},
	"UDP_CHECK":   {"payload": "UDP_CHECK payload requires a payload"},
	"BFD_CHECK":   {"name": ""},
	"FILE_CHECK":  {"weight": "track file weight missing"},
	"SSL":         {"password": "SSL password missing", "ca": "SSL cafile missing", "certificate": "SSL certfile missing", "key": "SSL keyfile missing"},
}

// missingArgument reports a statement that ends too early. It is an Error where keepalived stops.
func (l *loader) missingArgument(b *block, s *stmt) {
	text, soft := tolerant[b.name][s.text(0)]
	var d *Diagnostic
	switch {
	case !soft:
		d = l.diags.add(Error, "missing-argument", s.file, s.words[0], hardMissing(s, len(s.words)))
		d.class = classStop
	case text == "":
		d = l.own(s.words[0], "missing-argument", s.text(0)+" has no argument - ignoring")
	default:
		d = l.warn(s.words[0], "missing-argument", l.fill(text, ""))
	}
	d.Expected = l.kw.Name + " " + l.kw.Args
	if l.kw.Default != "" {
		d.Hint = "without the line the value is " + l.kw.Default
	}
}
