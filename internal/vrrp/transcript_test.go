package vrrp

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the transcripts anew; read the diff")

// Each file in testdata/*.transcript is commands, a line of dashes, and everything the routers said and did, in blocks
// parted by empty lines. Commands:
//
//	host NAME ADDRESS [priority=N] [state=MASTER] [nopreempt] [preempt_delay=DUR] [refresh=DUR] [vip=PREFIX]… [excluded=PREFIX]…
//	start|stop|kill|resume|pause NAME     a process; it adopts what a killed one left
//	fault NAME on|off                     the cause "disk full"
//	cut|heal FROM TO                      one direction of the cable
//	run DURATION
//	advert TO FROM-ADDRESS PRIORITY [vips=N] [password=TEXT] [ttl=N]
//	status NAME
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.transcript")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".transcript"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := newScript(t).play(string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// script is a world that is told what happens.
type script struct {
	world
	t    *testing.T
	cuts map[[2]string]bool
}

func newScript(t *testing.T) *script {
	s := &script{t: t, cuts: map[[2]string]bool{}}
	s.now, s.rules, s.all = epoch, standard, true
	s.cable = func(from, to *host) (time.Duration, bool) {
		return time.Millisecond, !s.cuts[[2]string{from.name, to.name}]
	}
	return s
}

// play answers every block with what it caused.
func (s *script) play(text string) string {
	var blocks []string
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		commands, _, _ := strings.Cut(block, "\n----")
		s.trace = &strings.Builder{}
		for line := range strings.Lines(commands) {
			if !strings.HasPrefix(line, "#") {
				s.obey(strings.Fields(line))
			}
		}
		blocks = append(blocks, strings.TrimSpace(commands)+"\n----\n"+s.trace.String())
	}
	if s.broken != "" {
		s.t.Error(s.broken)
	}
	return strings.Join(blocks, "\n")
}

func (s *script) obey(words []string) {
	one := map[string]func(*host){
		"start": s.start, "stop": s.stop, "kill": s.kill, "resume": s.resume, "status": s.status,
		"pause": func(h *host) { h.paused, h.pausedAt = true, s.now },
	}
	switch verb, rest := words[0], words[1:]; {
	case one[verb] != nil:
		one[verb](s.host(rest[0]))
	case verb == "host":
		s.add(rest)
	case verb == "fault":
		s.fault(s.host(rest[0]), rest[1] == "on")
	case verb == "cut", verb == "heal":
		s.cuts[[2]string{rest[0], rest[1]}] = verb == "cut"
	case verb == "run":
		s.run(s.now.Add(s.duration(rest[0])))
	case verb == "advert":
		s.advert(rest)
	default:
		s.t.Fatalf("what is %q?", verb)
	}
}

func (s *script) add(words []string) {
	cfg := site(func(c *Config) { c.Source, c.VIPs = ip(words[1]), nil })
	for _, word := range words[2:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "priority":
			cfg.Priority = uint8(s.number(value))
		case "state":
			cfg.InitialMaster = value == "MASTER"
		case "nopreempt":
			cfg.NoPreempt = true
		case "preempt_delay":
			cfg.PreemptDelay = s.duration(value)
		case "refresh":
			cfg.GarpMasterRefresh = s.duration(value)
		case "vip":
			cfg.VIPs = append(cfg.VIPs, Address{Prefix: netip.MustParsePrefix(value)})
		case "excluded":
			cfg.Excluded = append(cfg.Excluded, Address{Prefix: netip.MustParsePrefix(value), Dev: "eth1"})
		default:
			s.t.Fatalf("what is %q?", word)
		}
	}
	if cfg.VIPs == nil {
		cfg.VIPs = site().VIPs
	}
	s.hosts = append(s.hosts, &host{name: words[0], cfg: cfg})
}

func (s *script) advert(words []string) {
	packet := from(words[1], uint8(s.number(words[2])), func(a *Advert) {
		for _, word := range words[3:] {
			switch key, value, _ := strings.Cut(word, "="); key {
			case "vips":
				a.VIPs = slices.Repeat(a.VIPs, s.number(value))
			case "password":
				a.AuthData = [8]byte{}
				copy(a.AuthData[:], value)
			case "ttl":
				a.TTL = uint8(s.number(value))
			}
		}
	})
	h := s.host(words[0])
	h.router.Receive(s.now, packet)
	s.drain(h)
}

func (s *script) status(h *host) {
	st := h.router.Status()
	s.note("%s is %s since %.3f (%s), master %s, faults %q, sent %d, received %d, refused %v, became master %d",
		h.name, st.State, st.Since.Sub(epoch).Seconds(), st.Why, st.Master, st.Faults,
		st.Counters.Sent, st.Counters.Received, st.Counters.Refused, st.Counters.BecameMaster)
}

func (s *script) number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *script) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		s.t.Fatal(fmt.Errorf("duration: %w", err))
	}
	return d
}
