package conf

var scriptBlock = &block{name: "vrrp_script", rows: []keyword{
	planned("script", "COMMAND", "", "The command to run.").command(),
	planned("interval", "SECS", "1", "Time between runs."),
	planned("timeout", "SECS", "the interval", "Time after which a run is ended and has failed."),
	planned("weight", "-253..253 [reverse]", "0", "Priority change; 0: a failure is a fault."),
	planned("rise", "N", "1", "Successes in a row that count."),
	planned("fall", "N", "1", "Failures in a row that count."),
	planned("user", "USER [GROUP]", "script_user", "Who runs it."),
	planned("init_fail", "", "off", "Start as failed."),
}}

var trackFileBlock = &block{name: "track_file", rows: []keyword{
	planned("file", "PATH", "", "The file; its content is an integer."),
	planned("weight", "-254..254 [reverse]", "1", "Factor of the number."),
	planned("init_file", "[VALUE] [overwrite]", "", "Make the file at the start."),
}}

var processBlock = &block{name: "vrrp_track_process", rows: []keyword{
	planned("process", "NAME [ARGS]", "", "Process name or command line.").command(),
	planned("param_match", "initial|partial", "exact", "How arguments are compared."),
	planned("full_command", "", "off", "Compare the whole command line."),
	planned("weight", "-254..254 [reverse]", "0", "Priority change; 0: absence is a fault."),
	planned("quorum", "1..65535", "1", "How many must run."),
	planned("quorum_max", "0..65535", "", "How many may run."),
	planned("delay", "SECS", "0", "Time before a change counts, both ways."),
	planned("terminate_delay", "SECS", "0", "Time before an end counts."),
	planned("fork_delay", "SECS", "0", "Time before a start counts."),
}}

var bfdBlock = &block{name: "bfd_instance", rows: join(
	planned("neighbor_ip", "ADDR", "", "The peer.").also("neighbour_ip"),
	[]keyword{
		planned("source_ip", "ADDR", "", "The local address."),
		planned("min_rx", "MS", "10", "Shortest interval we can receive."),
		planned("min_tx", "MS", "10", "Shortest interval we send."),
		planned("idle_tx", "MS", "1000", "Interval while the session is not up."),
		planned("multiplier", "1..255", "5", "Packets missed before the session is down."),
		planned("passive", "", "off", "Wait for the peer to begin."),
		planned("max_hops", "-1..255", "0", "By how much the hop limit may have dropped."),
		planned("multihop", "[BOOL]", "off", "Use port 4784."),
		planned("weight", "-253..253 [reverse]", "0", "Priority change for instances."),
		planned("vrrp", "", "both", "Only instances hear of it."),
		planned("checker", "", "both", "Only checkers hear of it."),
	},
	planned("ttl", "1..255", "255, IPv6: 64", "Hop limit of our packets.").also("hoplimit"),
)}

var groupBlock = &block{name: "vrrp_sync_group", rows: join([]keyword{
	row(Works, "group", "", "", "The instances that move together.").lines(addMember),
	planned("track_interface", "", "", "Interfaces that every member tracks.").lines(nil),
	planned("track_script", "", "", "Scripts that every member tracks.").lines(nil),
	planned("track_file", "", "", "Files that every member tracks.").lines(nil),
	planned("track_process", "", "", "Processes that every member tracks.").lines(nil),
	planned("track_bfd", "", "", "BFD sessions that every member tracks.").lines(nil),
}, notifies("group"), []keyword{
	planned("smtp_alert", "[BOOL]", "the global one", "Mail about changes."),
	planned("notify_priority_changes", "[BOOL]", "the global one", "Tell priority changes to the FIFOs."),
}, planned("sync_group_tracking_weight", "", "off", "Keep weighted trackers of members.").also("global_tracking"))}

// notifies are the scripts that groups and instances have in common.
func notifies(of string) []keyword {
	return []keyword{
		planned("notify_master", "COMMAND", "", "Run when the "+of+" becomes master.").command(),
		planned("notify_backup", "COMMAND", "", "Run when the "+of+" becomes backup.").command(),
		planned("notify_fault", "COMMAND", "", "Run when the "+of+" goes to fault.").command(),
		planned("notify_stop", "COMMAND", "", "Run when the daemon stops.").command(),
		planned("notify", "COMMAND", "", "Run at every change, with what, name, state and priority.").command(),
	}
}
