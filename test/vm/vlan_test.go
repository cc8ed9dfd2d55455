package vm

import (
	_ "embed"
	"path/filepath"
	"testing"
	"time"

	"vipd/internal/vm"
)

//go:embed testdata/vlan.sh
var vlanScript string

// TestVLANsOnLinux6_1: real VLAN devices of both kinds and a macvlan, below which the packet path is attached.
func TestVLANsOnLinux6_1(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "vipd")
	buildProgram(t, binary)
	checkScript(t, vm.Config{Script: vlanScript, Tools: []string{"ip", "ethtool", "bash"}, Modules: []string{"8021q", "macvlan"},
		Limit: 9 * time.Minute, Files: map[string]string{"/vm/vipd": binary}, Output: t.Output()})
}
