package daemon

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"syscall"
	"time"

	"vipd/internal/host"
	"vipd/internal/vrrp"
)

// A loop that has a thread of its own receives in that thread, as it sends in it: no other thread has to be scheduled
// between an advert's arrival and the timer that it restarts.

// readAtOnce is how many packets of one socket are read before timers and the other sockets have their turn.
const readAtOnce = 64

// hearAtMost bounds what is read before a takeover: as much as the socket's buffer holds, and not all of a flood.
const hearAtMost = 8192

// listen has what arrives by a wire be received: while the loop sleeps, or by a goroutine of its own.
func (a *ha) listen(at host.Endpoint, wire Wire) {
	if a.alarm == nil {
		a.receivers.Go(func() { a.receive(at, wire) })
		return
	}
	a.alarm.Watch(wire.Descriptor(), func() (more bool) {
		n, err := a.read(time.Now(), at, wire)
		if err != nil {
			a.alarm.Unwatch(wire.Descriptor())
			a.events.Error("receive adverts: "+err.Error(), "if", at.Dev)
		}
		return n == readAtOnce
	})
}

// unlisten ends it.
func (a *ha) unlisten(wire Wire) {
	if a.alarm != nil && a.receivers != nil {
		a.alarm.Unwatch(wire.Descriptor())
	}
	_ = wire.Close()
}

// hear receives what has arrived and was not received yet.
func (a *ha) hear(now time.Time) {
	for at, wire := range a.wires {
		for range hearAtMost / readAtOnce {
			if n, err := a.read(now, at, wire); n < readAtOnce || err != nil { // an error comes again
				break
			}
		}
	}
}

// read receives what has arrived by one wire, at most readAtOnce, and tells how much that was.
func (a *ha) read(now time.Time, at host.Endpoint, wire Wire) (count int, err error) {
	if a.buffer == nil {
		a.buffer = make([]byte, 64<<10)
	}
	for ; count < readAtOnce; count++ {
		n, err := wire.TryRecv(a.buffer)
		switch {
		case errors.Is(err, syscall.ENETDOWN): // as in receive
			continue
		case err != nil || n == 0:
			return count, err
		}
		a.arrived(now, at, a.buffer[:n])
	}
	return count, nil
}

func (a *ha) arrived(now time.Time, at host.Endpoint, packet []byte) {
	a.speaker.Receive(now, at.Dev, packet)
	a.notice(at.Dev, packet)
}

// receive hands packets to a loop that has no thread of its own, until the socket is closed.
func (a *ha) receive(at host.Endpoint, wire Wire) {
	buf := make([]byte, 64<<10)
	for {
		n, err := wire.Recv(buf)
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case errors.Is(err, syscall.ENETDOWN): // said once when a link goes; the link events say the rest
			continue
		case err != nil:
			a.events.Error("receive adverts: "+err.Error(), "if", at.Dev)
			return
		}
		packet := slices.Clone(buf[:n])
		a.loop.Send(func(now time.Time) { a.arrived(now, at, packet) })
	}
}

// notice lets a stopping daemon know that somebody else announces one of our virtual routers.
func (a *ha) notice(ifname string, packet []byte) {
	advert, err := vrrp.Parse(packet)
	if err != nil || advert.Priority == 0 {
		return
	}
	if slices.ContainsFunc(a.speaker.Routers(), func(r *vrrp.Router) bool {
		return cmp.Or(r.Config().Wire, r.Config().Interface) == ifname && r.Config().VRID == advert.VRID
	}) {
		if a.other != nil {
			a.other(advert.Source)
		}
		select {
		case a.heard <- struct{}{}:
		default:
		}
	}
}
