package conf

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// scopes are the names of ip-address(8)'s scopes; a number is one too.
var scopes = map[string]uint8{"global": 0, "nowhere": 255, "host": 254, "link": 253, "site": 200}

func isScope(s string) bool {
	_, named := scopes[s]
	_, err := strconv.ParseUint(s, 0, 8)
	return named || err == nil && s != ""
}

// iface asks for an interface that the file names. One that is not there is noted, unless it may come later.
func (l *loader) iface(name string) (Interface, bool) {
	if l.host == nil || l.host.Interfaces == nil {
		return Interface{}, true
	}
	if i, ok := l.host.Interfaces(name); ok {
		return i, true
	}
	if l.cfg.Global.DynamicInterfaces {
		return Interface{}, true
	}
	l.missingIf = true
	return Interface{}, false
}

// addressLine reads one address line: ADDR[/LEN], then words. It gives false when keepalived drops the address.
func (l *loader) addressLine(s *stmt, static bool) (Address, bool) {
	a := Address{Text: s.text(0)}
	var ok bool
	if a.Prefix, ok = l.prefix(s, 0, true); !ok {
		return a, false
	}
	brd := ""
	for i := 1; i < len(s.words); i++ {
		word := s.text(i)
		takes, known := addressWords[word]
		if word == "track_group" && !static || word == "use_vmac" && static {
			known = false
		}
		if !known {
			d := l.warn(s.words[i], "bad-value", "Unknown configuration entry '"+word+"' for ip address - ignoring")
			d.Expected = "dev IF, label LABEL, scope SCOPE, brd ADDR and the like"
			if _, isAddr := address(word); isAddr {
				d.Hint = "one address per line"
			}
			continue
		}
		if takes && i+1 >= len(s.words) {
			l.warn(s.words[i], "bad-value", fmt.Sprintf("No %s parameter specified for %s", word, s.text(0)))
			return a, false
		}
		if takes {
			i++
		}
		if word == "brd" || word == "broadcast" {
			if !l.broadcast(s, i, &a) {
				return a, false
			}
			brd = s.text(i)
		} else if again, ok := l.addressWord(s, i, word, &a); !ok {
			return a, false
		} else if again {
			i--
		}
	}
	return a, l.finishAddress(s, &a, brd, static)
}

// finishAddress settles what the words together mean.
func (l *loader) finishAddress(s *stmt, a *Address, brd string, static bool) bool {
	bits := a.Prefix.Bits()
	switch {
	case brd != "" && a.Peer.IsValid():
		l.bad(s, 0, "Cannot specify broadcast and peer addresses - ignoring broadcast address")
		a.Brd = netip.Addr{}
	case (brd == "+" || brd == "-") && bits <= 30:
		if brd == "+" {
			a.Brd = lastOf(a.Prefix)
		}
	case brd == "+" || brd == "-":
		l.bad(s, 0, "Address prefix length %d too long for broadcast", bits).Hint = "give the address with its length, such as " + s.text(0) + "/24"
	}
	if static && a.Dev == "" {
		a.Dev = l.cfg.Global.DefaultInterface
		if a.Dev == "" {
			a.Dev = "eth0"
		}
		if _, ok := l.iface(a.Dev); !ok {
			d := l.warn(s.words[0], "no-such-interface", "Static address "+s.text(0)+" requires either an interface or default interface must exist")
			d.class = classFatal
			return false
		}
	}
	if a.Prefix.Addr().Is6() {
		if v, named := scopes[a.Scope]; a.Scope != "" && a.Scope != "0" && (!named || v != 0) {
			l.bad(s, 0, "Cannot specify scope for IPv6 addresses (%s) - ignoring scope", s.text(0))
			a.Scope = ""
		}
		if a.Label != "" {
			l.bad(s, 0, "Cannot specify label for IPv6 addresses (%s) - ignoring label", s.text(0))
			a.Label = ""
		}
	}
	return true
}

// lastOf is the last address of an IPv4 network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(b)
}

// addressWords are the words of an address line, and whether a value follows.
var addressWords = map[string]bool{"dev": true, "scope": true, "brd": true, "broadcast": true, "label": true, "peer": true,
	"preferred_lft": true, "track_group": true, "home": false, "-nodad": false, "mngtmpaddr": false,
	"noprefixroute": false, "autojoin": false, "no_track": false, "use_vmac": false}

// prefix reads ADDR[/LEN] at word i. keepalived: the length is /32 or /128 if none is given.
func (l *loader) prefix(s *stmt, i int, mask bool) (netip.Prefix, bool) {
	text := s.text(i)
	host, bits, slash := text, "", false
	if mask {
		host, bits, slash = strings.Cut(text, "/")
	}
	full := 32
	if strings.Contains(text, ":") {
		full = 128
	}
	n := full
	if slash {
		v, bad := whole(bits, 0, int64(full), false, false)
		if bad != "" {
			l.badValue(s, i, bad, fmt.Sprintf("Invalid address prefix len %s for address %s - using %d", bits, text, full))
		} else {
			n = int(v)
		}
	}
	addr, ok := address(host)
	if !ok || addr.BitLen() != full {
		d := l.warn(s.words[i], "bad-address", "VRRP parsed invalid IP "+text+". skipping IP...")
		d.Expected = "ADDR[/LEN], IPv4 or IPv6, no names"
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(addr, n), true
}

// addressWord applies one word of an address line; its value, if it takes one, is word i. again asks for the value to
// be looked at as a word.
func (l *loader) addressWord(s *stmt, i int, word string, a *Address) (again, ok bool) {
	v := s.text(i)
	switch word {
	case "dev":
		if a.Dev != "" {
			l.bad(s, i, "Cannot specify ipaddress device more than once for %s", s.text(0))
			return false, false
		}
		if _, ok := l.iface(v); !ok {
			l.warn(s.words[i], "no-such-interface", "WARNING - interface "+v+" for ip address "+s.text(0)+" doesn't exist")
			return false, false
		}
		a.Dev = v
	case "label":
		if len(v) > 15 {
			l.warn(s.words[i], "bad-value", "Address label "+v+" is longer than maximum length 15 - removing address")
			return false, false
		}
		a.Label = v
	case "scope":
		if !isScope(v) {
			l.warn(s.words[i], "bad-value", fmt.Sprintf("Invalid scope '%s' specified for %s - ignoring", v, s.text(0)))
			return false, true
		}
		a.Scope = v
	default:
		return l.rareWord(s, i, word, a), true
	}
	return false, true
}

// rareWord applies the other words.
func (l *loader) rareWord(s *stmt, i int, word string, a *Address) (again bool) {
	v := s.text(i)
	if word == "use_vmac" {
		l.notYet(s.words[min(i, len(s.words)-1)], word+" of an address is accepted without effect in this version")
	}
	switch word {
	case "peer":
		if a.Peer.IsValid() {
			l.bad(s, i, "Peer %s - another peer has already been specified", v)
			return true
		}
		l.peer(s, i, a)
	case "preferred_lft":
		n := uint32(math.MaxUint32)
		if v != "forever" {
			u, ok := l.integer(s, i, 0, math.MaxUint32, "preferred_lft {value} is invalid")
			if !ok {
				return false
			}
			n = uint32(u)
		}
		a.Preferred, a.PreferredSet = n, true
	case "track_group":
		l.trackGroup(s, i, &a.TrackGroup)
	case "home":
		a.Home = true
	case "-nodad":
		a.NoDAD = true
	case "mngtmpaddr":
		a.ManageTemp = true
	case "noprefixroute":
		a.NoPrefixRoute = true
	case "autojoin":
		a.AutoJoin = true
	case "no_track":
		a.NoTrack = true
	case "use_vmac":
		a.VMAC = true
	}
	return false
}

// notYet warns of a part that no version before this one has acted on.
func (l *loader) notYet(t Token, text string) *Diagnostic {
	if l.quiet > 0 {
		return &Diagnostic{}
	}
	return l.own(t, "not-yet", text)
}

func (l *loader) peer(s *stmt, i int, a *Address) {
	p, ok := l.prefix(s, i, false)
	switch {
	case !ok:
		l.bad(s, i, "Invalid peer address %s", s.text(i))
	case p.Addr().Is6() != a.Prefix.Addr().Is6():
		l.bad(s, i, "Peer address %s does not match address family", s.text(i))
	default:
		if !a.Prefix.IsSingleIP() {
			l.bad(s, i, "Cannot specify address prefix when specifying peer address - ignoring")
		}
		a.Peer = p.Addr()
		a.Prefix = netip.PrefixFrom(a.Prefix.Addr(), p.Bits())
	}
}

// trackGroup keeps the name of a track_group, which must be defined before.
func (l *loader) trackGroup(s *stmt, i int, at *string) bool {
	if *at != "" {
		l.bad(s, i, "track_group %s is a duplicate", s.text(i))
		return false
	}
	for _, g := range l.cfg.TrackGroups {
		if g.Name == s.text(i) {
			*at = g.Name
			return true
		}
	}
	l.bad(s, i, "track_group %s not found", s.text(i))
	return true
}

// broadcast reads the value of brd: an address, + for the one of the prefix, - for none.
func (l *loader) broadcast(s *stmt, i int, a *Address) bool {
	v := s.text(i)
	if a.Prefix.Addr().Is6() {
		l.warn(s.words[i-1], "bad-value", fmt.Sprintf("VRRP is trying to assign a broadcast %s to the IPv6 address %s !!?? WTF... skipping VIP...", s.text(i-1), s.text(0))).
			Hint = "IPv6 has no broadcast; remove " + s.text(i-1)
		return false
	}
	addr, ok := address(v)
	switch {
	case v == "-" || v == "+":
	case ok && addr.Is4():
		a.Brd = addr
	default:
		l.warn(s.words[i], "bad-address", "VRRP is trying to assign invalid broadcast "+v+". skipping VIP...")
		return false
	}
	return true
}
