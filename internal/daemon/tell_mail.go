package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"strings"
	"time"

	"vipd/internal/conf"
	"vipd/internal/mail"
)

// mailNames are what mails say of this host.
type mailNames struct{ router, from, helo string }

// namesFor fills in what the file does not say.
func namesFor(g conf.Global) mailNames {
	n := mailNames{router: g.RouterID, from: g.EmailFrom, helo: g.SMTPHelo}
	if g.SMTPServer == "" || len(g.NotificationEmail) == 0 || n.router != "" && n.from != "" && n.helo != "" {
		return n // nobody asks, or everything is said
	}
	local := localName()
	n.router, n.helo = cmp.Or(n.router, local), cmp.Or(n.helo, local)
	if n.from == "" {
		n.from = "keepalived@" + local
		if u, err := user.Current(); err == nil {
			n.from = u.Username + "@" + local
		}
	}
	return n
}

// nameLimit bounds the question for this host's full name.
const nameLimit = time.Second

// localName is this host's name, with its domain if the resolver knows it. keepalived: the same.
func localName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	if strings.Contains(name, ".") {
		return name
	}
	ctx, cancel := context.WithTimeout(context.Background(), nameLimit)
	defer cancel()
	if full, err := net.DefaultResolver.LookupCNAME(ctx, name); err == nil && full != "" {
		return strings.TrimSuffix(full, ".")
	}
	return name
}

// mailAbout queues a mail, if there is somebody to send one to. t.mu is held.
func (t *teller) mailAbout(subject, body string) {
	g := t.global
	if len(g.NotificationEmail) == 0 || g.SMTPServer == "" {
		return
	}
	now := time.Now()
	t.post.Put(now, t.relay(), mail.Message{From: t.names.from, To: g.NotificationEmail, Subject: "[" + t.names.router + "] " + subject, Body: body, Date: now})
}

func (t *teller) relay() mail.Server {
	g := t.global
	return mail.Server{Host: g.SMTPServer, Port: g.SMTPPort, Helo: t.names.helo, Timeout: cmp.Or(g.SMTPConnectTimeout, 30*time.Second),
		Encryption: mail.Encryption(g.SMTPTLS), Insecure: g.SMTPTLSInsecure, User: g.SMTPUser, Password: g.SMTPPassword}
}

// mailResult says what became of a mail, where keepalived has words for it in those.
func (t *teller) mailResult(r mail.Result) {
	for _, no := range r.Refused {
		t.events.Warn(fmt.Sprintf("Error processing RCPT cmd on SMTP server %s. SMTP status code = %d: %s is refused: %s", r.Server, no.Err.Code, no.To, no.Err.Err))
	}
	if r.Err == nil {
		t.events.Debug("SMTP alert successfully sent.")
		return
	}
	text := mailFailure(r)
	switch {
	case r.Lost:
		t.events.Error(text + "; the mail \"" + r.Message.Subject + "\" is given up")
	default:
		t.events.Warn(text + "; it is tried again in " + r.Again.String())
	}
}

func mailFailure(r mail.Result) string {
	var e *mail.Error
	var timeout net.Error
	if !errors.As(r.Err, &e) {
		return fmt.Sprintf("SMTP server %s: %v", r.Server, r.Err)
	}
	late := errors.As(e.Err, &timeout) && timeout.Timeout()
	switch {
	case e.Code != 0:
		return fmt.Sprintf("Error processing %s cmd on SMTP server %s. SMTP status code = %d (%s)", e.Step, r.Server, e.Code, e.Err)
	case e.Step == "CONNECT" && late:
		return fmt.Sprintf("Timeout opening connection to remote SMTP server %s.", r.Server)
	case e.Step == "CONNECT":
		return fmt.Sprintf("SMTP connection ERROR to %s. (%v)", r.Server, e.Err)
	case late:
		return fmt.Sprintf("Timeout reading data to remote SMTP server %s.", r.Server)
	}
	return fmt.Sprintf("SMTP server %s: %v", r.Server, e)
}
