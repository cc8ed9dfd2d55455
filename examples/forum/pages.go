package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log"
	"mime"
	"net"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

//go:embed pages.html style.css
var assets embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"when": func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04") },
}).ParseFS(assets, "pages.html"))

// patience is how long a page waits for the servers behind it.
const patience = 8 * time.Second

// forum answers for one web server.
type forum struct {
	name    string
	proxies []string // whose X-Forwarded-For counts
	posts   *posts
	cache   *cache
	files   files
	log     *log.Logger
}

// page is what the frame around every page shows.
type page struct {
	Title, User, Server string
	Body                template.HTML // the part that is the same for everybody
	Topic               int64         // if not 0, answers go there
	Form                string        // "topic", "reply", "login" or none
	Said                string        // what went wrong
	Draft               draft
}

// draft is what a user has typed.
type draft struct{ Title, Text, Name string }

func (f *forum) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", f.index)
	mux.HandleFunc("GET /index.aspx", f.index)
	mux.HandleFunc("GET /{page}", f.named)
	mux.HandleFunc("POST /post", f.submit)
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		f.show(w, r, http.StatusOK, page{Title: "Log in", Form: "login"})
	})
	mux.HandleFunc("POST /login", f.enter)
	mux.HandleFunc("POST /logout", f.leave)
	mux.Handle("GET /style.css", http.FileServerFS(assets))
	limited := http.TimeoutHandler(http.NewCrossOriginProtection().Handler(mux), patience, "The forum is slow at the moment. Try again.\n")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Real", f.name)
		w.Header().Set("X-Client", f.client(r))
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "private, no-cache")
		r.Body = http.MaxBytesReader(w, r.Body, maxFile+64<<10)
		limited.ServeHTTP(w, r)
	})
}

// client is who asks: who connects, or whom one of our proxies names last.
func (f *forum) client(r *http.Request) string {
	addr, _, _ := net.SplitHostPort(r.RemoteAddr)
	if all := r.Header.Values("X-Forwarded-For"); len(all) > 0 && slices.Contains(f.proxies, addr) {
		last := all[len(all)-1]
		return strings.TrimSpace(last[strings.LastIndex(last, ",")+1:])
	}
	return addr
}

// named answers /showtopic-N.aspx and /attachment-N.
func (f *forum) named(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("page")
	if n, ok := number(name, "showtopic-", ".aspx"); ok {
		f.topic(w, r, n)
	} else if n, ok := number(name, "attachment-", ""); ok {
		f.attachment(w, r, n)
	} else {
		f.show(w, r, http.StatusNotFound, page{Title: "There is no such page"})
	}
}

func number(name, before, after string) (int64, bool) {
	rest, ok := strings.CutPrefix(name, before)
	if rest, ok2 := strings.CutSuffix(rest, after); ok && ok2 {
		n, err := strconv.ParseInt(rest, 10, 64)
		return n, err == nil && n > 0
	}
	return 0, false
}

func (f *forum) index(w http.ResponseWriter, r *http.Request) {
	body, err := f.body(w, r, "index", "topics", func() (any, error) { return f.posts.topics(r.Context()) })
	f.answer(w, r, page{Title: "Topics", Body: body, Form: "topic"}, err)
}

func (f *forum) topic(w http.ResponseWriter, r *http.Request, id int64) {
	body, err := f.body(w, r, fmt.Sprintf("topic-%d", id), "posts", func() (any, error) {
		title, list, err := f.posts.read(r.Context(), id)
		return map[string]any{"Title": title, "Posts": list}, err
	})
	f.answer(w, r, page{Title: "Topic", Body: body, Form: "reply", Topic: id}, err)
}

// body is the part of a page that is the same for everybody, out of memcached where it has it. The header X-Cache says so.
func (f *forum) body(w http.ResponseWriter, r *http.Request, key, name string, load func() (any, error)) (template.HTML, error) {
	generation, kept := f.cache.generation()
	key = "page:" + generation + ":" + key
	w.Header().Set("X-Cache", "away")
	if kept {
		if text, ok := f.cache.get(key); ok {
			w.Header().Set("X-Cache", "hit")
			return template.HTML(text), nil
		}
		w.Header().Set("X-Cache", "miss")
	}
	data, err := load()
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	if err := templates.ExecuteTemplate(&out, name, data); err != nil {
		return "", err
	}
	if kept {
		f.cache.set(key, out.String())
	}
	return template.HTML(out.String()), nil
}

// answer shows p, or what is wrong.
func (f *forum) answer(w http.ResponseWriter, r *http.Request, p page, err error) {
	switch {
	case err == nil:
		f.show(w, r, http.StatusOK, p)
	case errors.Is(err, errNone):
		f.show(w, r, http.StatusNotFound, page{Title: "There is no such page"})
	default:
		f.log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
		f.show(w, r, http.StatusServiceUnavailable, page{Title: "The forum cannot reach its posts", Said: "Nothing is lost. Try again in a moment."})
	}
}

func (f *forum) show(w http.ResponseWriter, r *http.Request, status int, p page) {
	var err error
	if p.User, err = f.user(r); err != nil && status == http.StatusOK {
		f.log.Printf("%s %s: whose session: %v", r.Method, r.URL.Path, err)
		p.Said = "Who you are cannot be looked up at the moment. You are still logged in."
	}
	p.Server = f.name
	var out bytes.Buffer
	if err := templates.ExecuteTemplate(&out, "page", p); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(out.Bytes())
}

func (f *forum) enter(w http.ResponseWriter, r *http.Request) {
	name, password := strings.TrimSpace(r.PostFormValue("name")), r.PostFormValue("password")
	again := page{Title: "Log in", Form: "login", Draft: draft{Name: name}}
	if name == "" || password == "" || utf8.RuneCountInString(name) > 40 {
		again.Said = "A name of at most 40 characters and a password are needed."
		f.show(w, r, http.StatusBadRequest, again)
		return
	}
	cookie, err := f.login(r.Context(), name, password)
	switch {
	case errors.Is(err, errPassword):
		again.Said = "That name belongs to somebody with another password."
		f.show(w, r, http.StatusForbidden, again)
	case err != nil:
		f.answer(w, r, again, err)
	default:
		http.SetCookie(w, cookie)
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

func (f *forum) leave(w http.ResponseWriter, r *http.Request) {
	if err := f.logout(r); err != nil {
		f.answer(w, r, page{}, err)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// submit takes a new topic or an answer. What cannot be kept comes back in the form: nothing that was typed is lost.
func (f *forum) submit(w http.ResponseWriter, r *http.Request) {
	d := draft{Title: strings.TrimSpace(r.FormValue("title")), Text: strings.TrimSpace(r.FormValue("text"))}
	topic, _ := strconv.ParseInt(r.FormValue("topic"), 10, 64)
	again := page{Title: "Your post", Form: "topic", Draft: d}
	if topic > 0 {
		again.Form, again.Topic = "reply", topic
	}
	refuse := func(status int, said string) {
		again.Said = said
		f.show(w, r, status, again)
	}
	user, err := f.user(r)
	switch {
	case err != nil:
		f.log.Printf("%s %s: whose session: %v", r.Method, r.URL.Path, err)
		refuse(http.StatusServiceUnavailable, "The forum cannot reach its posts. Your text is still here: send it again in a moment.")
		return
	case user == "":
		refuse(http.StatusForbidden, "Log in first. Your text is still here.")
		return
	case d.Text == "" || topic == 0 && d.Title == "":
		refuse(http.StatusBadRequest, "A post needs a text, and a new topic a title.")
		return
	}
	n := post{Topic: topic, Author: user, Text: d.Text}
	if said, err := f.keepFile(r.Context(), r, &n); errors.Is(err, errTooLarge) {
		refuse(http.StatusRequestEntityTooLarge, said)
		return
	} else if err != nil {
		f.log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
		refuse(http.StatusServiceUnavailable, said)
		return
	}
	id, err := f.posts.write(r.Context(), d.Title, n)
	if errors.Is(err, errNone) {
		refuse(http.StatusNotFound, "There is no such topic any more. Your text is still here.")
		return
	}
	if err != nil {
		f.log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
		refuse(http.StatusServiceUnavailable, "The post could not be kept. Your text is still here: send it again in a moment.")
		return
	}
	f.cache.changed()
	http.Redirect(w, r, fmt.Sprintf("/showtopic-%d.aspx", id), http.StatusSeeOther)
}

var errTooLarge = errors.New("the attachment is too large")

// keepFile stores the file that came with a post, before the post: no post refers to a file that is not there.
func (f *forum) keepFile(ctx context.Context, r *http.Request, n *post) (said string, err error) {
	file, head, err := r.FormFile("file")
	if errors.Is(err, http.ErrMissingFile) || errors.Is(err, http.ErrNotMultipart) || err == nil && head.Filename == "" {
		return "", nil
	}
	if err != nil {
		return "The attachment could not be read: " + err.Error(), err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return "The attachment could not be read: " + err.Error(), err
	}
	if len(data) > maxFile {
		return "An attachment has at most 1 MiB. Your text is still here.", errTooLarge
	}
	n.Key, n.File, n.Size = hex.EncodeToString(random()), path.Base(strings.ReplaceAll(head.Filename, `\`, "/")), len(data)
	if err := f.files.store(ctx, n.Key, data); err != nil {
		return "Attachments cannot be stored at the moment. Your text is still here: send it without the file, or again later.", err
	}
	return "", nil
}

func (f *forum) attachment(w http.ResponseWriter, r *http.Request, id int64) {
	n, err := f.posts.file(r.Context(), id)
	if err != nil {
		f.answer(w, r, page{}, err)
		return
	}
	data, err := f.files.fetch(r.Context(), n.Key)
	if err != nil {
		f.log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
		f.show(w, r, http.StatusServiceUnavailable, page{Title: "Attachments cannot be reached", Said: n.File + " is kept and will be there again. Try again in a moment."})
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": n.File}))
	w.Write(data)
}
