package mail

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
)

// maxReply bounds a reply, and maxLine one of its lines. RFC 5321 §4.5.3.1.5: "The maximum total length of a reply line
// including the reply code and the <CRLF> is 512 octets"; there are relays that write more.
const (
	maxReply = 16 << 10
	maxLine  = 2 << 10
)

// Reply is a relay's answer to one command.
type Reply struct {
	Code int      // 200..599
	Text []string // of each line, without the code
}

var errReply = errors.New("that is no SMTP reply")

// ReadReply reads one reply, of one or several lines.
//
// RFC 5321 §4.2.1: "The format for multiline replies requires that every line, except the last, begin with the reply
// code, followed immediately by a hyphen, "-" (also known as minus), followed by text. The last line will begin with the
// reply code, followed immediately by <SP>, optionally some text, and <CRLF>."
func ReadReply(r *bufio.Reader) (Reply, error) {
	var rep Reply
	for total := 0; ; {
		line, err := readLine(r)
		if err != nil {
			return rep, err
		}
		if total += len(line); total > maxReply {
			return rep, fmt.Errorf("%w: it is longer than %d bytes", errReply, maxReply)
		}
		code, text, last, ok := parseLine(line)
		if !ok || rep.Code != 0 && code != rep.Code {
			return rep, fmt.Errorf("%w: %q", errReply, clip(line))
		}
		rep.Code, rep.Text = code, append(rep.Text, text)
		if last {
			return rep, nil
		}
	}
}

// readLine reads up to a line feed and returns what stands before the line's end.
func readLine(r *bufio.Reader) (string, error) {
	var b []byte
	for {
		part, err := r.ReadSlice('\n')
		if b = append(b, part...); len(b) > maxLine {
			return "", fmt.Errorf("%w: a line is longer than %d bytes", errReply, maxLine)
		}
		switch {
		case err == nil:
			return strings.TrimRight(string(b), "\r\n"), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", err
		}
	}
}

// parseLine takes "250-text", "250 text" or "250" apart.
func parseLine(line string) (code int, text string, last, ok bool) {
	if len(line) < 3 {
		return 0, "", false, false
	}
	for i := range 3 {
		c := line[i]
		if c < '0' || c > '9' {
			return 0, "", false, false
		}
		code = 10*code + int(c-'0')
	}
	if code < 200 || code > 599 {
		return 0, "", false, false
	}
	if len(line) == 3 { // "a receiver MAY omit the SP": §4.2
		return code, "", true, true
	}
	return code, line[4:], line[3] == ' ', line[3] == ' ' || line[3] == '-'
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// has tells whether an EHLO reply offers an extension, and with which words.
func (r Reply) has(extension string) (words []string, ok bool) {
	for _, t := range r.Text[min(1, len(r.Text)):] { // the first line is the relay's name
		if f := strings.Fields(t); len(f) > 0 && strings.EqualFold(f[0], extension) {
			return f[1:], true
		}
	}
	return nil, false
}
