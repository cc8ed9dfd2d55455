package probe

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vipd/internal/health"
	"vipd/internal/host"
	"vipd/internal/need"
)

func TestAMailServerIsGreeted(t *testing.T) {
	for name, c := range map[string]struct {
		lines []string // what it says: at first, to HELO, to QUIT
		why   string
		said  string
	}{
		"as it should":           {[]string{"220 mail ESMTP\r\n", "250 hello\r\n", "221 bye\r\n"}, "", ""},
		"a banner of many lines": {[]string{"220-mail\r\n220-more\r\n220 ESMTP\r\n", "250-a\r\n250 b\r\n", "221 bye\r\n"}, "", ""},
		"it refuses everybody":   {[]string{"554 no\r\n"}, `it says "554 no\r\n", expected 220`, "Bad greeting banner from server SERVER"},
		"it refuses us":          {[]string{"220 mail\r\n", "550 go away\r\n"}, `it says "550 go away\r\n", expected 250`, "Bad HELO response from server SERVER"},
		"it hangs up":            {[]string{"220 mail\r\n"}, "the connection was closed", "Read failure from server SERVER"},
		"it is no mail server":   {[]string{"HTTP/1.1 400 Bad Request\r\n"}, `it says "HTTP/1.1 400 Bad Request\r\n", expected 220`, "Bad greeting banner from server SERVER"},
		"a line without end":     {[]string{strings.Repeat("x", 10<<10)}, "a line without end", "Read failure from server SERVER"},
		"lines without end":      {[]string{strings.Repeat("220-x\r\n", 1000)}, "a line without end", "Read failure from server SERVER"},
	} {
		t.Run(name, func(t *testing.T) {
			heard := make(chan string, 10)
			to := serving(t, func(conn net.Conn) {
				in := bufio.NewReader(conn)
				for i, line := range c.lines {
					if i > 0 {
						got, _ := in.ReadString('\n')
						heard <- got
					}
					conn.Write([]byte(line))
				}
				in.ReadString('\n') // what is not read when it closes would make a reset of the close
			})
			got := Run(t.Context(), health.Checker{Kind: health.SMTPCheck, Target: to, ConnectTimeout: 5 * time.Second, Helo: "lb.example"})
			server := fmt.Sprintf("[%s]:%d", to.Addr(), to.Port())
			if got.Why != c.why || got.OK != (c.why == "") || got.Said != strings.ReplaceAll(c.said, "SERVER", server) {
				t.Errorf("%+v, want %q, %q", got, c.why, c.said)
			}
			if c.why == "" {
				if a, b := <-heard, <-heard; a != "HELO lb.example\r\n" || b != "QUIT\r\n" {
					t.Errorf("it heard %q and %q", a, b)
				}
			}
		})
	}
}

// datagrams runs a server that answers each datagram with what answer makes of it; nil: nothing.
func datagrams(t *testing.T, answer func([]byte) [][]byte) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		for buf := make([]byte, 64<<10); ; {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, b := range answer(buf[:n]) {
				conn.WriteTo(b, from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return netip.MustParseAddrPort(conn.LocalAddr().String())
}

func TestANameServerIsAsked(t *testing.T) {
	header := func(id []byte, flags uint16) []byte {
		return append(binary.BigEndian.AppendUint16(append([]byte{}, id...), flags), make([]byte, 8)...)
	}
	for name, c := range map[string]struct {
		answer func([]byte) [][]byte
		why    string
		said   string
	}{
		"it answers": {func(q []byte) [][]byte { return [][]byte{header(q[:2], 0x8180)} }, "", ""},
		"what is not for us is not": {func(q []byte) [][]byte {
			return [][]byte{{1}, header([]byte{q[0] + 1, 0}, 0x8182), q, header(q[:2], 0x8180)}
		}, "", ""},
		"there is no such name": {func(q []byte) [][]byte { return [][]byte{header(q[:2], 0x8183)} }, "the name server answers NXDOMAIN", "read error occurred. (rcode = 3)"},
		"it refuses":            {func(q []byte) [][]byte { return [][]byte{header(q[:2], 0x8185)} }, "the name server answers REFUSED", "read error occurred. (rcode = 5)"},
		"it is silent":          {func([]byte) [][]byte { return nil }, "no answer within 200ms", "read timeout from socket"},
	} {
		t.Run(name, func(t *testing.T) {
			to := datagrams(t, c.answer)
			got := Run(t.Context(), health.Checker{Kind: health.DNSCheck, Target: to, ConnectTimeout: 200 * time.Millisecond, DNS: &health.DNS{Name: "www.example.", Type: "AAAA"}})
			if got.Why != c.why || got.OK != (c.why == "") || got.Said != c.said {
				t.Errorf("%+v, want %q, %q", got, c.why, c.said)
			}
		})
	}
	q, err := dnsQuestion(0x1234, health.DNS{Name: "www.example", Type: "MX"})
	if want := "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x00\x00\x0f\x00\x01"; err != nil || string(q) != want {
		t.Errorf("question %q, %v", q, err)
	}
	if q, err := dnsQuestion(0, health.DNS{Name: "."}); err != nil || string(q[12:]) != "\x00\x00\x06\x00\x01" {
		t.Errorf("question for the root: %q, %v", q, err)
	}
	if _, err := dnsQuestion(0, health.DNS{Name: strings.Repeat("x", 64)}); err == nil {
		t.Error("a label of 64 bytes is taken")
	}
}

func TestADatagramAndWhatComesBack(t *testing.T) {
	echo := func(b []byte) [][]byte { return [][]byte{append([]byte{}, b...)} }
	silent := func([]byte) [][]byte { return nil }
	for name, c := range map[string]struct {
		answer func([]byte) [][]byte
		udp    *health.UDP
		why    string
	}{
		"silence is good":                   {silent, nil, ""},
		"any answer is good":                {echo, &health.UDP{Payload: []byte("x")}, ""},
		"silence where an answer is wanted": {silent, &health.UDP{Payload: []byte("x"), NeedReply: true, Max: 255}, "no answer within 200ms"},
		"the answer that is wanted":         {echo, &health.UDP{Payload: []byte("ping"), NeedReply: true, Reply: []byte("pi"), Max: 255}, ""},
		"bits that do not matter":           {echo, &health.UDP{Payload: []byte("ping"), NeedReply: true, Reply: []byte("qi"), ReplyMask: []byte{0x0f, 0}, Max: 255}, ""},
		"another answer":                    {echo, &health.UDP{Payload: []byte("ping"), NeedReply: true, Reply: []byte("po"), Max: 255}, "byte 1 of the answer is 0x69, expected 0x6f"},
		"an answer that is too long":        {echo, &health.UDP{Payload: []byte("ping"), NeedReply: true, Reply: []byte("pi"), Max: 3}, "the answer has 4 bytes, expected 0 to 3"},
		"an answer that is too short":       {echo, &health.UDP{Payload: []byte("ping"), NeedReply: true, Reply: []byte("pi"), Min: 5, Max: 9}, "the answer has 4 bytes, expected 5 to 9"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Run(t.Context(), health.Checker{Kind: health.UDPCheck, Target: datagrams(t, c.answer), ConnectTimeout: 200 * time.Millisecond, UDP: c.udp})
			if got.Why != c.why || got.OK != (c.why == "") {
				t.Errorf("%+v, want %q", got, c.why)
			}
		})
	}
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := netip.MustParseAddrPort(closed.LocalAddr().String())
	closed.Close()
	if got := Run(t.Context(), health.Checker{Kind: health.UDPCheck, Target: to, ConnectTimeout: 5 * time.Second}); got.OK || got.Why != "connection refused" {
		t.Errorf("an ICMP error: %+v", got)
	}
}

func TestAHostIsPinged(t *testing.T) {
	need.Root(t)
	for _, addr := range []string{"127.0.0.1", "::1"} {
		if got := Run(t.Context(), health.Checker{Kind: health.PingCheck, Target: netip.AddrPortFrom(netip.MustParseAddr(addr), 0), ConnectTimeout: 5 * time.Second}); !got.OK {
			t.Errorf("%s: %+v", addr, got)
		}
	}
}

func TestNobodyAnswersAPingWithoutARoute(t *testing.T) {
	inEmptyNamespace(t, func() {
		got := Run(t.Context(), health.Checker{Kind: health.PingCheck, Target: netip.MustParseAddrPort("10.9.9.9:0"), ConnectTimeout: time.Second})
		if got.OK || got.Why != "network unreachable" {
			t.Errorf("%+v", got)
		}
	})
}

func TestACommandIsRun(t *testing.T) {
	ready := func(s *health.Script) (host.Command, bool) { return host.Command{Args: s.Args}, s.Args[0] != "no" }
	for name, c := range map[string]struct {
		script health.Script
		want   health.Result
	}{
		"0":                    {health.Script{Args: []string{"/bin/sh", "-c", "exit 0"}}, health.Result{OK: true}},
		"1":                    {health.Script{Args: []string{"/bin/sh", "-c", "echo 'disk full' >&2; exit 1"}}, health.Result{Why: `exit status 1: "disk full"`, Said: "exited with status 1"}},
		"1 of a weight":        {health.Script{Args: []string{"/bin/sh", "-c", "exit 1"}, Dynamic: true}, health.Result{Why: "exit status 1", Said: "exited with status 1"}},
		"12 is a weight of 10": {health.Script{Args: []string{"/bin/sh", "-c", "exit 12"}, Dynamic: true}, health.Result{OK: true, Weight: 10, HasWeight: true}},
		"12 is a failure":      {health.Script{Args: []string{"/bin/sh", "-c", "exit 12"}}, health.Result{Why: "exit status 12", Said: "exited with status 12"}},
		"it takes too long":    {health.Script{Args: []string{"/bin/sh", "-c", "sleep 60 & wait"}, Timeout: 100 * time.Millisecond}, health.Result{Why: "the command took too long", Timeout: true}},
		"it must not run":      {health.Script{Args: []string{"no"}}, health.Result{Inconclusive: true, Why: "the command cannot be run: see the log of the start"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t.Context(), health.Checker{Kind: health.MiscCheck, DelayLoop: time.Minute, Script: &c.script}, ready)
			if got.Took = 0; got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
	if got := Run(t.Context(), health.Checker{Kind: health.MiscCheck, Script: &health.Script{Args: []string{"true"}}}); !got.Inconclusive {
		t.Errorf("without anybody who makes commands: %+v", got)
	}
}

func TestANumberInAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "number")
	for _, c := range []struct {
		text string
		file health.File
		want health.Result
	}{
		{"0\n", health.File{}, health.Result{OK: true}},
		{"3\n", health.File{}, health.Result{Why: path + " has 3"}},
		{"0", health.File{Reverse: true}, health.Result{Why: path + " has 0"}},
		{"-4\n", health.File{Weight: 2}, health.Result{OK: true, Weight: -8, HasWeight: true}},
		{"4", health.File{Weight: 2, Reverse: true}, health.Result{OK: true, Weight: -8, HasWeight: true}},
		{"-2147483648", health.File{Weight: 1}, health.Result{Why: path + " has -2147483648"}},
		{"much", health.File{Weight: 1}, health.Result{Inconclusive: true, Why: path + ` has "much", expected a number`}},
		{"", health.File{Weight: 1}, health.Result{OK: true, HasWeight: true}},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		c.file.Path = path
		got := Run(t.Context(), health.Checker{Kind: health.FileCheck, File: &c.file})
		if got.Took = 0; got != c.want {
			t.Errorf("%q: got %+v, want %+v", c.text, got, c.want)
		}
	}
	if got := Run(t.Context(), health.Checker{Kind: health.FileCheck, File: &health.File{Path: path + "-none", Weight: 1}}); !got.OK || got.Weight != 0 {
		t.Errorf("a file that is not there: %+v", got)
	}
}

func FuzzDNSAnswer(f *testing.F) {
	f.Add([]byte{0, 7, 0x81, 0x80, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if res, done := dnsAnswer(7, b); done && res.OK && (len(b) < dnsHeaderLen || b[3]&15 != 0) {
			t.Errorf("%x is good", b)
		}
	})
}

func FuzzSMTPReply(f *testing.F) {
	f.Add("220-a\r\n220 b\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		if code, line, err := reply(bufio.NewReaderSize(strings.NewReader(text), 64)); err == nil && !strings.Contains(text, line) {
			t.Errorf("%q: %d %q", text, code, line)
		}
	})
}
