package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"vipd/internal/conf"
	"vipd/internal/host"
)

const (
	fifoLimit = 1024             // lines that wait for a pipe that is full
	fifoPause = 30 * time.Second // between two log lines about lost ones
	fifoRetry = time.Second      // between two tries to write to, or to open, a pipe
)

// pipe is a host.FIFO, or a test's.
type pipe interface {
	Write(line []byte, wait time.Duration) error
	Current() bool
	Close() error
}

// fifo is one notify FIFO with its writer and its reader.
//
// keepalived: a line that finds the pipe full, or that comes while it is gone, is lost without a word.
type fifo struct {
	what   string // "", vrrp_ or lvs_, as in its keyword
	cfg    conf.FIFO
	events events
	open   func() (pipe, error)
	run    func(context.Context, host.Command) host.Exit

	mu    sync.Mutex
	lines []string
	lost  int
	wake  chan struct{}
	quit  chan struct{}
	done  chan struct{}
	end   context.CancelFunc // of the reader
}

// openFIFO makes and opens a FIFO and starts its reader, which is given the path as its last argument.
func (t *teller) openFIFO(what string, cfg conf.FIFO, c *commands, umask fs.FileMode) *fifo {
	owner, err := c.identity(&conf.Script{User: cfg.User, Group: cfg.Group})
	if err != nil {
		t.events.Error(fmt.Sprintf("Unable to create %snotify fifo %s: %v", what, cfg.Path, err))
		return nil
	}
	f := &fifo{what: what, cfg: cfg, events: t.events, run: t.run, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	f.open = func() (pipe, error) {
		p, err := host.OpenFIFO(cfg.Path, owner, 0o644&^umask)
		if err != nil {
			return nil, err
		}
		return p, nil
	}
	p, err := f.open()
	if err != nil {
		t.events.Error(fmt.Sprintf("Unable to open %snotify fifo %s: %v", what, cfg.Path, err))
		return nil
	}
	ctx, cancel := context.WithCancel(t.ctx)
	f.end = cancel
	if cmd, ok := c.ready(cfg.Script); ok {
		cmd.Args = append(cmd.Args[:len(cmd.Args):len(cmd.Args)], cfg.Path)
		t.wg.Go(func() { f.read(ctx, cmd) })
	}
	t.wg.Go(func() { f.serve(p) })
	return f
}

// read runs the reader. One that fails is started again, ever more slowly; one that ends well has ended.
//
// keepalived: a reader that ends is not started again.
func (f *fifo) read(ctx context.Context, cmd host.Command) {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		begin := time.Now()
		e := f.run(ctx, cmd)
		if ctx.Err() != nil {
			return
		}
		text := f.name() + " script terminated"
		if e.OK() {
			f.events.Info(text)
			return
		}
		if time.Since(begin) > time.Minute {
			pause = time.Second
		}
		f.events.Warn(fmt.Sprintf("%s: %s; it is started again in %s", text, e, pause))
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// name is how keepalived's log names the FIFO.
func (f *fifo) name() string {
	switch f.what {
	case "vrrp_":
		return "vrrp notify fifo"
	case "lvs_":
		return "lvs notify fifo"
	}
	return "notify fifo"
}

// put adds a line. It never waits: when nobody reads for long the oldest lines go.
func (f *fifo) put(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.lines) >= fifoLimit {
		f.lines = f.lines[1:]
		f.lost++
	}
	f.lines = append(f.lines, line)
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// serve writes lines until quit, and opens the FIFO again when somebody has removed or replaced it.
func (f *fifo) serve(p pipe) {
	defer close(f.done)
	var told time.Time
	for stopping := false; ; {
		line, ok := f.first()
		if !ok {
			if stopping {
				break
			}
			select {
			case <-f.wake:
			case <-f.quit:
				stopping = true
			}
			continue
		}
		p = f.reopened(p)
		if p == nil || !f.write(p, line) {
			told = f.complain(told, p)
			if stopping {
				break
			}
			if p == nil {
				f.pause()
			}
			select {
			case <-f.quit:
				stopping = true
			default:
			}
			continue
		}
		f.taken(line)
	}
	if p != nil {
		_ = p.Close()
	}
}

func (f *fifo) pause() {
	select {
	case <-f.quit:
	case <-time.After(fifoRetry):
	}
}

// write tells whether the line is in the pipe.
func (f *fifo) write(p pipe, line string) bool {
	wait := fifoRetry
	select {
	case <-f.quit:
		wait = fifoRetry / 10
	default:
	}
	err := p.Write([]byte(line), wait)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		f.events.Error(fmt.Sprintf("write to %snotify fifo %s: %v", f.what, f.cfg.Path, err))
	}
	return err == nil
}

func (f *fifo) reopened(p pipe) pipe {
	if p != nil && p.Current() {
		return p
	}
	if p != nil {
		_ = p.Close()
	}
	p, err := f.open()
	if err != nil {
		return nil
	}
	f.events.Info(f.what + "notify fifo " + f.cfg.Path + " was gone and is made again")
	return p
}

// complain says now and then that lines are lost.
func (f *fifo) complain(told time.Time, p pipe) time.Time {
	f.mu.Lock()
	lost := f.lost
	if time.Since(told) >= fifoPause {
		f.lost = 0
	}
	f.mu.Unlock()
	if time.Since(told) < fifoPause || lost == 0 && !told.IsZero() {
		return told
	}
	why := "nobody reads it and it is full"
	if p == nil {
		why = "it cannot be opened"
	}
	f.events.Warn(fmt.Sprintf("%snotify fifo %s: %s, %d lines are lost", f.what, f.cfg.Path, why, lost))
	return time.Now()
}

func (f *fifo) first() (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.lines) == 0 {
		return "", false
	}
	return f.lines[0], true
}

// taken removes the line that was written, if put has not done so.
func (f *fifo) taken(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.lines) > 0 && f.lines[0] == line {
		f.lines = f.lines[1:]
	}
}

// close writes what waits if that is quick, and ends the reader.
func (f *fifo) close() {
	close(f.quit)
	<-f.done
	f.end()
}
