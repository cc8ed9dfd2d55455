package bpf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
)

var sipVIP = netip.MustParseAddrPort("10.0.8.9:5060")

// calling is a service whose engine knows calls.
func calling(r *rig, to netip.AddrPort) *service {
	s := r.serve(to, udpProto, LbSchedulerSCHED_RR)
	s.flags, s.persist = LbServiceFlagSERVICE_SIP, 60
	s.add(1)
	s.add(1)
	r.tune(func(t *LbTunables) { t.Have |= uint32(LbHaveHAVE_SIP) })
	return s
}

func message(from uint16, text string) frame {
	return frame{proto: udpProto, to: sipVIP, from: port(from), payload: []byte(text)}
}

// callText is what is kept of the one template's call.
func (r *rig) callText() string {
	r.Helper()
	var key LbCallKey
	var call LbCall
	n := 0
	for all := r.Calls.Iterate(); all.Next(&key, &call); {
		n++
	}
	if n != 1 {
		r.Fatalf("%d calls are kept", n)
	}
	if c := r.template(); c.Packets != key.Number {
		r.Errorf("its template has number %#x and not %#x", c.Packets, key.Number)
	}
	return string(call.Text[:call.Length])
}

// sipRow is a message of testdata/sip.txt, and what IPVS does with it.
type sipRow struct {
	from    netip.AddrPort
	options string // comma separated: first, rest: where it is cut in two; -o: the service is of one packet from here on
	server  string // last byte of its address; "-": the message is dropped
	call    string // the template's
	text    string
}

func sipRows(t *testing.T) (rows []sipRow) {
	t.Helper()
	text, err := os.ReadFile("testdata/sip.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		var r sipRow
		var from string
		if _, err := fmt.Sscanf(line, "%s %s %s %q %q", &from, &r.options, &r.server, &r.call, &r.text); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		r.from = netip.MustParseAddrPort(from)
		rows = append(rows, r)
	}
	return rows
}

// TestCallsAreThoseOfIPVS: every way to write the header that the kernel's parser takes, and what it does not. test/vm gives the same
// messages to a kernel.
func TestCallsAreThoseOfIPVS(t *testing.T) {
	r := newRig(t, 64)
	s := calling(r, sipVIP)
	for i, row := range sipRows(t) {
		if row.options == "one-packet" {
			s.flags |= LbServiceFlagSERVICE_ONE_PACKET
			s.write()
		}
		before := len(r.conns())
		f := frame{proto: udpProto, from: row.from, to: sipVIP, payload: []byte(row.text)}
		got := "-"
		if row.options == "fragments" {
			got = r.inFragments(f)
		} else if _, out, why := r.run(f.bytes()); why == LbReasonFORWARD_NEW {
			got = strconv.Itoa(10 + int(out[5]))
		} else if why != LbReasonDROP_NO_CALL {
			t.Errorf("row %d, %q: %s", i, row.text, why.name())
		}
		if got != row.server {
			t.Errorf("row %d, %q went to %s, with IPVS to %s", i, row.text, got, row.server)
		}
		if want := row.call + " at " + row.server; row.server != "-" && !r.calls()[want] {
			t.Errorf("row %d, %q: no template of call %s, but %v", i, row.text, want, r.calls())
		}
		if row.server == "-" && len(r.conns()) != before {
			t.Errorf("row %d, %q makes an entry", i, row.text)
		}
	}
}

// inFragments sends the message in two, and tells where both go, if they go to one place.
func (r *rig) inFragments(f frame) string {
	r.Helper()
	const cut = 64
	whole := f.transport()
	first, rest := f, f
	first.proto, first.body, first.frag, first.payload = 200, whole[:cut], 0x2000, nil
	rest.proto, rest.body, rest.frag, rest.payload = 200, whole[cut:], cut/8, nil
	a, b := first.bytes(), rest.bytes()
	for _, p := range [][]byte{a, b} {
		p[14+9] = udpProto
		binary.BigEndian.PutUint16(p[14+10:], 0)
		binary.BigEndian.PutUint16(p[14+10:], ^sum(p[14:34]))
	}
	_, out, why := r.run(a)
	if why != LbReasonFORWARD_NEW {
		return "-"
	}
	_, next, _ := r.run(b)
	if mac(next[:6]) != mac(out[:6]) {
		return "two places"
	}
	return strconv.Itoa(10 + int(out[5]))
}

// calls are the templates: Call-ID and real server.
func (r *rig) calls() map[string]bool {
	r.Helper()
	all := map[string]bool{}
	var key LbCallKey
	var call LbCall
	conns := r.conns()
	for each := r.Calls.Iterate(); each.Next(&key, &call); {
		for _, c := range conns {
			if c.template() && c.Packets == key.Number {
				all[fmt.Sprintf("%s at %d", call.Text[:call.Length], 10+c.Real)] = true
			}
		}
	}
	return all
}

// TestACallStaysWithItsServer: from any port of its client, and no other client's or call's; and nothing of it is left when it
// has ended.
func TestACallStaysWithItsServer(t *testing.T) {
	r := newRig(t, 4)
	for _, to := range []netip.AddrPort{sipVIP, netip.MustParseAddrPort("[2001:db8:8::9]:5060")} {
		for _, alone := range []bool{false, true} {
			s := calling(r, to)
			if alone {
				s.flags |= LbServiceFlagSERVICE_ONE_PACKET
			}
			s.add(1) // and is written
			from := func(host string, n uint16) netip.AddrPort {
				if to.Addr().Is6() {
					return netip.AddrPortFrom(netip.MustParseAddr("2001:db8:4::"+host), n)
				}
				return netip.AddrPortFrom(netip.MustParseAddr("10.0.4."+host), n)
			}
			send := func(host string, n uint16, id string) byte {
				return r.goes(frame{proto: udpProto, to: to, from: from(host, n), payload: []byte("INVITE x SIP/2.0\r\nCall-ID: " + id + "\r\n\r\n")}, LbReasonFORWARD_NEW)
			}
			first, second, third := send("102", 5060, "one"), send("102", 5061, "two"), send("102", 5062, "three")
			if first == second || second == third || first == third {
				t.Errorf("three calls at %d, %d, %d", first, second, third)
			}
			for i := range uint16(5) {
				if send("102", 6000+i, "two") != second || send("102", 7000+i, "one") != first {
					t.Error("a call has gone elsewhere")
				}
			}
			if send("103", 5060, "two") != first || send("103", 5061, "two") != first { // the next in turn
				t.Error("another client's call of this name is not its own")
			}
			kept := 0
			var key LbCallKey
			var call LbCall
			for all := r.Calls.Iterate(); all.Next(&key, &call); {
				kept++
			}
			if kept != 4 {
				t.Errorf("%d calls are kept", kept)
			}
			r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
			if err := r.Calls.NextKey(nil, &key); err == nil {
				t.Error("a call is kept that has ended")
			}
		}
	}
	tcp := r.serve(netip.MustParseAddrPort("10.0.8.9:5061"), tcpProto, LbSchedulerSCHED_RR)
	tcp.flags, tcp.persist = LbServiceFlagSERVICE_SIP, 60
	tcp.add(1)
	r.want(frame{flags: syn, to: at("10.0.8.9:5061")}, LbReasonDROP_NO_CALL)
}

// TestAMessageLargerThanIsRead and than a page: its call is found at the beginning alone.
func TestAMessageLargerThanIsRead(t *testing.T) {
	r := newRig(t, 4)
	calling(r, sipVIP)
	filler := bytes.Repeat([]byte("X-Filler: 0123456789\r\n"), 250)
	r.want(message(5060, "a\r\ni: early\r\n"+string(filler[:3400])), LbReasonFORWARD_NEW)
	if got := r.callText(); got != "early" {
		t.Errorf("call %q", got)
	}
	r.want(message(5061, "a\r\n"+string(filler[:3300])+"\r\ni: late\r\n"), LbReasonFORWARD_NEW)
	r.want(message(5062, "a\r\ni: early\r\n"+string(filler)), LbReasonFORWARD_NEW)
	r.want(message(5063, "a\r\n"+string(filler[:4400])+"\r\ni: behind\r\n"), LbReasonDROP_NO_CALL)
}

// TestLinesThatGoOn: around the colon a line may end, with CR, LF or both, if the next one begins with blanks.
func TestLinesThatGoOn(t *testing.T) {
	for text, call := range map[string]string{
		"a\r\nCall-ID:\r\n x1\r\n":       "x1",
		"a\r\nCall-ID:\n x2\r\n":         "x2",
		"a\r\nCall-ID:\r x3\r\n":         "x3",
		"a\r\nCall-ID:\r\n \t x4\r\n":    "x4",
		"a\r\nCall-ID\n\t :\r\n\tx5\r\n": "x5",
		"a\r\nCall-ID:\nx6\r\n":          "",
		"a\r\nCall-ID:\rx7\r\n":          "",
		"a\r\nCall-ID:\n\n x8\r\n":       "",
		"a\r\nCall-ID: x\xe79\r\n":       "x\xe79",
		"a\r\nCall-ID: x\xf79\r\n":       "",
	} {
		t.Run(strconv.Quote(text), func(t *testing.T) {
			r := newRig(t, 4)
			calling(r, sipVIP)
			if call == "" {
				r.want(message(5060, text), LbReasonDROP_NO_CALL)
				return
			}
			r.want(message(5060, text), LbReasonFORWARD_NEW)
			if got := r.callText(); got != call {
				t.Errorf("call %q, want %q", got, call)
			}
		})
	}
}

// TestACallWhoseServerIsGone: the next message of it makes a template anew; what is kept of the old one's call ends with that.
func TestACallWhoseServerIsGone(t *testing.T) {
	r := newRig(t, 4)
	s := calling(r, sipVIP)
	const text = "INVITE x SIP/2.0\r\nCall-ID: one\r\n\r\n"
	first := r.goes(message(5060, text), LbReasonFORWARD_NEW)
	s.remove(uint32(first))
	second := r.goes(message(5061, text), LbReasonFORWARD_NEW)
	if second == first || r.goes(message(5062, text), LbReasonFORWARD_NEW) != second {
		t.Errorf("it was at %d, and is at %d", first, second)
	}
	kept := func() (n int) {
		var key LbCallKey
		var call LbCall
		for all := r.Calls.Iterate(); all.Next(&key, &call); {
			n++
		}
		return n
	}
	if n := kept(); n != 2 || r.counts(uint32(first))[2] != 1 || r.counts(uint32(second))[2] != 1 {
		t.Errorf("%d calls, templates %d and %d", n, r.counts(uint32(first))[2], r.counts(uint32(second))[2])
	}
	r.order(r.Forget, LbOrder{Real: uint32(first)})
	if n := kept(); n != 1 || r.goes(message(5063, text), LbReasonFORWARD_NEW) != second {
		t.Errorf("%d calls, once the old one has ended", n)
	}
	r.forgetAll()
	if n := kept(); n != 0 {
		t.Errorf("%d calls of nobody", n)
	}
}

// TestACallIsKnownByAllOfItsNumber: another one of the same client that differs in what stands beside the line's ports is another.
func TestACallIsKnownByAllOfItsNumber(t *testing.T) {
	r := newRig(t, 4)
	calling(r, sipVIP)
	const text = "INVITE x SIP/2.0\r\nCall-ID: one\r\n\r\n"
	first := r.goes(message(5060, text), LbReasonFORWARD_NEW)
	r.edit(r.template(), func(c *LbConn) { c.Packets ^= 1 << 20 })
	if second := r.goes(message(5061, text), LbReasonFORWARD_NEW); second == first {
		t.Errorf("both are at %d", first)
	}
}
