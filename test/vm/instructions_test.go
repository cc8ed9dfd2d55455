package vm

import (
	"flag"
	"os"
	"testing"
	"time"

	"vipd/internal/vm"
)

var instructionsJSON = flag.String("figures", "", "BenchmarkInstructions: also write the figures to this file")

// BenchmarkInstructions measures the packet path beside the kernel's IPVS on a clock that counts the guest's instructions: a
// packet's cost is a number that repeats, whatever else this machine does.
func BenchmarkInstructions(b *testing.B) {
	if b.N > 1 {
		b.Skip("one run is a whole measurement: use -benchtime 1x")
	}
	result := vm.GoTest(b, vm.Config{
		CountInstructions: true,
		Tools:             []string{"ip", "ipvsadm", "ethtool"},
		Script:            "modprobe ip_vs; modprobe ip_vs_wrr",
		Limit:             20 * time.Minute,
		Output:            os.Stdout,
	}, "vipd/bpf", "-test.run=^$", "-test.bench=^BenchmarkBesideIPVS$", "-test.benchtime=1x", "-figures=/out/instructions.json")
	if *instructionsJSON == "" {
		return
	}
	if err := os.WriteFile(*instructionsJSON, result.Files["instructions.json"], 0o644); err != nil {
		b.Fatal(err)
	}
}
