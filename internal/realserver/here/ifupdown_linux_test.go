package here

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"vipd/internal/realserver"
)

// ifupdown runs the script for every interface, those of the virtual addresses too; where it fails, so does ifup.
func TestTheScriptOfIfupdownNeverFails(t *testing.T) {
	ran := filepath.Join(t.TempDir(), "ran")
	steps := []realserver.Step{{Mends: realserver.NoDecap, Do: []string{"echo", "x", ">>" + ran}}, {Mends: realserver.NoDecap, Do: []string{"false"}}}
	files := realserver.Files(realserver.Ifupdown, steps)
	if len(files) != 1 {
		t.Fatalf("%+v", files)
	}
	for iface, want := range map[string]string{"lo": "", "lo:vipd0": "", "eth0": "x\n"} {
		_ = os.Remove(ran)
		cmd := exec.Command("/bin/sh", "-c", files[0].Text)
		cmd.Env = append(os.Environ(), "IFACE="+iface)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", iface, err, out)
		}
		if got, _ := os.ReadFile(ran); string(got) != want {
			t.Errorf("%s: it did %q, want %q", iface, got, want)
		}
	}
}
