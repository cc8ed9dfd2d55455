package cli

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"vipd/internal/control"
	"vipd/internal/vrrp"
)

var scanTime = time.Date(2026, 1, 1, 0, 0, 10, 0, time.UTC)

func scanAdvert(source string, vrid, priority uint8, interval time.Duration, vip string) []byte {
	a := vrrp.Advert{Source: netip.MustParseAddr(source), Dest: vrrp.GroupIPv4, TTL: 255, Version: 2, VRID: vrid, Priority: priority,
		AdvertInt: interval, VIPs: []netip.Addr{netip.MustParseAddr(vip)}}
	return a.Append(nil)
}

func TestAScanNamesWhatDiffersAndWhatIsFree(t *testing.T) {
	c := vrrp.NewCensus()
	for i := range 3 {
		at := scanTime.Add(time.Duration(i-3) * time.Second)
		c.Hear(at, "eth0", scanAdvert("10.0.8.3", 51, 100, 2*time.Second, "10.0.8.9"))
		c.Hear(at.Add(time.Millisecond), "eth0", scanAdvert("10.0.8.4", 51, 90, time.Second, "10.0.8.9"))
		c.Hear(at, "eth0", scanAdvert("10.0.8.5", 1, 90, time.Second, "10.0.8.9"))
	}
	ours := []control.Router{{Name: "VI_1", Interface: "eth0", VRID: 51, State: "MASTER", Version: 2, AdvertInt: time.Second, Auth: "none",
		Checksum: "message only", VIPs: []string{"10.0.8.9/32"},
		Refusals: []control.Refusal{{Peer: "10.0.8.3", Field: "advert_int", Theirs: "2s", Ours: "1s", Count: 3}}}}
	var out bytes.Buffer
	if err := printScan(&out, c, []string{"eth0"}, ours, true, scanTime); err != nil {
		t.Fatal(err)
	}
	want := `eth0: 3 routers heard, 1 instances of ours
  VRID 1, IPv4
    10.0.8.5 to 224.0.0.18: version 2, priority 90, every 1s, authentication none, checksum message only, addresses [10.0.8.9]; 3 adverts, the last 1s ago
    ! it announces 10.0.8.9, an address of our VI_1, whose virtual_router_id is 51
  VRID 51, IPv4
    ! 2 masters at the same time: [10.0.8.3 10.0.8.4]
    10.0.8.3 to 224.0.0.18: version 2, priority 100, every 2s, authentication none, checksum message only, addresses [10.0.8.9]; 3 adverts, the last 1s ago
    ! advert_int is 2s, ours (VI_1) 1s
    ! VI_1 refused 3 of its adverts: advert_int is 2s, ours 1s
    ! our VI_1 is MASTER too
    10.0.8.4 to 224.0.0.18: version 2, priority 90, every 1s, authentication none, checksum message only, addresses [10.0.8.9]; 3 adverts, the last 1s ago
    ! our VI_1 is MASTER too
  VRID 2 is free
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestVRRPShowsCausesPeersTransitionsAndRefusals(t *testing.T) {
	r := control.Router{Name: "VI_1", Interface: "eth0", VRID: 51, State: "FAULT", Since: scanTime, Why: "interface eth0 down", Version: 3, AdvertInt: time.Second,
		Priority: 100, Auth: "HMAC", Checksum: "with pseudo header", Source: "10.0.8.2", Master: "10.0.8.3", VIPs: []string{"10.0.8.9/32"},
		Causes: []string{"interface eth0 down"}, Sent: 5, Received: 7, Late: 1, WorstLate: 300 * time.Millisecond,
		Peers:       []control.Peer{{Address: "10.0.8.3", Priority: 200, AdvertInt: time.Second, Checksum: "message only", Last: scanTime.Add(-time.Second), Adverts: 7}},
		Transitions: []control.Transition{{At: scanTime.Add(-time.Minute), From: "INIT", To: "BACKUP", Why: "start"}, {At: scanTime, From: "BACKUP", To: "FAULT", Why: "interface eth0 down"}},
		Refusals:    []control.Refusal{{Peer: "10.0.8.4", Reason: "hmac_missing", Field: "auth_hmac", Theirs: "none", Ours: "enforce", Count: 2, Last: scanTime.Add(-2 * time.Second)}}}
	var out bytes.Buffer
	timing := control.Timing{Stalls: 2, WorstStall: 2800 * time.Millisecond, LastStall: 150 * time.Millisecond, LastStallAt: scanTime.Add(-time.Minute)}
	if err := printVRRP(&out, []control.Router{r}, timing, scanTime); err != nil {
		t.Fatal(err)
	}
	want := `! not scheduled for 150ms, 1m0s ago; 2 such stalls since the start, the worst 2.8s
VI_1: FAULT since 2026-01-01 00:00:10, interface eth0 down
  VRID 51 on eth0, version 3 over IPv4, multicast from 10.0.8.2, priority 100, every 1s, authentication HMAC, checksum with pseudo header
  5 adverts sent, 7 received, 1 late by more than a fifth of the interval, the worst by 300ms
  address 10.0.8.9/32
  fault: interface eth0 down
  peer 10.0.8.3, the master: priority 200, every 1s, checksum message only, 7 adverts, the last 1s ago
  refused 2 of 10.0.8.4 (hmac_missing): auth_hmac is none, ours enforce; the last 2s ago
  2026-01-01 00:00:10.000 BACKUP to FAULT: interface eth0 down
  2025-12-31 23:59:10.000 INIT to BACKUP: start
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
