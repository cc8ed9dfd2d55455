package lab

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// crowdOf runs a crowd against a server until enough has been heard.
func crowdOf(t *testing.T, h http.Handler, cfg CrowdConfig, enough func([]CrowdReport) bool) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(ln) }()
	defer srv.Close()
	cfg.To, cfg.From = ln.Addr().(*net.TCPAddr).AddrPort(), []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	cfg.Every = 10 * time.Millisecond
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	in, out := io.Pipe()
	c := &continuity{proc: &Process{out: in}}
	var group sync.WaitGroup
	group.Go(func() { _ = Crowd(ctx, cfg, out); out.Close() })
	group.Go(func() { c.take() })
	done := false
	for !done && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
		c.mu.Lock()
		done = enough(c.heard)
		c.mu.Unlock()
	}
	stop()
	in.Close()
	group.Wait()
	if !done {
		t.Error("it was never enough")
	}
}

func TestACrowdIsAnsweredAndNothingBreaks(t *testing.T) {
	crowdOf(t, page("10.0.8.12", nil), CrowdConfig{Sessions: 3, Downloads: 2, PerSecond: 50, Patience: time.Minute}, func(all []CrowdReport) bool {
		answers := map[string]int{}
		for _, r := range all {
			if len(r.Broken) > 0 {
				t.Fatalf("%+v", r.Broken)
			}
			for kind, n := range r.Answers {
				answers[kind] += n
			}
		}
		return answers[KindDownload] > 4 && answers[KindSession] > 10 && answers[KindShort] > 10
	})
}

// TestWhatBreaksIsCountedByItsCause: a server that resets, closes, says something else, or nothing.
func TestWhatBreaksIsCountedByItsCause(t *testing.T) {
	hijack := func(do func(*net.TCPConn)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			do(conn.(*net.TCPConn))
			conn.Close()
		})
	}
	for cause, h := range map[string]http.Handler{
		CauseReset: hijack(func(c *net.TCPConn) { _ = c.SetLinger(0) }),
		CauseEnded: hijack(func(*net.TCPConn) {}),
		CauseWrong: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("x", streamPart))
		}),
		CauseStall: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
	} {
		kinds := map[string]bool{}
		crowdOf(t, h, CrowdConfig{Sessions: 1, Downloads: 1, PerSecond: 10, Patience: 300 * time.Millisecond}, func(all []CrowdReport) bool {
			for _, r := range all {
				for _, b := range r.Broken {
					if b.Cause != cause && cause != CauseStall && b.Cause != CauseStall { // a busy machine stalls by itself
						t.Fatalf("%s: %+v", cause, b)
					}
					kinds[b.Kind] = kinds[b.Kind] || b.Cause == cause
				}
			}
			return kinds[KindDownload] && kinds[KindSession] && kinds[KindShort]
		})
	}
}

// TestOnlyWhatIsYoungMayBreak: and only where a director dies, and of that next to nothing.
func TestOnlyWhatIsYoungMayBreak(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(1000+int64(s), 0) }
	step := func(name string, from int, young bool) ContinuityStep {
		return ContinuityStep{Round: 1, Name: name, From: at(from), To: at(from + 10), young: young, lag: 500 * time.Millisecond, died: at(from).Add(200 * time.Millisecond), gone: at(from + 5)}
	}
	for sentence, tc := range map[string]struct {
		broken []BrokenConn
		held   bool
		young  int
	}{
		"nothing":                        {nil, true, 0},
		"a young one at a kill":          {[]BrokenConn{{Cause: CauseReset, Began: at(13), Waited: at(13)}}, true, 1},
		"two of so few":                  {[]BrokenConn{{Cause: CauseReset, Began: at(13), Waited: at(13)}, {Cause: CauseReset, Began: at(13), Waited: at(13)}}, false, 2},
		"an old one at a kill":           {[]BrokenConn{{Cause: CauseReset, Began: at(9), Waited: at(13)}}, false, 0},
		"one in flight before a kill":    {[]BrokenConn{{Cause: CauseReset, Began: at(9).Add(800 * time.Millisecond), Waited: at(9).Add(800 * time.Millisecond)}}, true, 1},
		"one that began after it":        {[]BrokenConn{{Cause: CauseReset, Began: at(16), Waited: at(16)}}, false, 0},
		"a young one at a stop":          {[]BrokenConn{{Cause: CauseStall, Began: at(2), Waited: at(2)}}, false, 0},
		"one that the step before broke": {[]BrokenConn{{Cause: CauseStall, Began: at(2), Waited: at(9)}}, false, 0},
	} {
		for i := range tc.broken {
			tc.broken[i].Kind = KindShort
		}
		c := &continuity{cfg: ContinuityConfig{PerSecond: 1}}
		for _, s := range []int{1, 11} {
			c.heard = append(c.heard, CrowdReport{At: at(s), Began: map[string]int{KindShort: 500}, Answers: map[string]int{KindShort: 500}})
		}
		c.heard = append(c.heard, CrowdReport{At: at(30), Broken: tc.broken})
		c.report.Steps = []ContinuityStep{step("stop", 0, false), step("kill", 10, true)}
		c.judge()
		if c.report.OK != tc.held || c.report.Young != tc.young {
			t.Errorf("%s: held %v, %d young: %v", sentence, c.report.OK, c.report.Young, c.report.Complaints())
		}
		var out bytes.Buffer
		if err := c.report.WriteTable(&out); err != nil || strings.Contains(out.String(), "NOT HELD") == (len(c.report.Steps[0].Why)+len(c.report.Steps[1].Why) == 0) {
			t.Errorf("%s: %v\n%s", sentence, err, out.String())
		}
	}
}
