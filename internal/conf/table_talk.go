package conf

import (
	"time"

	"vipd/internal/health"
)

// The checkers and settings of checks that keepalived does not have.

const byVipd = " An extension of vipd."

// conversing is a checker of this program's own.
func conversing(name, text string, more ...keyword) keyword {
	b := &block{name: name, rows: append(checkRows(works, true), more...)}
	return row(Works, name, "", "", text+byVipd).begin(beginCheck(name, true)).with(b, endConnecting).extension()
}

// talkWord is a word that a conversation says.
func talkWord(name, args, def, text string, at func(t *health.Talk) *string) keyword {
	return works(name, args, def, text+byVipd, word(func(l *loader, v string) { *at(l.ck.Talk) = v })).extension()
}

var talkChecks = []keyword{
	conversing("REDIS_CHECK", "Sends PING to a Redis server.",
		talkWord("password", "STRING", "", "Log in with it first.", func(t *health.Talk) *string { return &t.Password })),
	conversing("MEMCACHED_CHECK", "Asks a memcached server for its version."),
	conversing("MYSQL_CHECK", "Reads the greeting of a MySQL or MariaDB server.",
		talkWord("user", "NAME", "", "Log in as this user, without a password; else the server counts the checks as failed connections (max_connect_errors).", func(t *health.Talk) *string { return &t.User })),
	conversing("POSTGRESQL_CHECK", "Begins a session with a PostgreSQL server, as pg_isready does.",
		talkWord("user", "NAME", "postgres", "As whom; it need not exist.", func(t *health.Talk) *string { return &t.User }),
		talkWord("database", "NAME", "the user's", "Of which database.", func(t *health.Talk) *string { return &t.Database })),
	conversing("FTP_CHECK", "Greets an FTP server."),
	conversing("GRPC_CHECK", "Asks the gRPC health service.",
		talkWord("service", "NAME", "the whole server", "Of which service.", func(t *health.Talk) *string { return &t.Service }),
		talkWord("virtualhost", "NAME", "the address and port", "The host that HTTP/2 and TLS ask for.", func(t *health.Talk) *string { return &t.Name }),
		works("tls", "[BOOL]", "off", "Speak TLS."+byVipd, boolean("Invalid tls parameter {value}", func(l *loader, v bool) { l.ck.Talk.TLS = v })).extension(),
		tlsRows[0], tlsRows[1], tlsRows[2]),
	conversing("AGENT_CHECK", "Asks an agent on the real server for its weight in % of the configured one, and for its state: up, down, fail, stopped, drain, maint, ready. "+
		"One that does not answer changes nothing. The protocol is HAProxy's.",
		talkWord("send", "STRING", "", "What is said first, without an end of line.", func(t *health.Talk) *string { return &t.Send })),
}

// paceRows are those that a service, a real server and a checker have.
func paceRows(at func(l *loader) *timing) []keyword {
	return []keyword{
		works("rise", "1..255", "1", "Successes in a row that bring a real server up."+byVipd,
			number(1, 255, "rise {value} is not from 1 to 255 - ignoring", func(l *loader, v int64) { at(l).rise = v })).extension(),
		works("fall", "1..255", "retry + 1", "Failures in a row that take a real server out; another way to write retry."+byVipd,
			number(1, 255, "fall {value} is not from 1 to 255 - ignoring", func(l *loader, v int64) { at(l).retry = v - 1 })).extension(),
		works("jitter", "0..50", "0", "Percent by which the time between checks varies either way."+byVipd,
			number(0, 50, "jitter {value} is not from 0 to 50 - ignoring", func(l *loader, v int64) { at(l).jitter = v })).extension(),
	}
}

func slowStart(put func(l *loader, v time.Duration)) keyword {
	return works("slow_start", "SECS", "off", "Time over which the weight of a real server grows when it comes back; a weight of 1 cannot."+byVipd,
		timer(0, "slow_start {value} is invalid - ignoring", put)).extension()
}

var maxEject = works("max_eject", "1..100", "100", "Percent of its real servers that checks take out at most: when all fail at once, this director may be what is cut off."+byVipd,
	number(1, 100, "max_eject {value} is not from 1 to 100 - ignoring", func(l *loader, v int64) { l.vs.MaxEject = int(v) })).extension()

// tlsRows are what SSL_GET and GRPC_CHECK ask of a certificate.
var tlsRows = []keyword{
	works("tls_verify", "[BOOL]", "off", "The certificate must be signed by a trusted authority, in time, and for the host that is asked for."+byVipd,
		boolean("Invalid tls_verify parameter {value}", func(l *loader, v bool) { l.verify().Chain = v })).extension(),
	works("tls_ca", "FILE", "the system's", "Authorities that are trusted."+byVipd, word(func(l *loader, v string) { l.verify().CA = v })).extension(),
	works("tls_expiry", "DAYS", "off", "Say in the log, once a day, and in vipd status when the certificate ends within so many days."+byVipd,
		number(1, 3650, "tls_expiry {value} is not from 1 to 3650 - ignoring", func(l *loader, v int64) { l.verify().Expiry = time.Duration(v) * 24 * time.Hour })).extension(),
}

func (l *loader) verify() *health.Verify {
	at := &l.ck.HTTP.Verify
	if l.ck.Talk != nil {
		at = &l.ck.Talk.Verify
	}
	if *at == nil {
		*at = &health.Verify{}
	}
	return *at
}
