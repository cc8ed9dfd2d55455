package conf

import (
	"strings"
	"time"
)

// noMail says once that there is none, where somebody asks for it.
func (l *loader) noMail(s *stmt) {
	name := s.text(0)
	if l.mailed || name != "notification_email" && !strings.HasPrefix(name, "smtp_alert") {
		return
	}
	l.mailed = true
	l.notice(s.words[0], "no-mail", name+" is accepted without effect: "+MailWhy).Hint = "let the metrics or the log raise the alarm until then"
}

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
