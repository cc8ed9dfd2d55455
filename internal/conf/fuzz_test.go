package conf

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

// little bounds what definitions and repetitions make while fuzzing: the bound of every day takes seconds.
const little = 1 << 16

func FuzzLoad(f *testing.F) {
	for _, text := range corpus(f) {
		f.Add(text, "a b\n")
	}
	// Blocks without a name, whose lines then belong to nobody.
	for _, text := range []string{"virtual_server\ndelay_before_retry 0\n", "vrrp_instance\nvirtual_ipaddress\n0.0.0.0\n",
		"vrrp_instance\nvirtual_router_id 01", "vrrp_script\ninterval 3\n", "bfd_instance\nneighbor_ip 1.1.1.1\n"} {
		f.Add(text, "a b\n")
	}
	f.Add("include i.conf\n~SEQ(i,3) a $i ${_RANDOM 1 2}\n$A=$A\n$A\n@x b\n", "include f.conf\n$M=\\\nx\\\ny\n$M\n")
	f.Add(nested(20), "$A=\\\nx\\\n$A\n$A\n")
	f.Add("~SEQ(i,1,1000000000000) ~SEQ(j,1,1000000) include i.conf\n", strings.Repeat("{", 300)+"\n")
	f.Add("$A="+strings.Repeat("a", 500)+"\n$B=${A}${A}${A}${A}\n$C=${B}${B}${B}${B}${B}${B}\nx $C$C ~LST(i,"+strings.Repeat("${A},", 50)+"b) $i\n", "include "+strings.Repeat("{i,f}", 12)+".conf\n")
	f.Add("virtual_server fwmark 5 {\nreal_server 1.2.3.4 {\nTCP_CHECK {\n}\n}\n", "~LST({a,b},{1,2}) $a$b\n")
	f.Fuzz(func(t *testing.T, text, included string) {
		fsys := fstest.MapFS{"f.conf": {Data: []byte(text)}, "i.conf": {Data: []byte(included)}}
		c, tree, all := Load(fsys, "f.conf", Options{ID: "x", MaxExpansion: little})
		if c == nil {
			t.Fatal("no Config")
		}
		for _, file := range tree.Files {
			if !strings.HasPrefix(text, file.text) && file.text != included {
				t.Errorf("%s has text %q", file.Name, file.text)
			}
		}
		for _, d := range all {
			sane(t, d)
		}
		for _, v := range c.Instances {
			if v.Name == "" || v.Interface == "" || v.VRID == 0 {
				t.Errorf("instance %+v cannot run", v)
			}
		}
		for _, s := range c.Health.Services {
			if len(s.Reals) == 0 || s.Mark == 0 && !s.Addr.IsValid() {
				t.Errorf("service %s cannot run", s)
			}
		}
	})
}

// sane checks that a diagnostic says something, at a place that exists, and is safe to print.
func sane(t *testing.T, d Diagnostic) {
	if d.Text == "" || CodeText(d.Code) == "" {
		t.Errorf("diagnostic %+v says nothing", d)
	}
	if d.Line > 0 && d.Col > utf8.RuneCountInString(d.Source)+1 {
		t.Errorf("column %d of %q", d.Col, d.Source)
	}
	for _, r := range d.Long() {
		if r < ' ' && r != '\n' || r == 0x7f || r == 0x9b {
			t.Errorf("control character %q in %q", r, d.Long())
		}
	}
}

// FuzzKeywords gives every keyword any words: Test and Load agree with themselves and never fail.
func FuzzKeywords(f *testing.F) {
	var forms []string
	for _, b := range blocks() {
		form, ok := inBlock[b.name]
		if !ok {
			continue
		}
		for _, k := range b.rows {
			if k.item != nil {
				forms = append(forms, fmt.Sprintf(form, k.Name+" N {\n%s\n}"))
			} else {
				forms = append(forms, fmt.Sprintf(form, k.Name+" %s"))
			}
		}
	}
	for i := range forms {
		f.Add(uint16(i), variants[i%len(variants)])
	}
	f.Add(uint16(0), "~SEQ(i,1,1000000000) ~SEQ(j,1,1000000000) x$i")
	f.Add(uint16(10), "0{\v") // the last statement has no word
	f.Add(uint16(40), "\n$A=\\\nx\\\n$A\n$A")
	for _, kind := range lineVariants {
		for i, v := range kind {
			f.Add(uint16(i*37), v)
		}
	}
	f.Fuzz(func(t *testing.T, i uint16, words string) {
		text := strings.ReplaceAll(forms[int(i)%len(forms)], "%s", words)
		fsys := fstest.MapFS{"f.conf": {Data: []byte(text)}}
		c, _, _ := Load(fsys, "f.conf", Options{MaxExpansion: little})
		Effective(c)
		out, exit := Test(fsys, "f.conf", TestOptions{most: 1000})
		again, same := Test(fsys, "f.conf", TestOptions{most: 1000})
		if exit != same || len(out) != len(again) {
			t.Errorf("twice the same file: %d and %d", exit, same)
		}
		if exit != 0 && exit != 2 && exit != 4 && exit != 5 && exit != 6 || exit == 5 && len(out) == 0 {
			t.Errorf("exit code %d with %q", exit, out)
		}
	})
}

// FuzzTest reads as keepalived does.
func FuzzTest(f *testing.F) {
	for _, text := range corpus(f) {
		f.Add(text, "a b\n")
	}
	f.Add("$M=a \\\n~SEQ(i, 2) ~LST({x,y}, {1,2}, 3) b$i \\\n$N\n$N=c\\\nd\n@^x $M\n{ $M\n", "# x\n! y\n\\# z\n")
	f.Add("@^x include i.conf\nvrrp_instance A { include i.conf\n}\n~SEQx(i,${_RANDOM 1 9}) ${_PWD} ${_HASH\n", "\\! x\n\\! y\n\\#\n\x00\n")
	f.Fuzz(func(t *testing.T, text, included string) {
		fsys := fstest.MapFS{"f.conf": {Data: []byte(text)}, "i.conf": {Data: []byte(included)}}
		if _, exit := Test(fsys, "f.conf", TestOptions{most: 1000}); exit < 0 || exit > 6 {
			t.Errorf("exit code %d", exit)
		}
	})
}
