package control

import (
	"bufio"
	"io"
	"net/http"
	"testing"
)

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

// httpGet fetches a page on a connection of its own, so that none is left open.
func httpGet(t *testing.T, url string, want int) string {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return string(b)
}
