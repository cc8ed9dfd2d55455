package conf

import "time"

const (
	mailWhy    = "this version sends no mail"
	processWhy = "there is one process, and the kernel forwards without it"
	bufferWhy  = "buffers are sized by the daemon itself"
	addrWhy    = "a list that differs is logged and accepted"
	garpDelay  = "delay of the second block of announcements; 0: none"
)

var globalBlock = &block{name: "global_defs", rows: join(globalMail, globalScripts, globalVRRP, globalFirewall, globalLVS,
	globalProcess, globalManage)}

var globalMail = []keyword{
	works("router_id", "STRING", "the host's name", "Name of this machine in mails and status.", word(func(l *loader, v string) { l.cfg.Global.RouterID = v })),
	works("notification_email", "", "", "Recipients of mails.", mail).lines(addEmail),
	works("notification_email_from", "ADDR", "keepalived@HOST", "Sender of mails.", word(func(l *loader, v string) { l.cfg.Global.EmailFrom = v })),
	works("smtp_server", "HOST [PORT]", "port 25", "Mail relay.", setSMTP),
	works("smtp_helo_name", "STRING", "the host's name", "Argument of HELO.", word(func(l *loader, v string) { l.cfg.Global.SMTPHelo = v })),
	works("smtp_connect_timeout", "SECS", "30", "Time to connect to the relay and for each answer.",
		number(0, 4294, "smtp_connect_timeout '{value}' must be in [0, 4294] - ignoring", func(l *loader, v int64) {
			l.cfg.Global.SMTPConnectTimeout = time.Duration(v) * time.Second
		})),
	inert("smtp_alert", "[BOOL]", "", "Default of every smtp_alert.", mailWhy),
	inert("smtp_alert_vrrp", "[BOOL]", "", "Default of smtp_alert in instances and groups.", mailWhy),
	inert("smtp_alert_checker", "[BOOL]", "", "Default of smtp_alert in services.", mailWhy),
	inert("no_email_faults", "", "off", "No mail about faults.", mailWhy),
	inert("no_checker_emails", "[BOOL]", "off", "Mail only when a real server is added or removed.", mailWhy),
	planned("checker_log_all_failures", "[BOOL]", "off", "Log every failed check, not only changes."),
	planned("rs_init_notifies", "[BOOL]", "off", "Notify the first state of real servers too."),
}

var globalScripts = join([]keyword{
	planned("script_user", "USER [GROUP]", "keepalived_script, else root", "Who runs scripts."),
	planned("enable_script_security", "", "off", "Refuse scripts that others than root could change."),
	planned("use_symlink_paths", "[BOOL]", "off", "Keep symbolic links in script paths."),
	planned("set_supplementary_groups", "[BOOL]", "off", "Give scripts the user's further groups."),
	planned("startup_script", "COMMAND", "", "Run before anything else.").command(),
	planned("shutdown_script", "COMMAND", "", "Run after everything else.").command(),
	planned("startup_script_timeout", "1..1000", "10", "Seconds for startup_script."),
	planned("shutdown_script_timeout", "1..1000", "10", "Seconds for shutdown_script."),
	planned("notify_fifo", "PATH [USER [GROUP]]", "", "FIFO for all events."),
	planned("notify_fifo_script", "COMMAND", "", "Reader of notify_fifo.").command(),
	planned("vrrp_notify_fifo", "PATH [USER [GROUP]]", "", "FIFO for VRRP events."),
	planned("vrrp_notify_fifo_script", "COMMAND", "", "Reader of vrrp_notify_fifo.").command(),
	planned("lvs_notify_fifo", "PATH [USER [GROUP]]", "", "FIFO for service events."),
	planned("lvs_notify_fifo_script", "COMMAND", "", "Reader of lvs_notify_fifo.").command(),
	planned("fifo_write_vrrp_states_on_reload", "", "off", "Write all states again after a reload."),
	planned("vrrp_notify_priority_changes", "[BOOL]", "off", "Write priority changes to the FIFOs."),
})

var globalVRRP = join([]keyword{
	works("vrrp_version", "2|3", "2, IPv6: 3", "Protocol version of instances.",
		number(2, 3, "VRRP Error: Version must be either 2 or 3", func(l *loader, v int64) { l.glob.version = uint8(v) })),
	planned("vrrp_mcast_group4", "ADDR", "224.0.0.18", "Multicast group of IPv4 adverts."),
	planned("vrrp_mcast_group6", "ADDR", "ff02::12", "Multicast group of IPv6 adverts."),
	works("vrrp_garp_master_delay", "SECS", "5", "Default of garp_master_delay: "+garpDelay+".",
		garpNumber("vrrp_garp_master_delay '{value}' invalid - ignoring", func(l *loader) *int64 { return &l.glob.garp.delay })),
	works("vrrp_garp_master_repeat", "N", "5", "Default of garp_master_repeat: announcements per block.",
		garpRepeat("", "vrrp_garp_master_repeat '{value}' is invalid", func(l *loader) *int64 { return &l.glob.garp.repeat })),
	works("vrrp_garp_master_refresh", "SECS", "0", "Default of garp_master_refresh: announce again so often.",
		garpNumber("Invalid vrrp_garp_master_refresh '{value}' - ignoring", func(l *loader) *int64 { return &l.glob.garp.refresh })),
	works("vrrp_garp_master_refresh_repeat", "N", "1", "Default of garp_master_refresh_repeat: announcements each time.",
		garpRepeat("", "vrrp_garp_master_refresh_repeat '{value}' is invalid", func(l *loader) *int64 { return &l.glob.garp.refreshRepeat })),
	works("vrrp_garp_lower_prio_delay", "SECS", "vrrp_garp_master_delay", "The delay after a lower advert was heard as master.",
		garpNumber("vrrp_garp_lower_prio_delay '{value}' invalid - ignoring", func(l *loader) *int64 { return &l.glob.garp.lowerDelay })),
	works("vrrp_garp_lower_prio_repeat", "N", "vrrp_garp_master_repeat", "Announcements after a lower advert was heard as master.",
		garpNumber("Invalid vrrp_garp_lower_prio_repeat '{value}'", func(l *loader) *int64 { return &l.glob.garp.lowerRepeat })),
	works("vrrp_garp_interval", "SECS", "0", "Time between gratuitous ARPs on an interface.", interval),
	works("vrrp_gna_interval", "SECS", "0", "Time between neighbour advertisements on an interface.", interval),
	planned("vrrp_min_garp", "[BOOL]", "off", "One gratuitous ARP, no second block."),
}, planned("vrrp_garp_extra_if", "[all] SECS", "off", "Announce on other interfaces with addresses too.").also("vrrp_vmac_garp_intvl"), []keyword{
	planned("vrrp_down_timer_adverts", "1..100", "3", "Adverts missed before a takeover."),
	works("vrrp_lower_prio_no_advert", "[BOOL]", "false", "Do not answer a lower advert.",
		boolean("Invalid value for vrrp_lower_prio_no_advert specified", func(l *loader, v bool) { l.glob.lowerNoAdvert = v })),
	works("vrrp_higher_prio_send_advert", "[BOOL]", "false", "Send one advert before giving way.",
		boolean("Invalid value for vrrp_higher_prio_send_advert specified", func(l *loader, v bool) { l.glob.higherSendAdvert = v })),
	planned("vrrp_check_unicast_src", "", "off", "Take unicast adverts only from peers."),
	inert("vrrp_skip_check_adv_addr", "[BOOL]", "off", "Do not compare the addresses of adverts from the known master.", addrWhy),
	planned("vrrp_strict", "[BOOL]", "off", "Only what the standard allows.").begin(boolean("Invalid value for vrrp_strict specified", func(l *loader, v bool) { l.glob.strict = v })),
	planned("vrrp_owner_ignore_adverts", "[BOOL]", "off", "An owner of the addresses ignores adverts."),
	planned("v3_checksum_as_v2", "[BOOL]", "off", "No pseudo header in version 3 checksums over IPv4."),
	planned("vrrp_startup_delay", "SECS", "0", "Hold all instances after the start."),
	planned("vrrp_delay_after_boot", "SECS", "0", "Hold all instances until so long after the boot."),
	planned("log_unknown_vrids", "", "off", "Log adverts for routers that are not configured."),
	planned("vmac_prefix", "STRING", "vrrp", "Start of the names of virtual MAC interfaces."),
	planned("vmac_addr_prefix", "STRING", "vmac_prefix", "The same for interfaces of addresses."),
	planned("dynamic_interfaces", "[allow_if_changes]", "off", "Interfaces may come and go."),
	works("default_interface", "IF", "eth0", "Interface of static addresses without dev.", ifName(func(l *loader, v string) { l.cfg.Global.DefaultInterface = v })),
	planned("disable_local_igmp", "", "off", "No IGMP reports for link-local groups."),
	inert("vrrp_rx_bufs_policy", "MTU|ADVERT|BYTES", "", "Size of receive buffers.", bufferWhy),
	inert("vrrp_rx_bufs_multiplier", "N", "3", "Factor of receive buffers.", bufferWhy),
})

var globalFirewall = []keyword{
	planned("nftables", "[TABLE]", "keepalived", "Table for the rules of no_accept and virtual MACs."),
	planned("nftables_priority", "N", "-1", "Priority of its chains."),
	planned("nftables_counters", "", "off", "Counters on its rules."),
	planned("nftables_ifindex", "", "off", "Interface numbers as keys."),
	planned("vrrp_iptables", "[IN [OUT]]", "INPUT", "Chains for the same with iptables."),
	planned("vrrp_ipsets", "[NAME]", "", "Sets for the same with iptables."),
	inert("nftables_ipvs", "[TABLE]", "keepalived_ipvs", "Table that marks the packets of big groups.", "groups need no marks here"),
	inert("nftables_ipvs_priority", "N", "", "Priority of its chains.", "groups need no marks here"),
	inert("nftables_ipvs_start_fwmark", "N", "1000", "First mark.", "groups need no marks here"),
}
