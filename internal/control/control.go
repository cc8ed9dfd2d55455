// Package control is what people and tools see of a running daemon: the snapshot types and the unix socket that serves
// them, HTTP over /run/vipd/NAME.sock:
//
//	GET /v1/status    one Status
//	GET /v1/conns     one connection a line (NDJSON), as many as there are, at constant memory on both sides
//	GET /v1/timeouts  the three timeouts, in seconds
//	GET /v1/ipvs      one Table, the data plane as ipvsadm lists it
//	POST /v1/ipvs     a list of changes by hand; one Answer each
//	GET /v1/why?service=WORD  one Why
//	POST /v1/operator an Order: drain, disable, weight or ready for one real server; one Outcome
//	GET /v1/config    the configuration in force
//	POST /v1/reload, /v1/apply?file=PATH&confirm=60s, /v1/confirm: one Outcome
//
// It decides nothing: the daemon fills snapshots and does what it is told (it is the Source, Commander and Changer of a
// server), commands print them (a Client is a Source too). The names of the JSON fields are kept from release to release.
//
// Invariant: what comes over a socket is bounded, in size where it is kept and in time where it is waited for; neither a
// hostile peer nor a stuck one can hold a daemon or a command.
package control

import (
	"context"
	"time"

	"vipd/internal/lb"
)

// Source answers what a daemon is asked. Its methods are called from several goroutines at once.
type Source interface {
	Status(ctx context.Context) (Status, error)
	// Conns calls visit for every connection and template, in no particular order, until visit returns false. Nothing
	// that the rest of the daemon needs may be locked meanwhile: whoever reads the list may be slow.
	Conns(ctx context.Context, visit func(lb.Conn) bool) error
	Timeouts(ctx context.Context) (lb.Timeouts, error)
	// Table is the data plane alone: what is in Status too, but also what nobody configured, and nothing that is not there.
	Table(ctx context.Context) (Table, error)
}

// Status is the whole of a daemon at one moment; "vipd status -o json" prints it as it stands here.
type Status struct {
	Instance string      `json:"instance"`
	Version  string      `json:"version"`
	PID      int         `json:"pid"`
	Started  time.Time   `json:"started"`
	Config   string      `json:"config"`              // path of the file in force
	State    string      `json:"state_dir,omitempty"` // folder of what outlives a restart
	Links    []Link      `json:"links"`
	VRRP     []Router    `json:"vrrp"`
	Groups   []SyncGroup `json:"sync_groups,omitempty"`
	Trackers []Tracker   `json:"trackers,omitempty"`
	Services []Service   `json:"services"`
	Verdicts []Reason    `json:"verdicts"` // packets by what became of them, every reason once
	// Own are connections that the director itself opened to services, by what became of them: sent to a real server, here (the
	// director is the real server), refused, family (of which the real server is not). Of data_plane xdp alone.
	Own       []Own  `json:"own_connections,omitempty"`
	Sync      *Sync  `json:"connection_sync,omitempty"` // nil: no daemon of it has run
	TableSize uint32 `json:"table_size"`                // lines of the connection table; of the kernel's IPVS rows, each of any length
	DataPlane Path   `json:"data_plane"`
	Timing    Timing `json:"timing"`
	// Checks is the process that reads what real servers answer to checks. nil: no check has needed it.
	Checks *Checks `json:"checks_process,omitempty"`
	// Held are hands of an operator on real servers that are not configured.
	Held []Held `json:"held,omitempty"`
}

// Checks is the process that reads what real servers answer to checks.
type Checks struct {
	PID    int       `json:"pid"` // 0: it does not run
	UID    uint32    `json:"uid"`
	Since  time.Time `json:"since,omitzero"`
	Starts int       `json:"starts"`                  // 1, if it has never ended
	Inside bool      `json:"in_the_daemon,omitempty"` // there can be none: the daemon itself reads them
	Lacks  []string  `json:"may_do_more,omitempty"`   // what it could not give up
	Why    string    `json:"ended_because,omitempty"` // of its last end, or of a start that failed
}

// Timing is how punctual the daemon was.
type Timing struct {
	Stalls      uint64        `json:"stalls"` // times that the machine did not schedule it for a tenth of a second or more
	WorstStall  time.Duration `json:"worst_stall_ns"`
	LastStall   time.Duration `json:"last_stall_ns"`
	LastStallAt time.Time     `json:"last_stall_at,omitzero"`
	Collections uint64        `json:"gc_cycles"`
	WorstPause  time.Duration `json:"worst_gc_pause_ns"` // for which the garbage collector stopped it, rounded up
}

// Path is what forwards.
type Path struct {
	Name string `json:"name"` // xdp or ipvs. Empty while there is none.
	Why  string `json:"why"`  // it was chosen
}

// Link is an interface that the packet path is attached to.
type Link struct {
	Name string `json:"name"`
	Mode string `json:"mode"` // native or generic
}

// Reason is one counted cause.
type Reason struct {
	Name    string `json:"name"`
	Verdict string `json:"verdict"` // forward, pass or drop
	Packets uint64 `json:"packets"`
}

// Own is how many connections of the director itself came to one end.
type Own struct {
	Name  string `json:"name"`
	Count uint64 `json:"count"`
}

// Router is one VRRP instance.
type Router struct {
	Name         string            `json:"name"`
	Interface    string            `json:"interface"`
	VRID         uint8             `json:"vrid"`
	State        string            `json:"state"`
	Priority     uint8             `json:"priority"`                // effective
	Base         uint8             `json:"base_priority"`           // as configured
	Weights      []Weight          `json:"weights,omitempty"`       // what makes the one of the other
	Group        string            `json:"sync_group,omitempty"`    // that it moves with
	Waiting      string            `json:"waiting_for,omitempty"`   // before it begins
	HoldsBack    string            `json:"holds_back,omitempty"`    // why a weaker master is left alone for a while …
	HoldsNanos   int64             `json:"holds_back_ns,omitempty"` // … and for how long at most from now on
	Master       string            `json:"master,omitempty"`        // address of the current master, where known
	VIPs         []string          `json:"vips"`
	Since        time.Time         `json:"since"`
	Why          string            `json:"why"`              // of the last transition
	Causes       []string          `json:"causes,omitempty"` // of FAULT
	Claims       []Claim           `json:"claims,omitempty"` // of others to its addresses, while it is MASTER
	Sent         uint64            `json:"adverts_sent"`
	Received     uint64            `json:"adverts_received"`
	Refused      map[string]uint64 `json:"adverts_refused,omitempty"` // by reason
	BecameMaster uint64            `json:"became_master"`
	V6           bool              `json:"ipv6,omitempty"`
	Version      uint8             `json:"version"`
	Unicast      bool              `json:"unicast,omitempty"`
	To           []string          `json:"to,omitempty"` // where adverts go: the group, or the peers
	AdvertInt    time.Duration     `json:"advert_int_ns"`
	MasterInt    time.Duration     `json:"master_advert_int_ns"` // as a backup of version 3 has learnt it
	Auth         string            `json:"authentication"`       // none, PASS, AH or HMAC
	Checksum     string            `json:"checksum"`             // as it is sent
	Source       string            `json:"source,omitempty"`
	Late         uint64            `json:"adverts_late"`    // by more than a fifth of the interval
	WorstLate    time.Duration     `json:"worst_late_ns"`   // of all adverts
	Peers        []Peer            `json:"peers,omitempty"` // the latest heard first
	Transitions  []Transition      `json:"transitions,omitempty"`
	Refusals     []Refusal         `json:"refusals,omitempty"` // the latest first
}

// Claim is another host's to a virtual address: it answers ARP for it.
type Claim struct {
	Address   string `json:"address"`
	MAC       string `json:"mac"`
	Interface string `json:"interface"`
}

// Peer is another router of a VRRP instance.
type Peer struct {
	Address   string        `json:"address"`
	Priority  uint8         `json:"priority"`
	AdvertInt time.Duration `json:"advert_int_ns"`
	Checksum  string        `json:"checksum"`
	Last      time.Time     `json:"last"`
	Adverts   uint64        `json:"adverts"`
}

// Transition is a change of state of a VRRP instance.
type Transition struct {
	At   time.Time `json:"at"`
	From string    `json:"from"`
	To   string    `json:"to"`
	Why  string    `json:"why"`
}

// Refusal is what adverts of one peer were refused for.
type Refusal struct {
	Peer   string    `json:"peer,omitempty"`
	Reason string    `json:"reason"`
	Field  string    `json:"field"`
	Theirs string    `json:"theirs"`
	Ours   string    `json:"ours"`
	Count  uint64    `json:"count"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
}

// Weight is what one thing that a VRRP instance follows adds to its priority.
type Weight struct {
	Cause string `json:"cause"`
	Value int    `json:"value"`
}

// Tracker is one thing that VRRP instances follow.
type Tracker struct {
	Kind      string   `json:"kind"` // interface, script, file, process or bfd
	Name      string   `json:"name"`
	Known     bool     `json:"known"`
	OK        bool     `json:"ok"`
	Value     int64    `json:"value"` // of a file
	Instances []string `json:"instances"`
}

// SyncGroup is a set of VRRP instances that move together.
type SyncGroup struct {
	Name      string   `json:"name"`
	State     string   `json:"state"`
	Instances []string `json:"instances"`
}

// Service is a virtual service with its counts.
type Service struct {
	lb.Service
	Name   string      `json:"name"`
	Group  string      `json:"group,omitempty"` // the virtual_server_group that it is a member of
	Total  lb.Counters `json:"total"`
	Rate   lb.Rates    `json:"rate"`
	Quorum bool        `json:"quorum"` // enough weight is alive
	Reals  []Real      `json:"reals"`
}

// Real is a real server with its counts and its check verdict. A real server that is out of the pool is listed too.
type Real struct {
	lb.Real
	Name     string      `json:"name"`
	InPool   bool        `json:"in_pool"`
	Healthy  bool        `json:"healthy"`
	Why      string      `json:"why,omitempty"` // of the last verdict
	Since    time.Time   `json:"since"`
	Operator *Hand       `json:"operator,omitempty"` // nil: nobody holds it
	Hop      string      `json:"hop,omitempty"`      // MAC and interface that packets leave by
	Active   uint32      `json:"active"`
	Inactive uint32      `json:"inactive"`
	Persist  uint32      `json:"persist"`
	Total    lb.Counters `json:"total"`
	Rate     lb.Rates    `json:"rate"`
	// Ways are the verdicts by the way that checks take, where check_path has some go that of the traffic.
	Ways []Way `json:"check_paths,omitempty"`
	// Certificate is the one that ends first of those that its checks look at (tls_verify, tls_expiry).
	Certificate *Certificate `json:"certificate,omitempty"`
	// Peers are what the checks of other directors say, as they told it within the last minute (connection_sync).
	Peers []PeerSays `json:"peers,omitempty"`
}

// PeerSays is the verdict of another director's checks.
type PeerSays struct {
	Peer  string    `json:"peer"`
	Up    bool      `json:"up"`
	Why   string    `json:"why,omitempty"`
	Since time.Time `json:"since"` // that it says so
	Seen  time.Time `json:"seen"`  // of the oldest result that it rests on
	Told  time.Time `json:"told"`
}

// Certificate is one that a real server shows.
type Certificate struct {
	Ends    time.Time `json:"ends"`
	Warning string    `json:"warning,omitempty"` // that it ends soon, or has
}

// Way is what the checks that take one way say together.
type Way struct {
	To  string `json:"to"` // "its own address", or "10.0.8.9 through DR"
	Up  bool   `json:"up"`
	Why string `json:"why,omitempty"` // of the last failure, if it is down
}
