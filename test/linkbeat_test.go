package test

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// polled has drivers asked for the links of all interfaces of instances, and of one that nothing follows.
const polled = `linkbeat_interfaces {
	eth0 MII
	eth1
}
interface_up_down_delays {
	eth0 5 0
}
vrrp_instance VI_1 {
	interface eth0
	virtual_router_id 51
	state BACKUP
	priority 150
	advert_int 1
	virtual_ipaddress {
		10.77.0.9/24
	}
}
`

var aboutLinks = regexp.MustCompile(`(?m)(\(eth0\): Configured linkbeat.*?|Turning off linkbeat.*?|Using MII.*?|Linkbeat reports.*?|Netlink reports.*?|VI_1: .*debounce.*?)(?: (?:if|vi)=\w+)*$`)

// TestLinksThatArePolledAreKeepaliveds: which way the driver is asked and what is said of it, and that a link that goes and
// comes back counts, after a delay that is as short as its instance needs it. A veth has no transceiver, and answers ethtool.
func TestLinksThatArePolledAreKeepaliveds(t *testing.T) {
	if !alone(t, 2*time.Minute, "ip", "nsenter", "keepalived") {
		return
	}
	script(t, 0, twoHosts)
	script(t, 0, "ip -n theirs link del eth0") // each is to be alone
	file := write(t, t.TempDir(), "polled.conf", polled)
	said := map[string][]string{}
	for name, args := range map[string][]string{
		"theirs": {"keepalived", "-nlP", "-f", file, "-p", "/run/keepalived.pid", "-r", "/run/vrrp.pid"},
		"ours":   {program(), "run", "-f", file},
	} {
		script(t, 0, strings.ReplaceAll("ip -n NAME link add eth0 type veth peer name far0; ip -n NAME link set far0 up; ip -n NAME link set eth0 up; ip -n NAME addr add 10.77.0.1/24 dev eth0", "NAME", name))
		p := &playing{cmd: exec.Command("nsenter", append([]string{"--net=/run/netns/" + name}, args...)...)}
		starts(t, p)
		says := func(count int, what string) {
			t.Helper()
			eventually(t, 30*time.Second, name+" says "+what, func() bool { return strings.Count(p.said(), what) >= count })
		}
		says(1, "Entering MASTER STATE")
		script(t, 0, "ip -n "+name+" link set far0 down")
		says(1, "Entering FAULT STATE")
		script(t, 0, "ip -n "+name+" link set far0 up")
		says(2, "Entering MASTER STATE")
		finishes(t, p)
		for _, found := range aboutLinks.FindAllStringSubmatch(p.said(), -1) {
			said[name] = append(said[name], found[1])
		}
		slices.Sort(said[name]) // which comes first at the start is chance
	}
	want := []string{"VI_1: interface eth0 debounce timer(s) not less that 2 * advert_int - resetting", "(eth0): Configured linkbeat type MII not supported, using ETHTOOL", "Linkbeat reports eth0 down", "Linkbeat reports eth0 up",
		"Turning off linkbeat for eth1 since not used for tracking", "Using MII-BMSR/ETHTOOL NIC polling thread(s)..."}
	slices.Sort(want)
	if !slices.Equal(said["theirs"], said["ours"]) || !slices.Equal(said["ours"], want) {
		t.Errorf("keepalived says\n%s\nvipd says\n%s\nwant\n%s", strings.Join(said["theirs"], "\n"), strings.Join(said["ours"], "\n"), strings.Join(want, "\n"))
	}
}
