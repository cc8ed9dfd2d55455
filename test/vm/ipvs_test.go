package vm

import (
	_ "embed"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vipd/internal/vm"
)

// TestKernelPlaneOnLinux6_1 runs the contract of every plane, and the comparisons with ipvsadm, on a kernel that has IPVS.
func TestKernelPlaneOnLinux6_1(t *testing.T) {
	t.Parallel()
	result := vm.GoTest(t, vm.Config{Script: "modprobe ip_vs", Tools: []string{"ipvsadm"}}, "vipd/internal/plane/ipvs",
		"-test.run=ThisKernel|Ipvsadm|Zeroed")
	if strings.Contains(result.Output, "--- SKIP") {
		t.Error("something was skipped")
	}
	if !strings.Contains(result.Output, "\n--- PASS: TestTheContractHoldsOnThisKernel ") {
		t.Error("the contract was not tested")
	}
}

// The scripts start the program and say what must be.
var (
	//go:embed testdata/dataplane.sh
	dataPlaneScript string
	//go:embed testdata/auto.sh
	autoScript string
)

func TestDaemonDrivesTheKernelsIPVS(t *testing.T) { runDaemonScript(t, dataPlaneScript) }

func TestAutoTakesXDPWhereItAttachesElseTheKernel(t *testing.T) { runDaemonScript(t, autoScript) }

func runDaemonScript(t *testing.T, script string) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "vipd")
	buildProgram(t, binary)
	checkScript(t, vm.Config{Script: script, Tools: []string{"ip", "ipvsadm"}, Files: map[string]string{"/vm/vipd": binary}, Output: t.Output()})
}

func buildProgram(t *testing.T, path string) {
	t.Helper()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "vipd")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// checkScript runs a script that ends in "done" if all is well.
func checkScript(t *testing.T, c vm.Config) {
	t.Helper()
	result, err := vm.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if result.Status != 0 || !strings.HasSuffix(result.Output, "done\n") {
		t.Errorf("exit status %d", result.Status)
	}
}
