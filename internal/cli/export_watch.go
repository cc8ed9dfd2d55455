package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"vipd/internal/haproxy"
)

// watcher keeps a file, and running HAProxies, in step with a daemon's pools. It compares what is with what should be at every look,
// so that whatever was missed or failed is made good at a later one.
type watcher struct {
	exporting
	env     Env
	ask     func(context.Context) (f haproxy.File, master bool, err error)
	said    map[string]string // about what to what was said last
	stale   bool              // HAProxy must read the file anew
	retryAt time.Time         // of a command that failed
	asked   string            // the structure for which missing servers have led to a reload
}

// The longest that a look, and a command that reloads, may take; and the time before a failed one is tried again.
const (
	lookTime    = 10 * time.Second
	reloadTime  = time.Minute
	reloadAgain = 10 * time.Second
)

func (w *watcher) run(ctx context.Context) {
	every := cmp.Or(w.env.ExportEvery, exportEvery)
	w.said = map[string]string{}
	w.stale = true // the one before may have owed a reload
	for ctx.Err() == nil {
		w.look(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(every):
		}
	}
}

// steady is the same text for the same failure: without the name of a temporary file and the port of a socket.
func steady(what string, err error) string {
	var path *fs.PathError
	var op *net.OpError
	switch {
	case errors.As(err, &path):
		return fmt.Sprintf("%s: %v", what, path.Err)
	case errors.As(err, &op):
		return fmt.Sprintf("%s: %v", what, op.Err)
	}
	return err.Error()
}

// say says something once, until it is something else; nothing, when all is well again.
func (w *watcher) say(about, what string) {
	if what != w.said[about] && what != "" {
		fmt.Fprintf(w.env.Stderr, "vipd: export: %s\n", clean(what))
	}
	if what == "" && w.said[about] != "" {
		fmt.Fprintf(w.env.Stderr, "vipd: export: %s: well again\n", about)
	}
	w.said[about] = what
}

func (w *watcher) look(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	f, master, err := w.ask(within)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		w.say("the daemon", err.Error()+" (HAProxy stays as it is)")
		return
	}
	w.say("the daemon", "")
	for _, why := range f.LeftOut {
		w.say(why, "left out: "+why)
	}
	if w.whileMaster && !master {
		return
	}
	w.keepFile(f)
	w.tell(within, f)
	w.reread(ctx)
}

// keepFile writes the file where it is another.
func (w *watcher) keepFile(f haproxy.File) {
	old, err := os.ReadFile(w.watch)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.say("the file", err.Error())
		return
	}
	if string(old) == f.Text {
		w.say("the file", "")
		return
	}
	if err != nil {
		err = create(w.watch, f.Text)
	} else {
		err = replaceFile(w.watch, f.Text)
	}
	if err != nil {
		w.say("the file", steady("write "+w.watch, err))
		return
	}
	w.say("the file", "")
	differs := haproxy.Meaning
	if len(w.sockets) > 0 {
		differs = haproxy.Structure
	}
	if differs(string(old)) != differs(f.Text) {
		w.stale = true
	}
}

// create writes a file that is not there yet: who reads it finds all of it, or none.
func create(path, text string) error {
	if to, err := os.Readlink(path); err == nil { // to what is not there yet
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	part := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%d", filepath.Base(path), os.Getpid()))
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		_ = os.Remove(part)
	}
	return err
}

// tell makes running HAProxies as the pools are. A server that one lacks needs a reload, but not twice for the same file: it may be
// lacking because somebody's own configuration is without it.
func (w *watcher) tell(ctx context.Context, f haproxy.File) {
	for _, socket := range w.sockets {
		missing, err := tellHAProxy(ctx, socket, f.Backends)
		switch {
		case err != nil:
			w.say("HAProxy at "+socket, steady("HAProxy at "+socket, err))
		case len(missing) > 0 && w.stale && w.reload != "": // it is about to read them
		case len(missing) > 0:
			w.say("HAProxy at "+socket, lacks(socket, missing).Error())
			if s := haproxy.Structure(f.Text); s != w.asked {
				w.asked, w.stale = s, true
			}
		default:
			w.say("HAProxy at "+socket, "")
		}
	}
}

// reread runs the command that makes HAProxy read the file anew, until it succeeds.
func (w *watcher) reread(ctx context.Context) {
	if !w.stale || w.reload == "" || time.Now().Before(w.retryAt) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, reloadTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", w.reload)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.retryAt = time.Now().Add(reloadAgain)
		w.say("the reload", fmt.Sprintf("%s: %v: %.400s (again in %s)", w.reload, err, strings.TrimSpace(string(bytes.ToValidUTF8(out, []byte("?")))), reloadAgain))
		return
	}
	w.stale = false
	w.say("the reload", "")
}
