package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// known are the names that iproute2 has on every machine, whether its files are there or not: rtnetlink(7), ip-route(8),
// RFC 2474 and RFC 2597 for dsfield.
var known = map[string]map[string]uint64{
	"rt_tables": {"unspec": 0, "default": 253, "main": 254, "local": 255},
	"rt_protos": {"unspec": 0, "none": 0, "redirect": 1, "kernel": 2, "boot": 3, "static": 4, "gated": 8, "ra": 9, "mrt": 10, "zebra": 11, "bird": 12,
		"dnrouted": 13, "xorp": 14, "ntk": 15, "dhcp": 16, "keepalived": Protocol, "babel": 42, "openr": 99, "bgp": 186, "isis": 187, "ospf": 188, "rip": 189, "eigrp": 192},
	"rt_dsfield": {"default": 0, "CS1": 0x20, "CS2": 0x40, "CS3": 0x60, "CS4": 0x80, "CS5": 0xa0, "CS6": 0xc0, "CS7": 0xe0,
		"AF11": 0x28, "AF12": 0x30, "AF13": 0x38, "AF21": 0x48, "AF22": 0x50, "AF23": 0x58, "AF31": 0x68, "AF32": 0x70, "AF33": 0x78,
		"AF41": 0x88, "AF42": 0x90, "AF43": 0x98, "EF": 0xb8},
	"group": {"default": 0},
	"protocols": {"ip": 0, "icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51, "ipv6-icmp": 58, "ospf": 89, "vrrp": 112,
		"sctp": 132, "udplite": 136},
	"scope": {"global": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255},
}

// nameDirs are where iproute2 keeps its names, in the order in which it looks.
var nameDirs = []string{"/etc/iproute2", "/usr/share/iproute2", "/usr/lib/iproute2"}

// Number reads a number in C notation, or a name of a kind: rt_tables, rt_protos, rt_dsfield, rt_realms, group,
// protocols or scope. This machine's own names (iproute2's files, /etc/protocols) count too. The error names the word.
func Number(kind, word string, bits int) (uint64, error) {
	if n, err := strconv.ParseUint(word, 0, bits); err == nil {
		return n, nil
	}
	if n, ok := known[kind][word]; ok {
		return n, nil
	}
	if n, ok := namedNumber(kind, word, bits); ok {
		return n, nil
	}
	return 0, fmt.Errorf("%q is neither a number of %d bits nor a name in %s", word, bits, kind)
}

func namedNumber(kind, word string, bits int) (uint64, bool) {
	if kind == "protocols" {
		return numberIn("/etc/protocols", word, 0, bits)
	}
	for _, dir := range nameDirs {
		files, _ := filepath.Glob(filepath.Join(dir, kind+".d", "*.conf"))
		for _, file := range append([]string{filepath.Join(dir, kind)}, files...) {
			if n, ok := numberIn(file, word, 1, bits); ok {
				return n, true
			}
		}
	}
	return 0, false
}

// numberIn looks for a name in one column of a file of two; the number is in the other.
func numberIn(file, word string, column, bits int) (uint64, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if f := strings.Fields(line); len(f) > 1 && f[column] == word {
			n, err := strconv.ParseUint(f[1-column], 0, bits)
			return n, err == nil
		}
	}
	return 0, false
}
