package conf

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"vipd/internal/health"
	"vipd/internal/lb"
)

// checker is a check while it is read.
type checker struct {
	HealthCheck
	timing
	place
	ip      netip.Addr
	port    uint16
	bind    netip.Addr
	bport   uint16
	bindSet bool
	alpha   *bool
	gone    bool // keepalived drops it
	nameSet bool
	userSet bool
	hosts   []*checker // host blocks of SMTP_CHECK
	outer   *checker   // of a host block
}

// beginCheck makes the start of a check block of any kind.
func beginCheck(kind string, connects bool) setter {
	return func(l *loader, s *stmt) {
		l.ck = &l.checkRoom.take(1)[0]
		l.ck.timing, l.ck.place = noTiming(), place{s.file, s.words[0]}
		l.ck.Kind, l.ck.Path = health.Kind(kind), connects
		switch l.ck.Kind {
		case "HTTP_GET", "SSL_GET":
			l.ck.HTTP = &HTTPCheck{TLS: kind == "SSL_GET", Protocol: "1.0"}
		case "DNS_CHECK":
			l.ck.DNSType = "SOA"
		case "UDP_CHECK":
			l.ck.MaxReply = 255
		case health.RedisCheck, health.MySQLCheck, health.PostgreSQLCheck, health.GRPCCheck, health.AgentCheck:
			l.ck.Talk = &health.Talk{}
		}
	}
}

// linkLocal tells a check that keepalived drops: a link-local address without an interface.
func (c *checker) linkLocal(l *loader) bool {
	to := c.ip
	if !to.IsValid() {
		to = l.rs.Addr.Addr()
	}
	if !to.Is6() || !to.IsLinkLocalUnicast() || c.BindIf != "" {
		return false
	}
	l.warn(l.at.arg(0), "link-local", "Checker link local address "+to.String()+" requires a bind_if").Hint = "add: bind_if IF"
	return true
}

// keepCheck ends a check block.
func (l *loader) keepCheck() {
	c := l.ck
	l.ck = nil
	if !c.gone {
		l.rs.checkers = append(l.rs.checkers, c)
	}
}

func endConnecting(l *loader) {
	l.ck.gone = l.ck.linkLocal(l)
	l.keepCheck()
}

func endUDP(l *loader) {
	c := l.ck
	if c.gone = c.linkLocal(l); !c.gone && c.MinReply > c.MaxReply {
		l.warn(l.at.arg(0), "never-succeeds", "UDP_CHECK min_reply length "+strconv.Itoa(c.MinReply)+" > max_reply_length "+strconv.Itoa(c.MaxReply)+" - will always fail")
	}
	l.keepCheck()
}

func endDNS(l *loader) {
	if l.ck.DNSName == "" {
		l.ck.DNSName = "."
	}
	endConnecting(l)
}

// retryByOldName takes nb_get_retry in TCP_CHECK, where keepalived has no such keyword.
// keepalived: "Unknown keyword 'nb_get_retry'", and retry stays 1. Here the evident meaning counts.
func retryByOldName(l *loader, s *stmt) {
	d := l.notice(s.words[0], "nb-get-retry", "nb_get_retry counts as retry in TCP_CHECK")
	d.Hint = "keepalived ignores it here and retries once; write retry"
	setCheckRetry(l, s)
}

var setCheckRetry = number(0, 1<<32-1, "Invalid retry connection value '{value}'", func(l *loader, v int64) { l.ck.retry = v })

func setNbGetRetry(l *loader, s *stmt) {
	l.warn(s.words[0], "deprecated", "nb_get_retry is deprecated - please use 'retry'")
	if _, ok := l.want(s, 1); !ok {
		return
	}
	if v, ok := l.integer(s, 1, 0, 1<<32-1, "Invalid nb_get_retry value '{value}'"); ok {
		l.ck.retry = v
	}
}

func setConnectIP(l *loader, s *stmt) {
	a, ok := plain(s.text(1))
	switch c := l.ck; {
	case !ok:
		l.badValue(s, 1, "", "Invalid connect_ip address {value} - ignoring").Expected = "an address"
	case c.bind.IsValid() && c.bind.Is4() != a.Is4():
		l.badValue(s, 1, "", "connect_ip address {value} does not match address family of bindto - skipping")
	default:
		c.ip = a
	}
}

func setBind(l *loader, s *stmt) {
	a, ok := plain(s.text(1))
	c := l.ck
	to := c.ip
	if !to.IsValid() && c.Kind != "SMTP_CHECK" {
		to = l.rs.Addr.Addr()
	}
	switch {
	case !ok:
		l.badValue(s, 1, "", "Invalid bindto address {value} - ignoring").Expected = "an address"
	case to.IsValid() && to.Is4() != a.Is4():
		l.badValue(s, 1, "", "bindto address {value} does not match address family of connect_ip - skipping")
	default:
		c.bind = a
	}
}

func setBindIf(l *loader, s *stmt) {
	if n := s.text(1); len(n) > 15 {
		l.bad(s, 1, "Interface name %s is too long - ignoring", n).Expected = "at most 15 bytes"
	} else {
		l.ck.BindIf = n
	}
}

func setDNSType(l *loader, s *stmt) {
	for _, t := range []string{"A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA", "RRSIG", "DNSKEY"} {
		if strings.EqualFold(s.text(1), t) {
			l.ck.DNSType = t
			return
		}
	}
	l.badValue(s, 1, "", "Unknown DNS check type {value} - ignoring").Expected = "A, NS, CNAME, SOA, MX, TXT, AAAA, RRSIG or DNSKEY"
}

func setDNSName(l *loader, s *stmt) {
	name := s.text(1)
	if l.ck.DNSName != "" {
		l.bad(s, 1, "DNS_CHECK name already specified - ignoring")
		return
	}
	// keepalived: 2.2.7 takes a.b for a name with an empty label when it starts with a dot or has two in a row; its own
	// loop looks one character too far, so a single character before the first dot is refused too.
	empty := strings.HasPrefix(name, ".") && name != "."
	for p := name; p != "" && !empty; {
		empty = len(p) > 1 && p[1] == '.'
		i := strings.IndexByte(p[1:], '.')
		if i < 0 {
			break
		}
		p = p[1+i:]
	}
	if empty && (l.pass != passAll || strings.Contains(name, "..") || name[0] == '.') {
		l.badValue(s, 1, "", "DNS_CHECK name '{value}' has empty label - ignoring")
		return
	}
	l.ck.DNSName = name
}

func setMiscPath(l *loader, s *stmt) {
	if len(s.shell) < 2 {
		return
	}
	if args, ok := splitScript(s.shell[1]); ok && len(args) > 0 {
		l.ck.Command = &Script{Args: args}
	}
}

func (c *checker) commandText() string {
	if c.Command == nil {
		return ""
	}
	return strings.Join(quoteArgs(c.Command.Args), " ")
}

func setMiscUser(l *loader, s *stmt) {
	c := l.ck
	if c.gone {
		return
	}
	if len(s.words) < 2 {
		l.warn(s.words[0], "missing-argument", "No user specified for misc checker script "+c.commandText())
		return
	}
	if !l.userExists(s.text(1), s.text(2)) {
		l.bad(s, 1, "Failed to set uid/gid for misc checker script %s - removing", c.commandText())
		c.gone = true
		return
	}
	c.userSet = true
	if c.Command != nil {
		c.Command.User, c.Command.Group = s.text(1), s.text(2)
	}
}

func endMisc(l *loader) {
	c := l.ck
	switch {
	case c.gone:
	case c.Command == nil:
		l.warn(l.at.arg(0), "no-script", "No script path has been specified for MISC_CHECKER - skipping").Expected = "misc_path COMMAND in the block"
		c.gone = true
	case !c.userSet && l.defaultUserFails():
		l.warn(l.at.arg(0), "no-script-user", "Unable to set default user for misc script "+c.commandText()+" - removing")
		c.gone = true
	}
	l.keepCheck()
}

// setHex reads hex digits, in several words or one; with wild, x stands for any digit.
func setHex(what string, wild bool, put func(c *checker, data, mask []byte)) setter {
	return func(l *loader, s *stmt) {
		if what == "reply" {
			l.ck.NeedReply = true
			if len(s.words) == 1 {
				return
			}
		}
		var words []string
		for i := 1; i < len(s.words); i++ {
			words = append(words, s.text(i))
		}
		data, mask, ok := hexWords(strings.Join(words, " "), wild)
		if !ok {
			l.bad(s, 1, "Invalid hex string for UDP_CHECK %s", what).Expected = "hex digits"
			return
		}
		put(l.ck, data, mask)
	}
}

// hexWords reads pairs of hex digits; a digit before a blank is a byte of its own.
func hexWords(t string, wild bool) (data, mask []byte, ok bool) {
	for _, w := range strings.FieldsFunc(t, func(r rune) bool { return r == ' ' || r == '\t' }) {
		for i := 0; i < len(w); i += 2 {
			pair := w[i:min(i+2, len(w))]
			m := byte(0)
			for _, c := range []byte(pair) {
				m <<= 4
				if wild && (c == 'x' || c == 'X') {
					m |= 0xf
				}
			}
			if wild {
				pair = strings.NewReplacer("x", "0", "X", "0").Replace(pair)
			}
			if len(pair) == 1 {
				pair = "0" + pair
			}
			b, err := hex.DecodeString(pair)
			if err != nil {
				return nil, nil, false
			}
			data, mask = append(data, b[0]), append(mask, m)
		}
	}
	return data, mask, len(data) > 0
}

func setReplyLength(what string, put func(c *checker, n int)) setter {
	return number(0, 65535, "UDP_CHECK "+what+" length {value} not valid - must be between 0 & 65535", func(l *loader, v int64) { put(l.ck, int(v)) })
}

func (l *loader) realName() string { return lb.EndpointName(l.vs.Protocol, l.rs.Addr) }

func setBFDName(l *loader, s *stmt) {
	c := l.ck
	if c.gone {
		return
	}
	say := func(format string) {
		l.bad(s, 1, "(%s) BFD_CHECK - "+format, l.realName())
		c.gone = true
	}
	name, known := s.text(1), false
	for _, b := range l.cfg.BFDs {
		known = known || b.Name == name && b.Checker
	}
	switch {
	case len(s.words) != 2:
		say("No or too many names specified - skipping checker")
	case !known:
		say("BFD " + name + " not configured")
	case c.BFD != "":
		say("BFD " + name + " already specified as " + c.BFD)
	default:
		for _, o := range l.rs.bfds {
			if o == name {
				say("RS already monitoring " + name)
				return
			}
		}
		c.BFD = name
	}
}

func endBFDCheck(l *loader) {
	c := l.ck
	switch {
	case c.gone:
	case c.BFD == "":
		l.warn(l.at.arg(0), "no-name", "("+l.realName()+") No name has been specified for BFD_CHECKER - skipping").Expected = "name NAME in the block"
		c.gone = true
	default:
		l.rs.bfds = append(l.rs.bfds, c.BFD)
	}
	l.keepCheck()
}

func setCheckFile(l *loader, s *stmt) {
	if _, ok := findFile(l, s.text(1)); !ok {
		l.bad(s, 1, "track_file %s not found", s.text(1)).Hint = "define it above with track_file"
		return
	}
	l.ck.TrackFile = s.text(1)
}

func setFileWeight(l *loader, s *stmt) {
	v, ok := l.signed(s, 1, -2147483647, 2147483647, "weight for track file must be in [-2147483647..2147483647] inclusive. Ignoring...")
	if !ok {
		return
	}
	reverse := false
	if len(s.words) > 2 {
		switch w := s.text(2); w {
		case "reverse":
			reverse = true
		case "noreverse":
		default:
			l.bad(s, 2, "unknown track file weight option %s - ignoring", w)
			return
		}
	}
	l.ck.Weight, l.ck.Reverse, l.ck.nameSet = int(v), reverse, true
}

func endFileCheck(l *loader) {
	c := l.ck
	if c.TrackFile == "" {
		l.warn(l.at.arg(0), "no-file", "FILE_CHECK has no track_file specified - ignoring").Expected = "track_file NAME in the block"
		c.gone = true
	} else if f, _ := findFile(l, c.TrackFile); !c.nameSet {
		c.Weight, c.Reverse = f.Weight, f.Reverse
	}
	l.keepCheck()
}

// beginHost and endHost are the host block of SMTP_CHECK, out of use.
func beginHost(l *loader, s *stmt) {
	h := &checker{timing: noTiming(), place: place{s.file, s.words[0]}, outer: l.ck}
	h.Kind = "host"
	l.ck = h
}

func endHost(l *loader) {
	h := l.ck
	if l.ck = h.outer; !h.linkLocal(l) {
		l.ck.hosts = append(l.ck.hosts, h)
	}
}

func endSMTP(l *loader) {
	if l.ck.Helo == "" {
		l.ck.Helo = "smtpchecker.keepalived.org"
	}
	endConnecting(l)
}

// defaults are keepalived's for a kind of check. The warm-up is the interval unless set.
func (c *checker) defaults() timing {
	d := timing{retry: 1, rise: 1, delayBeforeRetry: time.Second, warmup: -1, connect: 5 * time.Second, interval: time.Minute}
	switch c.Kind {
	case "HTTP_GET", "SSL_GET":
		d.delayBeforeRetry = 3 * time.Second
	case "DNS_CHECK":
		d.retry, d.delayBeforeRetry = 3, -1
	case "MISC_CHECK":
		d.retry = 0
	}
	return d
}

// settle resolves what the checker takes from its real server, its service and keepalived's defaults. to is the real
// server as the file has it, before a port that does not fit was reset.
func (c *checker) settle(v *service, r *realServer, to netip.AddrPort) HealthCheck {
	t := c.timing.or(r.timing).or(v.timing).or(c.defaults())
	out := c.HealthCheck
	out.Retry, out.DelayBeforeRetry, out.Warmup = int(t.retry), t.delayBeforeRetry, t.warmup
	out.ConnectTimeout, out.DelayLoop = t.connect, t.interval
	out.Rise, out.Jitter = int(t.rise), int(t.jitter)
	if t.warmup < 0 {
		out.Warmup = t.interval
	}
	if t.delayBeforeRetry < 0 {
		out.DelayBeforeRetry = t.interval
	}
	if c.ip.IsValid() {
		to = netip.AddrPortFrom(c.ip, to.Port())
	}
	if c.port != 0 {
		to = netip.AddrPortFrom(to.Addr(), c.port)
	}
	out.Target = to
	if c.bind.IsValid() || c.bport != 0 {
		out.Bind = netip.AddrPortFrom(c.bindAddr(to), c.bport)
	}
	out.Alpha = first(v.Alpha, r.alpha, c.alpha)
	if c.Kind == "FILE_CHECK" {
		out.Alpha = false
	}
	return out
}

// bindAddr is the address to bind to; with a port alone, the unspecified one of the target's family.
func (c *checker) bindAddr(to netip.AddrPort) netip.Addr {
	switch {
	case c.bind.IsValid():
		return c.bind
	case to.Addr().Is6():
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// first gives the most particular setting there is.
func first(base bool, more ...*bool) bool {
	for _, m := range more {
		if m != nil {
			base = *m
		}
	}
	return base
}

// endpointOf names a real server as keepalived does.
func (v *service) endpointOf(r *realServer) string { return lb.EndpointName(v.Protocol, r.Addr) }
