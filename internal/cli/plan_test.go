package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vipd/internal/conf"
	"vipd/internal/control"
	"vipd/internal/lb"
)

const planned = `vrrp_instance VI_1 {
	interface eth0
	virtual_router_id 51
	priority 100
	virtual_ipaddress { 10.0.8.9 }
}
virtual_server 10.0.8.9 80 {
	lb_algo sh
	lb_kind DR
	protocol TCP
	real_server 10.0.8.12 80 { TCP_CHECK { connect_timeout 3 } }
	real_server 10.0.8.13 80 { TCP_CHECK { connect_timeout 3 } }
}
`

// toldDirector is a daemon that runs the planned file and remembers what it is told.
type toldDirector struct {
	*fakeDaemon
	told    []string
	outcome control.Outcome
}

type fakeDaemon struct{ status control.Status }

func (f *fakeDaemon) Status(context.Context) (control.Status, error)    { return f.status, nil }
func (f *fakeDaemon) Conns(context.Context, func(lb.Conn) bool) error   { return nil }
func (f *fakeDaemon) Table(context.Context) (control.Table, error)      { return control.Table{}, nil }
func (f *fakeDaemon) Timeouts(context.Context) (lb.Timeouts, error)     { return lb.DefaultTimeouts, nil }
func (d *toldDirector) Reload(context.Context) (control.Outcome, error) { return d.tell("reload") }
func (d *toldDirector) Upgrade(_ context.Context, program string, probe bool) (control.Outcome, error) {
	return d.tell(fmt.Sprintf("upgrade %s %v", program, probe))
}
func (d *toldDirector) Failover(_ context.Context, instances []string, how control.Leave) (control.Outcome, error) {
	return d.tell(fmt.Sprintf("failover %v %v", instances, how))
}
func (d *toldDirector) Back(context.Context) (control.Outcome, error) { return d.tell("back") }
func (d *toldDirector) Maintenance(_ context.Context, on bool, how control.Leave) (control.Outcome, error) {
	return d.tell(fmt.Sprintf("maintenance %v %v", on, how))
}
func (d *toldDirector) Confirm(context.Context) (control.Outcome, error) { return d.tell("confirm") }
func (d *toldDirector) tell(what string) (control.Outcome, error) {
	d.told = append(d.told, what)
	return d.outcome, nil
}
func (d *toldDirector) Apply(_ context.Context, path string, confirm time.Duration) (control.Outcome, error) {
	return d.tell("apply " + path + " " + confirm.String())
}

func (d *toldDirector) Operate(_ context.Context, o control.Order) (control.Outcome, error) {
	return d.tell(fmt.Sprintf("%s %s %s %d %d%%", o.Do, control.ServiceWord(o.Service), o.Real, o.Weight, o.Percent))
}

func (d *toldDirector) Config(context.Context) (json.RawMessage, error) {
	cfg, _, _ := conf.Load(os.DirFS("/"), d.status.Config, conf.Options{})
	return json.Marshal(cfg)
}

// tell runs a command of vipd in process against a director that runs the file planned.
func tellDirector(t *testing.T, outcome control.Outcome, args ...string) (d *toldDirector, stdout, stderr string, code int) {
	t.Helper()
	file := write(t, "running.conf", planned)
	d = &toldDirector{fakeDaemon: &fakeDaemon{control.Status{Config: file,
		VRRP: []control.Router{{Name: "VI_1", Interface: "eth0", VRID: 51, State: "MASTER"}},
		Services: []control.Service{{Name: "[10.0.8.9]:tcp:80", Reals: []control.Real{
			{Real: lb.Real{Addr: netip.MustParseAddrPort("10.0.8.12:80")}, Active: 3, Inactive: 4},
			{Real: lb.Real{Addr: netip.MustParseAddrPort("10.0.8.13:80")}}}}}}}, outcome: outcome}
	var out, errs bytes.Buffer
	env := Env{Args: args, Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" },
		Dial: func(string) (control.Source, error) { return d, nil }}
	code = run(env)
	return d, out.String(), errs.String(), code
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAPlanSaysWhatWouldChangeAndWhatItMeansForWhatRuns(t *testing.T) {
	for name, c := range map[string]struct {
		edit *strings.Replacer
		want []string
	}{
		"nothing": {strings.NewReplacer(), []string{"no change"}},
		"a real server that goes": {strings.NewReplacer("	real_server 10.0.8.12 80 { TCP_CHECK { connect_timeout 3 } }\n", ""),
			[]string{"- real 10.0.8.12:80 of [10.0.8.9]:tcp:80", "7 live connections are on it", "of 256 rows of the source-hash table change", "0 added, 1 removed, 1 changed"}},
		"a real server without connections": {strings.NewReplacer("	real_server 10.0.8.13 80 { TCP_CHECK { connect_timeout 3 } }\n", ""),
			[]string{"- real 10.0.8.13:80", "no live connection is on it"}},
		"a service that goes": {strings.NewReplacer("10.0.8.9 80", "10.0.8.9 81"),
			[]string{"- service [10.0.8.9]:tcp:80", "7 live connections", "+ service [10.0.8.9]:tcp:81", "with 2 real servers"}},
		"weight 0": {strings.NewReplacer("10.0.8.12 80 {", "10.0.8.12 80 { weight 0"), []string{"~ real 10.0.8.12:80", "weight 1 → 0", "it gets no new connections; 7 live ones go on"}},
		"a check":  {strings.NewReplacer("connect_timeout 3", "connect_timeout 4"), []string{"~ real 10.0.8.12:80", "timeout 3s", "→", "timeout 4s"}},
		"an address": {strings.NewReplacer("{ 10.0.8.9 }", "{ 10.0.8.10/24 }"),
			[]string{"- address 10.0.8.9/32 of VI_1", "+ address 10.0.8.10/24 of VI_1"}},
		"a lower priority on a master": {strings.NewReplacer("priority 100", "priority 90"),
			[]string{"~ instance VI_1: priority 100 → 90", "stays so unless a backup that may preempt has a priority above 90"}},
		"another interval": {strings.NewReplacer("priority 100", "priority 100\n	advert_int 2"),
			[]string{"advert_int 1s → 2s", "change both directors together"}},
		"an instance that goes": {strings.NewReplacer("_id 51", "_id 52"),
			[]string{"- instance VI_1", "it is MASTER here: priority 0 is sent", "+ instance VI_1"}},
		"an address on a master": {strings.NewReplacer("{ 10.0.8.9 }", "{\n10.0.8.9\n10.0.8.10/24\n}"), []string{"+ address 10.0.8.10/24 of VI_1", "it comes here at once"}},
		"the state":              {strings.NewReplacer("priority 100", "priority 100\n	state MASTER"), []string{"state BACKUP → MASTER", "it stays MASTER: the state is that of the start only"}},
		"another authentication": {strings.NewReplacer("priority 100", "priority 100\n	authentication {\nauth_type AH\nauth_pass x\n}"),
			[]string{"~ instance VI_1: auth_type none → AH", "peers refuse our adverts until they have the same: change both directors together", "0 removed, 1 changed"}},
		"a setting of the whole daemon": {strings.NewReplacer("vrrp_instance VI_1", "global_defs {\n	lvs_timeouts tcp 60\n}\nvrrp_instance VI_1"),
			[]string{"~ setting global_defs: timeouts", "connections that are there get the new timeout", "1 changed"}},
		"a script of an instance":   {strings.NewReplacer("priority 100", "priority 100\n	notify /bin/true"), []string{"~ setting vrrp_instance VI_1: notify", "any args none → /bin/true"}},
		"a script that is followed": {strings.NewReplacer("vrrp_instance", "vrrp_script chk {\n	script /bin/true\n}\nvrrp_instance"), []string{"+ setting vrrp_script chk"}},
		"another kind of check": {strings.NewReplacer("10.0.8.13 80 { TCP_CHECK { connect_timeout 3 } }", "10.0.8.13 80 {\nDNS_CHECK {\nname x\n}\n}"),
			[]string{"~ real 10.0.8.13:80", "checks TCP_CHECK", "→ DNS_CHECK 10.0.8.13:80", "SOA x"}},
		"another name": {strings.NewReplacer("VI_1", "web"), []string{"name VI_1 → web", "only the name changes"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, out, errs, code := tellDirector(t, control.Outcome{}, "plan", write(t, "next.conf", c.edit.Replace(planned)))
			if code != 0 || errs != "" {
				t.Fatalf("exit %d, %s", code, errs)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("%q is missing in\n%s", want, out)
				}
			}
		})
	}
}

func TestAPlanBetweenTwoFilesNeedsNoDaemonAndKnowsNoConnections(t *testing.T) {
	old := write(t, "old.conf", planned)
	next := write(t, "next.conf", strings.Replace(planned, "10.0.8.13 80", "10.0.8.14 80", 1))
	var out bytes.Buffer
	env := Env{Args: []string{"plan", "--from", old, next, "-o", "json"}, Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" },
		Dial: func(string) (control.Source, error) { t.Error("a daemon was asked"); return nil, nil }}
	if code := run(env); code != 0 {
		t.Fatalf("exit %d: %s", code, out.String())
	}
	var changes []change
	if err := json.Unmarshal(out.Bytes(), &changes); err != nil || len(changes) != 3 {
		t.Fatalf("%v: %s", err, out.String())
	}
	if gone := changes[1]; gone.Verb != "remove" || gone.Name != "10.0.8.13:80" || gone.Connections != -1 || len(gone.Effects) != 0 {
		t.Errorf("got %+v", gone)
	}
}

func TestAPlanForAFileWithErrorsIsRefused(t *testing.T) {
	for name, file := range map[string]string{
		"a missing argument": write(t, "bad.conf", "virtual_server 10.0.8.9 80 {\n delay_loop\n}\n"),
		"no such file":       "/does/not/exist.conf",
		"a directory":        t.TempDir(),
	} {
		if _, out, errs, code := tellDirector(t, control.Outcome{}, "plan", file); code == 0 || out != "" || !strings.Contains(errs, "vipd: ") {
			t.Errorf("%s: exit %d, %q, %q", name, code, out, errs)
		}
	}
}

func TestCommandsTellTheDaemonAndReportItsOutcome(t *testing.T) {
	d, out, errs, code := tellDirector(t, control.Outcome{Done: true, Until: time.Now()}, "apply", "/etc/x.conf", "--confirm", "60s")
	if code != 0 || out != "" || !strings.Contains(errs, "keep it with: vipd confirm") || d.told[0] != "apply /etc/x.conf 1m0s" {
		t.Errorf("apply: exit %d, %v, %q", code, d.told, errs)
	}
	d, out, errs, code = tellDirector(t, control.Outcome{Done: true}, "reload")
	if code != 0 || out+errs != "" || d.told[0] != "reload" {
		t.Errorf("reload: exit %d, %v, %q %q", code, d.told, out, errs)
	}
	d, _, errs, code = tellDirector(t, control.Outcome{Error: "x is refused", Hint: "mend it", Code: 2, Said: []string{"error: (x: Line 1) bad"}}, "reload")
	if code != 2 || errs != "error: (x: Line 1) bad\nvipd: x is refused\nhint: mend it\n" || len(d.told) != 1 {
		t.Errorf("a refused reload: exit %d, %q", code, errs)
	}
	if d, _, _, code = tellDirector(t, control.Outcome{Done: true}, "confirm"); code != 0 || d.told[0] != "confirm" {
		t.Errorf("confirm: exit %d, %v", code, d.told)
	}
}

// The daemon reads @ID lines as the director of its host's name: so does a plan.
func TestAPlanReadsTheFileAsADirectorDoes(t *testing.T) {
	text := strings.Replace(planned, "priority 100", "@one priority 110\n@two priority 120\n", 1)
	file := write(t, "both.conf", text)
	_, out, errs, code := tellDirector(t, control.Outcome{}, "plan", "-i", "two", file)
	if code != 0 || !strings.Contains(out, "priority 100 → 120") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

func TestAPlanMatchesAsAReloadDoes(t *testing.T) {
	v4 := "vrrp_instance A {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress { 10.0.8.9 }\n}\n"
	v6 := "vrrp_instance B {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress { 2001:db8::9 }\n}\n"
	_, out, errs, code := tellDirector(t, control.Outcome{}, "plan", "--from", write(t, "old.conf", v4), write(t, "next.conf", v4+v6))
	if code != 0 || strings.Contains(out, "instance A") || !strings.Contains(out, "instance B") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}
