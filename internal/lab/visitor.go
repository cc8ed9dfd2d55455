package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// visitor is a person with a browser at the client's host, who uses the forum over the virtual IP: a session, a topic that
// they wrote, and its attachment. Every request is a connection of its own, which any director and real server may get.
type visitor struct {
	lab        *Lab
	from       netip.Addr
	browser    *http.Client
	topic      string // path of the page
	text       string // what they wrote
	file       string // path of the attachment
	attachment []byte
}

// The person's name, and how much they attach.
const (
	visitorName    = "Ann"
	attachmentSize = 64 << 10
)

func newVisitor(l *Lab) (*visitor, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	v := &visitor{lab: l, from: l.Users[0]}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, _, to string) (conn net.Conn, err error) {
		err = l.built.inside("client", func() error {
			d := net.Dialer{Timeout: 2 * time.Second, LocalAddr: &net.TCPAddr{IP: v.from.AsSlice()}, Control: latePort}
			conn, err = d.Dial("tcp", to)
			return err
		})
		return conn, err
	}}
	v.browser = &http.Client{Jar: jar, Transport: transport, Timeout: 10 * time.Second}
	return v, nil
}

// answer is what the browser got in the end, redirects followed.
type answer struct {
	status       int
	server, path string // who answered, and what
	body         []byte
}

func (v *visitor) do(req *http.Request, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	resp, err := v.browser.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: %s", req.Method, req.URL.Path, reason(err))
	}
	defer resp.Body.Close()
	who, err := by(resp.Header, v.from)
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, err)
	}
	a := answer{status: resp.StatusCode, server: who.real, path: resp.Request.URL.Path}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	return a, err
}

func (v *visitor) url(path string) string { return "http://" + v.lab.VIP.Addr().String() + path }

func (v *visitor) get(path string) (answer, error) {
	return v.do(http.NewRequest(http.MethodGet, v.url(path), nil))
}

// send posts a form, with a file if there is one.
func (v *visitor) send(fields map[string]string, file []byte) (answer, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for name, value := range fields {
		if err := form.WriteField(name, value); err != nil {
			return answer{}, err
		}
	}
	if file != nil {
		w, err := form.CreateFormFile("file", "picture.png")
		if err != nil {
			return answer{}, err
		}
		if _, err := w.Write(file); err != nil {
			return answer{}, err
		}
	}
	if err := form.Close(); err != nil {
		return answer{}, err
	}
	req, err := http.NewRequest(http.MethodPost, v.url("/post"), &body)
	if err == nil {
		req.Header.Set("Content-Type", form.FormDataContentType())
	}
	return v.do(req, err)
}

// choose looks for an address of the person's that the real server called want answers, and keeps the last one otherwise:
// without persistence there is none.
func (v *visitor) choose(want string) error {
	for _, v.from = range v.lab.Users {
		if a, err := v.get("/"); err != nil || a.server == want {
			return err
		}
	}
	return nil
}

// arrive logs in and writes a topic with an attachment. It returns who answered the login.
func (v *visitor) arrive() (server string, err error) {
	form := url.Values{"name": {visitorName}, "password": {"correct horse"}}
	req, err := http.NewRequest(http.MethodPost, v.url("/login"), strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	in, err := v.do(req, nil)
	if err != nil || !v.knownIn(in) {
		return "", errors.Join(err, fmt.Errorf("the login was answered by %d", in.status))
	}
	v.attachment = make([]byte, attachmentSize)
	rand.Read(v.attachment)
	v.text = "Everything is still there."
	a, err := v.send(map[string]string{"title": "Is this forum up?", "text": v.text}, v.attachment)
	if err != nil {
		return "", err
	}
	v.topic, v.file = a.path, string(attachmentLink.Find(a.body))
	if a.status != http.StatusOK || v.file == "" {
		return "", fmt.Errorf("a topic with an attachment was answered by %d", a.status)
	}
	return in.server, nil
}

var attachmentLink = regexp.MustCompile(`/attachment-[0-9]+`)

// knownIn tells whether a page greets the person.
func (v *visitor) knownIn(a answer) bool {
	return bytes.Contains(a.body, []byte(`<span id="user">`+visitorName+`</span>`))
}

// look reads the topic and fetches the attachment.
func (v *visitor) look(when string) UserCheck {
	c := UserCheck{When: when}
	start := time.Now()
	page, err := v.get(v.topic)
	c.MS = millis(time.Since(start))
	if err != nil {
		c.Error = err.Error()
		return c
	}
	c.Server, c.LoggedIn, c.Topic = page.server, v.knownIn(page), bytes.Contains(page.body, []byte(v.text))
	file, err := v.get(v.file)
	if err != nil {
		c.Error = err.Error()
	}
	c.FileServer = file.server
	c.Misrouted = v.lab.misrouted(c)
	c.Attachment = file.status == http.StatusOK && bytes.Equal(file.body, v.attachment)
	return c
}

// UserReport is what a person saw of the forum during the play.
type UserReport struct {
	Address    string      `json:"address"`
	LoggedInOn string      `json:"logged_in_on"` // the real server that served the login
	Attachment int         `json:"attachment"`   // bytes
	Checks     []UserCheck `json:"checks"`
}

// UserCheck is one look at the forum.
type UserCheck struct {
	When       string  `json:"when"`   // the step after which, or what was away
	Server     string  `json:"server"` // who answered
	LoggedIn   bool    `json:"logged_in"`
	Topic      bool    `json:"topic"`
	Attachment bool    `json:"attachment"`
	MS         float64 `json:"ms"`          // of the page
	FileServer string  `json:"file_server"` // who answered for the attachment
	Misrouted  string  `json:"misrouted,omitempty"`
	Error      string  `json:"error,omitempty"`
}

// Why says what a look did not find.
func (c UserCheck) Why() []string {
	var out []string
	if c.Error != "" {
		out = append(out, "the user got no answer: "+c.Error)
	}
	if c.Misrouted != "" {
		out = append(out, c.Misrouted)
	}
	for _, fact := range []struct {
		holds bool
		not   string
	}{{c.LoggedIn, "the user is logged out"}, {c.Topic, "the user's topic is gone"}, {c.Attachment, "the user's attachment is gone"}} {
		if !fact.holds {
			out = append(out, fmt.Sprintf("%s (on %s)", fact.not, c.Server))
		}
	}
	return out
}
