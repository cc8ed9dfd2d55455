package cli

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"vipd/internal/control"
	"vipd/internal/lb"
)

type (
	svc = control.Service
	rs  = control.Real
)

// world is a daemon made of data, and a shell that changes it with ipvsadm's commands.
type world struct {
	status   control.Status
	conns    []lb.Conn
	timeouts lb.Timeouts
	names    Names
	err      error
}

func newWorld() *world {
	return &world{status: control.Status{TableSize: 4096}, timeouts: lb.DefaultTimeouts, names: fakeNames{}}
}

func (w *world) Status(context.Context) (control.Status, error) { return w.status, w.err }
func (w *world) Timeouts(context.Context) (lb.Timeouts, error)  { return w.timeouts, w.err }
func (w *world) Conns(_ context.Context, visit func(lb.Conn) bool) error {
	for _, c := range w.conns {
		if !visit(c) {
			break
		}
	}
	return w.err
}

func (w *world) env(out, errs *bytes.Buffer) Env {
	return Env{Stdin: strings.NewReader(""), Stdout: out, Stderr: errs, Getenv: func(string) string { return "" }, Names: w.names,
		Dial: func(string) (control.Source, error) { return w, nil }}
}

// shell runs commands joined by ";" and "&&".
func (w *world) shell(line string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	for i, part := range strings.Split(strings.ReplaceAll(line, "&&", ";&"), ";") {
		part, and := strings.CutPrefix(part, "&")
		if i > 0 && and && code != 0 {
			continue
		}
		args := shellWords(part)
		if args[0] == "echo" {
			fmt.Fprintln(&out, strings.ReplaceAll(strings.Join(args[1:], " "), "$?", fmt.Sprint(code)))
			code = 0
			continue
		}
		code = w.run(args[1:], &out, &errs)
	}
	return code, out.String(), errs.String()
}

// shellWords splits at blanks; single quotes group.
func shellWords(line string) []string {
	var out []string
	for i, piece := range strings.Split(line, "'") {
		if i%2 == 1 {
			out = append(out, piece)
		} else {
			out = append(out, strings.Fields(piece)...)
		}
	}
	return out
}

func (w *world) run(args []string, out, errs *bytes.Buffer) int {
	if c, bad := parseIpvsadm("ipvsadm", args, w.names); bad == nil && w.apply(c) {
		return 0
	}
	return Ipvsadm("ipvsadm", args, w.env(out, errs))
}

// apply does what a changing command says, as far as the recorded runs need it.
func (w *world) apply(c *ipvsCommand) bool {
	at := slices.IndexFunc(w.status.Services, func(s svc) bool { return s.ServiceKey == c.service.ServiceKey })
	switch c.verb {
	case addService:
		w.status.Services = append(w.status.Services, svc{Service: c.service})
	case editService:
		w.status.Services[at].Service = c.service
	case deleteService:
		w.status.Services = slices.Delete(w.status.Services, at, at+1)
	case flush:
		w.status.Services = nil
	case zero:
	case setTimeouts:
		for i, n := range []time.Duration{c.timeouts.TCP, c.timeouts.TCPFin, c.timeouts.UDP} {
			if n != 0 {
				*[]*time.Duration{&w.timeouts.TCP, &w.timeouts.TCPFin, &w.timeouts.UDP}[i] = n
			}
		}
	case addServer:
		s := &w.status.Services[at]
		s.Reals = append(s.Reals, rs{Real: c.real, InPool: true})
	case editServer, deleteServer:
		s := &w.status.Services[at]
		i := slices.IndexFunc(s.Reals, func(r rs) bool { return r.Addr == c.real.Addr })
		if c.verb == deleteServer {
			s.Reals = slices.Delete(s.Reals, i, i+1)
		} else {
			s.Reals[i].Real = c.real
		}
	default:
		return false
	}
	return true
}

// fakeNames are the names of the machine that the runs were recorded on.
type fakeNames map[string]string

func namesOf(long bool) fakeNames {
	n := fakeNames{"10.0.8.9": "vip.example.com", "10.0.8.12": "rs-a.example.com", "127.0.0.1": "localhost",
		"10.0.8.13": "a-very-long-real-server-name-number-two.example.com"}
	if long {
		n["10.0.8.15"] = "a-virtual-service-name-that-is-long.example.com"
		n["10.0.8.14"] = "this-host-name-is-very-very-long-so-that-it-does-not-fit-into-any-column.example.com"
		n["2001:db8::12"] = "v6-real-server-one.example.com"
	}
	return n
}

func (f fakeNames) HostName(a netip.Addr) (string, bool) { n, ok := f[a.String()]; return n, ok }
func (f fakeNames) HostAddr(name string) (netip.Addr, bool) {
	for addr, n := range f {
		if n == name {
			return netip.MustParseAddr(addr), true
		}
	}
	return netip.Addr{}, false
}

var fakeServices = map[servicePort]string{{80, lb.TCP}: "http", {8080, lb.TCP}: "http-alt", {53, lb.UDP}: "domain", {53, lb.TCP}: "domain"}

func (f fakeNames) ServiceName(port uint16, proto lb.Protocol) (string, bool) {
	n, ok := fakeServices[servicePort{port, proto}]
	return n, ok
}

func (f fakeNames) ServicePort(name string, proto lb.Protocol) (uint16, bool) {
	for k, n := range fakeServices {
		if n == name && k.proto == proto {
			return k.port, true
		}
	}
	return 0, false
}

// connOfRow reads a row of "ipvsadm -lcn" or "-lc".
func connOfRow(f []string) lb.Conn {
	end := func(s string) netip.AddrPort { return netip.MustParseAddrPort(strings.Replace(s, ":http", ":80", 1)) }
	c := lb.Conn{Client: end(f[3]), Virtual: end(f[4]), Real: end(f[5])}
	c.Protocol = map[string]lb.Protocol{"IP": lb.IP, "TCP": lb.TCP, "UDP": lb.UDP, "SCTP": lb.SCTP}[f[0]]
	var minutes, seconds int
	fmt.Sscanf(f[1], "%d:%d", &minutes, &seconds)
	c.Expires = time.Duration(minutes*60+seconds)*time.Second + 999*time.Millisecond
	switch f[2] {
	case "ASSURED":
		c.Template, c.Assured = true, true
	case "NONE":
		c.Template = true
	}
	for c.State = lb.None; c.StateName() != f[2] && c.State < 20; c.State++ {
	}
	return c
}

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// siteStatus is a daemon with something of everything.
func siteStatus() control.Status {
	web := lb.Service{ServiceKey: lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.9:80")}, Scheduler: "wrr", Persistence: 10 * time.Second}
	server := func(addr string, weight int32) lb.Real {
		return lb.Real{Addr: netip.MustParseAddrPort(addr), Forward: lb.Route, Weight: weight}
	}
	return control.Status{Instance: "default", Version: "1.0", PID: 42, Started: noon.Add(-26 * time.Hour), Config: "/etc/x.conf", TableSize: 1 << 20,
		Links: []control.Link{{Name: "eth0", Mode: "native"}},
		VRRP: []control.Router{
			{Name: "VI_1", Interface: "eth0", VRID: 51, State: "MASTER", Priority: 100, VIPs: []string{"10.0.8.9/32"}, Since: noon.Add(-90 * time.Second),
				Why: "no advert from the master", Sent: 90, Received: 7, Refused: map[string]uint64{"ttl": 2, "auth": 0}, BecameMaster: 1},
			{Name: "VI_2", Interface: "eth1", VRID: 52, State: "FAULT", Priority: 90, Master: "10.0.9.2", Since: noon.Add(-5 * time.Second), Causes: []string{"eth1 is down"}},
		},
		Services: []control.Service{
			{Service: web, Name: "[10.0.8.9]:tcp:80", Quorum: true, Rate: lb.Rates{Conns: 12}, Reals: []control.Real{
				{Real: server("10.0.8.12:80", 2), InPool: true, Healthy: true, Active: 3, Inactive: 1, Rate: lb.Rates{Conns: 12}, Hop: "eth0 02:00:00:00:00:0c", Since: noon},
				{Real: server("10.0.8.13:80", 2), Why: "connection refused\x1b[31m\n", Since: noon.Add(-61 * time.Minute)},
				{Real: server("10.0.8.14:80", 0), InPool: true, Healthy: true},
			}},
			{Service: lb.Service{ServiceKey: lb.ServiceKey{Mark: 7}, Scheduler: "rr"}},
		},
		Verdicts: []control.Reason{{Name: "not_ours", Verdict: "pass", Packets: 9}, {Name: "hit", Verdict: "forward", Packets: 100},
			{Name: "no_neighbour", Verdict: "drop", Packets: 1}, {Name: "full", Verdict: "drop", Packets: 5}, {Name: "quiet", Verdict: "drop"}},
	}
}
