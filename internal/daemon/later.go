package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// maxLines bounds the log lines that wait for a slow reader.
const maxLines = 10000

// later is events whose lines are written by w: who says them does not wait for whoever reads the log. They have the
// time at which they were said.
func later(ev events, w *worker) events {
	return events{slog.New(&laterHandler{Handler: ev.Handler(), worker: w})}
}

type laterHandler struct {
	slog.Handler
	worker *worker
}

func (h *laterHandler) Handle(ctx context.Context, r slog.Record) error {
	r = r.Clone()
	h.worker.do(func() {
		if n := h.worker.lost(); n > 0 {
			_ = h.Handler.Handle(ctx, slog.NewRecord(time.Now(), slog.LevelWarn, fmt.Sprintf("%d lines were lost: the log is read too slowly", n), 0))
		}
		_ = h.Handler.Handle(ctx, r)
	})
	return nil
}

func (h *laterHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &laterHandler{h.Handler.WithAttrs(attrs), h.worker}
}

func (h *laterHandler) WithGroup(name string) slog.Handler {
	return &laterHandler{h.Handler.WithGroup(name), h.worker}
}
