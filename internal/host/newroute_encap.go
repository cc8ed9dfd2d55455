package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// encapIP are the attributes of linux/lwtunnel.h's encapsulations in IP: of enum lwtunnel_ip_t and lwtunnel_ip6_t, which
// have the same numbers, by ip-route(8)'s words. The last two of a kind are the same field.
var encapIP = map[string]struct {
	typ  uint16
	bits int // of a number in network order; 0: an address
}{
	"id": {1, 64}, "dst": {2, 0}, "src": {3, 0}, "ttl": {4, 8}, "hoplimit": {4, 8}, "tos": {5, 8}, "dsfield": {5, 8}, "tc": {5, 8}, "flags": {6, 16},
}

// Attributes of linux/mpls_iptunnel.h and linux/ila.h.
const (
	mplsDestination = 1 // MPLS_IPTUNNEL_DST
	ilaLocator      = 1 // ILA_ATTR_LOCATOR
)

// RFC 3032 2.1: a label stack entry is 20 bits of label, 3 of use, the bottom of stack, and 8 of time to live.
const (
	labelBits   = 20
	labelShift  = 12
	labelBottom = 1 << 8
	maxLabels   = 16 // keepalived: 2
)

// isEncap tells that a word of a line says how packets are encapsulated: "encap KIND" with a value, "encap KIND WORD".
func isEncap(word string) bool { return strings.HasPrefix(word, "encap ") }

// encap writes what the words about an encapsulation say: RTA_ENCAP_TYPE and RTA_ENCAP.
func (b *routeBody) encap(list [][2]string) error {
	var kind string
	var inner []byte
	for _, o := range list {
		if !isEncap(o[0]) {
			continue
		}
		words := strings.Fields(o[0])
		kind = words[1]
		one, err := encapWord(kind, words[2:], o[1])
		if err != nil {
			return fmt.Errorf("%s %s: %w", o[0], o[1], err)
		}
		inner = append(inner, one...)
	}
	if kind == "" {
		return nil
	}
	types := map[string]uint16{"mpls": unix.LWTUNNEL_ENCAP_MPLS, "ip": unix.LWTUNNEL_ENCAP_IP, "ila": unix.LWTUNNEL_ENCAP_ILA, "ip6": unix.LWTUNNEL_ENCAP_IP6}
	b.attrs = append(b.attrs, attr(unix.RTA_ENCAP, inner)...)
	b.attrs = append(b.attrs, attr(unix.RTA_ENCAP_TYPE, native.AppendUint16(nil, types[kind]))...)
	return nil
}

func encapWord(kind string, word []string, value string) ([]byte, error) {
	switch {
	case kind == "mpls":
		stack, err := labels(value)
		return attr(mplsDestination, stack), err
	case kind == "ila":
		locator, err := locator(value)
		return attr(ilaLocator, locator), err
	case len(word) != 1 || kind != "ip" && kind != "ip6":
		return nil, errUnsupported
	}
	field := encapIP[word[0]]
	if field.bits == 0 {
		a, err := netip.ParseAddr(value)
		if err == nil && a.Is6() != (kind == "ip6") {
			err = errors.New("an address of the other family")
		}
		return attr(field.typ, a.AsSlice()), err
	}
	var n uint64
	var err error
	if field.typ == encapIP["tos"].typ {
		n, err = Number("rt_dsfield", value, 8)
	} else {
		n, err = strconv.ParseUint(value, 0, field.bits)
	}
	whole := binary.BigEndian.AppendUint64(nil, n)
	return attr(field.typ, whole[len(whole)-field.bits/8:]), err
}

// labels reads LABEL/LABEL…, the outermost first, as the stack that goes in front of the packet.
func labels(text string) (stack []byte, err error) {
	all := strings.Split(text, "/")
	if len(all) > maxLabels {
		return nil, fmt.Errorf("at most %d labels", maxLabels)
	}
	for i, word := range all {
		n, err := strconv.ParseUint(word, 0, labelBits)
		if err != nil {
			return nil, fmt.Errorf("label %q is no number of %d bits", word, labelBits)
		}
		entry := uint32(n) << labelShift
		if i == len(all)-1 {
			entry |= labelBottom
		}
		stack = binary.BigEndian.AppendUint32(stack, entry)
	}
	return stack, nil
}

// locator reads the upper half of an IPv6 address, four groups of hexadecimal digits.
func locator(text string) (half []byte, err error) {
	groups := strings.Split(text, ":")
	if len(groups) != 4 {
		return nil, errors.New("a locator is four groups of hexadecimal digits with colons")
	}
	for _, g := range groups {
		n, err := strconv.ParseUint(g, 16, 16)
		if err != nil {
			return nil, fmt.Errorf("group %q is no hexadecimal number of 16 bits", g)
		}
		half = binary.BigEndian.AppendUint16(half, uint16(n))
	}
	return half, nil
}
