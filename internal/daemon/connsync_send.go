package daemon

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"time"

	"vipd/internal/connsync"
	"vipd/internal/host"
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
	// burst is how many connections are told before the receiver has a moment to take them; 200,000 a second at most. The kernel's
	// daemon has a socket with the default buffer: the datagrams of 2,000 connections in one moment are more than fit.
	burst      = 480
	burstEvery = 2400 * time.Microsecond
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

// pass looks at every line once, part by part, so that the loop has time for others. took is the processor time for it.
func (o *syncSender) pass(ctx context.Context) (took time.Duration, ok bool) {
	began, most := time.Now(), burst
	for cursor := 0; cursor >= 0; {
		told := 0
		err := o.ask(func() (err error) {
			if ctx.Err() != nil {
				return errStopping
			}
			defer costs(&took)()
			if cursor == 0 {
				set, err := o.settings()
				if err != nil {
					return err
				}
				most = o.apply(set)
			}
			cursor, err = o.table.Look(cursor, o.selector.Look, func(c connsync.Conn) {
				told++
				o.selector.Timed(&c)
				o.packers[partOfClient(c.Client)%len(o.packers)].Add(&c)
			}, func() bool { return told < most })
			o.counts.told += uint64(told)
			if cursor < 0 {
				o.counts.look = time.Since(began)
			}
			return err
		})
		if err != nil {
			if !errors.Is(err, errStopping) {
				o.events.Error(err.Error())
			}
			return took, !errors.Is(err, errStopping)
		}
		if cursor < 0 || told >= most {
			o.send()
		}
		if told >= most && !pause(ctx, burstEvery) {
			return took, false
		}
	}
	return took, true
}

// partOfClient spreads clients over the ports: all that is told of one goes by one, in order. Clients of Linux have even ports alone.
func partOfClient(client netip.AddrPort) int {
	b := client.Addr().As16()
	n := binary.BigEndian.Uint32(b[12:]) + uint32(client.Port())
	return int(n * 0x9e3779b1 >> 26) // the upper bits: as many as there can be ports
}

// costs adds to sum, when what it returns is called, the processor time that passed.
func costs(sum *time.Duration) func() {
	runtime.LockOSThread()
	began := host.ThreadTime()
	return func() {
		*sum += host.ThreadTime() - began
		runtime.UnlockOSThread()
	}
}

// apply has what is told from now on told as the settings say, and returns how many connections are told at once: with sync_qlen_max no
// more than fit into so many datagrams.
func (o *syncSender) apply(set syncSettings) (most int) {
	o.selector.SetPolicy(set.Policy)
	for _, p := range o.packers {
		if p.Version0 != set.version0 {
			p.Flush() // what is open is of the other version
			p.Version0 = set.version0
		}
	}
	if set.queue == 0 {
		return burst
	}
	return min(burst, set.queue*o.packers[0].Holds())
}

// send sends what is packed.
func (o *syncSender) send() {
	var sent, unsent uint64
	for i, p := range o.packers {
		p.Flush()
		all := p.Take()
		for len(all) > 0 {
			n, err := o.wires[i].Send(all)
			sent += uint64(n)
			if all = all[n:]; err == nil {
				continue
			}
			o.complain(err)
			// The next may have room; what else is wrong is wrong with all.
			lost := 1
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				lost = len(all)
			}
			unsent += uint64(lost)
			all = all[lost:]
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
