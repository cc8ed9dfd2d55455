package conf

import (
	"net/netip"
	"time"

	"vipd/internal/health"
	"vipd/internal/lb"
)

// VirtualServer is a virtual_server with all that its block says and inheritance resolved. Service is the part that
// internal/health and the packet path act on.
type VirtualServer struct {
	health.Service
	Group       string // virtual_server group NAME
	Member      int    // which of the group's services it is
	VirtualHost string
	SNMPName    string
	SMTPAlert   bool
	QuorumUp    *Script
	QuorumDown  *Script
	Weight      int32
	Timing      Timing
	Sorry       *RealServer
	Servers     []RealServer
}

// Timing are the settings that go from a service to its real servers to their checkers.
type Timing struct {
	Retry            int // negative: the checker's own default
	DelayBeforeRetry time.Duration
	Warmup           time.Duration
	ConnectTimeout   time.Duration
	DelayLoop        time.Duration
}

// RealServer is a real_server.
type RealServer struct {
	health.Real
	VirtualHost string
	SNMPName    string
	SMTPAlert   bool
	NotifyUp    *Script
	NotifyDown  *Script
	Timing      Timing
	Checks      []HealthCheck // every kind; health.Real.Checkers has those that are performed
}

// HealthCheck is a checker of any kind with inheritance resolved.
type HealthCheck struct {
	health.Checker
	Path      bool // it connects, so Target, Bind and ConnectTimeout mean something
	DNSType   string
	DNSName   string
	Command   *Script // MISC_CHECK
	Timeout   time.Duration
	Dynamic   bool
	Payload   []byte
	NeedReply bool
	Reply     []byte
	ReplyMask []byte // bits that are not compared
	MinReply  int
	MaxReply  int
	BFD       string
	TrackFile string // FILE_CHECK
	Weight    int
	Reverse   bool
}

// HTTPCheck is what HTTP_GET and SSL_GET have of their own, URL one page of it.
type (
	HTTPCheck = health.HTTP
	URL       = health.URL
)

// TLS is the SSL block.
type TLS = health.TLS

// ServiceGroup is a virtual_server_group.
type ServiceGroup struct {
	Name    string
	Members []GroupMember
}

// GroupMember is a line of a virtual_server_group: a range of addresses (First is Last if it is one) or a mark.
type GroupMember struct {
	First, Last netip.Addr
	Port        uint16
	Mark        uint32
	IsMark      bool
	Family      string // of a mark: inet, inet6 or ""
}

// key is the name of a service as keepalived writes it. A group's has the number of the service in it.
func (v *VirtualServer) key() string {
	return lb.ServiceKey{Protocol: v.Protocol, Addr: v.Addr, Mark: v.Mark}.String()
}
