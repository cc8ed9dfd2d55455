package plane

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"

	"vipd/internal/lb"
)

// ErrNoSetting: there is no setting of this name.
var ErrNoSetting = errors.New("no such setting") // ENOENT

// Setting is one of IPVS's sysctls, /proc/sys/net/ipv4/vs/NAME, or one that only this program has.
type Setting struct {
	Name    string
	Default uint32
	Max     uint32
	Own     bool   // not IPVS's
	Text    string // what it does
}

// Settings are all of them, by name. Those of connection tracking and of the estimator are not here. The two numbers of IPVS's
// sync_threshold are sync_threshold and sync_period, as the kernel's documentation calls them: see SetThreshold.
var Settings = []Setting{
	{"am_droprate", 10, math.MaxInt32, false, "Of so many packets drop_packet 3 drops one."},
	{"amemthresh", 1024, math.MaxInt32, false, "Free pages below which memory is short."},
	{"cache_bypass", 0, math.MaxInt32, false, "Without a server, packets of a mark go where they are addressed to."},
	{"conn_reuse_mode", 1, math.MaxInt32, false, "A new SYN on an old connection: 0 same server; 1 anew when it had ended; 2 also in FIN_WAIT."},
	{"drop_entry", 0, 3, false, "Give up half-open and idle connections: 0 never, 1 when memory is short (2: it is), 3 always."},
	{"drop_packet", 0, 3, false, "Drop a part of new connections: 0 never, 1 when memory is short (2: it is), 3 always."},
	{"expire_nodest_conn", 0, math.MaxInt32, false, "End connections of removed real servers at once."},
	{"expire_quiescent_template", 0, math.MaxInt32, false, "Persistent clients leave a real server of weight 0."},
	{"icmp_msgs_per_sec", 1000, 1 << 20, true, "ICMP answers a second on one CPU; 0: no limit."},
	{"lblc_expiration", 86400, maxSeconds, false, "Seconds after which lblc forgets a destination."},
	{"lblcr_expiration", 86400, maxSeconds, false, "Seconds after which lblcr forgets a destination, or one server of it."},
	{"nat_icmp_send", 0, math.MaxInt32, false, "Tell a NAT real server that its packet has no connection."},
	{"pmtu_disc", 1, math.MaxInt32, false, "A tunnel's outer header takes over \"don't fragment\"."},
	{"schedule_icmp", 0, math.MaxInt32, false, "ICMP errors that belong to no connection make one."},
	{"secure_tcp", 0, 3, false, "TCP states that no client reaches alone: 0 never, 1 when memory is short (2: it is), 3 always."},
	{"sloppy_sctp", 0, math.MaxInt32, false, "Any SCTP packet but ABORT makes a connection."},
	{"sloppy_tcp", 0, math.MaxInt32, false, "Any TCP packet but RST makes a connection."},
	{"syn_flood_rate", 100000, 1 << 24, true, "New connections a second on one CPU above which sh, dh and mh send on without an entry; 0: no limit."},
	{"sync_period", 50, math.MaxUint16, false, "... and then one of so many packets; 0: that one alone. The second number of sync_threshold."},
	{"sync_persist_mode", 0, 1, false, "Of persistent services templates are told, and no connections."},
	{"sync_ports", 1, 64, false, "Connections are told to so many ports, a power of two; at the daemon's start."},
	{"sync_qlen_max", 0, math.MaxInt32, false, "Datagrams that may wait to be sent; 0: no limit."},
	{"sync_refresh_period", 0, maxSeconds, false, "Seconds by which a connection's end must have moved to be told again; 0: packets alone decide."},
	{"sync_retries", 0, 3, false, "How often one that is not due is told again, every eighth of sync_refresh_period."},
	{"sync_sock_size", 0, math.MaxInt32, false, "Bytes of the sockets' buffers, at the daemon's start; 0: 4 MiB."},
	{"sync_threshold", 3, math.MaxUint16, false, "The packet of a client with which its connection is told at first; below sync_period."},
	{"sync_version", 1, 1, false, "Version of the datagrams that are sent: 1, or 0 for kernels before 2.6.39."},
}

// maxSeconds is 31 days, the longest time of a timeout.
const maxSeconds = 31 * 24 * 3600

// FindSetting returns the setting of a name.
func FindSetting(name string) (Setting, error) {
	at := slices.IndexFunc(Settings, func(s Setting) bool { return s.Name == name })
	if at < 0 {
		return Setting{}, fmt.Errorf("%.40q: %w", name, ErrNoSetting)
	}
	return Settings[at], nil
}

// CheckSetting returns the setting of a name; ErrRange if it cannot have the value, ErrNoSetting.
func CheckSetting(name string, value uint32) (Setting, error) {
	s, err := FindSetting(name)
	if err == nil && !s.has(value) {
		err = fmt.Errorf("%s %d: want %s: %w", name, value, s.Bounds(), ErrRange)
	}
	return s, err
}

// Sync tells whether it is of the sync daemon.
func (s Setting) Sync() bool { return strings.HasPrefix(s.Name, "sync_") }

func (s Setting) has(value uint32) bool {
	return value <= s.Max && (s.Name != "sync_ports" || bits.OnesCount32(value) == 1)
}

// Bounds are what it can be.
func (s Setting) Bounds() string {
	if s.Name == "sync_ports" {
		return "1, 2, 4, 8, 16, 32 or 64"
	}
	return fmt.Sprintf("0 to %d", s.Max)
}

// CheckThreshold says what is wrong with the two numbers of sync_threshold: ErrRange.
func CheckThreshold(threshold, period uint32) error {
	if period != 0 && threshold >= period {
		return fmt.Errorf("sync_threshold %d %d: want the first below the second, or that 0: %w", threshold, period, ErrRange)
	}
	return nil
}

// SetThreshold sets both numbers of sync_threshold: on the way from one pair to another no pair may be wrong.
func SetThreshold(t Tuner, threshold, period uint32) error {
	if err := CheckThreshold(threshold, period); err != nil {
		return err
	}
	for _, step := range []struct {
		name  string
		value uint32
	}{{"sync_period", 0}, {"sync_threshold", threshold}, {"sync_period", period}} {
		if err := t.Set(step.name, step.value); err != nil {
			return err
		}
	}
	return nil
}

// Tuner is a plane with Settings.
type Tuner interface {
	// Settings are the values of all that it has.
	Settings() (map[string]uint32, error)
	// Set changes one. ErrNoSetting, ErrRange, ErrUnsupported.
	Set(name string, value uint32) error
}

// Classifier is a plane that gives packets firewall marks by itself.
type Classifier interface {
	Classes() ([]lb.Class, error)
	// SetClasses replaces all of them. ErrInvalid, ErrFull.
	SetClasses([]lb.Class) error
}

// CheckClass says what is wrong with a class: ErrInvalid.
func CheckClass(c lb.Class) error {
	switch {
	case c.Mark == 0:
		return fmt.Errorf("a class without a mark: %w", ErrInvalid)
	case !c.To.IsValid() || c.To != c.To.Masked():
		return fmt.Errorf("class %d: network %s: %w", c.Mark, c.To, ErrInvalid)
	case c.From.IsValid() && (c.From != c.From.Masked() || c.From.Addr().Is4() != c.To.Addr().Is4()):
		return fmt.Errorf("class %d: from %s: %w", c.Mark, c.From, ErrInvalid)
	case c.First > c.Last:
		return fmt.Errorf("class %d: ports %d-%d: %w", c.Mark, c.First, c.Last, ErrInvalid)
	case c.Protocol != lb.IP && c.Protocol != lb.TCP && c.Protocol != lb.UDP && c.Protocol != lb.SCTP:
		return fmt.Errorf("class %d: protocol %s: %w", c.Mark, c.Protocol, ErrInvalid)
	}
	return nil
}
