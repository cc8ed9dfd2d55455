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
	} {
		if got := c.StateName(); got != name {
			t.Errorf("%+v is %q, want %q", c, got, name)
		}
	}
}

func TestProtocolsAndMethodsAreNamedAsIpvsadmPrintsThem(t *testing.T) {
	for name, got := range map[string]string{
		"TCP": TCP.String(), "UDP": UDP.String(), "SCTP": SCTP.String(), "IP": IP.String(), "IP_50": Protocol(50).String(),
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
