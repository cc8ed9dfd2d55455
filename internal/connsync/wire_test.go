package connsync

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vipd/internal/lb"
)

// datagrams are the UDP payloads of a capture (Ethernet, IPv4 without options).
func datagrams(t testing.TB, name string) (all [][]byte) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name + ".pcap")
	if err != nil {
		t.Fatal(err)
	}
	for b = b[24:]; len(b) > 0; {
		n := int(binary.LittleEndian.Uint32(b[8:]))
		all, b = append(all, b[16+14+20+8:16+n]), b[16+n:]
	}
	return all
}

func decodeAll(b []byte, id uint8) (conns []Conn, refused []Reason) {
	Decode(b, id, func(c Conn) { conns = append(conns, c) }, func(r Reason) { refused = append(refused, r) })
	return conns, refused
}

// shown is a connection as ipvsadm -lcn shows it, and its timeout as it is told.
func shown(c Conn) string {
	l := lb.Conn{Protocol: c.Protocol, State: c.State, Template: c.Flags&Template != 0, Assured: c.State == 1}
	text := fmt.Sprintf("%s %s %s %s %s %d", c.Protocol, c.Client, c.Virtual, c.Real, l.StateName(), c.Timeout)
	if c.EngineData != "" {
		text += " " + c.Engine + " " + c.EngineData
	}
	return text
}

// The tables are what /proc/net/ip_vs_conn_sync of the kernel on the other side had in the end.
var captures = map[string][]string{
	"sync-v1-ports2": func() (all []string) {
		for i := range 12 {
			all = append(all, fmt.Sprintf("TCP 10.0.4.102:%d 10.0.8.9:80 10.0.8.12:80 ESTABLISHED 900", 52001+i))
		}
		return all
	}(),
	"sync-v1-nat-persistent": {
		"TCP 10.0.4.103:50002 10.0.8.9:80 10.0.8.12:80 ESTABLISHED 900",
		"TCP 10.0.4.103:0 10.0.8.9:80 10.0.8.12:80 ASSURED 100",
		"TCP 10.0.4.102:0 10.0.8.9:80 10.0.8.13:80 ASSURED 100",
		"TCP 10.0.4.102:50001 10.0.8.9:80 10.0.8.13:80 TIME_WAIT 120",
	},
	"sync-v1-dr-no-service": {"TCP 10.0.4.102:50011 10.0.8.9:80 10.0.8.12:80 ESTABLISHED 900"},
	"sync-v1-fwmark": {
		"IP 10.0.4.102:0 0.0.0.7:0 10.0.8.12:0 ASSURED 60",
		"TCP 10.0.4.102:50031 10.0.8.9:443 10.0.8.12:443 ESTABLISHED 900",
	},
	"sync-v0-nat-persistent": {
		"TCP 10.0.4.102:0 10.0.8.9:80 10.0.8.13:80 ASSURED 0",
		"TCP 10.0.4.102:50041 10.0.8.9:80 10.0.8.13:80 CLOSE 0",
	},
	"sync-v1-udp-threshold": {"UDP 10.0.4.102:50061 10.0.8.9:53 10.0.8.12:53 UDP 300"},
	"sync-v1-pe-sip": {
		"UDP 10.0.4.102:0 10.0.8.9:5060 10.0.8.12:5060 ASSURED 60 sip abc123@10.0.4.102",
		"UDP 10.0.4.102:5060 10.0.8.9:5060 10.0.8.12:5060 UDP 300",
	},
	"sync-v1-ftp-seq": {
		"TCP 10.0.4.102:54042 10.0.8.9:1025 10.0.8.12:1025 ESTABLISHED 900",
		"TCP 10.0.4.102:54041 10.0.8.9:21 10.0.8.12:21 TIME_WAIT 120",
	},
}

func TestACaptureGivesTheTableThatTheKernelMadeOfIt(t *testing.T) {
	files, err := filepath.Glob("testdata/*.pcap")
	if err != nil || len(files) != len(captures)+1 { // and one of a syncid that its backup does not take
		t.Errorf("%d captures, %v", len(files), err)
	}
	for name, want := range captures {
		table := map[string]string{}
		for _, d := range datagrams(t, name) {
			conns, refused := decodeAll(d, 0)
			for _, c := range conns {
				table[fmt.Sprint(c.Protocol, c.Client, c.Virtual)] = shown(c)
			}
			if len(refused) > 0 {
				t.Errorf("%s: refused %v", name, refused)
			}
		}
		got := slices.Sorted(maps.Values(table))
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestWhatIsReadOfTheKernelIsWrittenAsTheKernelWroteIt(t *testing.T) {
	seen := 0
	for name := range captures {
		for _, d := range datagrams(t, name) {
			conns, _ := decodeAll(d, 0)
			p := Packer{ID: d[1], MaxLen: 1472, Version0: strings.HasPrefix(name, "sync-v0")}
			for _, c := range conns {
				p.Add(&c)
			}
			p.Flush()
			got := p.Take()
			// The flag for conntrack (bit 16) is the sender's own business, and not kept.
			want := bytes.ReplaceAll(d, []byte{0, 0x24, 0, 1, 0}, []byte{0, 0x24, 0, 0, 0})
			want = bytes.ReplaceAll(want, []byte{0, 0x24, 0, 1, 1}, []byte{0, 0x24, 0, 0, 1})
			if len(got) != 1 || !bytes.Equal(got[0], want) {
				t.Errorf("%s:\n got %x\nwant %x", name, got, want)
			}
			seen++
		}
	}
	if seen < 10 {
		t.Errorf("%d datagrams", seen)
	}
}

func TestABackupTakesItsOwnSyncIDAloneAndThatOf0All(t *testing.T) {
	d := datagrams(t, "sync-v1-syncid-mismatch")[0] // of 6
	for id, want := range map[uint8]int{0: 1, 5: 0, 6: 1} {
		conns, refused := decodeAll(d, id)
		if len(conns) != want || want == 0 && !slices.Equal(refused, []Reason{OtherID}) {
			t.Errorf("syncid %d: %v, refused %v", id, conns, refused)
		}
	}
}

// everything is a connection with all that version 1 can say.
func everything() Conn {
	return Conn{Protocol: lb.TCP, Client: netip.MustParseAddrPort("[2001:db8:4::102]:50021"), Virtual: netip.MustParseAddrPort("[2001:db8:8::9]:80"),
		Real: netip.MustParseAddrPort("[2001:db8:8::12]:80"), Mark: 7, Flags: Flags(lb.Route) | NoOutput | InSeq | OutSeq, State: lb.Established, Timeout: 900,
		In: Sequence{1, 2, 3}, Out: Sequence{4, 0xfffffffe, 6}, Engine: "sip", EngineData: strings.Repeat("x", 255)}
}

func TestEverythingThatCanBeSaidComesBack(t *testing.T) {
	p := Packer{ID: 9, MaxLen: 200}
	want := []Conn{everything(), {Protocol: lb.UDP, Client: netip.MustParseAddrPort("10.0.0.1:53"), Virtual: netip.MustParseAddrPort("10.0.0.2:53"),
		Real: netip.MustParseAddrPort("10.0.0.3:53"), Flags: Inactive}, everything()}
	for i := range want {
		p.Add(&want[i])
	}
	p.Flush()
	var got []Conn
	all := p.Take()
	for _, d := range all {
		conns, refused := decodeAll(d, 9)
		got = append(got, conns...)
		if len(refused) > 0 {
			t.Errorf("refused %v", refused)
		}
	}
	// Each is larger than 200 bytes with its options, or does not fit beside one that is.
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" || len(all) != 3 {
		t.Errorf("%d datagrams: %s", len(all), diff)
	}
}

// TestVersion0SaysWhatItCan: no IPv6, no timeouts, marks and engines.
func TestVersion0SaysWhatItCan(t *testing.T) {
	six := everything()
	four := everything()
	for _, a := range []*netip.AddrPort{&four.Client, &four.Virtual, &four.Real} {
		*a = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 8, byte(a.Port())}), a.Port())
	}
	bare := Conn{Protocol: lb.UDP, Client: netip.MustParseAddrPort("10.0.0.1:53"), Virtual: netip.MustParseAddrPort("10.0.0.2:53"), Real: netip.MustParseAddrPort("10.0.0.3:53"), Flags: Inactive}
	p := Packer{ID: 9, MaxLen: header0 + entry0 + seqSize + entry0, Version0: true}
	for _, c := range []Conn{six, four, bare, bare, six} {
		p.Add(&c)
	}
	p.Flush()
	all := p.Take()
	four.Mark, four.Timeout, four.Engine, four.EngineData = 0, 0, "", ""
	var got []Conn
	for _, d := range all {
		conns, refused := decodeAll(d, 9)
		got = append(got, conns...)
		if len(refused) > 0 || len(d) > p.MaxLen {
			t.Errorf("%d bytes, refused %v", len(d), refused)
		}
	}
	if diff := cmp.Diff([]Conn{four, bare, bare}, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" || len(all) != 2 {
		t.Errorf("%d datagrams: %s", len(all), diff)
	}
}

func TestDatagramsAreFilledUpToTheirLength(t *testing.T) {
	c := Conn{Protocol: lb.TCP, Client: netip.MustParseAddrPort("10.0.0.1:1"), Virtual: netip.MustParseAddrPort("10.0.0.2:80"), Real: netip.MustParseAddrPort("10.0.0.3:80"), State: 1}
	for maxLen, want := range map[int][]int{1472: {40, 40, 20}, 1447: {39, 39, 22}, 1: slices.Repeat([]int{1}, 100), 65507: {100}} {
		p := Packer{MaxLen: maxLen}
		for range 100 {
			p.Add(&c)
		}
		p.Flush()
		var got []int
		for _, d := range p.Take() {
			got = append(got, int(d[4]))
			if len(d) > maxLen && d[4] > 1 {
				t.Errorf("%d bytes, at most %d", len(d), maxLen)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("maxlen %d: %v, want %v", maxLen, got, want)
		}
	}
	p := Packer{MaxLen: 65507}
	for range 300 { // the count is one byte
		p.Add(&c)
	}
	p.Flush()
	if d := p.Take(); len(d) != 2 || d[0][4] != 255 || d[1][4] != 45 {
		t.Errorf("300 connections make %d datagrams", len(d))
	}
}
