package cli

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"vipd/internal/control"
	"vipd/internal/lb"
)

// drainedSite has a service of TCP and of UDP on one address and port, a group, and a firewall mark.
func drainedSite() control.Status {
	svc := func(k lb.ServiceKey, group string, reals ...string) control.Service {
		s := control.Service{Service: lb.Service{ServiceKey: k}, Group: group}
		for _, r := range reals {
			s.Reals = append(s.Reals, control.Real{Real: lb.Real{Addr: netip.MustParseAddrPort(r), Weight: 2}, InPool: true, Healthy: true})
		}
		return s
	}
	at := netip.MustParseAddrPort
	s := control.Status{Services: []control.Service{
		svc(lb.ServiceKey{Protocol: lb.TCP, Addr: at("10.0.8.9:80")}, "", "10.0.8.12:80", "10.0.8.13:80", "10.0.8.13:81"),
		svc(lb.ServiceKey{Protocol: lb.UDP, Addr: at("10.0.8.9:80")}, "", "10.0.8.12:80"),
		svc(lb.ServiceKey{Protocol: lb.TCP, Addr: at("10.0.8.10:80")}, "web", "10.0.8.12:80"),
		svc(lb.ServiceKey{Protocol: lb.TCP, Addr: at("10.0.8.10:443")}, "web", "10.0.8.12:443"),
		svc(lb.ServiceKey{Mark: 7}, "", "10.0.8.12:0"),
	}}
	s.Held = []control.Held{{Service: "FWM 7", Real: "10.0.8.99:0", Hand: control.Hand{Do: "drain"}}}
	return s
}

func operate(t *testing.T, args ...string) (told []string, stdout, stderr string, code int) {
	t.Helper()
	d := &toldDirector{fakeDaemon: &fakeDaemon{drainedSite()}, outcome: control.Outcome{Done: true}}
	var out, errs bytes.Buffer
	code = run(Env{Args: args, Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }, Dial: func(string) (control.Source, error) { return d, nil }})
	return d.told, out.String(), errs.String(), code
}

func TestTheOperatorsWordsBecomeOneOrderForEachRealServerThatIsMeant(t *testing.T) {
	for line, want := range map[string][]string{
		"drain tcp/10.0.8.9:80 10.0.8.12":        {"drain tcp/10.0.8.9:80 10.0.8.12:80 0 0%"},
		"disable [10.0.8.9]:udp:80 10.0.8.12:80": {"disable udp/10.0.8.9:80 10.0.8.12:80 0 0%"},
		"weight fwmark/7 10.0.8.12 0":            {"weight fwmark/7 10.0.8.12:0 0 0%"},
		"weight web 10.0.8.12 65535":             {"weight tcp/10.0.8.10:80 10.0.8.12:80 65535 0%"},
		"weight web 10.0.8.12:80 50%":            {"weight tcp/10.0.8.10:80 10.0.8.12:80 0 50%"},
		"ready 10.0.8.10:443 10.0.8.12":          {"ready tcp/10.0.8.10:443 10.0.8.12:443 0 0%"},
		"ready fwmark/7 10.0.8.99":               {"ready fwmark/7 10.0.8.99:0 0 0%"},
		"drain all 10.0.8.12":                    {"drain tcp/10.0.8.9:80 10.0.8.12:80 0 0%", "drain udp/10.0.8.9:80 10.0.8.12:80 0 0%", "drain tcp/10.0.8.10:80 10.0.8.12:80 0 0%", "drain fwmark/7 10.0.8.12:0 0 0%"},
	} {
		told, _, stderr, code := operate(t, strings.Fields(line)...)
		if code != 0 || !slices.Equal(told, want) || stderr != "" {
			t.Errorf("%s: exit %d, told %q, %s", line, code, told, stderr)
		}
	}
}

func TestWordsThatMeanNothingOrTooMuchAreRefusedWithWhatThereIs(t *testing.T) {
	for line, want := range map[string]string{
		"drain 10.0.8.9:80 10.0.8.12":     "vipd: \"10.0.8.9:80\" means 2 services\nhint: say one of: tcp/10.0.8.9:80 udp/10.0.8.9:80\n",
		"drain 10.0.8.8:80 10.0.8.12":     "vipd: no service \"10.0.8.8:80\"\nhint: services here: fwmark/7 tcp/10.0.8.10:443 tcp/10.0.8.10:80 tcp/10.0.8.9:80 udp/10.0.8.9:80\n",
		"drain tcp/10.0.8.9:80 10.0.8.14": "vipd: no real server \"10.0.8.14\" in tcp/10.0.8.9:80\nhint: real servers here: 10.0.8.12:80 10.0.8.13:80 10.0.8.13:81\n",
		"drain tcp/10.0.8.9:80 10.0.8.13": "vipd: \"10.0.8.13\" means 2 real servers\nhint: say one of: 10.0.8.13:80 10.0.8.13:81\n",
		"drain fwmark/7 10.0.8.99":        "vipd: no real server \"10.0.8.99\" in fwmark/7\nhint: real servers here: 10.0.8.12:0\n",
		"weight fwmark/7 10.0.8.12 65536": "vipd: weight \"65536\": want 0 to 65535, or a part such as 50%\n",
		"weight fwmark/7 10.0.8.12 much":  "vipd: weight \"much\": want 0 to 65535, or a part such as 50%\n",
		"weight fwmark/7 10.0.8.12 0%":    "vipd: weight \"0%\": want 1% to 1000%; none is 0\n",
		"weight fwmark/7 10.0.8.12 80%":   "vipd: 80% of the weight 2 of 10.0.8.12:0 is 2: nothing would change\nhint: give the real servers larger weights in the file, such as 100, or say a number\n",
		"drain fwmark/7 10.0.8.12 10m":    "vipd: \"10m\": what follows SERVICE REAL is --wait with a time such as 10m\n",
		"drain fwmark/7":                  "vipd: accepts between 2 and 3 arg(s), received 1\nhint: usage: vipd drain SERVICE REAL [--wait [TIMEOUT]] [flags]\n",
	} {
		told, _, stderr, code := operate(t, strings.Fields(line)...)
		if code != exitUsage || told != nil || stderr != want {
			t.Errorf("%s: exit %d, told %q\n%s", line, code, told, stderr)
		}
	}
}

// emptying is a director whose group loses a connection at each look.
type emptying struct {
	toldDirector
	active uint32
}

func (e *emptying) Status(context.Context) (control.Status, error) {
	s := drainedSite()
	s.Services[2].Reals[0].Active, s.Services[3].Reals[0].Inactive, s.Services[3].Reals[0].Persist = e.active, e.active, 1
	e.active = max(e.active, 1) - 1
	return s, nil
}

func drainGroup(args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	d := &emptying{active: 3}
	d.outcome.Done = true
	code = run(Env{Args: append([]string{"drain", "web", "10.0.8.12"}, args...), Stdout: &out, Stderr: &errs, DrainEvery: time.Millisecond,
		Dial: func(string) (control.Source, error) { return d, nil }})
	return out.String(), errs.String(), code
}

func TestDrainCountsDownInEveryMemberOfAGroupUntilItIsSafe(t *testing.T) {
	want := "4 connections left; 1 template of persistent clients\n2 connections left; 1 template of persistent clients\n" +
		"0 connections left, safe to remove; 1 template of persistent clients\n"
	if out, errs, code := drainGroup("--wait"); out != want || errs != "" || code != 0 {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if out, _, code := drainGroup(); out != "4 connections left; 1 template of persistent clients\n" || code != 0 {
		t.Errorf("without --wait: exit %d\n%s", code, out)
	}
	if out, errs, code := drainGroup("--wait", "1ns"); code != 1 || !strings.HasPrefix(errs, "vipd: 4 connections are left after 1ns\nhint: it stays drained") || !strings.HasPrefix(out, "4 ") {
		t.Errorf("a short wait: exit %d\n%s%s", code, out, errs)
	}
	if _, errs, code := drainGroup("--wait", "soon"); code != exitUsage {
		t.Errorf("exit %d\n%s", code, errs)
	}
}

func TestStatusShowsTheHandAndByWhomItIs(t *testing.T) {
	s := siteStatus()
	s.Services[0].Reals[0].Operator = &control.Hand{Do: "drain", By: "root for alice", Since: noon.Add(-90 * time.Second)}
	s.Services[0].Reals[0].Weight = 0
	s.Services[0].Reals[2].Operator, s.Services[0].Reals[2].InPool = &control.Hand{Do: "disable", Since: noon}, false
	s.Services[0].Reals[2].Healthy = true
	s.Held = []control.Held{{Service: "FWM 7", Real: "10.0.8.99:0", Hand: control.Hand{Do: "weight", Percent: 50, By: "bob", Since: noon}}}
	got, err := runStatus(&world{status: s})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"in, quiesced, drain by operator root for alice for 1m30s\n", "out, disable by operator (unknown) for 0s\n",
		"\nHeld by an operator, not configured\n  10.0.8.99:0  FWM 7  weight 50%  by bob for 0s\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
}

func TestAPlanSaysWhatBecomesOfWhatIsHeld(t *testing.T) {
	file := write(t, "running.conf", planned)
	held := func(a string) control.Real {
		return control.Real{Real: lb.Real{Addr: netip.MustParseAddrPort(a)}, Operator: &control.Hand{Do: "drain"}}
	}
	d := &toldDirector{fakeDaemon: &fakeDaemon{control.Status{Config: file, Services: []control.Service{{Name: "[10.0.8.9]:tcp:80",
		Reals: []control.Real{held("10.0.8.12:80"), held("10.0.8.13:80")}}}}}}
	next := write(t, "next.conf", strings.Replace(strings.Replace(planned, "real_server 10.0.8.12 80 { ", "real_server 10.0.8.12 80 { weight 9\n", 1), "10.0.8.13 80", "10.0.8.14 80", 1))
	var out bytes.Buffer
	if code := run(Env{Args: []string{"plan", next}, Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" },
		Dial: func(string) (control.Source, error) { return d, nil }}); code != 0 {
		t.Fatal(out.String())
	}
	for _, want := range []string{"the operator's drain waits for its return until vipd ready\n", "the operator's drain holds until vipd ready\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}
