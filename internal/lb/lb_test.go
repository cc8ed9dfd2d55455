package lb

import (
	"net/netip"
	"testing"
)

func TestServicesAndServersAreNamedAsKeepalivedNamesThem(t *testing.T) {
	for name, got := range map[string]string{
		"[10.0.8.9]:tcp:80":    ServiceKey{Protocol: TCP, Addr: netip.MustParseAddrPort("10.0.8.9:80")}.String(),
		"[2001:db8::9]:udp:53": ServiceKey{Protocol: UDP, Addr: netip.MustParseAddrPort("[2001:db8::9]:53")}.String(),
		"FWM 7":                ServiceKey{Mark: 7}.String(),
		"[10.0.8.12]:sctp:0":   EndpointName(SCTP, netip.MustParseAddrPort("10.0.8.12:0")),
		"[10.0.8.12]:none:0":   EndpointName(IP, netip.MustParseAddrPort("10.0.8.12:0")),
	} {
		if got != name {
			t.Errorf("got %q, want %q", got, name)
		}
	}
}

func TestConnectionStatesAreNamedAsIpvsadmPrintsThem(t *testing.T) {
	for name, c := range map[string]Conn{
		"ESTABLISHED": {Protocol: TCP, State: Established},
		"FIN_WAIT":    {Protocol: TCP, State: FinWait},
		"SYNACK":      {Protocol: TCP, State: SynAck},
		"UDP":         {Protocol: UDP, State: 0},
		"NONE":        {Protocol: UDP, Template: true},
		"ASSURED":     {Protocol: TCP, Template: true, Assured: true},
		"STATE_99":    {Protocol: TCP, State: 99},
		"C-REPLIED":   {Protocol: SCTP, State: 4},
		"CLOSED":      {Protocol: SCTP, State: SCTPClosed},
		"STATE_14":    {Protocol: SCTP, State: 14},
	} {
		if got := c.StateName(); got != name {
			t.Errorf("%+v is %q, want %q", c, got, name)
		}
	}
}

func TestProtocolsAndMethodsAreNamedAsIpvsadmPrintsThem(t *testing.T) {
	for name, got := range map[string]string{
		"TCP": TCP.String(), "UDP": UDP.String(), "SCTP": SCTP.String(), "IP": IP.String(), "AH": AH.String(), "ESP": ESP.String(), "IP_47": Protocol(47).String(),
		"Masq": Masq.String(), "Local": Local.String(), "Tunnel": Tunnel.String(), "Route": Route.String(), "Bypass": Bypass.String(),
		"Forward(9)": Forward(9).String(),
	} {
		if got != name {
			t.Errorf("got %q, want %q", got, name)
		}
	}
}

func TestCountersAddFieldByField(t *testing.T) {
	got := Counters{1, 2, 3, 4, 5}.Add(Counters{10, 20, 30, 40, 50})
	if want := (Counters{11, 22, 33, 44, 55}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestANetmaskIsAnyThatIpvsadmTakes(t *testing.T) {
	v4, v6 := ServiceKey{Addr: netip.MustParseAddrPort("10.0.8.9:80")}, ServiceKey{Addr: netip.MustParseAddrPort("[2001:db8::9]:80")}
	mark6 := ServiceKey{Mark: 7, V6: true}
	for _, c := range []struct {
		key   ServiceKey
		wild  uint32
		mask  string
		bits  int
		solid bool
	}{
		{v4, 0, "", 32, true}, {v4, 0xff, "255.255.255.0", 24, true}, {v4, 0xffffffff, "0.0.0.0", 0, true}, {v4, 0x7fffffff, "128.0.0.0", 1, true},
		{v4, 0x00ff00ff, "255.0.255.0", 8, false}, {v4, 0xffffffe7, "0.0.0.24", 0, false},
		{v6, 0, "", 128, true}, {v6, 64, "64", 64, true}, {v6, 127, "1", 1, true}, {mark6, 8, "120", 120, true}, {ServiceKey{Mark: 7}, 1, "255.255.255.254", 31, true},
	} {
		s := Service{ServiceKey: c.key, Wild: c.wild}
		if n, ok := s.MaskBits(); s.Netmask() != c.mask || n != c.bits || ok != c.solid {
			t.Errorf("%s wild %#x: %q, %d, %v; want %q, %d, %v", c.key, c.wild, s.Netmask(), n, ok, c.mask, c.bits, c.solid)
		}
		if c.solid && WildOf(c.bits, c.key.Is6()) != c.wild {
			t.Errorf("%s /%d is %#x, want %#x", c.key, c.bits, WildOf(c.bits, c.key.Is6()), c.wild)
		}
	}
}

func TestOnlyStatesWithAClientAtWorkAreActive(t *testing.T) {
	for c, want := range map[Conn]bool{
		{Protocol: TCP, State: Established}: true, {Protocol: TCP, State: SynAck}: true, {Protocol: TCP, State: FinWait}: false,
		{Protocol: UDP, State: Established}: false, {Protocol: SCTP, State: SCTPEstablished}: true, {Protocol: SCTP, State: SCTPInit1}: false,
	} {
		if c.Active() != want {
			t.Errorf("%+v: active is %v", c, c.Active())
		}
	}
}
