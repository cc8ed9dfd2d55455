package bpf

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vipd/internal/need"
)

// TestKernelTakesOutWhatWePutIn: what goes to a real server by a tunnel is accepted by Linux's own devices there (ipip, sit,
// ip6tnl, gre, ip6gre, and fou for GUE), of either family in either, with checksums and without, and the datagram inside arrives.
// test/vm plays it, where those devices are, and makes the network.
func TestKernelTakesOutWhatWePutIn(t *testing.T) {
	if os.Getenv(need.InVM) == "" {
		t.Skip("this kernel need not have tunnels: test/vm plays it in the VM")
	}
	r := newRig(t, 4)
	for i, to := range []netip.AddrPort{vip, vip6} {
		s := r.serve(to, udpProto, LbSchedulerSCHED_RR)
		if i == 0 {
			s.add(1)
		}
		s.members = []LbMember{{Real: 1, Weight: 1}}
		s.refill()
	}
	wire := packetSocket(t, "wire0")
	far, err := net.InterfaceByName("far0")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		to   netip.AddrPort
		far  netip.Addr
	}{{"4in4", vip, far4}, {"6in6", vip6, far6}, {"4in6", vip, far6}, {"6in4", vip6, far4}} {
		c, err := net.ListenPacket("udp", row.to.String())
		if err != nil {
			t.Fatal(err)
		}
		for name, w := range tunnels {
			t.Run(row.name+" "+name, func(t *testing.T) {
				r.TB = t
				greDevices(t, w.kind == 2 && w.flags != 0)
				r.change(1, tunnelTo(row.far, w.kind, w.flags))
				text := fmt.Sprintf("%s by %s", row.name, name)
				_, out, why := r.run(frame{proto: udpProto, to: row.to, frag: 0x4000, summed: true, payload: []byte(text)}.bytes())
				if !forwardsWhy(why) {
					t.Fatal(why.name())
				}
				copy(out, far.HardwareAddr)
				if _, err := unix.Write(wire, out); err != nil {
					t.Fatal(err)
				}
				heard := make([]byte, 100)
				if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
					t.Fatal(err)
				}
				n, _, err := c.ReadFrom(heard)
				if err != nil || string(heard[:n]) != text {
					t.Errorf("%q arrived, error %v\n% x", heard[:n], err, out)
				}
			})
		}
		c.Close()
	}
}

// packetSocket sends frames as they are.
func packetSocket(t *testing.T, name string) int {
	t.Helper()
	i, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: i.Index}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// greDevices are those that take packets with checksums, or without: Linux wants to be told.
func greDevices(t *testing.T, sums bool) {
	t.Helper()
	csum := map[bool]string{true: "icsum", false: "noicsum"}[sums]
	script := fmt.Sprintf(`for d in gre4 gre6; do ip link del $d 2>/dev/null; done; set -e
ip link add gre4 type gre local %s remote any %s; ip link set gre4 up
ip link add gre6 type ip6gre local %s remote any %s; ip link set gre6 up`, far4, csum, far6, csum)
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
