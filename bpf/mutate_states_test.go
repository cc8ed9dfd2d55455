package bpf

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	tableOfStates = regexp.MustCompile(`^\t\[STATES_(\w+) \+ (\w+)\] = \{$`)
	rowOfStates   = regexp.MustCompile(`^(\t\t\[(?:EVENT|SCTP)_(\w+)\] = \{)(.*)(\},)$`)
)

// cells are mutants of a row of a table of states: each state in turn becomes another one.
func cells(m mutant, row []string) (all []mutant) {
	states := strings.Split(row[3], ",")
	for i := range states {
		other := slices.Clone(states)
		other[i] = otherState(states[i])
		m.is, m.state, m.cell = row[1]+strings.Join(other, ",")+row[4], fmt.Sprint(i), row[2]
		all = append(all, m)
	}
	return all
}

func otherState(s string) string {
	if strings.TrimSpace(s) == "1" {
		return " 4"
	}
	return " 1"
}

// TestMutantsOfStates changes every cell of the tables of states, all in one object, and wants each to fail in the row that walks through
// that cell: a row begins in a state, hears one event and reads one cell.
func TestMutantsOfStates(t *testing.T) {
	if which := os.Getenv(mutateVar); which == "" || !regexp.MustCompile(which).MatchString("states.h:") {
		t.Skip("a mutant takes seconds: VIPD_MUTATE is not set")
	}
	text, err := os.ReadFile("states.h")
	if err != nil {
		t.Fatal(err)
	}
	wrong, excused := wrongStates(t, string(text)), excuses(t, "mutants.txt")
	table, n := "", 0
	lines := strings.Split(string(text), "\n")
	for _, m := range mutants("states.h", text) {
		for at := m.line - 1; at >= 0; at-- {
			if found := tableOfStates.FindStringSubmatch(lines[at]); found != nil {
				table = map[string]string{"TCP": "", "SECURE": "secure_", "SCTP": "sctp_"}[found[1]] + strings.ToLower(found[2])
				break
			}
		}
		if m.state == "" || excused[m.known()] != "" {
			continue
		}
		if n++; !wrong[rowName(t, table, m)] {
			t.Errorf("no row notices %s (%s)", m, rowName(t, table, m))
		}
	}
	t.Logf("%d cells changed", n)
}

// rowName is the name of the subtest of TestTCPStates that reads the cell.
func rowName(t *testing.T, table string, m mutant) string {
	t.Helper()
	names, event := stateNames, m.cell
	if strings.HasPrefix(table, "sctp") {
		names = sctpStateNames
	} else if event == "NONE" {
		event = "none"
	}
	var i int
	if _, err := fmt.Sscan(m.state, &i); err != nil {
		t.Fatal(err)
	}
	return table + "_" + names[i] + "_" + event
}

// wrongStates are the rows that find another state than they want when every cell is another one.
func wrongStates(t *testing.T, text string) map[string]bool {
	t.Helper()
	changed := map[int]string{}
	for n, line := range strings.Split(text, "\n") {
		if row := rowOfStates.FindStringSubmatch(line); row != nil {
			states := strings.Split(row[3], ",")
			for i := range states {
				states[i] = otherState(states[i])
			}
			changed[n+1] = row[1] + strings.Join(states, ",") + row[4]
		}
	}
	object := mutated(t, "states.h", changed)
	if object == "" {
		t.Fatal("the changed tables do not compile")
	}
	defer os.RemoveAll(filepath.Dir(object))
	rows := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTCPStates$", "-test.v")
	rows.Env = append(os.Environ(), objectVar+"="+object)
	out, err := rows.CombinedOutput()
	if err == nil {
		t.Fatal("no row fails")
	}
	wrong, row := map[string]bool{}, ""
	for line := range strings.Lines(string(out)) {
		if name, found := strings.CutPrefix(line, "=== RUN   TestTCPStates/"); found {
			row = name[:strings.LastIndexByte(name, '_')]
		} else if strings.Contains(line, ": now ") {
			wrong[row] = true
		}
	}
	return wrong
}
