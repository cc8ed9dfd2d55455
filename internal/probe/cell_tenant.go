package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/health"
	"vipd/internal/host"
)

// tenant is one process of a Cell, as this process sees it.
type tenant struct {
	process *host.Companion
	specs   *specs
	hello   hello
	gone    chan struct{} // closed when it has ended

	mu      sync.Mutex
	pending map[uint32]*errand // by number: what it was sent and has not answered
	next    uint32
	why     string // it was ended; empty: it was not
	ended   bool
	asked   uint64 // whether it is there
	heard   uint64 // that it is
	missed  int    // beats since it said so
}

// errand is a check that is with a tenant, or is to go there.
type errand struct {
	to     *tenant
	kind   health.Kind
	result chan health.Result
	undone bool // the tenant ended before it had an answer
}

func newTenant(process *host.Companion, specs *specs) *tenant {
	_ = process.Conn.SetWriteBuffer(maxRequest)
	return &tenant{process: process, specs: specs, gone: make(chan struct{}), pending: map[uint32]*errand{}}
}

const greeting = 30 * time.Second // that a process may take to begin

// greet waits for the first word.
func (t *tenant) greet() error {
	_ = t.process.Conn.SetReadDeadline(time.Now().Add(greeting))
	b := make([]byte, maxAnswer)
	n, err := t.message(b)
	if err != nil {
		return err
	}
	_ = t.process.Conn.SetReadDeadline(time.Time{})
	t.hello, err = parseHello(b[:n])
	return err
}

// message reads one. Descriptors that might come with it are not taken: the kernel closes them.
func (t *tenant) message(b []byte) (int, error) {
	n, _, flags, _, err := t.process.Conn.ReadMsgUnix(b, nil)
	switch {
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	case flags&unix.MSG_TRUNC != 0:
		return 0, errAnswer
	}
	return n, nil
}

// read takes answers until the process ends, or says what it should not. Then it says what that was.
func (t *tenant) read() (why string) {
	b := make([]byte, maxAnswer)
	for {
		n, err := t.message(b)
		var a finding
		if err == nil {
			a, err = parseAnswer(b[:n])
		}
		switch {
		case errors.Is(err, errAnswer):
			return "it says what is no answer"
		case err != nil:
			t.mu.Lock()
			defer t.mu.Unlock()
			return t.why
		case !t.deliver(a):
			return "it answers what nobody asked"
		}
	}
}

// watch asks again and again whether the process is there, and ends one that does not say so. Questions are counted and not timed, so
// that nobody is blamed for a machine that stood still.
func (t *tenant) watch(beat time.Duration) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-t.gone:
			return
		case <-tick.C:
		}
		if !t.askWhether() {
			t.end(hangs)
			return
		}
	}
}

// hangs is why a process is ended that is there and does nothing.
const hangs = "it does not answer"

// askWhether asks once more, without waiting for room, and tells whether the questions before had an answer.
func (t *tenant) askWhether() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.missed++; t.missed > cellSilent {
		return false
	}
	raw, err := t.process.Conn.SyscallConn()
	if err != nil {
		return true // it has ended
	}
	question, _ := requestOf(present, nil, nil)
	_ = raw.Control(func(fd uintptr) {
		if unix.Sendto(int(fd), question, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil) == nil {
			t.asked++
		}
	})
	return true
}

// isPresent takes the answer to such a question. false: nobody has asked.
func (t *tenant) isPresent() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard++
	t.missed = 0
	return t.heard <= t.asked
}

// deliver hands a result to whom it is for, who may have given up waiting. false: it is for nobody.
func (t *tenant) deliver(a finding) bool {
	if a.ID == present {
		return t.isPresent()
	}
	t.mu.Lock()
	e := t.pending[a.ID]
	delete(t.pending, a.ID)
	t.mu.Unlock()
	if e == nil {
		return false
	}
	e.result <- credible(e.kind, a.Result)
	return true
}

// end ends the process, for a reason.
func (t *tenant) end(why string) {
	t.mu.Lock()
	if t.why == "" {
		t.why = why
	}
	t.mu.Unlock()
	t.process.Conn.Close()
}

// drop lets go of the checks that have no answer, and tells how many there were.
func (t *tenant) drop() (undone int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	undone = len(t.pending)
	t.ended = true
	clear(t.pending)
	close(t.gone)
	return undone
}

type errandKey struct{}

// sent makes a context for one check whose answer a tenant is to read.
func sent(ctx context.Context, to *tenant, kind health.Kind) (context.Context, *errand) {
	e := &errand{to: to, kind: kind, result: make(chan health.Result, 1)}
	return context.WithValue(ctx, errandKey{}, e), e
}

// errandOf is nil where the check is made in this process to its end.
func errandOf(ctx context.Context) *errand {
	e, _ := ctx.Value(errandKey{}).(*errand)
	return e
}

// run hands over a connection and waits for the result. The connection is then still to be closed here.
func (e *errand) run(ctx context.Context, c health.Checker, conn syscall.Conn) health.Result {
	id, ok := e.enter()
	if !ok {
		return e.lost()
	}
	if err := e.to.send(id, c, conn); err != nil {
		e.leave(id)
		switch {
		case ctx.Err() != nil:
			return health.Result{Inconclusive: true, Why: "cancelled"}
		case errors.Is(err, unix.EMSGSIZE), errors.Is(err, unix.ETOOMANYREFS):
			return health.Result{Inconclusive: true, Why: "hand over the connection: " + reason(err)}
		}
		e.to.end("")
		<-e.to.gone
		return e.lost()
	}
	late := time.NewTimer(patience*patienceOf(c) + regexTime + farewells + cellSlack)
	defer late.Stop()
	select {
	case res := <-e.result:
		return e.seen(ctx, res)
	case <-late.C:
		e.to.end(hangs)
		<-e.to.gone
	case <-e.to.gone:
	case <-ctx.Done():
		return health.Result{Inconclusive: true, Why: "cancelled"}
	}
	return e.lost()
}

// seen gives the witness of this side what the one of the other side has noted.
func (e *errand) seen(ctx context.Context, res health.Result) health.Result {
	if res.Seen != nil {
		witnessOf(ctx).note(func(s *health.Seen) { *s = *res.Seen })
		res.Seen = nil
	}
	return res
}

func (e *errand) lost() health.Result {
	e.undone = true
	return health.Result{Inconclusive: true, Why: "the process of the checks ended"}
}

func (e *errand) enter() (id uint32, ok bool) {
	t := e.to
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return 0, false
	}
	for t.next++; t.next == present || t.pending[t.next] != nil; t.next++ {
	}
	t.pending[t.next] = e
	return t.next, true
}

// leave is for a check that did not come there.
func (e *errand) leave(id uint32) {
	e.to.mu.Lock()
	defer e.to.mu.Unlock()
	if e.to.pending[id] == e {
		delete(e.to.pending, id)
	}
}

// send says what is to be asked, and hands over the connection and the files that it takes.
func (t *tenant) send(id uint32, c health.Checker, conn syscall.Conn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	files := openFiles(c)
	defer closeFiles(files)
	text, err := requestOf(id, t.specs.of(c), files)
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		_, _, failed = t.process.Conn.WriteMsgUnix(text, unix.UnixRights(descriptors(int(fd), files)...), nil)
	})
	return errors.Join(err, failed)
}

// handed is what a check has that was sent: in the other process.
type handed struct {
	conn  net.Conn
	files map[string]handedFile
}

type handedFile struct {
	file *os.File
	err  error
}

type handedKey struct{}

func handedOf(ctx context.Context) *handed {
	h, _ := ctx.Value(handedKey{}).(*handed)
	return h
}

// fileOf reads a file of the configuration: what the process that may open it has handed over, if this is another one.
func fileOf(ctx context.Context, name string) ([]byte, error) {
	h := handedOf(ctx)
	if h == nil {
		return os.ReadFile(name)
	}
	f, ok := h.files[name]
	switch {
	case f.err != nil:
		return nil, f.err
	case !ok:
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	}
	return io.ReadAll(io.NewSectionReader(f.file, 0, maxFileOf)) // a certificate and its key may be in one file
}
