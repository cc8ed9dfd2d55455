package probe

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/sys/unix"

	"vipd/internal/health"
)

// What the two processes say to each other: messages that the kernel keeps apart (SOCK_SEQPACKET).
//
// A request is a number (4 bytes), how many files go with it (1 byte), for each of them either 0 or a text (2 bytes of length)
// that says why it could not be opened, and the check as JSON. The connection comes with it, and then each file without a text.
//
// A request of the number 0, with nothing, asks whether the process is there, which its answer says.
//
// An answer is JSON: the request's number and what was found. The process says hello before it takes requests.

const (
	maxRequest = 512 << 10
	maxAnswer  = 32 << 10
	maxWords   = 1 << 10 // of a text in an answer
	maxFileOf  = 16 << 20
	present    = 0 // the number of the request that asks whether the process is there
	maxHanded  = 4 // descriptors of a request: the connection and three files
)

// spec is the part of a check that the other process is to know. The rest is in the connection.
type spec struct{ health.Checker }

// specOf leaves out what has been seen to.
func specOf(c health.Checker) spec {
	out := health.Checker{Kind: c.Kind, Target: c.Target, ConnectTimeout: c.ConnectTimeout, HTTP: c.HTTP, Helo: c.Helo, DNS: c.DNS, UDP: c.UDP, Talk: c.Talk}
	if c.HTTP != nil && c.URL < len(c.HTTP.URLs) {
		one := *c.HTTP
		one.URLs = one.URLs[c.URL : c.URL+1]
		out.HTTP = &one
	}
	if c.Way != nil {
		out.Way = &health.Path{} // that there is one matters at the farewell
	}
	return spec{out}
}

// twice keeps what was used last of many: at most twice as many as fit.
type twice[K comparable, V any] struct{ young, old map[K]V }

const twiceFits = 8192

func (m *twice[K, V]) get(key K) (v V, ok bool) {
	if v, ok = m.young[key]; ok {
		return v, true
	}
	if v, ok = m.old[key]; ok {
		m.put(key, v)
	}
	return v, ok
}

func (m *twice[K, V]) put(key K, v V) {
	if m.young == nil || len(m.young) >= twiceFits {
		m.old, m.young = m.young, map[K]V{}
	}
	m.young[key] = v
}

// specs are the texts of checks, which are made again and again.
type specs struct {
	mu  sync.Mutex
	all twice[health.Checker, []byte]
}

// of is a check as JSON. Empty: it cannot be said, which no check of a configuration is.
func (s *specs) of(c health.Checker) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, ok := s.all.get(c)
	if !ok {
		text, _ = json.Marshal(specOf(c))
		s.all.put(c, text)
	}
	return text
}

// requestOf is a request. Files are in the order of filesOf.
func requestOf(id uint32, check []byte, files []handedFile) ([]byte, error) {
	b := append(binary.BigEndian.AppendUint32(make([]byte, 0, 16+len(check)), id), byte(len(files)))
	for _, f := range files {
		text := ""
		if f.err != nil {
			text = f.err.Error()
			text = text[:min(len(text), maxWords)]
		}
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(text))), text...)
	}
	if b = append(b, check...); len(b) > maxRequest {
		return nil, unix.EMSGSIZE
	}
	return b, nil
}

var errRequest = errors.New("this is no request")

// parseRequest takes a request apart. Of each file it says whether it could not be opened, and why.
func parseRequest(b []byte) (id uint32, failed []string, check []byte, err error) {
	if len(b) < 5 || b[4] >= maxHanded {
		return 0, nil, nil, errRequest
	}
	id, n := binary.BigEndian.Uint32(b), int(b[4])
	b = b[5:]
	for range n {
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			return 0, nil, nil, errRequest
		}
		size := int(binary.BigEndian.Uint16(b))
		failed, b = append(failed, string(b[2:2+size])), b[2+size:]
	}
	return id, failed, b, nil
}

// filesOf are the files of the configuration that a check reads.
func filesOf(c health.Checker) (names []string) {
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	verified := func(v *health.Verify) {
		if v != nil && v.Chain {
			add(v.CA)
		}
	}
	if h := c.HTTP; h != nil && h.TLS {
		verified(h.Verify)
		if h.Client != nil && h.Client.Certificate != "" && h.Client.Key != "" {
			add(h.Client.Certificate)
			add(h.Client.Key)
		}
	}
	if t := c.Talk; t != nil && t.TLS {
		verified(t.Verify)
	}
	return names
}

func openFiles(c health.Checker) (all []handedFile) {
	for _, name := range filesOf(c) {
		f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
		all = append(all, handedFile{f, err})
	}
	return all
}

func closeFiles(all []handedFile) {
	for _, f := range all {
		if f.file != nil {
			f.file.Close()
		}
	}
}

// descriptors are what goes with a request.
func descriptors(conn int, files []handedFile) []int {
	all := []int{conn}
	for _, f := range files {
		if f.err == nil {
			all = append(all, int(f.file.Fd()))
		}
	}
	return all
}

// hello is what a process says first: who it is by then, and what it could not give up.
type hello struct {
	UID   uint32
	Lacks []string
}

// finding is an answer: what was found.
type finding struct {
	ID     uint32
	Result health.Result
}

// errAnswer is what a process says that should say something else.
var errAnswer = errors.New("this is no answer")

// parseHello reads what nobody has had a hand in yet.
func parseHello(b []byte) (h hello, err error) {
	if json.Unmarshal(b, &h) != nil || len(h.Lacks) > 64 {
		return hello{}, errAnswer
	}
	for i := range h.Lacks {
		h.Lacks[i] = printable(h.Lacks[i], maxWords)
	}
	return h, nil
}

// parseAnswer reads an answer of a process that is not trusted.
func parseAnswer(b []byte) (a finding, err error) {
	if len(b) > maxAnswer || json.Unmarshal(b, &a) != nil {
		return finding{}, errAnswer
	}
	return a, nil
}

// credible is a result as one of a check of this kind can be: what else it has is taken off. A verdict may be a lie; it is no
// more than that.
func credible(kind health.Kind, r health.Result) health.Result {
	out := health.Result{OK: r.OK, Why: printable(r.Why, maxWords), Timeout: r.Timeout, Said: printable(r.Said, maxWords), Warning: printable(r.Warning, maxWords),
		Ends: r.Ends, Inconclusive: r.Inconclusive}
	if slices.Contains([]string{"HTTP status code", "MD5 digest", "Regex match"}, r.Matched) {
		out.Matched = r.Matched
	}
	if out.OK {
		out.Why, out.Said, out.Timeout, out.Inconclusive = "", "", false, false
	}
	if kind == health.AgentCheck && r.OK && r.Agent != nil {
		out.Agent = r.Agent.Credible()
	}
	if s := r.Seen; s != nil {
		out.Seen = &health.Seen{Sent: max(s.Sent, 0), Received: max(s.Received, 0), First: s.First[:min(len(s.First), health.SeenFirst)], Status: min(max(s.Status, 0), 999)}
		if sum, err := hex.DecodeString(s.Digest); err == nil && len(sum) == 16 {
			out.Seen.Digest = s.Digest
		}
	}
	return out
}

// printable is a text without what would make more of it than a text.
func printable(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "")
	}
	return text
}

// failedFile is why a file was not opened, in the words of the process that tried.
func failedFile(text string) error { return fmt.Errorf("%s", text) }
