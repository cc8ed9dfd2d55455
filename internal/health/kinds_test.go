package health

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"vipd/internal/lb"
)

// tale plays a list of results to one checker and writes down when each was asked for and everything that was said.
func tale(t *testing.T, c Checker, results []Result) string {
	t.Helper()
	cfg := Config{Services: []Service{{Service: lb.Service{ServiceKey: lb.ServiceKey{Protocol: lb.TCP, Addr: vip}},
		Reals: []Real{{Real: lb.Real{Addr: rip1, Weight: 10}, Checkers: []Checker{c}}, {Real: lb.Real{Addr: rip2, Weight: 1}}}}}}
	p := New(cfg, nil)
	p.Start(epoch)
	p.Take()
	var out strings.Builder
	for _, r := range results {
		now := p.Next()
		p.Tick(now)
		for _, e := range p.Take() {
			if probe, ok := e.(Probe); ok {
				fmt.Fprintf(&out, "%g: ask", now.Sub(epoch).Seconds())
				if probe.Checker.HTTP != nil {
					fmt.Fprintf(&out, " %s", probe.Checker.HTTP.URLs[probe.Checker.URL].Path)
				}
				out.WriteString("\n")
				p.Observe(now.Add(r.Took), probe.ID, r)
			}
		}
		for _, e := range p.Take() {
			if say, ok := e.(Say); ok {
				out.WriteString("  " + say.Text + "\n")
			}
		}
	}
	return out.String()
}

func expect(t *testing.T, got, want string) {
	t.Helper()
	if want = strings.TrimPrefix(want, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

var (
	goodPage = Result{OK: true, Matched: "HTTP status code"}
	badPage  = Result{Why: "status code 500", Said: "HTTP status code error to"}
)

// keepalived's order of things: pages in turn, a failed one alone, then all of them again.
func TestPagesAreAskedForInTurn(t *testing.T) {
	c := Checker{Kind: HTTPGet, DelayLoop: 10 * time.Second, DelayBeforeRetry: 3 * time.Second, Retry: 2,
		HTTP: &HTTP{URLs: []URL{{Path: "/a"}, {Path: "/b"}}}}
	expect(t, tale(t, c, []Result{goodPage, goodPage, goodPage, badPage, badPage, goodPage, badPage, badPage, badPage, badPage, goodPage, goodPage, goodPage, goodPage}), `
1: ask /a
11: ask /b
  Remote Web server [10.0.8.12]:tcp:80 succeed on service.
21: ask /a
31: ask /b
34: ask /b
37: ask /b
47: ask /a
50: ask /a
53: ask /a
  HTTP_CHECK on service [10.0.8.12]:tcp:80 failed after 2 retries.
  Removing service [10.0.8.12]:tcp:80 from VS [10.0.8.9]:tcp:80
63: ask /a
73: ask /a
  HTTP status code success to [10.0.8.12]:tcp:80 url(/a)
83: ask /a
  HTTP status code success to [10.0.8.12]:tcp:80 url(/a)
93: ask /b
  HTTP status code success to [10.0.8.12]:tcp:80 url(/b)
  Remote Web server [10.0.8.12]:tcp:80 succeed on service.
  Adding service [10.0.8.12]:tcp:80 to VS [10.0.8.9]:tcp:80
103: ask /a
`)
}

func TestAFirstBadPageIsAVerdictAndAFastRecoveryDoesNotWait(t *testing.T) {
	c := Checker{Kind: SSLGet, DelayLoop: 10 * time.Second, DelayBeforeRetry: 3 * time.Second, Retry: 2, LogAllFailures: true,
		HTTP: &HTTP{FastRecovery: true, URLs: []URL{{Path: "/a"}, {Path: "/b"}}}}
	expect(t, tale(t, c, []Result{badPage, goodPage, goodPage, goodPage, goodPage}), `
1: ask /a
  HTTP status code error to server [10.0.8.12]:tcp:80.
  HTTP_CHECK on service [10.0.8.12]:tcp:80 failed after 2 retries.
  Removing service [10.0.8.12]:tcp:80 from VS [10.0.8.9]:tcp:80
11: ask /a
  HTTP status code success to [10.0.8.12]:tcp:80 url(/a)
11: ask /a
  HTTP status code success to [10.0.8.12]:tcp:80 url(/a)
11: ask /b
  HTTP status code success to [10.0.8.12]:tcp:80 url(/b)
  Remote Web server [10.0.8.12]:tcp:80 succeed on service.
  Adding service [10.0.8.12]:tcp:80 to VS [10.0.8.9]:tcp:80
21: ask /a
`)
}

func TestACommandsRunsAndItsWeight(t *testing.T) {
	failed := Result{Why: "exit status 1", Said: "exited with status 1", Took: time.Second}
	c := Checker{Kind: MiscCheck, DelayLoop: 10 * time.Second, DelayBeforeRetry: 4 * time.Second, Retry: 2, Script: &Script{Args: []string{"/bin/ask"}, Dynamic: true}}
	expect(t, tale(t, c, []Result{{OK: true}, {OK: true, Weight: 3, HasWeight: true, Took: 2 * time.Second}, failed, failed, failed, failed, {OK: true}, {Why: "too long", Timeout: true, Took: 12 * time.Second}}), `
1: ask
  Misc check for [[10.0.8.12]:tcp:80 VS [10.0.8.9]:tcp:80] by [/bin/ask] succeeded.
11: ask
  Changing weight from 10 to 3 for active service [10.0.8.12]:tcp:80 of VS [10.0.8.9]:tcp:80
21: ask
25: ask
29: ask
  Misc check for [[10.0.8.12]:tcp:80 VS [10.0.8.9]:tcp:80] by [/bin/ask] failed after 2 retries (exited with status 1).
  Changing weight from 3 to 10 for active service [10.0.8.12]:tcp:80 of VS [10.0.8.9]:tcp:80
  Removing service [10.0.8.12]:tcp:80 from VS [10.0.8.9]:tcp:80
39: ask
49: ask
  Misc check for [[10.0.8.12]:tcp:80 VS [10.0.8.9]:tcp:80] by [/bin/ask] succeeded.
  Adding service [10.0.8.12]:tcp:80 to VS [10.0.8.9]:tcp:80
59: ask
`)
	c.Retry, c.LogAllFailures = 0, true
	expect(t, tale(t, c, []Result{{OK: true}, {Why: "too long", Timeout: true}}), `
1: ask
  Misc check for [[10.0.8.12]:tcp:80 VS [10.0.8.9]:tcp:80] by [/bin/ask] succeeded.
11: ask
  Misc check for [[10.0.8.12]:tcp:80 VS [10.0.8.9]:tcp:80] by [/bin/ask] timed out with retry disabled.
  Removing service [10.0.8.12]:tcp:80 from VS [10.0.8.9]:tcp:80
`)
	c.Retry = 1
	expect(t, tale(t, c, []Result{{OK: true}, failed}), `
1: ask
  Misc check for [[10.0.8.12]:tcp:80 VS [10.0.8.9]:tcp:80] by [/bin/ask] succeeded.
11: ask
  Misc check for [[10.0.8.12]:tcp:80 VS [10.0.8.9]:tcp:80] by [/bin/ask] failed, will do 1 retry (exited with status 1).
`)
}

// keepalived: a mail server that is down is tried with retries too.
func TestAMailServerIsTriedAgainWhileItIsDown(t *testing.T) {
	bad := Result{Why: "x", Said: "Bad greeting banner from server [10.0.8.12]:tcp:25"}
	c := Checker{Kind: SMTPCheck, DelayLoop: 10 * time.Second, DelayBeforeRetry: 2 * time.Second, Retry: 1}
	expect(t, tale(t, c, []Result{{OK: true}, bad, bad, bad, bad, {OK: true}}), `
1: ask
  Remote SMTP server [10.0.8.12]:tcp:80 succeed on service.
11: ask
13: ask
  SMTP_CHECK Bad greeting banner from server [10.0.8.12]:tcp:25
  Removing service [10.0.8.12]:tcp:80 from VS [10.0.8.9]:tcp:80
23: ask
25: ask
35: ask
  Remote SMTP server [10.0.8.12]:tcp:80 succeed on service.
  Adding service [10.0.8.12]:tcp:80 to VS [10.0.8.9]:tcp:80
`)
}

func TestANameServersLines(t *testing.T) {
	bad := Result{Why: "x", Said: "read error occurred. (rcode = 2)"}
	c := Checker{Kind: DNSCheck, DelayLoop: 10 * time.Second, DelayBeforeRetry: 10 * time.Second, Retry: 1}
	expect(t, tale(t, c, []Result{{OK: true}, bad, bad, bad, {OK: true}}), `
1: ask
11: ask
21: ask
  DNS_CHECK ([10.0.8.12]:tcp:80) read error occurred. (rcode = 2) after 1 retries
  Removing service [10.0.8.12]:tcp:80 from VS [10.0.8.9]:tcp:80
31: ask
41: ask
  Adding service [10.0.8.12]:tcp:80 to VS [10.0.8.9]:tcp:80
`)
}

func TestAPingNamesItsServiceToo(t *testing.T) {
	c := Checker{Kind: PingCheck, DelayLoop: 10 * time.Second, DelayBeforeRetry: time.Second, Retry: 1}
	expect(t, tale(t, c, []Result{{OK: true}, {Why: "x"}, {Why: "x"}}), `
1: ask
  ICMP connection to [10.0.8.12]:tcp:80 success.
11: ask
12: ask
  ICMP CHECK on service [10.0.8.12]:tcp:80 of [10.0.8.9]:tcp:80 failed after 1 retries.
  Removing service [10.0.8.12]:tcp:80 from VS [10.0.8.9]:tcp:80
`)
}

func TestAFilesNumberIsAddedToTheWeight(t *testing.T) {
	c := Checker{Kind: FileCheck, File: &File{Path: "/f", Weight: 1}}
	expect(t, tale(t, c, []Result{{OK: true, HasWeight: true}, {OK: true, Weight: 5, HasWeight: true}, {OK: true, Weight: -20, HasWeight: true}, {Why: "x"}, {OK: true, HasWeight: true}}), `
0: ask
1: ask
  Changing weight from 10 to 15 for active service [10.0.8.12]:tcp:80 of VS [10.0.8.9]:tcp:80
2: ask
  Changing weight from 15 to 0 for active service [10.0.8.12]:tcp:80 of VS [10.0.8.9]:tcp:80
3: ask
  Removing service [10.0.8.12]:tcp:80 from VS [10.0.8.9]:tcp:80
4: ask
  Adding service [10.0.8.12]:tcp:80 to VS [10.0.8.9]:tcp:80
`)
}

func TestAReloadKeepsTheWeightOfACheckAndThePageItIsAt(t *testing.T) {
	misc := Checker{Kind: MiscCheck, DelayLoop: 10 * time.Second, Script: &Script{Args: []string{"/bin/ask"}, Dynamic: true}}
	config := func(weight int32, c Checker) Config {
		return oneService(Service{}, Real{Real: lb.Real{Addr: rip1, Weight: weight}, Checkers: []Checker{c}})
	}
	p := New(config(10, misc), nil)
	p.Start(epoch)
	p.Tick(p.Next())
	p.Observe(at(time.Second), probes(p)[0].ID, Result{OK: true, Weight: 4, HasWeight: true})
	p.Update(at(2*time.Second), config(20, misc))
	if got := p.Want()[0].Reals[0].Weight; got != 14 { // keepalived: what the check adds, -6, stays until it says so again
		t.Errorf("after a reload the weight is %d", got)
	}
	other := misc
	other.Script = &Script{Args: []string{"/bin/other"}}
	p.Update(at(3*time.Second), config(20, other))
	if got := p.Want()[0].Reals[0].Weight; got != 20 {
		t.Errorf("with another command the weight is %d", got)
	}
	web := Checker{Kind: HTTPGet, DelayLoop: 10 * time.Second, HTTP: &HTTP{URLs: []URL{{Path: "/a"}, {Path: "/b"}}}}
	p = New(config(1, web), nil)
	p.Start(epoch)
	p.Tick(p.Next())
	p.Observe(at(time.Second), probes(p)[0].ID, Result{OK: true})
	again := web
	again.HTTP = &HTTP{URLs: []URL{{Path: "/a"}, {Path: "/b"}}} // read anew, the same
	p.Update(at(2*time.Second), config(1, again))
	p.Take()
	p.Tick(p.Next())
	if asked := probes(p)[0].Checker; asked.URL != 1 {
		t.Errorf("after a reload page %d is asked for", asked.URL)
	}
}
