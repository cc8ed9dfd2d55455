package conf

import (
	"math"
	"time"

	"vipd/internal/lb"
)

var serviceBlock = &block{name: "virtual_server", rows: join(
	works("lb_algo", "SCHEDULER", "wlc", "Which real server gets a new connection: rr wrr lc wlc sh dh mh and others.", setScheduler).also("lvs_sched"),
	works("lb_kind", "NAT|DR|TUN", "NAT", "How packets get to the real server.", func(l *loader, s *stmt) { l.vs.setForward(l.kind(s, "virtual server")) }).also("lvs_method"),
	serviceMain, serviceFlags, serviceQuorum, serviceDefaults)}

func (v *service) setForward(f forwarding) {
	if f.set {
		v.forward = f
	}
}

var serviceMain = []keyword{
	works("protocol", "TCP|UDP|SCTP", "UDP", "Transport of the service.", setProtocol),
	works("delay_loop", "SECS", "60", "Time between checks.",
		seconds(1, micros63, "virtual server delay loop '{value}' invalid - ignoring", func(l *loader, v time.Duration) { l.vs.interval = v })),
	works("persistence_timeout", "[1..2678400]", "360 if no number is given", "Seconds that a client stays on one real server.", setPersistence),
	works("persistence_granularity", "NETMASK", "255.255.255.255", "Clients of one network stay together.", setGranularity),
	planned("persistence_engine", "NAME", "", "What a client is recognised by.").begin(word(func(l *loader, v string) { l.vs.Engine = v })),
	planned("ip_family", "inet|inet6", "that of the real servers", "Family of a mark's service.").begin(setFamily),
	planned("virtualhost", "STRING", "", "Host for HTTP checks."),
	planned("snmp_name", "STRING", "", "Name in SNMP."),
	row(Works, "real_server", "IP [PORT]", "", "One machine that serves.").begin(beginReal).with(realBlock, endReal),
	works("sorry_server", "IP [PORT]", "", "Serves while the quorum is lost.", setSorry),
	planned("sorry_server_inhibit", "", "off", "inhibit_on_failure of the sorry server."),
	planned("sorry_server_lvs_method", "NAT|DR|TUN", "lb_kind", "How packets get to the sorry server."),
	planned("ha_suspend", "", "off", "Check only while the address is here."),
	inert("smtp_alert", "[BOOL]", "the global one", "Mail about changes.", mailWhy),
}

func setFamily(l *loader, s *stmt) {
	switch s.text(1) {
	case "inet":
		l.vs.V6 = false
	case "inet6":
		l.vs.V6 = l.vs.Mark != 0
	default:
		l.badValue(s, 1, "", "unknown address family {value}")
	}
}

func schedFlag(name string, bit lb.SchedFlags) keyword {
	return works(name, "", "off", "Flag of the scheduler.", flag(func(l *loader) { l.vs.Flags |= bit }))
}

// For sh and mh, flag 1 is fallback and flag 2 is port: ipvsadm(8).
var serviceFlags = []keyword{
	works("ops", "", "off", "Schedule every datagram anew.", flag(func(l *loader) { l.vs.OnePacket = true })),
	schedFlag("sh-port", lb.SchedFlag2), schedFlag("sh-fallback", lb.SchedFlag1),
	schedFlag("mh-port", lb.SchedFlag2), schedFlag("mh-fallback", lb.SchedFlag1),
	schedFlag("flag-1", lb.SchedFlag1), schedFlag("flag-2", lb.SchedFlag2), schedFlag("flag-3", lb.SchedFlag3),
	inert("hashed", "", "", "Nothing, in keepalived too.", "it has none in keepalived either"),
}

var serviceQuorum = []keyword{
	works("alpha", "", "off", "Real servers are down until a check succeeded.", flag(func(l *loader) { l.vs.Alpha = true })),
	works("omega", "", "off", "Say down for everything at the stop.", flag(func(l *loader) { l.vs.Omega = true })),
	works("quorum", "N", "1", "Weight that must be up.",
		number(1, math.MaxUint32, "Quorum {value} must be in [1, 4294967295]. Setting to 1.", func(l *loader, v int64) { l.vs.Quorum = int(v) })),
	works("hysteresis", "N", "0", "How far over and under the quorum it changes.",
		number(0, math.MaxUint32, "Hysteresis {value} must be in [0, 4294967295] - ignoring", func(l *loader, v int64) { l.vs.Hysteresis = int(v) })),
	planned("quorum_up", "COMMAND", "", "Run when the quorum is reached.").command(),
	planned("quorum_down", "COMMAND", "", "Run when the quorum is lost.").command(),
	works("inhibit_on_failure", "", "off", "A failed real server gets weight 0 instead of going.", flag(func(l *loader) { l.vs.InhibitOnFailure = true })),
}

// serviceDefaults are those for the real servers and their checkers.
var serviceDefaults = append(timingRows(func(l *loader) *timing { return &l.vs.timing }),
	works("weight", "1..2147483647", "1", "Weight of real servers without one.",
		number(1, math.MaxInt32, "Virtual server weight {value} is outside range 1-2147483647", func(l *loader, v int64) { l.vs.weight = int32(v) })))

// timingRows are the keywords that a virtual_server and a real_server have for their checkers.
func timingRows(at func(l *loader) *timing) []keyword {
	return []keyword{
		works("retry", "N", "1", "Further attempts before a failure counts.",
			number(0, math.MaxUint32, "retry value invalid - {value}", func(l *loader, v int64) { at(l).retry = v })),
		works("delay_before_retry", "SECS", "1", "Time before a further attempt.",
			seconds(0, micros32, "", func(l *loader, v time.Duration) { at(l).delayBeforeRetry = v })),
		works("warmup", "SECS", "delay_loop", "First checks are spread over this time.",
			seconds(0, micros32, "", func(l *loader, v time.Duration) { at(l).warmup = v })),
		works("connect_timeout", "SECS", "5", "Time to connect.",
			seconds(1, micros32, "connect_timeout {value} invalid - ignoring", func(l *loader, v time.Duration) { at(l).connect = v })),
	}
}

var realBlock = &block{name: "real_server", rows: join(
	timingRows(func(l *loader) *timing { return &l.rs.timing }), realMain, realChecks)}

var realMain = []keyword{
	works("weight", "0..2147483647", "the service's", "Share of new connections; 0: none.",
		number(0, math.MaxInt32, "Real server weight {value} is outside range 0-2147483647", func(l *loader, v int64) { l.rs.Weight = int32(v) })),
	works("lvs_method", "NAT|DR|TUN", "lb_kind", "How packets get here.", func(l *loader, s *stmt) {
		if f := l.kind(s, "real server"); f.set {
			l.rs.forward = f
		}
	}),
	works("inhibit_on_failure", "[BOOL]", "the service's", "Weight 0 instead of going.",
		boolean("Invalid inhibit_on_failure parameter {value}", func(l *loader, v bool) { l.rs.inhibit = &v })),
	works("uthreshold", "N", "", "Connections at which it is overloaded.",
		number(0, math.MaxUint32, "Invalid real_server uthreshold '{value}' - ignoring", func(l *loader, v int64) { l.rs.Upper = uint32(v) })),
	works("lthreshold", "N", "", "Connections below which it recovers.",
		number(0, math.MaxUint32, "Invalid real_server lthreshold '{value}' - ignoring", func(l *loader, v int64) { l.rs.Lower = uint32(v) })),
	planned("notify_up", "COMMAND", "", "Run when it comes.").command(),
	planned("notify_down", "COMMAND", "", "Run when it goes.").command(),
	works("alpha", "[BOOL]", "the service's", "Down until a check succeeded.",
		boolean("Invalid alpha parameter {value}", func(l *loader, v bool) { l.rs.alpha = &v })),
	works("delay_loop", "SECS", "the service's", "Time between checks.",
		seconds(1, micros63, "real server delay_loop '{value}' invalid - ignoring", func(l *loader, v time.Duration) { l.rs.interval = v })),
	inert("smtp_alert", "[BOOL]", "the service's", "Mail about changes.", mailWhy),
	planned("virtualhost", "STRING", "the service's", "Host for HTTP checks."),
	planned("snmp_name", "STRING", "", "Name in SNMP."),
}
