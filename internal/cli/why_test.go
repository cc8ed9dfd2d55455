package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"vipd/internal/control"
	"vipd/internal/lb"
)

// reasoner is a director that explains every service with one answer.
type reasoner struct {
	toldDirector
	asked []string
}

func (r *reasoner) Explain(_ context.Context, key lb.ServiceKey) (control.Why, error) {
	r.asked = append(r.asked, control.ServiceWord(key))
	w := control.Why{Service: control.ServiceWord(key), Quorum: true, Since: noon.Add(-time.Hour), Alive: 2, Gained: 1, Sorry: "10.0.8.99:80"}
	check := control.WhyCheck{Kind: "HTTP_GET", Target: "10.0.8.12:80", Ran: true, Since: noon.Add(-time.Minute), Every: 6 * time.Second, Retry: 3, Next: noon.Add(2500 * time.Millisecond),
		Expects: "status 200-299", Command: "curl http://10.0.8.12:80/", Certificate: &control.Certificate{Ends: noon.Add(50 * time.Hour)}, Last: []control.WhyResult{
			{At: noon.Add(-time.Second), Result: "failed", Took: 1234567, Why: "status code 503", Page: "/", Status: 503, Sent: 70, Received: 120, First: []byte("HTTP/1.1 503 \x1b[31m")},
			{At: noon.Add(-7 * time.Second), Result: "void", Why: "no such interface"}}}
	for _, real := range []string{"10.0.8.12:80", "10.0.8.13:80"} {
		w.Reals = append(w.Reals, control.WhyReal{Real: real, Verdict: "out", Checks: []control.WhyCheck{check},
			Peers: []control.PeerSays{{Peer: "10.0.0.2", Up: true, Since: noon.Add(-2 * time.Hour), Seen: noon.Add(-3 * time.Second)}, {Peer: "10.0.0.3", Why: "refused", Since: noon.Add(-time.Minute), Seen: noon}},
			Rules: []control.WhyRule{{Rule: "check", Says: "HTTP_GET 10.0.8.12:80: status code 503", Since: noon.Add(-time.Minute)}, {Rule: "operator", Says: "drained by root", Since: noon}}})
	}
	return w, nil
}

func why(t *testing.T, args ...string) (r *reasoner, stdout, stderr string, code int) {
	t.Helper()
	s := drainedSite()
	s.VRRP = siteStatus().VRRP
	s.VRRP[0].Transitions = []control.Transition{{At: noon.Add(-time.Hour), From: "INIT", To: "BACKUP", Why: "started"}, {At: noon, From: "BACKUP", To: "MASTER", Why: "no advert from the master"}}
	r = &reasoner{toldDirector: toldDirector{fakeDaemon: &fakeDaemon{s}}}
	var out, errs bytes.Buffer
	code = run(Env{Args: append([]string{"why"}, args...), Stdout: &out, Stderr: &errs, Now: func() time.Time { return noon }, Dial: func(string) (control.Source, error) { return r, nil }})
	return r, out.String(), errs.String(), code
}

const wantWhy = `tcp/10.0.8.9:80 has its quorum for 1h0m: weight 2 is alive, it is lost below 1
  sorry server 10.0.8.99:80 is not needed

  10.0.8.12:80 is out, weight 0
    decides: check: HTTP_GET 10.0.8.12:80: status code 503, for 1m0s
    besides: operator: drained by root, for 0s
    peer 10.0.0.2 says up, 3s ago, for 2h0m
    peer 10.0.0.3 says down (refused), 0s ago, for 1m0s
    HTTP_GET 10.0.8.12:80: down for 1m0s, every 6s, next in 2.5s
      expects status 200-299
      certificate ends on CERTIFICATE, in 2 days
      11-26 11:59:59.000  failed in 1.23ms, status code 503, /, status 503, 70 bytes sent, 120 received, beginning "HTTP/1.1 503 \x1b[31m"
      11-26 11:59:53.000  void   in 0s, no such interface
      by hand: curl http://10.0.8.12:80/
`

func TestWhySaysWhatDecidesAndWhatWasFound(t *testing.T) {
	_, out, errs, code := why(t, "tcp/10.0.8.9:80", "10.0.8.12")
	want := strings.ReplaceAll(wantWhy, "11-26", noon.Format("01-02"))
	want = strings.ReplaceAll(want, "CERTIFICATE", noon.Add(50*time.Hour).UTC().Format(time.DateOnly))
	want = strings.ReplaceAll(want, "11:59:59", noon.Add(-time.Second).Format("15:04:05"))
	want = strings.ReplaceAll(want, "11:59:53", noon.Add(-7*time.Second).Format("15:04:05"))
	if out != want || errs != "" || code != 0 {
		t.Errorf("exit %d %s\n%s\nwant\n%s", code, errs, out, want)
	}
}

func TestWhyFindsServicesRealServersAndInstances(t *testing.T) {
	for words, want := range map[string]string{
		"10.0.8.9:80":        "tcp/10.0.8.9:80 udp/10.0.8.9:80",
		"web":                "tcp/10.0.8.10:80 tcp/10.0.8.10:443",
		"10.0.8.13:80":       "tcp/10.0.8.9:80",
		"10.0.8.12":          "tcp/10.0.8.9:80 udp/10.0.8.9:80 tcp/10.0.8.10:80 tcp/10.0.8.10:443 fwmark/7",
		"fwmark/7 10.0.8.12": "fwmark/7",
		"VI_1":               "",
	} {
		r, out, errs, code := why(t, strings.Fields(words)...)
		if got := strings.Join(r.asked, " "); code != 0 || got != want || out == "" {
			t.Errorf("%s: exit %d, asked %q, want %q\n%s%s", words, code, got, want, out, errs)
		}
	}
	if _, _, errs, code := why(t, "10.9.9.9"); code != exitUsage || !strings.Contains(errs, `no service, real server or VRRP instance "10.9.9.9"`) || !strings.Contains(errs, "VI_1") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestWhyOfAnInstanceSaysItsCausesPriorityAndChanges(t *testing.T) {
	_, out, _, _ := why(t, "VI_2")
	for _, want := range []string{"VI_2 is FAULT for 5s: ", "  fault: eth1 is down\n", "  priority 110 -30 script chk +10 file f = 90\n", "  it moves with its sync group G\n", "  the master is 10.0.9.2\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	_, out, _, _ = why(t, "VI_1")
	if !strings.Contains(out, "VI_1 is MASTER for 1m30s: no advert from the master\n") || strings.Index(out, "BACKUP → MASTER: no advert") > strings.Index(out, "INIT → BACKUP: started") {
		t.Error(out)
	}
}

func TestWhyAsJSON(t *testing.T) {
	_, out, _, code := why(t, "10.0.8.13:80", "-o", "json")
	var a whyAnswer
	if err := json.Unmarshal([]byte(out), &a); err != nil || code != 0 || len(a.Services) != 1 || len(a.Services[0].Reals) != 1 || a.Services[0].Reals[0].Checks[0].Last[0].Received != 120 {
		t.Errorf("%v\n%s", err, out)
	}
}
