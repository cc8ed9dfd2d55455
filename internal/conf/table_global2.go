package conf

import (
	"strings"
	"time"

	"vipd/internal/lb"
)

var globalLVS = join([]keyword{
	works("lvs_sync_daemon", "IF [[inst] VI] [id N] [maxlen N] [port N] [ttl N] [group ADDR]", "", "Tell connections to the other director, and learn its.", setSyncDaemon),
	connectionSync,
	works("lvs_flush", "", "off", "Clear the kernel's table at the start; that of data_plane xdp is this daemon's own.", gFlag(func(g *Global) *bool { return &g.Flush })),
	works("data_plane", "xdp|ipvs|auto", "xdp", "What forwards: this program's XDP program, the kernel's IPVS, or the first of the two that works here. An extension of vipd.", setDataPlane).extension(),
	works("fwmark_class", lb.ClassGrammar, "", "Which packets have a firewall mark with data_plane xdp; the first class that fits says it. An extension of vipd.", addClass).extension(),
	works("lvs_sysctl", "NAME VALUE", "", "One of IPVS's settings, by the name that it has under net.ipv4.vs. An extension of vipd.", setSysctl).extension(),
	works("lvs_connections", "1024..200000000", "1000000", "Connections that the table of data_plane xdp is made for, at 107 to 214 bytes each; --connections wins. "+
		"Another number takes effect at the first start that finds no table. An extension of vipd.",
		number(1024, 200_000_000, "lvs_connections {value} is not from 1024 to 200000000 - ignoring", func(l *loader, v int64) { l.cfg.Global.Connections = uint32(v) })).extension(),
	works("lvs_local_clients", "[BOOL]", "on", "With data_plane xdp: connections that the director itself opens to a virtual address go to its real servers. An extension of vipd.",
		boolean("Invalid lvs_local_clients parameter {value}", func(l *loader, v bool) { l.cfg.Global.NoLocalClients = !v })).extension(),
}, row(Works, "lvs_flush_on_stop", "[VS]", "off", "Clear the table at the stop; with VS services go as they are.").begin(setFlushStop).also("lvs_flush_onstop"), []keyword{
	works("lvs_timeouts", "[tcp N] [tcpfin N] [udp N]", "900 120 300", "Connection timeouts.", setTimeouts),
})

// vrrpThread is the default of what the thread has that speaks VRRP.
var vrrpThread = map[string]string{"rt_priority": "2, without vrrp_priority"}

// perProcess makes rows for keepalived's processes: NAME with vrrp_, checker_ and bfd_ before it.
func perProcess(name, args, text string) []keyword {
	var out []keyword
	for _, p := range []string{"vrrp", "checker", "bfd"} {
		why := processWhy
		switch {
		case p == "vrrp" && (name == "priority" || name == "rt_priority" || name == "cpu_affinity"):
			out = append(out, acts(p+"_"+name, args, vrrpThread[name], strings.Replace(text, "a process", "the thread that speaks VRRP", 1)).begin(processRow(p, name)))
			continue
		case p == "vrrp" && name != "no_swap" && name != "process_name":
			why = "the kernel bounds what a real-time thread may use (kernel.sched_rt_runtime_us)"
		}
		out = append(out, inert(p+"_"+name, args, "", text, why).begin(processRow(p, name)))
	}
	return out
}

func buffers(names ...string) []keyword {
	var out []keyword
	for _, n := range names {
		out = append(out, inert(n, "BYTES", "", "Size of a netlink buffer.", bufferWhy).begin(setBuffer(n)),
			inert(n+"_force", "[BOOL]", "off", "Exceed the system's limit for it.", bufferWhy).begin(setForce(n+"_force")))
	}
	return out
}

var globalProcess = join(
	perProcess("priority", "-20..19", "Nice value of a process."),
	perProcess("no_swap", "", "Keep a process in memory."),
	perProcess("rt_priority", "1..99", "Real-time priority of a process."),
	perProcess("cpu_affinity", "CPU", "Processors of a process."),
	perProcess("rlimit_rttime", "MICROSECONDS", "Limit of real-time use of a process."),
	perProcess("rlimit_rtime", "MICROSECONDS", "Limit of real-time use of a process. Another name of rlimit_rttime."),
	perProcess("process_name", "NAME", "Name of a process."),
	[]keyword{
		inert("lvs_process_name", "NAME", "", "Another name of checker_process_name.", processWhy).begin(processRow("checker", "process_name")),
		inert("process_name", "NAME", "", "Name of the parent process.", processWhy).begin(processName_(func(l *loader) *string { return &l.cfg.Global.Process.Name })),
		inert("process_names", "", "off", "Give every process a name.", processWhy).begin(setProcessNames),
		inert("max_auto_priority", "[-1..99]", "0", "Highest priority taken when timers run late.", realtimeWhy).begin(setMaxAuto),
		inert("min_auto_priority_delay", "MICROSECONDS", "1000000", "Lateness before that.", realtimeWhy).begin(signedNumber(1, 10000000, "min_auto_priority_delay '{value}' must be in [1, 10000000] - ignoring", func(l *loader, v int64) { l.cfg.Global.Process.MinAutoDelay = time.Duration(v) * time.Microsecond })),
		inert("umask", "BITS", "0177", "File creation mask.", "files are made with mode 0600").begin(setUmask),
		acts("random_seed", "N", "the time", "Start of ${_RANDOM}.").only("the same seed gives the same numbers, but not keepalived's").begin(number(0, 1<<32-1, "random_seed {value} invalid", setSeed)),
	},
	buffers("vrrp_netlink_cmd_rcv_bufs", "vrrp_netlink_monitor_rcv_bufs", "lvs_netlink_cmd_rcv_bufs",
		"lvs_netlink_monitor_rcv_bufs", "process_monitor_rcv_bufs"),
)

const snmpWhy = "use the metrics endpoint"

var globalManage = join(
	planned("enable_snmp_vrrp", "", "off", "The VRRP part of KEEPALIVED-MIB.").begin(gFlag(func(g *Global) *bool { return &g.Manage.SNMPVRRP })).also("enable_snmp_keepalived"),
	[]keyword{
		planned("enable_snmp_checker", "", "off", "The service part of KEEPALIVED-MIB.").begin(gFlag(func(g *Global) *bool { return &g.Manage.SNMPChecker })),
		planned("enable_snmp_rfc", "", "off", "The MIBs of RFC 2787 and RFC 6527.").begin(flag(func(l *loader) { l.cfg.Global.Manage.SNMPv2, l.cfg.Global.Manage.SNMPv3 = true, true })),
		planned("enable_snmp_rfcv2", "", "off", "The MIB of RFC 2787.").begin(gFlag(func(g *Global) *bool { return &g.Manage.SNMPv2 })),
		planned("enable_snmp_rfcv3", "", "off", "The MIB of RFC 6527.").begin(gFlag(func(g *Global) *bool { return &g.Manage.SNMPv3 })),
		planned("enable_traps", "", "off", "Send traps.").begin(gFlag(func(g *Global) *bool { return &g.Manage.Traps })),
		planned("snmp_socket", "SPEC", "unix:/var/agentx/master", "Socket of the SNMP master agent.").begin(setSNMPSocket),
		inert("snmp_vs_stats_update_interval", "SECS", "5", "Age of cached counters.", snmpWhy).since24().begin(seconds(1000, 30*second, "snmp_vs_stats_update_interval '{value}' invalid", func(*loader, time.Duration) {})),
		inert("snmp_rs_stats_update_interval", "SECS", "0", "Age of cached counters.", snmpWhy).since24().begin(seconds(1000, 30*second, "snmp_rs_stats_update_interval '{value}' invalid", func(*loader, time.Duration) {})),
		planned("enable_dbus", "", "off", "The D-Bus service.").begin(gFlag(func(g *Global) *bool { return &g.Manage.DBus })),
		planned("dbus_service_name", "STRING", "org.keepalived.Vrrp1", "Name of the D-Bus service.").begin(gWord(func(g *Global) *string { return &g.Manage.DBusName })),
		planned("dbus_no_interface_name", "STRING", "none", "Name where an instance has no interface.").since24().begin(gWord(func(g *Global) *string { return &g.Manage.DBusNoInterface })),
		acts("reload_check_config", "[LOG]", "off", "Check a new configuration before a reload.").only("always so; LOG is written").begin(setReloadCheck),
		acts("reload_time_file", "PATH", "", "File with the time of the next reload.").begin(setReloadTime),
		acts("reload_repeat", "", "off", "Repeat the timed reload daily.").begin(gFlag(func(g *Global) *bool { return &g.Manage.ReloadRepeat })),
		acts("reload_file", "[PATH]", "", "File that exists while the configuration is read.").only("at reloads").begin(setReloadFile),
		acts("config_save_dir", "DIR", "", "Where copies are kept at each reload.").only("the file that was named, without those that it includes").begin(gWord(func(g *Global) *string { return &g.Manage.SaveDir })),
		inert("tmp_config_directory", "DIR", "", "Where the common copy of the configuration is.", "no copy is made").begin(setTmpDir),
		row(Works, "data_use_instance", "[BOOL]", "off", "Instance name in the names of dump files.").begin(gBool("Invalid value '{value}' for global date_use_instance specified", func(g *Global) *bool { return &g.Manage.UseInstance })),
		row(Works, "state_dump_file", "PATH", "", "File of the state dump.").since24().begin(gWord(func(g *Global) *string { return &g.Manage.StateFile })),
		row(Works, "stats_dump_file", "PATH", "", "File of the statistics dump.").since24().begin(gWord(func(g *Global) *string { return &g.Manage.StatsFile })),
		row(Works, "json_dump_file", "PATH", "", "File of the JSON dump.").since24().begin(gWord(func(g *Global) *string { return &g.Manage.JSONFile })),
		row(Works, "json_version", "1|2", "1", "Layout of the JSON dump.").since24().begin(number(1, 2, "Invalid json_version {value}", func(l *loader, v int64) { l.cfg.Global.Manage.JSONVersion = int(v) })),
		inert("iproute_usr_dir", "DIR", "", "Where names of tables and protocols are.", "the usual places are read").since24(),
		inert("iproute_etc_dir", "DIR", "", "Where names of tables and protocols are.", "the usual places are read").since24(),
		row(Works, "include_check", "[+|-][read|match|wildcard_match|brace_match]", "none", "Which faults of an include are errors.").begin(setIncludeCheck),
	},
)
