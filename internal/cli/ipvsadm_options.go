package cli

import "vipd/internal/lb"

// verb is a command of ipvsadm.
type verb uint8

const (
	noVerb verb = iota
	addService
	editService
	deleteService
	flush
	list
	addServer
	deleteServer
	editServer
	setTimeouts
	startDaemon
	stopDaemon
	restore
	save
	zero
	showHelp
	showVersion
)

// verbNames are the words of ipvsadm's messages.
var verbNames = [...]string{addService: "add-service", editService: "edit-service", deleteService: "delete-service",
	flush: "flush", list: "list", addServer: "add-server", deleteServer: "delete-server", editServer: "edit-server",
	setTimeouts: "set", startDaemon: "start-daemon", stopDaemon: "stop-daemon", restore: "restore", save: "save", zero: "zero"}

func (v verb) String() string { return verbNames[v] }

// option is an option as ipvsadm's checks count it: all ways to name a service are one. The order is that of the checks.
type option uint8

const (
	optNumeric option = iota
	optConnection
	optService
	optScheduler
	optPersistent
	optNetmask
	optServer
	optForward
	optWeight
	optUpper
	optLower
	optMcastInterface
	optTimeout
	optDaemon
	optStats
	optRate
	optThresholds
	optPersistentConn
	optNosort
	optSyncID
	optExact
	optOnePacket
	optEngine
	optFlags
	optMcastGroup
	optMcastPort
	optMcastTTL
	optSyncMaxlen
	optTunInfo
	optTunType
	optTunPort
	optTunNocsum
	optTunCsum
	optTunRemcsum
	optionCount
	optIPv6 // may be repeated and is in no check
	optSort // does nothing
	noOption
)

var optionNames = [optionCount]string{"numeric", "connection", "service-address", "scheduler", "persistent", "netmask",
	"real-server", "forwarding-method", "weight", "u-threshold", "l-threshold", "mcast-interface", "timeout", "daemon",
	"stats", "rate", "thresholds", "persistent-conn", "nosort", "syncid", "exact", "ops", "pe", "sched-flags",
	"mcast-group", "mcast-port", "mcast-ttl", "sync-maxlen", "tun-info", "tun-type", "tun-port", "tun-nocsum", "tun-csum",
	"tun-remcsum"}

func (o option) String() string { return optionNames[o] }

// optionSet is a set of options.
type optionSet uint64

func setOf(opts ...option) optionSet {
	var s optionSet
	for _, o := range opts {
		s |= 1 << o
	}
	return s
}

func (s optionSet) has(o option) bool          { return s&(1<<o) != 0 }
func (s optionSet) hasAny(o ...option) bool    { return s&setOf(o...) != 0 }
func (s optionSet) with(o ...option) optionSet { return s | setOf(o...) }

// argument says what popt expects after an option.
type argument uint8

const (
	noArgument argument = iota
	wantsArgument
	mayHaveArgument // the next word, unless it starts with a dash
)

// word is one line of the grammar: an option or command as it is typed.
type word struct {
	long  string
	short byte // 0: none
	arg   argument
	verb  verb
	opt   option
	parse func(c *ipvsCommand, names Names, value string, given bool) *usageError
}

func command(long string, short byte, v verb) word {
	return word{long: long, short: short, verb: v, opt: noOption}
}

// words is the whole grammar. Long words cannot be abbreviated.
var words = []word{
	command("add-service", 'A', addService),
	command("edit-service", 'E', editService),
	command("delete-service", 'D', deleteService),
	command("clear", 'C', flush),
	command("list", 'L', list),
	command("", 'l', list),
	command("zero", 'Z', zero),
	command("restore", 'R', restore),
	command("save", 'S', save),
	command("add-server", 'a', addServer),
	command("edit-server", 'e', editServer),
	command("delete-server", 'd', deleteServer),
	command("set", 0, setTimeouts),
	command("help", 'h', showHelp),
	command("version", 'v', showVersion),
	{long: "start-daemon", arg: wantsArgument, verb: startDaemon, opt: noOption, parse: parseStartDaemon},
	{long: "stop-daemon", arg: wantsArgument, verb: stopDaemon, opt: noOption, parse: parseStopDaemon},

	{long: "tcp-service", short: 't', arg: wantsArgument, opt: optService, parse: parseTCPService},
	{long: "udp-service", short: 'u', arg: wantsArgument, opt: optService, parse: parseUDPService},
	{long: "sctp-service", arg: wantsArgument, opt: optService, parse: parseSCTPService},
	{long: "fwmark-service", short: 'f', arg: wantsArgument, opt: optService, parse: parseMark},
	{long: "ipv6", short: '6', opt: optIPv6, parse: parseIPv6},
	{long: "scheduler", short: 's', arg: wantsArgument, opt: optScheduler, parse: parseScheduler},
	{long: "persistent", short: 'p', arg: mayHaveArgument, opt: optPersistent, parse: parsePersistent},
	{long: "netmask", short: 'M', arg: wantsArgument, opt: optNetmask, parse: parseNetmask},
	{long: "real-server", short: 'r', arg: wantsArgument, opt: optServer, parse: parseServer},
	{long: "masquerading", short: 'm', opt: optForward, parse: parseMasq},
	{long: "ipip", short: 'i', opt: optForward, parse: parseTunnel},
	{long: "gatewaying", short: 'g', opt: optForward, parse: parseRoute},
	{long: "weight", short: 'w', arg: wantsArgument, opt: optWeight, parse: parseWeight},
	{long: "u-threshold", short: 'x', arg: wantsArgument, opt: optUpper, parse: parseUpper},
	{long: "l-threshold", short: 'y', arg: wantsArgument, opt: optLower, parse: parseLower},
	{long: "numeric", short: 'n', opt: optNumeric},
	{long: "connection", short: 'c', opt: optConnection},
	{long: "mcast-interface", arg: wantsArgument, opt: optMcastInterface, parse: parseMcastInterface},
	{long: "timeout", opt: optTimeout},
	{long: "daemon", opt: optDaemon},
	{long: "stats", opt: optStats},
	{long: "rate", opt: optRate},
	{long: "thresholds", opt: optThresholds},
	{long: "persistent-conn", opt: optPersistentConn},
	{long: "nosort", opt: optNosort},
	{long: "sort", opt: optSort},
	{long: "exact", short: 'X', opt: optExact},
	{long: "ops", short: 'o', opt: optOnePacket},
	{long: "pe", arg: wantsArgument, opt: optEngine, parse: parseEngine},
	{long: "sched-flags", short: 'b', arg: wantsArgument, opt: optFlags, parse: parseFlagWord},
	{long: "syncid", arg: wantsArgument, opt: optSyncID, parse: daemonNumber("illegal syncid specified", 0, 255, func(d *lb.SyncDaemon, n int64) { d.ID = uint8(n) })},
	{long: "sync-maxlen", arg: wantsArgument, opt: optSyncMaxlen, parse: daemonNumber("illegal sync-maxlen specified", 1, 65507, func(d *lb.SyncDaemon, n int64) { d.MaxLen = uint16(n) })},
	{long: "mcast-group", arg: wantsArgument, opt: optMcastGroup, parse: parseGroup},
	{long: "mcast-port", arg: wantsArgument, opt: optMcastPort, parse: daemonNumber("illegal mcast-port specified", 1, 65535, func(d *lb.SyncDaemon, n int64) { d.Port = uint16(n) })},
	{long: "mcast-ttl", arg: wantsArgument, opt: optMcastTTL, parse: daemonNumber("illegal mcast-ttl specified", 1, 255, func(d *lb.SyncDaemon, n int64) { d.TTL = uint8(n) })},
	{long: "tun-info", opt: optTunInfo},
	{long: "tun-type", arg: wantsArgument, opt: optTunType, parse: parseTunType},
	{long: "tun-port", arg: wantsArgument, opt: optTunPort, parse: parseTunPort},
	{long: "tun-nocsum", opt: optTunNocsum},
	{long: "tun-csum", opt: optTunCsum},
	{long: "tun-remcsum", opt: optTunRemcsum},
}
