package cli

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestManualPage: every command that is shown stands in it, and groff has nothing to say where it is.
func TestManualPage(t *testing.T) {
	var out bytes.Buffer
	root := newRootCommand(Env{Stdout: &out})
	root.SetArgs([]string{"man"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	for _, c := range shown(root) {
		if !strings.Contains(out.String(), "\n.SS "+roff(c.CommandPath())) {
			t.Errorf("%s is not in the page", c.Name())
		}
	}
	if _, err := exec.LookPath("groff"); err != nil {
		return // the rows above are the test
	}
	cmd := exec.Command("groff", "-k", "-man", "-ww", "-z", "-T", "utf8")
	cmd.Stdin, cmd.Env = &out, append(os.Environ(), "MAN_KEEP_FORMATTING=1")
	if said, err := cmd.CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("%v: %s", err, said)
	}
}

// TestConfigurationThatIsFound: our own before keepalived's.
func TestConfigurationThatIsFound(t *testing.T) {
	own := t.TempDir() + "/vipd.conf"
	if got := configOf(own, "other"); got != "other" {
		t.Errorf("%s, though there is none of our own", got)
	}
	if err := os.WriteFile(own, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := configOf(own, "other"); got != own {
		t.Errorf("%s, though there is one of our own", got)
	}
}

func TestFacilities(t *testing.T) {
	for word, want := range map[string]int{"": 3 << 3, "0": 16 << 3, "7": 23 << 3, "local1": 17 << 3, "user": 1 << 3} {
		if got, err := facilityOf(word); err != nil || int(got) != want {
			t.Errorf("-S %s: %d, %v", word, got, err)
		}
	}
	if _, err := facilityOf("8"); err == nil {
		t.Error("-S 8 was taken")
	}
}
