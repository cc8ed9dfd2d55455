package host

import (
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"vipd/internal/need"
)

// shown is what ip(8) prints, one blank between words.
func shown(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(need.Tool(t, "ip"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.Join(strings.Fields(string(out)), " ")
}

func TestARouteIsWhatIpShowsOfIt(t *testing.T) {
	c := newCable(t)
	check(t, AddAddress(vip(c.near, "fd00:9::1/64")))
	for want, r := range map[string]NewRoute{
		"203.0.113.0/24 via 10.9.0.2 dev NEAR proto keepalived":       {To: "203.0.113.0/24", Via: addr("10.9.0.2"), Dev: c.near, Table: "300"},
		"default via 10.9.0.2 dev NEAR proto keepalived src 10.9.0.1": {To: "default", Via: addr("10.9.0.2"), Dev: c.near, Table: "300", Source: addr("10.9.0.1")},
		"10.88.0.0/24 dev NEAR proto keepalived scope link metric 50": {To: "10.88.0.0/24", Dev: c.near, Table: "300", Scope: "link", Metric: 50},
		"10.88.0.1 dev NEAR proto keepalived":                         {To: "10.88.0.1", Dev: c.near, Table: "300"},
		"unreachable 10.89.0.0/24 proto keepalived":                   {Type: "unreachable", To: "10.89.0.0/24", Table: "300"},
		"throw 10.94.0.0/16 proto keepalived":                         {Type: "9", To: "10.94.0.0/16", Table: "300"},
		"local 10.95.0.1 dev lo proto keepalived scope host":          {Type: "local", To: "10.95.0.1/32", Dev: "lo", Table: "300"},
		"fd01::/64 via fd00:9::2 dev NEAR proto keepalived metric 77 pref high": {V6: true, To: "fd01::/64", Via: addr("fd00:9::2"), Dev: c.near, Table: "300", Metric: 77,
			Options: [][2]string{{"pref", "high"}}},
		"fd02::/64 dev NEAR proto keepalived metric 1024 pref medium": {V6: true, To: "fd02::/64", Dev: c.near, Table: "300"},
		"10.97.0.0/16 via inet6 fe80::1 dev NEAR proto keepalived":    {To: "10.97.0.0/16", Via: addr("fe80::1"), Dev: c.near, Table: "300"},
		"10.90.0.0/24 tos EF via 10.9.0.3 dev NEAR proto bird onlink mtu lock 1400 rtt 100ms advmss 1300 hoplimit 33 initcwnd 20 features ecn rto_min lock 200ms congctl cubic": {
			To: "10.90.0.0/24", Via: addr("10.9.0.3"), Dev: c.near, Table: "300", OnLink: true, Options: [][2]string{{"dsfield", "EF"}, {"protocol", "bird"}, {"lock", "mtu"},
				{"mtu", "1400"}, {"rtt", "100ms"}, {"lock", "rto_min"}, {"rto_min", "0.2s"}, {"advmss", "1300"}, {"hoplimit", "33"}, {"initcwnd", "20"}, {"features", "ecn"}, {"congctl", "cubic"}}},
		"10.92.0.0/24 encap ip id 3 src 10.9.0.1 dst 192.0.2.1 ttl 7 tos 0 via 10.9.0.2 dev NEAR proto keepalived": {To: "10.92.0.0/24", Via: addr("10.9.0.2"), Dev: c.near, Table: "300",
			Options: [][2]string{{"encap ip id", "3"}, {"encap ip dst", "192.0.2.1"}, {"encap ip src", "10.9.0.1"}, {"encap ip hoplimit", "7"}}},
		"fd03::/64 encap ip6 id 4 src :: dst fd00:9::2 hoplimit 0 tc 16 dev NEAR proto keepalived metric 1024 pref medium": {V6: true, To: "fd03::/64", Dev: c.near, Table: "300",
			Options: [][2]string{{"encap ip6 dst", "fd00:9::2"}, {"encap ip6 id", "0x4"}, {"encap ip6 tc", "0x10"}}},
		"10.93.0.0/24 proto keepalived nexthop encap ip id 1 src 0.0.0.0 dst 192.0.2.1 ttl 0 tos 0 via 10.9.0.5 dev NEAR weight 1 nexthop via 10.9.0.6 dev NEAR weight 1": {To: "10.93.0.0/24", Table: "300",
			Nexthops: []NewHop{{Via: addr("10.9.0.5"), Dev: c.near, Options: [][2]string{{"encap ip id", "1"}, {"encap ip dst", "192.0.2.1"}}}, {Via: addr("10.9.0.6"), Dev: c.near}}},
		"10.91.0.0/24 proto keepalived nexthop via 10.9.0.5 dev NEAR weight 3 nexthop via 10.9.0.6 dev NEAR weight 1": {To: "10.91.0.0/24", Table: "300",
			Nexthops: []NewHop{{Via: addr("10.9.0.5"), Dev: c.near, Weight: 3}, {Via: addr("10.9.0.6"), Dev: c.near}}},
	} {
		t.Run(want, func(t *testing.T) {
			family := map[bool]string{false: "-4", true: "-6"}[r.V6]
			check(t, AddRoute(r))
			check(t, AddRoute(r)) // twice is once
			if got := strings.ReplaceAll(shown(t, family, "route", "show", "table", "300"), c.near, "NEAR"); got != want {
				t.Errorf("ip shows %q", got)
			}
			check(t, DelRoute(r))
			check(t, DelRoute(r))
			if got := shown(t, family, "route", "show", "table", "all"); strings.Contains(got, "table 300") {
				t.Errorf("left behind: %s", got)
			}
		})
	}
}

func TestARouteOfAnInterfaceThatIsNotThere(t *testing.T) {
	newCable(t)
	r := NewRoute{To: "203.0.113.0/24", Dev: "no-such"}
	if err := AddRoute(r); err == nil || err.Error() != `add route 203.0.113.0/24 dev no-such: interface "no-such" does not exist` {
		t.Errorf("add: %v", err)
	}
	check(t, DelRoute(r))
}

func TestWhatARouteCannotBe(t *testing.T) {
	for want, r := range map[string]NewRoute{
		`add route nonsense: ParseAddr("nonsense"): unable to parse IP`:                                          {To: "nonsense"},
		`add route 10.0.0.0/8: "odd" is no type of a route`:                                                      {To: "10.0.0.0/8", Type: "odd"},
		`add route 10.0.0.0/8 table nowhere: "nowhere" is neither a number of 32 bits nor a name in rt_tables`:   {To: "10.0.0.0/8", Table: "nowhere"},
		`add route 10.0.0.0/8: encap mpls 16/1048576: label "1048576" is no number of 20 bits`:                   {To: "10.0.0.0/8", Options: [][2]string{{"encap mpls", "16/1048576"}}},
		`add route 10.0.0.0/8: encap mpls 16/: label "" is no number of 20 bits`:                                 {To: "10.0.0.0/8", Options: [][2]string{{"encap mpls", "16/"}}},
		`add route 10.0.0.0/8: encap ila 1:2:3: a locator is four groups of hexadecimal digits with colons`:      {To: "10.0.0.0/8", Options: [][2]string{{"encap ila", "1:2:3"}}},
		`add route 10.0.0.0/8: encap ip dst fd00::1: an address of the other family`:                             {To: "10.0.0.0/8", Options: [][2]string{{"encap ip dst", "fd00::1"}}},
		`add route 10.0.0.0/8: as to 10.1.0.1: not supported in this version`:                                    {To: "10.0.0.0/8", Options: [][2]string{{"as to", "10.1.0.1"}}},
		`add route 10.0.0.0/8: mtu: strconv.ParseUint: parsing "large": invalid syntax`:                          {To: "10.0.0.0/8", Options: [][2]string{{"mtu", "large"}}},
		`add route 10.0.0.0/8: realms nowhere: "nowhere" is neither a number of 16 bits nor a name in rt_realms`: {To: "10.0.0.0/8", Options: [][2]string{{"realms", "nowhere"}}},
	} {
		if err := AddRoute(r); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// RFC 3032 2.1: "Label: Label Value, 20 bits; Exp: Experimental Use, 3 bits; S: Bottom of Stack, 1 bit; TTL: Time to Live,
// 8 bits". "S: This bit is set to one for the last entry in the label stack".
func TestLabelsAreAStackOfWhichTheLastIsTheBottom(t *testing.T) {
	stack, err := labels("100/0xfffff/3")
	if want := []byte{0, 6, 64, 0, 0xff, 0xff, 0xf0, 0, 0, 0, 0x31, 0}; err != nil || !slices.Equal(stack, want) {
		t.Errorf("% x, %v, want % x", stack, err, want)
	}
	if half, err := locator("2001:0:a:1"); err != nil || !slices.Equal(half, []byte{0x20, 1, 0, 0, 0, 10, 0, 1}) {
		t.Errorf("% x, %v", half, err)
	}
}

func TestARuleIsWhatIpShowsOfIt(t *testing.T) {
	newCable(t)
	for want, r := range map[string]NewRule{
		"1000: from 10.9.0.9 lookup 300 proto keepalived":                     {Priority: 1000, From: "10.9.0.9", Table: "300", Action: "table"},
		"1001: from all to 10.1.0.0/16 iif eth9 lookup main proto keepalived": {Priority: 1001, To: "10.1.0.0/16", In: "eth9", Table: "main"},
		"1002: from all tos 0x10 fwmark 0x7/0xff lookup 300 proto keepalived": {Priority: 1002, Table: "300", Options: [][2]string{{"fwmark", "7/0xff"}, {"tos", "0x10"}}},
		"1003: not from 10.2.0.0/16 oif eth8 blackhole proto keepalived":      {Priority: 1003, Not: true, From: "10.2.0.0/16", Out: "eth8", Action: "blackhole"},
		"1004: from all goto 2000 proto keepalived":                           {Priority: 1004, Action: "goto", Goto: 2000},
		"1005: from all nop proto keepalived":                                 {Priority: 1005, Action: "nop"},
		"1006: from fd00::/16 lookup 300 suppress_prefixlength 8 proto keepalived": {V6: true, Priority: 1006, From: "fd00::/16", Table: "300",
			Options: [][2]string{{"sup_pl", "8"}}},
		"1007: from all uidrange 0-100 ipproto tcp sport 1000-2000 dport 80 lookup 300 proto static": {Priority: 1007, Table: "300",
			Options: [][2]string{{"ipproto", "tcp"}, {"dport", "80"}, {"sport", "1000-2000"}, {"uidrange", "0-100"}, {"protocol", "static"}}},
		"1008: from all prohibit proto keepalived": {V6: true, Priority: 1008, From: "all", Action: "prohibit"},
	} {
		t.Run(want, func(t *testing.T) {
			family := map[bool]string{false: "-4", true: "-6"}[r.V6]
			check(t, AddRule(r))
			check(t, AddRule(r))
			rules := shown(t, family, "-d", "rule", "show", "pref", strings.TrimSuffix(strings.Fields(want)[0], ":"))
			for _, note := range []string{" [detached]", " [unresolved]"} { // of names that nothing has yet
				rules = strings.ReplaceAll(rules, note, "")
			}
			if rules != want {
				t.Errorf("ip shows %q", rules)
			}
			check(t, DelRule(r))
			check(t, DelRule(r))
			if got := shown(t, family, "rule", "show", "pref", strings.TrimSuffix(strings.Fields(want)[0], ":")); got != "" {
				t.Errorf("left behind: %s", got)
			}
		})
	}
}

func TestNumbersAndNames(t *testing.T) {
	for _, c := range []struct {
		kind, word string
		bits       int
		want       uint64
	}{{"rt_tables", "main", 32, 254}, {"rt_tables", "0x10", 32, 16}, {"rt_protos", "keepalived", 8, 18}, {"rt_dsfield", "AF43", 8, 0x98}, {"protocols", "vrrp", 8, 112}, {"scope", "link", 8, 253}} {
		if n, err := Number(c.kind, c.word, c.bits); err != nil || n != c.want {
			t.Errorf("%s %s: %d, %v", c.kind, c.word, n, err)
		}
	}
	if _, err := Number("rt_protos", "256", 8); err == nil {
		t.Error("256 fits into 8 bits")
	}
}

func TestAddressFlagsAndPeer(t *testing.T) {
	c := newCable(t)
	peer := vip(c.near, "10.9.0.12/32")
	peer.Peer = addr("10.99.0.1")
	plain := vip(c.near, "10.9.0.14/24")
	plain.NoPrefixRoute = true
	six := vip(c.near, "fd00:9::12/64")
	six.Home, six.Preferred, six.PreferredSet = true, 500, true
	for want, a := range map[string]Address{
		"inet 10.9.0.12 peer 10.99.0.1/32 scope global":                                                       peer,
		"inet 10.9.0.14/24 scope global secondary noprefixroute":                                              plain,
		"inet6 fd00:9::12/64 scope global nodad home proto keepalived valid_lft forever preferred_lft 500sec": six,
	} {
		check(t, AddAddress(a))
		got := strings.ReplaceAll(shown(t, "addr", "show", "dev", c.near), " proto keepalived", "")
		if want = strings.ReplaceAll(want, " proto keepalived", ""); !strings.Contains(got, want) {
			t.Errorf("ip shows %s\nwant %s", got, want)
		}
		check(t, DelAddress(a))
	}
	all, err := Addresses(c.near)
	check(t, err)
	if i := slices.IndexFunc(all, func(a Assigned) bool { return a.Proto == Protocol }); i >= 0 {
		t.Errorf("left behind: %+v", all[i])
	}
}

func TestPacketsToPrivateAddressesAreDropped(t *testing.T) {
	c := newCable(t)
	four, six := vip(c.near, "10.9.0.50/32"), vip(c.near, "fd00:9::50/64")
	check(t, AddAddress(four))
	check(t, AddAddress(six))
	c.do(func() { check(t, AddAddress(vip(c.far, "fd00:9::2/64"))) })
	ping := func(to string) bool {
		var err error
		c.do(func() { err = exec.Command(need.Tool(t, "ping"), "-c1", "-W1", to).Run() })
		return err == nil
	}
	table := DropTable{Name: "vipd-test", Priority: -1}
	for _, step := range []struct {
		drop  []string
		reach map[string]bool
	}{
		{nil, map[string]bool{"10.9.0.50": true, "10.9.0.1": true, "fd00:9::50": true}},
		{[]string{"10.9.0.50", "fd00:9::50"}, map[string]bool{"10.9.0.50": false, "10.9.0.1": true, "fd00:9::50": false}},
		{[]string{"fd00:9::50"}, map[string]bool{"10.9.0.50": true, "fd00:9::50": false}},
		{nil, map[string]bool{"10.9.0.50": true, "fd00:9::50": true}},
	} {
		check(t, DropTo(table, addrs(step.drop)))
		for to, want := range step.reach {
			got := ping(to)
			for end := time.Now().Add(30 * time.Second); want && !got && time.Now().Before(end); { // the kernel adds routes of IPv6 late
				got = ping(to)
			}
			if got != want {
				t.Errorf("with %v dropped: ping %s answers: %v", step.drop, to, got)
			}
		}
	}
}

func addrs(list []string) (all []netip.Addr) {
	for _, s := range list {
		all = append(all, addr(s))
	}
	return all
}
