package probe

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/health"
	"vipd/internal/host"
)

// CellWord is the command by which this program is the process of a Cell. It is for StartCompanion alone.
const CellWord = "checks-process"

const (
	cellName   = "vipd-checks"
	cellMemory = 128 << 20 // bytes of memory from which on it rather collects garbage
	cellGC     = 50        // percent
)

// cellRoots are where the system keeps certificates of authorities; the only files that the process may open (crypto/x509 reads
// them for a tls_verify without tls_ca).
var cellRoots = []string{"/etc/ssl/certs", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem", "/etc/pki/tls/certs", "/etc/pki/tls/cacert.pem",
	"/etc/pki/ca-trust/extracted/pem", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates"}

// cellEnvironment is what the process is to know of this one's: where certificates are, if not where they usually are.
func cellEnvironment() (env []string) {
	for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG", "GOTRACEBACK", "GORACE"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func cellArguments(as host.Identity) []string {
	return []string{CellWord, strconv.FormatUint(uint64(as.UID), 10), strconv.FormatUint(uint64(as.GID), 10)}
}

// ServeCell is the process of a Cell, from its beginning to its end: it gives up its rights, and then makes what checks it is
// handed until the one that started it has gone. args are the user and the group to become.
func ServeCell(args []string) error {
	conn, err := host.CompanionConn()
	if err != nil {
		return err
	}
	defer conn.Close()
	as, err := cellIdentity(args)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP) // it ends with who started it
	debug.SetGCPercent(cellGC)
	debug.SetMemoryLimit(cellMemory)
	host.NameProcess(cellName)
	_, _ = x509.SystemCertPool() // it is kept; links in there may lead to files that cannot be opened later
	roots := cellRoots
	for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if v := os.Getenv(name); v != "" {
			roots = append(roots, v)
		}
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var lacks []string
	if err := raw.Control(func(fd uintptr) { lacks = host.Shed(as, int(fd), roots...) }); err != nil {
		return err
	}
	text, err := json.Marshal(hello{UID: uint32(os.Geteuid()), Lacks: lacks})
	if err != nil {
		return err
	}
	if _, err := conn.Write(text); err != nil {
		return err
	}
	return serveCell(conn)
}

func cellIdentity(args []string) (as host.Identity, err error) {
	if len(args) != 2 {
		return as, errors.New("expected a user and a group, by their numbers")
	}
	for i, to := range []*uint32{&as.UID, &as.GID} {
		n, err := strconv.ParseUint(args[i], 10, 32)
		if err != nil {
			return as, fmt.Errorf("%q is no number of a user or group", args[i])
		}
		*to = uint32(n)
	}
	return as, nil
}

// cell is the other side of a tenant.
type cell struct {
	conn *net.UnixConn

	mu     sync.Mutex
	checks twice[string, *health.Checker] // by their texts
}

// serveCell makes checks until the connection ends.
func serveCell(conn *net.UnixConn) error {
	c := &cell{conn: conn}
	b, oob := make([]byte, maxRequest), make([]byte, unix.CmsgSpace(4*maxHanded))
	for {
		n, oobn, flags, _, err := conn.ReadMsgUnix(b, oob)
		switch {
		case errors.Is(err, io.EOF), err == nil && n == 0:
			return nil
		case err != nil:
			return err
		case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
			return errRequest
		}
		if err := c.take(b[:n], oob[:oobn]); err != nil {
			return err
		}
	}
}

// take begins one check.
func (c *cell) take(b, oob []byte) error {
	fds, err := rightsOf(oob)
	if err != nil {
		return err
	}
	id, failed, text, err := parseRequest(b)
	if err == nil && id == present {
		go c.tell(finding{ID: present})
		return nil
	}
	if err != nil || len(fds) == 0 {
		return errRequest
	}
	check, err := c.check(text)
	if err != nil {
		return err
	}
	go func() {
		h, err := handedBy(filesOf(*check), failed, fds)
		if err != nil {
			c.tell(finding{ID: id, Result: health.Result{Inconclusive: true, Why: "take over the connection: " + reason(err)}})
			return
		}
		c.tell(finding{ID: id, Result: c.find(*check, h)})
	}()
	return nil
}

func (c *cell) check(text []byte) (*health.Checker, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.checks.get(string(text)); ok {
		return known, nil
	}
	var s spec
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, errRequest
	}
	c.checks.put(string(text), &s.Checker)
	return &s.Checker, nil
}

func rightsOf(oob []byte) (fds []int, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		some, err := unix.ParseUnixRights(&m)
		if err != nil {
			return nil, err
		}
		fds = append(fds, some...)
	}
	return fds, nil
}

// handedBy makes of descriptors the connection and the files that they are.
func handedBy(names, failed []string, fds []int) (*handed, error) {
	f := os.NewFile(uintptr(fds[0]), "connection")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		for _, fd := range fds[1:] {
			unix.Close(fd)
		}
		return nil, err
	}
	h := &handed{conn: conn, files: map[string]handedFile{}}
	fds = fds[1:]
	for i, name := range names {
		switch {
		case i >= len(failed), failed[i] == "" && len(fds) == 0:
			return nil, errRequest
		case failed[i] != "":
			h.files[name] = handedFile{err: failedFile(failed[i])}
		default:
			h.files[name] = handedFile{file: os.NewFile(uintptr(fds[0]), name)}
			fds = fds[1:]
		}
	}
	return h, nil
}

// find makes a check.
func (c *cell) find(check health.Checker, h *handed) health.Result {
	ctx, seen := witnessed(context.WithValue(context.Background(), handedKey{}, h))
	res := run(ctx, check, nil)
	res.Seen = seen.report()
	h.conn.Close()
	for _, f := range h.files {
		if f.file != nil {
			f.file.Close()
		}
	}
	res.Why, res.Said, res.Warning = shorter(res.Why), shorter(res.Said), shorter(res.Warning)
	return res
}

func (c *cell) tell(a finding) {
	text, err := json.Marshal(a)
	if err != nil { // a time that JSON has no words for: of a certificate
		a.Result.Ends = time.Time{}
		text, _ = json.Marshal(a)
	}
	_, _ = c.conn.Write(text) // the one who started this has gone: so does serveCell
}

func shorter(text string) string { return text[:min(len(text), maxWords)] }
