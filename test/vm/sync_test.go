package vm

import (
	_ "embed"
	"path/filepath"
	"testing"

	"vipd/internal/vm"
)

//go:embed testdata/sync.sh
var syncScript string

// TestConnectionsAreSynchronisedWithTheKernelsIPVSBothWays: open connections, of DR and NAT, persistent and not, go on when their
// address moves from the kernel's director to vipd's and back, and both tables say the same.
func TestConnectionsAreSynchronisedWithTheKernelsIPVSBothWays(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "vipd")
	buildProgram(t, binary)
	checkScript(t, vm.Config{Script: syncScript, Tools: []string{"ip", "ipvsadm", "ethtool"}, Modules: []string{"bridge"},
		Files: map[string]string{"/vm/vipd": binary}, Output: t.Output()})
}
