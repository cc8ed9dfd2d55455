package bpf

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// TestNobodyAnswers: the client is told at once, by an ICMP port unreachable from the virtual address.
func TestNobodyAnswers(t *testing.T) {
	rows := []struct {
		name string
		in   frame
		prep func(s *service)
	}{
		{"a SYN to a service without real servers", frame{flags: syn}, nil},
		{"a datagram", frame{proto: udpProto, payload: []byte("query")}, nil},
		{"a datagram without data", frame{proto: udpProto}, nil},
		{"a SYN with data and IP options", frame{flags: syn, options: bytes.Repeat([]byte{1}, 40), payload: make([]byte, 1000)}, nil},
		{"a padded frame", frame{flags: syn, trailer: make([]byte, 6)}, nil},
		{"only a server of weight 0", frame{flags: syn}, func(s *service) { s.add(0) }},
		{"only an overloaded one", frame{flags: syn}, func(s *service) { s.overload(s.add(1), 1) }},
	}
	r := newRig(t, 1)
	for _, row := range rows {
		for name, scheduler := range map[string]LbScheduler{"rr": LbSchedulerSCHED_RR, "wrr": LbSchedulerSCHED_WRR, "sh": LbSchedulerSCHED_SH} {
			t.Run(name+" "+row.name, func(t *testing.T) {
				r.TB = t
				s := r.serve(vip, or(row.in.proto, tcpProto), scheduler)
				if row.prep != nil {
					row.prep(s)
				}
				checkUnreachable(t, row.in, r.want(row.in, LbReasonREPLY_NO_SERVER))
				if n := len(r.conns()); n != 0 {
					t.Errorf("%d entries", n)
				}
			})
		}
	}
}

// checkUnreachable: RFC 792: type 3, code 3, and "Internet Header + 64 bits of Original Data Datagram".
func checkUnreachable(t *testing.T, in frame, out []byte) {
	t.Helper()
	quoted := in.bytes()[14:][:20+len(in.options)+8]
	if len(out) != 14+20+8+len(quoted) {
		t.Fatalf("%d bytes, want %d", len(out), 14+20+8+len(quoted))
	}
	eth, ip, icmp := out[:14], out[14:34], out[34:]
	if mac(eth) != routerMAC || mac(eth[6:]) != ourMAC || binary.BigEndian.Uint16(eth[12:]) != 0x0800 {
		t.Errorf("Ethernet header % x", eth)
	}
	if ip[0] != 0x45 || int(binary.BigEndian.Uint16(ip[2:])) != len(out)-14 || ip[8] != 64 || ip[9] != icmpProto || sum(ip) != 0xffff {
		t.Errorf("IP header % x, sums to %#x", ip, sum(ip))
	}
	if !bytes.Equal(ip[12:16], vip.Addr().AsSlice()) || !bytes.Equal(ip[16:20], client.Addr().AsSlice()) {
		t.Errorf("from %v to %v", ip[12:16], ip[16:20])
	}
	if icmp[0] != 3 || icmp[1] != 3 || sum(icmp) != 0xffff || !bytes.Equal(icmp[4:8], make([]byte, 4)) {
		t.Errorf("ICMP header % x, sums to %#x", icmp[:8], sum(icmp))
	}
	if !bytes.Equal(icmp[8:], quoted) {
		t.Errorf("quoted % x\nwant   % x", icmp[8:], quoted)
	}
}
