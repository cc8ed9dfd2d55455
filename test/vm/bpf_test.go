package vm

import (
	"strings"
	"testing"

	"vipd/internal/vm"
)

// rows are those tests of the packet path that run in the VM: one of each kind. Loading takes seconds there.
var rows = []string{"TestNothingIsServedBeforeTheMapsSaySo", "TestForwardedFrame", "TestWhatCannotBeForwarded", "TestNobodyAnswers",
	"TestClientStaysWithItsServer", "TestTCPStates", "TestPicksAreThoseOfIPVS", "TestTunnelledFrame", "TestReplyFrame", "TestErrorsOfNobody", "TestSweep", "TestTimerSweepsAlone"}

// TestPacketPathDoesTheSameOnLinux6_1 runs the rows where every program must pass an older verifier.
func TestPacketPathDoesTheSameOnLinux6_1(t *testing.T) {
	t.Parallel()
	result := vm.GoTest(t, vm.Config{}, "vipd/bpf", "-test.run=^("+strings.Join(rows, "|")+")$")
	for _, row := range rows {
		if !strings.Contains(result.Output, "\n--- PASS: "+row+" ") {
			t.Errorf("%s is not among those that passed", row)
		}
	}
}
