package conf

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

func addEmail(l *loader, s *stmt) {
	for i := range s.words {
		l.cfg.Global.NotificationEmail = append(l.cfg.Global.NotificationEmail, s.text(i))
	}
}

func endMail(l *loader) {
	if len(l.cfg.Global.NotificationEmail) == 0 {
		l.warn(l.at.arg(0), "empty-block", "Warning - empty notification_email block")
	}
}

func setSMTP(l *loader, s *stmt) {
	host, port := s.text(1), s.text(2)
	if len(s.words) < 3 {
		port = "25"
	}
	n, bad := whole(port, 1, 65535, false, false)
	if bad != "" && !strings.ContainsAny(host, "-/") {
		l.bad(s, 2, "%s", bad) // keepalived: it tries the name twice, as an address and as a name
		if l.pass == passAll {
			l.diags.drop(l.diags.list[len(l.diags.list)-1])
		}
	}
	_, isAddr := plain(host)
	if _, old := netmask(host); old {
		isAddr = true // inet_aton(3) takes fewer numbers too
	}
	switch {
	case bad != "":
		l.badValue(s, 2, bad, "Invalid smtp server "+host+" "+port)
	case !isAddr && l.host != nil && l.host.Resolve != nil && !l.host.Resolve(host):
		l.bad(s, 1, "Invalid smtp server %s %s", host, port)
	default:
		l.cfg.Global.SMTPServer, l.cfg.Global.SMTPPort = host, uint16(n)
	}
}

func setSMTPTimeout(l *loader, s *stmt) {
	v, ok := l.integer(s, 1, 0, 4294, "smtp_connect_timeout '{value}' must be in [0, 4294] - ignoring")
	if !ok {
		return
	}
	if v == 0 {
		l.bad(s, 1, "smtp_conect_timeout must be greater than 0, setting to 1")
		v = 1
	}
	l.cfg.Global.SMTPConnectTimeout = time.Duration(v) * time.Second
}

// Encryptions are the words of smtp_tls.
var Encryptions = []string{"off", "starttls", "tls"}

// setSMTPTLS reads smtp_tls off|starttls|tls [insecure].
func setSMTPTLS(l *loader, s *stmt) {
	g := &l.cfg.Global
	if !slices.Contains(Encryptions, s.text(1)) {
		l.bad(s, 1, "Unknown smtp_tls %s - ignoring", s.text(1)).Expected = strings.Join(Encryptions, ", ")
		return
	}
	if len(s.words) > 2 && s.text(2) != "insecure" {
		l.bad(s, 2, "Unknown smtp_tls option %s - ignoring", s.text(2)).Expected = "insecure: take any certificate"
		return
	}
	g.SMTPTLS, g.SMTPTLSInsecure = s.text(1), len(s.words) > 2
}

// setSMTPAuth reads smtp_auth USER PASSWORD.
func setSMTPAuth(l *loader, s *stmt) {
	if len(s.words) < 3 {
		l.bad(s, 1, "smtp_auth needs a user and a password - ignoring")
		return
	}
	l.cfg.Global.SMTPUser, l.cfg.Global.SMTPPassword = s.text(1), s.text(2)
	l.authed = place{s.file, s.arg(0)}
}

// unsafeMail says that smtp_auth keeps mails from being sent.
func (l *loader) unsafeMail() {
	g := &l.cfg.Global
	addr, err := netip.ParseAddr(g.SMTPServer)
	here := g.SMTPServer == "localhost" || err == nil && addr.IsLoopback()
	if g.SMTPUser == "" || g.SMTPServer == "" || here || g.SMTPTLS == "starttls" || g.SMTPTLS == "tls" {
		return
	}
	d := l.after(Warning, "unencrypted-password", l.authed, "smtp_auth without smtp_tls: a password is not sent unencrypted, so no mail is sent")
	d.class, d.Hint = classOurs, "add to global_defs: smtp_tls starttls"
}
