package probe

import (
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2"

	"vipd/internal/health"
)

// expression is a compiled regex of a page.
//
// keepalived: PCRE2. What is used here goes back and looks around as that does; its time is bounded, so that no page can
// hold a check.
type expression struct {
	re       *regexp2.Regexp
	min, max int
	anchored bool
}

const regexTime = time.Second

// regexFlags are keepalived's regex_options. Those that are not here change nothing for a page that is UTF-8 or ASCII, or
// nothing at all for whether there is a match.
var regexFlags = map[string]regexp2.RegexOptions{
	"caseless":  regexp2.IgnoreCase,
	"multiline": regexp2.Multiline,
	"dotall":    regexp2.Singleline,
	"extended":  regexp2.IgnorePatternWhitespace,
}

// expressions keeps what is compiled: there are few, and checks come by the thousand.
var expressions sync.Map

// compile gives nil where the page has no regex.
func compile(u *health.URL) (*expression, error) {
	if u.Regex == "" {
		return nil, nil
	}
	key := fmt.Sprintf("%q %q %d %d", u.Regex, u.RegexOptions, u.RegexMin, u.RegexMax)
	if e, ok := expressions.Load(key); ok {
		return e.(*expression), nil
	}
	e := &expression{min: u.RegexMin, max: u.RegexMax}
	flags := regexp2.None
	for _, o := range u.RegexOptions {
		flags |= regexFlags[o]
		e.anchored = e.anchored || o == "anchored"
	}
	re, err := regexp2.Compile(u.Regex, flags)
	if err != nil {
		return nil, err
	}
	re.MatchTimeout = regexTime
	e.re = re
	expressions.Store(key, e)
	return e, nil
}

// in looks for a match that begins within the offsets, in bytes.
func (e *expression) in(text []byte) (bool, error) {
	if e.min > len(text) {
		return false, nil
	}
	runes := make([]rune, 0, len(text))
	if e.min == 0 && e.max == 0 && utf8.Valid(text) {
		runes = append(runes, []rune(string(text))...)
	} else { // offsets are of bytes
		for _, b := range text {
			runes = append(runes, rune(b))
		}
	}
	m, err := e.re.FindRunesMatchStartingAt(runes, e.min)
	if err != nil || m == nil {
		return false, err
	}
	return (e.max == 0 || m.Index < e.max) && (!e.anchored || m.Index == e.min), nil
}
