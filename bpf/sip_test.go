package bpf

import (
	"bytes"
	"net/netip"
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

// TestWhatACallIsKnownBy: every way to write the header that the kernel's parser takes, and what it does not.
func TestWhatACallIsKnownBy(t *testing.T) {
	r := newRig(t, 4)
	calling(r, sipVIP)
	long := strings.Repeat("x", 255)
	for _, row := range []struct{ text, want string }{
		{"OPTIONS sip:u@10.0.8.9 SIP/2.0\nCall-ID: abc123@10.0.4.102\nContent-Length: 0\n\n", "abc123@10.0.4.102"},
		{"OPTIONS sip:u SIP/2.0\r\nVia: x\r\nCALL-id:abc\r\n\r\n", "abc"},
		{"a\r\ni: short\r\n", "short"},
		{"a\r\nI : short\r\n", "short"},
		{"a\r\ni\t:\t short\r\n", "short"},
		{"a\rCall-ID: cr\r", "cr"},
		{"a\r\nix: no\r\nCall-ID: yes\r\n", "yes"},
		{"a\r\nContent: x\r\nCall: y\r\nCal\nCall-ID: yes\r\n", "yes"},
		{"a\r\n Call-ID: folded\r\nCall-ID: yes\r\n", "yes"},
		{"a\r\nCall-ID:\r\n yes\r\n", "es"}, // ipvs: the first character of a continuation is skipped
		{"a\r\nCall-ID: !\"%'()*+-./09:<>?AZ[\\]_`az{}~\r\n", "!\"%'()*+-./09:<>?AZ[\\]_`az{}~"},
		{"a\r\nCall-ID: \xe9t\xe9@h\xf4te\r\n", "\xe9t\xe9@h\xf4te"},
		{"a\r\nCall-ID: " + long + "\r\n", long},
		{"a\r\nCall-ID: @host\r\nCall-ID: second@x\r\n", "second@x"},
		{"a\r\nCall-ID: user@\r\nCall-ID: third@x\r\n", "third@x"},
		{"a\r\n\r\nCall-ID: body\r\n", "body"},
		{"a\r\n" + strings.Repeat("X-Long: "+strings.Repeat("y", 90)+"\r\n", 14) + "i: far\r\n", "far"},
		{"not sip", ""},
		{"", ""},
		{"Call-ID: first line\r\n", ""},
		{"a\n\nCall-ID: behind an empty line\n", ""},
		{"a\r\nCall-ID: " + long + "x\r\n", ""},
		{"a\r\nCall-ID: no end", ""},
		{"a\r\nCall-ID: wrong end\r\n", ""},
		{"a\r\nCall-IDs: x\r\nCall-ID: late\r\n", ""},
		{"a\r\nCall-ID\r\n: x\r\nCall-ID: late\r\n", ""},
		{"a\r\nCall-ID: \r\nCall-ID: late\r\n", ""},
		{"a\r\nCall-ID: a^b\r\n", ""},
		{"a\r\nCall-ID: a\xd7b\r\n", ""},
		{"a\r\nCall-ID: a@b@c\r\n", ""},
	} {
		r.order(r.Forget, LbOrder{Real: uint32(LbNumberNO_REAL)})
		if row.want == "" {
			r.want(message(5060, row.text), LbReasonDROP_NO_CALL)
			if len(r.conns()) != 0 {
				t.Errorf("%q makes an entry", row.text)
			}
			continue
		}
		r.want(message(5060, row.text), LbReasonFORWARD_NEW)
		if got := r.callText(); got != row.want {
			t.Errorf("%q is call %q, want %q", row.text, got, row.want)
		}
	}
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
}
