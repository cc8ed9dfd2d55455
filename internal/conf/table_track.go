package conf

import "time"

var scriptBlock = &block{name: "vrrp_script", rows: []keyword{
	acts("script", "COMMAND", "", "The command to run.").command().begin(scriptCommand),
	acts("interval", "SECS", "1", "Time between runs.").begin(scriptSeconds("interval", "must be between 1 and 4294 - ignoring", func(v *VRRPScript, d time.Duration) { v.Interval = d })),
	acts("timeout", "SECS", "the interval", "Time after which a run is ended and has failed.").begin(scriptSeconds("timeout", "invalid - ignoring", func(v *VRRPScript, d time.Duration) { v.Timeout = d })),
	acts("weight", "-253..253 [reverse]", "0", "Priority change; 0: a failure is a fault.").begin(scriptWeight),
	acts("rise", "N", "1", "Successes in a row that count.").begin(scriptCount("rise", func(v *VRRPScript, n int) { v.Rise = n })),
	acts("fall", "N", "1", "Failures in a row that count.").begin(scriptCount("fall", func(v *VRRPScript, n int) { v.Fall = n })),
	acts("user", "USER [GROUP]", "script_user", "Who runs it.").begin(scriptUser),
	acts("init_fail", "", "off", "Start as failed.").begin(flag(func(l *loader) { l.script.InitFail = true })),
}}

var trackFileBlock = &block{name: "track_file", rows: []keyword{
	acts("file", "PATH", "", "The file; its content is an integer.").begin(once("File already set for track file {file} - ignoring {value}", func(l *loader) *string { return &l.file.Path })),
	acts("weight", "-254..254 [reverse]", "1", "Factor of the number.").begin(fileWeight),
	acts("init_file", "[VALUE] [overwrite]", "", "Make the file at the start.").begin(fileInit),
}}

var processBlock = &block{name: "vrrp_track_process", rows: []keyword{
	acts("process", "NAME [ARGS]", "", "Process name or command line.").begin(processName),
	acts("param_match", "[initial|partial]", "exact", "How arguments are compared.").begin(processMatch),
	acts("full_command", "", "off", "Compare the whole command line.").begin(flag(func(l *loader) { l.proc.FullCommand = true })),
	acts("weight", "-254..254 [reverse]", "0", "Priority change; 0: absence is a fault.").begin(processWeight),
	acts("quorum", "1..65535", "1", "How many must run.").begin(processQuorum),
	acts("quorum_max", "0..65535", "", "How many may run.").begin(processQuorumMax),
	acts("delay", "SECS", "0", "Time before a change counts, both ways.").begin(processDelay("")),
	acts("terminate_delay", "SECS", "0", "Time before an end counts.").begin(processDelay("terminate_")),
	acts("fork_delay", "SECS", "0", "Time before a start counts.").begin(processDelay("fork_")),
}}

var bfdBlock = &block{name: "bfd_instance", rows: join(
	acts("neighbor_ip", "ADDR", "", "The peer.").begin(bfdNeighbor).by(passBFD).also("neighbour_ip"),
	[]keyword{
		acts("source_ip", "ADDR", "", "The local address.").begin(bfdSource).by(passBFD),
		acts("min_rx", "MS", "10", "Shortest interval we can receive.").begin(bfdTime(1, func(b *BFD) *time.Duration { return &b.MinRx })).by(passBFD),
		acts("min_tx", "MS", "10", "Shortest interval we send.").begin(bfdTime(1, func(b *BFD) *time.Duration { return &b.MinTx })).by(passBFD),
		acts("idle_tx", "MS", "1000", "Interval while the session is not up.").begin(bfdTime(1000, func(b *BFD) *time.Duration { return &b.IdleTx })).by(passBFD),
		acts("multiplier", "1..255", "5", "Packets missed before the session is down.").
			begin(number(1, 255, bfdSays+"multiplier value {value} not valid (must be in range [1-255]), ignoring", func(l *loader, v int64) { l.bfd.Multiplier = int(v) })).by(passBFD),
		acts("passive", "", "off", "Wait for the peer to begin.").begin(flag(func(l *loader) { l.bfd.Passive = true })).by(passBFD),
		acts("max_hops", "-1..255", "0", "By how much the hop limit may have dropped.").
			begin(signedNumber(-1, 255, bfdSays+"max_hops value {value} not valid (must be in range [-1-255]), ignoring", func(l *loader, v int64) { l.bfd.MaxHops = int(v) })).by(passBFD),
		acts("multihop", "[BOOL]", "off", "Use port 4784.").since24().begin(boolean(bfdSays+"multihop value {value} not valid", func(l *loader, v bool) { l.bfd.Multihop = v })),
		acts("weight", "-253..253 [reverse]", "0", "Priority change for instances.").begin(bfdWeight).by(passVRRP),
		acts("vrrp", "", "both", "Only instances hear of it.").begin(flag(func(l *loader) { l.bfd.vrrp = true })),
		acts("checker", "", "both", "Only checkers hear of it.").begin(flag(func(l *loader) { l.bfd.checker = true })),
	},
	acts("ttl", "1..255", "255", "Hop limit of our packets; what IPv6 packets come with may be 64 where nothing is said.").
		begin(number(1, 255, bfdSays+"ttl/hoplimit value {value} not valid (must be in range [1-255]), ignoring", func(l *loader, v int64) { l.bfd.TTL = int(v) })).by(passBFD).also("hoplimit"),
)}

var groupBlock = &block{name: "vrrp_sync_group", rows: join([]keyword{
	acts("group", "", "", "The instances that move together.").begin(beginMembers).lines(addMember).ends(endMembers),
	acts("track_interface", "", "", "Interfaces that every member tracks.").lines(followInterface.ofGroup()),
	acts("track_script", "", "", "Scripts that every member tracks.").lines(followScript.ofGroup()),
	acts("track_file", "", "", "Files that every member tracks.").lines(followFile.ofGroup()),
	acts("track_process", "", "", "Processes that every member tracks.").lines(followProcess.ofGroup()),
	acts("track_bfd", "", "", "BFD sessions that every member tracks.").lines(followBFD.ofGroup()),
}, notifies("group", "vrrp group {group}: ", func(l *loader) *Notify { return &l.group.Notify }), []keyword{
	row(Works, "smtp_alert", "[BOOL]", "the global one", "Mail about changes.").begin(boolean("Invalid vrrp_group smtp_alert parameter {value}", func(l *loader, v bool) { l.group.smtp = &v })),
	row(Works, "notify_priority_changes", "[BOOL]", "the global one", "Tell priority changes to the FIFOs.").
		begin(boolean("({group}) Invalid value '{value}' for sync group notify_priority_changes specified", func(l *loader, v bool) { l.group.Notify.PriorityChanges = &v })),
}, acts("sync_group_tracking_weight", "", "off", "Keep weighted trackers of members.").begin(setTrackingWeight).also("global_tracking"))}

func setTrackingWeight(l *loader, s *stmt) {
	if s.text(0) == "global_tracking" {
		l.warn(s.words[0], "deprecated", "("+l.group.Name+") global_tracking is deprecated. Use track_interface/script/file on the sync group")
	}
	l.group.TrackingWeight = true
}

// notifies are the scripts that groups and instances have in common; who stands before the message about a second one.
func notifies(of, who string, at func(l *loader) *Notify) []keyword {
	one := func(name, text string, put func(n *Notify) **Script) keyword {
		return row(Works, name, "COMMAND", "", text).command().
			begin(notifyScript(who+name+" script already specified - ignoring {value}", func(l *loader) **Script { return put(at(l)) }))
	}
	return []keyword{
		one("notify_master", "Run when the "+of+" becomes master.", func(n *Notify) **Script { return &n.Master }),
		one("notify_backup", "Run when the "+of+" becomes backup.", func(n *Notify) **Script { return &n.Backup }),
		one("notify_fault", "Run when the "+of+" goes to fault.", func(n *Notify) **Script { return &n.Fault }),
		one("notify_stop", "Run when the daemon stops.", func(n *Notify) **Script { return &n.Stop }),
		one("notify", "Run at every change, with what, name, state and priority.", func(n *Notify) **Script { return &n.Any }),
	}
}
