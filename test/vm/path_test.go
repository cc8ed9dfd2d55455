package vm

import (
	"strings"
	"testing"

	"vipd/internal/vm"
)

// ways are those tests of check_path that run in the VM.
var ways = []string{"TestChecksGoTheWayOfTheTraffic", "TestChecksGoThroughTunnels", "TestAWayThatCannotBeIsNoVerdict"}

// TestChecksGoTheWayOfTheTrafficOnLinux6_1: where the programs must pass an older verifier, and hang at clsact, as there is no tcx.
func TestChecksGoTheWayOfTheTrafficOnLinux6_1(t *testing.T) {
	t.Parallel()
	result := vm.GoTest(t, vm.Config{Tools: []string{"ip"}}, "vipd/internal/probe", "-test.run=^("+strings.Join(ways, "|")+")$")
	for _, way := range ways {
		if !strings.Contains(result.Output, "\n--- PASS: "+way+" ") {
			t.Errorf("%s is not among those that passed", way)
		}
	}
}
