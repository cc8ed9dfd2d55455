package cli

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

func TestGenhashPrintsTheDigestOfAPage(t *testing.T) {
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil
		io.WriteString(w, "hello "+r.Host)
	})
	plain, secure := httptest.NewServer(serve), httptest.NewTLSServer(serve)
	defer plain.Close()
	defer secure.Close()
	port := func(s *httptest.Server) string {
		return strconv.Itoa(int(netip.MustParseAddrPort(s.Listener.Addr().String()).Port()))
	}
	for name, c := range map[string]struct {
		args []string
		code int
		out  string // what it prints; with … at its end what it begins with
	}{
		"a page":               {[]string{"-s", "127.0.0.1", "-p", port(plain), "-u", "/", "-V", "w"}, 0, "c92a8c4c9639c8eea645ae900d2d55d0\n"},
		"over TLS":             {[]string{"-S", "-s", "127.0.0.1", "-p", port(secure), "-u", "/", "--use-virtualhost=w"}, 0, "c92a8c4c9639c8eea645ae900d2d55d0\n"},
		"with all that came":   {[]string{"-v", "-s", "127.0.0.1", "-p", port(plain), "-u", "/", "-V", "w"}, 0, "-----------------------[    HTTP Header Buffer    ]-----------------------\n0000  48 54 54 50 2f 31 2e 30 - 20 32 30 30 20 4f 4b 0d   HTTP/1.0 200 OK.\n…"},
		"nobody listens":       {[]string{"-s", "127.0.0.1", "-p", "1", "-u", "/"}, 0, "Connection failed (connection refused)\n"},
		"no address":           {[]string{"-s", "here", "-u", "/"}, 0, "server \"here\" is no address\n"},
		"no page":              {[]string{"-s", "127.0.0.1"}, 1, ""},
		"an option of nothing": {[]string{"-x"}, 1, ""},
	} {
		var out, errs bytes.Buffer
		code := Genhash(c.args, Env{Stdout: &out, Stderr: &errs})
		want, begins := strings.CutSuffix(c.out, "…")
		if code != c.code || begins && !strings.HasPrefix(out.String(), want) || !begins && out.String() != want {
			t.Errorf("%s: exit %d\n%s%s", name, code, out.String(), errs.String())
		}
	}
}
