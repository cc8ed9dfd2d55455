// Package page shows a lab in a browser and lets its parts be killed and revived there. Every page is made here: a browser
// without JavaScript loads it anew every few seconds, one with JavaScript fetches what has changed.
//
// It decides nothing about the lab: what there is to see is a lab.Moment.
package page

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"vipd/internal/lab"
)

//go:embed page.html site.html continuity.html watch.js watch.css
var assets embed.FS

// Watched is what a page shows and does; *lab.Live is one.
type Watched interface {
	Moment() lab.Moment
	// Do does to a host what a button says: kill, stop, off or start.
	Do(host, what string) error
}

// The pages: a frame that all have, and the scene in it.
var (
	sitePage       = parse("site.html")
	continuityPage = parse("continuity.html")
)

func parse(scene string) *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"clock": func(t time.Time) string { return t.Local().Format(time.TimeOnly) },
		"after": func(subject string) string { // the router_id, which is the same on both directors
			if _, rest, ok := strings.Cut(subject, "] "); ok && strings.HasPrefix(subject, "[") {
				return rest
			}
			return subject
		},
	}).ParseFS(assets, "page.html", scene))
}

// Handler serves the page. forumPort is the port, at the same host, where the forum can be used.
func Handler(w Watched, forumPort string) http.Handler {
	mux := newMux(sitePage, func(r *http.Request) any { return newView(w.Moment(), forumURL(r, forumPort)) })
	handleHosts(mux, w.Do)
	return onlyHere(http.NewCrossOriginProtection().Handler(mux))
}

// newMux serves a page, and the scene in it alone.
func newMux(templates *template.Template, view func(*http.Request) any) *http.ServeMux {
	mux := http.NewServeMux()
	show := func(name string) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			var out bytes.Buffer
			if err := templates.ExecuteTemplate(&out, name, view(r)); err != nil {
				http.Error(rw, err.Error(), http.StatusInternalServerError)
				return
			}
			rw.Header().Set("Content-Type", "text/html; charset=utf-8")
			rw.Header().Set("Cache-Control", "no-store")
			rw.Write(out.Bytes())
		}
	}
	mux.HandleFunc("GET /{$}", show("page"))
	mux.HandleFunc("GET /scene", show("scene"))
	mux.Handle("GET /watch.js", http.FileServerFS(assets))
	mux.Handle("GET /watch.css", http.FileServerFS(assets))
	return mux
}

// handleHosts takes what the buttons of hosts say.
func handleHosts(mux *http.ServeMux, do func(host, what string) error) {
	press(mux, "POST /hosts/{host}/{what}", func(r *http.Request) error { return do(r.PathValue("host"), r.PathValue("what")) })
}

// press takes what a button says, and shows the page again.
func press(mux *http.ServeMux, pattern string, do func(*http.Request) error) {
	mux.HandleFunc(pattern, func(rw http.ResponseWriter, r *http.Request) {
		if err := do(r); err != nil {
			http.Error(rw, err.Error(), http.StatusConflict)
			return
		}
		http.Redirect(rw, r, "/", http.StatusSeeOther)
	})
}

// onlyHere answers requests alone that name this machine by an address or as localhost: a page elsewhere whose name is made to
// point here (DNS rebinding) presses no buttons.
func onlyHere(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host := hostOf(r); host != "localhost" {
			if _, err := netip.ParseAddr(host); err != nil {
				http.Error(w, "this page is to be called by an address or as localhost", http.StatusForbidden)
				return
			}
		}
		w.Header().Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
		next.ServeHTTP(w, r)
	})
}

func hostOf(r *http.Request) string {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.Trim(host, "[]")
}

func forumURL(r *http.Request, port string) string {
	return fmt.Sprintf("http://%s/", net.JoinHostPort(hostOf(r), port))
}
