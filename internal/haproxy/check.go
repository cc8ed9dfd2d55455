package haproxy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"vipd/internal/health"
)

// checks are those of one backend: HAProxy has what is asked by backend, and where and how often by server.
type checks struct {
	pool  Pool
	lines []string
	notes []string
	own   map[netip.AddrPort]string // words of a server
}

func newChecks(p Pool, reals []Real, o Options) *checks {
	c := &checks{pool: p, own: map[netip.AddrPort]string{}}
	if o.NoChecks {
		return c
	}
	var asked []dialect
	var wait time.Duration
	for _, r := range reals {
		main, agent := c.choose(r)
		if main != nil {
			d := kinds[main.Kind](*main, p.Members[0].Addr)
			if !slices.ContainsFunc(asked, func(e dialect) bool { return slices.Equal(e.lines, d.lines) }) {
				asked = append(asked, d)
			}
			for _, n := range d.notes {
				c.note(n)
			}
			wait = max(wait, main.ConnectTimeout)
			c.own[r.Addr] += c.server(r, *main) + d.server
		}
		if agent != nil {
			c.own[r.Addr] += agentWords(r, *agent)
		}
	}
	switch {
	case len(asked) == 1:
		c.lines = asked[0].lines
	case len(asked) > 1:
		c.note("real servers are checked in several ways, of which HAProxy has one a backend: it tries the connection alone")
	}
	if wait > 0 {
		c.lines = append(c.lines[:len(c.lines):len(c.lines)], "timeout check "+span(wait))
	}
	return c
}

// of are the words of a server's line.
func (c *checks) of(r Real) string { return c.own[r.Addr] }

func (c *checks) note(text string) {
	if !slices.Contains(c.notes, text) {
		c.notes = append(c.notes, text)
	}
}

// choose finds the check that HAProxy makes, and the agent that it asks; nil: none.
func (c *checks) choose(r Real) (main, agent *health.Checker) {
	for _, one := range r.Checkers {
		one = one.WithDefaults(c.pool.Rules, r.Real)
		switch {
		case one.Kind == health.AgentCheck && agent == nil && one.Target.Port() != 0:
			agent = &one
		case kinds[one.Kind] == nil:
			c.note(fmt.Sprintf("%s has no equivalent: vipd alone makes it", one.Kind))
		case main != nil:
			c.note(fmt.Sprintf("%s beside %s: HAProxy makes one check of a server, vipd all", one.Kind, main.Kind))
		case one.Target.Port() == 0:
			c.note(fmt.Sprintf("%s without a port: vipd alone makes it", one.Kind))
		case one.Target.Addr().Zone() != "":
			c.note(fmt.Sprintf("%s of an address with an interface: vipd alone makes it", one.Kind))
		default:
			main = &one
		}
	}
	return main, agent
}

// server is where a check goes and how often. keepalived's retries are the failures that HAProxy counts with fall, less the first;
// between them it waits as fastinter does, "when the server is going down or up".
func (c *checks) server(r Real, k health.Checker) string {
	out := " check"
	if k.Target.Addr() != r.Addr.Addr() {
		out += " addr " + host(k.Target.Addr())
	}
	if k.Target.Port() != c.pool.port(r.Real.Real) || k.Target.Addr() != r.Addr.Addr() {
		out += fmt.Sprintf(" port %d", k.Target.Port())
	}
	if k.Way != nil {
		c.note("check_path: HAProxy asks at the real server's own address")
	}
	return out + fmt.Sprintf(" inter %s fastinter %s downinter %s fall %d rise %d", span(k.DelayLoop), span(k.DelayBeforeRetry), span(k.DelayLoop),
		min(max(k.Retry, 0), maxCount)+1, min(max(k.Rise, 1), maxCount))
}

// maxCount bounds the failures and successes that are counted.
const maxCount = 1000

func agentWords(r Real, k health.Checker) string {
	out := fmt.Sprintf(" agent-check agent-port %d agent-inter %s", k.Target.Port(), span(k.DelayLoop))
	if k.Target.Addr() != r.Addr.Addr() && k.Target.Addr().Zone() == "" {
		out += " agent-addr " + host(k.Target.Addr())
	}
	if k.Talk != nil && k.Talk.Send != "" {
		out += " agent-send " + quote(k.Talk.Send)
	}
	return out
}

// dialect is a check in HAProxy's words.
type dialect struct {
	lines  []string // of the backend
	server string   // words of the server
	notes  []string
}

// kinds are the checks that HAProxy can make. vip is the service's address; invalid of a firewall mark.
var kinds = map[health.Kind]func(c health.Checker, vip netip.AddrPort) dialect{
	health.TCPCheck: func(health.Checker, netip.AddrPort) dialect { return dialect{} },
	health.HTTPGet:  httpCheck,
	health.SSLGet: func(c health.Checker, vip netip.AddrPort) dialect {
		d := httpCheck(c, vip)
		d.server = " check-ssl verify none"
		if h := c.HTTP; h != nil && h.Verify != nil {
			d.notes = append(d.notes, "certificates are looked at by vipd alone")
		}
		if h := c.HTTP; h != nil && h.SNI && cmp.Or(h.SNIName, h.VirtualHost) != "" {
			d.server += " check-sni " + quote(cmp.Or(h.SNIName, h.VirtualHost))
		}
		return d
	},
	health.SMTPCheck: func(c health.Checker, _ netip.AddrPort) dialect {
		return dialect{lines: []string{"option smtpchk HELO " + quote(cmp.Or(c.Helo, "localhost"))}}
	},
	health.MySQLCheck: func(c health.Checker, _ netip.AddrPort) dialect {
		if c.Talk == nil || c.Talk.User == "" {
			return dialect{lines: []string{"option mysql-check"}}
		}
		return dialect{lines: []string{"option mysql-check user " + quote(c.Talk.User)}}
	},
	health.PostgreSQLCheck: func(c health.Checker, _ netip.AddrPort) dialect {
		user := "postgres"
		if c.Talk != nil {
			user = cmp.Or(c.Talk.User, user)
		}
		return dialect{lines: []string{"option pgsql-check user " + quote(user)}}
	},
	health.RedisCheck: func(c health.Checker, _ netip.AddrPort) dialect {
		if c.Talk != nil && c.Talk.Password != "" {
			return dialect{notes: []string{"REDIS_CHECK with a password: HAProxy tries the connection alone"}}
		}
		return dialect{lines: []string{"option redis-check"}}
	},
	health.MemcachedCheck: func(health.Checker, netip.AddrPort) dialect {
		return dialect{lines: []string{"option tcp-check", "tcp-check connect", `tcp-check send version\r\n`, "tcp-check expect string VERSION"}}
	},
	health.FTPCheck: func(health.Checker, netip.AddrPort) dialect {
		return dialect{lines: []string{"option tcp-check", "tcp-check connect", "tcp-check expect rstring ^220"}}
	},
	health.GRPCCheck: func(health.Checker, netip.AddrPort) dialect {
		return dialect{notes: []string{"GRPC_CHECK: HAProxy tries the connection alone"}}
	},
}

// httpCheck asks for every page, one after the other on connections of their own.
func httpCheck(c health.Checker, vip netip.AddrPort) dialect {
	d := dialect{lines: []string{"option httpchk"}}
	if c.HTTP == nil {
		return d
	}
	for _, u := range c.HTTP.URLs {
		if len(c.HTTP.URLs) > 1 {
			d.lines = append(d.lines, "http-check connect default")
		}
		d.page(c.HTTP, u, vip)
	}
	return d
}

func (d *dialect) page(h *health.HTTP, u health.URL, vip netip.AddrPort) {
	version, name := "HTTP/1.0", cmp.Or(u.VirtualHost, h.VirtualHost)
	switch h.Protocol {
	case "1.1":
		version = "HTTP/1.1"
	case "2":
		version = "HTTP/1.1"
		d.note("http_protocol 2: HAProxy asks by HTTP/1.1")
	}
	if name == "" && version == "HTTP/1.1" {
		if name = "localhost"; vip.IsValid() {
			name = host(vip.Addr().WithZone(""))
		}
	}
	send := "http-check send meth GET uri " + quote(cmp.Or(u.Path, "/")) + " ver " + version
	if name != "" {
		send += " hdr Host " + quote(strings.ReplaceAll(name, "%", "%%")) // it is a format
	}
	d.lines = append(d.lines, send)
	var codes []string
	for _, r := range u.Codes {
		if r[0] == r[1] {
			codes = append(codes, fmt.Sprint(r[0]))
		} else {
			codes = append(codes, fmt.Sprintf("%d-%d", r[0], r[1]))
		}
	}
	d.lines = append(d.lines, "http-check expect status "+cmp.Or(strings.Join(codes, ","), "200-299"))
	if u.Digest != "" {
		d.note("digest: HAProxy looks at the status alone")
	}
	if u.Regex != "" {
		d.note("regex: HAProxy looks at the status alone")
	}
}

func (d *dialect) note(text string) {
	if !slices.Contains(d.notes, text) {
		d.notes = append(d.notes, text)
	}
}
