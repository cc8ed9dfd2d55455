package conf

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"vipd/internal/health"
	"vipd/internal/lb"
)

// RealEdit is a change of one real_server in the text of a configuration: another weight, or out of it.
type RealEdit struct {
	Service lb.ServiceKey  // of a group, any member
	Real    netip.AddrPort // as it stands in that service
	Weight  int32
	Disable bool // make a comment of its block instead
}

// Rewritten is the one file that changes. What is not changed in it is as it was to the byte.
type Rewritten struct {
	Path     string // inside the fs.FS
	Line     int    // the first that changes
	Old, New string
}

// Errors of Rewrite. Test with errors.Is.
var (
	ErrNotThere = errors.New("there is no such real_server in the file")
	ErrOnlyOne  = errors.New("it is the only real_server of its virtual_server")
	ErrNotPlain = errors.New("its real_server block is made by a definition, a repetition or a condition, or shares its lines with something else: edit it by hand")
)

// Rewrite finds the block of a real server in a configuration and all that it includes, and changes its text. The result is
// read and compared: nothing but what is asked for changes by it.
func Rewrite(fsys fs.FS, name string, opts Options, e RealEdit) (out Rewritten, err error) {
	cfg, _, _ := Load(fsys, name, opts)
	base, at, ok := e.find(cfg.Health)
	if !ok {
		return out, ErrNotThere
	}
	if e.Disable && len(base.Reals) == 1 {
		return out, ErrOnlyOne
	}
	want := e.apply(cfg, base.ServiceKey, at)
	addr := base.Reals[at].Addr.Addr()
	Outline(fsys, name, opts, func(v *Statement) {
		if v.Text(0) != "virtual_server" || out.New != "" {
			return
		}
		for _, r := range v.Body {
			if a, ok := plain(r.Text(1)); r.Text(0) != "real_server" || !ok || a != addr || out.New != "" {
				continue
			}
			if one, ok := e.rewrite(r); ok && says(overlay{fsys, one.Path, one.New}, name, opts, want) {
				out = one
			}
		}
	})
	if out.New == "" {
		return out, ErrNotPlain
	}
	return out, nil
}

// find gives the service, or the group, and the place of the real server in it.
func (e RealEdit) find(all health.Config) (base health.Service, at int, ok bool) {
	for _, s := range all.Services {
		for _, one := range s.Each() {
			if one.ServiceKey != e.Service {
				continue
			}
			at = slices.IndexFunc(one.Reals, func(r health.Real) bool { return r.Addr == e.Real })
			return s, at, at >= 0
		}
	}
	return base, 0, false
}

// apply gives what the changed file must say.
func (e RealEdit) apply(cfg *Config, key lb.ServiceKey, at int) string {
	for i := range cfg.Health.Services {
		if s := &cfg.Health.Services[i]; s.ServiceKey == key {
			s.Reals = slices.Clone(s.Reals)
			if e.Disable {
				s.Reals = slices.Delete(s.Reals, at, at+1)
			} else {
				s.Reals[at].Weight = e.Weight
			}
			break
		}
	}
	return meaning(cfg)
}

// meaning is all that a configuration says, but for what is in Health once more.
func meaning(cfg *Config) string {
	one := *cfg
	one.VirtualServers = nil
	b, err := json.Marshal(one)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func says(fsys fs.FS, name string, opts Options, want string) bool {
	cfg, _, _ := Load(fsys, name, opts)
	return meaning(cfg) == want
}

// rewrite changes the block of a statement in its file. false: it does not stand there as such.
func (e RealEdit) rewrite(s *Statement) (out Rewritten, ok bool) {
	n := nodeAt(s.File.Nodes(), s.Words[0])
	if n == nil || n.Keyword() != "real_server" || n.Open == nil || n.Close == nil {
		return out, false
	}
	out = Rewritten{Path: s.File.path, Line: n.Words[0].Line, Old: s.File.text}
	if e.Disable {
		out.New, ok = commentedOut(s.File, n)
		return out, ok
	}
	text := strconv.Itoa(int(e.Weight))
	if w := s.child("weight"); w != nil && len(w.Words) > 1 { // which may stand behind a condition, and be a definition
		t := tokenAt(n.Body, w.Words[1])
		if t == nil || w.File != s.File {
			return out, false
		}
		out.Line, out.New = t.Line, s.File.replaced(*t, text)
		return out, true
	}
	out.New = s.File.withLine(n, "weight "+text)
	return out, true
}

// nodeAt finds the node whose first word is at a place.
func nodeAt(all []*Node, t Token) *Node {
	for _, n := range all {
		if len(n.Words) > 0 && n.Words[0].Line == t.Line && n.Words[0].Col == t.Col {
			return n
		}
		if in := nodeAt(n.Body, t); in != nil {
			return in
		}
	}
	return nil
}

// tokenAt finds the word of a node that is at a place.
func tokenAt(all []*Node, at Token) *Token {
	for _, n := range all {
		for i := range n.Words {
			if t := &n.Words[i]; t.Line == at.Line && t.Col == at.Col {
				return t
			}
		}
		if t := tokenAt(n.Body, at); t != nil {
			return t
		}
	}
	return nil
}

// offset is where a token begins in the text.
func (f *File) offset(t Token) int {
	line := f.rawLine(t.Line)
	at := int(f.starts[t.Line-1])
	for i := range line {
		if t.Col--; t.Col == 0 {
			return at + i
		}
	}
	return at + len(line)
}

func (f *File) replaced(t Token, text string) string {
	at := f.offset(t)
	return f.text[:at] + text + f.text[at+len(t.Raw):]
}

// withLine puts a statement at the beginning of a block, on a line of its own, indented as the others.
func (f *File) withLine(n *Node, statement string) string {
	end := "\n"
	if strings.HasSuffix(f.rawLine(n.Open.Line), "\r\n") {
		end = "\r\n"
	}
	indent := indentOf(f.Line(n.Words[0].Line)) + "    "
	for _, b := range n.Body {
		if len(b.Words) > 0 && b.Words[0].Line > n.Open.Line {
			indent = indentOf(f.Line(b.Words[0].Line))
			break
		}
	}
	at := f.offset(*n.Open) + 1
	rest := f.text[at:]
	if i := strings.IndexByte(rest, '\n'); i >= 0 {
		rest = rest[:i+1]
	}
	if follows := strings.TrimSpace(rest); follows == "" || follows[0] == '#' || follows[0] == '!' {
		return f.text[:at] + rest + indent + statement + end + f.text[at+len(rest):]
	}
	return f.text[:at] + end + indent + statement + end + indent + strings.TrimLeft(f.text[at:], " \t")
}

func indentOf(line string) string { return line[:len(line)-len(strings.TrimLeft(line, " \t"))] }

// disabledMark stands in front of the lines of a real_server that was taken out of the file.
const disabledMark = "#disabled# "

// commentedOut makes comments of the lines of a node. false: they are not its own.
func commentedOut(f *File, n *Node) (string, bool) {
	first, last := n.Words[0].Line, n.Close.Line
	before := f.text[f.starts[first-1]:f.offset(n.Words[0])]
	after := strings.TrimSpace(f.text[f.offset(*n.Close)+1 : int(f.starts[last-1])+len(f.rawLine(last))])
	if strings.TrimSpace(before) != "" || after != "" && after[0] != '#' && after[0] != '!' {
		return "", false
	}
	var b strings.Builder
	b.WriteString(f.text[:f.starts[first-1]])
	for i := first; i <= last; i++ {
		line := f.rawLine(i)
		in := indentOf(line)
		b.WriteString(in + disabledMark + line[len(in):])
	}
	b.WriteString(f.text[int(f.starts[last-1])+len(f.rawLine(last)):])
	return b.String(), true
}

// String says where, for a person.
func (r Rewritten) String() string { return fmt.Sprintf("%s:%d", r.Path, r.Line) }

// overlay is a file system in which one file has another text.
type overlay struct {
	fs.FS
	path, text string
}

// Open implements fs.FS.
func (o overlay) Open(name string) (fs.File, error) {
	f, err := o.FS.Open(name)
	if err != nil || name != o.path {
		return f, err
	}
	return &changedFile{File: f, Reader: strings.NewReader(o.text)}, nil
}

type changedFile struct {
	fs.File
	*strings.Reader
}

func (c *changedFile) Read(b []byte) (int, error) { return c.Reader.Read(b) }
