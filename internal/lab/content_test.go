package lab

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"vipd/internal/need"
)

// TestForWhomAServerAnswers: a proxy's word counts, and its last one; nobody else's does.
func TestForWhomAServerAnswers(t *testing.T) {
	for _, row := range []struct {
		from, want string
		said       []string
	}{
		{"10.0.4.102:5000", "10.0.4.102", nil},
		{"10.0.4.102:5000", "10.0.4.102", []string{"10.0.4.9"}},
		{"10.0.8.41:5000", "10.0.8.41", nil},
		{"10.0.8.41:5000", "10.0.4.102", []string{"10.0.4.102"}},
		{"10.0.8.41:5000", "10.0.4.102", []string{"10.0.4.9, 10.0.4.102"}},
		{"10.0.8.41:5000", "10.0.4.102", []string{"10.0.4.9", "10.0.4.102"}},
	} {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.RemoteAddr = row.from
		for _, s := range row.said {
			req.Header.Add("X-Forwarded-For", s)
		}
		w := httptest.NewRecorder()
		page("x", []string{"10.0.8.41", "10.0.8.42"}).ServeHTTP(w, req)
		if got := w.Header().Get(ClientHeader); got != row.want {
			t.Errorf("%s says %q: answered for %s, want %s", row.from, row.said, got, row.want)
		}
		_, err := by(w.Header(), netip.MustParseAddr("10.0.4.102"))
		if (err == nil) != (row.want == "10.0.4.102") {
			t.Errorf("%s: %v", row.want, err)
		}
	}
}

func TestPagesOfAnotherPoolAreSeen(t *testing.T) {
	need.Tool(t, "haproxy")
	l := Named("x", t.TempDir(), "x-", "", nil)
	if l.misrouted(UserCheck{Server: "10.0.8.13", FileServer: "10.0.8.13"}) != "" {
		t.Error("without pools there is another one")
	}
	if err := l.Use(Content); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ page, file, want string }{
		{"10.0.8.13", "10.0.8.14", ""}, {"10.0.8.12", "10.0.8.15", ""},
		{"10.0.8.15", "10.0.8.14", "the topic was answered for by 10.0.8.15"}, {"10.0.8.13", "10.0.8.13", "the attachment was answered for by 10.0.8.13"},
		{"10.0.8.13", "", "the attachment was answered for by "},
	} {
		if got := l.misrouted(UserCheck{Server: row.page, FileServer: row.file}); got != row.want {
			t.Errorf("%s and %s: %q, want %q", row.page, row.file, got, row.want)
		}
	}
}

func TestTheReportSaysThroughWhom(t *testing.T) {
	r := Report{Steps: []StepReport{{Name: "steady", Phase: Phase{Requests: 10, Failed: 1, ByReal: map[string]int{"10.0.8.13": 9}, ByProxy: map[string]int{"proxy2": 4, "proxy1": 5}, Known: 9}}}}
	var out strings.Builder
	if err := r.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	want := "\nthrough HAProxy, and how many answers named the client's own address:\n  steady             proxy1    5  proxy2    4     9 of 9\n"
	if !strings.Contains(out.String(), want) {
		t.Errorf("no %q in\n%s", want, out.String())
	}
	r.Steps[0].ByProxy = nil
	out.Reset()
	if r.WriteTable(&out); strings.Contains(out.String(), "HAProxy") {
		t.Errorf("without a proxy:\n%s", out.String())
	}
}
