package bpf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// Environment variables.
const (
	mutateVar = "VIPD_MUTATE"       // a regular expression: the mutants to try, by "file:line: change"
	quickVar  = "VIPD_MUTATE_QUICK" // the first rows alone
	objectVar = "VIPD_BPF_OBJECT"   // for a child: the object that its rows look at
)

// sourceOf is the source of the object in which a file is.
func sourceOf(file string) string {
	if strings.HasSuffix(file, ".c") {
		return file
	}
	return "lb.bpf.c"
}

// otherSpec is the object of another source than lb.bpf.c: the one that a child has to look at, if it is of that source.
func otherSpec(source string, load func() (*ebpf.CollectionSpec, error)) (*ebpf.CollectionSpec, error) {
	if path := os.Getenv(objectVar); filepath.Base(path) == objectName(source) {
		return ebpf.LoadCollectionSpec(path)
	}
	return load()
}

func objectName(source string) string { return strings.TrimSuffix(source, ".c") + ".mutant.o" }

func loadSpec() (*ebpf.CollectionSpec, error) {
	if path := os.Getenv(objectVar); filepath.Base(path) == objectName("lb.bpf.c") {
		spec, err := ebpf.LoadCollectionSpec(path)
		if err != nil {
			return nil, err
		}
		return Named(spec), nil
	}
	return Load()
}

// judged are the headers in which a mistake sends packets to the wrong place, or counts them there.
var judged = []string{"schedule.h", "least.h", "hash.h", "lblc.h", "states.h", "csum.h", "conn.h", "open.h", "sweep.h", "nat.h",
	"pool.h", "service.h", "crc32c.h", "find.h", "pace.h", "defend.h", "fast.h", "reply.h", "reply6.h", "told.h", "mss.h", "fullnat.h", "full6.h",
	"proxy.h", "direct.h", "tunnel.h", "icmp.h", "related.h", "related6.h", "fragment.h", "ipv6.h", "vlan.h", "sip.h", "learn.h", "lb.bpf.c", "decap.bpf.c", "path.bpf.c", "socket.bpf.c"}

// operators are the mistakes. A line may have several of one kind; each is a mutant.
var operators = []struct {
	find *regexp.Regexp
	put  string
}{
	{regexp.MustCompile(` < `), " <= "}, {regexp.MustCompile(` <= `), " < "},
	{regexp.MustCompile(` > `), " >= "}, {regexp.MustCompile(` >= `), " > "},
	{regexp.MustCompile(` == `), " != "}, {regexp.MustCompile(` != `), " == "},
	{regexp.MustCompile(` && `), " || "}, {regexp.MustCompile(` \|\| `), " && "},
	{regexp.MustCompile(` \+ `), " - "}, {regexp.MustCompile(` - `), " + "},
	{regexp.MustCompile(`return ~`), "return "}, {regexp.MustCompile(`\)~`), ")"},
	{regexp.MustCompile(`!(\w)`), "$1"},
	{regexp.MustCompile(`\breturn 1;`), "return 0;"}, {regexp.MustCompile(`\breturn 0;`), "return 1;"},
	{regexp.MustCompile(`, 1\);`), ", 2);"}, {regexp.MustCompile(`, -1\);`), ", 0);"},
	{regexp.MustCompile(`^\t+[\w>.\[\]()&*-]+( [|&+-]?=|\+\+|--).*;$`), ";"}, {regexp.MustCompile(`^\t+\+\+\*?\w+;$`), ";"},
	{regexp.MustCompile(`^\t+\w+\([^;]*\);$`), ";"},
	{regexp.MustCompile(`return (?:settle|detour|back)\(.*\);`), "return XDP_PASS;"}, // not counted
}

type mutant struct {
	file string
	in   string // the function
	line int    // from 1
	over string // the line before
	was  string
	is   string

	state string // of a table of states: the one that a connection is in
	cell  string // what stands in the row then
}

func (m mutant) String() string {
	return fmt.Sprintf("%s:%d: %s => %s", m.file, m.line, strings.TrimSpace(m.was), strings.TrimSpace(m.is))
}

// known is what stands in testdata/mutants.txt for it: the number of a line does not stay.
func (m mutant) known() string {
	return fmt.Sprintf("%s: %s / %s => %s", m.file, strings.TrimSpace(m.over), strings.TrimSpace(m.was), strings.TrimSpace(m.is))
}

// knownThere is the same for a line that stands in other functions too.
func (m mutant) knownThere() string { return strings.Replace(m.known(), ":", " "+m.in+":", 1) }

var function = regexp.MustCompile(`^\w.*?(\w+)\(`)

func mutants(file string, text []byte) (all []mutant) {
	comment, over, in := false, "", ""
	for n, line := range strings.Split(string(text), "\n") {
		if f := function.FindStringSubmatch(line); f != nil {
			in = f[1]
		}
		m := mutant{file: file, in: in, line: n + 1, over: over, was: line}
		over = line
		code, rest, remark := strings.Cut(line, "/*")
		if comment {
			_, code, comment = strings.Cut(line, "*/")
			comment = !comment
			continue
		}
		comment = remark && !strings.Contains(rest, "*/")
		if strings.HasPrefix(code, "#") || strings.HasPrefix(code, "\t__uint(") || strings.HasPrefix(code, "\t__type(") || !strings.HasPrefix(code, "\t") {
			continue
		}
		code = strings.TrimRight(code, " \t")
		if c := rowOfStates.FindStringSubmatch(code); c != nil {
			all = append(all, cells(m, c)...)
			continue
		}
		for _, o := range operators {
			for _, at := range o.find.FindAllStringSubmatchIndex(code, -1) {
				m.is = code[:at[0]] + string(o.find.ExpandString(nil, o.put, code, at)) + code[at[1]:]
				all = append(all, m)
			}
		}
	}
	return all
}

// fate is what became of a mutant.
type fate string

const (
	noC      fate = "does not compile"
	refused  fate = "refused by the verifier"
	killed   fate = "a row fails"
	hung     fate = "the rows do not end"
	survived fate = "SURVIVED"
	late     fate = "another row fails"
	same     fate = "the same code"
	forgiven fate = "excused"
	nowhere  fate = "in no program of an object of many"
)

// TestMutants edits the C, one mistake at a time, and runs the rows on what clang makes of it. It fails for each mistake
// that no row notices and that testdata/mutants.txt does not excuse.
//
// Run by make mutate; VIPD_MUTATE='least.h' tries one file.
func TestMutants(t *testing.T) {
	which := os.Getenv(mutateVar)
	if which == "" {
		t.Skip("a mutant takes seconds: VIPD_MUTATE is not set")
	}
	chosen, excused := regexp.MustCompile(which), excuses(t, "mutants.txt")
	var rest []mutant
	count := map[fate]int{}
	tell := func(m mutant, got fate, how string) {
		t.Logf("%s: %s%s", m, got, how)
		if got == survived {
			rest = append(rest, m)
		} else {
			count[got]++
		}
	}
	for _, file := range judged {
		var some, alone []mutant
		original := ""
		for _, m := range allMutants(t, file) {
			if m.state != "" || !chosen.MatchString(m.String()) {
				continue // those of the tables of states: TestMutantsOfStates
			}
			if excused[m.known()] != "" || excused[m.knownThere()] != "" {
				count[forgiven]++
				continue
			}
			if original == "" {
				original = code(t, mutated(t, file, nil))
			}
			if _, possible := either(m.over, m.was, []int{1}, []string{m.is}); !possible || len(firstTests[rowsOf(m)].rows) == 0 {
				alone = append(alone, m)
				continue
			}
			if len(some) > 0 && rowsOf(some[0]) != rowsOf(m) {
				inOneObject(t, some, original, tell)
				some = nil
			}
			if some = append(some, m); len(some) == together {
				inOneObject(t, some, original, tell)
				some = nil
			}
		}
		inOneObject(t, some, original, tell)
		for _, m := range alone {
			inOneObject(t, []mutant{m}, original, tell)
		}
	}
	if os.Getenv(quickVar) == "" {
		alive := unnoticed(t, rest)
		count[late] = len(rest) - len(alive)
		rest = alive
	}
	count[survived] = len(rest)
	for _, m := range rest {
		t.Errorf("no row notices %s", m)
	}
	t.Log(count)
}

func allMutants(t *testing.T, file string) []mutant {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return mutants(file, text)
}

// unnoticed are those of the mutants that survive all rows. The rows take minutes, so they judge all mutants together, and
// halves of them where they fail.
func unnoticed(t *testing.T, alive []mutant) []mutant {
	t.Helper()
	if len(alive) == 0 {
		return nil
	}
	var now, later []mutant
	changed := map[string]map[int]string{}
	for _, m := range alive {
		if changed[m.file] == nil {
			changed[m.file] = map[int]string{}
		}
		if _, twice := changed[m.file][m.line]; twice || sourceOf(m.file) != sourceOf(alive[0].file) {
			later = append(later, m)
			continue
		}
		changed[m.file][m.line] = m.is
		now = append(now, m)
	}
	object := mutatedAll(t, sourceOf(alive[0].file), changed)
	got, how := noC, ""
	if object != "" {
		got, how = judgeBy(t, object, "-test.skip="+slowRows)
	}
	t.Logf("%d together: %s%s", len(now), got, how)
	switch {
	case got == survived:
		return append(now, unnoticed(t, later)...)
	case len(now) == 1:
		return unnoticed(t, later)
	}
	half := len(now) / 2
	return append(append(unnoticed(t, now[:half]), unnoticed(t, now[half:])...), unnoticed(t, later)...)
}

// excuses are what testdata has reasons for, "what # why" on a line, by what it is. Of mutants.txt mutants that do the same as the original, or
// what chance hides: "file: line before / line => line", or of one function "file function: ".
func excuses(t *testing.T, file string) map[string]string {
	t.Helper()
	path := filepath.Join("testdata", file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if what, why, found := strings.Cut(line, " # "); found && why != "" {
			all[what] = why
		} else if line != "" {
			t.Errorf("%s: %q says no reason behind #", path, line)
		}
	}
	return all
}

func (m mutant) try(t *testing.T, original string) (fate, string) {
	t.Helper()
	object := mutated(t, m.file, map[int]string{m.line: m.is})
	if object == "" {
		return noC, ""
	}
	defer os.RemoveAll(filepath.Dir(object))
	if code(t, object) == original {
		return same, ""
	}
	for _, rows := range firstRows[m.file] {
		if got, how := judgeBy(t, object, "-test.run="+rows, "-test.skip="+slowRows); got != survived {
			return got, how
		}
	}
	return survived, ""
}

// code is the instructions of an object, without the lines that they come from.
func code(t *testing.T, object string) string {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpec(object)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Builder{}
	for _, name := range slices.Sorted(maps.Keys(spec.Programs)) {
		for _, i := range spec.Programs[name].Instructions {
			fmt.Fprintf(&all, "%s %d %d %d %d %d %s\n", name, i.OpCode, i.Dst, i.Src, i.Offset, i.Constant, i.Reference())
		}
	}
	return all.String()
}

// mutated is the object, in a folder of its own, of the C with some lines of a file changed, or "" if that is no C.
func mutated(t *testing.T, file string, lines map[int]string) (object string) {
	t.Helper()
	return mutatedAll(t, sourceOf(file), map[string]map[int]string{file: lines})
}

// mutatedAll is the same of several files.
func mutatedAll(t *testing.T, source string, files map[string]map[int]string) (object string) {
	t.Helper()
	return compiled(t, source, func(file, text string) string {
		all := strings.Split(text, "\n")
		for n, line := range files[file] {
			all[n-1] = line
		}
		return strings.Join(all, "\n")
	})
}

// compiled is the object, in a folder of its own, of the C whose files are changed, or "" if that is no C.
func compiled(t *testing.T, source string, change func(file, text string) string) (object string) {
	t.Helper()
	dir := t.TempDir()
	for _, pattern := range []string{"*.h", "*.c", "headers/*"} {
		sources, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range sources {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, file)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(change(file, string(text))), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	object = filepath.Join(dir, objectName(source))
	clang := exec.CommandContext(t.Context(), "clang-19", "-target", "bpfel", "-g", "-O2", "-mcpu=v3", "-Wno-everything", "-nostdinc", "-c", source, "-o", object)
	clang.Dir = dir
	if _, err := clang.CombinedOutput(); err != nil {
		return ""
	}
	return object
}

// firstRows are those most likely to notice a mistake in a header, a few and then more; the others come after them.
var firstRows = map[string][]string{
	"schedule.h": {"Picks/^w?rr-(w321|w012|w7532|dynamic|editphase|thresholds)|Behind|Heaviest|Weighted", "Picks|ManyMembers"},
	"least.h":    {"Picks/^(w?lc|sed|nq|fo|ovf)-(w321|w012|w10_5_3|thresholds)|ActiveConn|Twos|Overload|LeastIs|NeverQueue", "Picks|ManyMembers"},
	"hash.h":     {"Picks/^(sh|dh|mh)-(w321|w012)", "Picks|Hash"},
	"lblc.h":     {"Picks/^lblc|Remember|Less", "Picks"},
	"states.h":   {"States"}, "csum.h": {"Checksum|EveryWord|Masq|Tunnel|Answers", "Errors"}, "crc32c.h": {"SCTP|Masq"}, "conn.h": {"Live|Reuse|Table|Template", "States"},
	"pool.h": {"Picks/^w?rr-(w321|w012)|Behind|Heaviest|Weighted", "Picks"}, "service.h": {"Counters|Frame"},
	"open.h": {"Template|Region|Client|Reuse|Thresholds", "RefusedSYN|IsGone"}, "sweep.h": {"Sweep|Forget|Chains|Template"}, "nat.h": {"Masq|Reply"},
	"find.h": {"Class|Order|Mark|Template|Scheduled"}, "pace.h": {"Sloppy|Drop|Flood|Rate"}, "defend.h": {"Dispens"}, "fast.h": {"Forward|Masq|Tunnel|Live|Roads|Timer|LengthThatHolds"},
	"reply.h": {"Reply|Fragments", "MasqueradedSCTP"}, "reply6.h": {"IPv6|Masq|Fragments"}, "told.h": {"Tunnel|Errors|Told"}, "mss.h": {"Largest|Proxy"}, "fullnat.h": {"FullNAT|LocalEnd|Proxy"},
	"decap.bpf.c": {"Decapsulator"}, "path.bpf.c": {"OfACheck"}, "socket.bpf.c": {"^TestOwn"}, "full6.h": {"NAT6|Frame6|Shared6|Proxy"}, "proxy.h": {"Proxy"},
	"direct.h": {"Forward|Checksum|TooBig|TooFar", "Tunnel|Masq"}, "tunnel.h": {"Tunnel|GUE", "Masq"}, "icmp.h": {"NobodyAnswers|Answers|TooBig|TooFar|RoomThatIsLeft"}, "related.h": {"Errors|NoRoom|Before"}, "related6.h": {"Errors|NoRoom|Before"},
	"fragment.h": {"Fragment"}, "ipv6.h": {"IPv6"}, "vlan.h": {"VLAN|Tagged"}, "sip.h": {"Call|Message|Lines"}, "learn.h": {"Learn|Told|LocalEnd"},
}

// slowRows keep time, or look at what no mutant touches.
const slowRows = "^(TestMutants|TestManyCPUs|TestEveryCPUAtFullSpeed|TestModelAgreesWhateverTheCPUsDo|TestWipedMapsAreLikeNewOnes)$"

func judgeBy(t *testing.T, object string, which ...string) (fate, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], append(which, "-test.failfast", "-test.v")...)
	child.Env = append(os.Environ(), objectVar+"="+object)
	out, err := child.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return survived, ""
	case ctx.Err() != nil:
		return hung, ""
	case !errors.As(err, &exit):
		t.Fatal(err)
	case bytes.Contains(out, []byte("load: ")):
		return refused, ""
	}
	if at := bytes.Index(out, []byte("--- FAIL: ")); at >= 0 {
		line, _, _ := bytes.Cut(out[at:], []byte("\n"))
		return killed, ": " + string(bytes.TrimPrefix(line, []byte("--- FAIL: ")))
	}
	return killed, ""
}
