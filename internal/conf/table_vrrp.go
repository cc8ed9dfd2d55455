package conf

import (
	"time"
)

var instanceBlock = &block{name: "vrrp_instance", rows: join(instanceMain, instanceGarp, instancePeers, instanceTrack, instanceRest)}

const (
	noAcceptExtent = "what the packet path forwards is not dropped: the host alone takes no packets"
)

var instanceMain = []keyword{
	works("interface", "IF", "", "Where adverts are sent and addresses put.", setInterface),
	works("virtual_router_id", "1..255", "", "Number of the virtual router, the same on all its members.", number(1, 255, "({vi}): VRID '{value}' not valid - must be between 1 & 255", func(l *loader, v int64) { l.vi.VRID = uint8(v) })),
	works("state", "MASTER|BACKUP", "BACKUP", "First state; it decides nothing unless the priority is 255.", setState),
	works("priority", "1..255", "100, with state MASTER 255", "Who wins the election; 255 owns the addresses.", setPriority),
	works("advert_int", "SECS", "1", "Time between adverts; version 2 has whole seconds.", setAdvertInt),
	works("version", "2|3", "vrrp_version", "Protocol version.", setVersion),
	row(Works, "authentication", "", "", "Password in adverts, version 2 only.").with(authBlock, nil),
	row(Works, "auth_hmac", "", "", "Signed adverts.").since24().begin(vmacFlag(func(v *instance) { v.hmacSet = true })).with(hmacBlock, nil),
	row(Works, "virtual_ipaddress", "", "", "Addresses that the master holds and announces.").lines(addVIP),
	row(Works, "virtual_ipaddress_excluded", "", "", "Addresses that the master holds, not in adverts.").lines(addExcluded),
	acts("no_virtual_ipaddress", "", "off", "Having no address is meant so.").since24().begin(vmacFlag(func(v *instance) { v.NoVIP = true })),
	row(Works, "virtual_routes", "", "", "Routes that the master has.").lines(routeLines(false, func(l *loader, r Route) { l.vi.Routes = append(l.vi.Routes, r) })),
	row(Works, "virtual_rules", "", "", "Policy rules that the master has.").lines(ruleLines(false, func(l *loader, r Rule) { l.vi.Rules = append(l.vi.Rules, r) })),
	row(Works, "promote_secondaries", "", "off", "Keep secondary addresses when the primary goes.").begin(vmacFlag(func(v *instance) { v.PromoteSecondaries = true })),
	works("nopreempt", "", "preempt", "Leave a lower master in place.", flag(func(l *loader) { l.vi.NoPreempt = true })),
	works("preempt", "", "preempt", "Take over from a lower master.", flag(func(l *loader) { l.vi.NoPreempt = false })),
	works("preempt_delay", "0..1000", "0", "Seconds to leave a lower master in place.", setPreemptDelay),
}

var authBlock = &block{name: "authentication", rows: []keyword{
	works("auth_type", "PASS|AH", "", "Kind of authentication.", setAuthType),
	works("auth_pass", "STRING", "", "Password; 8 bytes of it count.", setAuthPass),
}}

var instanceGarp = join([]keyword{
	works("garp_master_delay", "SECS", "vrrp_garp_master_delay", "Seconds after which announcements are repeated; 0: never.", garpSeconds(4294, "({vi}): garp_master_delay '{value}' invalid - ignoring", func(v *instance) **time.Duration { return &v.delay })),
	works("garp_master_repeat", "N", "vrrp_garp_master_repeat", "Announcements per block.", garpRepeat(func(v *instance) **uint32 { return &v.repeat })),
	works("garp_master_refresh", "SECS", "vrrp_garp_master_refresh", "Announce again so often while master.", garpSeconds(1<<32-1, "({vi}): Invalid garp_master_refresh '{value}' - ignoring", func(v *instance) **time.Duration { return &v.refresh })),
	works("garp_master_refresh_repeat", "N", "vrrp_garp_master_refresh_repeat", "Announcements each time.", garpRepeat(func(v *instance) **uint32 { return &v.refreshRepeat })),
	works("garp_lower_prio_delay", "SECS", "garp_master_delay", "The delay after a lower advert was heard as master.", garpSeconds(4294, "({vi}): garp_lower_prio_delay '{value}' invalid - ignoring", func(v *instance) **time.Duration { return &v.lowerDelay })),
	works("garp_lower_prio_repeat", "N", "garp_master_repeat", "Announcements after a lower advert was heard as master.", garpCount(1<<31-1, "({vi}): Invalid garp_lower_prio_repeat '{value}'", func(v *instance) **uint32 { return &v.lowerRepeat })),
}, acts("garp_extra_if", "[all] SECS", "vrrp_garp_extra_if", "Announce on other interfaces with addresses too.").begin(setExtraIf).also("vmac_garp_intvl"))

var instancePeers = []keyword{
	row(Works, "unicast_peer", "", "multicast", "Send adverts to these addresses instead of the group.").begin(vmacFlag(func(v *instance) { v.unicastSet = true })).lines(addPeer),
	works("unicast_src_ip", "ADDR", "the interface's address", "Source of adverts.", setUnicastSource),
	works("mcast_src_ip", "ADDR", "the interface's address", "Source of adverts.", setSource),
	row(Works, "mcast_dst_ip", "ADDR", "vrrp_mcast_group4", "Another multicast group.").begin(setMcastDst),
	acts("track_src_ip", "", "off", "Go to fault when the source address goes.").begin(vmacFlag(func(v *instance) { v.TrackSource = true })),
	row(Works, "unicast_ttl", "0..255", "255", "Hop limit of unicast adverts.").begin(number(0, 255, "({vi}): TTL '{value}' not valid - must be between 0 & 255", func(l *loader, v int64) { n := int(v); l.vi.ttl = &n })),
	row(Works, "unicast_fault_no_peer", "", "off", "Go to fault without peers.").begin(vmacFlag(func(v *instance) { v.unicastSet, v.FaultNoPeer = true, true })),
	row(Works, "check_unicast_src", "", "vrrp_check_unicast_src", "Take adverts only from peers.").begin(vmacFlag(func(v *instance) { yes := true; v.unicastSet, v.checkSrc = true, &yes })),
	row(Works, "old_unicast_checksum", "[never]", "found out", "Checksum of keepalived before 1.3.7.").begin(setOldChecksum),
	row(Works, "v3_checksum_as_v2", "[BOOL]", "the global one", "No pseudo header in version 3 checksums over IPv4.").since24().begin(boolean("({vi}) invalid v3_checksum_as_v2 {value} specified", func(l *loader, v bool) { l.vi.v3sum = &v })),
}

var instanceTrack = join([]keyword{
	acts("track_interface", "", "", "Interfaces whose loss changes the priority or is a fault.").lines(followInterface.ofInstance()),
	acts("track_script", "", "", "Scripts that change the priority.").lines(followScript.ofInstance()),
	acts("track_file", "", "", "Files that change the priority.").lines(followFile.ofInstance()),
	acts("track_process", "", "", "Processes that change the priority.").lines(followProcess.ofInstance()),
	acts("track_bfd", "", "", "BFD sessions that change the priority.").lines(followBFD.ofInstance()),
	acts("dont_track_primary", "", "off", "Ignore faults of the own interface.").begin(vmacFlag(func(v *instance) { v.DontTrackOwn = true })),
}, notifies("instance", "({vi}) ", func(l *loader) *Notify { return &l.vi.Notify }), []keyword{
	row(Works, "notify_deleted", "[COMMAND]", "", "Run when a reload removes the instance.").begin(notifyDeleted).command(),
	row(Works, "notify_master_rx_lower_pri", "COMMAND", "", "Run when a master hears a lower advert.").begin(notifyScript("({vi}) notify_master_rx_lower_pri script already specified - ignoring {value}", func(l *loader) **Script { return &l.vi.Notify.MasterRxLowerPri })).command(),
	row(Works, "notify_priority_changes", "[BOOL]", "the global one", "Write priority changes to the FIFOs.").begin(boolean("({vi}) Invalid value '{value}' for notify_priority_changes specified", func(l *loader, v bool) { l.vi.Notify.PriorityChanges = &v })),
	row(Works, "smtp_alert", "[BOOL]", "the global one", "Mail about changes.").begin(boolean("Invalid vrrp_instance smtp_alert parameter {value}", func(l *loader, v bool) { l.vi.smtp = &v })),
})

var instanceRest = join([]keyword{
	row(Works, "accept", "", "accept", "Take packets to the addresses.").begin(vmacFlag(func(v *instance) { yes := true; v.accept = &yes })),
	row(Works, "no_accept", "", "accept", "Drop packets to the addresses.").only(noAcceptExtent).begin(vmacFlag(func(v *instance) { no := false; v.accept = &no })),
	row(Works, "down_timer_adverts", "1..100", "3", "Adverts missed before a takeover.").begin(number(1, 100, "({vi}): Invalid down_timer_adverts [1:100] '{value}'", func(l *loader, v int64) { n := int(v); l.vi.downAdverts = &n })),
	works("lower_prio_no_advert", "[BOOL]", "the global one", "Do not answer a lower advert.", boolean("({vi}) invalid lower_prio_no_advert {value} specified", func(l *loader, v bool) { l.vi.lowerNoAdvert = &v })),
	works("higher_prio_send_advert", "[BOOL]", "the global one", "Send one advert before giving way.", boolean("({vi}) invalid higher_prio_send_advert {value} specified", func(l *loader, v bool) { l.vi.higherSendAdvert = &v })),
	row(Works, "skip_check_adv_addr", "[BOOL]", "the global one", "Do not compare the addresses of adverts from the known master.").begin(boolean("({vi}) invalid skip_check_adv_addr {value} specified", func(l *loader, _ bool) { l.vi.SkipCheckAdvAddr = true })),
	row(Works, "strict_mode", "[BOOL]", "vrrp_strict", "Only what the standard allows.").only(noAcceptExtent).begin(boolean("({vi}) invalid strict_mode {value} specified", func(l *loader, v bool) { l.vi.strict = &v })),
	row(Works, "owner_ignore_adverts", "[BOOL]", "the global one", "An owner of the addresses ignores adverts.").since24().begin(boolean("({vi}) invalid owner_ignore_adverts {value} specified", func(l *loader, v bool) { l.vi.owner = &v })),
	row(Works, "use_vmac", "[NAME] [MAC]", "off", "Use the virtual router's MAC.").only("netlink_notify_msg has no effect, and group takes numbers").begin(setVMAC),
	acts("use_vmac_addr", "", "off", "The same for addresses on other interfaces.").begin(vmacFlag(func(v *instance) { v.VMACAddr = true })),
	acts("vmac_xmit_base", "", "off", "Send adverts from the parent interface.").begin(vmacFlag(func(v *instance) { v.XmitBase = true })),
	row(Works, "use_ipvlan", "[NAME] [ADDR]", "off", "Use an ipvlan interface.").begin(setIPVLAN),
	row(Works, "vrf", "IF", "", "Routing domain.").begin(setVRF),
	inert("native_ipv6", "", "", "Make it an IPv6 instance.", "the first address decides").begin(setNativeV6),
	row(Works, "linkbeat_use_polling", "", "off", "The interface's driver is asked for its link every second.").begin(setLinkbeat),
	works("lvs_sync_daemon_interface", "[IF]", "", "Tell connections to the other director; use lvs_sync_daemon.", setSyncInterface),
	inert("kernel_rx_buf_size", "BYTES", "", "Size of the receive buffer.", bufferWhy).begin(setRxBuf),
	inert("debug", "0..4", "0", "Nothing, in keepalived too.", "it has none in keepalived either").begin(number(0, 4, "({vi}) Debug value '{value}' not valid; must be between 0-4", func(l *loader, v int64) { l.vi.DebugLevel = uint8(v) })),
}, row(Works, "timer_expired_backup", "[1..254]", "off", "Step down when our own timers ran late.").since24().begin(setTimerExpired).also("thread_timer_expired"))
