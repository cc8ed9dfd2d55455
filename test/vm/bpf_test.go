package vm

import (
	_ "embed"
	"strings"
	"testing"
	"time"

	"vipd/internal/vm"
)

//go:embed testdata/decap.sh
var decapScript string

// rows are those tests of the packet path that run in the VM: one of each kind, and none that loads the object again and
// again (the traces, the state tables), as a load takes the older verifier up to a minute of emulation.
var rows = []string{"TestForwardedFrame", "TestClientStaysWithItsServer", "TestTunnelledFrame", "TestTunnelsOfIPv6", "TestDecapsulatorUnpacksWhatIsForAVirtualAddress", "TestReplyFrame", "TestFragmentsUnderNAT", "TestTimerSweepsAlone",
	"TestCallsAreThoseOfIPVS", "TestRepliesInVLANs", "TestOtherDirector", "TestWhatCannotGoUnderFullNAT6", "TestProxyOfANewConnection", "TestWhatWasToldOfTheProxyHeader",
	"TestKernelTakesOutWhatWePutIn", "TestOwnSocketsGoToARealServer"}

// TestPacketPathDoesTheSameOnLinux6_1 runs the rows where every program must pass an older verifier.
func TestPacketPathDoesTheSameOnLinux6_1(t *testing.T) {
	t.Parallel()
	result := vm.GoTest(t, vm.Config{Limit: 15 * time.Minute, Tools: []string{"ip"}, Script: decapScript}, "vipd/bpf", "-test.run=^("+strings.Join(rows, "|")+")$")
	for _, row := range rows {
		if !strings.Contains(result.Output, "\n--- PASS: "+row+" ") {
			t.Errorf("%s is not among those that passed", row)
		}
	}
}
