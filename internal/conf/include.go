package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"
)

// includeCheck says which faults of an include are errors.
type includeCheck uint8

const (
	checkRead     includeCheck = 1 << iota // a matched file cannot be read
	checkMatch                             // nothing matches a name without wildcards
	checkWildcard                          // nothing matches, wildcards or not
	checkBrace                             // an alternative in braces matches nothing
	checkAll      = checkRead | checkMatch | checkWildcard | checkBrace
)

var includes = map[string]includeCheck{"include": 0, "includer": checkRead, "includem": checkMatch,
	"includew": checkMatch | checkWildcard, "includeb": checkBrace, "includea": checkAll}

// start opens the main file.
func (r *reader) start(name string) bool {
	r.abs = strings.HasPrefix(name, "/")
	p := inside(name)
	f, err := r.texts.file(r.fsys, name, p, maxText)
	if err != nil {
		f := newFile(name, "")
		r.tree.Files = append(r.tree.Files, f)
		d := r.diags.add(Error, "unreadable-file", f, Token{}, fmt.Sprintf("cannot read %s: %s", name, reason(err)))
		d.Hint = "give the name of a readable keepalived.conf"
		return false
	}
	f.path = p
	r.read(f)
	return true
}

// reason is the bare cause of a file error; the name stands before it.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "no such file"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied"
	}
	return err.Error()
}

// inside turns a name into a path of the fs.FS, which has no leading slash.
func inside(name string) string { return strings.TrimPrefix(path.Clean(name), "/") }

// shown is the name of a path of the fs.FS as a person knows it.
func (r *reader) shown(p string) string {
	switch {
	case r.abs && p == ".":
		return "/"
	case r.abs:
		return "/" + p
	}
	return p
}

// include handles a line that is an include of some kind.
func (r *reader) include(l line) bool {
	word, rest, found := strings.Cut(strings.ReplaceAll(l.text, "\t", " "), " ")
	check, known := includes[word]
	if !known || !found {
		return false
	}
	check |= r.check
	at := len(l.text) - len(strings.TrimLeft(rest, blanks))
	pattern := stripComment(l.text[at:])
	tok := Token{Line: l.n, Col: r.col(l, at), Raw: pattern}
	var files []string
	missing := 0
	alts, all := braces(pattern)
	if r.globs += len(alts); !all || r.globs > maxGlobs {
		r.diags.add(Error, "include-many", l.file, tok, "too many patterns of included files - skipping '"+pattern+"'")
		return true
	}
	for _, alt := range alts {
		m := r.glob(l.file, alt)
		if len(m) == 0 {
			missing++
		}
		files = append(files, m...)
	}
	if !r.missing(l, tok, pattern, check, len(files), missing) {
		return true
	}
	for i := len(files) - 1; i >= 0; i-- {
		r.sources = append(r.sources, source{more: func() (line, bool) {
			r.push(l, tok, files[i], check) // when the ones before it have been read
			return line{}, false
		}})
	}
	return true
}

// missing reports an include that matched nothing, or not in every alternative. It gives false when nothing is to be
// read because of that.
func (r *reader) missing(l line, tok Token, pattern string, check includeCheck, found, missing int) bool {
	if missing == 0 {
		return true
	}
	const hint = "names are relative to the directory of the file that has the include"
	wild := strings.ContainsAny(pattern, "*?[")
	switch {
	case found > 0:
		r.fault(check&checkBrace != 0, "include-missing", l, tok, `Some config files missing: "`+pattern+`".`).Hint = hint
		return check&checkBrace == 0
	case wild && r.dirThere(l.file, pattern):
		d := r.fault(check&checkWildcard != 0, "include-missing", l, tok, "No config files matched '"+pattern+"'.")
		if d.Hint = hint; check&checkWildcard == 0 {
			d.class = classOurs
		}
	case strings.Contains(pattern, "{"):
		r.fault(check&checkBrace != 0, "include-missing", l, tok, "Config files missing '"+pattern+"'.").Hint = hint
	default:
		r.fault(check&checkMatch != 0, "include-missing", l, tok, "Config files missing '"+pattern+"'.").Hint = hint
	}
	return false
}

// dirThere tells whether the directory in front of the first wildcard of a pattern is there.
func (r *reader) dirThere(from *File, pattern string) bool {
	dir := path.Dir(pattern)
	if i := strings.IndexAny(pattern, "*?["); i >= 0 {
		dir = path.Dir(pattern[:i] + "x")
	}
	if !strings.HasPrefix(dir, "/") {
		dir = path.Join(path.Dir(from.path), dir)
	}
	info, err := fs.Stat(r.fsys, inside(dir))
	return err == nil && info.IsDir()
}

// fault reports something about an include. keepalived says it in any case, and counts it where it was asked to.
func (r *reader) fault(severe bool, code string, l line, tok Token, text string) *Diagnostic {
	severity, c := Warning, classSaid
	if severe {
		severity, c = Error, classFile
	}
	d := r.diags.add(severity, code, l.file, tok, text)
	d.class = c
	return d
}

// push opens an included file; it is read before the rest of the including one.
func (r *reader) push(l line, tok Token, p string, check includeCheck) {
	name := r.shown(p)
	for f := l.file; f != nil; f = f.From {
		if f.path == p {
			r.diags.add(Warning, "include-cycle", l.file, tok, "file '"+name+"' includes itself - skipping")
			return
		}
	}
	if len(r.tree.Files) >= maxFiles {
		r.diags.add(Error, "include-many", l.file, tok, "more than "+strconv.Itoa(maxFiles)+" included files - skipping '"+name+"'")
		return
	}
	info, err := fs.Stat(r.fsys, p)
	if err == nil && (!info.Mode().IsRegular() || info.Mode()&0o111 != 0) {
		what := "' is not a regular non-executable file - skipping"
		if err == nil && info.IsDir() {
			what = "/' is a directory - skipping"
		}
		r.fault(check&checkRead != 0, "include-skipped", l, tok, "Configuration file '"+relative(l.file, p, name)+what)
		return
	}
	again := r.texts[p] != nil
	f, err := r.texts.file(r.fsys, name, p, maxText-r.bytes)
	if errors.Is(err, errTooLong) {
		r.diags.add(Error, "include-many", l.file, tok, "the files have more than "+bytesText(maxText)+" in all - skipping '"+name+"'")
		return
	}
	if err != nil {
		r.fault(check&checkRead != 0, "include-unreadable", l, tok,
			"Configuration file '"+relative(l.file, p, name)+"' open problem ("+reason(err)+") - skipping")
		return
	}
	if again {
		if r.spend(len(f.text)); r.exhausted {
			return
		}
	}
	f.From, f.FromLine, f.path = l.file, l.n, p
	r.read(f)
}

// relative is an included file's name as keepalived writes it: without the directory of the file that includes it.
func relative(from *File, p, name string) string {
	if dir := path.Dir(from.path); dir != "." {
		if rest, ok := strings.CutPrefix(p, dir+"/"); ok {
			return rest
		}
	}
	return name
}

// glob gives the sorted matches of a pattern without braces. As in glob(3), a wildcard does not match a leading dot.
func (r *reader) glob(from *File, pattern string) []string {
	p := inside(pattern)
	if !strings.HasPrefix(pattern, "/") {
		p = path.Join(path.Dir(from.path), pattern)
	}
	p = strings.TrimPrefix(strings.ReplaceAll(p, "[!", "[^"), "/")
	if !strings.ContainsAny(p, `*?[\`) {
		if _, err := fs.Stat(r.fsys, p); err != nil {
			return nil
		}
		return []string{p}
	}
	all, err := fs.Glob(r.fsys, p)
	if err != nil {
		return nil
	}
	out := all[:0]
	dot := strings.HasPrefix(path.Base(p), ".")
	for _, m := range all {
		if dot || !strings.HasPrefix(path.Base(m), ".") {
			out = append(out, m)
		}
	}
	sort.Strings(out)
	return out
}

// maxPatterns bounds what braces may expand to.
const maxPatterns = 1000

// braces expands {a,b} in a pattern, leftmost first. It gives false if that is too much.
func braces(s string) (out []string, all bool) {
	for work := []string{s}; len(work) > 0; {
		if len(out)+len(work) > maxPatterns {
			return nil, false
		}
		s := work[len(work)-1]
		work = work[:len(work)-1]
		start := strings.IndexByte(s, '{')
		end := braceEnd(s, start)
		if start < 0 || end < 0 {
			out = append(out, s)
			continue
		}
		alts := fields(s[start+1 : end])
		for i := len(alts) - 1; i >= 0; i-- {
			work = append(work, s[:start]+alts[i]+s[end+1:])
		}
	}
	return out, true
}

// braceEnd gives the place of the brace that closes the one at start, or -1.
func braceEnd(s string, start int) int {
	depth := 0
	for i := max(start, 0); i < len(s); i++ {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}
