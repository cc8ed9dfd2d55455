package vrrp

import (
	"fmt"
	"net/netip"
	"time"
)

// Router is one instance: RFC 3768 §6's virtual router as this machine takes part in it. Make it with NewRouter, say
// Start, give it packets, ticks and faults, and execute what Take returns after each of them. It is not safe for
// concurrent use.
type Router struct {
	cfg      Config
	rules    rules
	priority uint8    // effective
	weights  []Weight // what makes it differ from the configured one, the oldest first
	source   netip.Addr
	password [authLen]byte
	vips     []netip.Addr // as adverts list them

	state    State
	since    time.Time
	why      string
	holding  bool     // the VIPs are on the host, by our doing or a predecessor's
	faults   []string // causes, the oldest first
	holds    []string // what a start waits for
	begun    bool     // Start was said; in INIT it waits for the last hold to go
	resigned bool     // Resign was said: a weaker master is left alone
	withheld string   // why a weaker master is left alone for a while. "": it is not
	resumes  bool     // Resume was said, and begin has not answered it
	asked    asking   // MASTER: the takeover that the host has not confirmed
	terms    uint64   // takeovers so far

	group *group // nil: in no sync group
	wants bool   // it would be MASTER if its group could

	interval  time.Duration // Active_Adver_Interval: the master's; our own when we are master
	peers     peerTable
	rogue     owners
	conceded  bool // an owner has given way to another: 254
	refusedOf map[refusedKey]*Refused
	learned   Sums     // checksums as the peers send them; zero: nothing to learn
	sequence  uint32   // of AH, sent last or heard
	ahSeen    []sender // the latest first
	signer    signer
	ahead     time.Duration // by which the wall clock is ahead of the time that verbs take: zero but in simulations
	sentAt    time.Time
	heldUntil time.Time // startup delay
	history   []Transition

	master     netip.Addr // last heard, or ourselves. Zero: unknown.
	masterPrio uint8
	heardPrio  uint8 // of the last other master

	// Deadlines; zero: not running.
	masterDown time.Time // BACKUP …
	waited     uint64    // … whose place among those that began to wait at the same time
	downWhy    string    // … and why we then take over
	advertAt   time.Time // MASTER
	blockAt    time.Time // MASTER: the next delayed block of announcements …
	blockLen   int       // … and its rounds
	refreshAt  time.Time // MASTER
	extraAt    time.Time // MASTER: the next announcement on other interfaces

	// preemptAt is when preempt_delay is over; zero: it has not begun. Meaningful in BACKUP.
	preemptAt time.Time

	withheldMost time.Duration
	withheldAt   time.Time // since when one was left alone for that. Zero: none is. Meaningful in BACKUP.
	withheldOver bool      // for too long

	id       uint16 // IP identification of the last advert
	counters Counters
	said     map[string]bool // warnings already logged
	queue    *queue          // shared by all instances of a Speaker, so that effects keep their order
}

// queue collects effects.
type queue struct {
	effects []Effect
	waits   uint64 // times that an instance began to wait for a master
}

func (q *queue) take() []Effect {
	effects := q.effects
	q.effects = nil
	return effects
}

// NewRouter makes an instance in state INIT. cfg has passed Check.
func NewRouter(cfg Config) *Router {
	cfg, _ = cfg.Normal()
	r := &Router{rules: standard, source: cfg.Source.Unmap(), counters: Counters{Refused: map[Reason]uint64{}}, said: map[string]bool{},
		refusedOf: map[refusedKey]*Refused{}, peers: peerTable{}, queue: &queue{}}
	r.configure(cfg)
	return r
}

// configure derives from cfg, which is Normal, what packets need.
func (r *Router) configure(cfg Config) {
	r.cfg, r.password, r.vips = cfg, [authLen]byte{}, nil
	r.priority = r.effective()
	if r.state != Backup {
		r.interval = cfg.AdvertInt
	}
	copy(r.password[:], cfg.AuthPass)
	for _, vip := range cfg.VIPs {
		r.vips = append(r.vips, vip.Prefix.Addr())
	}
}

// Config returns the configuration with its defaults filled in.
func (r *Router) Config() Config { return r.cfg }

// Take hands out what is to be done since the last Take, in order. For an instance of a Speaker it is the Speaker's Take.
func (r *Router) Take() []Effect { return r.queue.take() }

func (r *Router) emit(effects ...Effect) { r.queue.effects = append(r.queue.effects, effects...) }

func (r *Router) say(format string, args ...any) {
	r.emit(Say{Instance: r.cfg.Name, Text: r.words(format, args)})
}

func (r *Router) detail(format string, args ...any) {
	r.emit(Say{Instance: r.cfg.Name, Text: r.words(format, args), Detail: true})
}

func (r *Router) warn(format string, args ...any) {
	r.emit(Say{Instance: r.cfg.Name, Text: r.words(format, args), Warning: true})
}

func (r *Router) words(format string, args []any) string {
	return "(" + r.cfg.Name + ") " + fmt.Sprintf(format, args...)
}

// Start begins. adopted says that the VIPs are on the host because the process before this one died: they then stay
// until another master is heard or this router is master itself; otherwise what may be left of them is removed.
func (r *Router) Start(now time.Time, adopted bool) {
	if r.state == Init && !r.begun {
		r.prepare(adopted || r.resumes)
		r.begin(now, " (init)")
	}
}

// prepare is the part of Start that needs no decision.
func (r *Router) prepare(adopted bool) {
	r.begun, r.holding = true, adopted
	if !r.source.IsValid() {
		r.addFault(r.causeNoAddress())
	}
	if r.cfg.Defect != "" {
		r.addFault(r.cfg.Defect)
	}
	if r.cfg.FaultNoPeer && !r.cfg.Unicast {
		r.addFault(CauseNoPeer)
	}
	if adopted {
		// keepalived: removes the VIPs at every start, so that a restart of a lone director interrupts its clients.
		r.detail("keeping VIPs of the process before")
	} else {
		r.withdraw()
	}
}

// begin leaves INIT, unless something holds the start.
func (r *Router) begin(now time.Time, when string) {
	if cause := r.cause(); cause != "" {
		r.say("Entering FAULT STATE%s", when)
		if r.holding {
			r.withdraw()
		}
		r.become(now, Fault, cause)
		return
	}
	if r.resumes {
		r.resumes = false
		r.toMaster(now, "the process before was master")
		return
	}
	if hold := r.hold(); hold != "" {
		r.since, r.why = now, "waiting: "+hold
		return
	}
	// RFC 3768 §6.4.1: "If the Priority = 255 (i.e., the router owns the IP address(es) associated with the virtual
	// router) Send an ADVERTISEMENT … Transition to the {Master} state". keepalived: only with state MASTER, and in a
	// sync group only if all members own theirs.
	if r.owns() && (r.group == nil || r.group.owners()) && r.earliest(now) == now && r.withheld == "" {
		r.detail("Receive advertisement timeout")
		r.toMaster(now, "owner of the addresses")
		return
	}
	// "else Set the Master_Down_Timer to Master_Down_Interval. Transition to the {Backup} state"
	r.say("Entering BACKUP STATE%s", when)
	r.toBackup(now, "start")
	if r.owns() && r.group == nil {
		// keepalived: after a startup delay an owner waits for one interval.
		r.masterDown, r.downWhy = r.earliest(now).Add(r.cfg.AdvertInt), "owner of the addresses"
	}
	if r.group != nil && r.cfg.InitialMaster {
		// keepalived: in a sync group alone, state MASTER is a head start: one advertisement interval and the least skew.
		r.wants = true
		r.masterDown = r.earliest(now).Add(r.cfg.AdvertInt + r.rules.skew(r.cfg.Version, 255, r.cfg.AdvertInt))
	}
}

func (r *Router) owns() bool { return r.priority == 255 && r.cfg.InitialMaster }

// Stop ends: a master says so by priority 0 before its addresses go. The router is then in INIT and can start again.
func (r *Router) Stop(now time.Time) {
	if !r.begun {
		return
	}
	// RFC 3768 §6.4.3: "If a Shutdown event is received, then: Cancel the Adver_Timer. Send an ADVERTISEMENT with
	// Priority = 0. Transition to the {Initialize} state"
	r.leave(now)
	if r.holding {
		r.withdraw()
	}
	r.begun = false
	if r.state != Init {
		r.become(now, Init, "stop")
	}
}

// leave sends priority 0 if the router is master.
func (r *Router) leave(now time.Time) {
	if r.state != Master || r.asked.mute { // who has heard of no master hears of no end
		return
	}
	if r.advertise(now, 0) {
		r.detail("sent 0 priority")
	}
}

// become is the one place where the state changes.
func (r *Router) become(now time.Time, to State, why string) {
	from := r.seen()
	if from == Master {
		r.counters.ReleasedMaster++
	}
	if to != Backup {
		r.masterDown = time.Time{}
	}
	if to != Master {
		r.advertAt, r.blockAt, r.refreshAt, r.extraAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	}
	r.preemptAt, r.withheldAt, r.withheldOver = time.Time{}, time.Time{}, false
	r.wants = to == Master
	r.rogue = owners{}
	r.state, r.since, r.why = to, now, why
	clear(r.said)
	switch {
	case to == Master: // told by Confirm
	case from != to:
		r.tell(now, from, to, why)
	}
	if to != Master {
		r.asked = asking{}
	}
	if r.group != nil {
		r.group.follow(now, r, why)
	}
}

// toBackup starts the down time from the beginning. RFC 9568 §6.4.1: "Set Active_Adver_Interval to
// Advertisement_Interval."
func (r *Router) toBackup(now time.Time, why string) {
	r.interval = r.cfg.AdvertInt
	r.waitForMaster(now)
	r.become(now, Backup, why)
}

// waitForMaster starts the Master_Down_Timer.
func (r *Router) waitForMaster(now time.Time) {
	r.queue.waits++
	r.waited = r.queue.waits
	r.masterDown = r.earliest(now).Add(r.downTime())
	r.downWhy = "no advert for " + r.downTime().Round(time.Millisecond).String()
}

// downTime is RFC 9568 §6.1's Active_Down_Interval: "(3 * Active_Adver_Interval) + Skew_Time", with as many adverts as
// down_timer_adverts says.
func (r *Router) downTime() time.Duration {
	return time.Duration(r.cfg.DownTimerAdverts)*r.interval + r.skew()
}

// earliest is now, or the end of the startup delay.
func (r *Router) earliest(now time.Time) time.Time {
	if now.Before(r.heldUntil) {
		return r.heldUntil
	}
	return now
}

func (r *Router) skew() time.Duration { return r.rules.skew(r.cfg.Version, r.priority, r.interval) }

// wantMaster takes over when the sync group lets it, and else waits another down time.
func (r *Router) wantMaster(now time.Time) {
	r.detail("Receive advertisement timeout")
	r.wants = true
	if r.group != nil && !r.group.mayMaster(r) {
		why := r.downWhy
		r.waitForMaster(now)
		r.downWhy = why
		return
	}
	r.toMaster(now, r.downWhy)
}

// toMaster takes over, which Confirm ends.
//
// RFC 3768 §6.4.2: "If the Master_Down_Timer fires, then: Send an ADVERTISEMENT. Broadcast a gratuitous ARP request
// containing the virtual router MAC address for each IP address associated with the virtual router. Set the
// Adver_Timer to Advertisement_Interval. Transition to the {Master} state"
func (r *Router) toMaster(now time.Time, why string) {
	if r.conceded {
		r.say("Restoring our priority to 255 since other address owner has disappeared")
		r.concede(now, false)
	}
	if r.cfg.Version == 3 && r.interval != r.cfg.AdvertInt {
		r.detail("changing advert interval from %dms to locally configured %dms", r.interval.Milliseconds(), r.cfg.AdvertInt.Milliseconds())
	}
	r.resigned = false
	learned := r.interval
	r.interval = r.cfg.AdvertInt
	r.blockAt, r.blockLen = time.Time{}, 0
	r.ask(now, learned, why)
	r.setMaster(r.source, r.priority)
	r.become(now, Master, why)
}

func (r *Router) setMaster(addr netip.Addr, priority uint8) { r.master, r.masterPrio = addr, priority }

// follow takes the sender of an advert for the master.
func (r *Router) follow(a *Advert) {
	r.setMaster(a.Source, a.Priority)
	r.heardPrio = a.Priority
}
