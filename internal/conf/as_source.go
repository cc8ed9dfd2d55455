package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// asFile is a file that is being read, or all that an include found.
type asFile struct {
	*asText
	name    string // in front of messages; "" for the main file as its first reader knows it
	path    string // inside the fs.FS
	line    int
	found   []string // what is left to be read after it
	check   includeCheck
	before  includeCheck // in force before the include
	back    string       // the directory before
	moved   bool
	matches int
}

// asText is what is read; keepalived's copy has the text of all files.
type asText struct {
	text string
	copy bool
}

// gets reads up to a line end, as much as the buffer takes. What follows a zero byte is lost.
func (t *asText) gets() (string, bool) {
	if t == nil || t.text == "" {
		return "", false
	}
	s := t.text[:min(len(t.text), asBuffer-1)]
	if n := strings.IndexByte(s, '\n'); n >= 0 {
		s = s[:n+1]
	}
	t.text = t.text[len(s):]
	s, _, _ = strings.Cut(s, "\x00")
	return s, true
}

// start opens the main file.
func (r *asReader) start(name string) bool {
	r.given = newFile(name, "")
	if strings.HasPrefix(name, "/") {
		r.dir = "/"
	}
	r.of.diags.where = r.where
	return r.openAll(name, checkRead|checkMatch|checkWildcard)
}

// startCopy lets what another reader read be read.
func (r *asReader) startCopy(name, copy string) {
	r.given, r.child = newFile(name, ""), true
	if strings.HasPrefix(name, "/") {
		r.dir = "/"
	}
	r.of.diags.where = r.where
	r.files = append(r.files, &asFile{asText: &asText{copy, true}, name: name})
}

// where is what stands in front of a message.
func (r *asReader) where() string {
	n := len(r.files)
	if n == 0 {
		return ""
	}
	f := r.files[n-1]
	if f.name == "" && n > 1 {
		f = r.files[n-2]
	}
	switch {
	case f.name != "":
		return fmt.Sprintf("(%s: Line %d) ", f.name, f.line)
	case f.line > 0:
		return fmt.Sprintf("(Line %d) ", f.line)
	}
	return ""
}

// physical gives the next line of a file that has something in it.
func (r *asReader) physical() (string, bool) {
	for len(r.files) > 0 {
		f := r.files[len(r.files)-1]
		s, ok := f.gets()
		if !ok {
			r.endFile(f)
			continue
		}
		if r.child && s != "" && (s[0] == '#' || s[0] == '!') {
			r.mark(f, s)
			continue
		}
		if strings.HasSuffix(s, "\n") {
			f.line++
		}
		for s != "" && (s[len(s)-1] == '\n' || s[len(s)-1] == '\r') {
			s = s[:len(s)-1]
		}
		if s == "" {
			r.closeDefinition()
			r.write("")
			continue
		}
		s = r.decomment(s)
		if includeEnd(s) > 0 {
			r.write("")
		} else {
			r.write(s)
		}
		if s != "" {
			return s, true
		}
	}
	return "", false
}

// write adds a line to the copy.
func (r *asReader) write(s string) {
	if !r.child {
		r.copy.WriteString(s)
		r.copy.WriteByte('\n')
	}
}

// mark handles a line of the copy that says which file follows, or that one ends.
func (r *asReader) mark(f *asFile, s string) {
	switch {
	case strings.HasPrefix(s, "#!"):
	case s[0] == '#':
		name := ""
		if s = s[:len(s)-1]; len(s) > 2 {
			name = s[2:]
		}
		in := &asFile{asText: f.asText, name: name, path: inside(r.path(name))}
		r.files = append(r.files, in)
		r.enter(in, name)
	default:
		r.leave(f)
		r.files = r.files[:len(r.files)-1]
	}
}

// enter makes the directory of a file the working directory, leave the one before.
func (r *asReader) enter(f *asFile, name string) {
	f.back, f.moved = r.dir, strings.Contains(name, "/")
	if f.moved {
		r.dir = r.path(path.Dir(name))
	}
}

func (r *asReader) leave(f *asFile) {
	if f.moved {
		r.dir = f.back
	}
}

// path is a name as seen from the working directory.
func (r *asReader) path(name string) string {
	if strings.HasPrefix(name, "/") {
		return path.Clean(name)
	}
	return path.Join(r.dir, name)
}

// endFile goes on with what the same include found, or with what stands around it.
func (r *asReader) endFile(f *asFile) {
	if !f.asText.isCopy() && !r.child {
		r.write("!")
	}
	f.asText = nil
	r.of.check = f.before
	r.leave(f)
	if !r.open1(f) {
		r.files = r.files[:len(r.files)-1]
	}
}

func (t *asText) isCopy() bool { return t != nil && t.copy }

// includeEnd gives the length of the keyword of a line that is an include, or 0.
func includeEnd(s string) int {
	if !strings.HasPrefix(s, "include") || len(s) == 7 {
		return 0
	}
	if strings.IndexByte(asBlanks, s[7]) >= 0 {
		return 7
	}
	if len(s) > 8 && strings.IndexByte("rmwba", s[7]) >= 0 && strings.IndexByte(asBlanks, s[8]) >= 0 {
		return 8
	}
	return 0
}

// include opens the files of a line that is an include.
func (r *asReader) include(s string) bool {
	n := includeEnd(s)
	if n == 0 {
		return false
	}
	r.openAll(strings.TrimLeft(s[n+1:], " \t"), includes[s[:n]])
	return true
}

// openAll opens the first file that a pattern finds.
func (r *asReader) openAll(pattern string, check includeCheck) bool {
	f := &asFile{check: check, before: r.of.check}
	r.files = append(r.files, f)
	if r.find(f, pattern) && r.open1(f) {
		return true
	}
	r.files = r.files[:len(r.files)-1]
	return false
}

// find looks for the files of a pattern.
func (r *asReader) find(f *asFile, pattern string) bool {
	missing := 0
	alts, all := braces(pattern)
	if r.of.globs += len(alts); !all || r.of.globs > maxGlobs {
		d := r.say("include-many", "Too many patterns of config files '"+pattern+"' - skipping")
		d.class = classFatal // keepalived: has no bound
		return false
	}
	for _, alt := range alts {
		found := r.glob(alt)
		if len(found) == 0 {
			missing++
		}
		f.found = append(f.found, found...)
	}
	wild := strings.ContainsAny(pattern, "*?[")
	switch check := f.check | r.of.check; {
	case missing == 0:
		return true
	case len(f.found) > 0:
		r.fault(checkBrace, `Some config files missing: "`+pattern+`".`)
		return check&checkBrace == 0
	case wild && r.of.dirThere(&File{path: path.Join(r.dir, "x")}, pattern):
		if check&checkWildcard != 0 {
			r.fault(checkWildcard, "No config files matched '"+pattern+"'.")
		}
	case strings.Contains(pattern, "{"):
		r.fault(checkBrace, "Config files missing '"+pattern+"'.")
	default:
		r.fault(checkMatch, "Config files missing '"+pattern+"'.")
	}
	return false
}

// glob gives what a pattern without braces finds, named as the pattern names it.
func (r *asReader) glob(pattern string) []string {
	found := r.of.glob(&File{path: path.Join(r.dir, "x")}, pattern)
	lead := pattern
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		lead = pattern[:i]
	} else if len(found) > 0 {
		found[0] = pattern
		return found
	}
	lead = lead[:strings.LastIndexByte(lead, '/')+1]
	base := inside(r.path(lead + "."))
	for i, p := range found {
		found[i] = lead + strings.TrimPrefix(strings.TrimPrefix(p, base), "/")
		if base == "." || base == "" {
			found[i] = lead + p
		}
	}
	return found
}

// open1 opens the next of the found files that can be read.
func (r *asReader) open1(f *asFile) bool {
	for len(f.found) > 0 {
		name := f.found[0]
		f.found = f.found[1:]
		p := inside(r.path(name))
		info, err := fs.Stat(r.of.fsys, p)
		switch {
		case err == nil && info.IsDir():
			r.fault(checkRead, "Configuration file '"+strings.TrimSuffix(name, "/")+"/' is a directory - skipping")
			continue
		case err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 != 0:
			r.fault(checkRead, "Configuration file '"+name+"' is not a regular non-executable file - skipping")
			continue
		}
		text, err := readText(r.of.fsys, p, maxText-r.of.bytes)
		if r.opened++; err == nil && (r.opened > maxFiles || r.reading(p)) {
			// keepalived: reads it again and again until it may open no more.
			err = errors.New("Too many open files")
		}
		if err != nil {
			r.fault(checkRead, "Configuration file '"+name+"' open problem ("+reason(err)+") - skipping")
			continue
		}
		if r.read[p] {
			if r.made += strings.Count(text, "\n"); !r.makes() {
				return false
			}
		}
		r.read[p] = true
		r.write("# " + name)
		f.asText, f.path, f.line = &asText{text: text}, p, 0
		r.of.bytes += len(text)
		r.copy.Grow(len(text))
		if len(r.files) > 1 || len(f.found) > 0 || f.matches > 0 {
			f.name = name
		}
		f.matches++
		r.enter(f, name)
		return true
	}
	return false
}

// reading tells whether a file is being read.
func (r *asReader) reading(path string) bool {
	for _, f := range r.files {
		if f.asText != nil && f.path == path {
			return true
		}
	}
	return false
}

// fault reports something about an include, which counts where it was asked for.
func (r *asReader) fault(kind includeCheck, text string) {
	d := r.say("include-missing", text)
	if d.class = classSaid; (r.of.check|r.files[len(r.files)-1].check)&kind != 0 {
		d.class = classFile
	}
}
