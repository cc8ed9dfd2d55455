package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/mail"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"time"
)

// Mail is a notification that the lab's mail server has taken.
type Mail struct {
	At       time.Time `json:"at"`
	Director string    `json:"director"` // the host that sent it
	Subject  string    `json:"subject"`
	Text     string    `json:"text"`
}

// ReadMails reads what the mail server has taken so far, the oldest first. Without a mail server there is none.
func (l *Lab) ReadMails() ([]Mail, error) {
	data, err := os.ReadFile(l.MailBox())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	mails := parseMails(data)
	for i := range mails {
		mails[i].Director = l.hostAt(mails[i].Director)
	}
	return mails, nil
}

// hostAt names the host of an address; what is none stays as it is.
func (l *Lab) hostAt(addr string) string {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return addr
	}
	for _, c := range l.Cables {
		for _, e := range []End{c.A, c.B} {
			for _, p := range e.Addrs {
				if p.Addr() == a {
					return e.Host
				}
			}
		}
	}
	return addr
}

// received finds who brought a mail, in the first Received line: the one that our mail server wrote.
var received = regexp.MustCompile(`\[([0-9.]+)\]`)

// parseMails reads a file in the form mboxrd (RFC 4155): each mail begins with a line "From ", and one that is being written
// may be incomplete. What is no mail is left out.
func parseMails(data []byte) []Mail {
	var out []Mail
	for _, part := range bytes.Split(append([]byte("\n"), data...), []byte("\nFrom ")) {
		_, text, ok := bytes.Cut(part, []byte("\n"))
		if !ok {
			continue
		}
		msg, err := mail.ReadMessage(bytes.NewReader(text))
		if err != nil {
			continue
		}
		m := Mail{Subject: msg.Header.Get("Subject")}
		if m.At, err = msg.Header.Date(); err != nil {
			continue
		}
		if by := received.FindStringSubmatch(msg.Header.Get("Received")); by != nil {
			m.Director = by[1]
		}
		var body bytes.Buffer
		if _, err := body.ReadFrom(msg.Body); err != nil {
			continue
		}
		m.Text = strings.TrimSpace(body.String())
		out = append(out, m)
	}
	return out
}

// expectedMails are what the scene must have told: who became master, and the real server that went and came.
func (p *player) expectedMails() []string {
	lost := p.lab.Reals[fallen].String()
	return []string{"Entering MASTER state", "Realserver [" + lost, "- DOWN", "- UP"}
}

// collectMails puts the mails into the report, when those that were expected have arrived.
func (p *player) collectMails(ctx context.Context) error {
	if p.lab.Forum == "" {
		return nil
	}
	var missing error
	for end := time.Now().Add(grace); ; {
		mails, err := p.lab.ReadMails()
		if err != nil {
			return err
		}
		p.locked(func() { p.report.Mails = mails })
		if missing = p.missingMail(mails); missing == nil || time.Now().After(end) {
			break
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	if missing != nil {
		p.locked(func() { p.report.Why = append(p.report.Why, missing.Error()) })
	}
	return nil
}

func (p *player) missingMail(mails []Mail) error {
	all := ""
	for _, m := range mails {
		all += m.Subject + "\n"
	}
	for _, want := range p.expectedMails() {
		if !strings.Contains(all, want) {
			return fmt.Errorf("no mail says %q", want)
		}
	}
	return nil
}
