package vm

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// The servers that misbehave. A schedule is by the number of the check that a director makes, so that it is the same for both
// whatever the moment; the last entry goes on for ever. Only a port that is closed, which sees no checks, is so for a time,
// which ends between two checks.

const goodPage = "all is well\n"

// scheduleOfMisc are exit statuses: 0 is the configured weight, above 1 a weight plus 2.
const scheduleOfMisc = "0 5 5 0 1 1 1 0 2 0"

// scheduleOfSlow has runs that take too long.
const scheduleOfSlow = "0 slow 0 slow slow slow 0 1 0"

// closing is how long a port is closed after so many connections.
type closing struct {
	after int
	for_  time.Duration
}

var (
	pages = map[string][]string{
		"10.0.0.12:80": {"200", "200", "200", "200", "503", "503", "503", "200", "200", "200", "nothing", "nothing", "200"},
		"10.0.0.81:80": {"200", "200", "200", "200", "bad", "bad", "200", "200", "200", "404", "404", "200"},
		"10.0.0.21:80": {"200", "404", "200", "200", "bad", "bad", "200", "200", "200", "200", "500", "500", "500", "200"},
	}
	secured = map[string][]string{
		"10.0.0.61:443": {"200", "200", "503", "200", "clear", "clear", "200", "200", "nothing", "nothing", "200"},
		"10.0.0.64:443": {"200", "mute", "mute", "200", "200", "cut", "cut", "200", "200", "hang", "hang", "200"},
	}
	ports = map[string][]closing{
		"10.0.0.11:80":   {{2, 14500 * time.Millisecond}, {3, 1500 * time.Millisecond}},
		"10.0.0.22:80":   {{0, 5500 * time.Millisecond}, {2, 5500 * time.Millisecond}},
		"10.0.0.41:5353": {{5, 4500 * time.Millisecond}},
	}
	greetings = []string{"220", "220", "554", "554", "554", "220", "250", "250", "220"}
	codes     = []byte{0, 0, 2, 0, 0, 3, 3, 3, 0}
	resolved  = []string{"yes", "", "yes", "", "", "", "yes"}
	replies   = []string{"\x0a", "\x0a", "\x01", "\x0a", "", "", "\x0a"}
)

// turn is the n-th entry of a schedule.
func turn[T any](schedule []T, n int) T { return schedule[min(n, len(schedule)-1)] }

// serve starts all servers in the namespace of its thread.
func (d *director) serve(t *testing.T) error {
	for at, schedule := range pages {
		if err := d.accept(t, at, func(n int, c net.Conn) { answerPage(c, turn(schedule, n)) }); err != nil {
			return err
		}
	}
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	for at, schedule := range secured {
		if err := d.accept(t, at, func(n int, c net.Conn) { answerSecured(c, certificate, turn(schedule, n)) }); err != nil {
			return err
		}
	}
	if err := d.answer(t, "10.0.0.43:53", func(n int, ask []byte) []byte {
		if turn(resolved, n) == "" {
			return nil
		}
		ask[2] |= 0x80
		return ask
	}); err != nil {
		return err
	}
	if err := d.hold(t); err != nil {
		return err
	}
	if err := d.accept(t, "10.0.0.31:25", func(n int, c net.Conn) { greet(c, turn(greetings, n)) }); err != nil {
		return err
	}
	if err := d.accept(t, "10.0.0.250:25", func(_ int, c net.Conn) { d.receive(c) }); err != nil {
		return err
	}
	for at, schedule := range ports {
		go func() { _ = in(d.name, func() error { return d.openAndClose(at, schedule) }) }()
	}
	if err := d.answer(t, "10.0.0.41:53", func(n int, ask []byte) []byte {
		ask[2] |= 0x80
		ask[3] = turn(codes, n)
		return ask
	}); err != nil {
		return err
	}
	return d.answer(t, "10.0.0.42:53", func(n int, _ []byte) []byte { return []byte(turn(replies, n)) })
}

// accept serves connections, each with its number.
func (d *director) accept(t *testing.T, at string, serve func(n int, c net.Conn)) error {
	ln, err := net.Listen("tcp4", at)
	if err != nil {
		return err
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for n := 0; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(n, c)
			}()
		}
	}()
	return nil
}

// answer serves datagrams, each with its number; an empty answer is none.
func (d *director) answer(t *testing.T, at string, to func(n int, ask []byte) []byte) error {
	pc, err := net.ListenPacket("udp4", at)
	if err != nil {
		return err
	}
	t.Cleanup(func() { pc.Close() })
	go func() {
		buf := make([]byte, 4096)
		for n := 0; ; n++ {
			size, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if b := to(n, buf[:size]); len(b) > 0 {
				_, _ = pc.WriteTo(b, from)
			}
		}
	}()
	return nil
}

// openAndClose is a port that is closed after some connections for some time.
func (d *director) openAndClose(at string, schedule []closing) error {
	for {
		if len(schedule) > 0 && schedule[0].after == 0 {
			time.Sleep(schedule[0].for_)
			schedule = schedule[1:]
		}
		ln, err := net.Listen("tcp4", at)
		if err != nil {
			return err
		}
		for n := 0; len(schedule) == 0 || n < schedule[0].after; n++ {
			c, err := ln.Accept()
			if err != nil {
				return err
			}
			c.Close()
		}
		ln.Close()
		schedule[0].after = 0
	}
}

func answerPage(c net.Conn, how string) {
	for in := bufio.NewScanner(c); in.Scan() && in.Text() != ""; {
		continue // all of it: a close with something unread is a reset
	}
	body := goodPage
	switch how {
	case "nothing":
		return
	case "bad":
		how, body = "200", "all is lost\n"
	}
	fmt.Fprintf(c, "HTTP/1.0 %s x\r\nContent-Length: %d\r\n\r\n%s", how, len(body), body)
}

// answerSecured is answerPage over TLS. clear: it speaks without TLS; mute: not at all; hang: nothing comes after the request; cut:
// the connection ends there, and TLS does not.
func answerSecured(c net.Conn, certificate tls.Certificate, how string) {
	switch how {
	case "clear":
		_, _ = c.Read(make([]byte, 4096))
		fmt.Fprint(c, "HTTP/1.0 400 x\r\n\r\n")
		return
	case "mute":
		_, _ = io.Copy(io.Discard, c)
		return
	}
	secure := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{certificate}})
	switch how {
	case "hang":
		_, _ = io.Copy(io.Discard, secure)
	case "cut":
		answerPage(secure, "nothing")
	default:
		answerPage(secure, how)
		_ = secure.Close()
	}
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, err
}

// greet is a mail server: how is its banner, or 250 for a good one that then does not like the HELO.
func greet(c net.Conn, how string) {
	banner, hello := how, "250"
	if how == "250" {
		banner, hello = "220", "504"
	}
	fmt.Fprintf(c, "%s mail\r\n", banner)
	for in := bufio.NewScanner(c); in.Scan(); {
		if strings.HasPrefix(in.Text(), "QUIT") {
			fmt.Fprint(c, "221 bye\r\n")
			return
		}
		fmt.Fprintf(c, "%s hello\r\n", hello)
	}
}

// receive takes a mail and notes its subject and text.
func (d *director) receive(c net.Conn) {
	fmt.Fprint(c, "220 relay\r\n")
	subject, body, data, text := "", "", false, false
	for in := bufio.NewScanner(c); in.Scan(); {
		line := in.Text()
		switch {
		case data && line == ".":
			d.note("MAIL", subject+": "+body)
			data = false
			fmt.Fprint(c, "250 taken\r\n")
		case data && strings.HasPrefix(line, "Subject: "):
			subject = line
		case data && line == "":
			text = true
		case data && text:
			body += strings.TrimSpace(line)
		case data:
		case line == "DATA":
			data = true
			fmt.Fprint(c, "354 go on\r\n")
		case line == "QUIT":
			fmt.Fprint(c, "221 bye\r\n")
			return
		default:
			fmt.Fprint(c, "250 good\r\n")
		}
	}
}
