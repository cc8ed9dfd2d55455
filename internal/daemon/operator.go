package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"vipd/internal/control"
	"vipd/internal/health"
	"vipd/internal/lb"
)

// Where people's orders about real servers (vipd drain, ready, weight, disable) meet the health machine, which holds them,
// and the file that keeps them over a restart.

// Operate implements control.Operator.
func (d *daemon) Operate(ctx context.Context, o control.Order) control.Outcome {
	m := d.servicePool()
	if m == nil {
		return outcome(fail(ExitConfig, "", "no virtual server is configured here"))
	}
	by := control.Caller(ctx)
	if err := m.operate(o, by); err != nil {
		return outcome(err)
	}
	if err := d.keepHands(m); err != nil {
		d.events.of("operator").Error("operator's hand: " + err.Error())
		return outcome(&partly{fmt.Errorf("it is so now, but would be forgotten at a restart: %w", err)})
	}
	return outcome(nil)
}

// operate gives an order to the machine and says so.
func (m *pool) operate(o control.Order, by string) error {
	err := errors.New("not asked")
	askErr := m.ask(func() error {
		now := time.Now()
		if o.Do == control.OrderReady {
			err = m.pools.Release(now, o.Service, o.Real)
		} else {
			err = m.pools.Hold(now, o.Service, o.Real, health.Hand{Do: health.HandDo(o.Do), Weight: o.Weight, Percent: o.Percent, Since: now, By: by})
		}
		if err == nil {
			m.sayOrder(o, by)
		}
		return nil
	})
	return cmp.Or(askErr, orderFailure(o, err))
}

func (m *pool) sayOrder(o control.Order, by string) {
	real := lb.EndpointName(o.Service.Protocol, o.Real)
	m.events.of("operator").Info(fmt.Sprintf("Operator %s: %s %s of VS %s", cmp.Or(by, "(unknown)"), handOf(o), real, o.Service),
		"vs", o.Service.String(), "rs", real, byKey, by)
}

// handOf is an order in the words of a hand; ready is itself.
func handOf(o control.Order) string {
	return control.Hand{Do: o.Do, Weight: o.Weight, Percent: o.Percent}.String()
}

// orderFailure gives the machine's errors their names and the next step.
func orderFailure(o control.Order, err error) error {
	if err == nil {
		return nil
	}
	hint := ""
	switch {
	case errors.Is(err, health.ErrNoService), errors.Is(err, health.ErrNoReal):
		hint = "vipd status lists them; what ipvsadm made by hand is changed with ipvsadm"
	case errors.Is(err, health.ErrNotHeld):
		hint = "vipd why says what keeps a real server out"
	}
	return fail(ExitConfig, hint, "%s %s of %s: %w", o.Do, o.Real, o.Service, err)
}

// keepHands writes what is held to its file, one writer after the other.
func (d *daemon) keepHands(m *pool) error {
	if d.opts.State == "" {
		return nil
	}
	d.handsMu.Lock()
	defer d.handsMu.Unlock()
	var all []health.Held
	if err := m.ask(func() error { all = m.pools.Held(); return nil }); err != nil {
		return err
	}
	return writeHands(d.handsPath(), all)
}

// restoreHands gives a machine that has not started what operators held when the process before ended.
func (d *daemon) restoreHands(m *pool) {
	if d.opts.State == "" {
		return
	}
	all, err := readHands(d.handsPath())
	if err != nil {
		d.events.of("operator").Error("operator's hand: " + err.Error() + ": nothing is drained, disabled or weighted by it; the file stays as it is until the next order")
		return
	}
	m.pools.Restore(all)
	m.sayHeld(all)
}

// sayHeld says what goes on being held, at a start and a reload.
func (m *pool) sayHeld(all []health.Held) (said []string) {
	for _, h := range all {
		real := lb.EndpointName(h.Service.Protocol, h.Real)
		text := fmt.Sprintf("%s of VS %s is held by operator %s since %s: %s (vipd ready takes it back)", real, h.Service, cmp.Or(h.By, "(unknown)"),
			h.Since.Format(time.DateTime), h.Hand)
		if h.Waits {
			text += "; it is not in the configuration"
		}
		m.events.of("operator").Info(text, "vs", h.Service.String(), "rs", real)
		said = append(said, "notice: "+text)
	}
	return said
}

// handStatus is a hand as control shows it.
func handStatus(h *health.Hand) *control.Hand {
	if h == nil {
		return nil
	}
	return &control.Hand{Do: string(h.Do), Weight: h.Weight, Percent: h.Percent, Since: h.Since, By: h.By}
}

// waiting are the hands on what is not configured.
func waiting(all []health.Held) (out []control.Held) {
	for _, h := range all {
		if h.Waits {
			out = append(out, control.Held{Service: h.Service.String(), Real: h.Real.String(), Hand: *handStatus(&h.Hand)})
		}
	}
	return out
}

// held adds what operators hold to keepalived.data, where there is any: keepalived has no such part.
func (d *dump) held(w io.Writer) {
	if len(d.hands) == 0 {
		return
	}
	fmt.Fprintln(w, "------< Held by an operator >------")
	for _, h := range d.hands {
		fmt.Fprintf(w, " Real server = %s of VS %s\n   Operator = %s\n   Does = %s\n   Since = %s\n", lb.EndpointName(h.Service.Protocol, h.Real), h.Service,
			cmp.Or(h.By, "(unknown)"), h.Hand, h.Since.Format(time.DateTime))
	}
}
