package conf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

// There is one file per mistake that only a reader who knows the field sees, with what is said about it beside it.
func checkText(text string) *Checked {
	return Check(fstest.MapFS{"f.conf": {Data: []byte(text)}}, "f.conf", Options{})
}

func TestAdvice(t *testing.T) {
	names, err := filepath.Glob("testdata/advise/*.conf")
	if err != nil || len(names) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			c := Check(os.DirFS(filepath.Dir(name)), filepath.Base(name), Options{})
			var b strings.Builder
			for _, d := range c.Diagnostics {
				sane(t, d)
				if d.Code != "not-yet" { // it goes with the versions
					b.WriteString(d.Long())
				}
			}
			golden(t, strings.TrimSuffix(name, ".conf")+".txt", b.String())
		})
	}
}

func TestAdviceAboutTwoDirectors(t *testing.T) {
	names, err := filepath.Glob("testdata/advise/pairs/*.1.conf")
	if err != nil || len(names) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			fsys := os.DirFS(filepath.Dir(name))
			one := Check(fsys, filepath.Base(name), Options{})
			two := Check(fsys, strings.Replace(filepath.Base(name), ".1.", ".2.", 1), Options{})
			var b strings.Builder
			for _, d := range Compare(one, two) {
				b.WriteString(d.Long())
			}
			golden(t, strings.TrimSuffix(name, ".1.conf")+".txt", b.String())
		})
	}
}

func TestAdviceAboutGoodFilesIsNotAWarning(t *testing.T) {
	one := Check(os.DirFS("../../examples/site"), "director1.conf", Options{})
	if sev, _ := Worst(one.Diagnostics); sev > Notice {
		t.Errorf("the example is warned about: %v", one.Diagnostics)
	}
}

func TestTheOutlineHasWhatTheDaemonSees(t *testing.T) {
	fsys := fstest.MapFS{
		"f.conf": {Data: []byte("$N=A\nvrrp_instance $N {\n include i.conf\n~LST(x,1,2) virtual_ipaddress { 10.0.0.$x }\n}\nfoo {\nrouter_id\n}\n")},
		"i.conf": {Data: []byte("@x priority 3\n@y priority 4\nstate MASTER\n")},
	}
	var b strings.Builder
	var show func(indent string, s *Statement)
	show = func(indent string, s *Statement) {
		b.WriteString(indent + s.File.Name + ": " + s.String())
		switch {
		case s.Value:
			b.WriteString(" (value)")
		case !s.Known:
			b.WriteString(" (unknown)")
		}
		b.WriteString("\n")
		for _, in := range s.Body {
			show(indent+"  ", in)
		}
	}
	Outline(fsys, "f.conf", Options{ID: "x"}, func(s *Statement) { show("", s) })
	want := `f.conf: vrrp_instance A
  i.conf: priority 3
  i.conf: state MASTER
  f.conf: virtual_ipaddress
    f.conf: 10.0.0.1 (value)
  f.conf: virtual_ipaddress
    f.conf: 10.0.0.2 (value)
f.conf: foo (unknown)
  f.conf: router_id (unknown)
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEveryBlockHasANameOfItsOwn(t *testing.T) {
	seen := map[string]*block{}
	for _, b := range blocks() {
		if seen[b.name] != nil && seen[b.name] != b {
			t.Errorf("two blocks are called %q: Find cannot tell them apart", b.name)
		}
		seen[b.name] = b
	}
}

func FuzzCheck(f *testing.F) {
	names, _ := filepath.Glob("testdata/advise/*.conf")
	for _, n := range names {
		if b, err := os.ReadFile(n); err == nil {
			f.Add(string(b), string(b))
		}
	}
	for _, text := range corpus(f) {
		f.Add(text, "vrrp_instance A {\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress { 10.0.0.9 }\n}\n")
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		fsys := fstest.MapFS{"1.conf": {Data: []byte(one)}, "2.conf": {Data: []byte(two)}}
		opts := Options{MaxExpansion: little}
		a, b := Check(fsys, "1.conf", opts), Check(fsys, "2.conf", opts)
		for _, list := range [][]Diagnostic{a.Diagnostics, b.Diagnostics, Compare(a, b)} {
			for _, d := range list {
				sane(t, d)
			}
		}
	})
}
