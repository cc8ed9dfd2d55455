package health

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// ByHand is the command that repeats a check in a shell, as near as the usual tools come to it; empty where none does. As
// who a MISC_CHECK runs stands in front of its command, with timeout(1): as is that part, such as "setpriv … --".
//
// No tool sends packets by the way of a client's (check_path): for such a check it is the command that asks the virtual address
// on the real server itself, which tells whether it answers there.
func (c Checker) ByHand(as string) string {
	if c.Way != nil {
		there := c
		there.Way, there.Bind, there.BindIf, there.Mark = nil, netip.AddrPort{}, "", 0
		there.Target = netip.AddrPortFrom(c.Way.VIP, c.Target.Port())
		return typed("ssh", c.Target.Addr().String(), there.ByHand(as))
	}
	if make, ok := byHand[c.Kind]; ok {
		return make(c, as)
	}
	return ""
}

// byHand has the commands of the kinds. A new kind is a row here.
var byHand = map[Kind]func(c Checker, as string) string{
	TCPCheck: func(c Checker, _ string) string {
		if c.Mark != 0 || c.BindIf != "" {
			return typed("socat", "-u", "/dev/null", c.socat("TCP"))
		}
		return typed(append(append([]string{"nc", "-z", "-v"}, c.nc()...), c.place()...)...)
	},
	HTTPGet: httpByHand, SSLGet: httpByHand,
	SMTPCheck: func(c Checker, _ string) string {
		helo := cmp.Or(c.Helo, "$(hostname)")
		talk := "(sleep 1; printf 'HELO %s\\r\\n' " + shell(helo) + "; sleep 1; printf 'QUIT\\r\\n'; sleep 1) | "
		if c.Helo == "" {
			talk = "(sleep 1; printf 'HELO %s\\r\\n' \"$(hostname)\"; sleep 1; printf 'QUIT\\r\\n'; sleep 1) | "
		}
		return talk + c.stream("TCP")
	},
	DNSCheck: dnsByHand,
	UDPCheck: func(c Checker, _ string) string {
		payload := "head -c 32 /dev/urandom"
		if c.UDP != nil && len(c.UDP.Payload) > 0 {
			payload = "printf '" + octal(c.UDP.Payload) + "'"
		}
		return "(" + payload + "; sleep " + whole(c.ConnectTimeout) + ") | " + c.stream("UDP") + " | od -c"
	},
	PingCheck: func(c Checker, _ string) string {
		all := []string{"ping", "-n", "-c", "1", "-W", whole(c.ConnectTimeout)}
		if c.Mark != 0 {
			all = append(all, "-m", strconv.FormatUint(uint64(c.Mark), 10))
		}
		if c.BindIf != "" {
			all = append(all, "-I", c.BindIf)
		}
		if c.Bind.Addr().IsValid() {
			all = append(all, "-I", c.Bind.Addr().String())
		}
		return typed(append(all, c.Target.Addr().String())...)
	},
	MiscCheck: func(c Checker, as string) string {
		if c.Script == nil {
			return ""
		}
		limit := c.Script.Timeout
		if limit <= 0 {
			limit = c.DelayLoop
		}
		return strings.TrimSpace(as + " " + typed(append([]string{"timeout", whole(limit)}, c.Script.Args...)...) + "; echo exit status $?")
	},
	FileCheck: func(c Checker, _ string) string {
		if c.File == nil {
			return ""
		}
		return typed("cat", c.File.Path)
	},
	RedisCheck: func(c Checker, _ string) string {
		if c.Talk != nil && c.Talk.Password != "" { // it is not shown: the shell has it, or says nothing
			return `printf 'AUTH %s\r\nPING\r\nQUIT\r\n' "$password" | ` + c.stream("TCP")
		}
		return `printf 'PING\r\nQUIT\r\n' | ` + c.stream("TCP")
	},
	MemcachedCheck: func(c Checker, _ string) string { return `printf 'version\r\nquit\r\n' | ` + c.stream("TCP") },
	FTPCheck:       func(c Checker, _ string) string { return `(sleep 1; printf 'QUIT\r\n') | ` + c.stream("TCP") },
	AgentCheck: func(c Checker, _ string) string {
		if c.Talk == nil || c.Talk.Send == "" {
			return c.stream("TCP") + " </dev/null"
		}
		return "printf '" + octal([]byte(c.Talk.Send)) + "' | " + c.stream("TCP")
	},
	MySQLCheck: func(c Checker, _ string) string {
		if c.Talk == nil || c.Talk.User == "" {
			return c.stream("TCP") + " </dev/null | od -c"
		}
		all := append([]string{"mysql", "--no-defaults", "--protocol=TCP"}, c.at("--host=", "--port=")...)
		if c.Bind.Addr().IsValid() {
			all = append(all, "--bind-address="+c.Bind.Addr().String())
		}
		return typed(append(all, "--user="+c.Talk.User, "--skip-password", "--connect-timeout="+whole(c.ConnectTimeout), "-e", "SELECT 1")...)
	},
	PostgreSQLCheck: func(c Checker, _ string) string {
		all := append([]string{"pg_isready"}, c.at("--host=", "--port=")...)
		talk := Talk{}
		if c.Talk != nil {
			talk = *c.Talk
		}
		all = append(all, "--username="+cmp.Or(talk.User, "postgres"))
		if talk.Database != "" {
			all = append(all, "--dbname="+talk.Database)
		}
		return typed(append(all, "--timeout="+whole(c.ConnectTimeout))...)
	},
	GRPCCheck: grpcByHand,
}

// grpcByHand is the command of grpc_health_probe, which asks as we do; grpcurl wants a server that describes itself.
func grpcByHand(c Checker, _ string) string {
	limit := whole(c.ConnectTimeout) + "s"
	all := []string{"grpc_health_probe", "-addr=" + c.Target.String(), "-connect-timeout=" + limit, "-rpc-timeout=" + limit}
	if c.Talk == nil {
		return typed(all...)
	}
	if c.Talk.Service != "" {
		all = append(all, "-service="+c.Talk.Service)
	}
	if c.Talk.TLS {
		all = append(all, "-tls")
		switch v := c.Talk.Verify; {
		case v == nil || !v.Chain:
			all = append(all, "-tls-no-verify")
		case v.CA != "":
			all = append(all, "-tls-ca-cert="+v.CA)
		}
		if c.Talk.Name != "" {
			all = append(all, "-tls-server-name="+c.Talk.Name)
		}
	}
	return typed(all...)
}

// httpByHand is curl's command for the page that is asked for.
func httpByHand(c Checker, _ string) string {
	if c.HTTP == nil || c.URL >= len(c.HTTP.URLs) {
		return ""
	}
	u := c.HTTP.URLs[c.URL]
	limit := whole(c.ConnectTimeout)
	all := []string{"curl", "-sS", "-g", "--path-as-is", "-A", "KeepAliveClient", "--noproxy", "*", "--connect-timeout", limit, "--max-time", whole(4 * c.ConnectTimeout)}
	all = append(all, c.curlSource()...)
	version := "--http1.0"
	if c.HTTP.Protocol == "1.1" {
		version = "--http1.1"
	}
	all = append(all, version)
	if c.HTTP.Protocol == "1.1" || c.HTTP.Protocol == "1.0C" {
		all = append(all, "-H", "Connection: close")
	}
	host := cmp.Or(u.VirtualHost, c.HTTP.VirtualHost)
	all = append(all, "-H", "Host: "+cmp.Or(host, c.Target.String()))
	scheme, at := "http", c.Target.String()
	if c.HTTP.TLS {
		// keepalived: certificates of real servers are not verified.
		scheme = "https"
		all = append(all, "-k", "--no-alpn", "--tlsv1.0", "--ciphers", "DEFAULT@SECLEVEL=0")
		if name := c.serverName(host); name != "" { // curl takes the SNI from the URL
			at = fmt.Sprintf("%s:%d", name, c.Target.Port())
			all = append(all, "--connect-to", "::"+c.Target.String())
		}
		all = append(all, c.HTTP.Client.curl()...)
	}
	url, end := scheme+"://"+at+u.Path, ""
	switch {
	case u.Digest != "":
		end = " | md5sum"
	case u.Regex != "":
		all = append(all, "-i")
	default:
		all = append(all, "-o", "/dev/null", "-w", `%{http_code}\n`)
	}
	return typed(append(all, url)...) + end
}

// serverName is what TLS names the server; empty: nothing.
func (c Checker) serverName(host string) string {
	if c.HTTP.SNIName != "" || c.HTTP.SNI {
		return cmp.Or(c.HTTP.SNIName, host)
	}
	return ""
}

// curl are the options for a certificate of ours. A password is not shown.
func (t *TLS) curl() (all []string) {
	if t == nil {
		return nil
	}
	for _, o := range []struct{ option, file string }{{"--cert", t.Certificate}, {"--key", t.Key}, {"--cacert", t.CA}} {
		if o.file != "" {
			all = append(all, o.option, o.file)
		}
	}
	return all
}

// curlSource says where a connection comes from. A mark curl cannot set.
func (c Checker) curlSource() (all []string) {
	switch {
	case c.BindIf != "" && c.Bind.Addr().IsValid():
		all = append(all, "--interface", "ifhost!"+c.BindIf+"!"+c.Bind.Addr().String())
	case c.BindIf != "":
		all = append(all, "--interface", "if!"+c.BindIf)
	case c.Bind.Addr().IsValid():
		all = append(all, "--interface", "host!"+c.Bind.Addr().String())
	}
	if p := c.Bind.Port(); p != 0 {
		all = append(all, "--local-port", strconv.Itoa(int(p)))
	}
	return all
}

func dnsByHand(c Checker, _ string) string {
	ask := DNS{}
	if c.DNS != nil {
		ask = *c.DNS
	}
	all := []string{"dig", "@" + c.Target.Addr().String(), "-p", strconv.Itoa(int(c.Target.Port())), "+noedns", "+tries=1", "+timeout=" + whole(c.ConnectTimeout)}
	switch source := c.Bind; {
	case source.Addr().IsValid() && source.Port() != 0:
		all = append(all, "-b", fmt.Sprintf("%s#%d", source.Addr(), source.Port()))
	case source.Addr().IsValid():
		all = append(all, "-b", source.Addr().String())
	}
	return typed(append(all, "-t", cmp.Or(ask.Type, "SOA"), "-q", cmp.Or(ask.Name, "."))...)
}

// stream is a pipe to the target: nc, or socat where what it cannot do is asked for.
func (c Checker) stream(protocol string) string {
	if c.Mark != 0 || c.BindIf != "" {
		return typed("socat", "-", c.socat(protocol))
	}
	all := append([]string{"nc"}, c.nc()...)
	if protocol == "UDP" {
		all = append(all, "-u")
	}
	return typed(append(all, c.place()...)...)
}

// nc are the options of a connection.
func (c Checker) nc() []string {
	all := []string{"-w", whole(c.ConnectTimeout)}
	if c.Bind.Addr().IsValid() {
		all = append(all, "-s", c.Bind.Addr().String())
	}
	if p := c.Bind.Port(); p != 0 {
		all = append(all, "-p", strconv.Itoa(int(p)))
	}
	return all
}

func (c Checker) place() []string {
	return []string{c.Target.Addr().String(), strconv.Itoa(int(c.Target.Port()))}
}

// at is the place by a tool's options for host and port.
func (c Checker) at(host, port string) []string {
	return []string{host + c.Target.Addr().String(), port + strconv.Itoa(int(c.Target.Port()))}
}

// socat is its address of the target, with the options that nc does not have.
func (c Checker) socat(protocol string) string {
	family := "4"
	if c.Target.Addr().Is6() {
		family = "6"
	}
	at := protocol + family + ":" + c.Target.String()
	if protocol == "TCP" {
		at += ",connect-timeout=" + whole(c.ConnectTimeout)
	}
	if c.Bind.Addr().IsValid() || c.Bind.Port() != 0 {
		source := c.Bind.Addr()
		if !source.IsValid() {
			source = map[string]netip.Addr{"4": netip.IPv4Unspecified(), "6": netip.IPv6Unspecified()}[family]
		}
		at += ",bind=" + netip.AddrPortFrom(source, c.Bind.Port()).String()
	}
	if c.BindIf != "" {
		at += ",so-bindtodevice=" + c.BindIf
	}
	if c.Mark != 0 {
		at += fmt.Sprintf(",setsockopt-int=1:36:%d", int32(c.Mark)) // SOL_SOCKET, SO_MARK
	}
	return at
}

// whole is a time in seconds, rounded up, as most tools want it.
func whole(d time.Duration) string {
	return strconv.FormatInt(int64(max((d+time.Second-1)/time.Second, 1)), 10)
}

// typed joins arguments so that a shell makes the same of them.
func typed(args ...string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = shell(a)
	}
	return strings.Join(quoted, " ")
}

// shell quotes one word for a POSIX shell where it needs it.
func shell(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@,=+%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// octal writes bytes for printf(1).
func octal(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, `\%03o`, c)
	}
	return s.String()
}

// Expects says in one clause what a check must find.
func (c Checker) Expects() string {
	switch {
	case c.HTTP != nil && c.URL < len(c.HTTP.URLs):
		return c.HTTP.URLs[c.URL].expects()
	case c.UDP != nil && c.UDP.NeedReply:
		return "an answer"
	case c.Kind == UDPCheck:
		return "no ICMP error"
	case c.Kind == DNSCheck:
		return "an answer with RCODE 0"
	case c.Kind == SMTPCheck:
		return "220, and 250 to HELO"
	case c.Kind == PingCheck:
		return "an echo reply"
	case c.Script != nil && c.Script.Dynamic:
		return "exit status 0, or 2 to 255: a weight plus 2"
	case c.Script != nil:
		return "exit status 0"
	case c.File != nil && c.File.Weight != 0:
		return "a number that makes a weight"
	case c.File != nil && c.File.Reverse:
		return "a number that is not 0"
	case c.File != nil:
		return "0, or no file"
	case c.Kind == BFDCheck:
		return "the session " + c.BFD + " to be up"
	case c.Kind == MySQLCheck && c.Talk != nil && c.Talk.User != "":
		return "a login as " + c.Talk.User
	case c.Kind == GRPCCheck && c.Talk != nil && c.Talk.Service != "":
		return "SERVING of " + c.Talk.Service
	}
	return answers[c.Kind]
}

// answers are what the kinds expect whatever they are told.
var answers = map[Kind]string{
	TCPCheck: "a connection", RedisCheck: "+PONG", MemcachedCheck: "VERSION …", FTPCheck: "220", MySQLCheck: "a greeting of protocol 10",
	PostgreSQLCheck: "a question for a password, or readiness", GRPCCheck: "SERVING", AgentCheck: "a line of weight and state",
}

func (u URL) expects() string {
	var codes []string
	for _, r := range u.Codes {
		code := strconv.Itoa(r[0])
		if r[1] != r[0] {
			code += fmt.Sprintf("-%d", r[1])
		}
		codes = append(codes, code)
	}
	text := "status " + cmp.Or(strings.Join(codes, " "), "200-299")
	if u.Digest != "" {
		text += ", digest " + u.Digest
	}
	switch {
	case u.Regex != "" && u.RegexNot:
		text += fmt.Sprintf(", no match of %q", u.Regex)
	case u.Regex != "":
		text += fmt.Sprintf(", a match of %q", u.Regex)
	}
	return text
}
