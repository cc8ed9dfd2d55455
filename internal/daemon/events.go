package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// events is the one place where the daemon speaks: every event is one log line here, and one in the journal. Lines that
// operators grep for have keepalived's words; what a machine wants of them is in the attributes vi, vs, rs and if.
type events struct{ *slog.Logger }

// newEvents writes to w as text (a line a person reads) or json (one object a line).
// Details, which keepalived says only with -D, are at the level Debug.
func newEvents(w io.Writer, format string, detail bool) (events, error) {
	level := slog.LevelInfo
	if detail {
		level = slog.LevelDebug
	}
	var out slog.Handler
	switch format {
	case "", "text":
		out = &lineHandler{out: w, level: level, mu: new(sync.Mutex)}
	case "json":
		out = slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})
	default:
		return events{}, fail(ExitFatal, "--log-format text or --log-format json", "log format %q is not known", format)
	}
	return events{slog.New(&eventHandler{next: out, sink: new(recorder)})}, nil
}

// Attributes that are for the journal alone.
const (
	kindKey = "kind" // of event: journal.Kinds
	byKey   = "by"   // who did it
)

// levelNote is that of what stands in the journal and not in the log.
const levelNote = slog.Level(-2)

// of are the same events, of one kind in the journal.
func (e events) of(kind string) events { return events{e.With(kindKey, kind)} }

// note puts something into the journal that the log says in other words or not at all.
func (e events) note(text string, attrs ...any) {
	e.Log(context.Background(), levelNote, text, attrs...)
}

// sink is where events go on their way to the journal.
func (e events) sink() *recorder {
	if h, ok := e.Handler().(*eventHandler); ok {
		return h.sink
	}
	return new(recorder)
}

// eventHandler gives every event to the journal and, but for notes, to the log.
type eventHandler struct {
	next  slog.Handler
	sink  *recorder
	attrs []slog.Attr
}

func (h *eventHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l == levelNote || h.next.Enabled(ctx, l)
}

func (h *eventHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var said []slog.Attr
	for _, a := range attrs {
		if a.Key != kindKey && a.Key != byKey {
			said = append(said, a)
		}
	}
	next := h.next
	if len(said) > 0 {
		next = next.WithAttrs(said)
	}
	return &eventHandler{next: next, sink: h.sink, attrs: append(append([]slog.Attr(nil), h.attrs...), attrs...)}
}

// WithGroup is not used by this program; the attributes stay flat.
func (h *eventHandler) WithGroup(string) slog.Handler { return h }

func (h *eventHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level == levelNote || r.Level >= slog.LevelInfo {
		h.sink.take(journalEvent(h.attrs, r))
	}
	if r.Level == levelNote {
		return nil
	}
	said := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != kindKey && a.Key != byKey {
			said.AddAttrs(a)
		}
		return true
	})
	return h.next.Handle(ctx, said)
}

// lineHandler prints "TIME text key=value…", with the level in front of the text only when it is not the usual one.
type lineHandler struct {
	out   io.Writer
	level slog.Level
	mu    *sync.Mutex
	attrs []slog.Attr
}

func (h *lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &lineHandler{out: h.out, level: h.level, mu: h.mu, attrs: append(append([]slog.Attr(nil), h.attrs...), attrs...)}
}

// WithGroup is not used by this program; the attributes stay flat.
func (h *lineHandler) WithGroup(string) slog.Handler { return h }

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Time.Format("2006-01-02T15:04:05.000Z07:00 "))
	switch {
	case r.Level >= slog.LevelError:
		b.WriteString("ERROR ")
	case r.Level >= slog.LevelWarn:
		b.WriteString("WARNING ")
	}
	b.WriteString(r.Message)
	add := func(a slog.Attr) bool {
		text := a.Value.String()
		if text == "" || strings.ContainsAny(text, " \"\n") {
			text = fmt.Sprintf("%q", text)
		}
		fmt.Fprintf(&b, " %s=%s", a.Key, text)
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.out, b.String())
	return err
}
