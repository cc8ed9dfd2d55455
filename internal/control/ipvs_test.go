package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vipd/internal/lb"
)

// hand is a daemon that remembers what it is told and refuses every second change.
type hand struct {
	fake
	changes []Change
	err     error
}

func (h *hand) Change(_ context.Context, changes []Change) ([]Answer, error) {
	h.changes = append(h.changes, changes...)
	answers := make([]Answer, len(changes))
	for i := range answers {
		if i%2 == 1 {
			answers[i] = Answer{Errno: "EEXIST", Error: "it is there"}
		}
	}
	return answers, h.err
}

var sameAddr = cmp.Options{cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}

func everyChange() []Change {
	web := lb.Service{ServiceKey: lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:80")}, Scheduler: "mh",
		Flags: lb.SchedFlag2 | lb.SchedFlag3, Persistence: time.Hour, Wild: 0xffffffff}
	mark := lb.Service{ServiceKey: lb.ServiceKey{Mark: 1<<32 - 1, V6: true}, Scheduler: "rr", Persistence: time.Second, Wild: 127, OnePacket: true, Engine: "sip"}
	server := lb.Real{Addr: netip.MustParseAddrPort("[2001:db8::12]:0"), Forward: lb.Tunnel, Weight: -1, Upper: 9, Lower: 3,
		Tunnel: lb.TunnelOptions{Type: lb.GRE, Csum: true}}
	class, _, _ := lb.ParseClass(strings.Fields("7 tcp 10.0.8.0/24 80-90 from 10.0.4.0/24 interface eth0"))
	return []Change{{Do: AddService, Service: web}, {Do: EditService, Service: mark}, {Do: DeleteService, Service: web},
		{Do: AddServer, Service: mark, Real: server}, {Do: EditServer, Service: web, Real: lb.Real{Addr: netip.MustParseAddrPort("10.0.8.12:80"), Forward: lb.Local}},
		{Do: DeleteServer, Service: web, Real: lb.Real{Addr: netip.MustParseAddrPort("10.0.8.12:80")}}, {Do: Flush}, {Do: Zero}, {Do: Zero, Service: web},
		{Do: Set, Timeouts: lb.Timeouts{TCP: time.Minute, UDP: time.Second}},
		{Do: AddClass, Class: class}, {Do: DeleteClass, Class: class}, {Do: FlushClasses}, {Do: Tune, Setting: "drop_entry", Value: 3},
		{Do: StartDaemon, Daemon: lb.SyncDaemon{Master: true, Interface: "eth0", ID: 7, MaxLen: 1000, Group: netip.MustParseAddr("ff02::81"), Port: 9000, TTL: 5}},
		{Do: StopDaemon}}
}

func TestChangesArriveInOrderAndEachIsAnswered(t *testing.T) {
	h := &hand{}
	answers, err := start(t, h).Change(context.Background(), everyChange())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(everyChange(), h.changes, sameAddr); d != "" {
		t.Error(d)
	}
	if len(answers) != len(h.changes) || answers[0].Errno != "" || answers[1].Errno != "EEXIST" || answers[1].Error != "it is there" {
		t.Errorf("answers %+v", answers)
	}
	h.err = errors.New("the daemon is stopping")
	if _, err := start(t, h).Change(context.Background(), everyChange()); err == nil || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("error %v", err)
	}
}

func TestTheTableIsReadWholeAndAnEmptyOneIsAList(t *testing.T) {
	f := &fake{status: fullStatus()}
	got, err := start(t, f).Table(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Table{Size: f.status.TableSize, Services: f.status.Services}, got, sameAddr); d != "" {
		t.Error(d)
	}
	if got, err = start(t, &fake{}).Table(context.Background()); err != nil || got.Services == nil {
		t.Errorf("an empty table is %+v, %v", got, err)
	}
}

func TestChangesThatNameNothingWholeAreRefusedAtTheSocket(t *testing.T) {
	service, server := `"service":{"protocol":"tcp","address":"10.0.8.9","port":80,"scheduler":"rr"}`, `"real":{"address":"10.0.8.12","port":80,"forward":"route","weight":1}`
	for _, tc := range []struct{ body, want string }{
		{``, "EOF"},
		{`{}`, "cannot unmarshal"},
		{`[] []`, "something follows"},
		{`[{"do":"explode"}]`, "unknown"},
		{`[{"do":"flush","force":true}]`, "unknown field"},
		{`[{"do":"flush",` + service + `}]`, "other parts"},
		{`[{"do":"add-service"}]`, "other parts"},
		{`[{"do":"add-service",` + service + `,` + server + `}]`, "other parts"},
		{`[{"do":"add-server",` + service + `}]`, "other parts"},
		{`[{"do":"set"}]`, "other parts"},
		{`[{"do":"add-class"}]`, "other parts"},
		{`[{"do":"flush","class":"7 10.0.8.9"}]`, "other parts"},
		{`[{"do":"add-class","class":"0 10.0.8.9"}]`, "mark"},
		{`[{"do":"add-class","class":" "}]`, "mark"},
		{`[{"do":"tune"}]`, "other parts"},
		{`[{"do":"tune","setting":{"name":"drop_entry","value":-1}}]`, "cannot unmarshal"},
		{`[{"do":"set","timeouts":{"tcp":-1}}]`, "negative"},
		{`[{"do":"add-service","service":{"scheduler":"rr"}}]`, `unknown word ""`},
		{`[{"do":"add-service","service":{"protocol":"tcp","scheduler":"rr"}}]`, "without an address"},
		{`[{"do":"add-service","service":{"protocol":"tcp","port":80,"scheduler":"rr"}}]`, "without an address"},
		{`[{"do":"add-service","service":{"fwmark":7,"scheduler":"averyveryverylongname"}}]`, "too long"},
		{`[{"do":"add-service","service":{"fwmark":7,"scheduler":"rr","mask_bits":33}}]`, "mask_bits 33"},
		{`[{"do":"add-service","service":{"fwmark":7,"ipv6":true,"scheduler":"rr","mask":"255.0.0.0"}}]`, "an IPv4 netmask"},
		{`[{"do":"add-service","service":{"fwmark":7,"scheduler":"rr","flags":["flag-4"]}}]`, "unknown scheduler flag"},
		{`[{"do":"add-server",` + service + `,"real":{"forward":"route"}}]`, "without an address"},
		{`[{"do":"add-server",` + service + `,"real":{"address":"10.0.8.12","forward":"route","weight":4294967296}}]`, "cannot unmarshal"},
		{`[` + strings.Repeat(`{"do":"flush"},`, MaxChanges) + `{"do":"flush"}]`, "more than"},
	} {
		h := &hand{}
		c := start(t, h)
		body, err := c.do(context.Background(), "POST", "/v1/ipvs", strings.NewReader(tc.body))
		if err == nil {
			body.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) || len(h.changes) != 0 {
			t.Errorf("%.100s: error %v, want %q; %d changes", tc.body, err, tc.want, len(h.changes))
		}
	}
}

func TestARequestThatNeverEndsIsCutOff(t *testing.T) {
	endless := &repeating{text: []byte(`{"do":"flush"},`)}
	body, err := start(t, &hand{}).do(context.Background(), "POST", "/v1/ipvs", endless)
	if err == nil {
		body.Close()
		t.Error("it was taken")
	}
	if endless.sent.Load() > 2*maxChangeBytes {
		t.Errorf("%d bytes were read", endless.sent.Load())
	}
}

type repeating struct {
	text []byte
	sent atomic.Int64 // the client may still read when it has its answer
}

func (r *repeating) Read(b []byte) (n int, err error) {
	for n < len(b) {
		n += copy(b[n:], r.text)
	}
	r.sent.Add(int64(n))
	return n, nil
}

// FuzzChanges reads what anybody may post: it must not panic, and what is taken survives another trip.
func FuzzChanges(f *testing.F) {
	all, err := encodeChanges(everyChange())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(all)
	for _, s := range []string{`[]`, `[{"do":"zero"}]`, `[{"do":"zero","service":{"fwmark":1,"scheduler":""}}]`, `null`,
		`[{"do":"add-service","service":{"protocol":"200","address":"fe80::1%eth0","port":0,"scheduler":"x","mask_bits":1}}]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		changes, err := decodeChanges(bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, c := range changes {
			_ = fmt.Sprint(c, c.All(), c.Service.Netmask())
		}
		sent, err := encodeChanges(changes)
		if err != nil {
			t.Fatalf("%+v cannot be sent: %v", changes, err)
		}
		again, err := decodeChanges(bytes.NewReader(sent))
		if err != nil {
			t.Fatalf("%s is sent as %s, which is refused: %v", b, sent, err)
		}
		if d := cmp.Diff(changes, again, sameAddr); d != "" {
			t.Errorf("%s\n%s", sent, d)
		}
	})
}
