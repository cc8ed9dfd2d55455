package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// events is the one place where the daemon speaks: every event is one log line here. Lines that operators grep for
// have keepalived's words; what a machine wants of them is in the attributes vi, vs, rs and if.
type events struct{ *slog.Logger }

// newEvents writes to w as text (a line a person reads) or json (one object a line).
// Details, which keepalived says only with -D, are at the level Debug.
func newEvents(w io.Writer, format string, detail bool) (events, error) {
	level := slog.LevelInfo
	if detail {
		level = slog.LevelDebug
	}
	switch format {
	case "", "text":
		return events{slog.New(&lineHandler{out: w, level: level, mu: new(sync.Mutex)})}, nil
	case "json":
		return events{slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))}, nil
	}
	return events{}, fail(ExitFatal, "--log-format text or --log-format json", "log format %q is not known", format)
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
