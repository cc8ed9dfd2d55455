package cli

import (
	"fmt"
	"strings"
)

// diffContext is the number of equal lines around a change.
const diffContext = 3

// maxDiffWork bounds the table of the comparison; beyond it everything that differs is one change.
const maxDiffWork = 20_000_000

// edit is one line of a comparison: ' ' in both, '-' in the old, '+' in the new.
type edit struct {
	op   byte
	line string
}

// unifiedDiff gives the changes from old to new as diff -u prints them.
func unifiedDiff(name, old, new string) string {
	edits := compareLines(splitLines(old), splitLines(new))
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s\n+++ %s (formatted)\n", name, name)
	for i := 0; i < len(edits); {
		for i < len(edits) && edits[i].op == ' ' {
			i++
		}
		if i == len(edits) {
			break
		}
		start := max(0, i-diffContext)
		end := hunkEnd(edits, i)
		writeHunk(&b, edits, start, end)
		i = end
	}
	return b.String()
}

// hunkEnd finds where the equal lines after a change are more than two contexts.
func hunkEnd(edits []edit, i int) int {
	last := i
	for k := i; k < len(edits) && k-last <= 2*diffContext; k++ {
		if edits[k].op != ' ' {
			last = k
		}
	}
	return min(len(edits), last+1+diffContext)
}

func writeHunk(b *strings.Builder, edits []edit, start, end int) {
	count := func(from, to int, op byte) (n int) {
		for _, e := range edits[from:to] {
			if e.op == ' ' || e.op == op {
				n++
			}
		}
		return n
	}
	fmt.Fprintf(b, "@@ -%d,%d +%d,%d @@\n", count(0, start, '-')+1, count(start, end, '-'), count(0, start, '+')+1, count(start, end, '+'))
	for _, e := range edits[start:end] {
		b.WriteByte(e.op)
		b.WriteString(e.line)
		if !strings.HasSuffix(e.line, "\n") {
			b.WriteString("\n\\ No newline at end of file\n")
		}
	}
}

func splitLines(s string) []string {
	lines := strings.SplitAfter(s, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// compareLines finds a shortest way from x to y by the longest common subsequence.
func compareLines(x, y []string) []edit {
	var head, tail []edit
	for len(x) > 0 && len(y) > 0 && x[0] == y[0] {
		head = append(head, edit{' ', x[0]})
		x, y = x[1:], y[1:]
	}
	for len(x) > 0 && len(y) > 0 && x[len(x)-1] == y[len(y)-1] {
		tail = append(tail, edit{' ', x[len(x)-1]})
		x, y = x[:len(x)-1], y[:len(y)-1]
	}
	head = append(head, middle(x, y)...)
	for i := len(tail) - 1; i >= 0; i-- {
		head = append(head, tail[i])
	}
	return head
}

func middle(x, y []string) []edit {
	var out []edit
	i, j := 0, 0
	if len(x)*len(y) <= maxDiffWork {
		rest := make([][]int32, len(x)+1) // rest[i][j]: common lines of x[i:] and y[j:]
		for i := range rest {
			rest[i] = make([]int32, len(y)+1)
		}
		for i := len(x) - 1; i >= 0; i-- {
			for j := len(y) - 1; j >= 0; j-- {
				if rest[i][j] = max(rest[i+1][j], rest[i][j+1]); x[i] == y[j] {
					rest[i][j] = rest[i+1][j+1] + 1
				}
			}
		}
		for i < len(x) && j < len(y) {
			switch {
			case x[i] == y[j]:
				out = append(out, edit{' ', x[i]})
				i, j = i+1, j+1
			case rest[i+1][j] >= rest[i][j+1]:
				out = append(out, edit{'-', x[i]})
				i++
			default:
				out = append(out, edit{'+', y[j]})
				j++
			}
		}
	}
	for ; i < len(x); i++ {
		out = append(out, edit{'-', x[i]})
	}
	for ; j < len(y); j++ {
		out = append(out, edit{'+', y[j]})
	}
	return out
}
