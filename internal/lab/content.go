package lab

import (
	"fmt"
	"net/netip"
	"slices"
)

// Topics and attachments are pools of their own in the method content. Nobody has their addresses, which only stand for them.
var topicsPool = netip.MustParseAddrPort("10.0.8.21:80")

// attachmentsHosts answer for attachments alone.
var attachmentsHosts = []string{"real3", "real4"}

// useContent puts HAProxy between the directors and the real servers, and doubles these: the first two answer for topics.
func (l *Lab) useContent() {
	s := &l.Site
	s.Proxies = map[string]netip.Addr{"proxy1": netip.MustParseAddr("10.0.8.41"), "proxy2": netip.MustParseAddr("10.0.8.42")}
	for i, host := range []string{"real1", "real2"} {
		proxy, _ := s.Host(host) // it is what that was: a real server of the directors, with the virtual address on its loopback
		proxy.Name = fmt.Sprintf("proxy%d", i+1)
		s.Hosts = append(s.Hosts, proxy)
		s.Cables = append(s.Cables, patch(proxy.Name, s.Proxies[proxy.Name], false))
		s.alter(host, func(h *Host) { h.Loopback, h.Sysctls = nil, nil })
	}
	for i, host := range attachmentsHosts {
		s.Reals[host] = netip.AddrFrom4([4]byte{10, 0, 8, byte(14 + i)})
		s.Hosts = append(s.Hosts, Host{Name: host, Routes: s.inside})
		s.Cables = append(s.Cables, patch(host, s.Reals[host], false))
	}
}

// misrouted says which page or attachment another pool than its own has answered for; empty: none.
func (l *Lab) misrouted(c UserCheck) string {
	if len(l.Proxies) == 0 {
		return ""
	}
	for _, got := range []struct {
		what, by    string
		attachments bool
	}{{"the topic", c.Server, false}, {"the attachment", c.FileServer, true}} {
		if host, err := l.RealNamed(got.by); err != nil || slices.Contains(attachmentsHosts, host) != got.attachments {
			return fmt.Sprintf("%s was answered for by %s", got.what, got.by)
		}
	}
	return ""
}
