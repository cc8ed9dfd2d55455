package control

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Commander does what a daemon is told. Its methods are called from several goroutines at once; one after the other is
// executed.
type Commander interface {
	// Config is the configuration in force as JSON (conf.Config), for plan.
	Config(ctx context.Context) (json.RawMessage, error)
	// Reload reads the daemon's own file again.
	Reload(ctx context.Context) Outcome
	// Apply makes the file at path the configuration in force. With confirm above zero it is taken back after that time
	// unless Confirm comes first.
	Apply(ctx context.Context, path string, confirm time.Duration) Outcome
	// Confirm keeps what Apply has done.
	Confirm(ctx context.Context) Outcome
	// Failover hands the mastership of instances, or of all, to another director, once the peers have all connections; it
	// answers when there is a new master. Back lets them take it back.
	Failover(ctx context.Context, instances []string, how Leave) Outcome
	Back(ctx context.Context) Outcome
	// Maintenance takes this director out, after somebody else has taken over or with force whether or not, or puts it in again.
	Maintenance(ctx context.Context, on bool, how Leave) Outcome
	// Upgrade has the program at path, absolute, take the daemon's place; with probe it is only tried whether it could. If empty,
	// the path that the daemon itself was started by.
	Upgrade(ctx context.Context, path string, probe bool) Outcome
}

// Leave is how a director gives its addresses up.
type Leave struct {
	Now   bool          // whether or not the peers of connection_sync have all connections
	Wait  time.Duration // for them to have all, at most. If zero, 10 s.
	Force bool          // of maintenance: also if nobody takes over
	// Drain is for how long at most it goes on then without new connections, until those that are open have ended.
	Drain time.Duration
}

// LeaveWait is for how long the peers are waited for unless something else is said.
const LeaveWait = 10 * time.Second

func (l Leave) values(args url.Values) url.Values {
	for name, is := range map[string]bool{"now": l.Now, "force": l.Force} {
		if is {
			args.Set(name, "1")
		}
	}
	for name, d := range map[string]time.Duration{"wait": l.Wait, "drain": l.Drain} {
		if d != 0 {
			args.Set(name, d.String())
		}
	}
	return args
}

// patience is how long it may take beyond what any command takes.
func (l Leave) patience() time.Duration { return cmp.Or(l.Wait, LeaveWait) + l.Drain }

// leaveOf reads values.
func leaveOf(args url.Values) (l Leave, err error) {
	l.Now, l.Force = args.Get("now") != "", args.Get("force") != ""
	for name, to := range map[string]*time.Duration{"wait": &l.Wait, "drain": &l.Drain} {
		text := args.Get(name)
		if text == "" {
			continue
		}
		if *to, err = time.ParseDuration(text); err != nil || *to < 0 {
			return l, fmt.Errorf("%s %.40q: want a time such as 60s", name, text)
		}
	}
	return l, nil
}

// Outcome is what came of a command.
type Outcome struct {
	Done  bool   `json:"done"`            // the new configuration is in force
	Error string `json:"error,omitempty"` // why not, or what of it is not
	Hint  string `json:"hint,omitempty"`
	Code  int    `json:"code,omitempty"` // exit code for a command
	// Said are the diagnostics of the file, in their long form.
	Said []string `json:"said,omitempty"`
	// Until is when an unconfirmed change is taken back. If zero, never.
	Until time.Time `json:"until,omitzero"`
}

// serveCommands adds the commands to the socket of people with permission.
func serveCommands(mux *http.ServeMux, c Commander) {
	mux.HandleFunc("GET /v1/config", func(w http.ResponseWriter, r *http.Request) {
		raw, err := c.Config(r.Context())
		answer(w, raw, err)
	})
	mux.HandleFunc("POST /v1/reload", func(w http.ResponseWriter, r *http.Request) { answer(w, c.Reload(r.Context()), nil) })
	mux.HandleFunc("POST /v1/confirm", func(w http.ResponseWriter, r *http.Request) { answer(w, c.Confirm(r.Context()), nil) })
	mux.HandleFunc("POST /v1/failover", func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if r.Form.Get("back") != "" {
			answer(w, c.Back(r.Context()), nil)
			return
		}
		how, err := leaveOf(r.Form)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, c.Failover(r.Context(), r.Form["instance"], how), nil)
	})
	mux.HandleFunc("POST /v1/maintenance", func(w http.ResponseWriter, r *http.Request) {
		on := r.FormValue("on")
		if on != "true" && on != "false" {
			http.Error(w, fmt.Sprintf("on %.40q: want true or false", on), http.StatusBadRequest)
			return
		}
		how, err := leaveOf(r.Form)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, c.Maintenance(r.Context(), on == "true", how), nil)
	})
	mux.HandleFunc("POST /v1/upgrade", func(w http.ResponseWriter, r *http.Request) {
		answer(w, c.Upgrade(r.Context(), r.FormValue("program"), r.FormValue("probe") != ""), nil)
	})
	mux.HandleFunc("POST /v1/apply", func(w http.ResponseWriter, r *http.Request) {
		path, confirm := r.FormValue("file"), time.Duration(0)
		if text := r.FormValue("confirm"); text != "" {
			var err error
			if confirm, err = time.ParseDuration(text); err != nil || confirm < 0 {
				http.Error(w, fmt.Sprintf("confirm %.40q: want a time such as 60s", text), http.StatusBadRequest)
				return
			}
		}
		answer(w, c.Apply(r.Context(), path, confirm), nil)
	})
}

// maxConfig bounds a configuration in force: ten thousand services with ten real servers each take about 60 MB.
const maxConfig = 512 << 20

// Config asks for the configuration in force.
func (c *Client) Config(ctx context.Context) (raw json.RawMessage, err error) {
	err = c.get(ctx, "/v1/config", maxConfig, &raw)
	return raw, err
}

// Reload tells the daemon to read its file again. The error is about reaching the daemon; what came of it is the Outcome.
func (c *Client) Reload(ctx context.Context) (Outcome, error) {
	return c.command(ctx, "/v1/reload", nil)
}

// Confirm keeps what Apply has done.
func (c *Client) Confirm(ctx context.Context) (Outcome, error) {
	return c.command(ctx, "/v1/confirm", nil)
}

// Apply makes the file at path, absolute, the configuration in force.
func (c *Client) Apply(ctx context.Context, path string, confirm time.Duration) (Outcome, error) {
	return c.command(ctx, "/v1/apply", url.Values{"file": {path}, "confirm": {confirm.String()}})
}

// Failover hands mastership away and answers when another director has it.
func (c *Client) Failover(ctx context.Context, instances []string, how Leave) (Outcome, error) {
	return c.patient(how.patience()).command(ctx, "/v1/failover", how.values(url.Values{"instance": instances}))
}

// Back lets this director take over again what Failover has handed away.
func (c *Client) Back(ctx context.Context) (Outcome, error) {
	return c.command(ctx, "/v1/failover", url.Values{"back": {"1"}})
}

// Maintenance takes the director out or puts it in again.
func (c *Client) Maintenance(ctx context.Context, on bool, how Leave) (Outcome, error) {
	return c.patient(how.patience()).command(ctx, "/v1/maintenance", how.values(url.Values{"on": {fmt.Sprint(on)}}))
}

// Upgrade has the program at path, absolute, take the daemon's place, or with probe only tries whether it could. If empty,
// that which the daemon was started by. The answer comes before the daemon ends.
func (c *Client) Upgrade(ctx context.Context, path string, probe bool) (Outcome, error) {
	args := url.Values{"program": {path}}
	if probe {
		args.Set("probe", "1")
	}
	return c.command(ctx, "/v1/upgrade", args)
}

// maxOutcome bounds the diagnostics of one file.
const maxOutcome = 16 << 20

func (c *Client) command(ctx context.Context, path string, args url.Values) (out Outcome, err error) {
	if args != nil {
		path += "?" + args.Encode()
	}
	body, err := c.do(ctx, http.MethodPost, path, nil)
	if err != nil {
		return out, err
	}
	defer body.Close()
	return out, readAnswer(body, maxOutcome, &out)
}
