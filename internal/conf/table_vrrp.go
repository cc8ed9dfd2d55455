package conf

import (
	"time"
)

var instanceBlock = &block{name: "vrrp_instance", rows: join(instanceMain, instanceGarp, instancePeers, instanceTrack, instanceRest)}

var instanceMain = []keyword{
	works("interface", "IF", "", "Where adverts are sent and addresses put.", ifName(func(l *loader, v string) { l.vi.Interface = v })),
	works("virtual_router_id", "1..255", "", "Number of the virtual router, the same on all its members.",
		number(1, 255, "({vi}): VRID '{value}' not valid - must be between 1 & 255", func(l *loader, v int64) { l.vi.VRID = uint8(v) })),
	works("state", "MASTER|BACKUP", "BACKUP", "First state; it decides nothing unless the priority is 255.", setState),
	works("priority", "1..255", "100, with state MASTER 255", "Who wins the election; 255 owns the addresses.",
		number(1, 255, "({vi}) Priority not valid! must be between 1 & 255. Using default 100", func(l *loader, v int64) { l.vi.Priority = uint8(v) })),
	works("advert_int", "SECS", "1", "Time between adverts; version 2 has whole seconds.", setAdvertInt),
	works("version", "2|3", "vrrp_version", "Protocol version.",
		number(2, 3, "({vi}): Version must be either 2 or 3", func(l *loader, v int64) { l.vi.Version = uint8(v) })),
	row(Works, "authentication", "", "", "Password in adverts, version 2 only.").with(authBlock, nil),
	planned("auth_hmac", "", "", "Signed adverts.").with(hmacBlock, nil),
	row(Works, "virtual_ipaddress", "", "", "Addresses that the master holds and announces.").lines(addVIP),
	row(Works, "virtual_ipaddress_excluded", "", "", "Addresses that the master holds, not in adverts.").lines(addExcluded),
	planned("no_virtual_ipaddress", "", "off", "Having no address is meant so."),
	planned("virtual_routes", "", "", "Routes that the master has.").lines(nil),
	planned("virtual_rules", "", "", "Policy rules that the master has.").lines(nil),
	planned("promote_secondaries", "", "off", "Keep secondary addresses when the primary goes."),
	works("nopreempt", "", "preempt", "Leave a lower master in place.", flag(func(l *loader) { l.vi.NoPreempt = true })),
	works("preempt", "", "preempt", "Take over from a lower master.", flag(func(l *loader) { l.vi.NoPreempt = false })),
	works("preempt_delay", "0..1000", "0", "Seconds to leave a lower master in place.",
		seconds(0, 1000*second, "({vi}) Preempt_delay not valid! must be between 0-1000", func(l *loader, v time.Duration) { l.vi.PreemptDelay = v })),
}

var authBlock = &block{name: "authentication", rows: []keyword{
	works("auth_type", "PASS|AH", "", "Kind of authentication.", setAuthType),
	works("auth_pass", "STRING", "", "Password; 8 bytes of it count.", setAuthPass),
}}

var hmacBlock = &block{name: "auth_hmac", rows: []keyword{
	planned("key", "ID VALUE", "", "A key, 32 to 64 bytes."),
	planned("active_key", "ID", "", "The key that signs."),
	planned("time_window", "1..300", "", "Seconds that clocks may differ."),
	planned("anti_replay", "time|monotonic", "time", "How old adverts are refused."),
	planned("mode", "enforce|permissive|receive-only", "enforce", "What happens to adverts without a signature."),
}}

var instanceGarp = join([]keyword{
	works("garp_master_delay", "SECS", "vrrp_garp_master_delay", "Seconds after which announcements are repeated; 0: never.",
		garpNumber("({vi}): garp_master_delay '{value}' invalid - ignoring", func(l *loader) *int64 { return &l.vi.delay })),
	works("garp_master_repeat", "N", "vrrp_garp_master_repeat", "Announcements per block.",
		garpRepeat("({vi}): ", "({vi}): Invalid garp_master_repeat '{value}'", func(l *loader) *int64 { return &l.vi.repeat })),
	works("garp_master_refresh", "SECS", "vrrp_garp_master_refresh", "Announce again so often while master.",
		garpNumber("({vi}): Invalid garp_master_refresh '{value}' - ignoring", func(l *loader) *int64 { return &l.vi.refresh })),
	works("garp_master_refresh_repeat", "N", "vrrp_garp_master_refresh_repeat", "Announcements each time.",
		garpRepeat("({vi}): ", "({vi}): Invalid garp_master_refresh_repeat '{value}'", func(l *loader) *int64 { return &l.vi.refreshRepeat })),
	works("garp_lower_prio_delay", "SECS", "garp_master_delay", "The delay after a lower advert was heard as master.",
		garpNumber("({vi}): garp_lower_prio_delay '{value}' invalid - ignoring", func(l *loader) *int64 { return &l.vi.lowerDelay })),
	works("garp_lower_prio_repeat", "N", "garp_master_repeat", "Announcements after a lower advert was heard as master.",
		garpNumber("({vi}): Invalid garp_lower_prio_repeat '{value}'", func(l *loader) *int64 { return &l.vi.lowerRepeat })),
}, planned("garp_extra_if", "[all] SECS", "vrrp_garp_extra_if", "Announce on other interfaces with addresses too.").also("vmac_garp_intvl"))

var instancePeers = []keyword{
	planned("unicast_peer", "", "multicast", "Send adverts to these addresses instead of the group.").lines(nil),
	works("unicast_src_ip", "ADDR", "the interface's address", "Source of adverts.", setSource),
	works("mcast_src_ip", "ADDR", "the interface's address", "Source of adverts.", setSource),
	planned("mcast_dst_ip", "ADDR", "vrrp_mcast_group4", "Another multicast group."),
	planned("track_src_ip", "", "off", "Go to fault when the source address goes."),
	planned("unicast_ttl", "0..255", "255", "Hop limit of unicast adverts."),
	planned("unicast_fault_no_peer", "", "off", "Go to fault without peers."),
	planned("check_unicast_src", "", "vrrp_check_unicast_src", "Take adverts only from peers."),
	planned("old_unicast_checksum", "[never]", "found out", "Checksum of keepalived before 1.3.7."),
	planned("v3_checksum_as_v2", "[BOOL]", "the global one", "No pseudo header in version 3 checksums over IPv4."),
}

var instanceTrack = join([]keyword{
	row(Works, "track_interface", "", "", "Interfaces whose loss changes the priority or is a fault.").lines(trackInterface),
	planned("track_script", "", "", "Scripts that change the priority.").lines(nil),
	planned("track_file", "", "", "Files that change the priority.").lines(nil),
	planned("track_process", "", "", "Processes that change the priority.").lines(nil),
	planned("track_bfd", "", "", "BFD sessions that change the priority.").lines(nil),
	planned("dont_track_primary", "", "off", "Ignore faults of the own interface."),
}, notifies("instance"), []keyword{
	planned("notify_deleted", "[COMMAND]", "", "Run when a reload removes the instance.").command(),
	planned("notify_master_rx_lower_pri", "COMMAND", "", "Run when a master hears a lower advert.").command(),
	planned("notify_priority_changes", "[BOOL]", "the global one", "Write priority changes to the FIFOs."),
	inert("smtp_alert", "[BOOL]", "the global one", "Mail about changes.", mailWhy),
})

var instanceRest = join([]keyword{
	planned("accept", "", "accept", "Take packets to the addresses."),
	planned("no_accept", "", "accept", "Drop packets to the addresses."),
	planned("down_timer_adverts", "1..100", "3", "Adverts missed before a takeover."),
	works("lower_prio_no_advert", "[BOOL]", "the global one", "Do not answer a lower advert.",
		boolean("({vi}) invalid lower_prio_no_advert {value} specified", func(l *loader, v bool) { l.vi.lowerNoAdvert = &v })),
	works("higher_prio_send_advert", "[BOOL]", "the global one", "Send one advert before giving way.",
		boolean("({vi}) invalid higher_prio_send_advert {value} specified", func(l *loader, v bool) { l.vi.higherSendAdvert = &v })),
	inert("skip_check_adv_addr", "[BOOL]", "the global one", "Do not compare the addresses of adverts from the known master.", addrWhy),
	planned("strict_mode", "[BOOL]", "vrrp_strict", "Only what the standard allows."),
	planned("owner_ignore_adverts", "[BOOL]", "the global one", "An owner of the addresses ignores adverts."),
	planned("use_vmac", "[NAME] [MAC]", "off", "Use the virtual router's MAC."),
	planned("use_vmac_addr", "", "off", "The same for addresses on other interfaces."),
	planned("vmac_xmit_base", "", "off", "Send adverts from the parent interface."),
	planned("use_ipvlan", "[NAME] [ADDR]", "off", "Use an ipvlan interface."),
	planned("vrf", "IF", "", "Routing domain."),
	inert("native_ipv6", "", "", "Make it an IPv6 instance.", "the first address decides"),
	inert("linkbeat_use_polling", "", "off", "Poll the link.", linkWhy),
	planned("lvs_sync_daemon_interface", "IF", "", "Tell connections to the other director; use lvs_sync_daemon."),
	inert("kernel_rx_buf_size", "BYTES", "", "Size of the receive buffer.", bufferWhy),
	inert("debug", "0..4", "0", "Nothing, in keepalived too.", "it has none in keepalived either"),
}, planned("timer_expired_backup", "[1..254]", "off", "Step down when our own timers ran late.").also("thread_timer_expired"))
