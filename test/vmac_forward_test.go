package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// vmacService has a service whose address is on a virtual MAC; LINE is one more of the instance.
const vmacService = `vrrp_instance VI_1 {
	interface eth0
	virtual_router_id 51
	priority 150
	version 3
	advert_int 0.1
	use_vmac
	LINE
	virtual_ipaddress {
		10.0.4.9/24
	}
}
virtual_server 10.0.4.9 80 {
	lb_kind NAT
	lb_algo rr
	protocol TCP
	real_server 10.0.8.12 80 {
	}
}
`

// TestAServiceOnAVirtualMAC: frames to the MAC address of the virtual router go through the packet path of the interface that
// carries it, and what is no service's to the host; with no_accept the service is all that there is.
func TestAServiceOnAVirtualMAC(t *testing.T) {
	if !alone(t, 3*time.Minute, "ip", "ethtool", "nsenter", "ping") {
		return
	}
	script(t, 0, routed)
	shout(t, "real", "10.0.8.12:80")
	for _, line := range []string{"", "no_accept"} {
		t.Run("with "+line, func(t *testing.T) {
			file := t.TempDir() + "/vmac.conf"
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(vmacService, "LINE", line)), 0o644); err != nil {
				t.Fatal(err)
			}
			p := &playing{cmd: exec.Command("nsenter", "--net=/run/netns/fwd-director", program(), "run", "-D", "-f", file, "--instance", "vmac", "--interface", "eth0", "--interface", "eth1")}
			starts(t, p)
			t.Cleanup(func() {
				if t.Failed() {
					t.Log(p.said())
				}
			})
			eventually(t, 60*time.Second, "it is master", func() bool {
				return strings.Contains(p.said(), "Entering MASTER STATE") && strings.Contains(p.said(), "Startup complete")
			})
			text := bytes.Repeat([]byte("virtual "), 5000)
			eventually(t, 30*time.Second, "the service answers", func() bool {
				answer, err := converse(t, "10.0.4.9:80", text, 10*time.Second)
				return err == nil && bytes.Equal(answer, bytes.ToUpper(text))
			})
			if neigh := script(t, 0, "ip -n fwd-client neigh show 10.0.4.9"); !strings.Contains(neigh, "00:00:5e:00:01:33") {
				t.Errorf("the client speaks with %s", neigh)
			}
			if status := works(t, "status", "--instance", "vmac"); !strings.Contains(status, "10.0.8.12:80") {
				t.Errorf("status:\n%s", status)
			}
			want := fmt.Sprintf("%d received", map[bool]int{true: 0, false: 2}[line == "no_accept"])
			if got := script(t, 0, "ip netns exec fwd-client ping -c 2 -i 0.2 -W 2 10.0.4.9; true"); !strings.Contains(got, want) {
				t.Errorf("the host should have %s of 2 pings:\n%s", want, got)
			}
			finishes(t, p)
			if left := script(t, 0, "ip -n fwd-director -o link"); strings.Contains(left, "vrrp.51") {
				t.Errorf("left: %s", left)
			}
		})
	}
}
