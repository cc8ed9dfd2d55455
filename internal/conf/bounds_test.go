package conf

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// nested is n definitions of two lines each of which is the one before, twice.
func nested(n int) string {
	b := "$A0=\\\nfoo a\\\nfoo b\n"
	for i := 1; i < n; i++ {
		b += fmt.Sprintf("$A%d=\\\n$A%d\\\n$A%d\n", i, i-1, i-1)
	}
	return b + fmt.Sprintf("$A%d\n", n-1)
}

func TestWhatDefinitionsMakeIsBounded(t *testing.T) {
	wide := "$A=" + strings.Repeat("a", 500) + "\n$B=${A}${A}${A}${A}${A}${A}${A}${A}\n$C=${B}${B}${B}${B}${B}${B}${B}${B}\n"
	for _, c := range []struct{ name, text, want string }{
		{"definitions that double", nested(40), "expansion-limit"},
		{"a definition of several lines that has itself in it", "$A=\\\nx\\\n$A\n$A\n", "expansion-limit"},
		{"a sequence without a sensible end", "~SEQ(i,1,1000000000000) foo$i\n", "expansion-limit"},
		{"sequences of sequences", "~SEQ(i,1,100000) ~SEQ(j,1,100000) ~SEQ(k,1,100000) foo\n", "expansion-limit"},
		{"a line that grows", wide + "foo $C$C\n", "unreadable-line"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := fstest.MapFS{"f.conf": {Data: []byte(c.text + "last_word\n")}}
			_, _, all := Load(fsys, "f.conf", Options{MaxExpansion: 1 << 17})
			n, last := 0, false
			for _, d := range all {
				n += btoi(d.Code == c.want)
				last = last || strings.Contains(d.Text, "last_word")
				if d.Code == "expansion-limit" && (d.Severity != Error || d.Hint == "") {
					t.Errorf("%s", d.Long())
				}
			}
			if n != 1 || !last {
				t.Errorf("%d of %s, want 1; what follows is read: %t", n, c.want, last)
			}
			if out, exit := Test(fsys, "f.conf", TestOptions{most: 1000}); exit == 0 || len(out) == 0 {
				t.Errorf("as keepalived: exit code %d", exit)
			}
		})
	}
}

func TestWhatIncludesReadIsBounded(t *testing.T) {
	fsys := fstest.MapFS{
		"f.conf": {Data: []byte(strings.Repeat("include a.conf\n", 400))}, "a.conf": {Data: []byte(strings.Repeat("include b.conf\n", 400))},
		"b.conf": {Data: []byte("foo\n")}, "g.conf": {Data: []byte("include " + strings.Repeat("{a,b}", 20) + "\n")},
		"h.conf": {Data: []byte(strings.Repeat("include nothing\n", maxGlobs+1))},
	}
	for _, name := range []string{"f.conf", "g.conf", "h.conf"} {
		_, tree, all := Load(fsys, name, Options{})
		if len(tree.Files) > maxFiles {
			t.Errorf("%s: %d files", name, len(tree.Files))
		}
		if n := len(all); n == 0 || !strings.Contains(codes(all), "include-many") {
			t.Errorf("%s: %d diagnostics, none of them include-many", name, n)
		}
	}
}

// What is walked by recursion is not deeper than maxDepth, and nothing of the text is lost by that.
func TestBlocksWithinBlocksAreBounded(t *testing.T) {
	text := strings.Repeat("a {\n", maxDepth+500) + strings.Repeat("}\n", maxDepth+500)
	f := Parse("f.conf", text)
	if f.String() != text {
		t.Error("the tree has another text")
	}
	deep := 0
	for list := f.Nodes(); len(list) > 0; deep++ {
		list = list[0].Body
	}
	if deep > maxDepth+1 {
		t.Errorf("%d deep", deep)
	}
	Outline(fstest.MapFS{"f.conf": {Data: []byte(text)}}, "f.conf", Options{}, func(s *Statement) {
		deep = 0
		for list := s.Body; len(list) > 0; deep++ {
			list = list[0].Body
		}
		if deep > maxDepth {
			t.Errorf("the outline is %d deep", deep)
		}
	})
}

// Thousands of instances, of checks and of groups are read in the blink of an eye; what compared each with each took
// minutes.
func TestManyOfAKindAreRead(t *testing.T) {
	var b strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&b, "vrrp_instance a%d {\ninterface eth%d\nvirtual_router_id 5\nvirtual_ipaddress {\n10.0.0.1\n}\n}\n", i, i)
	}
	b.WriteString("virtual_server 1.1.1.1 80 {\nprotocol TCP\nlb_algo rr\nlb_kind DR\nreal_server 10.0.0.1 80 {\n")
	for range 4000 {
		b.WriteString("TCP_CHECK {\nconnect_timeout 1\n}\n")
	}
	b.WriteString("}\n}\n")
	c := Check(fstest.MapFS{"f.conf": {Data: []byte(b.String())}}, "f.conf", Options{})
	if n, m := len(c.Config.Instances), len(c.Config.Health.Services[0].Reals[0].Checkers); n != 4000 || m != 4000 {
		t.Errorf("%d instances, %d checkers", n, m)
	}
	if got := c.Config.Health.Services[0].Reals[0].Checkers[3999].ConnectTimeout; got != time.Second {
		t.Errorf("connect_timeout %s", got)
	}
}
