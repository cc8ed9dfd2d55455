package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vipd/internal/conf"
	"vipd/internal/daemon"
)

func newLSPCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lsp",
		Short: "Help an editor with keepalived.conf (a language server on standard input and output)",
		Long: `Speak the Language Server Protocol (3.17) on standard input and output: what vipd check says, while the file is
written; the sentence and default of the keyword under the cursor; completion of what may stand in a block; formatting.
Editors start it; editors/README.md of the project says how.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return serveLSP(env) },
	}
	cmd.Flags().Bool("stdio", true, "what it does anyway; some editors say so")
	return cmd
}

// lspServer is one session. Everything happens in the order of the messages.
type lspServer struct {
	env      Env
	w        io.Writer
	err      error // of writing
	units    lspUnits
	snippets bool
	ready    bool // initialize was answered
	down     bool // shutdown was asked for
	docs     map[string]*lspDocument
	sent     map[string]string // diagnostics last published for a URI
}

// lspDocument is a file that the editor has open, with its text as it is there.
type lspDocument struct {
	uri  string
	name string // absolute
	text string
}

// serveLSP runs a session until exit or the end of the input.
func serveLSP(env Env) error {
	s := &lspServer{env: env, w: env.Stdout, docs: map[string]*lspDocument{}, sent: map[string]string{}}
	r := bufio.NewReader(env.Stdin)
	for {
		body, err := readMessage(r)
		if err == io.EOF {
			return exitWith(btoi(!s.down))
		} else if err != nil {
			return &daemon.Failure{Code: daemon.ExitFatal, Err: fmt.Errorf("read a message of the editor: %w", err), Hint: "vipd lsp is started by editors; to check a file: vipd check FILE"}
		}
		if s.handle(body) {
			return exitWith(btoi(!s.down))
		}
		if s.err != nil {
			return s.err
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// handle answers one message. It gives true at the exit.
func (s *lspServer) handle(body []byte) (exit bool) {
	var m rpcMessage
	if err := json.Unmarshal(body, &m); err != nil {
		s.reply(nil, nil, &rpcError{rpcParseError, "not a JSON-RPC message: " + err.Error()})
		return false
	}
	if m.Method == "" {
		return false // an answer; we ask nothing
	}
	if m.ID == nil {
		return s.notification(m)
	}
	result, err := s.request(m)
	s.reply(m.ID, result, err)
	return false
}

func (s *lspServer) request(m rpcMessage) (any, *rpcError) {
	switch {
	case m.Method == "initialize":
		return s.initialize(m.Params)
	case !s.ready:
		return nil, &rpcError{rpcNotInitialized, "initialize comes first"}
	case s.down:
		return nil, &rpcError{rpcInvalidRequest, "after shutdown only exit may come"}
	}
	handle, ok := map[string]func(*lspDocument, lspPosition) any{
		"textDocument/hover": s.hover, "textDocument/completion": s.completion, "textDocument/formatting": s.formatting,
	}[m.Method]
	switch {
	case m.Method == "shutdown":
		s.down = true
		return nil, nil
	case !ok:
		return nil, &rpcError{rpcMethodNotFound, m.Method + " is not known"}
	}
	var p struct {
		TextDocument lspTextDocument `json:"textDocument"`
		Position     lspPosition     `json:"position"`
	}
	if err := json.Unmarshal(m.Params, &p); err != nil {
		return nil, &rpcError{rpcInvalidParams, err.Error()}
	}
	d := s.docs[p.TextDocument.URI]
	if d == nil {
		return nil, &rpcError{rpcInvalidParams, p.TextDocument.URI + " is not open"}
	}
	return handle(d, p.Position), nil
}

func (s *lspServer) initialize(params json.RawMessage) (any, *rpcError) {
	var p struct {
		Capabilities struct {
			General struct {
				PositionEncodings []string `json:"positionEncodings"`
			} `json:"general"`
			TextDocument struct {
				Completion struct {
					CompletionItem struct {
						SnippetSupport bool `json:"snippetSupport"`
					} `json:"completionItem"`
				} `json:"completion"`
			} `json:"textDocument"`
		} `json:"capabilities"`
	}
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, &rpcError{rpcInvalidParams, err.Error()}
	}
	s.ready, s.units = true, utf16Units
	encodings := p.Capabilities.General.PositionEncodings
	if slices.Contains(encodings, string(utf8Units)) && !slices.Contains(encodings, string(utf16Units)) {
		s.units = utf8Units
	}
	s.snippets = p.Capabilities.TextDocument.Completion.CompletionItem.SnippetSupport
	return map[string]any{
		"capabilities": map[string]any{
			"positionEncoding":           s.units,
			"textDocumentSync":           map[string]any{"openClose": true, "change": lspIncremental, "save": map[string]any{}},
			"hoverProvider":              true,
			"completionProvider":         map[string]any{"triggerCharacters": []string{}},
			"documentFormattingProvider": true,
		},
		"serverInfo": map[string]any{"name": "vipd", "version": daemon.Version()},
	}, nil
}

func (s *lspServer) notification(m rpcMessage) (exit bool) {
	if m.Method == "exit" {
		return true
	}
	var p struct {
		TextDocument   lspTextDocument `json:"textDocument"`
		ContentChanges []lspChange     `json:"contentChanges"`
	}
	if !s.ready || !strings.HasPrefix(m.Method, "textDocument/") || json.Unmarshal(m.Params, &p) != nil {
		return false // there is nobody to tell
	}
	d := s.docs[p.TextDocument.URI]
	switch {
	case m.Method == "textDocument/didOpen":
		s.docs[p.TextDocument.URI] = &lspDocument{p.TextDocument.URI, fileName(p.TextDocument.URI), p.TextDocument.Text}
	case d == nil:
		return false
	case m.Method == "textDocument/didChange" && len(p.ContentChanges) > 0:
		for _, c := range p.ContentChanges {
			d.text = s.units.apply(d.text, c)
		}
	case m.Method == "textDocument/didClose":
		delete(s.docs, p.TextDocument.URI)
	case m.Method != "textDocument/didSave": // an included file on the disk may have changed
		return false
	}
	s.publish()
	return false
}

// fileName is the absolute name that a URI stands for. A text that is in no file gets one that no file has.
func fileName(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "file" || !filepath.IsAbs(u.Path) {
		return "/.untitled/" + url.PathEscape(uri)
	}
	return filepath.Clean(u.Path)
}

// publish checks every open file and sends what changed. What an open file includes is judged there, in its context, and
// not by itself.
func (s *lspServer) publish() {
	files := map[string]string{}
	uris := map[string]string{}
	for uri, d := range s.docs {
		files[inRoot(d.name)] = d.text
		uris[d.name] = uri
	}
	var fsys fs.FS = overlay{os.DirFS("/"), files}
	list := map[string][]lspDiagnostic{}
	included := map[string]bool{}
	checked := map[string]*conf.Checked{}
	for uri, d := range s.docs {
		c := conf.Check(fsys, d.name, s.env.reading(""))
		checked[uri] = c
		for _, f := range c.Tree.Files[1:] {
			included[f.Name] = true
		}
	}
	for uri, d := range s.docs {
		if included[d.name] {
			continue
		}
		list[uri] = append(list[uri], []lspDiagnostic{}...)
		for _, x := range checked[uri].Diagnostics {
			at := uris[x.File]
			if at == "" {
				at = fileURI(x.File)
			}
			if n := s.diagnostic(x); !slices.ContainsFunc(list[at], n.same) {
				list[at] = append(list[at], n)
			}
		}
	}
	s.send(list)
}

// send publishes the diagnostics that are not those published last.
func (s *lspServer) send(list map[string][]lspDiagnostic) {
	for uri := range s.docs {
		if list[uri] == nil {
			list[uri] = []lspDiagnostic{}
		}
	}
	for uri := range s.sent {
		if list[uri] == nil {
			list[uri] = []lspDiagnostic{}
		}
	}
	uris := make([]string, 0, len(list))
	for uri := range list {
		uris = append(uris, uri)
	}
	slices.Sort(uris)
	for _, uri := range uris {
		b, err := json.Marshal(list[uri])
		old, ok := s.sent[uri]
		if s.sent[uri] = string(b); len(list[uri]) == 0 && s.docs[uri] == nil {
			delete(s.sent, uri)
		}
		if err != nil || ok && old == string(b) {
			continue
		}
		s.notify("textDocument/publishDiagnostics", map[string]any{"uri": uri, "diagnostics": list[uri]})
	}
}

// diagnostic makes the protocol's diagnostic of ours.
func (s *lspServer) diagnostic(d conf.Diagnostic) lspDiagnostic {
	text := strings.Join(append([]string{d.Text}, d.More...), "\n")
	if d.Expected != "" {
		text += "\nExpected: " + d.Expected
	}
	if d.Hint != "" {
		text += "\nHint: " + d.Hint
	}
	severity := map[conf.Severity]int{conf.Error: 1, conf.Warning: 2, conf.Notice: 3}[d.Severity]
	line, col := max(0, d.Line-1), max(0, d.Col-1)
	from := lspPosition{line, s.units.of(d.Source, col)}
	to := lspPosition{line, s.units.of(d.Source, col+d.Width)}
	if d.Line > 0 && d.Col == 0 {
		to.Character = s.units.of(d.Source, len(d.Source))
	}
	return lspDiagnostic{lspRange{from, to}, severity, d.Code, "vipd", text}
}

func (s *lspServer) reply(id json.RawMessage, result any, failure *rpcError) {
	m := rpcAnswer{Version: "2.0", ID: id, Error: failure}
	if id == nil {
		m.ID = json.RawMessage("null")
	}
	if failure == nil {
		b, err := json.Marshal(result)
		if err != nil {
			m.Error = &rpcError{rpcInternalError, err.Error()}
		}
		m.Result = b
	}
	s.write(m)
}

func (s *lspServer) notify(method string, params any) {
	s.write(rpcCall{"2.0", method, params})
}

func (s *lspServer) write(m any) {
	b, err := json.Marshal(m)
	if err == nil {
		var frame bytes.Buffer
		fmt.Fprintf(&frame, "Content-Length: %d\r\n\r\n", len(b))
		frame.Write(b)
		_, err = s.w.Write(frame.Bytes())
	}
	if s.err == nil {
		s.err = err
	}
}
