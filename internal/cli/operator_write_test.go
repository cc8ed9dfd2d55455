package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"vipd/internal/conf"
	"vipd/internal/control"
	"vipd/internal/lb"
)

// filed is a director with the file planned in force, whose real servers are as the file has them.
type filed struct {
	toldDirector
	raw json.RawMessage // what is in force
}

func (f *filed) Config(context.Context) (json.RawMessage, error) { return f.raw, nil }

func newFiled(t *testing.T, text string) *filed {
	t.Helper()
	f := &filed{toldDirector: toldDirector{fakeDaemon: &fakeDaemon{control.Status{Config: write(t, "running.conf", text)}}, outcome: control.Outcome{Done: true}}}
	cfg, _, _ := conf.Load(os.DirFS("/"), f.status.Config, conf.Options{})
	var err error
	if f.raw, err = json.Marshal(cfg); err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort
	f.status.Services = []control.Service{{Service: lb.Service{ServiceKey: lb.ServiceKey{Protocol: lb.TCP, Addr: at("10.0.8.9:80")}},
		Reals: []control.Real{{Real: lb.Real{Addr: at("10.0.8.12:80"), Weight: 1}}, {Real: lb.Real{Addr: at("10.0.8.13:80"), Weight: 1}}}}}
	return f
}

func (f *filed) run(args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	code = run(Env{Args: append(args, "--write"), Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }, Dial: func(string) (control.Source, error) { return f, nil }})
	return out.String(), errs.String(), code
}

func (f *filed) text(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(f.status.Config)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const commented = planned + "\n# the end\n"

func TestWriteChangesTheFileAndHasItRead(t *testing.T) {
	line := "	real_server 10.0.8.12 80 { TCP_CHECK { connect_timeout 3 } }\n"
	for args, want := range map[string]string{
		"weight 10.0.8.9:80 10.0.8.12 7": "	real_server 10.0.8.12 80 {\n	    weight 7\n	    TCP_CHECK { connect_timeout 3 } }\n",
		"drain 10.0.8.9:80 10.0.8.12":    "	real_server 10.0.8.12 80 {\n	    weight 0\n	    TCP_CHECK { connect_timeout 3 } }\n",
		"disable 10.0.8.9:80 10.0.8.12":  "	#disabled# real_server 10.0.8.12 80 { TCP_CHECK { connect_timeout 3 } }\n",
	} {
		f := newFiled(t, commented)
		out, errs, code := f.run(strings.Fields(args)...)
		if code != 0 || errs != "" || !strings.HasPrefix(out, f.status.Config+":") || !slices.Equal(f.told, []string{"reload"}) {
			t.Errorf("%s: exit %d, told %q\n%s%s", args, code, f.told, out, errs)
		}
		if got := f.text(t); got != strings.Replace(commented, line, want, 1) || got == commented {
			t.Errorf("%s: the file is now\n%s", args, got)
		}
	}
	f := newFiled(t, commented)
	f.status.Services[0].Reals[0].Operator = &control.Hand{Do: "drain"}
	if _, errs, code := f.run("weight", "10.0.8.9:80", "10.0.8.12", "7"); code != 0 || !slices.Equal(f.told, []string{"reload", "ready tcp/10.0.8.9:80 10.0.8.12:80 0 0%"}) {
		t.Errorf("a hand that the file has now is not taken back: exit %d, told %q %s", code, f.told, errs)
	}
}

func TestWriteIsRefusedAndLeavesTheFileAsItIs(t *testing.T) {
	for name, row := range map[string]struct {
		args, want string
		before     func(t *testing.T, f *filed)
	}{
		"the file says more than what is in force": {"drain 10.0.8.9:80 10.0.8.12", "(1 change); nothing is done", func(t *testing.T, f *filed) {
			if err := os.WriteFile(f.status.Config, []byte(strings.Replace(commented, "lb_algo sh", "lb_algo rr", 1)), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		"the file has errors": {"drain 10.0.8.9:80 10.0.8.12", "has errors now; nothing is done", func(t *testing.T, f *filed) {
			if err := os.WriteFile(f.status.Config, []byte(commented+"vrrp_instance A {\n}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		"there is no file": {"drain 10.0.8.9:80 10.0.8.12", "--write: the daemon has no configuration file", func(_ *testing.T, f *filed) { f.status.Config = "" }},
		"a part":           {"weight 10.0.8.9:80 10.0.8.12 500%", "--write wants a number", nil},
		"not in the file": {"drain 10.0.8.9:80 10.0.8.14", "there is no such real_server in the file", func(_ *testing.T, f *filed) {
			f.status.Services[0].Reals[1].Addr = netip.MustParseAddrPort("10.0.8.14:80")
		}},
		"the reload is refused": {"drain 10.0.8.9:80 10.0.8.12", "reload: no\nhint: the file is as it was before\n", func(_ *testing.T, f *filed) { f.outcome = control.Outcome{Error: "no", Code: 2} }},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFiled(t, commented)
			before, path := commented, f.status.Config
			if row.before != nil {
				row.before(t, f)
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				before = string(b)
			}
			_, errs, code := f.run(strings.Fields(row.args)...)
			if code == 0 || !strings.Contains(errs, row.want) {
				t.Errorf("exit %d\n%s", code, errs)
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != before {
				t.Errorf("the file has changed, %v\n%s", err, b)
			}
		})
	}
}
