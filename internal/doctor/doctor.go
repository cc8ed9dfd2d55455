// Package doctor judges what a director has found out about its real servers and itself: facts go in, findings with their
// cures come out. It is pure, so that every fault is a row of a table; who asks the segment is internal/doctor/look.
//
// It is not a health check: it says why, once, and takes nobody out of a pool.
//
// Invariant: what is well gives no finding, and every finding says how it is known.
package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"vipd/internal/realserver"
)

// The codes of what the doctor finds, beside those of package realserver.
const (
	NoNeighbour  = "no-neighbour"  // no MAC address, or no route
	Down         = "down"          // its own address does not answer either
	Firewall     = "firewall"      // between, or on the real server
	TunnelSilent = "tunnel-silent" // what is sent through the tunnel vanishes
	PathMTU      = "path-mtu"      // large packets of the tunnel vanish
	Stalled      = "stalled"       // handshakes of clients do not complete
	Clock        = "clock"
	AnswersVIP   = "answers-vip" // a real server tells the segment that it has the virtual address
	DuplicateVIP = "duplicate-vip"
)

// Verdict is what became of a packet that asked.
type Verdict int

// The verdicts.
const (
	Unasked Verdict = iota
	Silent          // nothing came
	Open            // the answer of a server: SYN-ACK, an echo
	Closed          // the host is there and nobody listens: RST, ICMP port unreachable for UDP
	Refused         // an ICMP error, in Note
	Bounced         // it came back, as sent on by the other side
)

// Answer is what was asked and became of it.
type Answer struct {
	Verdict Verdict
	Note    string // of Refused: the error in words
	MSS     int    // of a SYN-ACK. If zero, it says none.
	// Unpacked says of a Refused tunnel packet that the error speaks of the outer packet's protocol or port.
	NoProtocol bool
	// Filtered says that the error is a firewall's: administratively prohibited.
	Filtered bool
}

// Real are the facts about one real server of one service.
type Real struct {
	Service string // as status names it
	Need    realserver.Need
	Addr    netip.AddrPort
	Port    uint16 // by which packets arrive: the service's with DR and tunnels, its own with NAT
	UDP     bool

	Hop     string // why it cannot be reached. If empty, it can.
	HopMTU  int
	MAC     [6]byte // zero behind a gateway
	Gateway bool

	Own, OwnEcho Answer // its own address
	VIP, VIPEcho Answer // the virtual address, by the way of the traffic
	Inner        Answer // TUN: its own address, through the tunnel
	Large        Answer // TUN: an echo that fills the way's MTU, through the tunnel
	Fits         int    // TUN, if that is not answered: bytes of the largest packet on the way that is
	Way          string // to it, as ip route takes it: dev eth0
	Back         Answer // NAT: its own address, asked from an address that only its default route leads to

	Skew     time.Duration // of its clock from ours, if HasSkew
	HasSkew  bool
	Opening  int // connections of clients that have not come beyond their first packets
	Complete int // those that have
}

// Claim is a station that says it has a virtual address.
type Claim struct {
	VIP     netip.Addr
	MAC     [6]byte
	If      string
	Watched bool   // it said so by itself; else when it was asked
	Mine    bool   // our own MAC, or a virtual one of ours
	Master  bool   // the master that we are the backup of
	Real    string // whose real server it is, by its MAC
}

func (c Claim) mac() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", c.MAC[0], c.MAC[1], c.MAC[2], c.MAC[3], c.MAC[4], c.MAC[5])
}

// largestSkew is what clocks may differ by before certificates, logs and tokens are in doubt; a Date header tells seconds.
const largestSkew = 5 * time.Second

// fewStalled is how many handshakes must hang, and none complete, to be no accident.
const fewStalled = 3

// Reals judges real servers, in their order. Where their clocks agree with each other and not with this host's, it is this host's
// that is off.
func Reals(all []Real) []realserver.Finding {
	var out []realserver.Finding
	off, n := agreed(all)
	if n > 0 {
		out = append(out, realserver.Finding{Code: Clock, Subject: "this director", Warning: true, How: "the Dates of their answers",
			What:  fmt.Sprintf("its clock is %s from that of %d real servers, which agree with each other", (-off).Round(time.Second), n),
			Cures: []realserver.Cure{{For: "this director", Text: "timedatectl set-ntp true"}}})
	}
	for i := range all {
		r := all[i]
		r.HasSkew = r.HasSkew && n == 0
		out = append(out, r.judge()...)
	}
	return out
}

// agreed is by how much the clocks of all hosts that tell theirs are off, if that is too much and the same; n is of how many. One
// alone agrees with nobody.
func agreed(all []Real) (off time.Duration, n int) {
	hosts := map[netip.Addr]bool{}
	var low, high time.Duration
	for i := range all {
		r := &all[i]
		if !r.HasSkew {
			continue
		}
		if len(hosts) == 0 {
			low, high = r.Skew, r.Skew
		}
		low, high = min(low, r.Skew), max(high, r.Skew)
		hosts[r.Addr.Addr()] = true
	}
	if len(hosts) < 2 || high-low > largestSkew || min(low.Abs(), high.Abs()) <= largestSkew || (low < 0) != (high < 0) {
		return 0, 0
	}
	return low + (high-low)/2, len(hosts)
}

func (r *Real) vip() netip.Addr { return r.Need.VIPs[0] }

func (r *Real) finding(code, what, how string, cures ...realserver.Cure) realserver.Finding {
	return realserver.Finding{Code: code, Subject: r.Addr.String() + " of " + r.Service, What: what, How: how, Cures: cures}
}

func (r *Real) cures(codes ...string) []realserver.Cure {
	own := realserver.Cure{For: "Linux, on the real server, all at once", Text: "vipd realserver prepare " + r.words() + " --apply --persist"}
	return append(realserver.CuresFor(r.Need, realserver.Facts{}, codes...), own)
}

func (r *Real) words() string {
	out := "--vip " + r.vip().String() + " --method " + string(r.Need.Method)
	if r.Need.Method == realserver.TUN {
		out += " --tunnel " + r.Need.Tunnel
	}
	for _, d := range r.Need.Directors {
		out += " --director " + d.String()
	}
	return out
}

// judge goes from what makes the rest impossible to what is a flaw.
func (r *Real) judge() []realserver.Finding {
	if r.Hop != "" {
		return []realserver.Finding{r.finding(NoNeighbour, "nothing can be sent to it: "+r.Hop, "this host's routes and neighbours",
			realserver.Cure{For: "this director", Text: "ip route get " + r.Addr.Addr().String() + "\nip neigh show " + r.Addr.Addr().String()})}
	}
	if r.Own.Verdict != Open && !r.UDP {
		return []realserver.Finding{r.down()}
	}
	var out []realserver.Finding
	switch r.Need.Method {
	case realserver.DR:
		out = r.direct()
	case realserver.TUN:
		out = r.tunnelled()
	case realserver.NAT:
		out = r.translated()
	}
	if len(out) == 0 && r.Opening >= fewStalled && r.Complete == 0 && r.Need.Method != realserver.NAT {
		out = append(out, r.stalled())
	}
	if s := r.Skew.Abs(); r.HasSkew && s > largestSkew {
		f := r.finding(Clock, "its clock is "+r.Skew.Round(time.Second).String()+" from this host's", "the Date of its answer",
			realserver.Cure{For: "Linux, now", Text: "timedatectl set-ntp true"}, realserver.Cure{For: "Windows Server (PowerShell)", Text: "w32tm /resync /force"})
		f.Warning = true
		out = append(out, f)
	}
	return out
}

// down: its own address does not answer, so that the way is not to blame.
func (r *Real) down() realserver.Finding {
	switch {
	case r.Own.Verdict == Closed:
		return r.finding(Down, "nobody listens there: its server does not run", "its own address answers with a reset",
			realserver.Cure{For: "on the real server", Text: fmt.Sprintf("ss -ltn 'sport = :%d'", r.Addr.Port())})
	case r.Own.Filtered:
		return r.firewall("its own address is refused: " + r.Own.Note)
	case r.OwnEcho.Verdict == Open:
		return r.firewall("its own address answers an echo, and is silent at the port")
	}
	return r.finding(Down, "it does not answer at all", "neither a connection to its own address nor an echo is answered ("+r.Own.words()+")",
		realserver.Cure{For: "this director", Text: "ping -c 3 " + r.Addr.Addr().String()})
}

func (a Answer) words() string {
	if a.Note != "" {
		return a.Note
	}
	return map[Verdict]string{Unasked: "not asked", Silent: "silence", Open: "an answer", Closed: "a reset", Refused: "an error", Bounced: "the packet came back"}[a.Verdict]
}

func (r *Real) firewall(how string) realserver.Finding {
	proto := "tcp"
	if r.UDP {
		proto = "udp"
	}
	at := netip.AddrPortFrom(r.vip(), r.Port)
	if r.Need.Method == realserver.NAT {
		at = r.Addr
	}
	family, other := "ip", "ip6"
	if at.Addr().Is6() {
		family, other = other, family
	}
	return r.finding(Firewall, "a firewall is between, or on it: packets to "+at.String()+" do not get through", how,
		realserver.Cure{For: "Linux, now", Text: fmt.Sprintf("nft list chains | awk '/^table/ {t = $2 \" \" $3} /^\\tchain/ {c = $2} /hook input/ {print t, c}' | while read -r f t c; do\n"+
			"  [ $f = %s ] || nft insert rule $f $t $c %s daddr %s %s dport %d accept\ndone", other, family, at.Addr(), proto, at.Port())},
		realserver.Cure{For: "Linux with firewalld", Text: fmt.Sprintf("firewall-cmd --permanent --add-port=%d/%s\nfirewall-cmd --reload", at.Port(), proto)},
		realserver.Cure{For: "Linux with ufw", Text: fmt.Sprintf("ufw allow to %s port %d proto %s", at.Addr(), at.Port(), proto)},
		realserver.Cure{For: "Windows Server (PowerShell)", Text: fmt.Sprintf("New-NetFirewallRule -DisplayName 'vipd %s' -Direction Inbound -Action Allow -Protocol %s -LocalAddress %s -LocalPort %d", at, strings.ToUpper(proto), at.Addr(), at.Port())})
}

// direct judges by direct routing: a frame to its MAC address, to the virtual address.
func (r *Real) direct() []realserver.Finding { return r.atVIP("a packet to it in a frame of its own") }

// atVIP judges what the virtual address on that real server says to the way of the traffic.
func (r *Real) atVIP(way string) []realserver.Finding {
	at := netip.AddrPortFrom(r.vip(), r.Port).String()
	missing := func(how string) []realserver.Finding {
		return []realserver.Finding{r.finding(realserver.VIPMissing, "it does not have "+r.vip().String()+": what is sent there is lost", how, r.cures(realserver.VIPMissing, realserver.ARPIgnore, realserver.ARPAnnounce)...)}
	}
	switch v := r.VIP; {
	case v.Verdict == Open:
		return nil
	case v.Verdict == Bounced:
		return missing(way + " came back: it sent it on, as one that is not its own")
	case v.Verdict == Closed:
		f := r.finding(realserver.NoListener, "nobody listens at "+at+", or a firewall refuses it", "its own address answers, and "+at+" answers with a reset", realserver.CuresFor(r.Need, realserver.Facts{}, realserver.NoListener)...)
		return []realserver.Finding{f}
	case v.Verdict == Refused && (v.Filtered || r.VIPEcho.Verdict == Open):
		return []realserver.Finding{r.firewall("its own address answers, and " + at + " is refused: " + v.Note)}
	case v.Verdict == Refused:
		return missing("its own address answers, and " + way + " is refused: " + v.Note)
	case r.VIPEcho.Verdict == Open && !r.UDP:
		return []realserver.Finding{r.firewall("its own address answers, " + r.vip().String() + " answers an echo, and " + at + " is silent")}
	case r.VIPEcho.Verdict == Open:
		return nil
	case r.VIPEcho.Verdict == Bounced:
		return missing("an echo to it in a frame of its own came back: it sent it on")
	case r.OwnEcho.Verdict == Open || !r.UDP:
		return missing("its own address answers, and " + way + " does not, neither a connection nor an echo. (A firewall that drops all that is for " + r.vip().String() + " looks the same.)")
	}
	return nil
}

// tunnelled judges a tunnel: is it unpacked, is what was inside taken, does it fit.
func (r *Real) tunnelled() []realserver.Finding {
	kind := r.Need.Tunnel
	switch v := r.VIP; {
	case v.Verdict == Refused && v.NoProtocol:
		return []realserver.Finding{r.finding(realserver.NoDecap, "it does not unpack "+kind, "what is sent through the tunnel is refused: "+v.Note,
			r.cures(realserver.NoDecap, realserver.TunnelDown, realserver.VIPMissing, realserver.ARPIgnore)...)}
	case v.Verdict == Silent && r.VIPEcho.Verdict != Open && r.Inner.Verdict == Silent:
		return []realserver.Finding{r.finding(TunnelSilent, "what is sent through the tunnel ("+kind+") vanishes: strict rp_filter on its tunnel device, or a firewall that drops "+kind+", or no decapsulator",
			"its own address answers, and through the tunnel neither that nor "+r.vip().String()+" does, without an error",
			r.cures(realserver.RPFilter, realserver.NoDecap, realserver.VIPMissing)...)}
	}
	if out := r.atVIP("a packet to it in the tunnel"); len(out) > 0 {
		return out
	}
	return r.fits()
}

func (r *Real) fits() []realserver.Finding {
	n := r.Need
	if n.OuterMTU == 0 {
		n.OuterMTU = r.HopMTU
	}
	most := n.MSS(r.vip().Is6())
	// A director on the same segment is answered by the segment's route and learns nothing of the one to clients: there
	// "vipd realserver check" looks at it.
	if r.VIP.Verdict == Open && r.Gateway && r.VIP.MSS > most {
		f := r.finding(realserver.TunnelMSS, "clients are told that they may send more than fits into the tunnel: large requests hang where ICMP is filtered",
			fmt.Sprintf("its SYN-ACK asks for segments of %d bytes; of the %d bytes that the way takes, the tunnel leaves %d", r.VIP.MSS, n.OuterMTU, most),
			realserver.Cure{For: "Linux, now", Text: fmt.Sprintf("ip route replace $(ip route show default | head -n 1 | sed 's/ advmss [0-9]*//') advmss %d", most)},
			realserver.Cure{For: "Linux, on the real server, all at once", Text: "vipd realserver prepare " + r.words() + fmt.Sprintf(" --mtu %d --apply --persist", n.OuterMTU)},
			realserver.Cure{For: "the segment", Text: fmt.Sprintf("an MTU of %d or more between the directors and the real servers", 2*n.OuterMTU-most-40)})
		f.Warning = true
		return []realserver.Finding{f}
	}
	if r.Large.Verdict == Silent || r.Large.Verdict == Refused {
		return []realserver.Finding{r.finding(PathMTU, "large packets of the tunnel do not arrive: the MTU on the way is smaller than this host believes",
			fmt.Sprintf("a small packet is answered, and one that fills the %d bytes of the way is not (%s); %d bytes get through", r.HopMTU, r.Large.words(), r.Fits),
			realserver.Cure{For: "this director, now", Text: fmt.Sprintf("ip route replace %s/%d %s mtu %d", r.Addr.Addr(), r.Addr.Addr().BitLen(), r.Way, r.Fits)},
			realserver.Cure{For: "this director, to find the place", Text: "tracepath -n " + r.Addr.Addr().String()})}
	}
	return nil
}

// translated judges NAT: answers to far clients come back through us.
func (r *Real) translated() []realserver.Finding {
	if r.Back.Verdict != Silent && r.Back.Verdict != Refused {
		return nil
	}
	return []realserver.Finding{r.finding(realserver.Gateway, "its answers to clients do not come back through this director: clients refuse them",
		"asked from an address of its own network it answers, and asked from a far one its answer did not come here: its default route leads elsewhere, or it drops such packets",
		r.cures(realserver.Gateway)...)}
}

func (r *Real) stalled() realserver.Finding {
	return r.finding(realserver.RPFilter, "connections of clients hang at their first packet, though it answers this director: strict rp_filter drops what the way back to which is another interface, or it has no way to the clients, or a firewall knows them not",
		fmt.Sprintf("%d connections are open to it and none has come further, while a connection from this director is answered", r.Opening),
		r.cures(realserver.RPFilter)...)
}

// Claims judges who says that he has a virtual address. master: this director is.
func Claims(all []Claim, needs map[netip.Addr]realserver.Need, master map[netip.Addr]bool) []realserver.Finding {
	var out []realserver.Finding
	seen := map[string]bool{}
	for _, c := range all {
		key := c.VIP.String() + c.mac()
		if c.Mine || c.Master || seen[key] {
			continue
		}
		seen[key] = true
		how := "it answered when the segment was asked who has " + c.VIP.String()
		if c.Watched {
			how = "it told the segment by itself that it has " + c.VIP.String()
		}
		switch others := others(all, c); {
		case c.Real != "":
			out = append(out, answering(c, needs[c.VIP], how))
		case master[c.VIP] || others > 0:
			out = append(out, duplicate(c, how))
		}
	}
	return out
}

// others counts the stations beside c that have its address too.
func others(all []Claim, c Claim) int {
	macs := map[[6]byte]bool{}
	for _, o := range all {
		if o.VIP == c.VIP && o.MAC != c.MAC && o.Real == "" {
			macs[o.MAC] = true
		}
	}
	return len(macs)
}

func answering(c Claim, n realserver.Need, how string) realserver.Finding {
	f := realserver.Finding{Code: AnswersVIP, Subject: c.Real, How: how + " by " + c.mac() + " on " + c.If + ", which is its MAC address"}
	n = n.Of(c.VIP)
	family, word := "-4", "ARP"
	if c.VIP.Is6() {
		family, word = "-6", "neighbour solicitations"
	}
	f.What = "it answers " + word + " for " + c.VIP.String() + ": clients go to it and pass the director by"
	move := "ip " + family + " -o addr show to " + c.VIP.String() + ` | while read -r _ dev _ addr _; do [ "$dev" = lo ] || ip addr del "$addr" dev "$dev"; done`
	for _, cure := range realserver.CuresFor(n, realserver.Facts{}, realserver.ARPIgnore, realserver.ARPAnnounce, realserver.VIPMissing) {
		if cure.For == "Linux, now" && n.Method != realserver.NAT {
			cure.Text = move + "\n" + cure.Text
		}
		f.Cures = append(f.Cures, cure)
	}
	if n.Method == realserver.NAT {
		f.Cures = []realserver.Cure{{For: "Linux, now", Text: "ip " + family + " -o addr show to " + c.VIP.String() + ` | while read -r _ dev _ addr _; do ip addr del "$addr" dev "$dev"; done`}}
	}
	return f
}

func duplicate(c Claim, how string) realserver.Finding {
	return realserver.Finding{Code: DuplicateVIP, Subject: c.VIP.String(), What: "another station has it too: " + c.mac() + " on " + c.If, How: how,
		Cures: []realserver.Cure{
			{For: "this director, to find it", Text: "ip neigh show | grep " + c.mac() + "\nvipd vrrp scan " + c.If},
			{For: "Linux, now", Text: "ip -o addr show to " + c.VIP.String() + ` | while read -r _ dev _ addr _; do ip addr del "$addr" dev "$dev"; done`},
			{For: "Windows Server (PowerShell)", Text: "Remove-NetIPAddress -IPAddress " + c.VIP.String() + " -Confirm:$false"},
		}}
}

// Worst is the exit code of findings: 1 if something is wrong, 0 if at most there are warnings.
func Worst(all []realserver.Finding) int {
	if slices.ContainsFunc(all, func(f realserver.Finding) bool { return !f.Warning }) {
		return 1
	}
	return 0
}
