package vm

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"vipd/internal/need"
)

// Inside tells a test that it runs in the VM. Outside it runs the same test there, fails if it fails there, and is
// false when that is over:
//
//	if !vm.Inside(t, vm.Config{Tools: []string{"ip"}}) {
//		return
//	}
func Inside(t testing.TB, c Config) bool {
	t.Helper()
	if os.Getenv(need.InVM) != "" {
		return true
	}
	parts := strings.Split(t.Name(), "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	GoTest(t, c, ".", "-test.run="+strings.Join(parts, "/"))
	return false
}

// GoTest compiles the tests of a package (an import path, or a folder below the test's own), runs the binary with args
// in the VM and shows what it prints. The test fails if they fail there, or if args chose none. c.Script, if any, runs
// before; the folder of the package in the VM holds its testdata. In the VM need
// skips nothing, as under CI.
func GoTest(t testing.TB, c Config, pkg string, args ...string) Result {
	t.Helper()
	need.QEMU(t)
	binary, dir := compile(t, pkg)
	files := map[string]string{"/vm/package/tests": binary}
	if testdata := filepath.Join(dir, "testdata"); isFolder(testdata) {
		files["/vm/package/testdata"] = testdata
	}
	for to, from := range c.Files {
		files[to] = from
	}
	c.Files = files
	if c.Output == nil {
		c.Output = t.Output()
	}
	// Shorter than the machine's, so that a test that hangs says where.
	limit := fmt.Sprintf("-test.timeout=%v", cmp.Or(c.Limit, defaultLimit)*19/20)
	if c.CountInstructions {
		limit = "-test.timeout=0" // its clock is not this machine's
	}
	run := "cd /vm/package && exec ./tests -test.v " + limit
	for _, a := range args {
		run += " '" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	if c.Script != "" {
		run = "set -e\n" + c.Script + "\n" + run
	}
	c.Script = run + "\n"
	result, err := Run(t.Context(), c)
	switch {
	case err != nil:
		t.Fatal(err)
	case result.Status != 0:
		t.Fatalf("%s in the VM: exit status %d", pkg, result.Status)
	case strings.Contains(result.Output, "no tests to run"):
		t.Fatalf("%s in the VM: %v chose no tests", pkg, args)
	}
	return result
}

// compile makes a static test binary of a package and finds the package's folder.
func compile(t testing.TB, pkg string) (binary, dir string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "tests")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("compile the tests of %s: %v\n%s", pkg, err, out)
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", pkg).Output()
	if err != nil {
		t.Fatalf("find %s: %v", pkg, err)
	}
	return binary, strings.TrimSpace(string(out))
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
