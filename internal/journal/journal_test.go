package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func event(i int) Event {
	return Event{At: noon.Add(time.Duration(i) * time.Second), Kind: Kinds[i%2], Text: fmt.Sprintf("event %d", i)}
}

func write(t *testing.T, dir string, size int64, files, from, to int) {
	t.Helper()
	w := New(dir, size, files)
	defer w.Close()
	for i := from; i < to; i++ {
		if err := w.Add(event(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// texts are what a reader of the folder gives, by number.
func texts(t *testing.T, dir string, f Filter) (all []string, skipped int) {
	t.Helper()
	r, err := NewReader(dir, f)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.All(func(e Event) bool { all = append(all, strings.TrimPrefix(e.Text, "event ")); return true }); err != nil {
		t.Fatal(err)
	}
	return all, r.Skipped
}

func TestEventsComeBackInTheirOrderAsTheyWereAlsoOverARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	write(t, dir, 1<<20, 2, 0, 3)
	write(t, dir, 1<<20, 2, 3, 5)
	if got, skipped := texts(t, dir, Filter{}); strings.Join(got, " ") != "0 1 2 3 4" || skipped != 0 {
		t.Errorf("%v, %d skipped", got, skipped)
	}
	if got, _ := texts(t, dir, Filter{Kinds: []string{Kinds[1]}}); strings.Join(got, " ") != "1 3" {
		t.Errorf("%v", got)
	}
	if got, _ := texts(t, dir, Filter{Since: noon.Add(time.Second), Until: noon.Add(3 * time.Second)}); strings.Join(got, " ") != "1 2 3" {
		t.Errorf("%v", got)
	}
	if _, err := NewReader(filepath.Join(dir, "none"), Filter{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestTheFilesAreBoundedInSizeAndNumber(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, 1, 3, 0, 2000) // the least size is one longest line
	all, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(all) != 3 {
		t.Fatalf("%v, %v", all, err)
	}
	for _, f := range all {
		if info, err := os.Stat(f); err != nil || info.Size() > maxLine+1 {
			t.Errorf("%s has %d bytes, %v", f, info.Size(), err)
		}
	}
	got, skipped := texts(t, dir, Filter{})
	if len(got) < 300 || len(got) > 1000 || got[len(got)-1] != "1999" || skipped != 0 {
		t.Errorf("%d events, the last %s, %d skipped", len(got), got[len(got)-1], skipped)
	}
	for i, text := range got {
		if want := fmt.Sprint(2000 - len(got) + i); text != want {
			t.Fatalf("event %d is %s, want %s", i, text, want)
		}
	}
	write(t, dir, 1, 1, 2000, 2400) // fewer are kept from now on
	if all, _ := filepath.Glob(filepath.Join(dir, "*")); len(all) != 1 {
		t.Errorf("%v", all)
	}
}

func TestATornLineIsPassedOverAndTheNextBeginsAnew(t *testing.T) {
	for name, junk := range map[string]string{"half a line": `{"at":"2026-01-02T12:00:00Z","ki`, "zeroes": "\x00\x00\x00\x00", "another text": "hello\n", "no event": "{}\n", "a line without end": strings.Repeat("x", 3*maxLine)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, 1<<20, 2, 0, 2)
			path := filepath.Join(dir, "events.jsonl")
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, append(text, junk...), 0o600); err != nil {
				t.Fatal(err)
			}
			write(t, dir, 1<<20, 2, 2, 4)
			if got, skipped := texts(t, dir, Filter{}); strings.Join(got, " ") != "0 1 2 3" || skipped != 1 {
				t.Errorf("%v, %d skipped", got, skipped)
			}
		})
	}
}

func TestAReaderGoesOnWithWhatComesAlsoOverAChangeOfFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, 1<<20, 2, 0, 2)
	r, err := NewReader(dir, Filter{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []string
	read := func() {
		t.Helper()
		if err := r.All(func(e Event) bool { got = append(got, strings.TrimPrefix(e.Text, "event ")); return true }); err != nil {
			t.Fatal(err)
		}
	}
	read()
	path := filepath.Join(dir, "events.jsonl")
	whole, err := line(event(2))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, part := range [][]byte{whole[:10], whole[10:]} { // a line that is read while it is written
		if _, err := f.Write(part); err != nil {
			t.Fatal(err)
		}
		read()
	}
	write(t, dir, 1<<20, 2, 3, 4)
	if err := os.Rename(path, filepath.Join(dir, "events.1.jsonl")); err != nil {
		t.Fatal(err)
	}
	read()
	write(t, dir, 1<<20, 2, 4, 6)
	read()
	if strings.Join(got, " ") != "0 1 2 3 4 5" || r.Skipped != 0 {
		t.Errorf("%v, %d skipped", got, r.Skipped)
	}
}

func TestWhatCannotBeWrittenIsAnErrorAndTriedAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "j")
	w := New(dir, 1<<20, 2)
	defer w.Close()
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	disk := w.f
	w.f = full
	if err := w.Add(event(0)); err == nil {
		t.Error("a full disk is no error")
	}
	w.f = disk
	full.Close()
	if err := w.Add(event(1)); err != nil {
		t.Error(err)
	}
	if got, skipped := texts(t, dir, Filter{}); strings.Join(got, " ") != "1" || skipped != 0 {
		t.Errorf("%v, %d skipped", got, skipped)
	}
	if err := New("/proc/self/none", 1<<20, 2).Add(event(0)); err == nil {
		t.Error("a folder that cannot be written is no error")
	}
}

func TestALongTextIsCut(t *testing.T) {
	dir := t.TempDir()
	w := New(dir, 1<<20, 2)
	defer w.Close()
	e := event(0)
	e.Text = strings.Repeat("\x01", 1<<20)
	if err := w.Add(e); err != nil {
		t.Fatal(err)
	}
	if got, skipped := texts(t, dir, Filter{}); len(got) != 1 || len(got[0]) > 1100 || skipped != 0 {
		t.Errorf("%d events, %d skipped", len(got), skipped)
	}
}

// FuzzJournal: whatever is in the files, every event of it is one that may be written again.
func FuzzJournal(f *testing.F) {
	whole, _ := line(Event{At: noon, Kind: "check", Level: "error", Text: "x", VI: "a", More: map[string]string{"a": "b"}})
	f.Add(whole, []byte("{\n\n"))
	f.Add([]byte(`{"at":"2026-01-02T12:00:00Z","kind":"x","text":"`), whole)
	f.Add(bytes.Repeat([]byte("a"), 2*maxLine), append(whole, whole...))
	f.Fuzz(func(t *testing.T, old, now []byte) {
		dir := t.TempDir()
		for i, b := range [][]byte{now, old} {
			if err := os.WriteFile(name(dir, i), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r, err := NewReader(dir, Filter{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := r.All(func(e Event) bool {
			b, err := line(e)
			if again, ok := parse(b); err == nil && (!ok || !again.At.Equal(e.At) || again.Kind != e.Kind) {
				t.Errorf("%+v became %+v", e, again)
			}
			return true
		}); err != nil {
			t.Error(err)
		}
	})
}
