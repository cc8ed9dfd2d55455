package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
)

// site is two web servers of the forum, and the three servers behind them.
type site struct {
	a, b                  *httptest.Server
	memcached, ftp, posts *server
}

func newSite(t *testing.T) *site {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("root is missing, and this is CI")
		}
		t.Skip("root is missing: PostgreSQL and vsftpd run as users of their own")
	}
	s := &site{memcached: startMemcached(t), ftp: startFTP(t), posts: startPostgres(t)}
	s.a, s.b = s.web(t, "a"), s.web(t, "b")
	eventually(t, "the database answers", func() bool { return newBrowser(t).get(s.a, "/").status == 200 })
	return s
}

func (s *site) web(t *testing.T, name string) *httptest.Server {
	posts, err := openPosts(fmt.Sprintf("postgres://forum@%s/postgres?sslmode=disable", s.posts.addr()))
	if err != nil {
		t.Fatal(err)
	}
	f := &forum{name: name, posts: posts, cache: newCache(s.memcached.addr()), files: files{addr: s.ftp.addr()}, log: log.New(t.Output(), name+": ", 0)}
	srv := httptest.NewServer(f.handler())
	t.Cleanup(func() { srv.Close(); f.cache.close(); posts.close() })
	return srv
}

// browser is a user, who goes to any of the web servers: the cookie is the same for both.
type browser struct {
	t *testing.T
	c http.Client
}

type answer struct {
	status      int
	text, cache string
	path        string // where it ended
}

func newBrowser(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, http.Client{Jar: jar}}
}

func (b *browser) read(resp *http.Response, err error) answer {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{resp.StatusCode, string(text), resp.Header.Get("X-Cache"), resp.Request.URL.Path}
}

func (b *browser) get(s *httptest.Server, path string) answer {
	b.t.Helper()
	return b.read(b.c.Get(s.URL + path))
}

func (b *browser) login(s *httptest.Server, name, password string) answer {
	b.t.Helper()
	return b.read(b.c.PostForm(s.URL+"/login", url.Values{"name": {name}, "password": {password}}))
}

func (b *browser) post(s *httptest.Server, fields map[string]string, file string, data []byte) answer {
	b.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for k, v := range fields {
		form.WriteField(k, v)
	}
	if file != "" {
		w, _ := form.CreateFormFile("file", file)
		w.Write(data)
	}
	form.Close()
	return b.read(b.c.Post(s.URL+"/post", form.FormDataContentType(), &body))
}

func (b *browser) want(what string, got answer, status int, words ...string) {
	b.t.Helper()
	if got.status != status {
		b.t.Errorf("%s: %d, want %d\n%s", what, got.status, status, got.text)
	}
	for _, w := range words {
		if !strings.Contains(got.text, w) {
			b.t.Errorf("%s: lacks %q:\n%s", what, w, got.text)
		}
	}
}

func TestEveryWebServerKnowsWhatTheOthersDo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ann := newBrowser(t)
	ann.want("an empty forum", ann.get(s.b, "/"), 200, "Nobody has written yet", "Answered by b", `<a href="/login">Log in</a> to write`)
	ann.want("login", ann.login(s.a, "Ann", "secret"), 200, `<span id="user">Ann</span>`)
	data := bytes.Repeat([]byte{0, 1, 2, 255}, 50_000)
	got := ann.post(s.a, map[string]string{"title": "A <b>first</b> topic", "text": "With a file."}, `C:\pictures\cat "1".png`, data)
	ann.want("a topic", got, 200, "A &lt;b&gt;first&lt;/b&gt; topic", "With a file.", "200000 bytes")
	topic := got.path

	for _, path := range []string{"/", "/index.aspx", topic} {
		ann.want("on the other: "+path, ann.get(s.b, path), 200, `<span id="user">Ann</span>`, "A &lt;b&gt;first&lt;/b&gt; topic", "Answered by b")
	}
	file := regexp.MustCompile(`/attachment-\d+`).FindString(got.text)
	resp, err := ann.c.Get(s.b.URL + file)
	if err != nil {
		t.Fatal(err)
	}
	there, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if want := `attachment; filename="cat \"1\".png"`; !bytes.Equal(there, data) || resp.Header.Get("Content-Disposition") != want {
		t.Errorf("the attachment: %d bytes, %q", len(there), resp.Header.Get("Content-Disposition"))
	}
	// A change on one is seen on the other at once, although both keep pages.
	if again := ann.get(s.b, topic); again.cache != "hit" {
		t.Errorf("a page that nothing has changed: %s", again.cache)
	}
	number := strings.TrimSuffix(strings.TrimPrefix(topic, "/showtopic-"), ".aspx")
	ann.want("an answer", ann.post(s.a, map[string]string{"topic": number, "text": "An answer."}, "", nil), 200, "An answer.")
	ann.want("it on the other", ann.get(s.b, topic), 200, "An answer.")

	ann.want("logout", ann.read(ann.c.Post(s.b.URL+"/logout", "", nil)), 200, "Log in")
	ann.want("logged out on the other", ann.get(s.a, "/"), 200, `<a href="/login">Log in</a>`)
}

func TestStrangersAndMistakes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ann, bob := newBrowser(t), newBrowser(t)
	ann.login(s.a, "Ann", "secret")
	bob.want("her name with his password", bob.login(s.b, "Ann", "guess"), 403, "another password")
	bob.want("no name", bob.login(s.b, " ", "guess"), 400, "needed")
	bob.want("a post of nobody", bob.post(s.a, map[string]string{"title": "T", "text": "typed"}, "", nil), 403, "Log in first", "typed")
	ann.want("a topic without title", ann.post(s.a, map[string]string{"text": "typed"}, "", nil), 400, "a title", "typed")
	ann.want("too large a file", ann.post(s.a, map[string]string{"title": "T", "text": "typed"}, "x", make([]byte, maxFile+1)), 413, "at most 1 MiB", "typed")
	ann.want("an answer to nothing", ann.post(s.a, map[string]string{"topic": "999", "text": "typed"}, "", nil), 404, "typed")
	for _, path := range []string{"/showtopic-7.aspx", "/showtopic-0.aspx", "/showtopic-x.aspx", "/attachment-7", "/nothing", "/showtopic-99999999999999999999.aspx"} {
		ann.want(path, ann.get(s.a, path), 404, "There is no such page")
	}
	req, _ := http.NewRequest("POST", s.a.URL+"/logout", nil)
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	ann.want("a form of another site", ann.read(ann.c.Do(req)), 403)
	ann.want("a forged session", func() answer {
		req, _ := http.NewRequest("GET", s.a.URL+"/", nil)
		req.AddCookie(&http.Cookie{Name: cookieName, Value: "00"})
		return newBrowser(t).read(http.DefaultClient.Do(req))
	}(), 200, `<a href="/login">Log in</a>`)
}

func TestEachServerBehindItMayBeAway(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ann := newBrowser(t)
	ann.want("login", ann.login(s.a, "Ann", "secret"), 200, `<span id="user">Ann</span>`)
	got := ann.post(s.a, map[string]string{"title": "T", "text": "With a file."}, "cat.png", []byte("meow"))
	topic, file := got.path, regexp.MustCompile(`/attachment-\d+`).FindString(got.text)

	s.memcached.kill()
	for range 3 {
		got := ann.get(s.b, topic)
		ann.want("without memcached", got, 200, "With a file.", `<span id="user">Ann</span>`)
		if got.cache == "hit" {
			t.Error("a hit without memcached")
		}
	}
	ann.want("a post without memcached", ann.post(s.b, map[string]string{"title": "U", "text": "Slower."}, "", nil), 200, "Slower.")
	s.memcached.up()
	eventually(t, "pages are kept again", func() bool { return ann.get(s.b, topic).cache == "hit" })
	ann.want("after memcached's return", ann.get(s.a, "/"), 200, ">U</a>", `<span id="user">Ann</span>`)

	s.ftp.kill()
	ann.want("an upload without FTP", ann.post(s.a, map[string]string{"title": "V", "text": "typed"}, "dog.png", []byte("wow")), 503,
		"Attachments cannot be stored at the moment", "typed", `value="V"`)
	ann.want("a download without FTP", ann.get(s.a, file), 503, "cat.png is kept")
	ann.want("the rest without FTP", ann.post(s.a, map[string]string{"title": "V", "text": "typed"}, "", nil), 200, "typed")
	s.ftp.up()
	if got := ann.get(s.b, file); got.status != 200 || got.text != "meow" {
		t.Errorf("the attachment after FTP's return: %+v", got)
	}

	ann.get(s.a, topic) // kept now
	s.posts.kill()
	ann.want("a page that is kept, without the database", ann.get(s.b, topic), 200, "With a file.", `<span id="user">Ann</span>`)
	ann.want("a page that is not", ann.get(s.b, "/showtopic-77.aspx"), 503, "Nothing is lost")
	ann.want("a post without the database", ann.post(s.a, map[string]string{"title": "W", "text": "typed"}, "", nil), 503, "typed", `value="W"`)
	s.posts.up()
	eventually(t, "the database is back", func() bool {
		return ann.post(s.a, map[string]string{"title": "W", "text": "typed"}, "", nil).status == 200
	})
	ann.want("what was written before", ann.get(s.b, "/"), 200, ">T</a>", ">U</a>", ">V</a>", ">W</a>")
}

// TestForWhomTheForumAnswers: what one of our proxies says last counts, and what anybody else says does not.
func TestForWhomTheForumAnswers(t *testing.T) {
	f := &forum{proxies: []string{"10.0.8.41"}}
	for from, want := range map[string]string{"10.0.8.41:1": "10.0.4.102", "10.0.4.7:1": "10.0.4.7"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = from
		r.Header.Add("X-Forwarded-For", "10.0.4.9, 10.0.4.102")
		if got := f.client(r); got != want {
			t.Errorf("of %s: %s, want %s", from, got, want)
		}
	}
}
