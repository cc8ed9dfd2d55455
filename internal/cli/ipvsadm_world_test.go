package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"vipd/internal/control"
	"vipd/internal/daemon"
	"vipd/internal/lb"
	"vipd/internal/plane"
)

type (
	svc = control.Service
	rs  = control.Real
)

// world is a daemon of which nothing but the plane is left, and a shell that drives it with ipvsadm's commands.
type world struct {
	plane    *plane.Memory
	size     uint32
	counted  map[countedKey]rs // what traffic has done, learned from a recorded listing
	services map[lb.ServiceKey]svc
	conns    []lb.Conn
	names    Names
	err      error
	dial     error             // why the daemon cannot be asked
	files    map[string]string // of the shell
	status   control.Status
}

type countedKey struct {
	service lb.ServiceKey
	real    netip.AddrPort
}

func newWorld() *world {
	return &world{plane: plane.NewMemory(), size: 4096, names: fakeNames{}, counted: map[countedKey]rs{}, services: map[lb.ServiceKey]svc{},
		files: map[string]string{}}
}

func (w *world) Status(context.Context) (control.Status, error) { return w.status, w.err }

func (w *world) Timeouts(context.Context) (lb.Timeouts, error) {
	t, err := w.plane.Timeouts()
	return t, errors.Join(err, w.err)
}

func (w *world) Conns(_ context.Context, visit func(lb.Conn) bool) error {
	for _, c := range w.conns {
		if !visit(c) {
			break
		}
	}
	return w.err
}

// Table is the plane's, with the counts that were learned.
func (w *world) Table(context.Context) (control.Table, error) {
	t, err := daemon.TableOf(w.plane)
	t.Size = w.size
	for i := range t.Services {
		s := &t.Services[i]
		s.Total, s.Rate = w.services[s.ServiceKey].Total, w.services[s.ServiceKey].Rate
		for j := range s.Reals {
			r, c := &s.Reals[j], w.counted[countedKey{s.ServiceKey, s.Reals[j].Addr}]
			r.Active, r.Inactive, r.Persist, r.Total, r.Rate = c.Active, c.Inactive, c.Persist, c.Total, c.Rate
		}
	}
	return t, errors.Join(err, w.err)
}

func (w *world) Change(_ context.Context, changes []control.Change) ([]control.Answer, error) {
	return daemon.ChangePlane(w.plane, changes), w.err
}

func (w *world) env(out, errs *bytes.Buffer) Env {
	return Env{Stdin: strings.NewReader(""), Stdout: out, Stderr: errs, Getenv: func(string) string { return "" }, Names: w.names,
		Dial: func(string) (control.Source, error) { return w, w.dial }}
}

// shell runs commands joined by ";" and "&&", with "> FILE", "< FILE" and "| head -N" at their end, as far as the recorded
// runs have them. Standard input is that of every command without a file.
func (w *world) shell(line, stdin string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	for i, part := range strings.Split(strings.ReplaceAll(line, "&&", ";&"), ";") {
		part, and := strings.CutPrefix(part, "&")
		if i > 0 && and && code != 0 {
			continue
		}
		var piece bytes.Buffer
		part, head, piped := strings.Cut(part, "| head -")
		part, to, writes := strings.Cut(part, "> ")
		part, from, reads := strings.Cut(part, "< ")
		in := stdin
		if reads {
			in = w.files[strings.TrimSpace(from)]
		}
		code = w.simple(shellWords(part), code, in, &piece, &errs)
		switch {
		case writes:
			w.files[strings.TrimSpace(to)] = piece.String()
		case piped:
			n, _ := strconv.Atoi(head)
			lines := strings.SplitAfter(piece.String(), "\n")
			out.WriteString(strings.Join(lines[:min(n, len(lines))], ""))
			code = 0
		default:
			out.Write(piece.Bytes())
		}
	}
	return code, out.String(), errs.String()
}

func (w *world) simple(args []string, code int, stdin string, out, errs *bytes.Buffer) int {
	switch args[0] {
	case "echo":
		fmt.Fprintln(out, strings.ReplaceAll(strings.Join(args[1:], " "), "$?", fmt.Sprint(code)))
		return 0
	case "diff":
		return diffFiles(args[1], args[2], w.files, out)
	}
	env := w.env(out, errs)
	env.Stdin = strings.NewReader(stdin)
	return Ipvsadm("ipvsadm", args[1:], env)
}

// diffFiles prints what diff -u says of two files of which the second may be empty.
func diffFiles(a, b string, files map[string]string, out *bytes.Buffer) int {
	if files[a] == files[b] {
		return 0
	}
	lines := strings.SplitAfter(strings.TrimSuffix(files[a], "\n"), "\n")
	fmt.Fprintf(out, "--- %s\n+++ %s\n@@ -1,%d +0,0 @@\n", a, b, len(lines))
	for _, l := range lines {
		fmt.Fprintf(out, "-%s\n", strings.TrimSuffix(l, "\n"))
	}
	return 1
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
	if len(f) == 8 {
		c.Engine, c.EngineData = f[6], f[7]
	}
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
			{Name: "VI_2", Interface: "eth1", VRID: 52, State: "FAULT", Priority: 90, Base: 110, Master: "10.0.9.2", Since: noon.Add(-5 * time.Second), Causes: []string{"eth1 is down"},
				Group: "G", Weights: []control.Weight{{Cause: "script chk", Value: -30}, {Cause: "file f", Value: 10}}},
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
