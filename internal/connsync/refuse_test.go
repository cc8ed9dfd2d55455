package connsync

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"vipd/internal/lb"
)

// pair is a datagram of two connections, of which bad spoils the first entry.
func pair(c Conn, bad func(datagram []byte)) []byte {
	p := Packer{MaxLen: 1472}
	second := Conn{Protocol: lb.UDP, Client: netip.MustParseAddrPort("10.0.0.1:53"), Virtual: netip.MustParseAddrPort("10.0.0.2:53"), Real: netip.MustParseAddrPort("10.0.0.3:53")}
	p.Add(&c)
	p.Add(&second)
	p.Flush()
	d := p.Take()[0]
	bad(d)
	return d
}

func TestWhatIsWrongWithOneEntryIsSaidAndTheOthersAreTakenIfTheyCanBeFound(t *testing.T) {
	plain := Conn{Protocol: lb.TCP, Client: netip.MustParseAddrPort("10.0.0.1:1"), Virtual: netip.MustParseAddrPort("10.0.0.2:80"), Real: netip.MustParseAddrPort("10.0.0.3:80"), State: 1}
	template := plain
	template.Flags, template.Engine, template.EngineData = Template, "sip", "call"
	for name, tc := range map[string]struct {
		c    Conn
		bad  func(d []byte) // d[8:] is the entry
		want Reason
		left int // taken
	}{
		"good":                          {plain, func([]byte) {}, "", 2},
		"size below its kind":           {plain, func(d []byte) { d[8+3] = 20 }, ShortEntry, 0},
		"IPv6 of IPv4's size":           {plain, func(d []byte) { d[8] = 1 }, ShortEntry, 0},
		"size beyond the datagram":      {plain, func(d []byte) { d[8+2], d[8+3] = 0x0f, 0xff }, CutEntry, 0},
		"version 2":                     {plain, func(d []byte) { d[8+2] |= 0x20 }, EntryVersion, 0},
		"type 2":                        {plain, func(d []byte) { d[8] = 2 }, EntryType, 0},
		"ESP":                           {plain, func(d []byte) { d[8+1] = 50 }, BadProtocol, 1},
		"TCP state 11":                  {plain, func(d []byte) { d[8+9] = 11 }, BadState, 1},
		"TCP state 257":                 {plain, func(d []byte) { d[8+8] = 1 }, BadState, 1},
		"template state 2":              {template, func(d []byte) { d[8+9] = 2 }, BadState, 1},
		"template without client port":  {template, func(d []byte) { d[8+6] |= 8 }, BadFlags, 1},
		"one packet":                    {plain, func(d []byte) { d[8+6] |= 0x20 }, BadFlags, 1},
		"option cut":                    {template, func(d []byte) { d[8+entry4+1] = 200 }, CutOption, 0},
		"option of no length":           {template, func(d []byte) { d[8+entry4+1] = 0 }, CutOption, 0},
		"sequence data of 4 bytes":      {template, func(d []byte) { d[8+entry4] = optionSeq }, OptionSize, 0},
		"engine twice":                  {template, func(d []byte) { d[8+entry4] = optionEngine }, RepeatedOption, 0},
		"unknown option":                {template, func(d []byte) { d[8+entry4] = 9 }, UnknownOption, 1},
		"unknown option that may be":    {template, func(d []byte) { d[8+entry4] = 9 | optional }, "", 2},
		"engine data without an engine": {template, func(d []byte) { d[8+entry4+2+4] = 9 | optional }, EngineData, 1},
		"count beyond what is there":    {plain, func(d []byte) { d[4] = 3 }, ShortEntry, 2},
		"wrong size":                    {plain, func(d []byte) { d[3]++ }, WrongSize, 0},
		"nothing":                       {plain, func(d []byte) { d[4] = 0 }, Empty, 0},
	} {
		conns, refused := decodeAll(pair(tc.c, tc.bad), 0)
		want := []Reason{tc.want}
		if tc.want == "" {
			want = nil
		}
		if len(conns) != tc.left || !slices.Equal(refused, want) {
			t.Errorf("%s: %d taken, refused %v; want %d, %v", name, len(conns), refused, tc.left, want)
		}
	}
}

func TestVersion0IsReadWithItsSequenceData(t *testing.T) {
	d := slices.Clone(datagrams(t, "sync-v0-nat-persistent")[0])
	d[4+24+20] |= 0x06 // the second entry's flags: SEQ
	d = binary.NativeEndian.AppendUint32(d, 77)
	d = append(d, make([]byte, 20)...)
	binary.BigEndian.PutUint16(d[2:], uint16(len(d)))
	conns, refused := decodeAll(d, 0)
	if len(conns) != 2 || len(refused) != 0 || conns[1].In.Init != 77 {
		t.Errorf("%+v, refused %v", conns, refused)
	}
	for n := range len(d) { // cut anywhere
		cut := slices.Clone(d[:n])
		if n >= 4 {
			binary.BigEndian.PutUint16(cut[2:], uint16(n))
		}
		if conns, refused := decodeAll(cut, 0); len(refused) != 1 || len(conns) > 1 {
			t.Errorf("%d bytes: %d taken, refused %v", n, len(conns), refused)
		}
	}
}

func FuzzVersion1(f *testing.F) {
	for _, name := range []string{"sync-v1-nat-persistent", "sync-v1-fwmark", "sync-v1-pe-sip", "sync-v1-ftp-seq"} {
		for _, d := range datagrams(f, name) {
			f.Add(d)
		}
	}
	c := everything()
	f.Add(pair(c, func([]byte) {}))
	c.Local, c.Begun = netip.MustParseAddrPort("[2001:db8:8::25]:1024"), Begun{ProxyDue, 1}
	f.Add(pair(c, func([]byte) {}))
	f.Fuzz(func(t *testing.T, d []byte) {
		if len(d) >= header1 { // else the fuzzer spends its time on two numbers
			d[0], d[5], d[6], d[7] = 0, version, 0, 0
			binary.BigEndian.PutUint16(d[2:], uint16(len(d)))
		}
		conns, _ := decodeAll(d, 0)
		again(t, conns)
	})
}

func FuzzVersion0(f *testing.F) {
	for _, d := range datagrams(f, "sync-v0-nat-persistent") {
		f.Add(d)
	}
	f.Fuzz(func(t *testing.T, d []byte) {
		if len(d) >= header0 {
			binary.BigEndian.PutUint16(d[2:], uint16(len(d)))
		}
		conns, _ := decodeAll(d, 0)
		again(t, conns)
	})
}

// again holds that what was taken can be told to the next, who takes the same.
func again(t *testing.T, conns []Conn) {
	p := Packer{MaxLen: 1472}
	for i := range conns {
		p.Add(&conns[i])
	}
	p.Flush()
	var got []Conn
	for _, d := range p.Take() {
		one, refused := decodeAll(d, 0)
		if len(refused) > 0 {
			t.Fatalf("%x of %+v: refused %v", d, conns, refused)
		}
		got = append(got, one...)
	}
	if !slices.Equal(got, conns) {
		t.Fatalf("%+v\nbecame %+v", conns, got)
	}
}
