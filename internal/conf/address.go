package conf

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"vipd/internal/vrrp"
)

// scopes are the names of ip-address(8)'s scopes; a number is one too.
var scopes = map[string]bool{"global": true, "site": true, "link": true, "host": true, "nowhere": true}

// vip reads one address line: ADDR[/LEN], then words. It gives false when keepalived drops the address.
func (l *loader) vip(s *stmt) (vrrp.Address, bool) {
	var a vrrp.Address
	if s.kind == Open {
		return a, false
	}
	prefix, ok := l.prefix(s)
	if !ok {
		return a, false
	}
	a.Prefix = prefix
	for i := 1; i < len(s.words); i++ {
		word := s.text(i)
		takes, known := addressWords[word]
		switch {
		case !known:
			d := l.warn(s.words[i], "bad-value", "Unknown configuration entry '"+word+"' for ip address - ignoring")
			d.Expected = "dev IF, label LABEL, scope SCOPE, brd ADDR and the like"
			if _, isAddr := address(word); isAddr {
				d.Hint = "one address per line"
			}
			continue
		case takes && i+1 >= len(s.words):
			l.warn(s.words[i], "bad-value", fmt.Sprintf("No %s parameter specified for %s", word, s.text(0)))
			continue
		case takes:
			i++
		}
		if !l.addressWord(s, i, word, &a) {
			return a, false
		}
	}
	return a, true
}

// addressWords are the words of an address line, and whether a value follows.
var addressWords = map[string]bool{"dev": true, "scope": true, "brd": true, "broadcast": true, "label": true, "peer": true,
	"preferred_lft": true, "track_group": true, "home": false, "-nodad": false, "mngtmpaddr": false,
	"noprefixroute": false, "autojoin": false, "no_track": false, "use_vmac": false}

// prefix reads ADDR[/LEN]. keepalived: the length is /32 or /128 if none is given.
func (l *loader) prefix(s *stmt) (netip.Prefix, bool) {
	text := s.text(0)
	host, bits, slash := strings.Cut(text, "/")
	addr, ok := address(host)
	if !ok {
		d := l.warn(s.words[0], "bad-address", "VRRP parsed invalid IP "+text+". skipping IP...")
		d.Expected = "ADDR[/LEN], IPv4 or IPv6, no names"
		return netip.Prefix{}, false
	}
	n := addr.BitLen()
	if slash && bits != "" {
		v, err := strconv.ParseUint(bits, 10, 16)
		switch {
		case err != nil:
			d := l.warn(s.words[0], "bad-value", "invalid number '"+bits+"'")
			d.More = []string{fmt.Sprintf("Invalid address prefix len %s for address %s - using %d", bits, text, n)}
		case int(v) > n:
			d := l.warn(s.words[0], "bad-value", fmt.Sprintf("number '%s' outside range [0, %d]", bits, n))
			d.More = []string{fmt.Sprintf("Invalid address prefix len %s for address %s - using %d", bits, text, n)}
		default:
			n = int(v)
		}
	}
	return netip.PrefixFrom(addr, n), true
}

// addressWord applies one word of an address line; its value, if it takes one, is word i.
func (l *loader) addressWord(s *stmt, i int, word string, a *vrrp.Address) bool {
	v := s.text(i)
	switch word {
	case "dev":
		a.Dev = v
	case "label":
		if len(v) > 15 {
			l.warn(s.words[i], "bad-value", "Address label "+v+" is longer than maximum length 15 - removing address")
			return false
		}
		a.Label = v
	case "scope":
		if _, err := strconv.ParseUint(v, 0, 8); err != nil && !scopes[v] {
			l.warn(s.words[i], "bad-value", fmt.Sprintf("Invalid scope '%s' specified for %s - ignoring", v, s.text(0)))
			return true
		}
		a.Scope = v
	case "brd", "broadcast":
		return l.broadcast(s, i, a)
	default:
		l.warn(s.words[min(i, len(s.words)-1)], "not-yet", word+" of an address is accepted without effect in this version")
	}
	return true
}

// broadcast reads the value of brd: an address, + for the one of the prefix, - for none.
func (l *loader) broadcast(s *stmt, i int, a *vrrp.Address) bool {
	v := s.text(i)
	addr, ok := address(v)
	switch {
	case v == "-":
		a.Brd = netip.Addr{}
	case v == "+" && a.Prefix.Addr().Is4():
		b := a.Prefix.Addr().As4()
		for bit := a.Prefix.Bits(); bit < 32; bit++ {
			b[bit/8] |= 0x80 >> (bit % 8)
		}
		a.Brd = netip.AddrFrom4(b)
	case ok && addr.Is4() && a.Prefix.Addr().Is4():
		a.Brd = addr
	default:
		l.warn(s.words[i], "bad-address", "VRRP is trying to assign invalid broadcast "+v+". skipping VIP...")
		return false
	}
	return true
}
