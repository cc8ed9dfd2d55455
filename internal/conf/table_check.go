package conf

import (
	"math"
	"net/netip"
	"time"
)

// realChecks are the checkers; all of a real server's must pass.
var realChecks = []keyword{
	works("TCP_CHECK", "", "", "Connects by TCP.", beginCheck).with(tcpBlock, endCheck),
	other("HTTP_GET", "Asks for pages over HTTP.", httpBlock),
	other("SSL_GET", "Asks for pages over HTTPS.", httpBlock),
	other("SMTP_CHECK", "Greets a mail server.", smtpBlock),
	other("DNS_CHECK", "Asks a name server.", dnsBlock),
	other("MISC_CHECK", "Runs a command.", miscBlock),
	other("PING_CHECK", "Sends an ICMP echo.", pingBlock),
	other("UDP_CHECK", "Sends a datagram.", udpBlock),
	other("BFD_CHECK", "Follows a BFD session.", bfdCheckBlock),
	other("FILE_CHECK", "Follows a file.", fileBlock),
}

// other is a checker that is recognised and not performed.
func other(name, text string, b *block) keyword {
	k := row(Planned, name, "", "", text).with(b, nil)
	k.set, k.own = otherCheck, true
	return k
}

var tcpBlock = &block{name: "TCP_CHECK", rows: []keyword{
	works("connect_ip", "ADDR", "the real server's", "Address to connect to.", setCheckAddr("connect_ip", func(c *checker, a netip.Addr) { c.ip = a })),
	works("connect_port", "1..65535", "the real server's", "Port to connect to.",
		number(1, 65535, "Invalid checker connect_port '{value}'", func(l *loader, v int64) { l.ck.port = uint16(v) })),
	works("connect_timeout", "SECS", "the real server's, 5", "Time to connect.",
		seconds(1, micros32, "connect_timeout {value} invalid - ignoring", func(l *loader, v time.Duration) { l.ck.connect = v })),
	works("bindto", "ADDR", "", "Address to connect from.", setCheckAddr("bindto", func(c *checker, a netip.Addr) { c.bind = a })),
	works("bind_port", "1..65535", "", "Port to connect from.",
		number(1, 65535, "Invalid checker bind_port '{value}'", func(l *loader, v int64) { l.ck.bport = uint16(v) })),
	works("bind_if", "IF", "", "Interface to connect through.", ifName(func(l *loader, v string) { l.ck.BindIf = v })),
	works("fwmark", "N", "0", "Mark of the packets.",
		number(0, math.MaxUint32, "Invalid fwmark connection value '{value}'", func(l *loader, v int64) { l.ck.Mark = uint32(v) })),
	works("retry", "N", "the real server's, 1", "Further attempts before a failure counts.", setCheckRetry),
	works("nb_get_retry", "N", "", "A common mistake for retry.", retryByOldName),
	works("delay_before_retry", "SECS", "the real server's, 1", "Time before a further attempt.",
		seconds(0, micros32, "", func(l *loader, v time.Duration) { l.ck.delayBeforeRetry = v })),
	works("warmup", "SECS", "delay_loop", "The first check is at a random time within this.",
		seconds(0, micros32, "", func(l *loader, v time.Duration) { l.ck.warmup = v })),
	works("delay_loop", "SECS", "the real server's", "Time between checks.",
		seconds(1, micros63, "delay_loop '{value}' is invalid - ignoring", func(l *loader, v time.Duration) { l.ck.interval = v })),
	works("alpha", "[BOOL]", "the real server's", "Down until this check succeeded.",
		boolean("Invalid alpha parameter {value}", func(l *loader, v bool) { l.ck.alpha = &v })),
	works("log_all_failures", "[BOOL]", "checker_log_all_failures", "Log every failure, not only changes.",
		boolean("Invalid log_all_failures parameter {value}", func(l *loader, v bool) { l.ck.LogAllFailures = v })),
}}

// connectRows are those of a checker that connects; stepRows are those of any other that runs by itself.
func connectRows() []keyword {
	return append([]keyword{
		planned("connect_ip", "ADDR", "the real server's", "Address to connect to."),
		planned("connect_port", "1..65535", "the real server's", "Port to connect to."),
		planned("connect_timeout", "SECS", "the real server's, 5", "Time to connect."),
		planned("bindto", "ADDR", "", "Address to connect from."),
		planned("bind_port", "1..65535", "", "Port to connect from."),
		planned("bind_if", "IF", "", "Interface to connect through."),
		planned("fwmark", "N", "0", "Mark of the packets."),
	}, stepRows()...)
}

func stepRows() []keyword {
	return []keyword{
		planned("retry", "N", "the real server's", "Further attempts before a failure counts."),
		planned("delay_before_retry", "SECS", "the real server's", "Time before a further attempt."),
		planned("warmup", "SECS", "delay_loop", "The first check is at a random time within this."),
		planned("delay_loop", "SECS", "the real server's", "Time between checks."),
		planned("alpha", "[BOOL]", "the real server's", "Down until this check succeeded."),
		planned("log_all_failures", "[BOOL]", "checker_log_all_failures", "Log every failure."),
	}
}

var pingBlock = &block{name: "PING_CHECK", rows: connectRows()}

var smtpBlock = &block{name: "SMTP_CHECK", rows: append(connectRows(),
	planned("helo_name", "STRING", "", "Argument of HELO."),
	planned("host", "", "", "Where to connect; out of use.").with(hostBlock, nil))}

var hostBlock = &block{name: "host", rows: connectRows()}

var dnsBlock = &block{name: "DNS_CHECK", rows: append(connectRows(),
	planned("type", "TYPE", "SOA", "Record type: A NS CNAME SOA MX TXT AAAA RRSIG DNSKEY."),
	planned("name", "STRING", ".", "Name to ask for."))}

var miscBlock = &block{name: "MISC_CHECK", rows: append(stepRows(),
	planned("misc_path", "COMMAND", "", "The command to run.").command(),
	planned("misc_timeout", "SECS", "delay_loop", "Time after which it is ended."),
	planned("misc_dynamic", "", "off", "The exit code sets the weight."),
	planned("user", "USER [GROUP]", "script_user", "Who runs it."))}

var udpBlock = &block{name: "UDP_CHECK", rows: append(connectRows(),
	planned("payload", "HEX", "", "What to send."),
	planned("require_reply", "[HEX]", "", "What must come back; x stands for any digit."),
	planned("min_reply_length", "0..65535", "0", "Shortest answer."),
	planned("max_reply_length", "0..65535", "255", "Longest answer."))}

var bfdCheckBlock = &block{name: "BFD_CHECK", rows: []keyword{
	planned("name", "NAME", "", "The session."),
	planned("alpha", "[BOOL]", "the real server's", "Down until the session is up."),
}}

var fileBlock = &block{name: "FILE_CHECK", rows: []keyword{
	planned("track_file", "NAME", "", "The file."),
	planned("weight", "N [reverse]", "1", "Factor of the number."),
}}

var httpBlock = &block{name: "HTTP_GET", rows: append(connectRows(),
	planned("nb_get_retry", "N", "", "Another name of retry; out of use."),
	planned("url", "", "", "A page to ask for.").with(urlBlock, nil),
	planned("virtualhost", "STRING", "the real server's", "Host header."),
	planned("http_protocol", "1.0|1.0C|1.1", "1.0", "Version of the protocol."),
	planned("enable_sni", "[BOOL]", "off", "Send the host's name in the TLS handshake."),
	planned("sni_name", "NAME", "", "Send this name in the TLS handshake."),
	planned("fast_recovery", "[BOOL]", "off", "Up again after the first good page."),
	planned("tls_compliant", "", "off", "Insist on a proper end of TLS."))}

var urlBlock = &block{name: "url", rows: []keyword{
	planned("path", "STRING", "/", "What to ask for."),
	planned("digest", "MD5", "", "Digest of the answer."),
	planned("status_code", "CODES", "200-299", "Status codes that are good."),
	planned("virtualhost", "STRING", "the checker's", "Host header."),
	planned("regex", "STRING", "", "What the answer must match."),
	planned("regex_no_match", "", "off", "It must not match."),
	planned("regex_options", "OPTIONS", "", "Options of the expression."),
	planned("regex_stack", "START MAX", "", "Memory of the expression."),
	planned("regex_min_offset", "N", "", "Where a match may begin."),
	planned("regex_max_offset", "N", "", "Where a match must have begun."),
	planned("tls_compliant", "[SSL]", "off", "Insist on a proper end of TLS."),
}}
