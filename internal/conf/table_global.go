package conf

import (
	"net/netip"
	"time"
)

const (
	processWhy  = "there is one process, and the kernel forwards without it"
	realtimeWhy = "the thread that speaks VRRP has a real-time priority from the start"
	bufferWhy   = "buffers are sized by the daemon itself"
	nftWhy      = "nftables is used instead, as with the keyword nftables"
	garpDelay   = "delay of the second block of announcements; 0: none"
)

var globalBlock = &block{name: "global_defs", rows: join(globalMail, globalScripts, globalVRRP, globalFirewall, globalLVS,
	globalProcess, globalManage)}

var globalMail = []keyword{
	works("router_id", "STRING", "the host's name", "Name of this machine in mails.", gWord(func(g *Global) *string { return &g.RouterID })),
	works("notification_email", "", "", "Recipients of mails.", nil).lines(addEmail).ends(endMail),
	works("notification_email_from", "ADDR", "keepalived@HOST", "Sender of mails.", gWord(func(g *Global) *string { return &g.EmailFrom })),
	works("smtp_server", "HOST [PORT]", "port 25", "Mail relay.", setSMTP),
	works("smtp_helo_name", "STRING", "the host's name", "Argument of HELO.", gWord(func(g *Global) *string { return &g.SMTPHelo })),
	works("smtp_connect_timeout", "SECS", "30", "Time to connect to the relay and for each answer.", setSMTPTimeout),
	works("smtp_tls", "off|starttls|tls [insecure]", "off", "Encrypt the way to the relay; insecure takes any certificate. An extension of vipd.", setSMTPTLS).extension(),
	works("smtp_auth", "USER PASSWORD", "", "Log in at the relay, by PLAIN or LOGIN, once the way is encrypted or the relay is this host. An extension of vipd.", setSMTPAuth).extension(),
	works("smtp_alert", "[BOOL]", "", "Default of every smtp_alert.", gAlert("smtp_alert", func(g *Global) **bool { return &g.SMTPAlert })),
	works("smtp_alert_vrrp", "[BOOL]", "", "Default of smtp_alert in instances and groups.", gAlert("smtp_alert_vrrp", func(g *Global) **bool { return &g.SMTPAlertVRRP })),
	works("smtp_alert_checker", "[BOOL]", "", "Default of smtp_alert in services.", gAlert("smtp_alert_checker", func(g *Global) **bool { return &g.SMTPAlertChecker })),
	works("no_email_faults", "", "off", "No mail about faults.", gFlag(func(g *Global) *bool { return &g.NoEmailFaults })),
	works("no_checker_emails", "[BOOL]", "off", "Mail only when a real server is added or removed.", gBool("Invalid value '{value}' for global no_checker_emails specified", func(g *Global) *bool { return &g.NoCheckerEmails })),
	row(Works, "checker_log_all_failures", "[BOOL]", "off", "Log every failed check, not only changes.").begin(gBool("Invalid value for checker_log_all_failures specified", func(g *Global) *bool { return &g.LogAllFailures })),
	works("checker_share", "[BOOL]", "off", "Checks that ask the same of the same place, with the same times, are made once for all services."+byVipd,
		gBool("Invalid value '{value}' for checker_share", func(g *Global) *bool { return &g.ShareChecks })).extension(),
	row(Works, "rs_init_notifies", "[BOOL]", "off", "Notify the first state of real servers too.").begin(gBool("Invalid value '{value}' for global rs_init_notifies specified", func(g *Global) *bool { return &g.InitNotifies })),
}

var globalScripts = join([]keyword{
	works("script_user", "USER [GROUP]", "keepalived_script, else root", "Who runs scripts.", setScriptUser),
	works("enable_script_security", "", "off", "Refuse scripts that others than root could change.", gFlag(func(g *Global) *bool { return &g.Scripts.Security })),
	row(Works, "use_symlink_paths", "[BOOL]", "off", "Keep symbolic links in script paths.").since24().begin(gBool("Invalid value '{value}' for global use_symlink_paths specified", func(g *Global) *bool { return &g.Scripts.SymlinkPaths })),
	works("set_supplementary_groups", "[BOOL]", "off", "Give scripts the user's further groups.", nil).since24().begin(gBool("Invalid value '{value}' for global set_supplementary_groups specified", func(g *Global) *bool { return &g.Scripts.Supplementary })),
	acts("startup_script", "COMMAND", "", "Run before anything else.").begin(globalScript("startup", func(g *GlobalScripts) **Script { return &g.Startup })).command(),
	acts("shutdown_script", "COMMAND", "", "Run after everything else.").begin(globalScript("shutdown", func(g *GlobalScripts) **Script { return &g.Shutdown })).command(),
	acts("startup_script_timeout", "1..1000", "10", "Seconds for startup_script.").begin(number(1, 1000, "startup_script_timeout '{value}' must be in [1, 1000] - ignoring", func(l *loader, v int64) { l.cfg.Global.Scripts.StartupTimeout = time.Duration(v) * time.Second })),
	acts("shutdown_script_timeout", "1..1000", "10", "Seconds for shutdown_script.").begin(number(1, 1000, "shutdown_script_timeout '{value}' must be in [1, 1000] - ignoring", func(l *loader, v int64) { l.cfg.Global.Scripts.ShutdownTimeout = time.Duration(v) * time.Second })),
	works("notify_script_timeout", "1..3600", "30", "Seconds that the scripts of a state may go on when the next state waits for them. An extension of vipd.", number(1, 3600, "notify_script_timeout '{value}' must be in [1, 3600] - ignoring", func(l *loader, v int64) { l.cfg.Global.Scripts.NotifyTimeout = time.Duration(v) * time.Second })).extension(),
	works("notify_fifo", "PATH [USER [GROUP]]", "", "FIFO for all events.", fifo("", func(g *GlobalScripts) *FIFO { return &g.Notify })),
	works("notify_fifo_script", "COMMAND", "", "Reader of notify_fifo.", fifoScript("", func(g *GlobalScripts) *FIFO { return &g.Notify })).command(),
	works("vrrp_notify_fifo", "PATH [USER [GROUP]]", "", "FIFO for VRRP events.", fifo("vrrp_", func(g *GlobalScripts) *FIFO { return &g.NotifyVRRP })),
	works("vrrp_notify_fifo_script", "COMMAND", "", "Reader of vrrp_notify_fifo.", fifoScript("vrrp_", func(g *GlobalScripts) *FIFO { return &g.NotifyVRRP })).command(),
	works("lvs_notify_fifo", "PATH [USER [GROUP]]", "", "FIFO for service events.", fifo("lvs_", func(g *GlobalScripts) *FIFO { return &g.NotifyLVS })),
	works("lvs_notify_fifo_script", "COMMAND", "", "Reader of lvs_notify_fifo.", fifoScript("lvs_", func(g *GlobalScripts) *FIFO { return &g.NotifyLVS })).command(),
	works("fifo_write_vrrp_states_on_reload", "", "off", "Write all states again after a reload.", gFlag(func(g *Global) *bool { return &g.Scripts.StatesOnReload })),
	works("vrrp_notify_priority_changes", "[BOOL]", "off", "Write priority changes to the FIFOs.", gBool("Invalid value '{value}' for global vrrp_notify_priority_changes specified", func(g *Global) *bool { return &g.Scripts.PriorityChanges })),
})

var globalVRRP = join([]keyword{
	works("vrrp_version", "2|3", "2, IPv6: 3", "Protocol version of instances.", signedNumber(2, 3, "VRRP Error: Version must be either 2 or 3", func(l *loader, v int64) { l.cfg.Global.VRRP.Version = uint8(v) })),
	row(Works, "vrrp_mcast_group4", "ADDR", "224.0.0.18", "Multicast group of IPv4 adverts.").begin(setMcastGroup(false, func(g *GlobalVRRP) *netip.Addr { return &g.Group4 })),
	row(Works, "vrrp_mcast_group6", "ADDR", "ff02::12", "Multicast group of IPv6 adverts.").begin(setMcastGroup(true, func(g *GlobalVRRP) *netip.Addr { return &g.Group6 })),
	works("vrrp_garp_master_delay", "SECS", "5", "Default of garp_master_delay: "+garpDelay+".", gSeconds(4294, "vrrp_garp_master_delay '{value}' invalid - ignoring", func(g *Garp, d time.Duration) { g.Delay = d })),
	works("vrrp_garp_master_repeat", "N", "5", "Default of garp_master_repeat: announcements per block.", gRepeat(func(g *Garp) *uint32 { return &g.Repeat })),
	works("vrrp_garp_master_refresh", "SECS", "0", "Default of garp_master_refresh: announce again so often.", gSeconds(1<<32-1, "Invalid vrrp_garp_master_refresh '{value}' - ignoring", func(g *Garp, d time.Duration) { g.Refresh = d })),
	works("vrrp_garp_master_refresh_repeat", "N", "1", "Default of garp_master_refresh_repeat: announcements each time.", gRepeat(func(g *Garp) *uint32 { return &g.RefreshRepeat })),
	works("vrrp_garp_lower_prio_delay", "SECS", "vrrp_garp_master_delay", "The delay after a lower advert was heard as master.", gSeconds(4294, "vrrp_garp_lower_prio_delay '{value}' invalid - ignoring", func(g *Garp, d time.Duration) { g.LowerDelay = d })),
	works("vrrp_garp_lower_prio_repeat", "N", "vrrp_garp_master_repeat", "Announcements after a lower advert was heard as master.", number(0, 1<<31-1, "Invalid vrrp_garp_lower_prio_repeat '{value}'", func(l *loader, v int64) {
		l.cfg.Global.VRRP.Garp.LowerRepeat = v
	})),
	row(Works, "vrrp_garp_interval", "SECS", "0", "Time between gratuitous ARPs on an interface.").begin(interval(func(g *GlobalVRRP) *time.Duration { return &g.GarpInterval })),
	row(Works, "vrrp_gna_interval", "SECS", "0", "Time between neighbour advertisements on an interface.").begin(interval(func(g *GlobalVRRP) *time.Duration { return &g.GnaInterval })),
	row(Works, "vrrp_min_garp", "[BOOL]", "off", "One gratuitous ARP, no second block.").begin(setMinGarp),
}, acts("vrrp_garp_extra_if", "[all] SECS", "off", "Announce on other interfaces with addresses too.").begin(setGlobalExtraIf).also("vrrp_vmac_garp_intvl"), []keyword{
	row(Works, "vrrp_down_timer_adverts", "1..100", "3", "Adverts missed before a takeover.").begin(number(1, 100, "Invalid vrrp_down_timer_adverts [1:100] '{value}'", func(l *loader, v int64) { l.cfg.Global.VRRP.DownTimerAdverts = int(v) })),
	works("vrrp_lower_prio_no_advert", "[BOOL]", "false", "Do not answer a lower advert.", gBool("Invalid value for vrrp_lower_prio_no_advert specified", func(g *Global) *bool { return &g.VRRP.LowerPrioNoAdvert })),
	works("vrrp_higher_prio_send_advert", "[BOOL]", "false", "Send one advert before giving way.", gBool("Invalid value for vrrp_higher_prio_send_advert specified", func(g *Global) *bool { return &g.VRRP.HigherPrioSend })),
	row(Works, "vrrp_check_unicast_src", "", "off", "Take unicast adverts only from peers.").begin(gFlag(func(g *Global) *bool { return &g.VRRP.CheckUnicastSrc })),
	row(Works, "vrrp_skip_check_adv_addr", "[BOOL]", "off", "Do not compare the addresses of adverts from the known master.").begin(gFlag(func(g *Global) *bool { return &g.VRRP.SkipCheckAdvAddr })),
	row(Works, "vrrp_strict", "[BOOL]", "off", "Only what the standard allows.").only(noAcceptExtent).begin(gFlag(func(g *Global) *bool { return &g.VRRP.Strict })),
	row(Works, "vrrp_owner_ignore_adverts", "[BOOL]", "off", "An owner of the addresses ignores adverts.").since24().begin(gBool("Invalid value for vrrp_owner_ignore_adverts specified", func(g *Global) *bool { return &g.VRRP.OwnerIgnores })),
	row(Works, "v3_checksum_as_v2", "[BOOL]", "off", "No pseudo header in version 3 checksums over IPv4.").since24().begin(gFlag(func(g *Global) *bool { return &g.VRRP.V3ChecksumAsV2 })),
	row(Works, "vrrp_startup_delay", "SECS", "0", "Hold all instances after the start.").begin(seconds(1000, micros32, "vrrp_startup_delay '{value}' is invalid", func(l *loader, v time.Duration) { l.cfg.Global.VRRP.StartupDelay = v })),
	row(Works, "vrrp_delay_after_boot", "SECS", "0", "Hold all instances until so long after the boot.").since24().begin(seconds(1000, micros32, "vrrp_delay_after_boot '{value}' is invalid", func(l *loader, v time.Duration) { l.cfg.Global.VRRP.DelayAfterBoot = v })),
	row(Works, "log_unknown_vrids", "", "off", "Log adverts for routers that are not configured.").begin(gFlag(func(g *Global) *bool { return &g.VRRP.LogUnknownVRIDs })),
	acts("vmac_prefix", "STRING", "vrrp", "Start of the names of virtual MAC interfaces.").begin(gOnce("vmac prefix has already been specified - ignoring {value}", func(g *Global) *string { return &g.VRRP.VMACPrefix })),
	acts("vmac_addr_prefix", "STRING", "vmac_prefix", "The same for interfaces of addresses.").begin(gOnce("vmac_addr prefix has already been specified - ignoring {value}", func(g *Global) *string { return &g.VRRP.VMACAddrPrefix })),
	acts("dynamic_interfaces", "[allow_if_changes]", "off", "Interfaces may come and go.").begin(setDynamic),
	acts("default_interface", "IF", "eth0", "Interface of static addresses without dev.").begin(gWord(func(g *Global) *string { return &g.DefaultInterface })),
	acts("disable_local_igmp", "", "off", "No IGMP reports for link-local groups.").begin(gFlag(func(g *Global) *bool { return &g.NoLocalIGMP })),
	inert("vrrp_rx_bufs_policy", "MTU|ADVERT|BYTES", "", "Size of receive buffers.", bufferWhy).begin(setRxPolicy),
	inert("vrrp_rx_bufs_multiplier", "N", "3", "Factor of receive buffers.", bufferWhy).begin(setRxMultiplier),
})

var globalFirewall = []keyword{
	row(Works, "nftables", "[TABLE]", "keepalived", "Table for the rules of no_accept and virtual MACs.").only("no_accept; family inet").begin(setTable("", "keepalived", func(g *GlobalVRRP) *string { return &g.Table })),
	row(Works, "nftables_priority", "N", "-1", "Priority of its chains.").begin(signedNumber(-1<<31, 1<<31-1, "invalid nftables chain priority '{value}'", func(l *loader, v int64) { l.cfg.Global.VRRP.ChainPriority = int32(v) })),
	inert("nftables_counters", "", "off", "Counters on its rules.", "they always count").begin(gFlag(func(g *Global) *bool { return &g.VRRP.TableCounters })),
	inert("nftables_ifindex", "", "off", "Interface numbers as keys.", "addresses are the keys").begin(gFlag(func(g *Global) *bool { return &g.VRRP.TableIfindex })),
	inert("vrrp_iptables", "[IN [OUT]]", "INPUT", "Chains for the same with iptables.", nftWhy).begin(setIptables),
	inert("vrrp_ipsets", "[NAME]", "", "Sets for the same with iptables.", nftWhy).since24().begin(setIpsets),
	inert("nftables_ipvs", "[TABLE]", "keepalived_ipvs", "Table that marks the packets of big groups.", "groups need no marks here").begin(setTable("ipvs ", "keepalived_ipvs", func(g *GlobalVRRP) *string { return &g.IPVSTable })),
	inert("nftables_ipvs_priority", "N", "", "Priority of its chains.", "groups need no marks here").begin(signedNumber(-1<<31, 1<<31-1, "invalid ipvs nftables chain priority '{value}'", func(l *loader, v int64) { l.cfg.Global.VRRP.IPVSPriority = int32(v) })),
	inert("nftables_ipvs_start_fwmark", "N", "1000", "First mark.", "groups need no marks here").begin(number(1, 1<<32-1, "invalid ipvs nftables start_fwmark priority '{value}'", func(l *loader, v int64) { l.cfg.Global.VRRP.IPVSStartMark = uint32(v) })),
}
