package conf

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"vipd/internal/lb"
)

// service gives a virtual_server and its real servers, named as in keepalived_check.data.
func (e *entries) service(v *VirtualServer) {
	name := v.key()
	if v.Group != "" {
		name = fmt.Sprintf("[%s]:%d", v.Group, v.Addr.Port())
	}
	e.in("virtual_server " + name)
	e.some("VirtualHost", v.VirtualHost)
	e.some("SNMP name", v.SNMPName)
	e.add("lvs_sched", v.Scheduler)
	e.schedulerFlags(v)
	e.add("One packet scheduling", ableOf(v.OnePacket))
	if v.Persistence != 0 {
		e.add("persistence timeout", fullSeconds(v.Persistence))
	}
	e.some("persistence granularity", v.Netmask())
	e.add("protocol", pick(v.Mark != 0, "none", v.Protocol.String()))
	e.add("alpha", pick(v.Alpha, "ON", "OFF"))
	e.add("omega", pick(v.Omega, "ON", "OFF"))
	e.timing(v.Timing, "delay_loop", v.DelayLoop)
	e.add("Inhibit on failure", pick(v.InhibitOnFailure, "ON", "OFF"))
	e.add("quorum", v.Quorum)
	e.add("hysteresis", v.Hysteresis)
	e.add("Using smtp notification", yesNo(v.SMTPAlert))
	if s := v.Sorry; s != nil {
		e.add("sorry server", lb.EndpointName(v.Protocol, s.Addr))
		e.add("sorry server forwarding method", forwardOf(s.Real.Real))
		e.add("sorry server Inhibit on failure", pick(s.InhibitOnFailure, "ON", "OFF"))
	}
	for i := range v.Servers {
		e.server(v, &v.Servers[i], name)
	}
}

// some adds what may not be set.
func (e *entries) some(name, value string) {
	if value != "" {
		e.add(name, value)
	}
}

func ableOf(on bool) string { return pick(on, "enabled", "disabled") }

// schedulerFlags have names of their own where the scheduler gives them a meaning.
func (e *entries) schedulerFlags(v *VirtualServer) {
	names := []string{"flag-1", "flag-2", "flag-3"}
	if v.Scheduler == "sh" || v.Scheduler == "mh" {
		names = []string{v.Scheduler + "-fallback", v.Scheduler + "-port"}
	}
	for i, n := range names {
		e.add(n, ableOf(v.Flags&(lb.SchedFlag1<<i) != 0))
	}
}

// timing is what real servers and checkers inherit; what is not set is not said.
func (e *entries) timing(t Timing, loopName string, loop time.Duration) {
	if t.ConnectTimeout >= 0 {
		e.add("connection timeout", t.ConnectTimeout.Seconds())
	}
	if loop > 0 {
		e.add(loopName, loop.Seconds())
	}
	if t.Retry >= 0 {
		e.add("Retry count", t.Retry)
	}
	if t.DelayBeforeRetry >= 0 {
		e.add("Retry delay", t.DelayBeforeRetry.Seconds())
	}
	if t.Warmup >= 0 {
		e.add("Warmup", t.Warmup.Seconds())
	}
}

func forwardOf(r lb.Real) string {
	switch r.Forward {
	case lb.Masq:
		return "NAT"
	case lb.Route:
		return "DR"
	case lb.Local:
		return "LOCAL"
	}
	sums := ", no checksum"
	if r.Tunnel.Csum {
		sums = ", checksum"
	} else if r.Tunnel.RemCsum {
		sums = ", remote checksum"
	}
	switch r.Tunnel.Type {
	case lb.GUE:
		return fmt.Sprintf("TUN, type = GUE, port = %d%s", r.Tunnel.Port, sums)
	case lb.GRE:
		return "TUN, type = GRE" + sums
	}
	return "TUN, type = IPIP"
}

func (e *entries) server(v *VirtualServer, r *RealServer, of string) {
	e.in("real_server " + endpoint(r.Addr) + " of " + of)
	e.add("RIP", r.Addr.Addr())
	e.add("RPORT", r.Addr.Port())
	e.add("initial weight", r.Weight)
	e.add("forwarding method", forwardOf(r.Real.Real))
	e.add("Alpha", pick(r.Alpha, "ON", "OFF"))
	e.add("connection limit range", fmt.Sprintf("%d -> %d", r.Lower, r.Upper))
	e.timing(r.Timing, "Delay loop", r.Timing.DelayLoop)
	e.add("Inhibit on failure", pick(r.InhibitOnFailure, "ON", "OFF"))
	e.some("VirtualHost", r.VirtualHost)
	e.some("SNMP name", r.SNMPName)
	e.add("Using smtp notification", yesNo(r.SMTPAlert))
	for k := range r.Checks {
		e.in(fmt.Sprintf("%s %d of %s of %s", r.Checks[k].Kind, k+1, endpoint(r.Addr), of))
		e.check(&r.Checks[k])
	}
}

func (e *entries) check(c *HealthCheck) {
	e.add("Keepalive method", c.Kind)
	e.add("Log all failures", yesNo(c.LogAllFailures))
	if c.Kind != "FILE_CHECK" {
		e.add("Alpha", yesNo(c.Alpha))
		e.add("Delay loop", micros(c.DelayLoop))
		e.add("Warmup", micros(c.Warmup))
		e.add("Retries", c.Retry)
		if c.Retry > 0 {
			e.add("Delay before retry", micros(c.DelayBeforeRetry))
		}
	}
	if c.Path {
		e.add("Dest", endpoint(c.Target))
		e.add("Timeout", c.ConnectTimeout.Seconds())
		if c.Bind.IsValid() {
			e.add("Bind to", endpoint(c.Bind))
		}
		e.some("Bind i/f", c.BindIf)
		if c.Mark != 0 {
			e.add("Mark", c.Mark)
		}
	}
	e.own(c)
}

func micros(d time.Duration) string { return fmt.Sprintf("%d us", d.Microseconds()) }

// own is what a kind of checker has alone.
func (e *entries) own(c *HealthCheck) {
	switch c.Kind {
	case "HTTP_GET", "SSL_GET":
		if c.HTTP != nil {
			e.http(c.HTTP)
		}
	case "SMTP_CHECK":
		e.add("helo", c.Helo)
	case "DNS_CHECK":
		e.add("Type", c.DNSType)
		e.add("Name", c.DNSName)
	case "MISC_CHECK":
		if c.Script != nil { // a file with errors may have left it out
			e.add("script", strings.Join(quoteArgs(c.Script.Args), " "))
		}
		e.add("timeout", fullSeconds(c.Timeout))
		e.add("dynamic", pick(c.Dynamic, "YES", "NO"))
	case "UDP_CHECK":
		if len(c.Payload) > 0 {
			e.add("Payload len", len(c.Payload))
		}
		e.add("Require reply", yesNo(c.NeedReply))
		if c.NeedReply {
			e.add("Min reply length", c.MinReply)
			e.add("Max reply length", c.MaxReply)
			e.add("Reply data len", len(c.Reply))
		}
	}
}

func (e *entries) http(h *HTTPCheck) {
	e.add("http protocol", h.Protocol)
	e.some("Virtualhost", h.VirtualHost)
	e.add("Enable SNI", pick(h.SNI, "set", "unset"))
	e.add("Fast recovery", pick(h.FastRecovery, "set", "unset"))
	for i, u := range h.URLs {
		at := fmt.Sprintf("url %d ", i+1)
		e.add(at+"path", u.Path)
		e.some(at+"digest", u.Digest)
		e.some(at+"Virtual host", u.VirtualHost)
		var codes []string
		for _, c := range u.Codes {
			if codes = append(codes, fmt.Sprint(c[0])); c[0] != c[1] {
				codes[len(codes)-1] += fmt.Sprint("-", c[1])
			}
		}
		e.add(at+"HTTP Status Code(s)", strings.Join(codes, " "))
		e.some(at+"Regex", u.Regex)
	}
}

func endpoint(a netip.AddrPort) string { return fmt.Sprintf("[%s]:%d", a.Addr(), a.Port()) }
