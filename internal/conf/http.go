package conf

import (
	"strconv"
	"strings"
)

func beginURL(l *loader, _ *stmt) { l.url, l.pathSet = &URL{}, false }

func endURL(l *loader) {
	u := l.url
	l.url = nil
	if u.Path == "" && (l.pass == passAll || !l.pathSet) {
		l.warn(l.at.arg(0), "no-path", "HTTP/SSL_GET checker url has no path - ignoring").Expected = "path /SOMETHING in the block"
		return
	}
	if len(u.Codes) == 0 {
		u.Codes = [][2]int{{200, 299}}
	}
	l.ck.HTTP.URLs = append(l.ck.HTTP.URLs, *u)
}

func endHTTP(l *loader) {
	c := l.ck
	if len(c.HTTP.URLs) == 0 {
		l.warn(l.at.arg(0), "no-url", "HTTP/SSL_GET checker has no urls specified - ignoring").Expected = "url { path /SOMETHING } in the block"
		c.gone = true
		l.keepCheck()
		return
	}
	endConnecting(l)
}

func setDigest(l *loader, s *stmt) {
	d := s.text(1)
	switch {
	case l.url.Digest != "":
		l.bad(s, 1, "Digest '%s' is a duplicate", d)
		return
	case len(d) != 32:
		l.bad(s, 1, "digest '%s' character length should be 32 rather than %d", d, len(d)).Hint = "genhash prints it"
		return
	}
	for i := 30; i >= 0; i -= 2 {
		if hexDigit(d[i]) > 15 || hexDigit(d[i+1]) > 15 {
			l.bad(s, 1, "Unable to interpret hex digit in '%s' at offset %d/%d", d[:i+2], i, i+1)
			return
		}
	}
	l.url.Digest = d
}

func setCodes(l *loader, s *stmt) {
	for i := 1; i < len(s.words); i++ {
		w := s.text(i)
		_, lo, rest, _ := cutNumber(w, false)
		hi := lo
		if strings.HasPrefix(rest, "-") {
			_, hi, rest, _ = cutNumber(rest[1:], false)
		}
		if rest != "" || lo < 100 || lo > 599 || hi < 100 || hi > 599 || lo > hi {
			l.bad(s, i, "Invalid HTTP_GET status code '%s'", w).Expected = "100..599, or a range A-B"
			continue
		}
		l.url.Codes = append(l.url.Codes, [2]int{int(lo), int(hi)})
	}
}

func setHTTPProtocol(l *loader, s *stmt) {
	switch w := s.text(1); {
	case w == "1.0", w == "1.1", w == "1.0C", w == "2" && l.pass == passAll:
		l.ck.HTTP.Protocol = w
	case w == "1.0c":
		l.ck.HTTP.Protocol = "1.0C"
	default:
		l.badValue(s, 1, "", "Invalid http_protocol version {value}").Expected = "1.0, 1.0C, 1.1 or 2"
	}
}

func setRegex(l *loader, s *stmt) {
	if len(s.shell) != 2 {
		l.own(s.words[0], "bad-value", "regex missing or too many fields")
		return
	}
	l.url.Regex = s.shell[1]
}

func setRegexOptions(l *loader, s *stmt) {
	for i := 1; i < len(s.words); i++ {
		l.url.RegexOptions = append(l.url.RegexOptions, s.text(i))
	}
}

// setOffset reads where a match may begin.
func setOffset(put func(u *URL, n int)) setter {
	return func(l *loader, s *stmt) {
		n, err := strconv.Atoi(s.text(1))
		if err != nil || n < 0 || len(s.words) != 2 {
			l.own(s.words[0], "bad-value", "Invalid "+s.text(0)+" "+s.text(1)+" specified").Expected = "a number"
			return
		}
		put(l.url, n)
	}
}

func setRegexStack(l *loader, s *stmt) {
	lo, err := strconv.Atoi(s.text(1))
	hi, err2 := strconv.Atoi(s.text(2))
	if err != nil || err2 != nil || lo > hi || len(s.words) != 3 {
		l.own(s.words[0], "bad-value", "regex_stack requires start and max values").Expected = "START MAX"
		return
	}
	l.url.RegexStack = [2]int{lo, hi}
}
