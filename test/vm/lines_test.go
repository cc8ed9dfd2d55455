package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"vipd/internal/cli"
	"vipd/internal/control"
	"vipd/internal/daemon"
	"vipd/internal/lb"
	"vipd/internal/need"
	"vipd/internal/plane"
	"vipd/internal/plane/xdp"
	"vipd/internal/vm"
)

const (
	linesVar     = "VIPD_LINES" // another number of command lines: a thousand take a minute
	linesSeedVar = "VIPD_LINES_SEED"
	crowdVar     = "VIPD_LINES_CROWD" // how many services more than five some tables have at most
	lines        = 250
	linesSeed    = 7
)

// linesScript makes a host with addresses.
const linesScript = `modprobe ip_vs
ip link set lo up
ip link add eth0 type veth peer name far
ip link set far up
ip link set eth0 up
ip addr add 10.0.8.2/24 dev eth0
ip addr add 2001:db8::2/64 dev eth0 nodad
ip route add default via 10.0.8.1
ip route add default via 2001:db8::1
`

// TestCommandLinesOfEveryKind gives command lines that chance makes, right and wrong, to the real ipvsadm on the kernel's IPVS and to ours
// with the packet path's plane: the same exit code, the same output on both channels, and the same table after it.
func TestCommandLinesOfEveryKind(t *testing.T) {
	t.Parallel()
	if !vm.Inside(t, vm.Config{
		Tools:  []string{"ip", "ipvsadm"},
		Texts:  map[string]string{"/etc/hosts": hosts + moreHosts},
		Script: exported(linesVar, linesSeedVar, crowdVar) + linesScript,
	}) {
		return
	}
	need.BPF(t)
	path, err := xdp.Open(xdp.Options{PinDir: "/sys/fs/bpf/vipd/lines", TableSize: 1 << 11})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := path.Remove(); err != nil {
			t.Error(err)
		}
	})
	b := &both{TB: t, plane: path}
	w := &lineWriter{rand.New(rand.NewPCG(uint64(numberOf(linesSeedVar, linesSeed)), 1))}
	for n := range numberOf(linesVar, lines) {
		l := w.line()
		if n%12 == 11 {
			l = typed{args: []string{"-R"}}
			for range 1 + w.IntN(5) {
				l.stdin += w.restored() + "\n"
			}
		}
		b.compare(l)
		if n%10 == 9 {
			b.compare(typed{args: []string{"-Sn"}})
		}
		if n%60 == 59 {
			b.compare(typed{args: []string{"-C"}})
		}
		if n%120 == 119 {
			b.compare(typed{args: []string{"-R"}, stdin: w.crowd()})
			for _, args := range []string{"-Ln", "-Sn", "-Ln --stats", "-Ln --rate --exact", "-Ln --thresholds", "-Ln --persistent-conn", "-Ln --tun-info", "-Ln --nosort", "-C"} {
				b.compare(typed{args: strings.Fields(args)})
			}
		}
	}
	t.Logf("%d command lines, of which %d did something", b.count, b.done)
}

// typed is a command line, without the program.
type typed struct {
	args  []string
	stdin string
}

func (l typed) String() string { return fmt.Sprintf("ipvsadm %q <%q", l.args, l.stdin) }

// both are the real ipvsadm and ours.
type both struct {
	testing.TB
	plane       plane.Plane
	last        []string // what was done since the tables were empty
	count, done int
}

// Of a daemon there is what ipvsadm asks for.

func (b *both) Status(context.Context) (control.Status, error) { return control.Status{}, nil }
func (b *both) Timeouts(context.Context) (lb.Timeouts, error)  { return b.plane.Timeouts() }
func (b *both) Table(context.Context) (control.Table, error)   { return daemon.TableOf(b.plane) }
func (b *both) Conns(_ context.Context, visit func(lb.Conn) bool) error {
	return b.plane.Conns(visit)
}
func (b *both) Change(_ context.Context, changes []control.Change) ([]control.Answer, error) {
	return daemon.ChangePlane(b.plane, changes), nil
}

func (b *both) ours(l typed) (string, int) {
	var out, errs bytes.Buffer
	code := cli.Ipvsadm("ipvsadm", l.args, cli.Env{Stdin: strings.NewReader(l.stdin), Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" },
		Dial: func(string) (control.Source, error) { return b, nil }})
	return out.String() + "\n-- standard error:\n" + errs.String(), code
}

func (b *both) theirs(l typed) (string, int) {
	b.Helper()
	var out, errs bytes.Buffer
	real := exec.Command("ipvsadm", l.args...)
	real.Stdin, real.Stdout, real.Stderr = strings.NewReader(l.stdin), &out, &errs
	err := real.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.Fatal(err)
	}
	return out.String() + "\n-- standard error:\n" + errs.String(), real.ProcessState.ExitCode()
}

var tableSize = regexp.MustCompile(`\(size=\d+\)`)

func (b *both) compare(l typed) {
	b.Helper()
	theirs, code := b.theirs(l)
	ours, ourCode := b.ours(l)
	if code < 0 && ourCode != 0 && (slices.Contains(l.args, ",") || strings.Contains(l.stdin, " ,")) { // "-b ,": ipvsadm ends by a signal
		code, theirs = ourCode, ours
	}
	if strings.Contains(theirs, "\nUsage:\n") && strings.Contains(ours, "\nUsage:\n") { // each has its own
		theirs = ours
	}
	theirs, ours = tableSize.ReplaceAllString(theirs, ""), tableSize.ReplaceAllString(ours, "")
	if slices.Contains(l.args, "--nosort") || strings.Contains(l.stdin, "--nosort") {
		theirs, ours = sortLines(theirs), sortLines(ours) // ipvs: by a hash that an address in the kernel goes into
	}
	b.count++
	if code == 0 {
		b.done++
	}
	if l.args[0] == "-C" && code == 0 {
		b.last = nil
	}
	if code != ourCode || theirs != ours {
		b.Errorf("after\n%s\n%v\nexit %d, ours %d\n%s\n---- ours:\n%s", strings.Join(b.last, "\n"), l, code, ourCode, theirs, ours)
	}
	if code == 0 && !strings.HasPrefix(l.args[0], "-L") {
		b.last = append(b.last, l.String())
	}
}

// lineWriter makes command lines.
type lineWriter struct{ *rand.Rand }

func (w *lineWriter) one(of ...string) string { return of[w.IntN(len(of))] }

// mostly is one of the first words, and now and then one of the others.
func (w *lineWriter) mostly(good []string, bad ...string) string {
	if w.IntN(12) == 0 {
		return w.one(bad...)
	}
	return w.one(good...)
}

func (w *lineWriter) service() []string {
	switch w.IntN(8) {
	case 0:
		mark := []string{"-f", w.mostly([]string{"1", "7", "2147483647"}, "0", "-1", "x", "4294967296", "0x7", "07", "+3", " 4")}
		if w.IntN(3) == 0 {
			mark = append(mark, "-6")
		}
		return mark
	case 1:
		return []string{w.one("-t", "-u", "--sctp-service"), w.mostly([]string{"[2001:db8::9]:80", "[2001:db8::9]:443", "2001:db8::9"}, "[2001:db8::9]", "[2001:db8::9", "[2001:db8::9]80",
			"[fe80::1%eth0]:80", "2001:db8::9:80", "[::]:80", "[ff02::1]:80", "::ffff:10.0.8.9", "[]:80", "[2001:db8::9]:", "[2001:db8::9]:http")}
	default:
		return []string{w.one("-t", "-t", "-u", "--tcp-service", "--udp-service", "--sctp-service"), w.mostly([]string{"10.0.8.9:80", "10.0.8.9:80", "10.0.8.9:443", "10.0.8.10:80", "10.0.8.9"},
			"10.0.8.9:0", "vip.example.com:http", "0x0a000809:80", "10.1:80", "300.1.1.1:80", "80", "", ":80", ":", "10.0.8.9:", "10.0.8.9:65536", "10.0.8.9:+7", "10.0.8.9: 7", "10.0.8.9:7x",
			"10.0.8.9:-1", "10.0.8.9:domain", "10.0.8.9:nosuch", "[10.0.8.9]:80", "0.0.0.0:80", "255.255.255.255:80", "224.0.0.1:80", "127.0.0.1:80", "nosuch:80", "012.0.8.9:80", "10.0.8.9:80:90",
			"10.0.8.9:99999999999999999999")}
	}
}

func (w *lineWriter) real() []string {
	return []string{w.one("-r", "-r", "--real-server"), w.mostly([]string{"10.0.8.12", "10.0.8.12:8080", "10.0.8.13", "10.0.8.13:80", "10.0.8.14:80", "[2001:db8::12]:80", "2001:db8::13"},
		"[2001:db8::12]", "10.0.8.14:0", "224.0.0.1", "0.0.0.0", "127.0.0.1", "10.0.8.2", "255.255.255.255", "[::1]:80", "[fe80::1]:80", "[ff02::1]:80", "[::]:80", "rs-a.example.com:http", "nosuch",
		"10.0.8.9:80", "", ":80", "8080", "10.0.8.12:", "10.0.8.12:x", "240.0.0.1", "1.2.3.4", "[2001:db8::2]:80", "10.0.8.14:domain")}
}

func (w *lineWriter) some(most int, of ...func() []string) (args []string) {
	for range w.IntN(most + 1) {
		args = append(args, of[w.IntN(len(of))]()...)
	}
	return args
}

func words(w ...string) func() []string { return func() []string { return w } }

func (w *lineWriter) scheduler() []string {
	return []string{w.one("-s", "-s", "--scheduler"), w.mostly([]string{"rr", "wrr", "lc", "wlc", "sed", "nq", "sh", "dh", "mh", "lblc", "lblcr", "fo", "ovf"}, "none", "", "RR", "nosuch", "averyveryverylongname")}
}

func (w *lineWriter) persistence() []string {
	switch w.IntN(5) {
	case 0:
		return []string{w.one("-p", "--persistent")}
	case 1:
		return []string{w.one("-p10", "-p=20", "--persistent=30", "--persistent=", "-p=", "-p1x")}
	}
	return []string{"-p", w.mostly([]string{"10", "360", "2678400"}, "0", "2678401", "x", "", "-5", "+9", " 8", "0x10", "010", "99999999999999999999")}
}

func (w *lineWriter) netmask() []string {
	return []string{w.one("-M", "--netmask"), w.mostly([]string{"255.255.255.0", "255.255.0.0", "64", "128"}, "0", "129", "24", "x", "", "255.0.255.0", "0.0.0.0", "64x", "-1", "ffff::", "vip.example.com", "255.255.255.255")}
}

func (w *lineWriter) flags() []string {
	return []string{w.one("-b", "--sched-flags"), w.mostly([]string{"sh-port", "sh-fallback", "mh-port", "mh-fallback", "flag-1", "flag-2", "flag-3", "sh-port,sh-fallback", "mh-port,mh-fallback"},
		"", ",", "nosuch", "sh-port,mh-port", "flag-1,flag-1", "flag-4", "sh-port,", ",sh-port", "flag-1,flag-2,flag-3", "SH-PORT", " sh-port", "sh-port sh-fallback")}
}

func (w *lineWriter) weight() []string {
	return []string{w.one("-w", "--weight"), w.mostly([]string{"0", "1", "2", "100", "65535"}, "-1", "x", "", "1.5", "2147483647", "2147483648", "0x10", "+3", " 3", "3 ", "007", "1e3")}
}

func (w *lineWriter) threshold() []string {
	return []string{w.one("-x", "-y", "--u-threshold", "--l-threshold"), w.mostly([]string{"0", "1", "10", "20", "100"}, "-1", "x", "", "2147483647", "2147483648", "+3", "4294967296")}
}

func (w *lineWriter) tunnel() []string {
	switch w.IntN(3) {
	case 0:
		return []string{"--tun-type", w.mostly([]string{"ipip", "gue", "gre"}, "vxlan", "", "GUE", "gu")}
	case 1:
		return []string{"--tun-port", w.mostly([]string{"6080", "65535"}, "0", "x", "", "65536", "-1", "+5")}
	}
	return []string{w.one("--tun-nocsum", "--tun-csum", "--tun-remcsum")}
}

func (w *lineWriter) format() []string {
	return []string{w.one("-n", "--numeric", "--stats", "--rate", "--thresholds", "--persistent-conn", "--tun-info", "--sort", "--exact", "-X", "--timeout", "--daemon", "-c", "--connection", "--nosort", "-6")}
}

// any is an option of any command, mostly the wrong one.
func (w *lineWriter) any() []string {
	return w.some(1, w.service, w.real, w.scheduler, w.persistence, w.netmask, w.flags, w.weight, w.threshold, w.tunnel, w.format, words("-o"), words("--ops"), words("--pe", "sip"), words("-g"), words("-i"),
		words("-m"), words("--syncid", "3"), words("--mcast-interface", "eth0"), words("--mcast-group", "224.0.0.99"), words("--mcast-port", "9"), words("--mcast-ttl", "9"), words("--sync-maxlen", "1400"),
		words("foo"), words("--"), words("-"), words(""), words("-q"), words("--foo"), words("--weight"), words("-A"), words("-h"), words("-v"), words("--set"), words("--version=1"), words("-n=1"), words("--exact=1"))
}

func (w *lineWriter) line() typed {
	var args []string
	switch w.IntN(16) {
	case 0, 1, 2:
		args = append([]string{w.one("-A", "-A", "-E", "--add-service", "--edit-service")}, w.service()...)
		args = append(args, w.some(3, w.scheduler, w.persistence, w.netmask, w.flags, words("-o"), func() []string { return []string{"--pe", w.mostly([]string{"sip"}, "nosuch", "", "SIP")} })...)
	case 3, 4, 5, 6:
		args = append([]string{w.one("-a", "-a", "-a", "-e", "--add-server", "--edit-server")}, w.service()...)
		args = append(append(args, w.real()...), w.some(4, w.weight, w.threshold, w.tunnel, words("-g"), words("-m"), words("-i"), words("-i", "--tun-type", "gue", "--tun-port", "6080"))...)
	case 7:
		args = append(append([]string{w.one("-d", "--delete-server")}, w.service()...), w.real()...)
	case 8:
		args = append([]string{w.one("-D", "-Z", "-Z", "--delete-service", "--zero")}, w.service()...)
	case 9, 10, 11, 12:
		args = append([]string{w.one("-L", "-Ln", "-l", "--list", "-L")}, w.some(3, w.format)...)
		if w.IntN(4) == 0 {
			args = append(args, w.service()...)
		}
	case 13:
		args = w.bare()
	case 14:
		args = append([]string{w.one("-S", "-Sn", "--save", "-R", "-Z", "-v", "--version", "-lcn", "-Lcn")}, w.some(1, w.any)...)
	default:
		args = append([]string{w.one("-n", "-t", "foo", "--foo", "-q", "-", "--", "", "-AD", "-Lq", "-c", "--stat", "-stats", "-AA", "--add", "-Lnn", "-at", "-C=1", "--clear=1")}, w.any()...)
	}
	if w.IntN(6) == 0 {
		args = append(args, w.any()...)
	}
	if w.IntN(15) == 0 && len(args) > 2 { // the order matters to some
		w.Shuffle(len(args)-1, func(i, j int) { args[i+1], args[j+1] = args[j+1], args[i+1] })
	}
	return typed{args: args, stdin: w.one("", "", "# nothing\n", "-A\n")}
}

// bare are the commands without a service.
func (w *lineWriter) bare() []string {
	switch w.IntN(4) {
	case 0:
		number := func() string {
			return w.mostly([]string{"0", "100", "2678400"}, "2678401", "x", "", "-1", "+7", "1.5", "0x1")
		}
		return append([]string{"--set"}, []string{number(), number(), number()}[:3-w.IntN(6)/5]...)
	case 1:
		return append([]string{w.one("-C", "--clear"), w.one("-n", "-t", "foo", "--stats", "-w")}, w.any()...) // the table stays, mostly
	}
	return []string{w.one("-L", "--list"), w.one("--timeout", "--daemon"), w.one("-n", "--exact", "--stats", "--sort", "--syncid", "--nosort")}
}

// crowd is a file for -R with many services, and real servers whose addresses are far apart, which the original sorts in an odd way.
//
// ipvs: where services' are, the outcome depends on a hash that an address in the kernel goes into. Here they are not.
func (w *lineWriter) crowd() string {
	var b strings.Builder
	host := func(six bool, most int) string {
		if six {
			return fmt.Sprintf("[2001:%x:%x:%x::%x]", w.IntN(1<<16), w.IntN(most<<8), w.IntN(1<<16), 1+w.IntN(0xfffe))
		}
		first := 1 + w.IntN(most)
		if first == 10 || first == 127 {
			first++
		}
		return fmt.Sprintf("%d.%d.%d.%d", first, w.IntN(256), w.IntN(256), 1+w.IntN(254))
	}
	for range 5 + w.IntN(numberOf(crowdVar, 30)) {
		six := w.IntN(4) == 0
		service := fmt.Sprintf("%s %s:%d", w.one("-t", "-u", "--sctp-service"), host(six, 120), 1+w.IntN(65535))
		if w.IntN(4) == 0 {
			if service = fmt.Sprint("-f ", 1+w.Uint32N(1<<31-1)); six {
				service += " -6"
			}
		}
		fmt.Fprintf(&b, "-A %s -s %s\n", service, w.one("rr", "wlc", "rr -p 20", "sh -b flag-3,sh-port", "rr -b flag-2", "mh -p -b mh-fallback"))
		for range w.IntN(9) {
			family, how := six, w.one("-g", "-m -x 9 -y 3", "-i", "-i --tun-type gue --tun-port 6080 --tun-remcsum", "-i --tun-type gre --tun-csum")
			if strings.HasPrefix(how, "-i") && w.IntN(3) == 0 {
				family = !six
			}
			fmt.Fprintf(&b, "-a %s -r %s:%d %s -w %d\n", service, host(family, 223), 1+w.IntN(65535), how, w.IntN(3)*4999999)
		}
	}
	return b.String()
}

// restored is a line of a file for -R: words that need no quotes, mostly.
func (w *lineWriter) restored() string {
	switch w.IntN(10) {
	case 0:
		return w.one("", "# a remark", "  ", "\t-A -t 10.0.8.9:81 -s rr", "-A -t '10.0.8.9:82' -s rr", "-A -t \"10.0.8.9:83\" -s rr", "-L", "-C -q", "foo", "-R", "-S", "-A -t 10.0.8.9:84 -s rr # why", "ipvsadm -A -t 10.0.8.9:85",
			"-A -t 10.0.8.9:86 -s rr\r", "-A  -t   10.0.8.9:87", "-A -t 10.0.8.9:88 -s ''", "-A\\ -t", "-A -t 10.0.8.9\\:89")
	case 1:
		return strings.Join(w.line().args, " ")
	case 2, 3, 4:
		return "-A " + strings.Join(w.service(), " ") + " -s " + w.one("rr", "wrr", "sh")
	}
	return "-a " + strings.Join(append(w.service(), w.real()...), " ") + " " + w.one("-g", "-m", "-i", "") + " " + strings.Join(w.weight(), " ")
}
