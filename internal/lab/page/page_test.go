package page

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"vipd/internal/lab"
)

// scene is a lab of which one real server is down.
type scene struct {
	moment lab.Moment
	did    []string
}

func (s *scene) Moment() lab.Moment { return s.moment }

func (s *scene) Do(host, what string) error {
	if host == "client" {
		return errors.New("nothing runs on client")
	}
	s.did = append(s.did, host+" "+what)
	return nil
}

func newScene() *scene {
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.Local)
	site := lab.Site{VIP: netip.MustParseAddrPort("10.0.8.9:80"), Reals: map[string]netip.Addr{"real1": netip.MustParseAddr("10.0.8.13"), "real2": netip.MustParseAddr("10.0.8.12")}}
	return &scene{moment: lab.Moment{At: at, Lab: site, Method: lab.DR, Master: "director1", Requests: 120, Failed: 3,
		Hosts: []lab.HostStatus{{Host: "client"},
			{Host: "director1", Addresses: []string{"10.0.8.25"}, Role: lab.RoleDirector, PID: 1, State: "MASTER", VIP: true,
				Pool: []lab.PoolStatus{{Real: "10.0.8.12:80", InPool: true}, {Real: "10.0.8.13:80"}}},
			{Host: "director2", Role: lab.RoleDirector, State: "down", VIP: true},
			{Host: "real1", Role: lab.RoleWeb}, {Host: "real2", Role: lab.RoleWeb, PID: 3},
			{Host: "cache", Role: lab.RoleStore, Program: "memcached", PID: 4}},
		Seconds: []lab.Second{{At: at, ByReal: map[string]int{"10.0.8.12": 25, "10.0.8.13": 25}}, {At: at.Add(time.Second), ByReal: map[string]int{"10.0.8.12": 47}, Failed: 3},
			{At: at.Add(2 * time.Second), ByReal: map[string]int{"10.0.8.12": 50}}},
		Events: []lab.Event{{At: at, Host: "real1", Text: "web server was <killed>", Bad: true}},
		Mails:  []lab.Mail{{At: at, Director: "director1", Subject: "[LVS_DEVEL] Realserver [10.0.8.13]:tcp:80 of virtual server [10.0.8.9]:tcp:80 - DOWN"}}}}
}

func ask(t *testing.T, s *scene, method, path string, change func(*http.Request)) (int, string) {
	t.Helper()
	req := httptest.NewRequest(method, "http://127.0.0.1:8090"+path, nil)
	if change != nil {
		change(req)
	}
	w := httptest.NewRecorder()
	Handler(s, "8091").ServeHTTP(w, req)
	text, _ := io.ReadAll(w.Result().Body)
	return w.Code, string(text)
}

// Everything is in the page as it is loaded: it can be read, and used, without JavaScript.
func TestThePageNeedsNoJavaScript(t *testing.T) {
	code, text := ask(t, newScene(), "GET", "/", nil)
	for _, want := range []string{"director1 holds the virtual IP. director2 and real1 are down, and every request is answered.",
		`<noscript><meta http-equiv="refresh" content="4"></noscript>`, `href="http://127.0.0.1:8091/"`, "10.0.8.13:80 out of the pool", "its packet path forwards on",
		`action="/hosts/real1/start"`, `action="/hosts/real2/kill"`, `action="/hosts/director1/off"`, "<b>50</b>/s", "<b>3</b> of 120", "web server was &lt;killed&gt;",
		"<b>director1</b> Realserver [10.0.8.13]:tcp:80 of virtual server [10.0.8.9]:tcp:80 - DOWN", "holds 10.0.8.9:80", "147 requests answered and 3 failed in the last 3s"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q", want)
		}
	}
	if code != 200 || strings.Contains(text, "client<") || strings.Contains(text, "style=") {
		t.Errorf("%d\n%s", code, text)
	}
	// The scene alone is what a script puts in.
	if code, part := ask(t, newScene(), "GET", "/scene", nil); code != 200 || !strings.Contains(text, part) || strings.Contains(part, "<html") {
		t.Errorf("the scene: %d\n%s", code, part)
	}
	for _, path := range []string{"/watch.js", "/watch.css"} {
		if code, text := ask(t, newScene(), "GET", path, nil); code != 200 || text == "" {
			t.Errorf("%s: %d", path, code)
		}
	}
}

func TestButtonsAreForThisPageAlone(t *testing.T) {
	s := newScene()
	for _, row := range []struct {
		path   string
		change func(*http.Request)
		code   int
	}{
		{"/hosts/real1/start", nil, http.StatusSeeOther},
		{"/hosts/real2/kill", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") }, http.StatusSeeOther},
		{"/hosts/client/kill", nil, http.StatusConflict},
		{"/hosts/real2/kill", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, http.StatusForbidden},
		{"/hosts/real2/kill", func(r *http.Request) { r.Header.Set("Origin", "http://elsewhere.example") }, http.StatusForbidden},
		{"/hosts/real2/kill", func(r *http.Request) { r.Host = "rebound.example:8090" }, http.StatusForbidden},
		{"/hosts/real2/kill", func(r *http.Request) { r.Host = "localhost:8090" }, http.StatusSeeOther},
		{"/hosts/real2/kill", func(r *http.Request) { r.Host = "[::1]:8090" }, http.StatusSeeOther},
	} {
		if code, text := ask(t, s, "POST", row.path, row.change); code != row.code {
			t.Errorf("%s: %d %s, want %d", row.path, code, text, row.code)
		}
	}
	if got := strings.Join(s.did, ", "); got != "real1 start, real2 kill, real2 kill, real2 kill" {
		t.Errorf("done: %s", got)
	}
	if code, _ := ask(t, s, "GET", "/hosts/real2/kill", nil); code != http.StatusMethodNotAllowed {
		t.Errorf("a link that kills: %d", code)
	}
}

func TestTheSentence(t *testing.T) {
	for want, change := range map[string]func(*lab.Moment){
		"director1 holds the virtual IP. Requests are failing.":                                          func(m *lab.Moment) { m.Seconds = m.Seconds[:2] },
		"No director holds the virtual IP. director2 and real1 are down, and every request is answered.": func(m *lab.Moment) { m.Master = "" },
		"director1 holds the virtual IP. real1 is down, and every request is answered.":                  func(m *lab.Moment) { m.Hosts[2].PID = 5 },
		"director1 holds the virtual IP. Everything runs, and every request is answered.":                func(m *lab.Moment) { m.Hosts[2].PID, m.Hosts[3].PID = 5, 6 },
		"The site is being looked at.": func(m *lab.Moment) { *m = lab.Moment{} },
	} {
		s := newScene()
		change(&s.moment)
		if got, _ := sentence(s.moment); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Nothing of the page comes from elsewhere.
func TestThePageIsAllThereIs(t *testing.T) {
	for _, name := range []string{"page.html", "site.html", "continuity.html", "watch.js", "watch.css"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "://") {
			t.Errorf("%s refers to another site", name)
		}
	}
}

// TestProxiesHaveATierOfTheirOwn between directors and real servers, which then answer through them.
func TestProxiesHaveATierOfTheirOwn(t *testing.T) {
	s := newScene()
	if _, text := ask(t, s, "GET", "/", nil); strings.Contains(text, "HAProxy") {
		t.Error("a tier without hosts is shown")
	}
	s.moment.Method = lab.Content
	s.moment.Hosts = append(s.moment.Hosts, lab.HostStatus{Host: "proxy1", Role: lab.RoleProxy, Program: "HAProxy", PID: 9})
	_, text := ask(t, s, "GET", "/", nil)
	var at []int
	for _, want := range []string{`<h2 id="tier0-head">Directors`, `<h2 id="tier1-head">HAProxy`, `action="/hosts/proxy1/kill"`, `<h2 id="tier2-head">Real servers`, "answers clients through HAProxy.", `<h2 id="tier3-head">What they share`} {
		at = append(at, strings.Index(text, want))
	}
	if at[0] < 0 || !slices.IsSorted(at) {
		t.Errorf("places %v in\n%s", at, text)
	}
}
