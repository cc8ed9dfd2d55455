package mail

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Encryption is how a relay is spoken to.
type Encryption string

// Ways to encrypt. keepalived: has none of them.
const (
	Plain    Encryption = "off"
	StartTLS Encryption = "starttls" // it must be offered and succeed, RFC 3207
	TLS      Encryption = "tls"      // from the first byte, RFC 8314
)

// Server is a relay.
type Server struct {
	Host       string // address or name
	Port       uint16 // If zero, 25.
	Helo       string // If empty, localhost.
	Timeout    time.Duration
	Encryption Encryption // If empty, Plain.
	Insecure   bool       // take any certificate
	User       string     // If empty, no AUTH.
	Password   string

	dial func(ctx context.Context, network, addr string) (net.Conn, error) // tests' own; nil: the network
}

// String is how keepalived's log names a relay: [ADDRESS]:PORT.
func (s Server) String() string { return fmt.Sprintf("[%s]:%d", s.Host, cmp.Or(s.Port, 25)) }

// Error is why a message, or a copy of it, was not taken.
type Error struct {
	Step string // CONNECT, (E)SMTP, HELO, STARTTLS, AUTH, MAIL, RCPT, DATA, BODY
	Code int    // the relay's; 0: it did not answer, or not by SMTP
	Err  error
}

func (e *Error) Error() string {
	if e.Code != 0 {
		return fmt.Sprintf("%s: %d %s", e.Step, e.Code, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.Step, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Temporary tells whether it may do better later. RFC 5321 §4.2.1: "5yz Permanent Negative Completion reply … The SMTP
// client SHOULD NOT repeat the exact request".
func (e *Error) Temporary() bool { return e.Code < 500 && !errors.Is(e.Err, errNeverAgain) }

// errNeverAgain marks what another try cannot mend: it is the configuration.
var errNeverAgain = errors.New("")

// Refusal is a recipient that the relay did not take.
type Refusal struct {
	To  string
	Err *Error
}

// Send delivers m, once, and returns the recipients that were refused while others were taken. The error is an *Error;
// then nobody got it.
func Send(ctx context.Context, s Server, m Message) ([]Refusal, error) {
	d, err := open(ctx, s)
	if err != nil {
		return nil, err
	}
	defer d.conn.Close()
	stop := context.AfterFunc(ctx, func() { d.conn.Close() })
	defer stop()
	if err := d.greet(s); err != nil {
		return nil, err
	}
	refused, err := d.deliver(m)
	if err == nil {
		_, _ = d.command("QUIT", "QUIT") // the message is theirs already
	}
	return refused, err
}

// dialogue is one connection to a relay.
type dialogue struct {
	conn    net.Conn
	r       *bufio.Reader
	timeout time.Duration
}

func open(ctx context.Context, s Server) (*dialogue, error) {
	timeout := cmp.Or(s.Timeout, 30*time.Second)
	dial := s.dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: timeout}).DialContext
	}
	conn, err := dial(ctx, "tcp", net.JoinHostPort(s.Host, strconv.Itoa(int(cmp.Or(s.Port, 25)))))
	if err != nil {
		return nil, &Error{Step: "CONNECT", Err: err}
	}
	d := &dialogue{timeout: timeout}
	d.use(conn)
	if s.Encryption == TLS {
		if err := d.encrypt(s); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return d, nil
}

func (d *dialogue) use(conn net.Conn) { d.conn, d.r = conn, bufio.NewReader(conn) }

// encrypt begins TLS. What a relay, or somebody between, sent before it in the clear is forgotten with the old reader.
func (d *dialogue) encrypt(s Server) error {
	if d.r.Buffered() > 0 {
		return &Error{Step: "STARTTLS", Err: errors.New("there is more than the reply to STARTTLS")}
	}
	_ = d.conn.SetDeadline(time.Now().Add(d.timeout))
	conn := tls.Client(d.conn, &tls.Config{ServerName: s.Host, InsecureSkipVerify: s.Insecure, MinVersion: tls.VersionTLS12})
	if err := conn.Handshake(); err != nil {
		return &Error{Step: "STARTTLS", Err: err}
	}
	d.use(conn)
	return nil
}

// greet goes as far as a relay wants it before it takes mail.
func (d *dialogue) greet(s Server) error {
	if _, err := d.reply("(E)SMTP", 220); err != nil {
		return err
	}
	helo := cmp.Or(oneLine(s.Helo), "localhost")
	if s.Encryption != StartTLS && s.User == "" {
		_, err := d.ask("HELO", 250, "HELO %s", helo) // keepalived: never EHLO
		return err
	}
	offers, err := d.ask("HELO", 250, "EHLO %s", helo)
	if err != nil {
		return err
	}
	if s.Encryption == StartTLS {
		if _, ok := offers.has("STARTTLS"); !ok {
			return &Error{Step: "STARTTLS", Err: errors.New("the relay does not offer it")}
		}
		if _, err := d.ask("STARTTLS", 220, "STARTTLS"); err != nil {
			return err
		}
		if err := d.encrypt(s); err != nil {
			return err
		}
		// RFC 3207 §4.2: "The client MUST discard any knowledge obtained from the server, such as the list of SMTP service
		// extensions, which was not obtained from the TLS negotiation itself."
		if offers, err = d.ask("HELO", 250, "EHLO %s", helo); err != nil {
			return err
		}
	}
	return d.authenticate(s, offers)
}

// authenticate says who we are, by PLAIN (RFC 4616) or LOGIN, where nobody on the way can read it.
func (d *dialogue) authenticate(s Server, offers Reply) error {
	if s.User == "" {
		return nil
	}
	if _, encrypted := d.conn.(*tls.Conn); !encrypted && !loopback(s.Host) {
		return &Error{Step: "AUTH", Err: fmt.Errorf("%wa password is not sent unencrypted", errNeverAgain)}
	}
	words, _ := offers.has("AUTH")
	b64 := base64.StdEncoding.EncodeToString
	switch {
	case contains(words, "PLAIN"):
		_, err := d.ask("AUTH", 235, "AUTH PLAIN %s", b64([]byte("\x00"+s.User+"\x00"+s.Password)))
		return err
	case contains(words, "LOGIN"):
		if _, err := d.ask("AUTH", 334, "AUTH LOGIN"); err != nil {
			return err
		}
		if _, err := d.ask("AUTH", 334, "%s", b64([]byte(s.User))); err != nil {
			return err
		}
		_, err := d.ask("AUTH", 235, "%s", b64([]byte(s.Password)))
		return err
	}
	return &Error{Step: "AUTH", Err: fmt.Errorf("the relay offers %q, wanted is PLAIN or LOGIN", strings.Join(words, " "))}
}

func contains(words []string, want string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, want) })
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// deliver hands over the message.
//
// keepalived: one refused recipient keeps the mail from all others.
func (d *dialogue) deliver(m Message) (refused []Refusal, err error) {
	if _, err := d.ask("MAIL", 250, "MAIL FROM:<%s>", Envelope(m.From)); err != nil {
		return nil, err
	}
	for _, to := range m.To {
		_, err := d.ask("RCPT", 250, "RCPT TO:<%s>", Envelope(to))
		var no *Error
		switch {
		case errors.As(err, &no) && no.Code != 0:
			refused = append(refused, Refusal{to, no})
		case err != nil:
			return nil, err
		}
	}
	if len(refused) == len(m.To) && len(refused) > 0 {
		return nil, worst(refused)
	}
	if _, err := d.ask("DATA", 354, "DATA"); err != nil {
		return nil, err
	}
	if err := d.write(m.Bytes()); err != nil {
		return nil, &Error{Step: "BODY", Err: err}
	}
	_, err = d.reply("BODY", 250)
	return refused, err
}

// worst is the refusal that leaves most hope: a temporary one, if there is one.
func worst(refused []Refusal) *Error {
	for _, r := range refused {
		if r.Err.Temporary() {
			return r.Err
		}
	}
	return refused[0].Err
}

// ask sends a command and wants one code in reply.
func (d *dialogue) ask(step string, want int, format string, args ...any) (Reply, error) {
	if err := d.write([]byte(fmt.Sprintf(format, args...) + "\r\n")); err != nil {
		return Reply{}, &Error{Step: step, Err: err}
	}
	return d.reply(step, want)
}

// command is ask for whatever the reply is.
func (d *dialogue) command(step, line string) (Reply, error) { return d.ask(step, 221, "%s", line) }

func (d *dialogue) write(p []byte) error {
	_ = d.conn.SetDeadline(time.Now().Add(d.timeout))
	_, err := d.conn.Write(p)
	return err
}

// reply reads a reply within the timeout, all of it: a relay that sends a byte now and then gains nothing.
func (d *dialogue) reply(step string, want int) (Reply, error) {
	_ = d.conn.SetDeadline(time.Now().Add(d.timeout))
	rep, err := ReadReply(d.r)
	switch {
	case err != nil:
		return rep, &Error{Step: step, Err: err}
	case rep.Code != want && !(step == "RCPT" && rep.Code == 251): // "User not local; will forward": taken, §4.2.3
		return rep, &Error{Step: step, Code: rep.Code, Err: errors.New(clip(strings.Join(rep.Text, " ")))}
	}
	return rep, nil
}
