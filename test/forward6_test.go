package test

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// routed6 gives the hosts of routed their IPv6 addresses.
const routed6 = routed + `
for h in client director real; do
	ip netns exec fwd-$h sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.eth0.accept_dad=0
done
ip netns exec fwd-director sysctl -qw net.ipv6.conf.eth1.accept_dad=0
ip -n fwd-client addr add 2001:db8:4::102/64 dev eth0 nodad
ip -n fwd-director addr add 2001:db8:4::1/64 dev eth0 nodad
ip -n fwd-director addr add 2001:db8:8::25/64 dev eth1 nodad
ip -n fwd-real addr add 2001:db8:8::12/64 dev eth0 nodad
ip -n fwd-client -6 route add default via 2001:db8:4::1
ip -n fwd-real -6 route add default via 2001:db8:8::25
`

const virtual6 = "[2001:db8:8::9]:80"

// TestTCPOfIPv6ThroughNAT: to another port, the replies by the director.
func TestTCPOfIPv6ThroughNAT(t *testing.T) {
	if !alone(t, 2*time.Minute, "ip", "ethtool", "sysctl") {
		return
	}
	shell(t, routed6)
	shout(t, "real", "[2001:db8:8::12]:8080")
	direct(t, virtual6, "lb_kind NAT\n real_server 2001:db8:8::12 8080 {\n }")
	talks(t, virtual6)
	if list := works(t, "ipvsadm", "--instance", "forward", "-lcn"); !strings.Contains(list, "TIME_WAIT   [2001:db8:4::102]:") {
		t.Errorf("no connection that both sides have closed in\n%s", list)
	}
}

// TestTCPThroughTunnelsOfIPv6: IPv6 inside, outside or both.
func TestTCPThroughTunnelsOfIPv6(t *testing.T) {
	if !alone(t, 4*time.Minute, "ip", "ethtool", "sysctl") {
		return
	}
	shell(t, routed6)
	shell(t, "ip -n fwd-real addr add 10.0.8.9/32 dev lo; ip -n fwd-real addr add 2001:db8:8::9/128 dev lo nodad")
	shout(t, "real", virtual)
	shout(t, "real", virtual6)
	for name, m := range map[string]struct {
		service, far, kind string
		protocol, skip     int
	}{
		"6in6":                   {virtual6, "2001:db8:8::12", "TUN", unix.IPPROTO_IPV6, 0},
		"4in6":                   {virtual, "2001:db8:8::12", "TUN", unix.IPPROTO_IPIP, 0},
		"6in4":                   {virtual6, "10.0.8.12", "TUN", unix.IPPROTO_IPV6, 0},
		"6in6, GUE, checksummed": {virtual6, "2001:db8:8::12", "TUN type gue port 6080 csum", unix.IPPROTO_UDP, 12},
		"4in6, GUE, checksummed": {virtual, "2001:db8:8::12", "TUN type gue port 6080 csum", unix.IPPROTO_UDP, 12},
		"6in4, GUE, checksummed": {virtual6, "10.0.8.12", "TUN type gue port 6080 csum", unix.IPPROTO_UDP, 12},
		"6in6, GRE, checksummed": {virtual6, "2001:db8:8::12", "TUN type gre csum", unix.IPPROTO_GRE, 8},
		"6in4, GRE":              {virtual6, "10.0.8.12", "TUN type gre", unix.IPPROTO_GRE, 4},
	} {
		t.Run(name, func(t *testing.T) {
			unwrap6(t, m.far, m.protocol, m.skip)
			direct(t, m.service, "lb_kind "+m.kind+"\n real_server "+m.far+" 80 {\n }")
			talks(t, m.service)
		})
	}
}

// unwrap6 is the far end of a tunnel to an address of either family, as unwrap is.
func unwrap6(t *testing.T, far string, protocol, skip int) {
	t.Helper()
	addr := netip.MustParseAddr(far)
	outer := unix.AF_INET6
	if addr.Is4() {
		outer, skip = unix.AF_INET, skip+20 // a raw socket of IPv4 gives the outer header, one of IPv6 does not
	}
	err := in(t, "real", func() error {
		if protocol == unix.IPPROTO_UDP {
			c, err := net.ListenPacket("udp", netip.AddrPortFrom(addr, 6080).String())
			if err != nil {
				return err
			}
			t.Cleanup(func() { c.Close() })
		}
		from, err := unix.Socket(outer, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
		if err != nil {
			return err
		}
		to4, err4 := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		to6, err6 := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		err = errors.Join(err4, err6, unix.SetsockoptInt(from, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
			unix.SetsockoptTimeval(from, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}))
		if err != nil {
			return err
		}
		stop, ended := make(chan struct{}), make(chan struct{})
		t.Cleanup(func() { close(stop); <-ended; unix.Close(from); unix.Close(to4); unix.Close(to6) })
		go func() {
			defer close(ended)
			b := make([]byte, 2048)
			for {
				select {
				case <-stop:
					return
				default:
				}
				n, _, err := unix.Recvfrom(from, b, 0)
				if err != nil || n <= skip+20 {
					continue
				}
				switch inner := b[skip:n]; inner[0] >> 4 {
				case 4:
					_ = unix.Sendto(to4, inner, 0, &unix.SockaddrInet4{Addr: [4]byte(inner[16:])})
				case 6:
					_ = unix.Sendto(to6, inner, 0, &unix.SockaddrInet6{Addr: [16]byte(inner[24:])})
				}
			}
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
