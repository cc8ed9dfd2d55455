package health

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"vipd/internal/lb"
)

var update = flag.Bool("update", false, "write the transcripts in testdata anew")

// A transcript is commands, each followed by everything that the machine said, indented by a tab and stamped with the
// seconds since the start. Commands: service, real and check describe a configuration; start and reload hand it over;
// world tells how a target answers; run lets time pass; want, status and stop as they say. Lines with # are remarks.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			have, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(have))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(have) {
				t.Errorf("%s differs; look at the difference after go test -update.\n--- got\n%s", file, got)
			}
		})
	}
}

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// stage plays a transcript: a machine, a world of targets that answer at once, or after the time that they hang.
type stage struct {
	t     *testing.T
	out   strings.Builder
	cfg   Config
	world map[string]string // target → ok, refused, hang, void
	pools *Pools
	now   time.Time
	late  []answer // checks under way, by the time of their answer
}

type answer struct {
	at  time.Time
	id  CheckID
	res Result
}

func play(t *testing.T, script string) string {
	s := &stage{t: t, world: map[string]string{}, now: epoch}
	for _, line := range strings.Split(strings.TrimRight(script, "\n"), "\n") {
		if strings.HasPrefix(line, "\t") {
			continue
		}
		fmt.Fprintln(&s.out, line)
		if f := strings.Fields(line); len(f) > 0 && f[0] != "#" {
			s.command(f)
		}
	}
	return s.out.String()
}

func (s *stage) command(f []string) {
	switch f[0] {
	case "config":
		o := options(f[1:])
		s.cfg = Config{InitNotifies: has(o, "rs_init_notifies"), Flush: has(o, "lvs_flush_on_stop"), Share: has(o, "checker_share")}
	case "service":
		s.cfg.Services = append(s.cfg.Services, s.service(f[1], options(f[2:])))
	case "real":
		svc := &s.cfg.Services[len(s.cfg.Services)-1]
		svc.Reals = append(svc.Reals, s.real(f[1], options(f[2:]), svc))
	case "check":
		svc := &s.cfg.Services[len(s.cfg.Services)-1]
		r := &svc.Reals[len(svc.Reals)-1]
		r.Checkers = append(r.Checkers, s.check(options(f[1:]), r))
	case "start":
		s.pools = New(s.cfg, func(limit time.Duration) time.Duration { return limit / 2 })
		s.pools.Start(s.now)
		s.said()
	case "reload":
		s.pools.Update(s.now, s.cfg)
		s.said()
	case "stop":
		s.pools.Stop(s.now)
		s.said()
	case "world":
		s.world[f[1]] = f[2]
	case "run":
		s.run(s.now.Add(s.duration(f[1])))
	case "address":
		s.pools.Address(s.now, netip.MustParseAddr(f[1]), f[2] == "here")
		s.said()
	case "session":
		s.pools.Session(s.now, f[1], f[2] == "up")
		s.said()
	case "want":
		s.want()
	case "status":
		s.status()
	default:
		s.t.Fatalf("unknown command %q", f[0])
	}
}

func has(o map[string]string, key string) bool { _, ok := o[key]; return ok }

func options(words []string) map[string]string {
	opts := map[string]string{}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		opts[key] = value
	}
	return opts
}

func (s *stage) service(addr string, o map[string]string) Service {
	svc := Service{Service: lb.Service{ServiceKey: lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort(addr)}, Scheduler: "wrr"}}
	_, svc.Alpha = o["alpha"]
	_, svc.Omega = o["omega"]
	_, svc.InhibitOnFailure = o["inhibit"]
	svc.Quorum, svc.Hysteresis = s.number(o["quorum"]), s.number(o["hysteresis"])
	svc.DelayLoop = s.duration(o["delay_loop"])
	svc.HASuspend = has(o, "ha_suspend")
	svc.MaxEject = s.number(o["max_eject"])
	if a := o["sorry"]; a != "" {
		svc.Sorry = &lb.Real{Addr: netip.MustParseAddrPort(a), Forward: lb.Route}
		svc.SorryInhibit = has(o, "sorry_inhibit")
	}
	return svc
}

// real inherits from its service, and check from its real server, as the configuration's reader has it.
func (s *stage) real(addr string, o map[string]string, svc *Service) Real {
	r := Real{InhibitOnFailure: svc.InhibitOnFailure, Alpha: svc.Alpha,
		Real: lb.Real{Addr: netip.MustParseAddrPort(addr), Forward: lb.Route, Weight: int32(s.number(o["weight"]))}}
	r.SlowStart = s.duration(o["slow_start"])
	if _, unchecked := o["unchecked"]; !unchecked {
		r.Checkers = []Checker{s.check(o, &r)}
	}
	return r
}

func (s *stage) check(o map[string]string, r *Real) Checker {
	c := Checker{Kind: TCPCheck, Retry: -1, Warmup: s.duration(o["warmup"]), DelayLoop: s.duration(o["delay_loop"]),
		DelayBeforeRetry: s.duration(o["delay_before_retry"]), ConnectTimeout: s.duration(o["connect_timeout"])}
	if v, ok := o["retry"]; ok {
		c.Retry = s.number(v)
	}
	if v := o["target"]; v != "" {
		c.Target = netip.MustParseAddrPort(v)
	}
	c.Rise, c.Jitter = s.number(o["rise"]), s.number(o["jitter"])
	if _, agent := o["agent"]; agent {
		c.Kind = AgentCheck
	}
	if v := o["session"]; v != "" {
		c.Kind, c.BFD = BFDCheck, v
	}
	c.Alpha = r.Alpha
	_, c.LogAllFailures = o["log_all_failures"]
	return c
}

func (s *stage) number(v string) int {
	if v == "" {
		return 0
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *stage) duration(v string) time.Duration {
	if v == "" {
		return 0
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// run lets time pass until end, from one deadline or answer to the next.
func (s *stage) run(end time.Time) {
	for {
		next, i := s.pools.Next(), -1
		for j, a := range s.late {
			if next.IsZero() || a.at.Before(next) {
				next, i = a.at, j
			}
		}
		if next.IsZero() || next.After(end) {
			s.now = end
			return
		}
		s.now = next
		if i >= 0 {
			a := s.late[i]
			s.late = append(s.late[:i], s.late[i+1:]...)
			s.pools.Observe(s.now, a.id, a.res)
		} else {
			s.pools.Tick(s.now)
		}
		s.said()
	}
}

// said prints the effects and has the world answer each Probe.
func (s *stage) said() {
	for _, e := range s.pools.Take() {
		switch e := e.(type) {
		case Probe:
			s.line("probe %s %s", e.Checker.Target, cmpText(s.world[e.Checker.Target.String()], "ok"))
			s.late = append(s.late, s.answer(e))
		case Say:
			s.line("log   %s", e.Text)
		case Changed:
			s.line("pool  %s changed", e.Service)
		case RealUp:
			s.line("RS    %s %s UP: %s", e.Real, e.Service, e.Why)
		case RealDown:
			s.line("RS    %s %s DOWN: %s", e.Real, e.Service, e.Why)
		case QuorumUp:
			s.line("VS    %s UP: %s", e.Service, e.Why)
		case QuorumDown:
			s.line("VS    %s DOWN: %s", e.Service, e.Why)
		}
	}
}

func (s *stage) answer(p Probe) answer {
	world := s.world[p.Checker.Target.String()]
	if p.Checker.Kind == AgentCheck && world != "refused" {
		a, err := ParseAgent(strings.ReplaceAll(world, "_", " "))
		if err != nil {
			return answer{s.now, p.ID, Result{Why: err.Error()}}
		}
		return answer{s.now, p.ID, Result{OK: true, Agent: &a}}
	}
	switch world {
	case "refused":
		return answer{s.now, p.ID, Result{Why: "connection refused"}}
	case "hang":
		took := p.Checker.ConnectTimeout
		return answer{s.now.Add(took), p.ID, Result{Why: "timed out after " + took.String(), Took: took, Timeout: true}}
	case "void":
		return answer{s.now, p.ID, Result{Why: "no such interface", Inconclusive: true}}
	}
	return answer{s.now.Add(2 * time.Millisecond), p.ID, Result{OK: true, Took: 2 * time.Millisecond}}
}

func cmpText(v, def string) string {
	if v == "" {
		return def
	}
	return v
}

func (s *stage) line(format string, args ...any) {
	fmt.Fprintf(&s.out, "\t%7.3f %s\n", s.now.Sub(epoch).Seconds(), fmt.Sprintf(format, args...))
}

func (s *stage) want() {
	for _, p := range s.pools.Want() {
		var reals []string
		for _, r := range p.Reals {
			reals = append(reals, fmt.Sprintf("%s weight %d", r.Addr, r.Weight))
		}
		fmt.Fprintf(&s.out, "\t%s %s: %s\n", p.Service.ServiceKey, p.Service.Scheduler, strings.Join(reals, ", "))
	}
}

func (s *stage) status() {
	for _, v := range s.pools.Status() {
		fmt.Fprintf(&s.out, "\t%s quorum=%v alive=%d sorry=%v\n", v.Service.ServiceKey, v.QuorumUp, v.Alive, v.SorryUp)
		for _, r := range v.Reals {
			fmt.Fprintf(&s.out, "\t  %s healthy=%v in_pool=%v listed=%v since=%s why=%q\n",
				r.Real.Addr, r.Healthy, r.InPool, r.Listed, r.Since.Sub(epoch), r.Why)
			for _, c := range r.Checks {
				fmt.Fprintf(&s.out, "\t    %s up=%v ran=%v failed=%d/%d next=%s last=%d\n",
					c.Checker.Target, c.Up, c.Ran, c.Failed, c.Checker.Retry, c.Next.Sub(epoch), len(c.Last))
			}
		}
	}
}
