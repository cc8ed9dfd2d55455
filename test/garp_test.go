package test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// extraAnnouncements has addresses on an interface that sends no adverts, where they are announced again and again.
const extraAnnouncements = `vrrp_instance VI_1 {
	interface eth0
	state MASTER
	virtual_router_id 51
	priority 150
	advert_int 1
	garp_master_delay 1
	garp_master_repeat 2
	garp_extra_if all 2
	virtual_ipaddress {
		10.77.0.9/24
		10.78.0.9/24 dev eth1
		10.78.0.10/24 dev eth1
	}
}
`

var announced = regexp.MustCompile(`Request who-has (10\.7[78]\.0\.\d+) \(ff:ff:ff:ff:ff:ff\)`)

// TestExtraAnnouncementsAreKeepaliveds compares which addresses are announced on which interface, and how often, for as long as
// three of the extra ones.
func TestExtraAnnouncementsAreKeepaliveds(t *testing.T) {
	if wholeMatrix == "" {
		t.Skip("make matrix plays it")
	}
	if !alone(t, 2*time.Minute, "ip", "nsenter", "keepalived", "tcpdump") {
		return
	}
	file := t.TempDir() + "/extra.conf"
	if err := os.WriteFile(file, []byte(extraAnnouncements), 0o644); err != nil {
		t.Fatal(err)
	}
	script(t, 0, twoHosts)
	script(t, 0, "ip -n theirs link del eth0") // each is to be alone
	counts := map[string]map[string]int{}
	for name, args := range map[string][]string{
		"theirs": {"keepalived", "-nlP", "-f", file, "-p", "/run/keepalived.pid", "-r", "/run/vrrp.pid"},
		"ours":   {program(), "run", "-f", file},
	} {
		in := func(args ...string) *playing {
			return &playing{cmd: exec.Command("nsenter", append([]string{"--net=/run/netns/" + name}, args...)...)}
		}
		// A cable that nobody is at.
		script(t, 0, strings.ReplaceAll("ip -n NAME link add eth0 type veth peer name far0; ip -n NAME link set far0 up; ip -n NAME link set eth0 up; ip -n NAME addr add 10.77.0.1/24 dev eth0", "NAME", name))
		dump := in("tcpdump", "-Z", "root", "-l", "-n", "-i", "any", "arp")
		starts(t, dump)
		time.Sleep(500 * time.Millisecond) // it has no other way to say that it listens
		p := in(args...)
		starts(t, p)
		t.Cleanup(func() {
			finishes(t, p)
			finishes(t, dump)
			if t.Failed() {
				t.Log(p.said(), dump.said())
			}
		})
		counts[name] = map[string]int{}
		eventually(t, 60*time.Second, name+" announces for the third time", func() bool {
			clear(counts[name])
			for line := range strings.Lines(dump.said()) { // up to the third, whenever this looks
				if counts[name]["eth1 10.78.0.9"] >= 4+3 {
					break
				}
				if m := announced.FindStringSubmatch(line); m != nil && strings.Contains(line, " Out ") {
					counts[name][fmt.Sprintf("%s %s", strings.Fields(line)[1], m[1])]++
				}
			}
			return counts[name]["eth1 10.78.0.9"] >= 4+3
		})
	}
	if diff := cmp.Diff(counts["theirs"], counts["ours"]); diff != "" {
		t.Errorf("announcements by interface and address (-keepalived +vipd):\n%s", diff)
	}
}
