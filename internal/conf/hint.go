package conf

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// places tells in which blocks a keyword may stand.
var places = sync.OnceValue(func() map[string][]string {
	m := map[string][]string{}
	for _, b := range blocks() {
		for _, k := range b.rows {
			m[k.Name] = append(m[k.Name], b.title())
		}
	}
	return m
})

// title names a block for a person.
func (b *block) title() string {
	if b.name == "" {
		return "at the outer level"
	}
	return "in " + b.name
}

// fieldWords are words that stand in real files but never were, or no longer are, keywords.
var fieldWords = map[string]string{
	"lvs_id":         "it is called router_id since keepalived 1.2",
	"nat_mask":       "it has gone from keepalived long ago; remove the line",
	"net_mask":       "it has gone from keepalived long ago; remove the line",
	"notify_primary": "the name is notify_master",
	"garp_interval":  "it is vrrp_garp_interval in global_defs, or garp_interval in a garp_group",
}

// hint says what an unknown keyword may have been meant to be.
func hint(b *block, name string) string {
	if h, ok := fieldWords[name]; ok {
		return h
	}
	if strings.HasPrefix(name, "\ufeff") {
		return "the file begins with a byte order mark, which editors of another system write: save it as UTF-8 without one"
	}
	if b.name == "vrrp_sync_group" && len(places()[name]) == 0 && nearest(b, name) == "" {
		return "if it is an instance, write: group { " + name + " }"
	}
	if near := nearest(b, name); near != "" {
		return `did you mean "` + near + `"?`
	}
	if where := places()[name]; len(where) > 0 {
		more := ""
		if len(where) > 4 {
			where, more = where[:3], " and others"
		}
		return `"` + name + `" belongs ` + strings.Join(where, ", ") + more + ", not " + b.title()
	}
	return ""
}

// nearest gives the keyword of a block that is closest to name, if it is close at all.
func nearest(b *block, name string) string {
	n := utf8.RuneCountInString(name)
	if n < 2 || n > 60 {
		return ""
	}
	best, at := "", 1+n/4
	if n < 4 {
		at = 1
	}
	for i := range b.rows {
		k := b.rows[i].Name
		if strings.EqualFold(k, name) {
			return k
		}
		if d := distance(name, k); d < at || d == at && best == "" {
			best, at = k, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, changes and swaps of neighbours that make a into b
// (Damerau-Levenshtein, restricted to one edit per place).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last, now := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		now[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			now[j] = min(last[j]+1, now[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				now[j] = min(now[j], before[j-2]+1)
			}
		}
		before, last, now = last, now, before
	}
	return last[len(y)]
}
