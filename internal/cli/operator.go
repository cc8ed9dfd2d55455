package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vipd/internal/control"
	"vipd/internal/daemon"
)

// The operator's hand: vipd drain, disable, weight, ready.

const operatorHelp = `
SERVICE is ` + control.ServiceWords + `, or "all" for every service that
has the real server. REAL is ADDRESS:PORT, or ADDRESS where that is one. A member of a group stands for the whole group.

It is so at once, without a reload; it is kept over reloads and restarts until "vipd ready", and vipd status, the metrics
and the dumps show it. The checks go on: a real server that fails leaves the pool as ever.`

func newDrainCommand(env Env) *cobra.Command {
	var wait bool
	var limit time.Duration
	cmd := operatorCommand(env, "drain SERVICE REAL", "Send a real server no new connections (weight 0); those that it has go on",
		control.OrderDrain, cobra.RangeArgs(2, 3))
	cmd.Long = `Send a real server no new connections, by weight 0, and say how many it still has; those go on. Once none are left it is
safe to take it away. With --wait the command ends then: exit code 0 when it is safe, 1 when TIMEOUT was over before.
Weight 0 counts nothing towards the quorum, as with keepalived: who drains the last one of a service gets its sorry server.
A persistent client still comes to a drained server, as with IPVS, unless expire_quiescent_template is set.
` + operatorHelp + writeHelp
	cmd.Use = "drain SERVICE REAL [--wait [TIMEOUT]]"
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until no connection is left, for at most TIMEOUT if it is given, such as 10m")
	give := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 3 {
			d, err := time.ParseDuration(args[2])
			if !wait || err != nil || d <= 0 {
				return misused("%q: what follows SERVICE REAL is --wait with a time such as 10m", args[2])
			}
			limit = d
		}
		if err := give(cmd, args[:2]); err != nil {
			return err
		}
		return sayDraining(env, cmd, args, wait, limit)
	}
	return cmd
}

func newDisableCommand(env Env) *cobra.Command {
	cmd := operatorCommand(env, "disable SERVICE REAL", "Take a real server out of its pool; packets of its connections are dropped", control.OrderDisable, cobra.ExactArgs(2))
	cmd.Long = `Take a real server out of its pool, as a failed check does: it gets nothing any more, and packets of connections that it
has are dropped until they end or it comes back. To let them go on: vipd drain. With --write its block becomes a comment.
` + operatorHelp + writeHelp
	return cmd
}

func newReadyCommand(env Env) *cobra.Command {
	cmd := operatorCommand(env, "ready SERVICE REAL", "Take the hand back: the file and the checks count again", control.OrderReady, cobra.ExactArgs(2))
	cmd.Long = "Take back what drain, disable or weight has set: the file and the checks count again.\n" + operatorHelp
	return cmd
}

func newWeightCommand(env Env) *cobra.Command {
	cmd := operatorCommand(env, "weight SERVICE REAL {N|N%}", "Give a real server another weight than the file's", control.OrderWeight, cobra.ExactArgs(3))
	cmd.Long = `Give a real server the weight N, from 0 to 65535, in place of what the file and its checks say; or N% of that, which
follows them. Of a real server that is down it is the weight for when it is up.
` + operatorHelp + writeHelp
	return cmd
}

func operatorCommand(env Env, use, short, do string, args cobra.PositionalArgs) *cobra.Command {
	var write bool
	cmd := &cobra.Command{Use: use, Short: short, Args: mistaken(args)}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o := control.Order{Do: do}
		if do == control.OrderWeight {
			if err := weightOf(&o, args[2]); err != nil {
				return err
			}
		}
		return giveOrder(env, cmd, o, args[0], args[1], write)
	}
	cmd.Flags().String("instance", env.instance(), "name of the daemon to tell ($"+instanceVariable+")")
	if do != control.OrderReady {
		cmd.Flags().BoolVar(&write, "write", false, "put it into the configuration file instead")
	}
	return cmd
}

func misused(format string, args ...any) error {
	return &daemon.Failure{Code: exitUsage, Err: fmt.Errorf(format, args...)}
}

// weightOf reads N or N%.
func weightOf(o *control.Order, word string) error {
	text, percent := strings.CutSuffix(word, "%")
	n, err := strconv.ParseUint(text, 10, 16)
	switch {
	case percent && (err != nil || n == 0 || n > 1000):
		return misused("weight %.20q: want 1%% to 1000%%; none is 0", word)
	case err != nil:
		return misused("weight %.20q: want 0 to 65535, or a part such as 50%%", word)
	case percent:
		o.Percent = int32(n)
	default:
		o.Weight = int32(n)
	}
	return nil
}

// giveOrder tells the daemon one verb about all that the words mean.
func giveOrder(env Env, cmd *cobra.Command, o control.Order, service, real string, write bool) error {
	c, err := env.director(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	status, err := c.Status(ctx)
	if err != nil {
		return asked(err)
	}
	found, err := findTargets(&status, service, real, o.Do == control.OrderReady)
	if err != nil {
		return err
	}
	if write && len(found) > 1 {
		return misused("--write changes one real server of one service at a time, and %q means %d", service, len(found))
	}
	for _, t := range found {
		if err := worthIt(o, t); err != nil {
			return err
		}
	}
	for _, t := range found {
		o.Service, o.Real = t.service.ServiceKey, t.real.Addr
		if write {
			if err := writeOrder(ctx, env, c, &status, o, t); err != nil {
				return err
			}
			continue
		}
		out, err := c.Operate(ctx, o)
		if err != nil {
			return asked(err)
		}
		if out.Error != "" {
			return &daemon.Failure{Code: out.Code, Hint: out.Hint, Err: errors.New(out.Error)}
		}
	}
	return nil
}

// worthIt refuses a part of a weight that is too small to have parts.
func worthIt(o control.Order, t target) error {
	own := t.real.Weight
	if o.Percent == 0 || o.Percent == 100 || own == 0 || t.real.Operator != nil {
		return nil
	}
	if part := max((own*o.Percent+50)/100, 1); part == own {
		return &daemon.Failure{Code: exitUsage, Hint: "give the real servers larger weights in the file, such as 100, or say a number",
			Err: fmt.Errorf("%d%% of the weight %d of %s is %d: nothing would change", o.Percent, own, t.real.Addr, part)}
	}
	return nil
}

// target is one real server of one service; of a group, of its first member.
type target struct {
	service *control.Service
	real    *control.Real
}

func (t target) String() string {
	return fmt.Sprintf("%s %s", control.ServiceWord(t.service.ServiceKey), t.real.Addr)
}

// everyService is the word for all services that have the real server.
const everyService = "all"

// findTargets finds what SERVICE and REAL mean: one real server, but for "all". waits includes those that are held and
// not configured.
func findTargets(status *control.Status, service, real string, waits bool) ([]target, error) {
	services := control.FindServices(status.Services, service)
	if service == everyService {
		services = nil
		for i := range status.Services {
			services = append(services, &status.Services[i])
		}
	}
	services = firstOfGroups(services)
	switch {
	case len(services) == 0:
		return nil, notFound(fmt.Sprintf("no service %.80q", service), "services", everyServiceOf(status))
	case len(services) > 1 && service != everyService:
		return nil, ambiguous(service, services)
	}
	var found []target
	var there []string
	for _, s := range services {
		for _, r := range control.FindReals(s, real) {
			found = append(found, target{s, r})
		}
		for i := range s.Reals {
			there = append(there, s.Reals[i].Addr.String())
		}
	}
	if len(found) == 0 && waits {
		found = heldOf(status, services, real)
	}
	switch {
	case len(found) == 0:
		return nil, notFound(fmt.Sprintf("no real server %.80q in %s", real, service), "real servers", there)
	case len(found) > 1 && service != everyService:
		return nil, ambiguousReal(real, found)
	}
	return found, nil
}

// heldOf are hands that wait for a real server to be configured.
func heldOf(status *control.Status, services []*control.Service, real string) (found []target) {
	for _, s := range services {
		gone := &control.Service{Service: s.Service}
		for _, h := range status.Held {
			if a, err := parseAddrPort(h.Real); err == nil && h.Service == s.ServiceKey.String() {
				r := control.Real{Operator: &h.Hand}
				r.Addr = a
				gone.Reals = append(gone.Reals, r)
			}
		}
		for _, r := range control.FindReals(gone, real) {
			found = append(found, target{s, r})
		}
	}
	return found
}

// firstOfGroups leaves one member of each group: they share their real servers.
func firstOfGroups(all []*control.Service) (out []*control.Service) {
	seen := map[string]bool{}
	for _, s := range all {
		if s.Group == "" || !seen[s.Group] {
			out = append(out, s)
		}
		seen[s.Group] = true
	}
	return out
}

func everyServiceOf(status *control.Status) (all []string) {
	for _, s := range status.Services {
		all = append(all, control.ServiceWord(s.ServiceKey))
	}
	return all
}

// listMax is how many names an error lists.
const listMax = 20

func notFound(what, kind string, there []string) error {
	slices.Sort(there)
	there = slices.Compact(there)
	hint := fmt.Sprintf("%s here: %s", kind, strings.Join(there[:min(len(there), listMax)], " "))
	switch {
	case len(there) == 0:
		hint = "there are no " + kind
	case len(there) > listMax:
		hint += fmt.Sprintf(" and %d more (vipd status)", len(there)-listMax)
	}
	return &daemon.Failure{Code: exitUsage, Hint: hint, Err: errors.New(what)}
}

func ambiguous(word string, all []*control.Service) error {
	var names []string
	for _, s := range all {
		names = append(names, control.ServiceWord(s.ServiceKey))
	}
	return &daemon.Failure{Code: exitUsage, Hint: "say one of: " + strings.Join(names[:min(len(names), listMax)], " "),
		Err: fmt.Errorf("%.80q means %d services", word, len(all))}
}

func ambiguousReal(word string, all []target) error {
	var names []string
	for _, t := range all {
		names = append(names, t.real.Addr.String())
	}
	return &daemon.Failure{Code: exitUsage, Hint: "say one of: " + strings.Join(names[:min(len(names), listMax)], " "),
		Err: fmt.Errorf("%.80q means %d real servers", word, len(all))}
}
