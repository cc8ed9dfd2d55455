package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// The forwarding methods that the site can be built for.
const (
	DR  = "dr"  // real servers on the directors' network, with the virtual IP on their loopback
	NAT = "nat" // real servers whose gateway is the active director
	TUN = "tun" // real servers behind a router, which unpack what comes through the directors' tunnels

	// Content has HAProxy behind the directors, by DR, and behind it one pool for topics and one for attachments.
	Content = "content"
)

// Methods lists them.
var Methods = []string{DR, NAT, TUN, Content}

// natGateway is the second virtual address of the method NAT: what real servers answer through, wherever it moves.
var natGateway = netip.MustParseAddr("10.0.8.10")

// farRouter joins the directors' network and those of the method TUN's real servers.
var farRouter = netip.MustParseAddr("10.0.8.2")

// Use builds the site for a forwarding method. It is called once, before the third tier is added. It returns a MissingError if
// the machine lacks a program.
func (l *Lab) Use(method string) error {
	switch method {
	case DR:
	case NAT:
		l.useNAT()
	case TUN:
		l.useTUN()
	case Content:
		if tool("haproxy") == "" {
			return &MissingError{Programs: []string{"haproxy"}, Packages: []string{"haproxy"}}
		}
		l.useContent()
	default:
		return fmt.Errorf("no method %q", method)
	}
	l.Method = method
	return nil
}

// alter changes a host of the site.
func (s *Site) alter(name string, change func(*Host)) {
	for i := range s.Hosts {
		if s.Hosts[i].Name == name {
			change(&s.Hosts[i])
		}
	}
}

// useNAT makes the directors routers, which tell nobody of a shorter way, and the real servers hosts that have never heard of
// the virtual IP.
func (s *Site) useNAT() {
	for _, host := range s.Directors {
		s.alter(host, func(h *Host) {
			h.Sysctls = append(h.Sysctls, Sysctl{Key: "net.ipv4.ip_forward", Value: "1"},
				Sysctl{Key: "net.ipv4.conf.all.send_redirects", Value: "0"}, Sysctl{Key: "net.ipv4.conf.default.send_redirects", Value: "0"})
		})
	}
	for host := range s.Reals {
		s.alter(host, func(h *Host) { h.Loopback, h.Sysctls, h.Routes = nil, nil, []Route{{Via: natGateway}} })
	}
}

// useTUN puts each real server into a network of its own behind a further router.
func (s *Site) useTUN() {
	s.Hosts = append(s.Hosts, Host{Name: "router2", Routes: s.inside, Sysctls: []Sysctl{{Key: "net.ipv4.ip_forward", Value: "1"}}})
	s.Cables = slices.DeleteFunc(s.Cables, func(c Cable) bool { _, real := s.Reals[c.A.Host]; return real })
	s.Cables = append(s.Cables, patch("router2", farRouter, false))
	s.Reals = map[string]netip.Addr{"real1": netip.MustParseAddr("10.0.13.13"), "real2": netip.MustParseAddr("10.0.12.12")}
	for i, host := range []string{"real1", "real2"} {
		addr := s.Reals[host].As4()
		addr[3] = 1
		near := netip.AddrFrom4(addr)
		s.Cables = append(s.Cables, Cable{A: end(host, "eth0", s.Reals[host]), B: end("router2", fmt.Sprintf("eth%d", i+1), near)})
		s.alter(host, func(h *Host) { h.Routes = []Route{{Via: near}} })
		s.inside = append(s.inside, Route{To: netip.PrefixFrom(near, 24).Masked(), Via: farRouter})
	}
	for _, host := range s.Directors {
		s.alter(host, func(h *Host) { h.Routes = s.inside })
	}
}

// unpack lets the real servers of the method TUN take what comes through a tunnel, by vipd's own decapsulator: not every
// kernel has a tunnel device. The command ends when it is in force.
func (l *Lab) unpack() error {
	if l.Method != TUN {
		return nil
	}
	for host := range l.Reals {
		p, err := l.start(host, RoleExec, false, "realserver", "decap", "--interface", "eth0", "--vip", l.VIP.Addr().String())
		if err != nil {
			return err
		}
		if err := p.ended(30 * time.Second); err != nil {
			return fmt.Errorf("decapsulator of %s: %w; it said: %s", host, err, l.lastWords(host))
		}
	}
	return nil
}

// shape is what a later process must know of a lab that stands, beside its name.
type shape struct{ Method, Forum string }

func (l *Lab) shapeFile() string { return filepath.Join(l.Dir, "lab.json") }

// remember writes down what kind of lab this is.
func (l *Lab) remember() error {
	data, err := json.Marshal(shape{l.Method, l.Forum})
	if err != nil {
		return err
	}
	return os.WriteFile(l.shapeFile(), data, 0o644)
}

// Recall makes l the kind of lab that stands. Where none does, l stays as it is.
func (l *Lab) Recall() error {
	data, err := os.ReadFile(l.shapeFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var s shape
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		return fmt.Errorf("read what kind of lab stands: %w", err)
	}
	if err := l.Use(s.Method); err != nil || s.Forum == "" {
		return err
	}
	return l.Furnish(s.Forum)
}
