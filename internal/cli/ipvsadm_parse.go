package cli

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"vipd/internal/lb"
)

// Exit codes of ipvsadm.
const (
	exitListing = 1   // a listing could not be had
	exitUsage   = 2   // a mistake in the command line, or no daemon
	exitPopt    = 255 // a mistake that popt finds, a command that the data plane refused
)

// usageError is why a command line is refused: one line for stderr and an exit code.
type usageError struct {
	code int
	text string
	popt bool // popt found it
}

func (e *usageError) Error() string { return e.text }

func usage(format string, args ...any) *usageError {
	return &usageError{code: exitUsage, text: fmt.Sprintf(format, args...)}
}

// tryHelp is the answer to a line that does not begin with a command.
func tryHelp(argv0 string) *usageError {
	return &usageError{code: exitPopt, text: fmt.Sprintf("Try `%s -h' or '%s --help' for more information.", argv0, argv0)}
}

// ipvsCommand is a command line of ipvsadm, understood and checked.
type ipvsCommand struct {
	verb     verb
	given    optionSet
	service  lb.Service
	real     lb.Real
	timeouts lb.Timeouts // of --set; zero keeps
	daemon   lb.SyncDaemon

	// As far as they have to be known before everything is read:
	v6    bool
	mask  [4]byte // IPv4
	bits  int     // IPv6
	flags string
}

// parseIpvsadm understands args (without the program's name) as ipvsadm 1.31 does: same order of checks, same messages.
// No argument at all lists the services.
func parseIpvsadm(argv0 string, args []string, names Names) (*ipvsCommand, *usageError) {
	c := newIpvsCommand()
	if len(args) == 0 {
		c.verb = list
		return c, nil
	}
	r := &reader{args: args}
	w, value, _, bad := r.option()
	if w == nil || bad != "" || w.verb == noVerb {
		return nil, tryHelp(argv0)
	}
	c.verb = w.verb
	if c.verb == showHelp || c.verb == showVersion {
		return c, nil
	}
	if w.parse != nil {
		if err := w.parse(c, names, value, true); err != nil {
			return nil, err
		}
	}
	if err := c.options(r, names); err != nil {
		return nil, err
	}
	return c, c.finish(r.words)
}

func newIpvsCommand() *ipvsCommand {
	c := &ipvsCommand{mask: [4]byte{255, 255, 255, 255}, bits: 128}
	c.service.Protocol = lb.TCP
	c.real.Forward = lb.Route
	c.real.Weight = 1
	c.daemon.Interface = defaultMcastInterface
	return c
}

// options reads everything after the command. Each mistake is fatal at once.
func (c *ipvsCommand) options(r *reader, names Names) *usageError {
	for {
		w, value, given, bad := r.option()
		switch {
		case bad != "":
			return &usageError{code: exitPopt, text: r.typed + ": " + string(bad), popt: true}
		case w == nil:
			return nil
		case w.verb != noVerb:
			return usage("invalid option `%s'", r.typed)
		}
		if w.opt < optionCount {
			if c.given.has(w.opt) {
				return usage("multiple '%s' options specified", w.opt)
			}
			c.given = c.given.with(w.opt)
		}
		if w.parse != nil {
			if err := w.parse(c, names, value, given); err != nil {
				return err
			}
		}
	}
}

// finish does what can be done only when the whole line is read, in ipvsadm's order.
func (c *ipvsCommand) finish(words []string) *usageError {
	if c.verb == setTimeouts {
		if len(words) < 3 {
			return usage("--set option requires 3 timeout values")
		}
		if err := c.timeoutWords(words[:3]); err != nil {
			return err
		}
		words = words[3:]
	}
	if len(words) > 0 {
		return usage("unexpected argument %s", words[0])
	}
	if err := c.schedulerFlags(); err != nil {
		return err
	}
	if err := c.legal(); err != nil {
		return err
	}
	c.settle()
	return nil
}

func (c *ipvsCommand) timeoutWords(words []string) *usageError {
	for i, into := range []*time.Duration{&c.timeouts.TCP, &c.timeouts.TCPFin, &c.timeouts.UDP} {
		n, ok := wholeNumber(words[i], 0, maxTimeout)
		if !ok {
			return usage("invalid timeout value `%s' specified", words[i])
		}
		*into = time.Duration(n) * time.Second
	}
	return nil
}

// settle fills what follows from the rest once everything is legal.
func (c *ipvsCommand) settle() {
	if c.service.Scheduler == "" {
		c.service.Scheduler = "wlc"
	}
	c.service.OnePacket = c.given.has(optOnePacket)
	if c.service.Mark != 0 {
		c.service.Protocol, c.service.V6 = lb.IP, c.v6
	}
	c.settleMask()
	c.real.Tunnel.Csum = c.given.has(optTunCsum)
	c.real.Tunnel.RemCsum = c.given.has(optTunRemcsum)
	// ipvs: a server that is not masqueraded gets the service's port, whatever was asked for.
	if (c.verb == addServer || c.verb == editServer) && c.real.Forward != lb.Masq && c.service.Mark == 0 {
		c.real.Addr = netip.AddrPortFrom(c.real.Addr.Addr(), c.service.Addr.Port())
	}
}

func (c *ipvsCommand) settleMask() {
	if c.v6 {
		c.service.Wild = lb.WildOf(c.bits, true)
		return
	}
	c.service.Wild = ^binary.BigEndian.Uint32(c.mask[:])
}
