package conf

import (
	"math"
	"time"

	"vipd/internal/lb"
)

var serviceBlock = &block{name: "virtual_server", rows: join(
	works("lb_algo", "SCHEDULER", "wlc", "Which real server gets a new connection: rr wrr lc wlc sh dh mh and others.", setScheduler).also("lvs_sched"),
	works("lb_kind", "NAT|DR|TUN", "NAT", "How packets get to the real server.", func(l *loader, s *stmt) { l.kind(s, "virtual server", &l.vs.forward) }).also("lvs_method"),
	serviceMain, serviceFlags, serviceQuorum, serviceDefaults, serviceOurs)}

// serviceOurs are words that keepalived does not know.
var serviceOurs = []keyword{
	works("mss_clamp", "[88..65495]", "off; without a number what fits the way to the real server",
		"Most that a TCP handshake may say of its largest segment: requests always, answers with NAT, where they pass here. An extension of vipd.",
		setSegment).extension(),
	works("fullnat", "ADDR[-ADDR]", "off", "With lb_kind NAT, real servers see these addresses of this host as their clients, "+
		"and answer whatever their routes are. They do not learn the client's address without send_proxy_v2. "+
		"Connections survive a failover where the addresses move with the virtual one: see sync.md. An extension of vipd.", setFullNAT).
		extension(),
	works("send_proxy_v2", "", "off", "With fullnat and TCP, real servers are told the client's address by the PROXY protocol, version 2, "+
		"and must expect it (accept-proxy of HAProxy, listen … proxy_protocol of nginx). Checks do not send it. An extension of vipd.",
		flag(func(l *loader) { l.vs.Proxy = true })).extension(),
	works("check_path", "real|vip|both", "real", "The way that checks take: to the real server's own address, to the virtual address as traffic goes there "+
		"(lb_kind DR or TUN), or both, of which each must succeed. Of a group: its first address. An extension of vipd.",
		setCheckPath(func(l *loader) *string { return &l.vs.checkPath })).extension(),
	maxEject,
	works("carry_on", "", "off", "With lb_algo sh or mh and no persistence, what is in the middle of a TCP connection that is not known here goes where another director with the same real servers and weights "+
		"had it, instead of being refused: see sync.md."+byVipd, flag(func(l *loader) { l.vs.CarryOn = true })).extension(),
	works("sync", "usual|established|all|none", "usual", "Which of its connections the peers of connection_sync are told of: from the client's third packet on, of TCP once they are established (usual); "+
		"from the first packet on, of TCP once they are established; all; none."+byVipd, setTelling).extension(),
	slowStart(func(l *loader, v time.Duration) { l.vs.slow = v }),
}

var serviceMain = []keyword{
	works("protocol", "TCP|UDP|SCTP", "UDP", "Transport of the service.", setProtocol),
	works("delay_loop", "SECS", "60", "Time between checks.",
		timer(1, "virtual server delay loop '{value}' invalid - ignoring", func(l *loader, v time.Duration) { l.vs.interval = v })),
	works("persistence_timeout", "[1..2678400]", "360 if no number is given", "Seconds that a client stays on one real server.", setPersistence),
	works("persistence_granularity", "NETMASK", "255.255.255.255", "Clients of one network stay together.", setGranularity),
	works("persistence_engine", "sip", "", "What a client is recognised by, besides its address: sip, by the Call-ID of SIP over UDP.",
		word(func(l *loader, v string) { l.vs.Engine = v })),
	works("ip_family", "inet|inet6", "that of the real servers", "Family of a mark's service.", setFamily),
	row(Works, "virtualhost", "STRING", "", "Host for HTTP checks.").begin(word(func(l *loader, v string) { l.vs.VirtualHost = v })),
	planned("snmp_name", "STRING", "", "Name in SNMP.").begin(snmpName("virtual", func(l *loader) *string { return &l.vs.SNMPName })),
	row(Works, "real_server", "IP [PORT]", "", "One machine that serves.").begin(beginReal).with(realBlock, endReal),
	works("sorry_server", "IP [PORT]", "", "Serves while the quorum is lost.", setSorry),
	row(Works, "sorry_server_inhibit", "", "off", "inhibit_on_failure of the sorry server.").begin(setSorryInhibit),
	row(Works, "sorry_server_lvs_method", "[NAT|DR|TUN]", "lb_kind", "How packets get to the sorry server.").begin(setSorryMethod),
	row(Works, "ha_suspend", "", "off", "Check only while the address is here.").begin(flag(func(l *loader) { l.vs.HASuspend = true })),
	row(Works, "smtp_alert", "[BOOL]", "the global one", "Mail about changes.").
		begin(boolean("Invalid virtual_server smtp_alert parameter {value}", func(l *loader, v bool) { l.vs.smtp = &v })),
}

func schedFlag(name string, bit lb.SchedFlags) keyword {
	return works(name, "", "off", "Flag of the scheduler.", setFlag(name, bit))
}

var serviceFlags = []keyword{
	works("ops", "", "off", "Schedule every datagram anew.", flag(func(l *loader) { l.vs.OnePacket = true })),
	schedFlag("sh-port", lb.SchedFlag2), schedFlag("sh-fallback", lb.SchedFlag1),
	schedFlag("mh-port", lb.SchedFlag2), schedFlag("mh-fallback", lb.SchedFlag1),
	schedFlag("flag-1", lb.SchedFlag1), schedFlag("flag-2", lb.SchedFlag2), schedFlag("flag-3", lb.SchedFlag3),
	inert("hashed", "", "", "Nothing, in keepalived too.", "it has none in keepalived either").begin(setHashed),
}

var serviceQuorum = []keyword{
	works("alpha", "", "off", "Real servers are down until a check succeeded.", flag(func(l *loader) { l.vs.Alpha = true })),
	works("omega", "", "off", "Say down for everything at the stop.", flag(func(l *loader) { l.vs.Omega = true })),
	works("quorum", "N", "1", "Weight that must be up.",
		setQuorum),
	works("hysteresis", "N", "0", "How far over and under the quorum it changes.",
		number(0, math.MaxUint32, "Hysteresis {value} must be in [0, 4294967295] - ignoring", func(l *loader, v int64) { l.vs.Hysteresis = int(v) })),
	row(Works, "quorum_up", "COMMAND", "", "Run when the quorum is reached.").command().
		begin(notifyScript("({vsg}) quorum_up script already specified - ignoring {value}", func(l *loader) **Script { return &l.vs.QuorumUp })),
	row(Works, "quorum_down", "COMMAND", "", "Run when the quorum is lost.").command().
		begin(notifyScript("({vsg}) quorum_down script already specified - ignoring {value}", func(l *loader) **Script { return &l.vs.QuorumDown })),
	works("inhibit_on_failure", "", "off", "A failed real server gets weight 0 instead of going.", flag(func(l *loader) { l.vs.InhibitOnFailure = true })),
}

// serviceDefaults are those for the real servers and their checkers.
var serviceDefaults = append(timingRows("virtual server", "delay before retry", func(l *loader) *timing { return &l.vs.timing }),
	works("weight", "1..2147483647", "1", "Weight of real servers without one.",
		number(1, math.MaxInt32, "Virtual server weight {value} is outside range 1-2147483647", func(l *loader, v int64) { l.vs.Weight = int32(v) })))

// timingRows are the keywords that a virtual_server and a real_server have for their checkers.
func timingRows(of string, retry string, at func(l *loader) *timing) []keyword {
	return append(paceRows(at),
		works("retry", "N", "1", "Further attempts before a failure counts.",
			number(1, math.MaxUint32, "retry value invalid - {value}", func(l *loader, v int64) { at(l).retry = v })),
		works("delay_before_retry", "SECS", "1", "Time before a further attempt.",
			timer(0, of+" "+retry+" '{value}' invalid - ignoring", func(l *loader, v time.Duration) { at(l).delayBeforeRetry = v })),
		works("warmup", "SECS", "delay_loop", "First checks are spread over this time.",
			timer(0, of+" warmup '{value}' invalid - ignoring", func(l *loader, v time.Duration) { at(l).warmup = v })),
		works("connect_timeout", "SECS", "5", "Time to connect.",
			seconds(1, micros32, of+" connect_timeout {value} invalid - ignoring", func(l *loader, v time.Duration) { at(l).connect = v })))
}

func setQuorum(l *loader, s *stmt) {
	v, ok := l.integer(s, 1, 1, math.MaxUint32, "Quorum {value} must be in [1, 4294967295]. Setting to 1.")
	if !ok {
		v = 1
	}
	l.vs.Quorum = int(v)
}

func snmpName(of string, at func(l *loader) *string) setter {
	return func(l *loader, s *stmt) {
		if len(s.words) != 2 {
			l.warn(s.words[0], "extra-words", of+" server snmp_name missing or extra parameters")
			return
		}
		*at(l) = s.text(1)
	}
}

var realBlock = &block{name: "real_server", rows: join(
	timingRows("real server", "delay_before_retry", func(l *loader) *timing { return &l.rs.timing }), realMain, realChecks)}

var realMain = []keyword{
	works("weight", "0..2147483647", "the service's", "Share of new connections; 0: none.",
		number(0, math.MaxInt32, "Real server weight {value} is outside range 0-2147483647", func(l *loader, v int64) { l.rs.Weight = int32(v) })),
	works("lvs_method", "NAT|DR|TUN", "lb_kind", "How packets get here.", func(l *loader, s *stmt) { l.kind(s, "real server", &l.rs.forward) }),
	works("inhibit_on_failure", "[BOOL]", "the service's", "Weight 0 instead of going.",
		boolean("Invalid inhibit_on_failure parameter {value}", func(l *loader, v bool) { l.rs.inhibit = &v })),
	works("uthreshold", "N", "", "Connections at which it is overloaded.",
		number(0, math.MaxUint32, "Invalid real_server uthreshold '{value}' - ignoring", func(l *loader, v int64) { l.rs.Upper = uint32(v) })),
	works("lthreshold", "N", "", "Connections below which it recovers.",
		number(0, math.MaxUint32, "Invalid real_server lthreshold '{value}' - ignoring", func(l *loader, v int64) { l.rs.Lower = uint32(v) })),
	row(Works, "notify_up", "COMMAND", "", "Run when it comes.").command().
		begin(notifyScript("({vsg}) notify_up script already specified - ignoring {value}", func(l *loader) **Script { return &l.rs.NotifyUp })),
	row(Works, "notify_down", "COMMAND", "", "Run when it goes.").command().
		begin(notifyScript("({vsg}) notify_down script already specified - ignoring {value}", func(l *loader) **Script { return &l.rs.NotifyDown })),
	works("alpha", "[BOOL]", "the service's", "Down until a check succeeded.",
		boolean("Invalid alpha parameter {value}", func(l *loader, v bool) { l.rs.alpha = &v })),
	works("delay_loop", "SECS", "the service's", "Time between checks.",
		timer(1, "real server delay_loop '{value}' invalid - ignoring", func(l *loader, v time.Duration) { l.rs.interval = v })),
	row(Works, "smtp_alert", "[BOOL]", "the service's", "Mail about changes.").
		begin(boolean("Invalid real_server smtp_alert parameter {value}", func(l *loader, v bool) { l.rs.smtp = &v })),
	works("check_path", "real|vip|both", "the service's", "The way that its checks take. An extension of vipd.",
		setCheckPath(func(l *loader) *string { return &l.rs.checkPath })).extension(),
	row(Works, "virtualhost", "STRING", "the service's", "Host for HTTP checks.").begin(word(func(l *loader, v string) { l.rs.VirtualHost = v })),
	slowStart(func(l *loader, v time.Duration) { l.rs.slow = &v }),
	planned("snmp_name", "STRING", "", "Name in SNMP.").begin(snmpName("real", func(l *loader) *string { return &l.rs.SNMPName })),
}
