package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"vipd/internal/control"
	"vipd/internal/lb"
	"vipd/internal/plane"
)

// Where ipvsadm meets the plane: what people change by hand. Checks and reloads of a configuration do not undo it by
// themselves: see sync in pool.go.

// saidOneByOne is how many changes at once are worth a line each.
const saidOneByOne = 20

// Change implements control.Changer.
func (d *daemon) Change(ctx context.Context, changes []control.Change) ([]control.Answer, error) {
	m := d.servicePool()
	if m == nil {
		var err error
		if orderErr := d.order(ctx, func() { err = d.bringPlane() }); orderErr != nil || err != nil {
			return nil, errors.Join(orderErr, err)
		}
		m = d.servicePool()
	}
	answers, err := m.change(changes, control.Caller(ctx))
	if err == nil {
		d.keepByHand(m, changes, answers)
	}
	return answers, err
}

// Table implements control.Source.
func (d *daemon) Table(context.Context) (t control.Table, err error) {
	m := d.servicePool()
	if m == nil {
		return t, nil
	}
	err = m.ask(func() (err error) {
		t, err = TableOf(m.plane)
		t.Size = uint32(m.plane.TableSize())
		if s := m.syncer(); s != nil && err == nil {
			t.Daemons, err = s.Syncs()
		}
		return err
	})
	return t, err
}

func (m *pool) change(changes []control.Change, by string) (answers []control.Answer, err error) {
	err = m.ask(func() error {
		answers = changePlane(m.plane, m.syncer(), changes)
		m.sayChanges(changes, answers, by)
		m.needs()
		return nil
	})
	return answers, err
}

// sayChanges gives every change a line, or many changes one together.
func (m *pool) sayChanges(changes []control.Change, answers []control.Answer, by string) {
	level, refused := slog.LevelInfo, 0
	if len(changes) > saidOneByOne {
		level = slog.LevelDebug
	}
	for i, c := range changes {
		text, attrs := "By hand: "+describe(c), []any{byKey, by}
		if c.Service.ServiceKey != (lb.ServiceKey{}) {
			attrs = append(attrs, "vs", c.Service.ServiceKey.String())
		}
		if c.Real.Addr.IsValid() {
			attrs = append(attrs, "rs", lb.EndpointName(c.Service.Protocol, c.Real.Addr))
		}
		if answers[i].Errno != "" {
			refused++
			text += ", refused: " + answers[i].Error
		}
		m.events.of("operator").Log(context.Background(), level, text, attrs...)
	}
	if len(changes) > saidOneByOne {
		m.events.of("operator").Info(fmt.Sprintf("By hand: %d changes, %d of them refused", len(changes), refused), byKey, by)
	}
}

func describe(c control.Change) string {
	if op, ok := opOf(c); ok {
		return op.String()
	}
	switch {
	case c.Do == control.Flush:
		return "delete all services"
	case c.All():
		return "zero all counters"
	case c.Do == control.AddClass:
		return "add class " + c.Class.String()
	case c.Do == control.DeleteClass:
		return "delete class " + c.Class.String()
	case c.Do == control.FlushClasses:
		return "delete all classes"
	case c.Do == control.Tune:
		return fmt.Sprintf("set %s to %d", c.Setting, c.Value)
	case c.Do == control.StartDaemon:
		return fmt.Sprintf("start the sync daemon %s on %s", c.Daemon.Part(), c.Daemon.Interface)
	case c.Do == control.StopDaemon:
		return "stop the sync daemon " + c.Daemon.Part()
	case c.Do == control.Zero:
		return "zero the counters of " + c.Service.ServiceKey.String()
	}
	return fmt.Sprintf("timeouts tcp %s, tcpfin %s, udp %s (0 keeps)", c.Timeouts.TCP, c.Timeouts.TCPFin, c.Timeouts.UDP)
}

var verbs = map[control.Do]plane.Verb{control.AddService: plane.AddService, control.EditService: plane.EditService,
	control.DeleteService: plane.DelService, control.AddServer: plane.AddReal, control.EditServer: plane.EditReal, control.DeleteServer: plane.DelReal}

func opOf(c control.Change) (plane.Op, bool) {
	v, ok := verbs[c.Do]
	return plane.Op{Verb: v, Service: c.Service, Real: c.Real}, ok
}

// ChangePlane executes changes in order, also after one that fails, and answers each as the kernel's IPVS would. Steps that
// follow one another reach packets together.
func ChangePlane(p plane.Plane, changes []control.Change) []control.Answer {
	s, _ := p.(plane.Syncer)
	return changePlane(p, s, changes)
}

// changePlane is ChangePlane of a plane whose sync daemons are s's; nil: it has none.
func changePlane(p plane.Plane, s plane.Syncer, changes []control.Change) []control.Answer {
	answers := make([]control.Answer, 0, len(changes))
	var ops []plane.Op
	apply := func() {
		for _, err := range applyEach(p, s, ops) {
			answers = append(answers, answerOf(err))
		}
		ops = nil
	}
	for _, c := range changes {
		if op, ok := opOf(c); ok {
			ops = append(ops, op)
			continue
		}
		apply()
		answers = append(answers, answerOf(changeWhole(p, s, c)))
	}
	apply()
	return answers
}

// applyEach is plane.ApplyEach without what a running synchronisation cannot say.
func applyEach(p plane.Plane, s plane.Syncer, ops []plane.Op) []error {
	var syncs []lb.SyncDaemon
	if s != nil && len(ops) > 0 {
		syncs, _ = s.Syncs()
	}
	if len(syncs) == 0 {
		return plane.ApplyEach(p, ops)
	}
	errs := make([]error, len(ops))
	for i, op := range ops {
		if errs[i] = plane.CheckSync(op, syncs); errs[i] == nil {
			errs[i] = p.Apply([]plane.Op{op})
		}
	}
	return errs
}

// changeWhole does what is not about one service or server.
func changeWhole(p plane.Plane, s plane.Syncer, c control.Change) error {
	switch {
	case c.Do == control.Flush:
		have, err := p.Read()
		if err != nil {
			return err
		}
		return p.Apply(plane.Diff(plane.Pools(have), nil))
	case c.All():
		return p.Zero(nil)
	case c.Do == control.Zero:
		return p.Zero(&c.Service.ServiceKey)
	case c.Do == control.Set:
		return p.SetTimeouts(c.Timeouts)
	case c.Do == control.Tune:
		return setByHand(p, c.Setting, c.Value)
	case c.Do == control.StartDaemon || c.Do == control.StopDaemon:
		return syncByHand(s, c)
	case !c.Do.OfService():
		return classByHand(p, c)
	}
	return fmt.Errorf("change %q: %w", c.Do, plane.ErrInvalid)
}

func syncByHand(s plane.Syncer, c control.Change) error {
	if s == nil {
		return plane.ErrUnsupported
	}
	if c.Do == control.StartDaemon {
		return s.StartSync(c.Daemon)
	}
	return s.StopSync(c.Daemon.Master)
}

// answerOf gives an error the number by which the kernel would say it.
func answerOf(err error) control.Answer {
	if err == nil {
		return control.Answer{}
	}
	for _, e := range []struct {
		err   error
		errno string
	}{{plane.ErrServiceExists, "EEXIST"}, {plane.ErrRealExists, "EEXIST"}, {plane.ErrNoService, "ESRCH"}, {plane.ErrNoReal, "ENOENT"},
		{plane.ErrNoScheduler, "ENOENT"}, {plane.ErrRange, "ERANGE"}, {plane.ErrInvalid, "EINVAL"}, {plane.ErrFull, "ENOMEM"},
		{plane.ErrSyncRuns, "EEXIST"}, {plane.ErrNoSync, "ESRCH"}, {plane.ErrNoInterface, "ENODEV"}, {plane.ErrNoSetting, "ENOENT"}, {errNoClass, "ENOENT"}, {plane.ErrUnsupported, "EOPNOTSUPP"}} {
		if errors.Is(err, e.err) {
			return control.Answer{Errno: e.errno, Error: err.Error()}
		}
	}
	return control.Answer{Errno: "EIO", Error: err.Error()}
}

// TableOf reads p as ipvsadm lists it. The table's size is not in it.
func TableOf(p plane.Plane) (t control.Table, err error) {
	have, err := p.Read()
	if err != nil {
		return t, err
	}
	if tuner, ok := p.(plane.Tuner); ok {
		if t.Settings, err = tuner.Settings(); err != nil {
			return t, err
		}
	}
	if classifier, ok := p.(plane.Classifier); ok {
		classes, err := classifier.Classes()
		if err != nil {
			return t, err
		}
		for _, c := range classes {
			t.Classes = append(t.Classes, c.String())
		}
	}
	if syncer, ok := p.(plane.Syncer); ok {
		if t.Daemons, err = syncer.Syncs(); err != nil {
			return t, err
		}
	}
	for _, h := range have {
		s := control.Service{Service: h.Service, Name: h.Service.ServiceKey.String(), Total: h.Total, Rate: h.Rate}
		for _, r := range h.Reals {
			s.Reals = append(s.Reals, realOf(h.Service.Protocol, r))
		}
		t.Services = append(t.Services, s)
	}
	return t, nil
}

// realOf is a real server of which only the plane knows.
func realOf(p lb.Protocol, r plane.Real) control.Real {
	return control.Real{Real: r.Real, Name: lb.EndpointName(p, r.Addr), InPool: true, Healthy: true, Active: r.Active, Inactive: r.Inactive,
		Persist: r.Persist, Total: r.Total, Rate: r.Rate}
}
