package host

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// NewRule is a policy rule that is to be, in the words of ip-rule(8).
type NewRule struct {
	V6       bool
	From, To string // ADDR[/LEN], default, any or all. If empty, all.
	Table    string // of Action table
	Not      bool
	Priority uint32 // If zero, the kernel's choice.
	Action   string // table, goto, nop, blackhole, unreachable, prohibit or l3mdev. If empty, table.
	Goto     uint32
	In, Out  string // interfaces by name; they need not exist
	Options  [][2]string
}

func (r NewRule) String() string {
	s := strconv.Itoa(int(r.Priority)) + ":"
	for _, w := range [][2]string{{"from", r.From}, {"to", r.To}, {"iif", r.In}, {"oif", r.Out}, {"lookup", r.Table}} {
		if w[1] != "" {
			s += " " + w[0] + " " + w[1]
		}
	}
	return s
}

// Equal tells that both are the same in every word.
func (r NewRule) Equal(o NewRule) bool { return reflect.DeepEqual(r, o) }

// AddRule puts a rule in its place. That it is there already is no error.
func AddRule(r NewRule) error {
	body, err := r.message()
	if err == nil {
		_, err = request(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, body)
	}
	if err == nil || errors.Is(err, unix.EEXIST) {
		return nil
	}
	return fmt.Errorf("add rule %s: %w", r, err)
}

// DelRule takes a rule away. That it is not there is no error.
func DelRule(r NewRule) error {
	body, err := r.message()
	if err == nil {
		_, err = request(unix.RTM_DELRULE, unix.NLM_F_ACK, body)
	}
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("remove rule %s: %w", r, err)
}

// Actions of linux/fib_rules.h. l3mdev is a look-up in a table that the device has.
var ruleActions = map[string]uint8{"": 1, "table": 1, "l3mdev": 1, "goto": 2, "nop": 3, "blackhole": 6, "unreachable": 7, "prohibit": 8}

const ruleInvert = 2 // FIB_RULE_INVERT

// message is struct fib_rule_hdr (the rtmsg of rtnetlink(7) with an action in place of the type) with its attributes.
func (r NewRule) message() ([]byte, error) {
	action, ok := ruleActions[r.Action]
	if !ok {
		return nil, fmt.Errorf("%q is no action of a rule", r.Action)
	}
	b := &routeBody{v6: r.V6, hdr: make([]byte, rtmsgLen)}
	b.hdr[0], b.hdr[7] = familyOf(r.V6), action
	if r.Not {
		native.PutUint32(b.hdr[8:], ruleInvert)
	}
	if err := errors.Join(b.prefix(unix.FRA_DST, 1, r.To), b.prefix(unix.FRA_SRC, 2, r.From)); err != nil {
		return nil, err
	}
	if r.Table != "" {
		if err := b.ruleTable(r.Table); err != nil {
			return nil, err
		}
	}
	if r.Priority != 0 {
		b.attrs = append(b.attrs, attrUint32(unix.FRA_PRIORITY, r.Priority)...)
	}
	if r.Action == "goto" {
		b.attrs = append(b.attrs, attrUint32(unix.FRA_GOTO, r.Goto)...)
	}
	if r.Action == "l3mdev" {
		b.attrs = append(b.attrs, attr(unix.FRA_L3MDEV, []byte{1})...)
	}
	for typ, dev := range map[uint16]string{unix.FRA_IIFNAME: r.In, unix.FRA_OIFNAME: r.Out} {
		if dev != "" {
			b.attrs = append(b.attrs, attrString(typ, dev)...)
		}
	}
	b.attrs = append(b.attrs, attr(unix.FRA_PROTOCOL, []byte{Protocol})...)
	for _, o := range r.Options {
		if err := b.ruleOption(o[0], o[1]); err != nil {
			return nil, fmt.Errorf("%s %s: %w", o[0], o[1], err)
		}
	}
	return append(b.hdr, b.attrs...), nil
}

func (b *routeBody) ruleTable(name string) error {
	n, err := Number("rt_tables", name, 32)
	if n < 256 {
		b.hdr[4] = uint8(n)
	}
	b.attrs = append(b.attrs, attrUint32(unix.FRA_TABLE, uint32(n))...)
	return err
}

func (b *routeBody) ruleOption(word, value string) error {
	switch word {
	case "tos", "dsfield":
		n, err := Number("rt_dsfield", value, 8)
		b.hdr[3] = uint8(n)
		return err
	case "fwmark":
		return b.ruleMark(value)
	case "realms":
		n, err := realms(value)
		b.attrs = append(b.attrs, attrUint32(unix.FRA_FLOW, n)...)
		return err
	case "suppress_prefixlength", "sup_pl":
		return b.ruleNumber(unix.FRA_SUPPRESS_PREFIXLEN, "", value)
	case "suppress_ifgroup", "sup_group":
		return b.ruleNumber(unix.FRA_SUPPRESS_IFGROUP, "group", value)
	case "tunnel-id":
		n, err := strconv.ParseUint(value, 0, 64)
		b.attrs = append(b.attrs, attr(unix.FRA_TUN_ID, []byte{byte(n >> 56), byte(n >> 48), byte(n >> 40), byte(n >> 32), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})...)
		return err
	case "protocol":
		return b.ruleByte(unix.FRA_PROTOCOL, "rt_protos", value)
	case "ipproto":
		return b.ruleByte(unix.FRA_IP_PROTO, "protocols", value)
	case "uidrange":
		return b.ruleRange(unix.FRA_UID_RANGE, value, 32)
	case "sport":
		return b.ruleRange(unix.FRA_SPORT_RANGE, value, 16)
	case "dport":
		return b.ruleRange(unix.FRA_DPORT_RANGE, value, 16)
	}
	return errUnsupported
}

// ruleMark reads N[/MASK].
func (b *routeBody) ruleMark(value string) error {
	text, mask, masked := strings.Cut(strings.TrimSpace(value), "/")
	if err := b.ruleNumber(unix.FRA_FWMARK, "", text); err != nil || !masked {
		return err
	}
	return b.ruleNumber(unix.FRA_FWMASK, "", mask)
}

func (b *routeBody) ruleNumber(typ uint16, kind, value string) error {
	n, err := Number(kind, value, 32)
	b.attrs = append(b.attrs, attrUint32(typ, uint32(n))...)
	return err
}

// ruleByte takes the place of what was written before.
func (b *routeBody) ruleByte(typ uint16, kind, value string) error {
	n, err := Number(kind, value, 8)
	b.attrs = append(b.attrs, attr(typ, []byte{uint8(n)})...)
	return err
}

// ruleRange reads A or A-B into struct fib_rule_uid_range or fib_rule_port_range.
func (b *routeBody) ruleRange(typ uint16, value string, bits int) error {
	first, last, two := strings.Cut(value, "-")
	if !two {
		last = first
	}
	from, err := strconv.ParseUint(first, 0, bits)
	if err != nil {
		return err
	}
	to, err := strconv.ParseUint(last, 0, bits)
	if bits == 16 {
		b.attrs = append(b.attrs, attr(typ, native.AppendUint16(native.AppendUint16(nil, uint16(from)), uint16(to)))...)
		return err
	}
	b.attrs = append(b.attrs, attr(typ, native.AppendUint32(native.AppendUint32(nil, uint32(from)), uint32(to)))...)
	return err
}
