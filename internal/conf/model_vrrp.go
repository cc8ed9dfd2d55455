package conf

import (
	"net/netip"
	"time"

	"vipd/internal/vrrp"
)

// Instance is a vrrp_instance with all that its block says, what it does not say taken from global_defs or keepalived's
// defaults. Config is the part that internal/vrrp acts on; the rest waits for the versions that do.
type Instance struct {
	vrrp.Config
	Strict      bool
	Accept      bool // packets to the addresses are taken
	Garp        Garp
	ExtraIf     time.Duration // garp_extra_if. If zero, off.
	ExtraAll    bool
	NoVIP       bool
	SourceSet   bool // Source is from the file
	TrackSource bool

	Addresses, ExcludedAddresses []Address // VIPs and Excluded with every word of their lines
	Routes                       []Route
	Rules                        []Rule
	PromoteSecondaries           bool

	Track        Track
	DontTrackOwn bool
	Notify       Notify
	SMTPAlert    bool

	VMAC       *VMAC
	IPVLAN     *IPVLAN
	VMACAddr   bool // use_vmac_addr
	XmitBase   bool
	Linkbeat   bool
	RxBuf      uint32
	DebugLevel uint8
}

// VMAC is use_vmac.
type VMAC struct {
	Name  string // If empty, made of vmac_prefix and the VRID.
	MAC   string // If empty, the virtual router's.
	Group string
	Msg   bool // netlink_notify_msg
}

// IPVLAN is use_ipvlan.
type IPVLAN struct {
	Name string
	Addr netip.Prefix
	Kind string // bridge, private or vepa. If empty, bridge.
}

// Address is an address line: of virtual_ipaddress, virtual_ipaddress_excluded or static_ipaddress.
type Address struct {
	vrrp.Address
	Text       string // as written
	NoTrack    bool
	VMAC       bool
	TrackGroup string
}

// Tracked is one thing that an instance or a group follows.
type Tracked struct {
	Name    string
	Weight  int // 0: a loss is a fault
	Reverse bool
}

// Track is all that an instance or a group follows.
type Track struct {
	Interfaces, Scripts, Files, Processes, BFDs []Tracked
}

// Notify are the scripts of an instance or a group.
type Notify struct {
	Master, Backup, Fault, Stop, Any *Script
	Deleted, MasterRxLowerPri        *Script // of instances only
	OnDelete                         bool    // notify_deleted
	PriorityChanges                  *bool   // If nil, the global one.
}

// SyncGroup is a vrrp_sync_group: instances that move together.
type SyncGroup struct {
	Name           string
	Instances      []string
	Track          Track
	Notify         Notify
	SMTPAlert      bool
	TrackingWeight bool // weighted trackers of members are kept
}

// VRRPScript is a vrrp_script.
type VRRPScript struct {
	Name              string
	Script            Script
	Interval, Timeout time.Duration // Timeout: if zero, Interval
	Weight            int
	Reverse           bool
	Rise, Fall        int
	InitFail          bool
}

// TrackFile is a track_file.
type TrackFile struct {
	Name, Path string
	Weight     int
	Reverse    bool
	Init       bool // make the file if it is not there
	InitValue  int
	Overwrite  bool
}

// TrackProcess is a vrrp_track_process.
type TrackProcess struct {
	Name, Process             string
	Params                    []string
	Match                     string // "", exact, initial or partial
	FullCommand               bool
	Weight                    int
	Reverse                   bool
	Quorum                    int
	QuorumMax                 int // negative: no bound
	TerminateDelay, ForkDelay time.Duration
}

// BFD is a bfd_instance.
type BFD struct {
	Name                 string
	Neighbor, Source     netip.Addr
	MinRx, MinTx, IdleTx time.Duration
	Multiplier           int
	Passive, Multihop    bool
	TTL, MaxHops         int // TTL: what those that come are held against
	SendTTL              int // that packets leave with
	Weight               int
	Reverse              bool
	VRRP, Checker        bool // who hears of it
}

// TrackGroup is a track_group.
type TrackGroup struct {
	Name      string
	Instances []string
}

// Delay is a line of interface_up_down_delays.
type Delay struct {
	Interface string
	Down, Up  time.Duration
}

// Linkbeat is a line of linkbeat_interfaces.
type Linkbeat struct {
	Interface string
	Kind      string // "", MII, ETHTOOL or IOCTL
}

// GarpGroup is a garp_group.
type GarpGroup struct {
	Interfaces []string
	Garp, Gna  time.Duration
}

// Route is a route line. Options are the words that this version keeps as they are, with their values.
type Route struct {
	Type       string // If empty, unicast.
	To         string
	V6         bool
	Via        netip.Addr
	Dev        string
	Table      string
	Source     netip.Addr
	Scope      string
	Metric     uint32
	OnLink     bool
	NoTrack    bool
	TrackGroup string
	Options    [][2]string
	Nexthops   []Nexthop
}

// Nexthop is one way of a route that has several.
type Nexthop struct {
	Via     netip.Addr
	Dev     string
	Weight  int // If zero, 1.
	OnLink  bool
	Options [][2]string
}

// Rule is a policy rule line.
type Rule struct {
	V6          bool
	From, To    string
	Table       string
	Not         bool
	Priority    uint32
	PrioritySet bool
	Action      string // table, goto, nop, blackhole, unreachable, prohibit or l3mdev
	Goto        uint32
	In, Out     string
	NoTrack     bool
	TrackGroup  string
	Options     [][2]string
}
