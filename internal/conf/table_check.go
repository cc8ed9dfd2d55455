package conf

import "time"

// realChecks are the checkers; all of a real server's must pass.
var realChecks = append([]keyword{
	works("TCP_CHECK", "", "", "Connects by TCP.", beginCheck("TCP_CHECK", true)).with(tcpBlock, endConnecting),
	performed("HTTP_GET", "Asks for pages over HTTP.", true, httpBlock, endHTTP),
	performed("SSL_GET", "Asks for pages over HTTPS.", true, httpBlock, endHTTP),
	performed("SMTP_CHECK", "Greets a mail server.", true, smtpBlock, endSMTP),
	performed("DNS_CHECK", "Asks a name server.", true, dnsBlock, endDNS),
	performed("MISC_CHECK", "Runs a command.", false, miscBlock, endMisc),
	performed("PING_CHECK", "Sends an ICMP echo.", true, pingBlock, endConnecting),
	performed("UDP_CHECK", "Sends a datagram.", true, udpBlock, endUDP),
	performed("BFD_CHECK", "Follows a BFD session.", false, bfdCheckBlock, endBFDCheck),
	performed("FILE_CHECK", "Follows a file.", false, fileBlock, endFileCheck),
}, talkChecks...)

// performed is a checker that is performed.
func performed(name, text string, connects bool, b *block, leave func(*loader)) keyword {
	return row(Works, name, "", "", text).begin(beginCheck(name, connects)).with(b, leave)
}

// checkRows are those that checkers have in common; row makes them of the effect that the checker has.
func checkRows(row func(name, args, def, text string, set setter) keyword, connects bool) []keyword {
	var out []keyword
	if connects {
		out = []keyword{
			row("connect_ip", "ADDR", "the real server's", "Address to connect to.", setConnectIP),
			row("connect_port", "1..65535", "the real server's", "Port to connect to.",
				number(1, 65535, "Invalid checker connect_port '{value}'", func(l *loader, v int64) { l.ck.port = uint16(v) })),
			row("connect_timeout", "SECS", "the real server's, 5", "Time to connect.",
				seconds(1, micros32, "connect_timeout {value} invalid - ignoring", func(l *loader, v time.Duration) { l.ck.connect = v })),
			row("bindto", "ADDR", "", "Address to connect from.", setBind),
			row("bind_port", "1..65535", "", "Port to connect from.",
				number(1, 65535, "Invalid checker bind_port '{value}'", func(l *loader, v int64) { l.ck.bport = uint16(v) })),
			row("bind_if", "IF", "", "Interface to connect through.", setBindIf),
			row("fwmark", "N", "0", "Mark of the packets.",
				number(0, 1<<32-1, "Invalid fwmark connection value '{value}'", func(l *loader, v int64) { l.ck.Mark = uint32(v) })),
		}
	}
	return join(out, paceRows(func(l *loader) *timing { return &l.ck.timing }), []keyword{
		row("retry", "N", "the real server's", "Further attempts before a failure counts.", setCheckRetry),
		row("delay_before_retry", "SECS", "the real server's", "Time before a further attempt.",
			timer(0, "Invalid delay_before_retry connection value '{value}'", func(l *loader, v time.Duration) { l.ck.delayBeforeRetry = v })),
		row("warmup", "SECS", "delay_loop", "The first check is at a random time within this.",
			timer(0, "Invalid warmup connection value '{value}'", func(l *loader, v time.Duration) { l.ck.warmup = v })),
		row("delay_loop", "SECS", "the real server's", "Time between checks.",
			timer(1, "delay_loop '{value}' is invalid - ignoring", func(l *loader, v time.Duration) { l.ck.interval = v })),
		row("alpha", "[BOOL]", "the real server's", "Down until this check succeeded.",
			boolean("Invalid alpha parameter {value}", func(l *loader, v bool) { l.ck.alpha = &v })),
		row("log_all_failures", "[BOOL]", "checker_log_all_failures", "Log every failure, not only changes.",
			boolean("Invalid log_all_failures parameter {value}", func(l *loader, v bool) { l.ck.LogAllFailures = v }))})
}

var tcpBlock = &block{name: "TCP_CHECK", rows: append(checkRows(works, true),
	works("nb_get_retry", "N", "", "A common mistake for retry.", retryByOldName).since24())}

var pingBlock = &block{name: "PING_CHECK", rows: checkRows(works, true)}

var smtpBlock = &block{name: "SMTP_CHECK", rows: append(checkRows(works, true),
	row(Works, "helo_name", "STRING", "", "Argument of HELO.").begin(word(func(l *loader, v string) { l.ck.Helo = v })),
	row(Works, "host", "", "", "Where to connect; out of use.").begin(beginHost).with(hostBlock, endHost))}

var hostBlock = &block{name: "host", rows: checkRows(works, true)}

var dnsBlock = &block{name: "DNS_CHECK", rows: append(checkRows(works, true),
	row(Works, "type", "TYPE", "SOA", "Record type: A NS CNAME SOA MX TXT AAAA RRSIG DNSKEY.").begin(setDNSType),
	row(Works, "name", "STRING", ".", "Name to ask for.").begin(setDNSName))}

var miscBlock = &block{name: "MISC_CHECK", rows: append(checkRows(works, false),
	row(Works, "misc_path", "COMMAND", "", "The command to run.").command().begin(setMiscPath),
	row(Works, "misc_timeout", "SECS", "delay_loop", "Time after which it is ended.").
		begin(number(0, 4294, "Invalid misc_timeout value '{value}'", func(l *loader, v int64) { l.ck.Timeout = time.Duration(v) * time.Second })),
	row(Works, "misc_dynamic", "", "off", "The exit code sets the weight.").begin(flag(func(l *loader) { l.ck.Dynamic = true })),
	row(Works, "user", "[USER [GROUP]]", "script_user", "Who runs it.").begin(setMiscUser))}

var udpBlock = &block{name: "UDP_CHECK", rows: append(checkRows(works, true),
	row(Works, "payload", "HEX", "", "What to send.").begin(setHex("payload", false, func(c *checker, data, _ []byte) { c.Payload = data })),
	row(Works, "require_reply", "[HEX]", "", "What must come back; x stands for any digit.").
		begin(setHex("reply", true, func(c *checker, data, mask []byte) { c.Reply, c.ReplyMask = data, mask })),
	row(Works, "min_reply_length", "0..65535", "0", "Shortest answer.").begin(setReplyLength("min", func(c *checker, n int) { c.MinReply = n })),
	row(Works, "max_reply_length", "0..65535", "255", "Longest answer.").begin(setReplyLength("max", func(c *checker, n int) { c.MaxReply = n })))}

var bfdCheckBlock = &block{name: "BFD_CHECK", rows: []keyword{
	row(Works, "name", "[NAME]", "", "The session.").begin(setBFDName),
	row(Works, "alpha", "[BOOL]", "the real server's", "Down until the session is up.").begin(boolean("Invalid alpha parameter {value}", func(l *loader, v bool) { l.ck.alpha = &v })),
}}

var fileBlock = &block{name: "FILE_CHECK", rows: []keyword{
	row(Works, "track_file", "NAME", "", "The file.").begin(setCheckFile),
	row(Works, "weight", "N [reverse]", "1", "Factor of the number.").begin(setFileWeight),
}}

var httpBlock = &block{name: "HTTP_GET", rows: append(checkRows(works, true),
	row(Works, "nb_get_retry", "[N]", "", "Another name of retry; out of use.").begin(setNbGetRetry),
	row(Works, "url", "", "", "A page to ask for.").begin(beginURL).with(urlBlock, endURL),
	row(Works, "virtualhost", "STRING", "the real server's", "Host header.").begin(word(func(l *loader, v string) { l.ck.HTTP.VirtualHost = v })),
	row(Works, "http_protocol", "1.0|1.0C|1.1|2", "1.0", "Version of the protocol; 2 is an extension of vipd.").begin(setHTTPProtocol),
	row(Works, "enable_sni", "[BOOL]", "off", "Send the host's name in the TLS handshake.").
		begin(boolean("Invalid enable_sni parameter {value}", func(l *loader, v bool) { l.ck.HTTP.SNI = v })),
	row(Works, "sni_name", "NAME", "", "Send this name in the TLS handshake.").since24().begin(word(func(l *loader, v string) { l.ck.HTTP.SNIName = v })),
	row(Works, "fast_recovery", "[BOOL]", "off", "Up again after the first good page.").
		begin(boolean("Invalid fast_recovery parameter {value}", func(l *loader, v bool) { l.ck.HTTP.FastRecovery = v })),
	row(Works, "tls_compliant", "", "off", "Insist on a proper end of TLS.").since24().begin(flag(func(l *loader) { l.ck.HTTP.TLSCompliant = true })),
	tlsRows[0], tlsRows[1], tlsRows[2])}

var urlBlock = &block{name: "url", rows: []keyword{
	row(Works, "path", "STRING", "/", "What to ask for.").begin(word(func(l *loader, v string) { l.url.Path, l.pathSet = v, true })),
	row(Works, "digest", "MD5", "", "Digest of the answer.").begin(setDigest),
	row(Works, "status_code", "[CODES]", "200-299", "Status codes that are good.").begin(setCodes),
	row(Works, "virtualhost", "STRING", "the checker's", "Host header.").begin(word(func(l *loader, v string) { l.url.VirtualHost = v })),
	row(Works, "regex", "STRING", "", "What the answer must match.").only("as in PCRE2, without its verbs; in the first MiB of a page").command().begin(setRegex),
	row(Works, "regex_no_match", "", "off", "It must not match.").begin(flag(func(l *loader) { l.url.RegexNot = true })),
	row(Works, "regex_options", "[OPTIONS]", "", "Options of the expression.").begin(setRegexOptions),
	inert("regex_stack", "[START MAX]", "", "Memory of the expression.", "its time is bounded instead").begin(setRegexStack),
	row(Works, "regex_min_offset", "[N]", "", "Where a match may begin.").begin(setOffset(func(u *URL, n int) { u.RegexMin = n })),
	row(Works, "regex_max_offset", "[N]", "", "Where a match must have begun.").begin(setOffset(func(u *URL, n int) { u.RegexMax = n + 1 })),
	row(Works, "tls_compliant", "[SSL]", "off", "Insist on a proper end of TLS.").since24().begin(flag(func(l *loader) { l.url.TLSCompliant = true })),
}}
