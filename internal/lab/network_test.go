package lab

import (
	"net/netip"
	"strings"
	"testing"
)

func TestSiteIsSound(t *testing.T) {
	s := NewSite("x")
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	if got := s.Namespace("client"); got != "x-client" {
		t.Errorf("namespace of the client: %s", got)
	}
	for host, addr := range map[string]string{"director1": "10.0.8.25", "director2": "10.0.8.55", "real1": "10.0.8.13", "real2": "10.0.8.12"} {
		own, far, ok := s.plug(host)
		if !ok || own.Addrs[0].Addr() != netip.MustParseAddr(addr) || own.If != "eth0" {
			t.Errorf("%s: %+v", host, own)
		}
		if strings.HasPrefix(host, "director") != far.PassXDP {
			t.Errorf("%s: a program that passes at the switch: %t", host, far.PassXDP)
		}
	}
	if len(s.Clients) != clients || s.Clients[0].String() != "10.0.4.102" || s.Clients[9].String() != "10.0.4.111" {
		t.Errorf("client addresses: %v", s.Clients)
	}
	if host, err := s.RealNamed("10.0.8.12"); err != nil || host != "real2" {
		t.Errorf("10.0.8.12 is %s, %v", host, err)
	}
}

func TestCheckFindsMistakes(t *testing.T) {
	for sentence, c := range map[string]struct {
		spoil func(*Network)
		want  string
	}{
		"a host stands twice":                     {func(n *Network) { n.Hosts = append(n.Hosts, n.Hosts[0]) }, "host client: described twice"},
		"a cable ends nowhere":                    {func(n *Network) { n.Cables[0].A.Host = "nobody" }, "nobody/eth0: no such host"},
		"an interface has two cables":             {func(n *Network) { n.Cables[1].A.If = "eth1" }, "router/eth1: interface used twice"},
		"two ends have one MAC":                   {func(n *Network) { n.Cables[1].A.MAC = n.Cables[0].A.MAC }, "02:00:0a:00:04:66 used twice"},
		"a MAC is multicast":                      {func(n *Network) { n.Cables[0].A.MAC[0] = 1 }, "is no unicast MAC"},
		"an interface name is too long":           {func(n *Network) { n.Cables[0].A.If = "abcdefghijklmnop" }, "1 to 15 characters"},
		"a gateway is on another network":         {func(n *Network) { n.Hosts[0].Routes[0].Via = siteInside }, "gateway 10.0.8.1 is on none of its networks"},
		"a host without a cable has a gateway":    {func(n *Network) { n.Hosts = append(n.Hosts, Host{Name: "x", Routes: []Route{{Via: siteFront}}}) }, "host x: gateway"},
		"an interface name is missing altogether": {func(n *Network) { n.Cables[0].B.If = "" }, "router/: an interface name"},
	} {
		t.Run(sentence, func(t *testing.T) {
			n := NewSite("x").Network
			c.spoil(&n)
			if err := n.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
