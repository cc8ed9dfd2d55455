package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds on what an editor may send.
const (
	maxMessage = 64 << 20
	maxHeader  = 8 << 10
)

// readMessage reads one message of the base protocol: header lines that end with CR LF, an empty one, then as many bytes
// as Content-Length says. It gives io.EOF only between messages.
func readMessage(r *bufio.Reader) ([]byte, error) {
	length := -1
	for size := 0; ; {
		line, err := readHeaderLine(r, maxHeader-size)
		size += len(line)
		if err != nil {
			if errors.Is(err, io.EOF) && size > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("header line %q has no colon", line)
		}
		if strings.EqualFold(strings.TrimSpace(name), "Content-Length") {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil || length < 0 || length > maxMessage {
				return nil, fmt.Errorf("Content-Length %q is not a number up to %d", strings.TrimSpace(value), maxMessage)
			}
		}
	}
	if length < 0 {
		return nil, errors.New("a message without Content-Length")
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(length)))
	if err == nil && len(body) < length {
		err = io.ErrUnexpectedEOF
	}
	return body, err
}

// readHeaderLine reads up to a line end, and at most limit bytes.
func readHeaderLine(r *bufio.Reader, limit int) (string, error) {
	var b []byte
	for {
		c, err := r.ReadByte()
		if err != nil {
			return string(b), err
		}
		if b = append(b, c); c == '\n' {
			return string(b), nil
		}
		if len(b) >= limit {
			return string(b), errors.New("the header of a message is too long")
		}
	}
}

// The messages of JSON-RPC 2.0.
type (
	rpcMessage struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
	}
	rpcAnswer struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Result  json.RawMessage `json:"result,omitempty"`
		Error   *rpcError       `json:"error,omitempty"`
	}
	rpcCall struct {
		Version string `json:"jsonrpc"`
		Method  string `json:"method"`
		Params  any    `json:"params"`
	}
	rpcError struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
)

// Error codes of JSON-RPC and of the Language Server Protocol.
const (
	rpcParseError     = -32700
	rpcInvalidRequest = -32600
	rpcMethodNotFound = -32601
	rpcInvalidParams  = -32602
	rpcInternalError  = -32603
	rpcNotInitialized = -32002
)

// The structures of the Language Server Protocol 3.17 that are used.
type (
	lspPosition struct {
		Line      int `json:"line"`      // from 0
		Character int `json:"character"` // from 0, in the units agreed on
	}
	lspRange struct {
		Start lspPosition `json:"start"`
		End   lspPosition `json:"end"`
	}
	lspTextDocument struct {
		URI  string `json:"uri"`
		Text string `json:"text"`
	}
	lspChange struct {
		Range *lspRange `json:"range"` // If nil, the whole text.
		Text  string    `json:"text"`
	}
	lspDiagnostic struct {
		Range    lspRange `json:"range"`
		Severity int      `json:"severity"` // 1 error, 2 warning, 3 information
		Code     string   `json:"code"`
		Source   string   `json:"source"`
		Message  string   `json:"message"`
	}
	lspMarkup struct {
		Kind  string `json:"kind"`
		Value string `json:"value"`
	}
	lspHover struct {
		Contents lspMarkup `json:"contents"`
		Range    lspRange  `json:"range"`
	}
	lspItem struct {
		Label  string     `json:"label"`
		Kind   int        `json:"kind"` // 14 keyword, 22 struct, 12 value
		Detail string     `json:"detail,omitempty"`
		Doc    *lspMarkup `json:"documentation,omitempty"`
		Insert string     `json:"insertText,omitempty"`
		Format int        `json:"insertTextFormat,omitempty"` // 2: a snippet
		Tags   []int      `json:"tags,omitempty"`
	}
	lspEdit struct {
		Range   lspRange `json:"range"`
		NewText string   `json:"newText"`
	}
)

func (d lspDiagnostic) same(o lspDiagnostic) bool { return d == o }

// lspUnits is what a column of the protocol counts.
type lspUnits string

const (
	utf16Units lspUnits = "utf-16"
	utf8Units  lspUnits = "utf-8"
)

// lspIncremental is the kind of synchronisation that sends what changed.
const lspIncremental = 2

// apply makes a change to a text. A place behind the end of a line or of the text is that end.
func (u lspUnits) apply(text string, c lspChange) string {
	if c.Range == nil {
		return c.Text
	}
	from, to := u.offset(text, c.Range.Start), u.offset(text, c.Range.End)
	return text[:min(from, to)] + c.Text + text[max(from, to):]
}

// offset is the byte at a position.
func (u lspUnits) offset(text string, p lspPosition) int {
	at := 0
	for range max(0, p.Line) {
		i := strings.IndexByte(text[at:], '\n')
		if i < 0 {
			return len(text)
		}
		at += i + 1
	}
	line, _, _ := strings.Cut(text[at:], "\n")
	units := p.Character
	for i, r := range strings.TrimSuffix(line, "\r") {
		if units -= u.width(r); units < 0 {
			return at + i
		}
	}
	return at + len(strings.TrimSuffix(line, "\r"))
}

// of is the column after n characters of a line.
func (u lspUnits) of(line string, n int) int {
	units := 0
	for _, r := range line {
		if n <= 0 {
			break
		}
		n--
		units += u.width(r)
	}
	return units
}

// characters is the number of characters before a column of a line.
func (u lspUnits) characters(line string, units int) int {
	n := 0
	for _, r := range line {
		if units -= u.width(r); units < 0 {
			break
		}
		n++
	}
	return n
}

func (u lspUnits) width(r rune) int {
	switch {
	case u == utf8Units:
		return utf8.RuneLen(r)
	case r > 0xffff:
		return 2
	}
	return 1
}
