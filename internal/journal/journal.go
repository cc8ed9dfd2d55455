// Package journal keeps events on disk: one JSON object a line, in files of a bounded size and number, so that what
// happened is known after a restart, after a crash, and without a daemon to ask.
//
// The files of a folder are events.jsonl, which is written, and events.1.jsonl, events.2.jsonl, …, older and older. A line is
// written by one call; one that was torn by a crash or a full disk is passed over by readers, and the next one begins on a
// line of its own.
package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Event is one thing that happened. The names of its fields in JSON are kept from release to release.
type Event struct {
	At    time.Time         `json:"at"`
	Kind  string            `json:"kind"`            // see Kinds
	Level string            `json:"level,omitempty"` // warning or error. If empty, neither.
	Text  string            `json:"text"`
	VI    string            `json:"vi,omitempty"` // the VRRP instance
	VS    string            `json:"vs,omitempty"` // the virtual server, as the log names it
	RS    string            `json:"rs,omitempty"` // the real server, as the log names it
	If    string            `json:"if,omitempty"` // the interface
	By    string            `json:"by,omitempty"` // who did it
	More  map[string]string `json:"more,omitempty"`
}

// Kinds are what events are about.
var Kinds = []string{"check", "vrrp", "bfd", "config", "operator", "plane", "tell", "daemon"}

// maxLine bounds a line in bytes; a longer text is cut.
const maxLine = 16 << 10

// line is e as it stands in the file.
func line(e Event) ([]byte, error) {
	b, err := json.Marshal(e)
	if err == nil && len(b) > maxLine {
		e.Text, e.More = e.Text[:min(len(e.Text), 1<<10)]+"…", nil
		if b, err = json.Marshal(e); err == nil && len(b) > maxLine {
			err = fmt.Errorf("an event of %d bytes", len(b))
		}
	}
	return append(b, '\n'), err
}

// parse reads a line. false: it is torn, or none of ours.
func parse(b []byte) (e Event, ok bool) {
	if b = bytes.TrimSpace(b); len(b) == 0 || len(b) > maxLine || b[0] != '{' {
		return e, false
	}
	return e, json.Unmarshal(b, &e) == nil && !e.At.IsZero() && e.Kind != ""
}

// name is the file of age i; 0 is written.
func name(dir string, i int) string {
	if i == 0 {
		return filepath.Join(dir, "events.jsonl")
	}
	return filepath.Join(dir, fmt.Sprintf("events.%d.jsonl", i))
}

// Writer writes the journal of one folder. One goroutine at a time may use it.
type Writer struct {
	dir   string
	size  int64
	files int
	f     *os.File
	at    int64 // bytes of f
	torn  bool  // its last line has no end
}

// New makes a writer for a folder: of files with at most size bytes each, 16 KiB at least, and at most files of them. The
// folder is made with the first event; files that are too many are removed at the next change of file.
func New(dir string, size int64, files int) *Writer {
	return &Writer{dir: dir, size: max(size, maxLine+1), files: max(files, 1)}
}

func (w *Writer) open() error {
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name(w.dir, 0), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	w.f, w.at, w.torn = f, info.Size(), false
	if w.at > 0 {
		last := make([]byte, 1)
		_, err := f.ReadAt(last, w.at-1)
		w.torn = err != nil || last[0] != '\n'
	}
	return nil
}

// Add writes an event. After an error it is tried anew with the next one.
func (w *Writer) Add(e Event) error {
	b, err := line(e)
	if err != nil {
		return err
	}
	if w.f == nil {
		if err := w.open(); err != nil {
			return err
		}
	}
	if w.at > 0 && w.at+int64(len(b)) > w.size {
		if err := w.turn(); err != nil {
			return err
		}
	}
	if w.torn {
		b = append([]byte{'\n'}, b...)
	}
	n, err := w.f.Write(b)
	w.at += int64(n)
	if n > 0 {
		w.torn = n < len(b)
	}
	return err
}

// turn makes the file that is written an old one.
func (w *Writer) turn() error {
	_ = w.f.Close() // what was written is with the kernel
	w.f = nil
	for i := w.files; ; i++ { // those that are too many, also of a time when more were kept
		if os.Remove(name(w.dir, i)) != nil && i > w.files {
			break
		}
	}
	for i := w.files - 1; i >= 0; i-- {
		if i == w.files-1 {
			_ = os.Remove(name(w.dir, i)) // which may not be there
			continue
		}
		if err := os.Rename(name(w.dir, i), name(w.dir, i+1)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return w.open()
}

// Close ends the writing.
func (w *Writer) Close() error {
	if w.f == nil {
		return nil
	}
	f := w.f
	w.f = nil
	return f.Close()
}
