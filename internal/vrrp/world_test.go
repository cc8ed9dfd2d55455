package vrrp

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// world is a segment with hosts, in arithmetic time. Simulations and transcripts both play in it.
type world struct {
	now     time.Time
	hosts   []*host
	setting func() time.Duration // for how long a host sets addresses. If nil, it has them at once.
	rules   rules
	flights []flight // sorted by time; those of one time in the order of sending
	// cable tells what happens to an advert: whether it arrives and after how long.
	cable func(from, to *host) (time.Duration, bool)
	trace *strings.Builder // If nil, nothing is written down.
	all   bool             // also write down detail lines
	blind bool             // judge no single step, only how things end
	// broken is the first invariant of a single step that did not hold.
	broken string
}

type flight struct {
	at     time.Time
	to     *host
	packet []byte // nil: the host has set the addresses that term asked for
	router *Router
	term   uint64
}

// host is a machine with one router on it. The VIPs outlive the process.
type host struct {
	name   string
	cfg    Config
	router *Router // nil: no process
	paused bool
	inbox  [][]byte      // of a paused process
	clock  time.Duration // by which its wall clock is ahead

	pausedAt time.Time
	faulty   bool
	holds    bool // the VIPs are on the interface
	part     int  // after the storm: hosts of one part hear each other

	becameMaster []time.Time
	lastAdvert   time.Time
	changes      int
}

func (h *host) healthy() bool {
	return h.router != nil && !h.paused && h.router.state != Fault
}

func (h *host) is(s State) bool { return h.router != nil && h.router.state == s }

func (w *world) host(name string) *host {
	for _, h := range w.hosts {
		if h.name == name {
			return h
		}
	}
	return nil
}

func (w *world) note(format string, args ...any) {
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%9.3f  %s\n", w.now.Sub(epoch).Seconds(), fmt.Sprintf(format, args...))
	}
}

func (w *world) breaks(format string, args ...any) {
	if w.broken == "" {
		w.broken = fmt.Sprintf(format, args...)
		w.note("BROKEN: %s", w.broken)
	}
}

// start starts a process on the host; one that finds VIPs on the interface adopts them.
func (w *world) start(h *host) {
	h.router = NewRouter(h.cfg)
	h.router.rules = w.rules
	h.router.ahead = h.clock
	if h.faulty {
		h.router.Fault(w.now, "disk full", true)
	}
	h.router.Start(w.now, h.holds)
	w.drain(h)
}

func (w *world) stop(h *host) {
	h.router.Stop(w.now)
	w.drain(h)
	h.router = nil
	if h.holds {
		w.breaks("%s stopped and left its addresses", h.name)
	}
}

func (w *world) kill(h *host) {
	h.router, h.paused, h.inbox = nil, false, nil
}

func (w *world) fault(h *host, present bool) {
	h.faulty = present
	if h.router != nil {
		h.router.Fault(w.now, "disk full", present)
		w.drain(h)
	}
}

// resume does what a loop does after a stall: what came meanwhile first, then what is due.
func (w *world) resume(h *host) {
	h.paused = false
	inbox := h.inbox
	h.inbox = nil
	for _, packet := range inbox {
		w.deliver(h, packet)
	}
	if h.router != nil {
		h.router.Stalled(w.now, w.now.Sub(h.pausedAt))
		h.router.Tick(w.now)
		w.drain(h)
	}
}

// tooMany adverts under way are a storm of answers to answers.
const tooMany = 2000

// run plays until end, which then is now, or until an invariant is broken.
func (w *world) run(end time.Time) {
	for w.broken == "" {
		if len(w.flights) > tooMany {
			w.breaks("a storm of adverts")
		}
		h, next := w.earliest()
		if len(w.flights) > 0 && (next.IsZero() || !w.flights[0].at.After(next)) {
			first := w.flights[0]
			if first.at.After(end) {
				break
			}
			w.flights = w.flights[1:]
			w.now = first.at
			if first.packet == nil {
				w.confirm(first)
			} else {
				w.deliver(first.to, first.packet)
			}
			continue
		}
		if next.IsZero() || next.After(end) {
			break
		}
		w.now = next
		h.router.Tick(w.now)
		w.drain(h)
	}
	w.now = end
}

// earliest is the host with the earliest deadline.
func (w *world) earliest() (*host, time.Time) {
	var who *host
	var next time.Time
	for _, h := range w.hosts {
		if h.router == nil || h.paused {
			continue
		}
		if at := h.router.Next(); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			who, next = h, at
		}
	}
	if who != nil && next.Before(w.now) {
		next = w.now
	}
	return who, next
}

func (w *world) deliver(h *host, packet []byte) {
	switch {
	case h.router == nil:
		return
	case h.paused:
		h.inbox = append(h.inbox, packet)
		return
	}
	advert, _ := Parse(packet)
	before, source, pending := h.router.state, claim{h.router.priority, h.router.source}, h.router.pending()
	h.router.Receive(w.now, packet)
	if !pending { // one that is about to speak answers by that
		w.judge(h, before, source, claim{advert.Priority, advert.Source})
	}
	w.drain(h)
}

// judge looks at one step: what may never be, whatever the weather. It runs before the effects are taken.
func (w *world) judge(h *host, before State, ours, theirs claim) {
	stronger := theirs.priority > ours.priority || theirs.priority == ours.priority && ours.addr.Less(theirs.addr)
	if w.blind {
		return
	}
	doings := func() string { return strings.Join(slices.Compact(doings(h.router.queue.effects)), " ") } // unicast sends one to each peer
	switch after := h.router.state; {
	case before == Master && after != Master && !stronger:
		w.breaks("%s yielded to %s with priority %d", h.name, theirs.addr, theirs.priority)
	case before == Master && after == Master && stronger && theirs.priority != 0:
		w.breaks("%s did not yield to %s with priority %d", h.name, theirs.addr, theirs.priority)
	case before == Master && theirs.priority == 0 && doings() != "send":
		w.breaks("%s did not answer priority 0", h.name)
	case before == Master && after == Master && theirs.priority != 0 && doings() != "send announce":
		w.breaks("%s met %s and did not announce again", h.name, theirs.addr)
	case before == Backup && after != Backup:
		w.breaks("an advert made %s of %s", after, h.name)
	case before == Backup && theirs.priority != 0 && h.router.holding:
		w.breaks("%s heard the master %s and kept the addresses", h.name, theirs.addr)
	}
}

func (w *world) drain(h *host) {
	for _, e := range h.router.Take() {
		switch e := e.(type) {
		case Send:
			h.lastAdvert = w.now
			w.send(h, e.Packet, e.To)
		case AddAddresses:
			h.holds = true
			w.traced(h, "adds addresses")
			w.set(h, e.Term)
		case RemoveAddresses:
			h.holds = false
			w.traced(h, "removes addresses")
		case Announce:
			w.traced(h, fmt.Sprintf("announces, %d rounds", e.Repeat))
			if !w.all {
				continue
			}
			for _, line := range announced(e) {
				if !strings.HasPrefix(line, "Sending ") { // the lines of each frame have a test of their own
					w.note("%s says %s", h.name, line)
				}
			}
		case Change:
			h.changes++
			if e.To == Master {
				h.becameMaster = append(h.becameMaster, w.now)
			}
			w.note("%s: %s → %s: %s", h.name, e.From, e.To, e.Why)
		case Say:
			if w.all || w.trace != nil && !e.Detail {
				w.note("%s says %s", h.name, e.Text)
			}
		}
	}
}

// set has the host confirm its addresses, now or later.
func (w *world) set(h *host, term uint64) {
	f := flight{at: w.now, to: h, router: h.router, term: term}
	if w.setting != nil {
		f.at = w.now.Add(w.setting())
		w.fly(f)
		return
	}
	w.confirm(f)
}

// confirm is for the process that asked alone.
func (w *world) confirm(f flight) {
	if f.to.router == f.router && f.router != nil && !f.to.paused {
		f.router.Confirm(w.now, f.term)
		w.drain(f.to)
	}
}

// traced writes down only where everything is wanted.
func (w *world) traced(h *host, what string) {
	if w.all {
		w.note("%s %s", h.name, what)
	}
}

func (w *world) send(h *host, packet []byte, dest netip.Addr) {
	if w.trace != nil {
		advert, _ := Parse(packet)
		w.note("%s sends priority %d", h.name, advert.Priority)
	}
	for _, to := range w.hosts {
		if to == h || to.router == nil || !dest.IsMulticast() && dest != to.cfg.Source {
			continue
		}
		if delay, arrives := w.cable(h, to); arrives {
			w.fly(flight{at: w.now.Add(delay), to: to, packet: packet})
		}
	}
}

func (w *world) fly(f flight) {
	at, _ := slices.BinarySearchFunc(w.flights, f, func(a, b flight) int {
		return cmp.Or(a.at.Compare(b.at), -1)
	})
	w.flights = slices.Insert(w.flights, at, f)
}
