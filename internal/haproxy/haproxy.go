// Package haproxy writes vipd's pools as a configuration of HAProxy, and says what a running HAProxy must be told so that its
// servers are as those of the pools. It is pure: text in, text out.
//
// Words and limits are those of HAProxy's configuration manual and management guide, version 2.6.
//
// Invariant: a configuration that is written is one that HAProxy takes; what has no equivalent in it is a comment there and
// changes nothing.
package haproxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"vipd/internal/health"
	"vipd/internal/lb"
)

// Pool is a virtual service, or all the members of a group, which share their real servers.
type Pool struct {
	Group   string          // name of the virtual_server_group. If empty, none.
	Members []lb.ServiceKey // the service, or those of the group; at least one
	Rules   health.Service  // scheduler, persistence, quorum, sorry server; its Reals are not looked at
	Reals   []Real          // in the order of the file
}

// Real is a real server.
type Real struct {
	health.Real        // Weight is the one in force
	Out         bool   // it gets nothing, whatever its weight is
	Why         string // it is out or has another weight than the file's. If empty, there is nothing to say.
}

// The modes of HAProxy.
const (
	TCP  = "tcp"
	HTTP = "http"
)

// Options say what is written.
type Options struct {
	Mode     string // TCP or HTTP
	Backends bool   // backends alone, for use beside a file that has the frontends
	NoChecks bool   // HAProxy does not check by itself
	Live     bool   // weights are those of now, so that a slow start is in them already
	From     string // where the pools come from, for the head of the file
}

// File is a configuration.
type File struct {
	Text      string
	Backends  []Backend
	Frontends int      // addresses that are listened at
	LeftOut   []string // what HAProxy cannot have, each with its reason
}

// Backend is one in HAProxy, as far as it can be changed while it runs.
type Backend struct {
	Name    string
	Servers []Server
}

// Server is one of a backend.
type Server struct {
	Name   string
	Weight int  // 0 to 256; 0: it keeps what it has and gets nothing new
	Out    bool // in maintenance: it gets nothing
}

// Export writes pools. A pool that HAProxy cannot have is left out, and File.LeftOut says why.
func Export(pools []Pool, o Options) File {
	var f File
	w := &writer{}
	w.line(0, "# vipd's pools, written by \"vipd export haproxy\" from %s.", comment(o.From))
	w.line(0, "# Change them there: what is changed here is lost.")
	if !o.Backends {
		w.head(o.Mode)
	}
	taken := map[string]bool{}
	for _, p := range pools {
		if why := refused(p); why != "" {
			f.LeftOut = append(f.LeftOut, p.word()+": "+why)
			w.line(0, "\n# %s is left out: %s", comment(p.word()), why)
			continue
		}
		b := newBackend(p, o, unique(taken, p.name()))
		if !o.Backends {
			w.frontend(b)
			f.Frontends += len(b.binds)
		}
		w.backend(b)
		f.Backends = append(f.Backends, b.Backend)
	}
	f.Text = w.String()
	return f
}

// refused says why HAProxy cannot have a pool; empty: it can.
func refused(p Pool) string {
	for _, m := range p.Members {
		if m.Mark == 0 && m.Protocol != lb.TCP {
			return fmt.Sprintf("HAProxy forwards TCP and HTTP, not %s", m.Protocol)
		}
	}
	return ""
}

// word names a pool for a person.
func (p Pool) word() string {
	switch m := p.Members[0]; {
	case p.Group != "":
		return "group " + p.Group
	case m.Mark != 0 && m.V6:
		return fmt.Sprintf("fwmark6/%d", m.Mark)
	case m.Mark != 0:
		return fmt.Sprintf("fwmark/%d", m.Mark)
	default:
		return strings.ToLower(m.Protocol.String()) + "/" + m.Addr.String()
	}
}

// name is the backend's, before it is made unique.
func (p Pool) name() string {
	switch m := p.Members[0]; {
	case p.Group != "":
		return "vipd_" + identifier(p.Group)
	case m.Mark != 0:
		return "vipd_" + strings.ReplaceAll(p.word(), "/", "_")
	default:
		return "vipd_" + endpoint(m.Addr)
	}
}

// endpoint is an address and port as a name that no other address and port has.
func endpoint(a netip.AddrPort) string {
	return identifier(a.Addr().String()) + ":" + fmt.Sprint(a.Port())
}

// identifier keeps what a name may have: "letters, digits, '-', '_' (underscore), '.' (dot) and ':' (colon)" (4.).
func identifier(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune("-_.:", r)) {
			return r
		}
		return '_'
	}, s)
}

// unique gives a name that is not taken yet, and takes it.
func unique(taken map[string]bool, name string) string {
	for n, first := 2, name; taken[name]; n++ {
		name = fmt.Sprintf("%s_%d", first, n)
	}
	taken[name] = true
	return name
}

// addresses are those of clients' connections: what a frontend can bind.
func (p Pool) addresses() (all []netip.AddrPort) {
	for _, m := range p.Members {
		if m.Mark == 0 && m.Addr.Port() != 0 && m.Addr.Addr().Zone() == "" && !slices.Contains(all, m.Addr) {
			all = append(all, m.Addr)
		}
	}
	return all
}

// port is where a server is connected to; 0: at the port that the client used. With DR and tunnels the packet's own port stays
// what it is, whatever the file says of the real server (ip_vs_xmit.c); of a firewall mark it is not known.
func (p Pool) port(r lb.Real) uint16 {
	if r.Forward == lb.Masq {
		return r.Addr.Port()
	}
	port := uint16(0)
	for i, m := range p.Members {
		switch {
		case m.Mark != 0:
			return r.Addr.Port()
		case i > 0 && m.Addr.Port() != port:
			return 0
		}
		port = m.Addr.Port()
	}
	return port
}
