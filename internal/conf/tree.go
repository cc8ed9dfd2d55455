package conf

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"unicode/utf8"
)

// Tree is every file that was read, the main one first, in the order of reading.
type Tree struct {
	Files []*File
}

// File is the text of one file. It is read as it stands: definitions, conditions and includes are not replaced.
type File struct {
	Name string // as given, or as the include found it
	// From is the line of the include in the including file; nil and 0 for the main file.
	From     *File
	FromLine int

	path   string // inside the fs.FS
	text   string
	starts []uint32 // offset of every line
	nodes  []*Node
	end    string // what follows the last token
	tail   []Comment
	parsed bool
}

// Node is one statement: a keyword with its arguments, and its block if it has one. A stray brace is a node without
// words.
type Node struct {
	Words []Token
	Open  *Token // nil: no block
	Body  []*Node
	Close *Token // nil: no block, or the closing brace is missing

	Doc  []Comment // comment lines above
	Note []Comment // comments on the line of its last word or opening brace
	Tail []Comment // comments between the last inner statement and the closing brace
	End  []Comment // comments on the line of the closing brace
}

// newFile keeps the text and finds its lines.
func newFile(name, text string) *File {
	f := &File{Name: name, text: text, starts: make([]uint32, 1, strings.Count(text, "\n")+1)}
	for i := 0; ; {
		n := strings.IndexByte(text[i:], '\n')
		if n < 0 {
			return f
		}
		i += n + 1
		f.starts = append(f.starts, uint32(i))
	}
}

// texts are the files that were read, so that a file that is read again takes no room again. The zero value keeps none.
type texts map[string]*File

var errTooLong = errors.New("more than " + bytesText(maxText) + " of text")

// file reads p, whose name is shown as name, if it has at most most bytes.
func (t texts) file(fsys fs.FS, name, p string, most int) (*File, error) {
	if f := t[p]; f != nil {
		if len(f.text) > most {
			return nil, errTooLong
		}
		return &File{Name: name, text: f.text, starts: f.starts}, nil
	}
	text, err := readText(fsys, p, most)
	if err != nil {
		return nil, err
	}
	f := newFile(name, text)
	if t != nil {
		t[p] = f
	}
	return f, nil
}

// readText is fs.ReadFile without a second copy of what may be large, and with a bound.
func readText(fsys fs.FS, p string, most int) (string, error) {
	f, err := fsys.Open(p)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var b strings.Builder
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		b.Grow(int(min(max(info.Size(), 0), int64(most))))
	}
	if _, err := io.Copy(&b, io.LimitReader(f, int64(most)+1)); err != nil {
		return "", err
	}
	if b.Len() > most {
		return "", errTooLong
	}
	return b.String(), nil
}

// Parse makes the lossless tree of one text. It cannot fail.
func Parse(name, text string) *File { return newFile(name, text) }

// Lines is the number of lines; a file that ends with a line end has an empty last one.
func (f *File) Lines() int { return len(f.starts) }

// Line gives line n (from 1) without its end, or "".
func (f *File) Line(n int) string {
	return strings.TrimSuffix(strings.TrimSuffix(f.rawLine(n), "\n"), "\r")
}

// rawLine gives line n with its end.
func (f *File) rawLine(n int) string {
	if n < 1 || n > len(f.starts) {
		return ""
	}
	if n == len(f.starts) {
		return f.text[f.starts[n-1]:]
	}
	return f.text[f.starts[n-1]:f.starts[n]]
}

// Nodes gives the statements at the outer level. They are made at the first call.
func (f *File) Nodes() []*Node {
	if !f.parsed {
		f.parsed = true
		b := builder{file: f}
		b.run()
	}
	return f.nodes
}

// Tail gives the comments after the last statement.
func (f *File) Tail() []Comment { f.Nodes(); return f.tail }

// String prints the tree: the text of the file, byte for byte.
func (f *File) String() string {
	var b strings.Builder
	for _, n := range f.Nodes() {
		n.print(&b)
	}
	b.WriteString(f.end)
	return b.String()
}

func (n *Node) print(b *strings.Builder) {
	for i := range n.Words {
		n.Words[i].print(b)
	}
	if n.Open != nil {
		n.Open.print(b)
	}
	for _, in := range n.Body {
		in.print(b)
	}
	if n.Close != nil {
		n.Close.print(b)
	}
}

func (t *Token) print(b *strings.Builder) {
	b.WriteString(t.Before)
	b.WriteString(t.Raw)
}

// Keyword is the first word, or "".
func (n *Node) Keyword() string {
	if len(n.Words) == 0 {
		return ""
	}
	return n.Words[0].Text
}

// column is the place of byte offset i of s in characters, from 1.
func column(s string, i int) int { return utf8.RuneCountInString(s[:min(i, len(s))]) + 1 }
