package control

import (
	"net/netip"
	"strings"
	"testing"

	"vipd/internal/lb"
)

func findable() []Service {
	svc := func(p lb.Protocol, a, group string, reals ...string) Service {
		s := Service{Service: lb.Service{ServiceKey: lb.ServiceKey{Protocol: p, Addr: netip.MustParseAddrPort(a)}}, Group: group}
		for _, r := range reals {
			s.Reals = append(s.Reals, Real{Real: lb.Real{Addr: netip.MustParseAddrPort(r)}})
		}
		return s
	}
	return []Service{
		svc(lb.TCP, "10.0.8.9:80", "web", "10.0.8.12:80", "10.0.8.12:81", "10.0.8.13:80"), svc(lb.TCP, "10.0.8.9:443", "web"),
		svc(lb.UDP, "10.0.8.9:80", ""), svc(lb.SCTP, "[2001:db8::9]:80", "", "[2001:db8::12]:80"),
		{Service: lb.Service{ServiceKey: lb.ServiceKey{Mark: 7}}}, {Service: lb.Service{ServiceKey: lb.ServiceKey{Mark: 7, V6: true}}},
	}
}

func TestAServiceIsFoundByEveryNameThatPeopleGiveIt(t *testing.T) {
	all := findable()
	for word, want := range map[string]string{
		"10.0.8.9:80": "tcp/10.0.8.9:80 udp/10.0.8.9:80", "tcp/10.0.8.9:80": "tcp/10.0.8.9:80", "UDP/10.0.8.9:80": "udp/10.0.8.9:80",
		"[10.0.8.9]:tcp:80": "tcp/10.0.8.9:80", "[2001:db8::9]:sctp:80": "sctp/[2001:db8::9]:80", "10.0.8.9": "tcp/10.0.8.9:80 tcp/10.0.8.9:443 udp/10.0.8.9:80",
		"10.0.8.9 443": "tcp/10.0.8.9:443", "2001:db8::9 80": "sctp/[2001:db8::9]:80", "2001:0db8::9": "sctp/[2001:db8::9]:80", "[2001:db8::9]:80": "sctp/[2001:db8::9]:80", "[2001:db8::9]": "sctp/[2001:db8::9]:80",
		"sctp/2001:db8::9": "sctp/[2001:db8::9]:80", "web": "tcp/10.0.8.9:80 tcp/10.0.8.9:443", "fwmark/7": "fwmark/7", "FWM 7": "fwmark/7", "fwmark/0x7": "fwmark/7", "fwmark6/7": "fwmark6/7",
		"10.0.8.8:80": "", "": "", "tcp/": "", "fwmark/0": "", "fwmark/x": "", "icmp/10.0.8.9:80": "", "[10.0.8.9]:x:80": "", "10.0.8.9:": "", "/": "", " ": "", "[": "", "[]:tcp:": "",
	} {
		var got []string
		for _, s := range FindServices(all, word) {
			got = append(got, ServiceWord(s.ServiceKey))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q finds %q, want %q", word, got, want)
		}
	}
	for _, s := range all {
		if got := FindServices(all, ServiceWord(s.ServiceKey)); len(got) != 1 || got[0].ServiceKey != s.ServiceKey {
			t.Errorf("%s does not mean itself alone: %v", ServiceWord(s.ServiceKey), got)
		}
	}
}

func TestARealServerIsFoundByItsAddressWithOrWithoutAPort(t *testing.T) {
	all := findable()
	for word, want := range map[string]int{"10.0.8.12:80": 1, "10.0.8.12": 2, "[10.0.8.13]:tcp:80": 1, "10.0.8.13 80": 1, "10.0.8.14": 0, "fwmark/7": 0, "[10.0.8.13]:udp:80": 0, "web": 0} {
		if got := FindReals(&all[0], word); len(got) != want {
			t.Errorf("%q finds %d, want %d", word, len(got), want)
		}
	}
	if got := FindReals(&all[3], "2001:db8::12"); len(got) != 1 {
		t.Errorf("IPv6: %v", got)
	}
}

func FuzzFindServices(f *testing.F) {
	all := findable()
	for _, word := range []string{"10.0.8.9:80", "[10.0.8.9]:tcp:80", "fwmark/7", "a b c", "[::]:", "tcp/[", "10.0.8.9 "} {
		f.Add(word)
	}
	f.Fuzz(func(t *testing.T, word string) {
		for _, s := range FindServices(all, word) {
			FindReals(s, word)
		}
	})
}
