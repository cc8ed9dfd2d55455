package daemon

import (
	"context"
	"errors"
	"time"

	"vipd/internal/connsync"
)

// syncSender tells what looks at the table find.
type syncSender struct {
	*syncing
	selector *connsync.Selector
	wires    []syncWire
	packers  []*connsync.Packer
	failing  bool // said once
}

// How often the table is looked at, and at what cost.
const (
	lookEvery = 100 * time.Millisecond
	// lookShare: looks take at most so much of one processor.
	lookShare = 20
	// burst is how many connections are told before the receiver has a moment to take them; 200,000 a second at most.
	burst      = 2000
	burstEvery = 10 * time.Millisecond
)

// run looks at the whole table, tells, and waits, until ctx ends.
func (o *syncSender) run(ctx context.Context) {
	for {
		took, ok := o.pass(ctx)
		if !ok || !pause(ctx, max(lookEvery, lookShare*took)) {
			return
		}
	}
}

// pass looks at every line once, part by part, so that the loop has time for others.
func (o *syncSender) pass(ctx context.Context) (took time.Duration, ok bool) {
	for cursor := 0; cursor >= 0; {
		told := 0
		err := o.ask(func() (err error) {
			if ctx.Err() != nil {
				return errStopping
			}
			began := time.Now()
			defer func() { took += time.Since(began) }()
			at := cursor
			cursor, err = o.table.Look(at, o.selector.Look, func(c connsync.Conn) {
				told++
				o.packers[int(c.Client.Port())%len(o.packers)].Add(&c)
			}, func() bool { return told < burst })
			o.counts.told += uint64(told)
			if cursor < 0 {
				o.counts.look = took + time.Since(began)
			}
			return err
		})
		if err != nil {
			if !errors.Is(err, errStopping) {
				o.events.Error(err.Error())
			}
			return took, !errors.Is(err, errStopping)
		}
		if cursor < 0 || told >= burst {
			o.send()
		}
		if told >= burst && !pause(ctx, burstEvery) {
			return took, false
		}
	}
	return took, true
}

// send sends what is packed.
func (o *syncSender) send() {
	var sent, unsent uint64
	for i, p := range o.packers {
		p.Flush()
		for _, d := range p.Take() {
			err := o.wires[i].Send(d)
			if err == nil {
				sent++
			} else {
				unsent++
				o.complain(err)
			}
		}
	}
	if sent+unsent == 0 {
		return
	}
	o.failing = o.failing && sent == 0
	_ = o.ask(func() error {
		o.counts.sent += sent
		o.counts.unsent += unsent
		return nil
	})
}

func (o *syncSender) complain(err error) {
	if !o.failing {
		o.events.Error("tell connections: " + err.Error())
	}
	o.failing = true
}
