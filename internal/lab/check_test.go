package lab

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"vipd/internal/control"
	"vipd/internal/lb"
	"vipd/internal/vrrp"
)

// RFC 3768 §6.1: Master_Down_Interval is (3 * Advertisement_Interval) + Skew_time, Skew_Time is (256 - Priority) / 256.
func TestTakeoverBound(t *testing.T) {
	for sentence, c := range map[string]struct {
		cfg  vrrp.Config
		want time.Duration
	}{
		"of the site":                       {vrrp.Config{Priority: 100, AdvertInt: time.Second}, 3*time.Second + 609375*time.Microsecond + 500*time.Millisecond},
		"of a file that leaves all away":    {vrrp.Config{}, 3*time.Second + 609375*time.Microsecond + 500*time.Millisecond},
		"of a slow and important backup":    {vrrp.Config{Priority: 254, AdvertInt: 4 * time.Second}, 12*time.Second + 7812500*time.Nanosecond + 500*time.Millisecond},
		"of version 3 with a tenth of that": {vrrp.Config{Version: 3, Priority: 128, AdvertInt: 100 * time.Millisecond}, 850 * time.Millisecond},
	} {
		if got := TakeoverBound(c.cfg); got != c.want {
			t.Errorf("%s: got %s, want %s", sentence, got, c.want)
		}
	}
}

func service(scheduler string, persistence time.Duration, weights ...int32) control.Service {
	svc := control.Service{Service: lb.Service{Scheduler: scheduler, Persistence: persistence}}
	for i, w := range weights {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 8, byte(12 + i)}), 80)
		svc.Reals = append(svc.Reals, control.Real{Real: lb.Real{Addr: addr, Weight: w}})
	}
	return svc
}

func TestFairShare(t *testing.T) {
	const a, b = "10.0.8.12", "10.0.8.13"
	one, two := netip.MustParseAddr("10.0.4.102"), netip.MustParseAddr("10.0.4.103")
	three, four := netip.MustParseAddr("10.0.4.104"), netip.MustParseAddr("10.0.4.105")
	for sentence, c := range map[string]struct {
		svc  control.Service
		f    Figures
		want string // part of the complaint; empty: holds
	}{
		"wrr: even over equal weights":       {service("wrr", 0, 2, 2), Figures{ByReal: map[string]int{a: 200, b: 201}}, ""},
		"wrr: uneven over equal weights":     {service("wrr", 0, 2, 2), Figures{ByReal: map[string]int{a: 210, b: 190}}, "spread"},
		"wrr: three to one":                  {service("wrr", 0, 3, 1), Figures{ByReal: map[string]int{a: 300, b: 100}}, ""},
		"wrr: three to one, one never asked": {service("wrr", 0, 3, 1), Figures{ByReal: map[string]int{a: 400}}, "spread"},
		"rr: weights do not count":           {service("rr", 0, 3, 1), Figures{ByReal: map[string]int{a: 200, b: 200}}, ""},
		"sh: promises no split":              {service("sh", 0, 1, 1), Figures{ByReal: map[string]int{a: 400}}, ""},
		"a real server of weight 0 is asked": {service("wrr", 0, 1, 0), Figures{ByReal: map[string]int{a: 400}}, ""},
		"persistent: addresses are spread": {service("wrr", time.Second, 2, 2), Figures{ByClient: map[netip.Addr]map[string]int{
			one: {a: 100}, two: {b: 50}}}, ""},
		"persistent: an address moved": {service("wrr", time.Second, 2, 2), Figures{ByClient: map[netip.Addr]map[string]int{
			one: {a: 100}, two: {b: 50, a: 1}}}, "10.0.4.103 was sent to 2"},
		"persistent: all addresses on one": {service("wrr", time.Second, 2, 2), Figures{ByClient: map[netip.Addr]map[string]int{
			one: {a: 100}, two: {a: 100}, three: {a: 1}, four: {a: 1}}}, "addresses are spread"},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := strings.Join(fairShare(c.f, c.svc), "; ")
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestRules(t *testing.T) {
	good := Figures{Requests: 10, LongestGap: ms(40), ByReal: map[string]int{"a": 10}}
	bad := Figures{Requests: 10, Failed: 4, LongestGap: ms(4000), ByReal: map[string]int{"b": 6}, ByError: map[string]int{"timeout": 1, "reset": 3}}
	for sentence, c := range map[string]struct {
		got  []string
		want string
	}{
		"no failure":                     {noFailure(good), ""},
		"failures, the most frequent":    {noFailure(bad), "4 of 10 requests failed (3 reset, 1 timeout)"},
		"no request is no success":       {noFailure(Figures{}), "no request was made"},
		"a gap within its bound":         {gapWithin(good, ms(50)), ""},
		"a gap beyond its bound":         {gapWithin(bad, ms(3000)), "no answer for 4000 ms; the bound is 3000 ms"},
		"no answer at all":               {gapWithin(Figures{Requests: 3, Failed: 3, LongestGap: ms(10)}, ms(50)), "no answer for 10 ms; the bound is 50 ms"},
		"a dead real server is silent":   {nothingFrom(good, "b"), ""},
		"a dead real server answers":     {nothingFrom(bad, "b"), "b answered 6 requests although its web server was dead"},
		"a real server is back":          {somethingFrom(good, "a"), ""},
		"a real server is back and idle": {somethingFrom(bad, "a"), "a is back in the pool and answered nothing"},
	} {
		if got := strings.Join(c.got, "; "); got != c.want {
			t.Errorf("%s: got %q, want %q", sentence, got, c.want)
		}
	}
}
