package cli

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vipd/internal/lb"
)

// goldenCase is one recorded run of the real ipvsadm.
type goldenCase struct {
	name           string
	setup          []string
	empty          bool // the table was empty before it
	command, stdin string
	exit           int
	stdout, stderr string
}

func readGolden(t *testing.T) []goldenCase {
	t.Helper()
	text, err := os.ReadFile("testdata/golden/runs.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(text), "### CASE ")
	body = strings.TrimSuffix(body, "### END\n")
	var all []goldenCase
	for _, block := range strings.Split(body, "### CASE ") {
		c := goldenCase{}
		head, rest, _ := strings.Cut(block, "### CMD\n")
		c.name, head, _ = strings.Cut(head, "\n")
		head, c.empty = strings.CutPrefix(head, "!\n")
		if head == "=\n" {
			c.setup = all[len(all)-1].setup
		} else if head != "" {
			c.setup = strings.Split(strings.TrimSuffix(head, "\n"), "\n")
		}
		c.command, rest, _ = strings.Cut(rest, "\n### EXIT ")
		c.command, c.stdin, _ = strings.Cut(c.command, "\n### STDIN\n")
		if c.stdin = strings.ReplaceAll(c.stdin, "<CR>", "\r"); c.name != "107-restore-no-final-newline" {
			c.stdin += "\n"
		}
		code, rest, _ := strings.Cut(rest, "\n### STDOUT\n")
		c.stdout, c.stderr, _ = strings.Cut(rest, "### STDERR\n")
		c.exit, err = strconv.Atoi(code)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		all = append(all, c)
	}
	return all
}

// TestRunsAreByteForByteThoseOfIpvsadm replays recorded runs of the real tool, listings and changes, against a plane in
// memory. What traffic did to a table cannot be replayed, so counts and connections are learned from the recorded output:
// layout, order, widths and words are judged.
func TestRunsAreByteForByteThoseOfIpvsadm(t *testing.T) {
	cases := readGolden(t)
	w := newWorld()
	var setup []string
	var learned int
	for _, c := range cases {
		fresh := len(setup) == 0 && len(c.setup) > 0 || len(c.setup) < len(setup) || !slices.Equal(setup, c.setup[:len(setup)]) || c.empty
		if fresh {
			w, setup = newWorld(), nil
		}
		if c.name[:3] < "300" || c.name[:3] > "800" {
			w.names = namesOf(c.name[:3] > "800")
		} else {
			w.names = fakeNames{}
		}
		for _, line := range c.setup[len(setup):] {
			if code, _, errs := w.shell(line, ""); code != 0 {
				t.Fatalf("%s: set-up %q: exit %d, %s", c.name, line, code, errs)
			}
		}
		setup = c.setup
		t.Run(c.name, func(t *testing.T) {
			if c.name[0] > '2' && c.name[0] < '8' {
				w.learn(c.stdout)
				learned++
			}
			if c.name[:3] == "097" { // the recording kept a copy for the next run
				_, keep, _ := w.shell("ipvsadm -Sn", "")
				w.files["/tmp/keep"] = strings.ReplaceAll(keep, "-f -1 ", "-f 4294967295 ")
			}
			code, out, errs := w.shell(c.command, c.stdin)
			want := c.stdout
			if strings.HasPrefix(want, "IPVS connection entries") {
				out, want = sortLines(out), sortLines(want) // ipvs: random order
			}
			if code != c.exit || out != want || errs != c.stderr {
				t.Errorf("%s\nexit %d, want %d\nstdout:\n%s\nwant:\n%s\nstderr:\n%s\nwant:\n%s", c.command, code, c.exit, out, want, errs, c.stderr)
			}
		})
	}
	t.Logf("%d recorded runs, %d of them with live traffic", len(cases), learned)
}

func sortLines(s string) string {
	lines := strings.SplitAfter(s, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// TestMistakesAreAnsweredAsIpvsadmAnswersThem goes through every recorded bad command line.
func TestMistakesAreAnsweredAsIpvsadmAnswersThem(t *testing.T) {
	text, err := os.ReadFile("testdata/golden/errors.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for _, line := range lines {
		f := strings.Split(line, "\t")
		t.Run(f[0], func(t *testing.T) {
			w := newWorld()
			w.names = namesOf(false)
			w.shell("ipvsadm -A -t 10.0.8.9:80 -s rr", "")
			w.shell("ipvsadm -a -t 10.0.8.9:80 -r 10.0.8.12 -m", "")
			code, _, errs := w.shell(f[2], "")
			want := f[3] + "\n"
			if strings.HasPrefix(want, "-6 used") {
				want += "\n"
			}
			if strconv.Itoa(code) != f[1] || errs != want {
				t.Errorf("%s\nexit %d, want %s\nstderr %q\nwant   %q", f[2], code, f[1], errs, want)
			}
		})
	}
	t.Logf("%d recorded mistakes", len(lines))
}

// learn takes from a recorded listing what traffic had done to the table.
func (w *world) learn(out string) {
	kind := plain
	table, _ := w.Table(context.Background())
	var s *svc
	for _, line := range strings.Split(out, "\n") {
		f := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "IPVS connection"):
			w.conns = nil
		case strings.HasPrefix(line, "Prot Local"):
			kind = kindOfTitle(line)
		case strings.HasPrefix(line, "  -> "):
			if s != nil {
				w.learnReal(s, kind, f[1:])
			}
		case (len(f) == 6 || len(f) == 8) && strings.Contains(f[1], ":"):
			w.conns = append(w.conns, connOfRow(f))
		case len(f) > 1:
			if i := slices.IndexFunc(table.Services, func(s svc) bool { return strings.Fields((&printer{}).service(&s))[1] == f[1] }); i >= 0 {
				s = &table.Services[i]
				if (kind == stats || kind == rate) && len(f) == 7 {
					known := w.services[s.ServiceKey]
					*counters(kind, &known.Total, &known.Rate) = fiveNumbers(f[2:])
					w.services[s.ServiceKey] = known
				}
			}
		}
	}
}

func kindOfTitle(line string) format {
	for f, t := range titles {
		if f != tunInfo && t[0] == line {
			return f
		}
	}
	return plain
}

func counters(kind format, total *lb.Counters, rates *lb.Rates) *lb.Counters {
	if kind == stats {
		return total
	}
	return (*lb.Counters)(rates)
}

func (w *world) learnReal(s *svc, kind format, f []string) {
	i := slices.IndexFunc(s.Reals, func(r rs) bool { return r.Addr.String() == f[0] })
	if i < 0 {
		return
	}
	key := countedKey{s.ServiceKey, s.Reals[i].Addr}
	known := w.counted[key]
	n := func(k int) uint32 { return uint32(number(f[len(f)-k])) }
	switch kind {
	case stats, rate:
		*counters(kind, &known.Total, &known.Rate) = fiveNumbers(f[1:])
	case persistentConn:
		known.Persist = n(3)
		fallthrough
	default:
		known.Active, known.Inactive = n(2), n(1)
	}
	w.counted[key] = known
}

// number reads a shortened number as the least that it can mean.
func number(s string) uint64 {
	factor := map[byte]uint64{'K': 1e3, 'M': 1e6, 'G': 1e9, 'T': 1e12}[s[len(s)-1]]
	if factor == 0 {
		factor = 1
	}
	n, _ := strconv.ParseUint(strings.TrimRight(s, "KMGT"), 10, 64)
	return n * factor
}

func fiveNumbers(f []string) lb.Counters {
	return lb.Counters{Conns: number(f[0]), InPkts: number(f[1]), OutPkts: number(f[2]), InBytes: number(f[3]), OutBytes: number(f[4])}
}

func TestHelpIsOnStandardOutputWhateverFollows(t *testing.T) {
	for _, line := range []string{"ipvsadm -h", "ipvsadm --help", "ipvsadm -h foo --bar"} {
		code, out, errs := newWorld().shell(line, "")
		if code != 0 || errs != "" || !strings.HasPrefix(out, ipvsadmVersion+"Usage:\n") {
			t.Errorf("%s: exit %d\n%s\n%s", line, code, out, errs)
		}
		if bytes.ContainsAny([]byte(out), "\t") {
			t.Errorf("%s: tabs", line)
		}
	}
}
