package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/health"
	"vipd/internal/host"
)

// liarWord makes this test program a process that says hello and then what it should not.
const liarWord = "lying-process"

// lie is that process: by what it is told it is not there at all, speaks nonsense, or says more than was found.
func lie(how string) {
	conn, err := host.CompanionConn()
	if err != nil || how == "absent" {
		fmt.Fprintln(os.Stderr, "not\x1b[31m today\nnever")
		os.Exit(7)
	}
	say := func(v any) {
		text, _ := json.Marshal(v)
		_, _ = conn.Write(text)
	}
	say(hello{UID: 7})
	b, oob := make([]byte, maxRequest), make([]byte, 256)
	for {
		n, _, _, _, err := conn.ReadMsgUnix(b, oob)
		if err != nil {
			os.Exit(0)
		}
		id, _, _, _ := parseRequest(b[:n])
		switch how {
		case "nonsense":
			_, _ = conn.Write([]byte("up up up"))
		case "stopped":
			_ = unix.Kill(os.Getpid(), unix.SIGSTOP)
		case "unasked":
			say(finding{ID: id + 100, Result: health.Result{OK: true}})
		default:
			long := strings.Repeat("x\n", 2000)
			say(finding{ID: id, Result: health.Result{Why: long, Said: "a\x1b[2Jb", Weight: 1 << 30, HasWeight: true, Took: -time.Hour, Matched: "all", Agent: &health.Agent{State: "up"},
				Seen: &health.Seen{Sent: -1, Received: -5, First: make([]byte, 1000), Status: 1 << 30, Digest: "zz"}}})
		}
	}
}

// nobodys is the user of the tests' processes.
var nobodys = host.Identity{UID: 65534, GID: 65534}

// heard collects what a Cell says.
type heard struct {
	mu   sync.Mutex
	said []string
}

func (h *heard) say(_ bool, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, text)
}

func (h *heard) count(part string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.said {
		if strings.Contains(s, part) {
			n++
		}
	}
	return n
}

func lying(t *testing.T, how string) (*Runner, *Cell, *heard) {
	t.Helper()
	h := &heard{}
	c := NewCell(nobodys, h.say)
	c.start = func() (*host.Companion, error) { return host.StartCompanion(nil, liarWord, how) }
	r := NewRunner(nil, c)
	t.Cleanup(r.Close)
	return r, c, h
}

func askOnce(r *Runner, c health.Checker) health.Result {
	got := make(chan health.Result, 1)
	r.Start(c, func(res health.Result) { got <- res })
	return <-got
}

func TestEveryKindHasItsPlace(t *testing.T) {
	here := []health.Kind{health.TCPCheck, health.PingCheck, health.FileCheck}
	for kind := range kinds {
		if slices.Contains(apart, kind) == slices.Contains(here, kind) {
			t.Errorf("%s: where are its answers read?", kind)
		}
	}
}

// TestWhatIsFoundIsTheSameInAProcessOfItsOwn plays the tests of the kinds once more, with all answers read in a Cell.
func TestWhatIsFoundIsTheSameInAProcessOfItsOwn(t *testing.T) {
	if os.Getenv(apartVar) != "" {
		t.Skip("this is it")
	}
	cmd := exec.Command(os.Args[0], "-test.short", "-test.skip", "ProcessOfItsOwn|Knock|Real|HAProxy|Limit|BlackHole|Dies")
	cmd.Env = append(os.Environ(), apartVar+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS\n") || strings.Contains(string(out), "has ended") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAProcessOfItsOwnThatIsKilledChangesNoResult(t *testing.T) {
	asked, answer := make(chan struct{}, 16), make(chan struct{})
	target := serving(t, func(conn net.Conn) {
		if _, err := conn.Read(make([]byte, 4096)); err != nil {
			return
		}
		asked <- struct{}{}
		<-answer
		_, _ = io.WriteString(conn, "HTTP/1.0 200 OK\r\n\r\n")
	})
	h := &heard{}
	c := NewCell(nobodys, h.say)
	r := NewRunner(nil, c)
	defer r.Close()
	page := webCheck(target, health.URL{Path: "/"})
	page.ConnectTimeout = time.Minute
	got := make(chan health.Result, 1)
	r.Start(page, func(res health.Result) { got <- res })
	for range 2 {
		<-asked
		if err := unix.Kill(c.State().PID, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	<-asked
	close(answer)
	if res := <-got; !res.OK || res.Seen == nil || res.Seen.Status != 200 {
		t.Errorf("%+v", res)
	}
	if s := c.State(); s.Starts != 3 || s.Why != "due to signal 9" || h.count("1 checks that were under way are made again") != 2 {
		t.Errorf("%+v, said %q", s, h.said)
	}
}

func TestAProcessOfItsOwnThatIsStoppedHoldsNoCheckAtTheEnd(t *testing.T) {
	r, c, _ := lying(t, "stopped")
	target := serving(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	r.Start(webCheck(target, health.URL{Path: "/"}), func(res health.Result) { t.Errorf("%+v", res) })
	for c.State().PID == 0 {
		time.Sleep(time.Millisecond)
	}
	r.Close()
	if pid := c.State().PID; pid != 0 {
		t.Errorf("process %d is left", pid)
	}
}

// TestAProcessOfItsOwnThatHangsIsEndedSoon: long before a check that waits for its answer gives up.
func TestAProcessOfItsOwnThatHangsIsEndedSoon(t *testing.T) {
	r, c, h := lying(t, "stopped")
	c.beat = 20 * time.Millisecond
	target := serving(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	page := webCheck(target, health.URL{Path: "/"})
	page.ConnectTimeout = time.Hour
	if res := askOnce(r, page); !res.Inconclusive || res.Why != "the process of the checks ended" {
		t.Errorf("%+v", res)
	}
	if n := h.count(hangs); n < cellTries-1 || n > cellTries {
		t.Errorf("%+v, said %q", c.State(), h.said)
	}
}

// TestAProcessOfItsOwnIsAskedWhetherItIsThere: one that has nothing to do says so, and is left alone.
func TestAProcessOfItsOwnIsAskedWhetherItIsThere(t *testing.T) {
	target := serving(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = io.WriteString(conn, "HTTP/1.0 200 OK\r\n\r\n")
	})
	c := NewCell(nobodys, func(bool, string) {})
	c.beat = 100 * time.Millisecond
	r := NewRunner(nil, c)
	defer r.Close()
	if res := askOnce(r, webCheck(target, health.URL{Path: "/"})); !res.OK {
		t.Fatalf("%+v", res)
	}
	for heard := uint64(0); heard < 2*cellSilent; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		now, starts := c.now, c.state.Starts
		c.mu.Unlock()
		if now == nil || starts != 1 {
			t.Fatalf("it was ended: %+v", c.State())
		}
		now.mu.Lock()
		heard = now.heard
		now.mu.Unlock()
	}
}

func TestAProcessOfItsOwnThatLiesDoesNoMoreThanThat(t *testing.T) {
	target := serving(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	page := webCheck(target, health.URL{Path: "/"})

	r, c, _ := lying(t, "more")
	res := askOnce(r, page)
	want := health.Result{Why: strings.Repeat("x", maxWords), Said: "a[2Jb", Seen: &health.Seen{First: make([]byte, health.SeenFirst), Status: 999}}
	if res.Took < 0 {
		t.Errorf("it took %v", res.Took)
	}
	if res.Took = 0; !reflect.DeepEqual(res, want) {
		t.Errorf("%+v, want %+v", res, want)
	}
	if s := c.State(); s.Starts != 1 || s.UID != 7 {
		t.Errorf("%+v", s)
	}

	for how, why := range map[string]string{"nonsense": "it says what is no answer", "unasked": "it answers what nobody asked"} {
		r, c, h := lying(t, how)
		if res := askOnce(r, page); !res.Inconclusive || res.Why != "the process of the checks ended" {
			t.Errorf("%s: %+v", how, res)
		}
		if n := h.count(why); n < cellTries-1 || n > cellTries || c.State().Starts < cellTries {
			t.Errorf("%s: %+v, said %q", how, c.State(), h.said)
		}
	}
}

func TestWithoutAProcessOfTheirOwnChecksAreMadeHere(t *testing.T) {
	target := serving(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = io.WriteString(conn, "HTTP/1.0 200 OK\r\n\r\n")
	})
	r, c, h := lying(t, "absent")
	if res := askOnce(r, webCheck(target, health.URL{Path: "/"})); !res.OK {
		t.Errorf("%+v", res)
	}
	if s := c.State(); !s.Inside || !strings.HasSuffix(s.Why, "(exited with status 7: not[31m today)") || h.count("The checks are made by this process") != 1 {
		t.Errorf("%+v, said %q", s, h.said)
	}
	failing := NewCell(nobodys, func(bool, string) {})
	failing.start = func() (*host.Companion, error) { return nil, errors.New("no room") }
	r2 := NewRunner(nil, failing)
	defer r2.Close()
	if res := askOnce(r2, webCheck(target, health.URL{Path: "/"})); !res.OK || failing.State().Why != "no room" {
		t.Errorf("%+v %+v", res, failing.State())
	}
}

func TestARequestSaysWhatItWasToldToSay(t *testing.T) {
	c := health.Checker{Kind: health.SSLGet, Target: netip.MustParseAddrPort("[2001:db8::1]:443"), ConnectTimeout: time.Second, Bind: netip.MustParseAddrPort("10.0.8.9:99"), BindIf: "eth0", Mark: 7, URL: 1, Way: &health.Path{VIP: netip.MustParseAddr("10.0.8.9")},
		HTTP: &health.HTTP{TLS: true, URLs: []health.URL{{Path: "/a"}, {Path: "/b", Codes: [][2]int{{200, 299}}, Regex: "x"}}, Verify: &health.Verify{Chain: true, CA: "/none/ca"}, Client: &health.TLS{Certificate: "/none/cert", Key: "/none/key"}}}
	files := openFiles(c)
	defer closeFiles(files)
	text, err := requestOf(9, (&specs{}).of(c), files)
	if err != nil || len(descriptors(5, files)) != 1 {
		t.Fatal(err, descriptors(5, files))
	}
	id, failed, check, err := parseRequest(text)
	if err != nil || id != 9 || len(failed) != 3 || failed[0] != "open /none/ca: no such file or directory" {
		t.Fatal(id, failed, err)
	}
	got, err := (&cell{}).check(check)
	if err != nil {
		t.Fatal(err)
	}
	want := c
	page := *c.HTTP
	page.URLs = page.URLs[1:]
	want.HTTP, want.URL, want.Bind, want.BindIf, want.Mark, want.Way = &page, 0, netip.AddrPort{}, "", 0, &health.Path{}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("%+v, want %+v", *got, want)
	}
	if _, err := requestOf(1, make([]byte, maxRequest), nil); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("one that is too large: %v", err)
	}
}

func TestAFileThatWasHandedOverIsReadAsOftenAsItIsAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "both.pem")
	if err := os.WriteFile(path, []byte("certificate and key"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx := context.WithValue(t.Context(), handedKey{}, &handed{files: map[string]handedFile{"both.pem": {file: f}, "none": {err: failedFile("not today")}}})
	for range 2 {
		if text, err := fileOf(ctx, "both.pem"); err != nil || string(text) != "certificate and key" {
			t.Errorf("%q, %v", text, err)
		}
	}
	for _, name := range []string{"none", path} {
		if text, err := fileOf(ctx, name); err == nil {
			t.Errorf("%s: %q", name, text)
		}
	}
}

func TestOfManyChecksTheLastOnesAreKept(t *testing.T) {
	var m twice[int, int]
	for i := range 5 * twiceFits {
		m.put(i, i)
		if v, ok := m.get(0); !ok || v != 0 { // which is used again and again
			t.Fatalf("after %d: %d %v", i, v, ok)
		}
	}
	if n := len(m.young) + len(m.old); n > 2*twiceFits {
		t.Errorf("%d are kept", n)
	}
}

func FuzzAnswersOfAProcessThatIsNotTrusted(f *testing.F) {
	for _, a := range []finding{{ID: 1, Result: health.Result{OK: true, Matched: "MD5 digest", Seen: &health.Seen{First: []byte("x")}}}, {Result: health.Result{OK: true, Agent: &health.Agent{Percent: 5, State: "down", Reason: "a\nb"}}}} {
		text, _ := json.Marshal(a)
		f.Add(text)
	}
	f.Add([]byte(`{"ID":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = parseHello(b)
		a, err := parseAnswer(b)
		if err != nil {
			return
		}
		for _, kind := range apart {
			r := credible(kind, a.Result)
			for _, text := range []string{r.Why, r.Said, r.Warning, r.Matched} {
				if len(text) > maxWords || strings.ContainsAny(text, "\n\r\x1b\x00") {
					t.Errorf("%q", text)
				}
			}
			if r.HasWeight || r.Weight != 0 || r.Took != 0 || (r.Agent != nil) && (kind != health.AgentCheck || !r.OK || r.Agent.Percent < -1) || r.OK && (r.Inconclusive || r.Timeout) {
				t.Errorf("%+v", r)
			}
			if r.Seen != nil && (len(r.Seen.First) > health.SeenFirst || r.Seen.Sent < 0 || len(r.Seen.Digest) > 32) {
				t.Errorf("%+v", r.Seen)
			}
		}
	})
}

func FuzzRequests(f *testing.F) {
	text, _ := requestOf(3, []byte(`{"Kind":"HTTP_GET"}`), []handedFile{{err: errors.New("none")}})
	f.Add(text)
	f.Fuzz(func(t *testing.T, b []byte) {
		id, failed, check, err := parseRequest(b)
		if err != nil {
			return
		}
		var files []handedFile
		for _, text := range failed {
			if len(text) > maxWords {
				return
			}
			files = append(files, handedFile{})
			if text != "" {
				files[len(files)-1].err = errors.New(text)
			}
		}
		if again, err := requestOf(id, check, files); err != nil || string(again) != string(b) {
			t.Errorf("%x became %x: %v", b, again, err)
		}
	})
}
