package xdp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"vipd/internal/lb"
	"vipd/internal/plane"
	"vipd/internal/plane/planetest"
)

func classFrom(t *testing.T, text string) lb.Class {
	t.Helper()
	c, _, err := lb.ParseClass(strings.Fields(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func setClasses(t *testing.T, p *Plane, texts ...string) {
	t.Helper()
	var list []lb.Class
	for _, text := range texts {
		list = append(list, classFrom(t, text))
	}
	if err := p.SetClasses(list); err != nil {
		t.Fatal(err)
	}
}

// target is where a client sends packets.
func target(text string) lb.Service {
	proto, addr, _ := strings.Cut(text, " ")
	return lb.Service{ServiceKey: lb.ServiceKey{Protocol: map[string]lb.Protocol{"tcp": lb.TCP, "udp": lb.UDP}[proto], Addr: netip.MustParseAddrPort(addr)}}
}

// listed is what ipvsadm -Lcn shows of connections, without the times.
func listed(t *testing.T, p *Plane) string {
	t.Helper()
	var list []string
	for _, c := range conns(t, p) {
		list = append(list, fmt.Sprintf("%s %s %v %v %v", c.Protocol, c.StateName(), c.Client, c.Virtual, c.Real))
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

func TestServicesOfSeveralPorts(t *testing.T) {
	p := opened(t, small)
	sticky := func(s lb.Service) lb.Service { s.Persistence = 10 * time.Second; return s }
	mark := lb.Service{ServiceKey: lb.ServiceKey{Mark: 7}, Scheduler: "rr"}
	named := func(addr string) lb.Service { s := target(addr); s.Scheduler = "rr"; return s }
	server := func(host byte, port uint16) lb.Real {
		r := planetest.Server(host, 1)
		r.Addr = netip.AddrPortFrom(r.Addr.Addr(), port)
		return r
	}
	for _, row := range []struct {
		name    string
		classes []string
		service lb.Service
		server  lb.Real
		to      []string
		want    string
	}{
		{"a mark, persistent", []string{"7 tcp 10.0.8.9 80-443"}, sticky(mark), server(13, 0), []string{"tcp 10.0.8.9:80", "tcp 10.0.8.9:443"},
			"IP ASSURED 10.0.4.10:0 0.0.0.7:0 10.0.8.13:0\nTCP ESTABLISHED 10.0.4.10:40000 10.0.8.9:80 10.0.8.13:80\n" +
				"TCP ESTABLISHED 10.0.4.10:40001 10.0.8.9:443 10.0.8.13:443"},
		{"a mark, persistent, of servers with a port", []string{"7 10.0.0.0/8"}, sticky(mark), server(13, 8080), []string{"tcp 10.99.0.1:80"},
			"IP ASSURED 10.0.4.10:0 0.0.0.7:0 10.0.8.13:0\nTCP ESTABLISHED 10.0.4.10:40000 10.99.0.1:80 10.0.8.13:80"},
		{"a mark of servers with a port", []string{"7 10.0.0.0/8"}, mark, server(13, 8080), []string{"tcp 10.99.0.1:80"},
			"TCP ESTABLISHED 10.0.4.10:40000 10.99.0.1:80 10.0.8.13:8080"},
		{"a mark of servers without a port", []string{"7 0.0.0.0/0 53"}, mark, server(13, 0), []string{"udp 192.0.2.1:53"},
			"UDP UDP 10.0.4.10:40000 192.0.2.1:53 10.0.8.13:53"},
		{"FTP", nil, sticky(named("tcp 10.0.8.9:21")), server(13, 21), []string{"tcp 10.0.8.9:21", "tcp 10.0.8.9:1025"},
			"TCP ASSURED 10.0.4.10:0 10.0.8.9:0 10.0.8.13:0\nTCP ESTABLISHED 10.0.4.10:40000 10.0.8.9:21 10.0.8.13:21\n" +
				"TCP ESTABLISHED 10.0.4.10:40001 10.0.8.9:1025 10.0.8.13:1025"},
		{"every port", nil, sticky(named("tcp 10.0.8.9:0")), server(13, 80), []string{"tcp 10.0.8.9:22", "tcp 10.0.8.9:80"},
			"TCP ASSURED 10.0.4.10:0 10.0.8.9:0 10.0.8.13:0\nTCP ESTABLISHED 10.0.4.10:40000 10.0.8.9:22 10.0.8.13:22\n" +
				"TCP ESTABLISHED 10.0.4.10:40001 10.0.8.9:80 10.0.8.13:80"},
	} {
		t.Run(row.name, func(t *testing.T) {
			emptied(t, p)
			setClasses(t, p, row.classes...)
			do(t, p, add(row.service, row.server)...)
			for i, to := range row.to {
				runner{p}.Connect(t, target(to), port(uint16(40000+i)))
			}
			if got := listed(t, p); got != row.want {
				t.Errorf("listed:\n%s\nwant:\n%s", got, row.want)
			}
		})
	}
}

// TestServicesOfSeveralPortsAreLeft: what does not belong to them goes to the host, as before they were there and after.
func TestServicesOfSeveralPortsAreLeft(t *testing.T) {
	p := opened(t, small)
	mark := lb.Service{ServiceKey: lb.ServiceKey{Mark: 7}, Scheduler: "rr"}
	passes := func(to string, want bool) {
		t.Helper()
		verdict, _ := runner{p}.pass(t, target(to).ServiceKey, port(40000), "S")
		if (verdict != xdpTX) != want {
			t.Errorf("%s: verdict %d", to, verdict)
		}
	}
	setClasses(t, p, "7 tcp 10.0.8.9 80", "8 tcp 10.0.8.9 81")
	passes("tcp 10.0.8.9:80", true)
	do(t, p, add(mark, planetest.Server(11, 1))...)
	passes("tcp 10.0.8.9:80", false)
	passes("tcp 10.0.8.9:81", true)
	passes("udp 10.0.8.9:80", true)
	setClasses(t, p, "7 tcp 10.0.8.9 81")
	passes("tcp 10.0.8.9:81", false)
	passes("tcp 10.0.8.9:82", true)
	setClasses(t, p, "7 10.0.8.9 interface lo")
	passes("tcp 10.0.8.9:82", false)
	setClasses(t, p, "7 10.0.8.9 interface nosuch0")
	passes("tcp 10.0.8.9:83", true)
	setClasses(t, p, "7 10.0.8.9")
	do(t, p, plane.Op{Verb: plane.DelService, Service: mark})
	passes("tcp 10.0.8.9:84", true)
}

// TestMarksAreKnownToTheSuccessor: classes, the services of marks, their real servers' ports and the settings.
func TestMarksAreKnownToTheSuccessor(t *testing.T) {
	opts := small
	opts.PinDir = pinDir(t)
	first := opened(t, opts)
	mark := lb.Service{ServiceKey: lb.ServiceKey{Mark: 1<<32 - 2}, Scheduler: "rr", Persistence: time.Minute}
	mark6 := lb.Service{ServiceKey: lb.ServiceKey{Mark: 7, V6: true}, Scheduler: "lblc"}
	do(t, first, add(mark, planetest.Server(12, 1))...)
	do(t, first, plane.Op{Verb: plane.AddService, Service: mark6})
	every := planetest.Web
	every.Addr = netip.AddrPortFrom(every.Addr.Addr(), 0)
	do(t, first, add(every, planetest.Server(13, 1))...)
	setClasses(t, first, "4294967294 tcp 10.0.8.0/24 80-90 from 10.0.4.0/25 interface lo", "7 2001:db8::/47 from 2001:db8:4::1")
	for name, value := range map[string]uint32{"sloppy_tcp": 1, "lblcr_expiration": 77, "icmp_msgs_per_sec": 5} {
		if err := first.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	runner{first}.Connect(t, target("tcp 10.0.8.77:85"), port(40000))
	do(t, first, plane.Op{Verb: plane.DelReal, Service: mark, Real: planetest.Server(12, 1)}) // and its connection stays
	classes, _ := first.Classes()
	settings, _ := first.Settings()
	pools, _ := first.Read()
	kill(first)

	second := opened(t, opts)
	planetest.Want(t, second, plane.Pools(pools))
	if got, _ := second.Classes(); !slices.Equal(got, classes) {
		t.Errorf("classes %v, were %v", got, classes)
	}
	got, _ := second.Settings()
	for name, value := range settings {
		if got[name] != value {
			t.Errorf("%s is %d, was %d", name, got[name], value)
		}
	}
	if settings["sloppy_tcp"] != 1 || settings["lblcr_expiration"] != 77 || settings["icmp_msgs_per_sec"] != 5 {
		t.Errorf("settings %v", settings)
	}
	do(t, second, plane.Op{Verb: plane.AddReal, Service: mark, Real: planetest.Server(12, 1)})
	if verdict, _ := (runner{second}).pass(t, target("tcp 10.0.8.77:85").ServiceKey, port(40000), "A"); verdict != xdpTX {
		t.Errorf("the connection ends: verdict %d", verdict)
	}
}

// TestConnectionsOfARemovedServerEnd at once with expire_nodest_conn, and their templates.
func TestConnectionsOfARemovedServerEnd(t *testing.T) {
	p := opened(t, small)
	do(t, p, add(sticky(), planetest.Server(11, 1), planetest.Server(12, 0))...)
	runner{p}.Connect(t, sticky(), port(40000))
	gone := plane.Op{Verb: plane.DelReal, Service: sticky(), Real: planetest.Server(11, 1)}
	do(t, p, gone)
	if n := len(conns(t, p)); n != 2 {
		t.Fatalf("%d entries, want the connection and its template", n)
	}
	do(t, p, plane.Op{Verb: plane.AddReal, Service: sticky(), Real: planetest.Server(11, 1)})
	if err := p.Set("expire_nodest_conn", 1); err != nil {
		t.Fatal(err)
	}
	do(t, p, gone)
	if got := listed(t, p); got != "" {
		t.Errorf("left:\n%s", got)
	}
	// Those of a server that went before it was set end when another one goes.
	do(t, p, plane.Op{Verb: plane.AddReal, Service: sticky(), Real: planetest.Server(11, 1)})
	if err := p.Set("expire_nodest_conn", 0); err != nil {
		t.Fatal(err)
	}
	runner{p}.Connect(t, sticky(), port(40000))
	do(t, p, gone)
	if err := p.Set("expire_nodest_conn", 1); err != nil {
		t.Fatal(err)
	}
	if n := len(conns(t, p)); n != 2 {
		t.Errorf("%d entries before another server goes", n)
	}
	do(t, p, plane.Op{Verb: plane.DelReal, Service: sticky(), Real: planetest.Server(12, 0)})
	if got := listed(t, p); got != "" {
		t.Errorf("left of a server that went before:\n%s", got)
	}
}

// TestWhatIsNotCarriedIsSaid of settings.
func TestWhatIsNotCarriedIsSaid(t *testing.T) {
	for name, s := range settings {
		err := CheckSetting(name, 1)
		if (err != nil) != (s.unit == notCarried) {
			t.Errorf("%s 1: %v", name, err)
		}
	}
	for _, s := range plane.Settings {
		if _, ok := settings[s.Name]; !ok && !s.Sync() {
			t.Errorf("%s has no place", s.Name)
		}
	}
}

// TestFTPWithAnotherPort: masquerading would send data connections there too.
func TestFTPWithAnotherPort(t *testing.T) {
	s := lb.Service{ServiceKey: target("tcp 10.0.8.9:21").ServiceKey, Persistence: time.Minute}
	r := lb.Real{Addr: netip.MustParseAddrPort("10.0.8.11:2121"), Weight: 1}
	if err := Check(s, []lb.Real{r}); err == nil || !strings.Contains(err.Error(), "masquerading FTP to port 2121 (21 is)") {
		t.Errorf("error %v", err)
	}
	p, plain := opened(t, small), s
	plain.Persistence = 0
	do(t, p, add(plain, r)...)
	if err := p.Apply([]plane.Op{{Verb: plane.EditService, Service: s}}); !errors.Is(err, plane.ErrUnsupported) {
		t.Errorf("made persistent: error %v", err)
	}
	r.Addr = netip.MustParseAddrPort("10.0.8.11:21")
	if err := Check(s, []lb.Real{r}); err != nil {
		t.Error(err)
	}
}
