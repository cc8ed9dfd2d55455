package journal

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

// Filter chooses events. The zero value takes all.
type Filter struct {
	Since, Until time.Time // If zero, from the first, to the last.
	Kinds        []string  // If empty, all.
}

func (f Filter) takes(e Event) bool {
	return (f.Since.IsZero() || !e.At.Before(f.Since)) && (f.Until.IsZero() || !e.At.After(f.Until)) &&
		(len(f.Kinds) == 0 || slices.Contains(f.Kinds, e.Kind))
}

// maxFiles is how many old files are looked for at most.
const maxFiles = 10000

// Reader reads the journal of one folder, the oldest event first, also while it is written.
type Reader struct {
	dir     string
	filter  Filter
	f       *os.File      // events.jsonl, read up to its end
	in      *bufio.Reader // of f
	part    []byte        // a line whose end has not come yet
	long    bool          // that line is too long, the rest of it is passed over
	Skipped int           // lines that were torn or none of ours
}

// NewReader makes a reader. A folder without a journal is an error that is fs.ErrNotExist.
func NewReader(dir string, filter Filter) (*Reader, error) {
	if _, err := os.Stat(name(dir, 0)); err != nil {
		if _, old := os.Stat(name(dir, 1)); old != nil {
			return nil, err
		}
	}
	return &Reader{dir: dir, filter: filter}, nil
}

// All calls visit for every event that is there, until it returns false. Called again it goes on with those that have come
// since.
func (r *Reader) All(visit func(Event) bool) error {
	if r.f == nil {
		more, err := r.old(visit)
		if !more || err != nil {
			return err
		}
	}
	for {
		more, err := r.rest(visit)
		if !more || err != nil {
			return err
		}
		if !r.turned() {
			return nil
		}
		r.next()
	}
}

// old reads the old files, which are opened first: what is renamed meanwhile stays open.
func (r *Reader) old(visit func(Event) bool) (more bool, err error) {
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for i := range maxFiles {
		f, err := os.Open(name(r.dir, i))
		if errors.Is(err, fs.ErrNotExist) && i == 0 {
			continue
		}
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			return false, err
		}
		if i == 0 {
			r.open(f)
			continue
		}
		files = append(files, f)
	}
	for _, f := range slices.Backward(files) {
		in := bufio.NewReaderSize(f, maxLine)
		for {
			b, err := in.ReadBytes('\n')
			if e, ok := parse(b); ok {
				if r.filter.takes(e) && !visit(e) {
					return false, nil
				}
			} else if len(b) > 1 {
				r.Skipped++
			}
			if err != nil {
				break
			}
		}
	}
	return true, nil
}

func (r *Reader) open(f *os.File) {
	r.f, r.in, r.part, r.long = f, bufio.NewReaderSize(f, maxLine), nil, false
}

// rest reads what is in the file that is written and was not read yet. A last line without its end waits.
func (r *Reader) rest(visit func(Event) bool) (more bool, err error) {
	for r.f != nil {
		b, err := r.in.ReadSlice('\n')
		if !r.long {
			r.part = append(r.part, b...)
		}
		if r.long = r.long || len(r.part) > maxLine; r.long {
			r.part = nil
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			return true, nil
		case err != nil:
			return false, err
		}
		e, ok := parse(r.part)
		if !ok && (r.long || len(r.part) > 1) {
			r.Skipped++
		}
		r.part, r.long = nil, false
		if ok && r.filter.takes(e) && !visit(e) {
			return false, nil
		}
	}
	return true, nil
}

// turned tells whether another file is written now.
func (r *Reader) turned() bool {
	now, err := os.Stat(name(r.dir, 0))
	if err != nil {
		return false
	}
	if r.f == nil {
		return true
	}
	was, err := r.f.Stat()
	return err == nil && !os.SameFile(now, was)
}

// next goes on with the file that is written now. What was torn at the end of the one before is passed over.
func (r *Reader) next() {
	if len(r.part) > 0 {
		r.Skipped++
	}
	f, err := os.Open(name(r.dir, 0))
	if err != nil {
		return // it is tried again at the next call
	}
	_ = r.Close()
	r.open(f)
}

// Close ends the reading.
func (r *Reader) Close() error {
	if r.f == nil {
		return nil
	}
	return r.f.Close()
}
