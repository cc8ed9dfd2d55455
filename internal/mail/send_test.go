package mail

import (
	"bufio"
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// relay answers each command by the first of its answers that has the command's beginning, and notes what was said.
type relay struct {
	greeting string
	answers  [][2]string
	said     []string
}

var polite = [][2]string{{"HELO", "250 hello"}, {"EHLO", "250-hello\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME"}, {"MAIL", "250 ok"}, {"RCPT", "250 ok"},
	{"DATA", "354 go on"}, {"QUIT", "221 bye"}, {"AUTH PLAIN AGEAYg==", "235 ok"}, {".", "250 queued"}}

func (r *relay) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	say := func(s string) { _, _ = c.Write([]byte(s + "\r\n")) }
	say(r.greeting)
	data := false
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		r.said = append(r.said, line)
		if data && line != "." {
			continue
		}
		data = strings.HasPrefix(line, "DATA")
		i := slices.IndexFunc(r.answers, func(a [2]string) bool { return strings.HasPrefix(line, a[0]) })
		if i < 0 {
			say("500 what?")
			continue
		}
		say(r.answers[i][1])
	}
}

// server is a Server whose connections all go to serve.
func server(serve func(net.Conn)) Server {
	return Server{Host: "relay.example", Helo: "me.example", Timeout: 10 * time.Second, dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go serve(theirs)
		return ours, nil
	}}
}

var letter1 = Message{From: "a@b", To: []string{"c@d", "Night <e@f>"}, Subject: "s", Body: "b"}

func TestTheDialogueIsKeepaliveds(t *testing.T) {
	r := &relay{greeting: "220 hi", answers: polite}
	refused, err := Send(t.Context(), server(r.serve), letter1)
	want := []string{"HELO me.example", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "RCPT TO:<e@f>", "DATA"}
	if err != nil || len(refused) != 0 || !slices.Equal(r.said[:5], want) || r.said[len(r.said)-1] != "QUIT" {
		t.Errorf("%v, %v, %q", refused, err, r.said)
	}
}

func TestARefusedRecipientDoesNotKeepTheMailFromTheOthers(t *testing.T) {
	r := &relay{greeting: "220 hi", answers: append([][2]string{{"RCPT TO:<c@d>", "550 who?"}}, polite...)}
	refused, err := Send(t.Context(), server(r.serve), letter1)
	if err != nil || len(refused) != 1 || refused[0].To != "c@d" || refused[0].Err.Temporary() || !slices.Contains(r.said, "Subject: s") {
		t.Errorf("%v, %v, %q", refused, err, r.said)
	}
	r = &relay{greeting: "220 hi", answers: append([][2]string{{"RCPT", "450 later"}}, polite...)}
	var why *Error
	if _, err := Send(t.Context(), server(r.serve), letter1); !errors.As(err, &why) || !why.Temporary() || why.Step != "RCPT" {
		t.Errorf("all refused: %v", err)
	}
}

func TestErrorsSayWhereAndWhetherToTryAgain(t *testing.T) {
	for name, c := range map[string]struct {
		greeting  string
		answers   [][2]string
		step      string
		code      int
		temporary bool
	}{
		"a busy relay":         {"421 busy", polite, "(E)SMTP", 421, true},
		"one that wants no us": {"554 go away", polite, "(E)SMTP", 554, false},
		"no HELO":              {"220 hi", [][2]string{{"HELO", "501 bad name"}}, "HELO", 501, false},
		"no such sender":       {"220 hi", append([][2]string{{"MAIL", "553 no"}}, polite...), "MAIL", 553, false},
		"a full disk":          {"220 hi", append([][2]string{{".", "452 full"}}, polite...), "BODY", 452, true},
		"not SMTP":             {"SSH-2.0-x", polite, "(E)SMTP", 0, true},
	} {
		r := &relay{greeting: c.greeting, answers: c.answers}
		var why *Error
		_, err := Send(t.Context(), server(r.serve), letter1)
		if !errors.As(err, &why) || why.Step != c.step || why.Code != c.code || why.Temporary() != c.temporary {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPasswordGoesOnlyWhereNobodyReadsIt(t *testing.T) {
	r := &relay{greeting: "220 hi", answers: polite}
	s := server(r.serve)
	s.User, s.Password = "a", "b"
	var why *Error
	if _, err := Send(t.Context(), s, letter1); !errors.As(err, &why) || why.Step != "AUTH" || why.Temporary() || len(r.said) != 1 {
		t.Errorf("%v, %q", err, r.said)
	}
	r.said, s.Host = nil, "127.0.0.1"
	if _, err := Send(t.Context(), s, letter1); err != nil || !slices.Contains(r.said, "AUTH PLAIN AGEAYg==") {
		t.Errorf("to this host: %v, %q", err, r.said)
	}
	r.said, s.Encryption = nil, StartTLS
	if _, err := Send(t.Context(), s, letter1); !errors.As(err, &why) || why.Step != "STARTTLS" || len(r.said) != 1 {
		t.Errorf("a relay without STARTTLS: %v, %q", err, r.said)
	}
}

func TestWhatIsInjectedBeforeTLSIsNotTaken(t *testing.T) {
	r := &relay{greeting: "220 hi", answers: [][2]string{{"EHLO", "250-x\r\n250 STARTTLS"}, {"STARTTLS", "220 go\r\n250 AUTH PLAIN"}}}
	s := server(r.serve)
	s.Encryption = StartTLS
	var why *Error
	if _, err := Send(t.Context(), s, letter1); !errors.As(err, &why) || why.Step != "STARTTLS" {
		t.Errorf("%v", err)
	}
}

// TestAHostileRelayCostsBoundedTime: none of these ends by itself.
func TestAHostileRelayCostsBoundedTime(t *testing.T) {
	drip := func(what string) func(net.Conn) {
		return func(c net.Conn) {
			defer c.Close()
			for {
				if _, err := c.Write([]byte(what)); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}
	}
	for name, serve := range map[string]func(net.Conn){
		"silent":         func(c net.Conn) { _, _ = c.Read(make([]byte, 1)); c.Close() },
		"a byte a time":  drip("2"),
		"lines for ever": drip("220-more\r\n"),
		"a flood": func(c net.Conn) {
			defer c.Close()
			for {
				if _, err := c.Write([]byte(strings.Repeat("220-x\r\n", 1000))); err != nil {
					return
				}
			}
		},
		"closes at once": func(c net.Conn) { c.Close() },
	} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			_, err := Send(t.Context(), server(serve), letter1)
			var why *Error
			if took := time.Since(begin); took > 10*time.Second || !errors.As(err, &why) || !why.Temporary() {
				t.Errorf("%s: %v after %s", name, err, took)
			}
			time.Sleep(2 * time.Second) // the relay notices: nobody wakes in a bubble that its test has left
		})
	}
}

func TestAStopEndsADialogue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		begin := time.Now()
		if _, err := Send(ctx, server(func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }), letter1); err == nil || time.Since(begin) != time.Second {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
	})
}
