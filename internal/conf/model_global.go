package conf

import (
	"net/netip"
	"time"

	"vipd/internal/lb"
)

// Global is what global_defs and the single lines at the outer level say. What no line sets has keepalived's default.
type Global struct {
	RouterID           string // If empty, the host's name.
	NotificationEmail  []string
	EmailFrom          string
	SMTPServer         string // address or name. If empty, none.
	SMTPPort           uint16 // If zero, 25.
	SMTPHelo           string
	SMTPConnectTimeout time.Duration // If zero, 30 s.
	SMTPTLS            string        // off, starttls or tls. If empty, off.
	SMTPTLSInsecure    bool          // any certificate will do
	SMTPUser           string        // of AUTH. If empty, none.
	SMTPPassword       string
	SMTPAlert          *bool // default of every smtp_alert. If nil, not said.
	SMTPAlertVRRP      *bool
	SMTPAlertChecker   *bool
	NoEmailFaults      bool
	NoCheckerEmails    bool
	LogAllFailures     bool // of every checker
	InitNotifies       bool // rs_init_notifies
	ShareChecks        bool // checker_share

	DefaultInterface  string // for addresses without dev. If empty, eth0.
	DynamicInterfaces bool
	AllowIfChanges    bool
	NoLocalIGMP       bool

	DataPlane   string            // xdp, ipvs or auto. If empty, xdp.
	Classes     []lb.Class        // fwmark_class, in their order
	Sysctls     map[string]uint32 // lvs_sysctl, by name
	Connections uint32            // that the table of data_plane xdp is made for. If zero, a million.
	// NoLocalClients leaves connections alone that the director itself opens to a virtual address, with data_plane xdp.
	NoLocalClients bool

	// Timeouts are lvs_timeouts. A zero one is left as it is.
	Timeouts   lb.Timeouts
	SyncDaemon SyncDaemon
	Peering    ConnectionSync
	Flush      bool
	FlushStop  string // lvs_flush_on_stop: "", VS or full

	VRRP    GlobalVRRP
	Scripts GlobalScripts
	Process GlobalProcess
	Manage  GlobalManage
}

// GlobalVRRP are the defaults of instances.
type GlobalVRRP struct {
	Version           uint8      // of IPv4 instances
	Group4, Group6    netip.Addr // multicast groups
	Garp              Garp
	GarpInterval      time.Duration // If zero, none.
	GnaInterval       time.Duration
	ExtraIf           time.Duration // vrrp_garp_extra_if. If zero, off.
	ExtraAll          bool
	DownTimerAdverts  int
	LowerPrioNoAdvert bool
	HigherPrioSend    bool
	CheckUnicastSrc   bool
	SkipCheckAdvAddr  bool
	Strict            bool
	OwnerIgnores      bool
	V3ChecksumAsV2    bool
	StartupDelay      time.Duration
	DelayAfterBoot    time.Duration
	LogUnknownVRIDs   bool
	VMACPrefix        string // If empty, vrrp.
	VMACAddrPrefix    string // If empty, VMACPrefix.
	RxPolicy          string // MTU, ADVERT or ""
	RxSize            uint32
	RxMultiplier      uint32

	Table            string // nftables. If empty, none is asked for.
	ChainPriority    int32
	TableCounters    bool
	TableIfindex     bool
	IPVSTable        string
	IPVSPriority     int32
	IPVSStartMark    uint32
	IptablesAskedFor bool // vrrp_iptables
}

// Garp are the settings of announcements.
type Garp struct {
	Delay         time.Duration // of the second block; 0: none
	Repeat        uint32
	Refresh       time.Duration // 0: never
	RefreshRepeat uint32
	LowerDelay    time.Duration // after a lower advert was heard. Negative: as Delay.
	LowerRepeat   int64         // Negative: as Repeat.
}

// Script is a command with who runs it.
type Script struct {
	Args  []string // the program first
	User  string   // If empty, the default one.
	Group string   // If empty, the user's.
}

// FIFO is a notify FIFO with its reader.
type FIFO struct {
	Path        string
	User, Group string
	Script      *Script
}

// GlobalScripts is all about commands and FIFOs.
type GlobalScripts struct {
	User, Group     string // script_user. If empty, keepalived_script, else root.
	Security        bool
	SymlinkPaths    bool
	Supplementary   bool
	Startup         *Script
	Shutdown        *Script
	StartupTimeout  time.Duration
	ShutdownTimeout time.Duration
	NotifyTimeout   time.Duration // of scripts of a state that is over. If zero, 30 s.
	Notify          FIFO          // all events
	NotifyVRRP      FIFO
	NotifyLVS       FIFO
	StatesOnReload  bool
	PriorityChanges bool
}

// SyncDaemon is lvs_sync_daemon.
type SyncDaemon struct {
	Interface string // If empty, there is none.
	Instance  string // If empty, it is master and backup both.
	ID        int    // Negative: the VRID.
	MaxLen    uint16
	Port      uint16
	TTL       uint8
	Group     netip.Addr
}

// Tuning is what a process of keepalived is given; there is one process here.
type Tuning struct {
	Name     string
	Nice     int8
	NiceSet  bool // by the file, be it to 0
	NoSwap   bool
	Realtime uint8
	CPUs     []int
	RTLimit  uint32 // microseconds
}

// GlobalProcess is about processes and buffers. Only priority and processors of VRRP have an effect in this program.
type GlobalProcess struct {
	Name               string
	VRRP, Checker, BFD Tuning
	MaxAutoPriority    int
	MinAutoDelay       time.Duration
	Buffers            map[string]uint32 // by keyword
	Force              map[string]bool
	Umask              uint32
	Seed               *uint32
	ChildWait          time.Duration
	Namespace          string
	NamespaceIPVS      *string // nil: as Namespace; "": the first one
	Instance           string
	PidDir             bool
	LinkbeatPolling    bool
	NamespaceIpsets    bool
}

// GlobalManage is about dumps, reloads and management protocols.
type GlobalManage struct {
	SNMPVRRP, SNMPChecker, SNMPv2, SNMPv3, Traps bool
	SNMPSocket                                   string
	DBus                                         bool
	DBusName, DBusNoInterface                    string
	CheckReload                                  string // log of the check; "": none is made
	ReloadTimeFile                               string
	ReloadRepeat                                 bool
	ReloadFile                                   string
	SaveDir, TmpDir                              string
	UseInstance                                  bool
	StateFile, StatsFile, JSONFile               string
	JSONVersion                                  int
}

// newGlobal has keepalived's defaults.
func newGlobal() Global {
	return Global{
		VRRP: GlobalVRRP{Version: 2, Group4: netip.AddrFrom4([4]byte{224, 0, 0, 18}), Group6: netip.MustParseAddr("ff02::12"),
			Garp:             Garp{Delay: 5 * time.Second, Repeat: 5, RefreshRepeat: 1, LowerDelay: -1, LowerRepeat: -1},
			DownTimerAdverts: 3, RxMultiplier: 3, ChainPriority: -1, IPVSPriority: -1, IPVSStartMark: 1000},
		SyncDaemon: SyncDaemon{ID: -1},
		Process: GlobalProcess{MinAutoDelay: time.Second, Umask: 0o177, ChildWait: 5 * time.Second,
			Buffers: map[string]uint32{}, Force: map[string]bool{},
			VRRP: Tuning{RTLimit: 10000}, Checker: Tuning{RTLimit: 10000}, BFD: Tuning{RTLimit: 10000}},
		Manage: GlobalManage{JSONVersion: 1},
	}
}
