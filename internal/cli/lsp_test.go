package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// frame is a message as it goes over the pipe.
func frame(body string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body) }

const lspHello = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"capabilities":{"textDocument":{"completion":{"completionItem":{"snippetSupport":true}}}}}}`

// session plays messages to a server and gives what it sent, decoded, and its exit code.
func session(t testing.TB, bodies ...string) (sent []map[string]any, code int) {
	t.Helper()
	var in, out, errs bytes.Buffer
	for _, b := range bodies {
		in.WriteString(frame(b))
	}
	env := Env{Args: []string{"lsp", "--stdio"}, Stdin: &in, Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }}
	code = run(env)
	r := bufio.NewReader(&out)
	for {
		body, err := readMessage(r)
		if err == io.EOF {
			return sent, code
		}
		m := map[string]any{}
		if err != nil || json.Unmarshal(body, &m) != nil || m["jsonrpc"] != "2.0" {
			t.Fatalf("the server sent %q: %v", body, err)
		}
		sent = append(sent, m)
	}
}

// call makes a request about a place in a document; open makes the notification that opens one.
func call(id int, method, uri string, line, char int) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"textDocument/%s","params":{"textDocument":{"uri":%q},"position":{"line":%d,"character":%d}}}`, id, method, uri, line, char)
}

func open(uri, text string) string {
	b, _ := json.Marshal(text)
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":"textDocument/didOpen","params":{"textDocument":{"uri":%q,"languageId":"keepalived","version":1,"text":%s}}}`, uri, b)
}

func changeTo(uri, text string) string {
	b, _ := json.Marshal(text)
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":"textDocument/didChange","params":{"textDocument":{"uri":%q,"version":2},"contentChanges":[{"text":%s}]}}`, uri, b)
}

const lspShutdown, lspExit = `{"jsonrpc":"2.0","id":99,"method":"shutdown"}`, `{"jsonrpc":"2.0","method":"exit"}`

// showSent writes what was sent in a form that a reader of the test can follow.
func showSent(sent []map[string]any) string {
	var b strings.Builder
	for _, m := range sent {
		switch {
		case m["method"] != nil:
			p := m["params"].(map[string]any)
			fmt.Fprintf(&b, "%s %s\n", m["method"], filepath.Base(p["uri"].(string)))
			for _, d := range p["diagnostics"].([]any) {
				d := d.(map[string]any)
				r, _ := json.Marshal(d["range"])
				fmt.Fprintf(&b, "  %s %v %s %q\n", r, d["severity"], d["code"], d["message"])
			}
		case m["error"] != nil:
			e, _ := json.Marshal(m["error"])
			fmt.Fprintf(&b, "%v error %s\n", m["id"], e)
		default:
			r, _ := json.Marshal(m["result"])
			fmt.Fprintf(&b, "%v %s\n", m["id"], r)
		}
	}
	return b.String()
}

func TestLSPDiagnosticsFollowTheText(t *testing.T) {
	const uri = "file:///nowhere/keepalived.conf"
	sent, code := session(t, lspHello, `{"jsonrpc":"2.0","method":"initialized","params":{}}`,
		open(uri, "# 监🎈\n🎈 foo\n"), changeTo(uri, "# 监🎈\n🎈 foo\n"), changeTo(uri, ""),
		fmt.Sprintf(`{"jsonrpc":"2.0","method":"textDocument/didClose","params":{"textDocument":{"uri":%q}}}`, uri), lspShutdown, lspExit)
	want := `textDocument/publishDiagnostics keepalived.conf
  {"end":{"character":2,"line":1},"start":{"character":0,"line":1}} 2 unknown-keyword "Unknown keyword '🎈'"
textDocument/publishDiagnostics keepalived.conf
99 null
`
	if diff := cmp.Diff(want, showSent(sent[1:])); diff != "" || code != 0 {
		t.Errorf("exit %d (-want +got):\n%s", code, diff)
	}
}

func TestLSPJudgesAnIncludedFileInItsContext(t *testing.T) {
	dir := t.TempDir()
	main, part := "file://"+dir+"/main.conf", "file://"+dir+"/part.conf"
	if err := os.WriteFile(dir+"/part.conf", []byte("priority 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sent, _ := session(t, lspHello, open(part, "priority x\n"),
		open(main, strings.Replace(goodInstance, "priority 150", "include part.conf", 1)), lspShutdown, lspExit)
	got := showSent(sent[1:])
	for _, want := range []string{
		"part.conf\n  {\"end\":{\"character\":8,\"line\":0},\"start\":{\"character\":0,\"line\":0}} 2 unknown-keyword", // alone
		"part.conf\n  {\"end\":{\"character\":10,\"line\":0},\"start\":{\"character\":9,\"line\":0}} 2 bad-value",      // as a part
	} {
		if !strings.Contains(got, want) {
			t.Errorf("want %s in:\n%s", want, got)
		}
	}
	if strings.Count(got, "unknown-keyword") != 1 {
		t.Errorf("judged out of context:\n%s", got)
	}
}

func TestLSPExplainsTheKeywordUnderTheCursor(t *testing.T) {
	const uri = "file:///nowhere/a.conf"
	const text = "vrrp_instance A {\n    @x priority 100 # priority\n    virtual_ipaddress { priority }\n    vrrp_strict\n"
	for _, c := range []struct {
		name       string
		line, char int
		want       string
	}{
		{"at its start", 1, 7, "priority 1..255"},
		{"at its end", 1, 15, "Default: 100, with state MASTER 255"},
		{"not on its value", 1, 17, ""},
		{"not in a comment", 1, 25, ""},
		{"at the outer level", 0, 3, "vrrp_instance NAME { … }"},
		{"not on a value that is called so", 2, 26, ""},
		{"not a keyword of another block", 3, 6, ""},
		{"not behind the text", 9, 9, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			sent, _ := session(t, lspHello, open(uri, text), call(7, "hover", uri, c.line, c.char), lspShutdown, lspExit)
			got := showSent(sent[2:3])
			if c.want == "" && got != "7 null\n" || !strings.Contains(got, c.want) {
				t.Errorf("want %q, got %s", c.want, got)
			}
		})
	}
}

func TestLSPCompletesWhatMayStandThere(t *testing.T) {
	const uri = "file:///nowhere/a.conf"
	for _, c := range []struct {
		name, text    string // | is the cursor
		with, without string
	}{
		{"the outer level", "|", "vrrp_instance", "priority"},
		{"a word begun", "vrrp|", "vrrp_instance", "priority"},
		{"a block that is not closed yet", "vrrp_instance A {\n  pri|", "priority", "vrrp_script"},
		{"behind a brace", "vrrp_instance A { |", "priority", "vrrp_script"},
		{"a block in a block", "virtual_server 1.2.3.4 80 {\n real_server 1.2.3.5 80 {\n  SSL_GET {\n   |\n}\n}\n}", "url", "real_server"},
		{"behind a block", "vrrp_instance A {\n}\n|", "vrrp_instance", "priority"},
		{"behind a condition", "vrrp_instance A {\n@lb1 |", "priority", "vrrp_script"},
		{"values", "vrrp_instance A {\n state |", "MASTER", "priority"},
		{"a value begun", "vrrp_instance A {\n state MA|", "BACKUP", "priority"},
		{"booleans", "global_defs {\nvrrp_strict |", "true", "priority"},
		{"no keyword among addresses", "vrrp_instance A {\nvirtual_ipaddress {\n|", "", "priority"},
		{"nothing in a comment", "# |", "", "vrrp_instance"},
		{"nothing behind the arguments", "vrrp_instance A |", "", "vrrp_instance"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, after, _ := strings.Cut(c.text, "|")
			line := strings.Count(before, "\n")
			char := len(before) - 1 - strings.LastIndexByte(before, '\n')
			sent, _ := session(t, lspHello, open(uri, before+after), call(7, "completion", uri, line, char), lspShutdown, lspExit)
			labels := map[string]map[string]any{}
			for _, i := range sent[2]["result"].([]any) {
				i := i.(map[string]any)
				labels[i["label"].(string)] = i
			}
			if c.with != "" && labels[c.with] == nil || c.with == "" && len(labels) > 0 || labels[c.without] != nil {
				t.Errorf("offered %v", labels)
			}
			if v := labels["vrrp_instance"]; v != nil && v["insertText"] != "vrrp_instance ${1:NAME} {\n\t$0\n}" {
				t.Errorf("a block is offered as %v", v)
			}
		})
	}
}

func TestLSPFormats(t *testing.T) {
	const uri = "file:///nowhere/a.conf"
	sent, _ := session(t, lspHello, open(uri, "global_defs {\nrouter_id 🎈"), call(7, "formatting", uri, 0, 0),
		changeTo(uri, "global_defs {\n    router_id x\n}\n"), call(8, "formatting", uri, 0, 0), lspShutdown, lspExit)
	got := showSent(sent)
	for _, want := range []string{
		"7 [{\"newText\":\"global_defs {\\n    router_id 🎈\\n\",\"range\":{\"end\":{\"character\":12,\"line\":1},\"start\":{\"character\":0,\"line\":0}}}]\n",
		"8 []\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("want %s in:\n%s", want, got)
		}
	}
}

func TestLSPRefusesWhatItMust(t *testing.T) {
	for _, c := range []struct {
		name   string
		bodies []string
		code   int
		want   string
	}{
		{"no JSON", []string{"{"}, 1, `<nil> error {"code":-32700`},
		{"a request before initialize", []string{call(1, "hover", "file:///x", 0, 0)}, 1, `1 error {"code":-32002`},
		{"an unknown request", []string{lspHello, `{"jsonrpc":"2.0","id":"a","method":"x/y"}`, lspShutdown, lspExit}, 0, `a error {"code":-32601`},
		{"a file that is not open", []string{lspHello, call(1, "hover", "file:///x", 0, 0), lspShutdown, lspExit}, 0, `1 error {"code":-32602`},
		{"bad parameters", []string{lspHello, `{"jsonrpc":"2.0","id":1,"method":"textDocument/hover","params":[]}`, lspShutdown, lspExit}, 0, `1 error {"code":-32602`},
		{"a request after shutdown", []string{lspHello, lspShutdown, call(1, "hover", "file:///x", 0, 0), lspExit}, 0, `1 error {"code":-32600`},
		{"an exit without shutdown", []string{lspHello, lspExit}, 1, ""},
		{"an end without exit", []string{lspHello, lspShutdown}, 0, ""},
		{"unknown notifications pass", []string{lspHello, `{"jsonrpc":"2.0","method":"$/x"}`, lspShutdown, lspExit}, 0, "99 null\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sent, code := session(t, c.bodies...)
			if got := showSent(sent); code != c.code || !strings.Contains(got, c.want) {
				t.Errorf("exit %d, want %d and %s in:\n%s", code, c.code, c.want, got)
			}
		})
	}
}

func TestLSPMessagesAreBounded(t *testing.T) {
	for in, want := range map[string]string{
		"":                                  "EOF",
		"Content-Length: 2\r\n\r\n{":        "unexpected EOF",
		"Content-Length":                    "unexpected EOF",
		"Content-Length: -1\r\n\r\n":        "not a number up to",
		"Content-Length: 99999999999\r\n":   "not a number up to",
		"GET / HTTP/1.1\r\n":                "has no colon",
		"Content-Type: x\r\n\r\n":           "without Content-Length",
		"X: " + strings.Repeat("x", 100000): "too long",
	} {
		if _, err := readMessage(bufio.NewReader(strings.NewReader(in))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", in, err, want)
		}
	}
	var errs bytes.Buffer
	if code := run(Env{Args: []string{"lsp"}, Stdin: strings.NewReader("hello\n"), Stdout: io.Discard, Stderr: &errs}); code == 0 || !strings.Contains(errs.String(), "vipd check FILE") {
		t.Errorf("exit %d: %s", code, errs.String())
	}
}

// FuzzLSPMessage feeds bytes to the framing: what is read is what was written, and nothing panics.
func FuzzLSPMessage(f *testing.F) {
	f.Add([]byte(frame(lspHello)))
	f.Add([]byte("content-length:0\n\nContent-Length: 3\r\nX: y\r\n\r\nabc"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReader(bytes.NewReader(in))
		for {
			body, err := readMessage(r)
			if err != nil {
				break
			}
			if !bytes.Contains(in, body) {
				t.Fatalf("%q is not in %q", body, in)
			}
		}
		if body, err := readMessage(bufio.NewReader(strings.NewReader(frame(string(in))))); err != nil || !bytes.Equal(body, in) {
			t.Errorf("framed %q, read %q: %v", in, body, err)
		}
	})
}

// FuzzLSPSession lets a text and a place be asked everything.
func FuzzLSPSession(f *testing.F) {
	f.Add(goodInstance, 3, 5, `{"id":1}`)
	f.Add("a {\n# x\n🎈 $A {\n", 2, 1, `{"method":"textDocument/didChange","params":{"contentChanges":[]}}`)
	f.Fuzz(func(t *testing.T, text string, line, char int, extra string) {
		const uri = "file:///nowhere/f.conf"
		sent, _ := session(t, lspHello, open(uri, text), call(1, "hover", uri, line, char), call(2, "completion", uri, line, char),
			call(3, "formatting", uri, line, char), extra, lspShutdown)
		if len(sent) < 5 {
			t.Errorf("only %d messages were sent", len(sent))
		}
	})
}

func TestLSPTakesChangesOfAPartOfTheText(t *testing.T) {
	const text = "# 🎈 a\r\nfoo\r\n"
	at := func(l1, c1, l2, c2 int, to string) lspChange {
		return lspChange{&lspRange{lspPosition{l1, c1}, lspPosition{l2, c2}}, to}
	}
	for _, c := range []struct {
		change lspChange
		units  lspUnits
		want   string
	}{
		{lspChange{Text: "all"}, utf16Units, "all"},
		{at(1, 0, 1, 3, "bar"), utf16Units, "# 🎈 a\r\nbar\r\n"},
		{at(0, 5, 0, 6, "b"), utf16Units, "# 🎈 b\r\nfoo\r\n"},
		{at(0, 7, 0, 8, "b"), utf8Units, "# 🎈 b\r\nfoo\r\n"},
		{at(0, 2, 0, 4, ""), utf16Units, "#  a\r\nfoo\r\n"},
		{at(0, 0, 1, 0, ""), utf16Units, "foo\r\n"},
		{at(0, 99, 0, 99, "!"), utf16Units, "# 🎈 a!\r\nfoo\r\n"},
		{at(9, 0, 9, 9, "end"), utf16Units, text + "end"},
		{at(1, 3, 0, 0, "x"), utf16Units, "x\r\n"},
		{at(-1, -1, 0, 1, "!"), utf16Units, "! 🎈 a\r\nfoo\r\n"},
	} {
		if got := c.units.apply(text, c.change); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.change, got, c.want)
		}
	}
	const uri = "file:///nowhere/keepalived.conf"
	sent, _ := session(t, lspHello, open(uri, "foo\n"),
		fmt.Sprintf(`{"jsonrpc":"2.0","method":"textDocument/didChange","params":{"textDocument":{"uri":%q,"version":2},"contentChanges":[
			{"range":{"start":{"line":0,"character":0},"end":{"line":0,"character":3}},"text":"bar"},
			{"range":{"start":{"line":0,"character":3},"end":{"line":0,"character":3}},"text":"x"}]}}`, uri), lspShutdown, lspExit)
	if got := showSent(sent[1:]); !strings.Contains(got, "'foo'") || !strings.Contains(got, "'barx'") {
		t.Errorf("got\n%s", got)
	}
}

func TestLSPAnswersWhatItDoesNotKnow(t *testing.T) {
	sent, code := session(t, `{"jsonrpc":"2.0","id":"early","method":"textDocument/hover","params":{}}`, lspHello,
		`{"jsonrpc":"2.0","id":7,"method":"workspace/nonsense"}`, `{"jsonrpc":"2.0","method":"$/nonsense","params":{}}`, `nonsense`,
		`{"jsonrpc":"2.0","id":8,"method":"textDocument/hover","params":{"textDocument":{"uri":"file:///not/open"},"position":{"line":0,"character":0}}}`,
		`{"jsonrpc":"2.0","id":9,"method":"textDocument/hover","params":[]}`, lspShutdown, `{"jsonrpc":"2.0","id":10,"method":"textDocument/hover","params":{}}`, lspExit)
	want := []string{"early error", "-32002", "0 {", "7 error", "-32601", "<nil> error", "-32700", "8 error", "-32602", "9 error", "99 null", "10 error", "-32600"}
	got := showSent(sent)
	rest := got
	for _, w := range want {
		_, after, ok := strings.Cut(rest, w)
		if !ok {
			t.Fatalf("%q is missing, in this order, in\n%s", w, got)
		}
		rest = after
	}
	if code != 0 {
		t.Errorf("exit %d", code)
	}
}
