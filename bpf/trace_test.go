package bpf

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestPicksAreThoseOfIPVS replays what the kernel's IPVS did with the same commands and the same clients: every pick, every
// refusal, and the active and inactive counts.
func TestPicksAreThoseOfIPVS(t *testing.T) {
	files, err := filepath.Glob("testdata/traces/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no traces: %v", err)
	}
	r := newRig(t, 256)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			r.TB = t
			p := &player{rig: r, reals: map[byte]uint32{}, limits: map[byte][2]uint32{}}
			for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
				p.play(strings.Fields(line))
			}
		})
	}
}

// player plays one trace.
type player struct {
	*rig
	*service
	proto  uint8
	at     netip.AddrPort
	reals  map[byte]uint32    // by last byte of the address; a removed one too, which comes back with its counts
	limits map[byte][2]uint32 // -x, -y
	step   string
	next   netip.AddrPort
}

func (p *player) play(words []string) {
	switch words[0] {
	case "$":
		p.command(words[2:])
	case "udp", "tcp":
		p.step, p.next = words[1], netip.MustParseAddrPort(words[2])
		p.picks(words[3:])
	case "+":
		p.picks(words[1:])
	case "count":
		p.compare(words[1:])
	default:
		p.rig.Fatalf("what is %q?", words)
	}
}

// command understands as much of ipvsadm as the traces use.
func (p *player) command(args []string) {
	f := flag.NewFlagSet("ipvsadm", flag.PanicOnError)
	verbs := map[string]*bool{}
	for _, v := range []string{"C", "A", "E", "a", "e", "d", "m"} {
		verbs[v] = f.Bool(v, false, "")
	}
	tcp, udp := f.String("t", "", ""), f.String("u", "", "")
	sched, flags, mask := f.String("s", "", ""), f.String("b", "", ""), f.String("M", "255.255.255.255", "")
	persist, weight := f.Int("p", 0, ""), f.Int("w", 1, "")
	real, upper, lower := f.String("r", "", ""), f.Int("x", 0, ""), f.Int("y", 0, "")
	if err := f.Parse(args); err != nil {
		p.rig.Fatal(err)
	}
	switch {
	case *verbs["A"]:
		p.proto, p.at = tcpProto, netip.AddrPort{}
		if *udp != "" {
			p.proto = udpProto
		}
		p.at = netip.MustParseAddrPort(*tcp + *udp)
		p.service = p.serve(p.at, p.proto, map[string]LbScheduler{"rr": LbSchedulerSCHED_RR, "wrr": LbSchedulerSCHED_WRR, "sh": LbSchedulerSCHED_SH}[*sched])
		p.service.flags = map[string]LbServiceFlag{"": 0, "sh-fallback": LbServiceFlagSERVICE_FALLBACK, "sh-port": LbServiceFlagSERVICE_PORT}[*flags]
		p.persist, p.netmask = *persist, addr4(netip.MustParseAddr(*mask))
		p.write()
	case *verbs["a"], *verbs["e"], *verbs["d"]:
		p.server(netip.MustParseAddrPort(*real).Addr().As4()[3], *verbs["a"], *verbs["d"], int32(*weight), [2]uint32{uint32(*upper), uint32(*lower)})
	}
}

func (p *player) server(last byte, add, remove bool, weight int32, limits [2]uint32) {
	real, known := p.reals[last]
	switch {
	case remove:
		p.remove(real)
	case add && known:
		p.restore(real, weight)
	case add:
		p.reals[last] = p.add(weight)
	default:
		p.weigh(real, weight)
	}
	p.limits[last] = limits
}

// picks sends one new client for each answer.
func (p *player) picks(answers []string) {
	for _, answer := range answers {
		f := frame{proto: p.proto, from: p.next, to: p.at, flags: syn}
		verdict, out, why := p.run(f.bytes())
		got := "-"
		if why == LbReasonFORWARD_NEW {
			got = p.lastByte(mac(out[:6]))
			f.flags = ack
			p.want(f, LbReasonFORWARD_HIT)
		}
		if got != answer || (got == "-" && (why != LbReasonREPLY_NO_SERVER || verdict != xdpTX)) {
			p.rig.Fatalf("client %v went to %s (%s), IPVS sent it to %s", p.next, got, why.name(), answer)
		}
		p.limit()
		p.next = following(p.next, p.step)
	}
}

func following(a netip.AddrPort, step string) netip.AddrPort {
	if step == "host" {
		return netip.AddrPortFrom(a.Addr().Next(), a.Port())
	}
	return netip.AddrPortFrom(a.Addr(), a.Port()+1)
}

func (p *player) lastByte(m mac) string {
	for last, real := range p.reals {
		if realMAC(int(real)) == m {
			return strconv.Itoa(int(last))
		}
	}
	return "nowhere"
}

// limit sets the flag as user space must: when all connections of a real server reach its upper threshold.
func (p *player) limit() {
	for last, limits := range p.limits {
		n := p.counts(p.reals[last])
		if limits[0] != 0 && n[0]+n[1] >= limits[0] {
			p.overload(p.reals[last], 1)
		}
	}
}

func (p *player) compare(words []string) {
	last, _ := strconv.Atoi(words[0])
	n := p.counts(p.reals[byte(last)])
	if got := []string{strconv.Itoa(int(n[0])), strconv.Itoa(int(n[1]))}; got[0] != words[1] || got[1] != words[2] {
		p.rig.Errorf("10.0.8.%d has %s active and %s inactive, in IPVS %s and %s", last, got[0], got[1], words[1], words[2])
	}
}
