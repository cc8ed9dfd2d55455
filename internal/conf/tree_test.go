package conf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// corpus are the texts of testdata and of the examples.
func corpus(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"testdata/*.conf", "testdata/bad/*.conf", "../../examples/*/*.conf"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("no files match %s: %v", pattern, err)
		}
		for _, n := range names {
			b, err := os.ReadFile(n)
			if err != nil {
				t.Fatal(err)
			}
			out[n] = string(b)
		}
	}
	return out
}

func TestTheTreePrintsWhatItRead(t *testing.T) {
	for name, text := range corpus(t) {
		for _, form := range []string{text, strings.ReplaceAll(text, "\n", "\r\n"), strings.TrimRight(text, "\n"), "\ufeff" + text, text[:len(text)/2]} {
			if got := Parse(name, form).String(); got != form {
				t.Errorf("%s (-want +got):\n%s", name, cmp.Diff(form, got))
			}
		}
	}
}

// sketch writes nodes with positions and comments.
func sketch(b *strings.Builder, nodes []*Node, indent string) {
	comments := func(what string, cs []Comment) {
		for _, c := range cs {
			fmt.Fprintf(b, "%s  %s %d:%d %s\n", indent, what, c.Line, c.Col, c.Text)
		}
	}
	for _, n := range nodes {
		b.WriteString(indent + "-")
		for _, w := range n.Words {
			fmt.Fprintf(b, " %d:%d=%s", w.Line, w.Col, w.Text)
		}
		if n.Open != nil {
			fmt.Fprintf(b, " {%d:%d", n.Open.Line, n.Open.Col)
		}
		if n.Close != nil {
			fmt.Fprintf(b, " }%d:%d", n.Close.Line, n.Close.Col)
		}
		b.WriteString("\n")
		comments("above", n.Doc)
		comments("beside", n.Note)
		sketch(b, n.Body, indent+"  ")
		comments("inside", n.Tail)
		comments("after", n.End)
	}
}

func TestTheTreeHasEveryPositionAndComment(t *testing.T) {
	const text = `# head
! second
a 监 "b c" # beside a
$X=1 \
  2
@id b { c { d } # after c
 # inside b
}	! after b

e
{
} }
f "open
# tail
`
	const want = `- 3:1=a 3:3=监 3:5=b c
  above 1:1 # head
  above 2:1 ! second
  beside 3:11 # beside a
- 4:1=$X=1 \
  2
- 6:1=@id 6:5=b {6:7 }8:1
  - 6:9=c {6:11 }6:15
    - 6:13=d
    after 6:17 # after c
  inside 7:2 # inside b
  after 8:3 ! after b
- 10:1=e {11:1 }12:1
- }12:3
- 13:1=f 13:3=open
tail # tail
`
	f := Parse("f", text)
	var b strings.Builder
	sketch(&b, f.Nodes(), "")
	for _, c := range f.Tail() {
		fmt.Fprintf(&b, "tail %s\n", c.Text)
	}
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzTree(f *testing.F) {
	for _, text := range corpus(f) {
		f.Add(text)
	}
	f.Add("a{\n#x\n}}\n\"\x00\n$A=\\\n")
	f.Fuzz(func(t *testing.T, text string) {
		file := Parse("f", text)
		if got := file.String(); got != text {
			t.Errorf("printed %q for %q", got, text)
		}
	})
}
