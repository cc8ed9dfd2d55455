package vm

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vipd/internal/need"
	"vipd/internal/vm"
)

const goldenDir = "../../internal/cli/testdata/golden/"

// The names that were known when the outputs were recorded.
const (
	hosts = "127.0.0.1 localhost\n10.0.8.9 vip.example.com\n10.0.8.12 rs-a.example.com\n" +
		"10.0.8.13 a-very-long-real-server-name-number-two.example.com\n"
	moreHosts = "10.0.8.15 a-virtual-service-name-that-is-long.example.com\n2001:db8::12 v6-real-server-one.example.com\n" +
		"10.0.8.14 this-host-name-is-very-very-long-so-that-it-does-not-fit-into-any-column.example.com\n"
	firstWithMoreNames = "801-v4-in-brackets"
)

// recorded is one stored run of ipvsadm.
type recorded struct {
	name           string
	setup          []string // commands before it, since the table was empty
	empty          bool     // the table was empty before it
	command, stdin string
	status         string
	stdout, stderr string
	mistake        bool // only exit status and standard error are stored
}

// TestStoredOutputsAreWhatIpvsadmPrints gives every stored command line to the real ipvsadm on the kernel's IPVS. What
// traffic had made of a table is left out: commands alone make the state here.
func TestStoredOutputsAreWhatIpvsadmPrints(t *testing.T) {
	need.QEMU(t)
	t.Parallel()
	cases := append(storedRuns(t), storedMistakes(t)...)
	texts := map[string]string{"/etc/hosts": hosts, "/vm/more-hosts": moreHosts}
	for i, c := range cases {
		texts[fmt.Sprintf("/vm/%d.stdin", i)] = c.stdin
	}
	result, err := vm.Run(t.Context(), vm.Config{Tools: []string{"ipvsadm", "ip"}, Script: recording(cases), Texts: texts})
	if err != nil {
		t.Fatal(err)
	}
	if result.Status != 0 || result.Output != "" {
		t.Fatalf("exit status %d\n%s", result.Status, result.Output)
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.compare(t, recorded{
				status: strings.TrimSpace(string(result.Files[fmt.Sprintf("%d.status", i)])),
				stdout: string(result.Files[fmt.Sprintf("%d.stdout", i)]),
				stderr: string(result.Files[fmt.Sprintf("%d.stderr", i)]),
			})
		})
	}
	t.Logf("%d stored runs", len(cases))
}

func (c recorded) compare(t *testing.T, got recorded) {
	t.Helper()
	out, want := got.stdout, c.stdout
	if strings.Contains(c.command, "--nosort") || strings.Contains(c.command, "diff ") {
		out, want = sortLines(out), sortLines(want) // ipvs: by a hash that an address in the kernel goes into
	}
	if got.status != c.status || got.stderr != c.stderr || !c.mistake && out != want {
		t.Errorf("after\n%s\n$ %s\nexit %s, stored %s\nstdout:\n%sstored:\n%sstderr:\n%sstored:\n%s", strings.Join(c.setup, "\n"), c.command,
			got.status, c.status, out, want, got.stderr, c.stderr)
	}
}

func sortLines(s string) string {
	lines := strings.SplitAfter(s, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// recording is a script that runs the cases in their order, each into files of its own. Every command costs tens of
// milliseconds there, so the table is made anew only where it must be.
func recording(cases []recorded) string {
	script := strings.Builder{}
	script.WriteString("ip addr add 10.0.8.2/24 dev lo\n")
	var before recorded
	for i, c := range cases {
		setup := before.setup
		if c.afresh(before) {
			script.WriteString("ipvsadm -C\n")
			setup = nil
		}
		if strings.Contains(before.command, "--set") {
			script.WriteString("ipvsadm --set 900 120 300\n")
		}
		for _, line := range c.setup[len(setup):] {
			fmt.Fprintf(&script, "%s || echo 'set-up of %s fails'\n", line, c.name)
		}
		switch c.name {
		case firstWithMoreNames:
			script.WriteString("cat /vm/more-hosts >>/etc/hosts\n")
		case "097-mixed-save-restore-roundtrip": // a copy for the next one
			script.WriteString("ipvsadm -Sn | sed 's/-f -1 /-f 4294967295 /' >/tmp/keep\n")
		}
		fmt.Fprintf(&script, "( %s\n) </vm/%d.stdin >/out/%d.stdout 2>/out/%d.stderr; echo $? >/out/%d.status\n", c.command, i, i, i, i)
		before = c
	}
	return script.String()
}

// afresh tells whether a case starts from an empty table, instead of from what the case before has left.
func (c recorded) afresh(before recorded) bool {
	switch n := len(before.setup); {
	case c.mistake: // one that is refused changes nothing
		return !before.mistake || before.status == "0"
	case c.empty:
		return true
	case n == 0:
		return len(c.setup) > 0
	default:
		return len(c.setup) < n || !slices.Equal(before.setup, c.setup[:n])
	}
}

func stored(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(goldenDir + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// storedRuns are those cases whose set-up is commands alone, by their number.
func storedRuns(t *testing.T) (cases []recorded) {
	t.Helper()
	_, body, _ := strings.Cut(stored(t, "runs.txt"), "### CASE ")
	var setup []string
	for block := range strings.SplitSeq(strings.TrimSuffix(body, "### END\n"), "### CASE ") {
		c := recorded{}
		head, rest, _ := strings.Cut(block, "### CMD\n")
		c.name, head, _ = strings.Cut(head, "\n")
		head, c.empty = strings.CutPrefix(head, "!\n")
		switch head {
		case "=\n":
		case "":
			setup = nil
		default:
			setup = strings.Split(strings.TrimSuffix(head, "\n"), "\n")
		}
		c.setup = setup
		c.command, rest, _ = strings.Cut(rest, "\n### EXIT ")
		c.command, c.stdin, _ = strings.Cut(c.command, "\n### STDIN\n")
		if c.stdin = strings.ReplaceAll(c.stdin, "<CR>", "\r"); c.name != "107-restore-no-final-newline" {
			c.stdin += "\n"
		}
		c.status, rest, _ = strings.Cut(rest, "\n### STDOUT\n")
		c.stdout, c.stderr, _ = strings.Cut(rest, "### STDERR\n")
		if number, err := strconv.Atoi(c.name[:3]); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		} else if number < 300 || number >= 800 {
			cases = append(cases, c)
		}
	}
	return cases
}

func storedMistakes(t *testing.T) (cases []recorded) {
	t.Helper()
	for line := range strings.Lines(stored(t, "errors.txt")) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if strings.HasPrefix(f[3], "-6 used") {
			f[3] += "\n" // it ends in an empty line
		}
		cases = append(cases, recorded{name: f[0], status: f[1], command: f[2], stderr: f[3] + "\n", mistake: true,
			setup: []string{"ipvsadm -A -t 10.0.8.9:80 -s rr", "ipvsadm -a -t 10.0.8.9:80 -r 10.0.8.12 -m"}})
	}
	return cases
}
