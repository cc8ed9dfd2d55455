package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	disk "vipd/internal/journal"
)

// Where events meet the journal on disk. It is written by a goroutine of its own: a disk that stands still holds nobody up.

// maxEarly bounds the events that wait for the journal to be opened, which is when the instance is known to be ours.
const maxEarly = 1000

// recorder takes events on their way to the journal. The zero value keeps the first ones until open or close.
type recorder struct {
	mu     sync.Mutex
	early  []disk.Event
	closed bool
	worker *worker // nil: not open
	cancel context.CancelFunc
	done   chan struct{}

	// Of the worker alone.
	file   *disk.Writer
	say    events
	failed bool // the last event could not be written, which was said
	lost   int
}

func (r *recorder) take(e disk.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
	case r.worker != nil:
		r.worker.do(func() { r.write(e) })
	case len(r.early) < maxEarly:
		r.early = append(r.early, e)
	}
}

// open begins the writing. say is told of a disk that cannot be written, once, and when it can be again.
func (r *recorder) open(file *disk.Writer, say events) {
	ctx, cancel := context.WithCancel(context.Background())
	w, done := newWorker(maxLines), make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.worker, r.file, r.say, r.cancel, r.done = w, file, say, cancel, done
	for _, e := range r.early {
		w.do(func() { r.write(e) })
	}
	r.early = nil
	go func() {
		defer close(done)
		w.run(ctx, nil)
	}()
}

// close writes what waits and ends; events that come later are not kept.
func (r *recorder) close() {
	r.mu.Lock()
	r.closed, r.early = true, nil
	cancel := r.cancel
	r.mu.Unlock()
	if cancel == nil {
		return
	}
	cancel()
	<-r.done
	_ = r.file.Close()
}

// write writes one event. What is said of a failure is an event itself: it fails in silence.
func (r *recorder) write(e disk.Event) {
	r.lost += r.worker.lost()
	err := r.file.Add(e)
	switch {
	case err != nil && !r.failed:
		r.failed = true
		r.lost++
		r.say.Error("events are not kept in the journal until it can be written again: " + err.Error())
	case err != nil:
		r.lost++
	case r.failed || r.lost > 0:
		lost := r.lost
		r.failed, r.lost = false, 0
		r.say.Warn(fmt.Sprintf("the journal is written again; %d events are missing in it", lost))
	}
}

// openJournal begins to keep events, once the instance is known to be ours.
func (d *daemon) openJournal(context.Context) error {
	sink := d.events.sink()
	if d.opts.State == "" || d.opts.JournalSize <= 0 {
		sink.close()
		return nil
	}
	sink.open(disk.New(filepath.Join(d.opts.State, d.opts.Instance), d.opts.JournalSize, d.opts.JournalFiles), d.events)
	return nil
}

// journalEvent is a log record as the journal keeps it.
func journalEvent(attrs []slog.Attr, r slog.Record) disk.Event {
	e := disk.Event{At: r.Time, Kind: "daemon", Text: r.Message}
	switch {
	case r.Level >= slog.LevelError:
		e.Level = "error"
	case r.Level >= slog.LevelWarn:
		e.Level = "warning"
	}
	named := map[string]*string{kindKey: &e.Kind, byKey: &e.By, "vi": &e.VI, "vs": &e.VS, "rs": &e.RS, "if": &e.If}
	add := func(a slog.Attr) bool {
		if at, ok := named[a.Key]; ok {
			*at = a.Value.String()
			return true
		}
		if e.More == nil {
			e.More = map[string]string{}
		}
		e.More[a.Key] = a.Value.String()
		return true
	}
	for _, a := range attrs {
		add(a)
	}
	r.Attrs(add)
	return e
}
