package vm

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vipd/internal/lb"
	"vipd/internal/need"
	"vipd/internal/plane"
	"vipd/internal/vm"
)

// leavings are how a real server comes to have connections that no new ones are added to.
var leavings = []struct {
	name string
	op   func(s lb.Service, r lb.Real) plane.Op
}{
	{"weight 0", func(s lb.Service, r lb.Real) plane.Op {
		r.Weight = 0
		return plane.Op{Verb: plane.EditReal, Service: s, Real: r}
	}},
	{"removed", func(s lb.Service, r lb.Real) plane.Op { return plane.Op{Verb: plane.DelReal, Service: s, Real: r} }},
	{"removed with its service", func(s lb.Service, _ lb.Real) plane.Op { return plane.Op{Verb: plane.DelService, Service: s} }},
}

// TestTwoPlanesSendErrorsToARealServerThatLeaves: an ICMP error about a reply goes to the real server that sent it as long as
// its connection is there, on the kernel's IPVS and on the packet path: by each method, in both families, however the real
// server has left. With expire_nodest_conn the connection of one that was removed is not there.
func TestTwoPlanesSendErrorsToARealServerThatLeaves(t *testing.T) {
	t.Parallel()
	if !vm.Inside(t, vm.Config{Tools: []string{"ip", need.Tool(t, "nft"), need.Tool(t, "ethtool")}, Script: historyScript, CountInstructions: true, Limit: 30 * time.Minute}) {
		return
	}
	need.BPF(t)
	h := newHistory(t, 1, 1<<11)
	client := byte(0)
	for _, vip := range []netip.Addr{historyVIP, historyVIP6} {
		for _, host := range []byte{11, 13, 14} { // whose methods are direct routing, NAT and a tunnel
			for settings := range 4 {
				for _, leave := range leavings {
					client++
					nodest, quiescent := settings&1, settings>>1
					t.Run(fmt.Sprintf("%v %d expire_nodest_conn %d expire_quiescent_template %d %s", vip, host, nodest, quiescent, leave.name), func(t *testing.T) {
						h.TB, h.apart = t, false
						h.set("expire_nodest_conn", uint32(nodest))
						h.set("expire_quiescent_template", uint32(quiescent))
						s := lb.Service{ServiceKey: lb.ServiceKey{Protocol: lb.TCP, Addr: netip.AddrPortFrom(vip, 80)}, Scheduler: "rr", Persistence: time.Duration(quiescent) * 50 * time.Second}
						r := lb.Real{Addr: netip.AddrPortFrom(hostIn(historyVIP, host), 0), Weight: 1}
						got := h.errorAfter(s, r, leave.op, client)
						if there := nodest == 0 || leave.name == "weight 0"; !there && len(got) != 0 {
							t.Errorf("the kernel: %q, want nothing", got)
						} else if want := fmt.Sprintf("to %x: ", serverMAC(hostIn(vip, host))); there && (len(got) != 1 || !strings.HasPrefix(got[0], want)) {
							t.Errorf("the kernel: %q, want %q…", got, want)
						}
					})
				}
			}
		}
	}
}

// errorAfter opens a connection of a client through a service of one real server, which then leaves, and returns what the kernel
// makes of an error about a reply. Another service keeps the kernel's IPVS awake.
func (h *history) errorAfter(s lb.Service, r lb.Real, leave func(lb.Service, lb.Real) plane.Op, client byte) []string {
	h.Helper()
	other := lb.Service{ServiceKey: lb.ServiceKey{Protocol: lb.TCP, Addr: netip.AddrPortFrom(s.Addr.Addr(), 443)}, Scheduler: "rr"}
	h.apply("add a service", plane.Op{Verb: plane.AddService, Service: other})
	h.apply("add a service", plane.Op{Verb: plane.AddService, Service: s})
	h.apply("add a real server", plane.Op{Verb: plane.AddReal, Service: s, Real: r})
	from := netip.AddrPortFrom(hostIn(netip.MustParseAddr("10.0.4.0"), client), 3000)
	if s.Is6() {
		from = netip.AddrPortFrom(hostIn(netip.MustParseAddr("fd00:4::"), client), 3000)
	}
	h.pass("packet", segment{proto: lb.TCP, from: from, to: s.Addr, event: syn}, routerMAC)
	h.apply("make a real server leave", leave(s, r))
	e := failure{about: segment{proto: lb.TCP, from: s.Addr, to: from, event: syn | ack}, kind: failures[0]}
	if s.Is6() {
		e.kind = failures6[0]
	}
	got := h.exchange(e.frame(directorMAC, routerMAC), func([]string) []string { return hostsFailure(e) })
	for _, left := range []lb.Service{s, other} {
		if h.pools[left.ServiceKey] != nil {
			h.apply("delete a service", plane.Op{Verb: plane.DelService, Service: left})
		}
	}
	return got
}
