package bpf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// Many mutants in one object, of which a variable says which one is alive: then a mutant costs its rows alone, and neither a
// run of clang nor the verifier.

const (
	manyVar     = "VIPD_MUTANTS" // for a child: how many mutants the object has, by what file
	aliveMap    = "mutant"       // the variable's section, without .data
	aliveSource = "volatile unsigned int mutant __attribute__((section(\".data." + aliveMap + "\"), used)) = 0;\n"
	together    = 16 // mutants of one object: each makes the verifier's way longer
)

// alive is the variable of every object that this process has loaded. If nil, objects have none.
var alive *ebpf.Map

// firstTests are the rows that are most likely to notice a mistake in a header, and traces the ones to begin with.
var firstTests = map[string]struct {
	traces string
	rows   map[string]func(*testing.T)
}{
	"schedule.h": {traces: "^(rr|wrr|switch)-", rows: map[string]func(*testing.T){"phase": TestWeightedPhaseAfterAllWereOverloaded, "none": TestWeightedPicksNobodyWithoutWeights, "behind": TestWhatStandsBehindThePoolIsNotPicked,
		"heaviest": TestHeaviestIsOfThePool, "many": TestManyMembers}},
	"least.h": {traces: "^(lc|wlc|sed|nq|fo|ovf)-", rows: map[string]func(*testing.T){"256": TestActiveConnectionCountsMoreThan256Inactive, "behind": TestTheLeastIsOfThePool,
		"many": TestManyMembers}},
	"twos":   {rows: map[string]func(*testing.T){"twos": TestTwosIsTheBetterOfTwoThatAreDrawn, "many": TestTwosOfMany}},
	"hash.h": {traces: "^(sh|dh|mh)-"},
	"lblc.h": {traces: "^lblc", rows: map[string]func(*testing.T){"remembered": TestADestinationIsRememberedWhateverCameBetween}},
}

var (
	condition   = regexp.MustCompile(`^(\t+(?:\} else )?if \()(.*)(\)(?: \{)?)$`)
	returning   = regexp.MustCompile(`^(\t+return )(.*)(;)$`)
	loop        = regexp.MustCompile(`^(\t+for \([^;]*; )([^;]*)(; [^;]*\)(?: \{)?)$`)
	declaration = regexp.MustCompile(`^\t+(?:const )?(?:struct \w+|enum \w+|__\w+|int) \*?\w+ = `)
	statement   = regexp.MustCompile(`^\t+[^{}]*;$`)
)

// rowsOf is the key of firstTests for a mutant.
func rowsOf(m mutant) string {
	if m.file == "least.h" && m.line > twosLine {
		return "twos"
	}
	return m.file
}

// twosLine is where twos begins in least.h.
const twosLine = 97

// either is the line as it was or, when the variable has its number, one of the mutants.
func either(over, was string, numbers []int, is []string) (string, bool) {
	was, _, _ = strings.Cut(was, "/*")
	was = strings.TrimRight(was, " \t")
	for _, shape := range []*regexp.Regexp{condition, returning, loop} {
		w := shape.FindStringSubmatch(was)
		if w == nil {
			continue
		}
		choice := "(" + w[2] + ")"
		for i, line := range is {
			m := shape.FindStringSubmatch(line)
			if m == nil || m[1] != w[1] || m[3] != w[3] {
				return "", false
			}
			choice = fmt.Sprintf("(mutant == %d ? (%s) : %s)", numbers[i], m[2], choice)
		}
		return w[1] + choice + w[3], true
	}
	if declaration.MatchString(was) {
		return eitherOf(was, numbers, is)
	}
	before := strings.TrimSpace(over)
	if !statement.MatchString(was) || before != "" && !strings.HasSuffix(before, "*/") && !strings.ContainsAny(before[len(before)-1:], ";{}):") && !strings.HasSuffix(before, "else") {
		return "", false
	}
	choice := "{ " + was + " }"
	for i, line := range is {
		choice = fmt.Sprintf("if (mutant == %d) { %s } else %s", numbers[i], line, choice)
	}
	return "{ " + choice + " }", true
}

// eitherOf is either of a declaration.
func eitherOf(was string, numbers []int, is []string) (string, bool) {
	parts := atCommas(strings.TrimSuffix(was, ";"))
	for i, line := range is {
		changed := atCommas(strings.TrimSuffix(line, ";"))
		if len(changed) != len(parts) {
			return "", false
		}
		first := atCommas(strings.TrimSuffix(was, ";"))
		for at := range changed {
			if changed[at] == first[at] {
				continue
			}
			name, value, _ := strings.Cut(parts[at], " = ")
			_, other, found := strings.Cut(changed[at], " = ")
			if !found || strings.HasPrefix(value, "{") {
				return "", false
			}
			parts[at] = fmt.Sprintf("%s = (mutant == %d ? (%s) : (%s))", name, numbers[i], other, value)
		}
	}
	return strings.Join(parts, ",") + ";", true
}

// atCommas splits at the commas that stand in no parentheses.
func atCommas(s string) (parts []string) {
	depth, from := 0, 0
	for i, c := range s {
		switch c {
		case '(', '{', '[':
			depth++
		case ')', '}', ']':
			depth--
		case ',':
			if depth == 0 {
				parts, from = append(parts, s[from:i]), i+1
			}
		}
	}
	return append(parts, s[from:])
}

// combined is the object of all these mutants, by their number from 1, or "".
func combined(t *testing.T, ms []mutant) string {
	t.Helper()
	changed := map[string]map[int]string{"lb.bpf.c": {1: aliveSource + firstLine(t, "lb.bpf.c")}}
	numbers, is := map[int][]int{}, map[int][]string{}
	for n, m := range ms {
		numbers[m.line], is[m.line] = append(numbers[m.line], n+1), append(is[m.line], m.is)
		line, possible := either(m.over, m.was, numbers[m.line], is[m.line])
		if !possible {
			return ""
		}
		if changed[m.file] == nil {
			changed[m.file] = map[int]string{}
		}
		changed[m.file][m.line] = line
	}
	return mutatedAll(t, "lb.bpf.c", changed)
}

func firstLine(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// inOneObject tells what became of mutants of one file, in one object if that can be made and loaded, else in halves.
func inOneObject(t *testing.T, ms []mutant, original string, tell func(m mutant, got fate, how string)) {
	t.Helper()
	if len(ms) == 0 {
		return
	}
	if len(ms) == 1 {
		got, how := ms[0].try(t, original)
		tell(ms[0], got, how)
		return
	}
	if object := combined(t, ms); object != "" {
		verdicts := rowsOfMany(t, object, ms)
		os.RemoveAll(filepath.Dir(object))
		if len(verdicts) > 0 {
			var rest []mutant
			for n, m := range ms {
				if how, judged := verdicts[n+1]; !judged {
					rest = append(rest, m) // the rows of one before it did not end
				} else if how == "" {
					tell(m, survived, "")
				} else {
					tell(m, killed, ": "+how)
				}
			}
			inOneObject(t, rest, original, tell)
			return
		}
	}
	inOneObject(t, ms[:len(ms)/2], original, tell)
	inOneObject(t, ms[len(ms)/2:], original, tell)
}

var verdict = regexp.MustCompile(`--- (PASS|FAIL): TestRowsOfManyMutants/(\d+)(/\S*)? \(`)

// rowsOfMany has a child look at each mutant in the object. It tells the row that fails, "" if none; nothing of those that it did not
// come to.
func rowsOfMany(t *testing.T, object string, ms []mutant) map[int]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestRowsOfManyMutants$", "-test.v", "-test.timeout=30m")
	child.Env = append(os.Environ(), objectVar+"="+object, fmt.Sprintf("%s=%d %s", manyVar, len(ms), rowsOf(ms[0])))
	out, err := child.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	verdicts := map[int]string{}
	if bytes.Contains(out, []byte("load: ")) {
		return verdicts
	}
	for line := range strings.Lines(string(out)) {
		if v := verdict.FindStringSubmatch(line); v != nil {
			n, _ := strconv.Atoi(v[2])
			if _, known := verdicts[n]; v[1] == "FAIL" {
				verdicts[n] = v[3] // the deepest comes last
				if v[3] == "" {
					verdicts[n] = "a row"
				}
			} else if v[3] == "" && !known {
				verdicts[n] = ""
			}
		}
	}
	return verdicts
}

// TestRowsOfManyMutants is what such a child does.
func TestRowsOfManyMutants(t *testing.T) {
	what := os.Getenv(manyVar)
	if what == "" {
		t.Skip("run by TestMutants")
	}
	count, file := 0, ""
	if _, err := fmt.Sscan(what, &count, &file); err != nil {
		t.Fatal(err)
	}
	spec, err := loadSpec()
	if err != nil {
		t.Fatal(err)
	}
	if alive, err = ebpf.NewMap(spec.Maps[aliveMap]); err != nil {
		t.Fatal(err)
	}
	first := firstTests[file]
	for n := range count + 1 { // 0: the original, which all rows must take
		if err := alive.Put(uint32(0), uint32(n)); err != nil {
			t.Fatal(err)
		}
		passed := t.Run(strconv.Itoa(n), func(t *testing.T) {
			for name, row := range first.rows {
				if !t.Run(name, row) {
					return
				}
			}
			if first.traces != "" {
				playTraces(t, regexp.MustCompile(first.traces), true)
			}
		})
		if n == 0 && !passed {
			t.Fatal("the original fails: load: nothing can be said of its mutants")
		}
	}
}
