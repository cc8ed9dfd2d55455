package here

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vipd/internal/need"
	"vipd/internal/realserver"
)

// netplan itself reads the file that is written for it, and makes of it what systemd-networkd's own file says.
func TestNetplanTakesWhatIsWrittenForIt(t *testing.T) {
	netplan := need.Tool(t, "netplan")
	var steps []realserver.Step
	for _, a := range []string{"10.0.8.9/32", "2001:db8::9/128"} {
		steps = append(steps, realserver.Step{Mends: realserver.VIPMissing, Address: netip.MustParsePrefix(a)})
	}
	root := t.TempDir()
	for _, f := range realserver.Files(realserver.Netplan, steps) {
		path := filepath.Join(root, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(f.Text), os.FileMode(f.Mode)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(netplan, "generate", "--root-dir", root).CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %s", err, out)
	}
	made, err := filepath.Glob(filepath.Join(root, "run/systemd/network/*.network"))
	if err != nil || len(made) != 1 {
		t.Fatalf("%v %v", made, err)
	}
	text, err := os.ReadFile(made[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"[Match]\nName=lo\n", "Address=10.0.8.9/32\n", "Address=2001:db8::9/128\nPreferredLifetime=0\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}
