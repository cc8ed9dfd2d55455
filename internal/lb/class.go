package lb

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Class says which packets have a firewall mark, for a data plane that sees them before netfilter does. The first class
// that a packet fits gives it its mark.
type Class struct {
	Mark      uint32
	Protocol  Protocol     // IP (0): TCP, UDP and SCTP
	To        netip.Prefix // where packets go; its family is that of the packets
	First     uint16       // destination ports, both included
	Last      uint16
	From      netip.Prefix // whom they come from. If invalid, anybody.
	Interface string       // that they come in by. If empty, any.
}

// ClassGrammar is what ParseClass reads.
const ClassGrammar = "MARK [tcp|udp|sctp] ADDRESS[/PREFIX] [PORT[-PORT]] [from ADDRESS[/PREFIX]] [interface NAME]"

// ParseClass reads the words of ClassGrammar. An error names the word at fault; at is its index, len(words) if one is
// missing.
func ParseClass(words []string) (c Class, at int, err error) {
	r := classReader{words: words}
	c = r.class()
	return c, r.at, r.err
}

type classReader struct {
	words []string
	at    int
	err   error
}

func (r *classReader) next() string {
	if r.at < len(r.words) {
		return r.words[r.at]
	}
	return ""
}

func (r *classReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

func (r *classReader) class() (c Class) {
	c.Last = 65535
	n, err := strconv.ParseUint(r.next(), 10, 32)
	if err != nil || n == 0 {
		r.fail("mark %q: want a number from 1 to 4294967295", r.next())
		return c
	}
	c.Mark = uint32(n)
	r.at++
	if p, ok := map[string]Protocol{"tcp": TCP, "udp": UDP, "sctp": SCTP}[strings.ToLower(r.next())]; ok {
		c.Protocol = p
		r.at++
	}
	c.To = r.network()
	if w := r.next(); r.err == nil && w != "" && w[0] >= '0' && w[0] <= '9' {
		c.First, c.Last = r.ports()
	}
	for r.err == nil && r.at < len(r.words) {
		r.option(&c)
	}
	return c
}

func (r *classReader) option(c *Class) {
	word := r.next()
	switch {
	case word == "from" && !c.From.IsValid():
		r.at++
		if c.From = r.network(); r.err == nil && c.From.Addr().Is4() != c.To.Addr().Is4() {
			r.at--
			r.fail("network %q is of another family than %s", r.next(), c.To)
		}
	case word == "interface" && c.Interface == "":
		r.at++
		if w := r.next(); w == "" || len(w) > 15 || strings.ContainsAny(w, "/ ") {
			r.fail("interface %q: want a name of 1 to 15 characters", w)
			return
		}
		c.Interface = r.next()
		r.at++
	default:
		r.fail("%q: want ports, \"from\" or \"interface\", each at most once", word)
	}
}

func (r *classReader) network() netip.Prefix {
	if r.err != nil {
		return netip.Prefix{}
	}
	word := r.next()
	p, err := netip.ParsePrefix(word)
	if a, aerr := netip.ParseAddr(word); aerr == nil && a.Zone() == "" {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if err != nil || p.Addr().Zone() != "" || p.Addr().Is4In6() {
		r.fail("network %q: want an address such as 10.0.8.9 or a network such as 10.0.8.0/24", word)
		return netip.Prefix{}
	}
	r.at++
	return p.Masked()
}

// ports is a port or a range.
func (r *classReader) ports() (first, last uint16) {
	low, high, isRange := strings.Cut(r.next(), "-")
	if !isRange {
		high = low
	}
	a, errA := strconv.ParseUint(low, 10, 16)
	b, errB := strconv.ParseUint(high, 10, 16)
	if errA != nil || errB != nil || a > b {
		r.fail("ports %q: want a port such as 80 or a range such as 8000-8099, up to 65535", r.next())
		return 0, 0
	}
	r.at++
	return uint16(a), uint16(b)
}

// String gives the words of ClassGrammar.
func (c Class) String() string {
	b := strings.Builder{}
	fmt.Fprintf(&b, "%d ", c.Mark)
	if c.Protocol != IP {
		b.WriteString(strings.ToLower(c.Protocol.String()) + " ")
	}
	b.WriteString(networkName(c.To))
	switch {
	case c.First == c.Last:
		fmt.Fprintf(&b, " %d", c.First)
	case c.First != 0 || c.Last != 65535:
		fmt.Fprintf(&b, " %d-%d", c.First, c.Last)
	}
	if c.From.IsValid() {
		b.WriteString(" from " + networkName(c.From))
	}
	if c.Interface != "" {
		b.WriteString(" interface " + c.Interface)
	}
	return b.String()
}

func networkName(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
