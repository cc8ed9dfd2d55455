package control

import (
	"context"
	"encoding/json"
	"net/netip"
	"os/user"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vipd/internal/lb"
)

// obedient is a daemon that notes what it is told and by whom.
type obedient struct {
	fake
	got Order
	by  string
}

func (o *obedient) Operate(ctx context.Context, order Order) Outcome {
	o.got, o.by = order, Caller(ctx)
	return Outcome{Done: true}
}

func TestAnOrderComesOverTheSocketWithItsCaller(t *testing.T) {
	src := &obedient{}
	c := start(t, src)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []Order{
		{Do: OrderDrain, Service: lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:80")}, Real: netip.MustParseAddrPort("10.0.8.12:80")},
		{Do: OrderDisable, Service: lb.ServiceKey{Protocol: lb.UDP, Addr: netip.MustParseAddrPort("[2001:db8::9]:0")}, Real: netip.MustParseAddrPort("[2001:db8::12]:0")},
		{Do: OrderWeight, Service: lb.ServiceKey{Mark: 7, V6: true}, Real: netip.MustParseAddrPort("[2001:db8::12]:0"), Weight: 65535},
		{Do: OrderWeight, Service: lb.ServiceKey{Mark: 7}, Real: netip.MustParseAddrPort("10.0.8.12:0"), Percent: 50},
		{Do: OrderReady, Service: lb.ServiceKey{Mark: 7}, Real: netip.MustParseAddrPort("10.0.8.12:0")},
	} {
		if out, err := c.Operate(t.Context(), want); err != nil || !out.Done {
			t.Fatalf("%+v: %+v, %v", want, out, err)
		}
		if src.got != want || !strings.HasPrefix(src.by, me.Username) {
			t.Errorf("sent %+v, came %+v by %q", want, src.got, src.by)
		}
	}
}

var badOrders = map[string]string{
	`{"do":"stop","fwmark":7,"real":"10.0.8.12:80"}`:                                        `do "stop": want drain, disable, weight or ready`,
	`{"do":"drain","fwmark":7,"real":"10.0.8.12"}`:                                          "want ADDRESS:PORT",
	`{"do":"drain","real":"10.0.8.12:80"}`:                                                  "want protocol, address and port, or fwmark",
	`{"do":"drain","protocol":"icmp","address":"10.0.8.9","port":80,"real":"10.0.8.12:80"}`: "want protocol, address and port, or fwmark",
	`{"do":"drain","fwmark":7,"real":"10.0.8.12:80","weight":1}`:                            "drain takes no weight",
	`{"do":"weight","fwmark":7,"real":"10.0.8.12:80","weight":-1}`:                          "want 0 to 65535",
	`{"do":"weight","fwmark":7,"real":"10.0.8.12:80","weight":1,"percent":5}`:               "want 0 to 65535",
	`{"do":"weight","fwmark":7,"real":"10.0.8.12:80","percent":1001}`:                       "want 0 to 65535",
	`{"do":"weight","fwmark":7,"real":"10.0.8.12:80","weight":65536}`:                       "want 0 to 65535",
	`{"do":"drain","fwmark":-7,"real":"10.0.8.12:80"}`:                                      "cannot unmarshal",
	`[]`: "cannot unmarshal",
}

func TestABadOrderIsRefusedWithAReason(t *testing.T) {
	src := &obedient{}
	c := start(t, src)
	for text, want := range badOrders {
		_, err := c.do(t.Context(), "POST", "/v1/operator", strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := c.do(t.Context(), "POST", "/v1/operator", strings.NewReader(strings.Repeat(" ", maxOrder+1))); err == nil {
		t.Error("an endless order is read")
	}
	if src.got != (Order{}) {
		t.Errorf("a bad order was given: %+v", src.got)
	}
}

// FuzzOrder: whatever comes is refused or is the same order after another journey.
func FuzzOrder(f *testing.F) {
	for text := range badOrders {
		f.Add([]byte(text))
	}
	f.Add([]byte(`{"do":"weight","protocol":"tcp","address":"10.0.8.9","port":80,"real":"10.0.8.12:80","weight":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var o, again Order
		if json.Unmarshal(b, &o) != nil {
			return
		}
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &again); err != nil || again != o {
			t.Errorf("%s: %+v became %+v, %v", b, o, again, err)
		}
	})
}

// reasonable is a daemon that explains one service.
type reasonable struct {
	fake
	why Why
}

func (r *reasonable) Explain(_ context.Context, key lb.ServiceKey) (Why, error) {
	if key.Mark != 0 {
		return Why{}, ErrNothing
	}
	w := r.why
	w.Service = ServiceWord(key)
	return w, nil
}

func TestWhyComesOverTheSocketAsItWasFilled(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := Why{Service: "sctp/[2001:db8::9]:0", Group: "g", Quorum: true, Since: at, Alive: 3, Gained: 2, Lost: 1, Sorry: "10.0.8.99:80", Reals: []WhyReal{{Real: "[::1]:0", Verdict: "in", Weight: 3,
		Rules: []WhyRule{{"check", "it is well", at}}, Checks: []WhyCheck{{Kind: "TCP_CHECK", Target: "[::1]:80", Up: true, Ran: true, Since: at, Every: time.Second, Next: at, Command: "nc",
			Last: []WhyResult{{At: at, Result: "ok", Took: time.Millisecond, First: []byte{0, 255}, Status: 200}}}}}}}
	c := start(t, &reasonable{why: want})
	got, err := c.Explain(t.Context(), lb.ServiceKey{Protocol: lb.SCTP, Addr: netip.MustParseAddrPort("[2001:db8::9]:0")})
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, -sent +received:\n%s", err, diff)
	}
	if _, err := c.Explain(t.Context(), lb.ServiceKey{Mark: 7}); err == nil || !strings.Contains(err.Error(), ErrNothing.Error()) {
		t.Errorf("%v", err)
	}
	for _, word := range []string{"", "10.0.8.9:80", "tcp/10.0.8.9", "web"} {
		if _, err := c.do(t.Context(), "GET", "/v1/why?service="+word, nil); err == nil || !strings.Contains(err.Error(), "want such as tcp/10.0.8.9:80 or fwmark/7") {
			t.Errorf("%q: %v", word, err)
		}
	}
}
