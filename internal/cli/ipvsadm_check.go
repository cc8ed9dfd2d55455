package cli

import (
	"strings"

	"vipd/internal/lb"
)

// rule says which options a command needs, may have, and may have one of. Everything else is illegal with it.
type rule struct {
	must    optionSet
	may     optionSet
	exclude optionSet // at most one of these
}

var (
	serviceOptions = setOf(optScheduler, optPersistent, optNetmask, optOnePacket, optEngine, optFlags)
	serverOptions  = setOf(optForward, optWeight, optUpper, optLower, optTunType, optTunPort, optTunNocsum, optTunCsum, optTunRemcsum)
	listOptions    = setOf(optNumeric, optStats, optRate, optThresholds, optPersistentConn, optNosort, optSyncID, optExact, optTunInfo)
	daemonOptions  = setOf(optMcastInterface, optSyncID, optSyncMaxlen, optMcastGroup, optMcastPort, optMcastTTL)
)

var rules = map[verb]rule{
	addService:    {must: setOf(optService), may: serviceOptions},
	editService:   {must: setOf(optService), may: serviceOptions},
	deleteService: {must: setOf(optService)},
	addServer:     {must: setOf(optService, optServer), may: serverOptions},
	editServer:    {must: setOf(optService, optServer), may: serverOptions},
	deleteServer:  {must: setOf(optService, optServer)},
	list:          {may: listOptions, exclude: setOf(optConnection, optService, optTimeout, optDaemon)},
	save:          {may: setOf(optNumeric)},
	zero:          {may: setOf(optService)},
	startDaemon:   {may: daemonOptions},
	stopDaemon:    {may: setOf(optSyncID)},
	flush:         {}, restore: {}, setTimeouts: {},
}

// legal checks options against the command, then against each other, in ipvsadm's order.
func (c *ipvsCommand) legal() *usageError {
	if err := c.obey(rules[c.verb]); err != nil {
		return err
	}
	switch c.verb {
	case addService, editService:
		if c.service.Persistence == 0 && c.service.Mark == 0 && c.service.Addr.Port() == 0 {
			return usage("Zero port specified for non-persistent service")
		}
		if c.given.has(optOnePacket) && c.service.Mark == 0 && c.service.Protocol != lb.UDP {
			return usage("One-Packet Scheduling is only for UDP virtual services")
		}
	case addServer, editServer:
		return c.legalServer()
	case list:
		return c.legalList()
	}
	return nil
}

func (c *ipvsCommand) obey(r rule) *usageError {
	first := noOption
	for o := range optionCount {
		if !c.given.has(o) {
			if r.must.has(o) {
				return usage("You need to supply the '%s' option for the '%s' command", o, c.verb)
			}
			continue
		}
		if r.exclude.has(o) {
			if first != noOption {
				return usage("The option '%s' conflicts with the '%s' option in the '%s' command", o, first, c.verb)
			}
			first = o
		} else if !r.must.has(o) && !r.may.has(o) {
			return usage("Illegal '%s' option with the '%s' command", o, c.verb)
		}
	}
	return nil
}

func (c *ipvsCommand) legalList() *usageError {
	conflict := c.given.has(optConnection) && c.given.hasAny(optStats, optRate, optThresholds) ||
		c.given.hasAny(optTimeout, optDaemon) && c.given.hasAny(optStats, optRate, optThresholds, optPersistentConn)
	return unless(!conflict, "options conflicts in the list command")
}

// tunnelRules are those of -i servers: what each encapsulation needs and takes.
var tunnelRules = map[lb.TunnelType]struct {
	name string
	rule rule
}{
	lb.IPIP: {"ipip", rule{}},
	lb.GUE:  {"gue", rule{must: setOf(optTunPort), exclude: setOf(optTunNocsum, optTunCsum, optTunRemcsum)}},
	lb.GRE:  {"gre", rule{exclude: setOf(optTunNocsum, optTunCsum)}},
}

func (c *ipvsCommand) legalServer() *usageError {
	if c.real.Addr.Addr().Is6() != c.v6 && c.real.Forward != lb.Tunnel {
		return usage("Different address family is allowed only for tunneling servers")
	}
	tunnel := []option{optTunPort, optTunNocsum, optTunCsum, optTunRemcsum}
	if c.real.Forward != lb.Tunnel {
		return unless(!c.given.hasAny(append(tunnel, optTunType)...), "Tunnel options conflict with forward method")
	}
	kind := tunnelRules[c.real.Tunnel.Type]
	first := noOption
	for _, o := range tunnel {
		switch {
		case !c.given.has(o):
			if kind.rule.must.has(o) {
				return usage("You need to supply the '%s' option for the '%s' tunnel type", o, kind.name)
			}
		case kind.rule.exclude.has(o):
			if first != noOption {
				return usage("The option '%s' conflicts with the '%s' option in the '%s' tunnel type", o, first, kind.name)
			}
			first = o
		case !kind.rule.must.has(o):
			return usage("Illegal '%s' option with the '%s' tunnel type", o, kind.name)
		}
	}
	return nil
}

// flagWords are the names of scheduler flags. Those of one scheduler are refused with every other.
var flagWords = map[string]struct {
	flag      lb.SchedFlags
	scheduler string
}{
	"flag-1": {lb.SchedFlag1, ""}, "flag-2": {lb.SchedFlag2, ""}, "flag-3": {lb.SchedFlag3, ""},
	"sh-fallback": {lb.SchedFlag1, "sh"}, "sh-port": {lb.SchedFlag2, "sh"},
	"mh-fallback": {lb.SchedFlag1, "mh"}, "mh-port": {lb.SchedFlag2, "mh"},
}

func parseFlagWord(c *ipvsCommand, _ Names, value string, _ bool) *usageError {
	c.flags = value
	return nil
}

// schedulerFlags understands -b when the scheduler is known, wherever -s stands.
func (c *ipvsCommand) schedulerFlags() *usageError {
	if c.flags != "" && strings.Trim(c.flags, ",") == "" { // ipvsadm: ends by a signal
		return usage("invalid scheduler flag `%s'", c.flags)
	}
	for _, name := range strings.Split(c.flags, ",") {
		if name == "" {
			continue
		}
		w, ok := flagWords[name]
		if !ok {
			return usage("invalid scheduler flag `%s'", name)
		}
		if w.scheduler != "" && w.scheduler != c.service.Scheduler {
			return usage("incompatible scheduler flag `%s'", name)
		}
		c.service.Flags |= w.flag
	}
	return nil
}
