// Package mail sends alerts to a mail relay: messages as keepalived writes them, the dialogue of RFC 5321 with STARTTLS
// (RFC 3207) and AUTH (RFC 4954), and a queue that waits for a relay that is away. It does not know what the alerts are
// about: internal/daemon/tell_mail.go does.
//
// Whatever a relay answers, and however slowly, costs bounded time and memory: a reply has at most maxReply bytes and
// comes within Server.Timeout, a dialogue within a fixed number of replies, a queue holds at most its limit.
package mail

import (
	"fmt"
	"strings"
	"time"
)

// Message is one alert. It is plain text.
type Message struct {
	From    string   // as the header has it: "a@b" or "Name <a@b>"
	To      []string // likewise, in order
	Subject string
	Body    string
	Date    time.Time // of the Date header: of the event, not of the delivery
}

// Bytes is what is sent after DATA, the final dot included.
//
// keepalived: header fields in this order, the body, an empty line; the agent is named so that filters written for its
// mails go on working.
func (m Message) Bytes() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "Date: %s\r\n", m.Date.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	to := make([]string, len(m.To))
	for i, a := range m.To {
		to[i] = oneLine(a)
	}
	fmt.Fprintf(&b, "From: %s\r\nSubject: %s\r\nX-Mailer: Keepalived\r\nTo: %s\r\n\r\n", oneLine(m.From), oneLine(m.Subject), strings.Join(to, ", "))
	for line := range strings.SplitSeq(m.Body, "\n") {
		// RFC 5321 §4.5.2: "Before sending a line of mail text, the SMTP client checks the first character of the line. If
		// it is a period, one additional period is inserted at the beginning of the line."
		if strings.HasPrefix(line, ".") {
			b.WriteByte('.')
		}
		b.WriteString(strings.TrimRight(line, "\r"))
		b.WriteString("\r\n")
	}
	b.WriteString("\r\n.\r\n")
	return []byte(b.String())
}

// oneLine keeps a value from beginning a further header or command.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// Envelope is the bare address of "Name <a@b>" or "a@b".
//
// keepalived: puts the whole text between the angle brackets of MAIL FROM, which relays refuse when it has a name.
func Envelope(addr string) string {
	addr = strings.TrimSpace(oneLine(addr))
	if i := strings.LastIndexByte(addr, '<'); i >= 0 && strings.HasSuffix(addr, ">") {
		addr = addr[i+1 : len(addr)-1]
	}
	return strings.Trim(addr, " <>")
}
