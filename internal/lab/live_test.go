package lab

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// liveAt is a live lab whose client said what samples say.
func liveAt(samples []Sample) *Live {
	return &Live{lab: &Lab{Site: NewSite("x")}, traffic: &traffic{samples: samples}, byHand: map[string]string{}, off: map[string]bool{}}
}

func director(host, state string, pid int, in bool) HostStatus {
	return HostStatus{Host: host, Role: RoleDirector, PID: pid, State: state, Pool: []PoolStatus{{Real: "10.0.8.13:80", InPool: in}}}
}

func TestWhatHappensIsTold(t *testing.T) {
	at := time.Unix(1000, 0)
	old := Moment{At: at, Lab: NewSite("x"), Master: "director1", Hosts: []HostStatus{director("director1", "MASTER", 7, true), director("director2", "BACKUP", 8, true),
		{Host: "cache", Role: RoleStore, Program: "memcached", PID: 9}, {Host: "real1", Role: RoleWeb}}}
	for want, change := range map[string]func(*Live, *Moment){
		"":                                               func(*Live, *Moment) {},
		"director1: vipd ended by itself!":               func(_ *Live, m *Moment) { m.Hosts[0].PID = 0 },
		"director1: vipd was killed!":                    func(v *Live, m *Moment) { m.Hosts[0].PID, v.byHand["director1"] = 0, "killed" },
		"cache: memcached ended by itself!":              func(_ *Live, m *Moment) { m.Hosts[2].PID = 0 },
		"real1: web server runs again":                   func(_ *Live, m *Moment) { m.Hosts[3].PID = 10 },
		"director2: is master and has 10.0.8.9":          func(_ *Live, m *Moment) { m.Master = "director2" },
		": no director is master!":                       func(_ *Live, m *Moment) { m.Master = "" },
		"director1: takes 10.0.8.13:80 out of the pool!": func(_ *Live, m *Moment) { m.Hosts[0] = director("director1", "MASTER", 7, false) },
	} {
		v, now := liveAt(nil), old
		now.Hosts = append([]HostStatus{}, old.Hosts...)
		change(v, &now)
		var got []string
		for _, e := range v.changes(old, now) {
			got = append(got, e.Host+": "+e.Text+map[bool]string{true: "!"}[e.Bad])
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestSecondsAreCountedWhenTheirAnswersAreIn(t *testing.T) {
	now := time.Unix(2000, 0)
	var samples []Sample
	for _, s := range []struct {
		ago    time.Duration
		failed bool
	}{{90 * time.Second, false}, {5 * time.Second, true}, {4900 * time.Millisecond, false}, {4 * time.Second, true}, {time.Second, false}} {
		one := Sample{At: now.Add(-s.ago), Real: "10.0.8.13"}
		if s.failed {
			one.Error = "timeout"
		}
		samples = append(samples, one)
	}
	v := liveAt(samples)
	seconds := v.seconds(nil, now)
	if len(seconds) != liveSeconds || !seconds[len(seconds)-1].At.Equal(now.Add(-3*time.Second)) {
		t.Fatalf("%d seconds until %v", len(seconds), seconds[len(seconds)-1].At)
	}
	if s := seconds[len(seconds)-3]; s.Failed != 1 || s.ByReal["10.0.8.13"] != 1 {
		t.Errorf("five seconds ago: %+v", s)
	}
	if again := v.seconds(seconds, now.Add(2*time.Second)); len(again) != liveSeconds || !again[len(again)-1].At.Equal(now.Add(-time.Second)) || again[len(again)-1].ByReal["10.0.8.13"] != 1 {
		t.Errorf("two seconds later: %+v", again[len(again)-1])
	}
	events := v.failures(Moment{}, Moment{Seconds: seconds})
	if len(events) != 1 || events[0].Text != "2 requests failed within 2 s; no more" {
		t.Errorf("%+v", events)
	}
	if events := v.failures(Moment{Seconds: seconds}, Moment{Seconds: seconds}); len(events) > 0 {
		t.Errorf("told twice: %+v", events)
	}
}

func TestOldRequestsAreForgottenAndStillCounted(t *testing.T) {
	tr := &traffic{total: 3, failed: 1}
	for _, at := range []int64{100, 200, 300} {
		tr.samples = append(tr.samples, Sample{At: time.Unix(at, 0)})
	}
	tr.forget(time.Unix(150, 0)) // the oldest is not a minute older
	if len(tr.samples) != 3 {
		t.Errorf("%d are left", len(tr.samples))
	}
	tr.forget(time.Unix(250, 0))
	if n, failed := tr.count(); len(tr.samples) != 1 || n != 3 || failed != 1 {
		t.Errorf("%d are left, %d of %d counted", len(tr.samples), failed, n)
	}
}

// TestTheRelayLeadsToTheVirtualIP by way of one web server instead of a balanced service.
func TestTheRelayLeadsToTheVirtualIP(t *testing.T) {
	l := testLab(t)
	l.VIP = netip.MustParseAddrPort("10.0.8.12:80")
	if err := l.Up(); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Relay(ctx, listener) }()
	var said string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && said == ""; time.Sleep(50 * time.Millisecond) {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "GET /x HTTP/1.0\r\n\r\n")
		text, _ := io.ReadAll(conn)
		conn.Close()
		said = string(text)
	}
	if !strings.Contains(said, "real server 10.0.8.12 answers GET /x for 10.0.4.112:") {
		t.Errorf("%q", said)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
