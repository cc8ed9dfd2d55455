package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"vipd/internal/lb"
)

// Explainer tells why a service and its real servers are as they are. Its method is called from several goroutines at once.
type Explainer interface {
	// Explain is about one service of the health machine; ErrNothing if there is none of this key.
	Explain(ctx context.Context, key lb.ServiceKey) (Why, error)
}

// ErrNothing says that there is nothing to explain: no such service is configured.
var ErrNothing = errors.New("no such service is configured")

// Why is a service with its reasons. "vipd why -o json" prints it as it stands here.
type Why struct {
	Service string    `json:"service"` // as ServiceWord says it
	Group   string    `json:"group,omitempty"`
	Quorum  bool      `json:"quorum"`
	Since   time.Time `json:"since"`
	Alive   int64     `json:"alive"`  // weight of the real servers that are up
	Gained  int64     `json:"gained"` // the quorum is gained at this weight
	Lost    int64     `json:"lost"`   // and lost below this one
	Sorry   string    `json:"sorry_server,omitempty"`
	SorryUp bool      `json:"sorry_server_up,omitempty"`
	Reals   []WhyReal `json:"reals"`
}

// WhyReal is a real server with its reasons.
type WhyReal struct {
	Real    string     `json:"real"`
	Verdict string     `json:"verdict"` // in, quiesced or out
	Weight  int32      `json:"weight"`  // that new connections see
	Rules   []WhyRule  `json:"rules"`   // the first one decides
	Checks  []WhyCheck `json:"checks"`
	Peers   []PeerSays `json:"peers,omitempty"` // as in the status
}

// WhyRule is one reason.
type WhyRule struct {
	Rule  string    `json:"rule"`
	Says  string    `json:"says"`
	Since time.Time `json:"since"`
}

// WhyCheck is one checker, what it found last and how to repeat it.
type WhyCheck struct {
	Kind    string        `json:"kind"`
	Target  string        `json:"target"`
	Way     string        `json:"way,omitempty"` // check_path: the virtual address and how it goes there
	Up      bool          `json:"up"`
	Ran     bool          `json:"ran"` // if not, up is an assumption
	Since   time.Time     `json:"since"`
	Every   time.Duration `json:"every_ns"`
	Failed  int           `json:"failed"` // failures forgiven so far, of retry
	Retry   int           `json:"retry"`
	Next    time.Time     `json:"next,omitzero"` // none while one is under way
	Expects string        `json:"expects,omitempty"`
	Command string        `json:"command,omitempty"`
	Last    []WhyResult   `json:"last"` // the latest first

	Certificate *Certificate `json:"certificate,omitempty"` // where it looks at one
}

// WhyResult is what one check found.
type WhyResult struct {
	At       time.Time     `json:"at"`
	Result   string        `json:"result"` // ok, failed or void: it could not be made
	Took     time.Duration `json:"took_ns"`
	Why      string        `json:"why,omitempty"`
	Page     string        `json:"page,omitempty"`
	Sent     int           `json:"sent_bytes"`
	Received int           `json:"received_bytes"`
	First    []byte        `json:"first,omitempty"` // of what was received, or of a command's output; base64
	Status   int           `json:"status,omitempty"`
	Digest   string        `json:"digest,omitempty"`
}

// serveExplainer adds the question why to the socket of people with permission.
func serveExplainer(mux *http.ServeMux, e Explainer) {
	mux.HandleFunc("GET /v1/why", func(w http.ResponseWriter, r *http.Request) {
		key, err := parseServiceWord(r.FormValue("service"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		why, err := e.Explain(r.Context(), key)
		if errors.Is(err, ErrNothing) {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		answer(w, why, err)
	})
}

// parseServiceWord reads what ServiceWord writes.
func parseServiceWord(word string) (lb.ServiceKey, error) {
	n, err := parseName(word)
	if err != nil || n.mark == 0 && (n.protocol == 0 || !n.hasPort) {
		return lb.ServiceKey{}, fmt.Errorf("service %.80q: want such as tcp/10.0.8.9:80 or fwmark/7", word)
	}
	if n.mark != 0 {
		return lb.ServiceKey{Mark: n.mark, V6: n.v6}, nil
	}
	return lb.ServiceKey{Protocol: n.protocol, Addr: n.endpointAddr()}, nil
}

// maxWhy bounds the answer about one service: 10,000 real servers with some checks each.
const maxWhy = 256 << 20

// Explain asks why a service is as it is.
func (c *Client) Explain(ctx context.Context, key lb.ServiceKey) (w Why, err error) {
	err = c.get(ctx, "/v1/why?"+url.Values{"service": {ServiceWord(key)}}.Encode(), maxWhy, &w)
	return w, err
}
