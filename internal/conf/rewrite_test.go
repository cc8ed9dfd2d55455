package conf

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"

	"vipd/internal/lb"
)

var (
	rewriteKey  = lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:80")}
	rewriteReal = netip.MustParseAddrPort("10.0.8.12:80")
)

const rewriteHead = "virtual_server 10.0.8.9 80 { # web\n  lb_kind DR\n  protocol TCP\n"

// rewritten changes a file whose virtual_server has this text after rewriteHead, and gives what became of that.
func rewritten(t *testing.T, body string, e RealEdit) (string, error) {
	t.Helper()
	out, err := Rewrite(fstest.MapFS{"a.conf": {Data: []byte(rewriteHead + body)}}, "a.conf", Options{ID: "one"}, e)
	if err != nil {
		return "", err
	}
	if out.Path != "a.conf" || out.Old != rewriteHead+body {
		t.Errorf("%s, old text %q", out.Path, out.Old)
	}
	got, ok := strings.CutPrefix(out.New, rewriteHead)
	if !ok {
		t.Errorf("the head has changed:\n%s", out.New)
	}
	return got, nil
}

func TestAWeightIsWrittenWhereItBelongsAndNothingElseChanges(t *testing.T) {
	other := "  real_server 10.0.8.13 80 {\n    weight 5\n  }\n}\n! end"
	for name, row := range map[string]struct{ text, want string }{
		"in place of another": {"\treal_server 10.0.8.12 80 {   # one\n\t\tweight   3\t! strong\n\t\tTCP_CHECK {\n\t\t}\n\t}\n" + other,
			"\treal_server 10.0.8.12 80 {   # one\n\t\tweight   0\t! strong\n\t\tTCP_CHECK {\n\t\t}\n\t}\n" + other},
		"of several the last, which counts": {"  real_server 10.0.8.12 80 {\n weight 3\n weight 4\n}\n" + other, "  real_server 10.0.8.12 80 {\n weight 3\n weight 0\n}\n" + other},
		"where there is none":               {"  real_server 10.0.8.12 80 { # ä\n      TCP_CHECK {\n      }\n  }\n" + other, "  real_server 10.0.8.12 80 { # ä\n      weight 0\n      TCP_CHECK {\n      }\n  }\n" + other},
		"in an empty block":                 {"  real_server 10.0.8.12 80 {\n  }\n" + other, "  real_server 10.0.8.12 80 {\n      weight 0\n  }\n" + other},
		"in a block on one line":            {"  real_server 10.0.8.12 80 { TCP_CHECK { connect_port 9 } }\n" + other, "  real_server 10.0.8.12 80 {\n      weight 0\n      TCP_CHECK { connect_port 9 } }\n" + other},
		"with line ends of Windows":         {"  real_server 10.0.8.12 80 {\r\n    retry 2\r\n  }\r\n" + other, "  real_server 10.0.8.12 80 {\r\n    weight 0\r\n    retry 2\r\n  }\r\n" + other},
		"in place of a definition":          {"  $W=3\n  real_server 10.0.8.12 80 {\n weight ${W} # w\n}\n" + other, "  $W=3\n  real_server 10.0.8.12 80 {\n weight 0 # w\n}\n" + other},
		"behind a condition":                {"  real_server 10.0.8.12 80 {\n @two weight 9\n @one weight 3\n}\n" + other, "  real_server 10.0.8.12 80 {\n @two weight 9\n @one weight 0\n}\n" + other},
		"the brace on another line":         {"  real_server 10.0.8.12 80\n  {\n    weight 7\n  }\n" + other, "  real_server 10.0.8.12 80\n  {\n    weight 0\n  }\n" + other},
		"twice the same, of which one counts": {"  real_server 10.0.8.12 80 {\n weight 3\n}\n  real_server 10.0.8.13 81 {\n weight 3\n}\n}\nvirtual_server 10.0.8.10 80 {\n real_server 10.0.8.12 80 {\n  weight 9\n }\n}",
			"  real_server 10.0.8.12 80 {\n weight 0\n}\n  real_server 10.0.8.13 81 {\n weight 3\n}\n}\nvirtual_server 10.0.8.10 80 {\n real_server 10.0.8.12 80 {\n  weight 9\n }\n}"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := rewritten(t, row.text, RealEdit{Service: rewriteKey, Real: rewriteReal})
			if err != nil || got != row.want {
				t.Errorf("%v, got\n%s\nwant\n%s", err, got, row.want)
			}
		})
	}
}

func TestARealServerIsCommentedOutWithAllItsLines(t *testing.T) {
	other := "  real_server 10.0.8.13 80 {\n  }\n}\n"
	e := RealEdit{Service: rewriteKey, Real: rewriteReal, Disable: true}
	got, err := rewritten(t, "  # the first\n  real_server 10.0.8.12 80 { # one\n    weight 3 # strong\n\n    TCP_CHECK {\n    }\n  } # end\n"+other, e)
	want := "  # the first\n  #disabled# real_server 10.0.8.12 80 { # one\n    #disabled# weight 3 # strong\n#disabled# \n    #disabled# TCP_CHECK {\n    #disabled# }\n  #disabled# } # end\n" + other
	if err != nil || got != want {
		t.Errorf("%v, got\n%s\nwant\n%s", err, got, want)
	}
	for name, row := range map[string]struct {
		text string
		want error
	}{
		"the only one":                {"  real_server 10.0.8.12 80 {\n  }\n}\n", ErrOnlyOne},
		"not alone on its first line": {"  retry 3 } real_server 10.0.8.12 80 {\n  }\n" + other, ErrNotThere},
		"not alone on its last line":  {"  real_server 10.0.8.12 80 {\n  } real_server 10.0.8.13 80 {\n}\n}\n", ErrNotPlain},
		"another one":                 {"  real_server 10.0.8.14 80 {\n  }\n" + other, ErrNotThere},
	} {
		if got, err := rewritten(t, row.text, e); !errors.Is(err, row.want) {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

// What is not a block in the text cannot be changed in it, and is not.
func TestWhatIsMadeByTheLanguageIsLeftAlone(t *testing.T) {
	other := "  real_server 10.0.8.13 80 {\n    weight 5\n  }\n}\n"
	for name, text := range map[string]string{
		"a repetition":          "  ~SEQ(i, 11, 13) real_server 10.0.8.$i 80 {\n }\n" + other,
		"a definition of lines": "  $ONE=real_server 10.0.8.12 80 { \\\n  weight 1 \\\n }\n  $ONE\n" + other,
	} {
		got, err := rewritten(t, text, RealEdit{Service: rewriteKey, Real: rewriteReal})
		if err == nil {
			cfg, _, _ := Load(fstest.MapFS{"a.conf": {Data: []byte(rewriteHead + got)}}, "a.conf", Options{ID: "one"})
			if cfg.Health.Services[0].Reals[0].Weight != 0 {
				t.Errorf("%s: it says it is done:\n%s", name, got)
			}
		} else if !errors.Is(err, ErrNotPlain) && !errors.Is(err, ErrNotThere) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheFileThatHasTheBlockIsChanged(t *testing.T) {
	fsys := fstest.MapFS{
		"etc/main.conf":    {Data: []byte("$WEB=10.0.8.12\ninclude sites/*.conf\n")},
		"etc/sites/a.conf": {Data: []byte("virtual_server 10.0.8.8 80 {\n protocol TCP\n include ../reals.inc\n}\n")},
		"etc/sites/b.conf": {Data: []byte("virtual_server_group web {\n 10.0.8.9 80\n 10.0.8.9 443\n}\nvirtual_server group web {\n lb_kind DR\n protocol TCP\n real_server $WEB 80 {\n @one weight 3\n @two weight 4\n }\n}\n")},
		"etc/reals.inc":    {Data: []byte("real_server 10.0.8.12 80 {\n}\n")},
	}
	before := map[string]string{}
	for name, f := range fsys {
		before[name] = string(f.Data)
	}
	tls := lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:443")}
	out, err := Rewrite(fsys, "/etc/main.conf", Options{ID: "two"}, RealEdit{Service: tls, Real: netip.MustParseAddrPort("10.0.8.12:443"), Weight: 77})
	if err != nil || out.Path != "etc/sites/b.conf" || out.New != strings.Replace(before["etc/sites/b.conf"], "weight 4", "weight 77", 1) || out.Line != 10 {
		t.Errorf("%v, %s\n%s", err, out, out.New)
	}
	key := lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.8:80")}
	out, err = Rewrite(fsys, "/etc/main.conf", Options{}, RealEdit{Service: key, Real: rewriteReal, Weight: 2})
	if err != nil || out.Path != "etc/reals.inc" || out.New != "real_server 10.0.8.12 80 {\n    weight 2\n}\n" {
		t.Errorf("%v, %s\n%s", err, out, out.New)
	}
}

// FuzzRewrite: of any text, what is written says what was asked for and keeps every line that it does not change.
func FuzzRewrite(f *testing.F) {
	f.Add("  real_server 10.0.8.12 80 {\n weight 3\n}\n real_server 10.0.8.13 80 {\n}\n}\n", int32(7), false)
	f.Add("  real_server 10.0.8.12 80 { weight 3 }\r\n}\n", int32(0), true)
	f.Add("  real_server 10.0.8.12 80 {\n @x weight 3\n}\n", int32(9), false)
	f.Fuzz(func(t *testing.T, body string, weight int32, disable bool) {
		opts := Options{MaxExpansion: 1 << 16}
		text := rewriteHead + body
		e := RealEdit{Service: rewriteKey, Real: rewriteReal, Weight: max(weight, 0) % 65536, Disable: disable}
		out, err := Rewrite(fstest.MapFS{"a.conf": {Data: []byte(text)}}, "a.conf", opts, e)
		if err != nil {
			return
		}
		cfg, _, _ := Load(fstest.MapFS{"a.conf": {Data: []byte(out.New)}}, "a.conf", opts)
		_, at, there := e.find(cfg.Health)
		if there == disable && disable || !disable && (!there || cfg.Health.Services[0].Reals[at].Weight != e.Weight) {
			t.Errorf("%q became %q", text, out.New)
		}
	})
}
