package bpf

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestPicksAreThoseOfIPVS replays what the kernel's IPVS did with the same commands and the same clients: every pick, every
// refusal, and the active and inactive counts.
func TestPicksAreThoseOfIPVS(t *testing.T) { playTraces(t, regexp.MustCompile(""), false) }

// playTraces replays those of some names, all or until one fails.
func playTraces(t *testing.T, which *regexp.Regexp, one bool) {
	files, err := filepath.Glob("testdata/traces/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no traces: %v", err)
	}
	r := newRig(t, 256)
	for _, file := range files {
		if !which.MatchString(filepath.Base(file)) {
			continue
		}
		passed := t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			r.TB = t
			r.clear()
			r.put(r.Tuning, 0, ipvsTimeouts())
			p := &player{rig: r, reals: map[byte]uint32{}, open: map[[2]netip.AddrPort]bool{}}
			for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
				p.play(strings.Fields(line))
			}
		})
		if one && !passed {
			break
		}
	}
	r.TB = t
}

// player plays one trace.
type player struct {
	*rig
	*service
	proto   uint8
	at      netip.AddrPort
	digits  int             // base of the last byte of an address
	reals   map[byte]uint32 // by last byte of the address; a removed one too, which comes back with its counts
	network string          // that the next mark is of
	step    string
	next    netip.AddrPort
	stepTo  string
	nextTo  netip.AddrPort
	open    map[[2]netip.AddrPort]bool // connections, by client and destination
}

func (p *player) play(words []string) {
	switch words[0] {
	case "$":
		p.shell(words[1:])
	case "udp", "tcp":
		p.proto = map[string]uint8{"udp": udpProto, "tcp": tcpProto}[words[0]]
		p.step, p.next, p.stepTo, p.nextTo = words[1], netip.MustParseAddrPort(words[2]), "same", p.at
		words = words[3:]
		if words[0] == ">" {
			p.stepTo, p.nextTo = words[1], netip.MustParseAddrPort(words[2])
			words = words[3:]
		}
		p.picks(words)
	case "+":
		p.picks(words[1:])
	case "close":
		p.ends(words[1:], fin|ack)
	case "rst":
		p.ends(words[1:], rst)
	case "sleep":
		ms, _ := strconv.Atoi(words[1])
		p.travel((ms + 999) / 1000)
		p.sweep()
	case "count":
		p.compare(words[1:])
	default:
		p.rig.Fatalf("what is %q?", words)
	}
}

// ends lets clients close their connections.
func (p *player) ends(words []string, flags uint8) {
	for i := 0; i < len(words); i++ {
		f := frame{proto: p.proto, from: netip.MustParseAddrPort(words[i]), to: p.at, flags: flags}
		if i+2 < len(words) && words[i+1] == ">" {
			f.to = netip.MustParseAddrPort(words[i+2])
			i += 2
		}
		if p.open[[2]netip.AddrPort{f.from, f.to}] { // who was refused has nothing to close
			p.want(f, LbReasonFORWARD_HIT)
		}
	}
}

// shell understands as much of it as the traces use.
func (p *player) shell(words []string) {
	switch words[0] {
	case "ipvsadm":
		p.command(words[1:])
	case "nft": // nft add rule ip m pre ip daddr NETWORK meta mark set N
		p.network = words[8]
	case "echo":
		value, err := strconv.Atoi(words[1])
		if err != nil {
			p.rig.Fatal(err)
		}
		p.sysctl(filepath.Base(words[3]), uint32(value))
	default:
		p.rig.Fatalf("what is %q?", words)
	}
}

func (p *player) sysctl(name string, value uint32) {
	t := get[LbTunables](p.rig, p.Tuning, 0)
	switch name {
	case "lblc_expiration":
		t.LblcExpiration = value * ticksPerSecond
	case "lblcr_expiration":
		t.LblcrExpiration = value * ticksPerSecond
	case "expire_quiescent_template":
		t.ExpireQuiescentTemplate = value
	default:
		p.rig.Fatalf("sysctl %s?", name)
	}
	p.put(p.Tuning, 0, t)
}

var schedulerNumbers = map[string]LbScheduler{"none": LbSchedulerSCHED_NONE, "rr": LbSchedulerSCHED_RR, "wrr": LbSchedulerSCHED_WRR, "sh": LbSchedulerSCHED_SH,
	"lc": LbSchedulerSCHED_LC, "wlc": LbSchedulerSCHED_WLC, "sed": LbSchedulerSCHED_SED, "nq": LbSchedulerSCHED_NQ, "dh": LbSchedulerSCHED_DH,
	"mh": LbSchedulerSCHED_MH, "lblc": LbSchedulerSCHED_LBLC, "lblcr": LbSchedulerSCHED_LBLCR, "fo": LbSchedulerSCHED_FO, "ovf": LbSchedulerSCHED_OVF,
	"twos": LbSchedulerSCHED_TWOS}

var schedulerFlags = map[string]LbServiceFlag{"sh-fallback": LbServiceFlagSERVICE_FALLBACK, "mh-fallback": LbServiceFlagSERVICE_FALLBACK,
	"sh-port": LbServiceFlagSERVICE_PORT, "mh-port": LbServiceFlagSERVICE_PORT}

// command understands as much of ipvsadm as the traces use.
func (p *player) command(args []string) {
	f := flag.NewFlagSet("ipvsadm", flag.PanicOnError)
	verbs := map[string]*bool{}
	for _, v := range []string{"C", "A", "E", "a", "e", "d", "m", "o"} {
		verbs[v] = f.Bool(v, false, "")
	}
	tcp, udp := f.String("t", "", ""), f.String("u", "", "")
	sched, flags, mask := f.String("s", "", ""), f.String("b", "", ""), f.String("M", "255.255.255.255", "")
	mark := f.Int("f", 0, "")
	persist, weight := f.Int("p", 0, ""), f.Int("w", 1, "")
	real, upper, lower := f.String("r", "", ""), f.Int("x", 0, ""), f.Int("y", 0, "")
	if err := f.Parse(args); err != nil {
		p.rig.Fatal(err)
	}
	switch {
	case *verbs["A"]:
		p.proto = tcpProto
		if *udp != "" {
			p.proto = udpProto
		}
		p.digits = 10
		if *mark != 0 {
			p.service = p.serveMark(uint32(*mark), schedulerNumbers[*sched], class(p.network))
			break
		}
		p.at = netip.MustParseAddrPort(*tcp + *udp)
		if p.at.Addr().Is6() {
			p.digits = 16
		}
		p.service = p.serve(p.at, p.proto, schedulerNumbers[*sched])
	case *verbs["E"] && p.scheduler != schedulerNumbers[*sched]:
		p.reschedule(schedulerNumbers[*sched])
	case *verbs["a"], *verbs["e"], *verbs["d"]:
		p.server(lastByteOf(netip.MustParseAddrPort(*real).Addr()), *verbs["a"], *verbs["d"], int32(*weight), uint32(*upper), uint32(*lower))
	}
	if !*verbs["A"] && !*verbs["E"] {
		return
	}
	p.service.flags = 0
	for _, one := range strings.Split(*flags, ",") {
		p.service.flags |= schedulerFlags[one]
	}
	if *verbs["o"] {
		p.service.flags |= LbServiceFlagSERVICE_ONE_PACKET
	}
	p.persist, p.netmask = *persist, addr4(netip.MustParseAddr(*mask))
	p.write()
}

func (p *player) server(last byte, add, remove bool, weight int32, upper, lower uint32) {
	real, known := p.reals[last]
	switch {
	case remove:
		p.remove(real)
		return
	case add && known:
		p.restore(real, weight)
	case add:
		real = p.addHost(last, weight)
		p.reals[last] = real
	default:
		p.weigh(real, weight)
	}
	p.limit(real, upper, lower)
}

// picks sends one new client for each answer.
func (p *player) picks(answers []string) {
	for _, answer := range answers {
		f := frame{proto: p.proto, from: p.next, to: p.nextTo, flags: syn}
		verdict, out, why := p.run(f.bytes())
		got := "-"
		if why == LbReasonFORWARD_NEW {
			got = p.lastByte(mac(out[:6]))
			p.open[[2]netip.AddrPort{f.from, f.to}] = true
			if p.service.flags&LbServiceFlagSERVICE_ONE_PACKET == 0 {
				f.flags = ack
				p.want(f, LbReasonFORWARD_HIT)
			}
		}
		if got != answer || (got == "-" && (why != LbReasonREPLY_NO_SERVER || verdict != xdpTX)) {
			p.rig.Fatalf("client %v of %v went to %s (%s), IPVS sent it to %s", p.next, p.nextTo, got, why.name(), answer)
		}
		p.next, p.nextTo = following(p.next, p.step), following(p.nextTo, p.stepTo)
	}
}

func following(a netip.AddrPort, step string) netip.AddrPort {
	switch step {
	case "host":
		return netip.AddrPortFrom(a.Addr().Next(), a.Port())
	case "port":
		return netip.AddrPortFrom(a.Addr(), a.Port()+1)
	}
	return a
}

func lastByteOf(a netip.Addr) byte { b := a.AsSlice(); return b[len(b)-1] }

func (p *player) lastByte(m mac) string {
	for last, real := range p.reals {
		if realMAC(int(real)) == m {
			return strconv.FormatUint(uint64(last), p.digits)
		}
	}
	return "nowhere"
}

func (p *player) compare(words []string) {
	last, _ := strconv.ParseUint(words[0], p.digits, 8)
	n := p.counts(p.reals[byte(last)])
	if got := []string{strconv.Itoa(int(n[0])), strconv.Itoa(int(n[1]))}; got[0] != words[1] || got[1] != words[2] {
		p.rig.Errorf("10.0.8.%d has %s active and %s inactive, in IPVS %s and %s", last, got[0], got[1], words[1], words[2])
	}
}
