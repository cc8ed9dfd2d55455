package health

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Kind is the type of a checker, by its keyword.
type Kind string

// The checkers.
const (
	TCPCheck  Kind = "TCP_CHECK"
	HTTPGet   Kind = "HTTP_GET"
	SSLGet    Kind = "SSL_GET"
	SMTPCheck Kind = "SMTP_CHECK"
	DNSCheck  Kind = "DNS_CHECK"
	UDPCheck  Kind = "UDP_CHECK"
	PingCheck Kind = "PING_CHECK"
	MiscCheck Kind = "MISC_CHECK"
	FileCheck Kind = "FILE_CHECK"
	BFDCheck  Kind = "BFD_CHECK"

	// Those that keepalived does not have.
	RedisCheck      Kind = "REDIS_CHECK"
	MemcachedCheck  Kind = "MEMCACHED_CHECK"
	MySQLCheck      Kind = "MYSQL_CHECK"
	PostgreSQLCheck Kind = "POSTGRESQL_CHECK"
	FTPCheck        Kind = "FTP_CHECK"
	GRPCCheck       Kind = "GRPC_CHECK"
	AgentCheck      Kind = "AGENT_CHECK"
)

// HTTP is what HTTP_GET and SSL_GET have of their own.
type HTTP struct {
	TLS          bool
	URLs         []URL
	VirtualHost  string // of the checker, else of its real server or service. If empty, the address and port.
	Protocol     string // 1.0, 1.0C or 1.1. If empty, 1.0.
	SNI          bool
	SNIName      string // If empty, the virtual host.
	FastRecovery bool   // no delay_loop between the pages that bring a real server up
	TLSCompliant bool
	Client       *TLS    // the SSL block. If nil, no certificate of ours.
	Verify       *Verify // If nil, certificates are not looked at.
}

// URL is one page of HTTP.
type URL struct {
	Path         string
	Digest       string // 32 hex digits. If empty, not compared.
	Codes        [][2]int
	VirtualHost  string // If empty, that of HTTP.
	Regex        string // If empty, not compared.
	RegexNot     bool
	RegexOptions []string
	RegexMin     int
	RegexMax     int // If zero, no bound.
	RegexStack   [2]int
	TLSCompliant bool
}

// TLS are the files of a certificate that is shown to real servers that ask for one.
type TLS struct {
	Password, CA, Certificate, Key string
}

// Verify is what is asked of a certificate.
type Verify struct {
	Chain  bool          // signed by an authority that is trusted, in time, and for the host that is asked for
	CA     string        // file of the authorities. If empty, the system's.
	Expiry time.Duration // a warning when it ends within this. If zero, none.
}

// Talk is what a conversation of the kinds that keepalived does not have says.
type Talk struct {
	User     string // MYSQL_CHECK, POSTGRESQL_CHECK. If empty, the first only reads the greeting, the second is postgres.
	Password string // REDIS_CHECK. If empty, none is sent.
	Database string // POSTGRESQL_CHECK. If empty, the user's.
	Service  string // GRPC_CHECK. If empty, the whole server's health.
	Send     string // AGENT_CHECK: what is said first
	TLS      bool   // GRPC_CHECK

	Name   string  // GRPC_CHECK: what TLS and HTTP/2 call the server. If empty, nothing and the target.
	Verify *Verify // GRPC_CHECK over TLS. If nil, certificates are not looked at.
}

// DNS is what DNS_CHECK asks.
type DNS struct {
	Name string // If empty, the root.
	Type string // A NS CNAME SOA MX TXT AAAA RRSIG DNSKEY. If empty, SOA.
}

// UDP is what UDP_CHECK sends and what must come back.
type UDP struct {
	Payload   []byte // If empty, random bytes.
	NeedReply bool
	Reply     []byte // the answer begins so
	ReplyMask []byte // bits that are not compared
	Min, Max  int    // length of the answer
}

// Script is the command of MISC_CHECK.
type Script struct {
	Args        []string
	User, Group string
	Timeout     time.Duration // If zero, the checker's delay_loop.
	Dynamic     bool          // exit codes 2..255 are a weight plus 2
}

// File is the file of FILE_CHECK.
type File struct {
	Path    string
	Weight  int  // factor of its number. 0: any number but 0 is a failure.
	Reverse bool // the factor is negative; without one, 0 is the failure
}

// same tells whether two checkers ask the same, whatever their times are.
func (c Checker) same(o Checker) bool {
	return c.Helo == o.Helo && c.BFD == o.BFD && reflect.DeepEqual(c.Talk, o.Talk) && reflect.DeepEqual(c.Way, o.Way) && reflect.DeepEqual(c.HTTP, o.HTTP) && reflect.DeepEqual(c.DNS, o.DNS) && reflect.DeepEqual(c.UDP, o.UDP) &&
		reflect.DeepEqual(c.Script, o.Script) && reflect.DeepEqual(c.File, o.File)
}

// Particulars says in one clause what a checker asks beside where and how often; empty if that is all.
func (c Checker) Particulars() string {
	if way := c.Way; way != nil {
		return strings.TrimSpace("to " + way.String() + " " + c.By(nil).Particulars())
	}
	switch {
	case c.HTTP != nil:
		return c.HTTP.String()
	case c.Script != nil:
		return strings.Join(c.Script.Args, " ")
	case c.DNS != nil:
		return strings.TrimSpace(c.DNS.Type + " " + c.DNS.Name)
	case c.UDP != nil:
		return fmt.Sprintf("payload %x reply %x/%x of %d to %d bytes", c.UDP.Payload, c.UDP.Reply, c.UDP.ReplyMask, c.UDP.Min, c.UDP.Max)
	case c.File != nil:
		return fmt.Sprintf("%s weight %d", c.File.Path, c.File.Weight)
	case c.Talk != nil:
		return c.Talk.String()
	case c.BFD != "":
		return "session " + c.BFD
	case c.Helo != "":
		return "HELO " + c.Helo
	}
	return ""
}

// String leaves the password out.
func (t *Talk) String() string {
	var all []string
	for _, f := range [][2]string{{"user", t.User}, {"database", t.Database}, {"service", t.Service}, {"name", t.Name}, {"send", t.Send}} {
		if f[1] != "" {
			all = append(all, f[0]+" "+f[1])
		}
	}
	if t.TLS {
		all = append(all, "tls")
	}
	return strings.Join(all, " ")
}

func (h *HTTP) String() string {
	var all []string
	for _, u := range h.URLs {
		s := "GET " + cmp.Or(u.VirtualHost, h.VirtualHost) + u.Path
		for _, r := range u.Codes {
			s += fmt.Sprintf(" %d-%d", r[0], r[1])
		}
		if u.Digest != "" {
			s += " digest " + u.Digest
		}
		if u.Regex != "" {
			s += fmt.Sprintf(" regex %q", u.Regex)
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}
