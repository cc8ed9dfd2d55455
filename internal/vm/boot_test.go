package vm

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"vipd/internal/need"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestScriptGivesItsStatusItsOutputAndItsFiles(t *testing.T) {
	need.QEMU(t)
	t.Parallel()
	var shown strings.Builder
	result, err := Run(t.Context(), Config{
		Tools:   []string{"ip"},
		Modules: []string{"ip_vs"},
		Files:   map[string]string{"/data/parts": "parts_test.go"},
		Texts:   map[string]string{"/data/text": "hello"},
		CPUs:    2,
		Script: `cat /data/text /etc/hosts; echo >&2; cp -r /data /out; dd if=/dev/zero of=/out/large bs=1M count=8 2>/dev/null
			ip link add d0 type dummy && ip link add link d0 name v4 type vlan id 4 && ip -br link | wc -l; nproc; test -d /proc/sys/net/ipv4/vs && printf 'no line end'; exit 3`,
		Output: &shown,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "hello127.0.0.1 localhost\n\n4\n2\nno line end"
	if result.Status != 3 || result.Output != want || shown.String() != want+"\n" {
		t.Errorf("status %d, output %q, shown %q, want %q", result.Status, result.Output, shown.String(), want)
	}
	own, err := os.ReadFile("parts_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Files) != 3 || len(result.Files["large"]) != 8<<20 || string(result.Files["data/parts"]) != string(own) {
		t.Errorf("%d files came back", len(result.Files))
	}
}

func TestMachineEndsWithTheContext(t *testing.T) {
	need.QEMU(t)
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Run(ctx, Config{
		Script: "echo begun; sleep 10000",
		Output: writer(func([]byte) { cancel() }),
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

func TestPanicOfTheKernelIsAnErrorThatShowsIt(t *testing.T) {
	need.QEMU(t)
	t.Parallel()
	result, err := Run(t.Context(), Config{Script: "echo before; echo c >/proc/sysrq-trigger"})
	if !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "sysrq triggered crash") {
		t.Errorf("the error is %v", err)
	}
	if result.Output != "before\n" {
		t.Errorf("before it was printed %q", result.Output)
	}
}

// TestCountedInstructionsRepeat measures the same work in two machines.
func TestCountedInstructionsRepeat(t *testing.T) {
	need.QEMU(t)
	t.Parallel()
	script := `before=$(cut -d' ' -f1 /proc/uptime); i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 500
		echo $before $(cut -d' ' -f1 /proc/uptime)`
	spent := func() float64 {
		result, err := Run(t.Context(), Config{CountInstructions: true, Script: script})
		if err != nil {
			t.Fatal(err)
		}
		f := strings.Fields(result.Output)
		before, err1 := strconv.ParseFloat(f[0], 64)
		after, err2 := strconv.ParseFloat(f[1], 64)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		return after - before
	}
	first, second := spent(), spent()
	if diff := first - second; diff < -0.02 || diff > 0.02 || first < 500 { // the file has hundredths
		t.Errorf("%v seconds, then %v", first, second)
	}
	t.Logf("%v and %v virtual seconds", first, second)
	if _, err := Run(t.Context(), Config{CountInstructions: true, CPUs: 2}); err == nil {
		t.Error("two CPUs with a counting clock are not refused")
	}
}
