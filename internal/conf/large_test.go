package conf

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// large is a file of n services with ten real servers each.
func large(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "virtual_server 10.%d.%d.%d 80 {\n    delay_loop 6\n    lb_algo wrr\n    lb_kind DR\n    protocol TCP\n", i>>16&255, i>>8&255, i&255)
		for r := range 10 {
			fmt.Fprintf(&b, "    real_server 172.16.%d.%d 80 {\n        weight %d\n        TCP_CHECK {\n            connect_timeout 3\n            retry 3\n"+
				"            delay_before_retry 3\n        }\n\n    }\n", i&255, r+1, r+1)
		}
		b.WriteString("}\n\n")
	}
	return b.Bytes()
}

// Ten thousand services with ten real servers each, about a million lines, read and looked at in every way, beside
// keepalived -t of the same file in turn. With VIPD, the whole commands too. Figures are the best of all rounds: what
// else runs on the machine makes them worse.
func BenchmarkLarge(b *testing.B) {
	text := large(10000)
	fsys := fstest.MapFS{"f.conf": {Data: text}}
	name := filepath.Join(b.TempDir(), "f.conf")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		b.Fatal(err)
	}
	commands := map[string][]string{}
	if keepalived, err := exec.LookPath("keepalived"); err == nil && os.Geteuid() == 0 {
		commands["keepalived"] = []string{keepalived, "-t", "-f", name}
	}
	if vipd := os.Getenv("VIPD"); vipd != "" {
		commands["check"] = []string{vipd, "check", name}
		commands["as-keepalived"] = []string{vipd, "check", "--as-keepalived", name}
	}
	best := map[string]time.Duration{}
	took := func(what string, d time.Duration) {
		if best[what] == 0 || d < best[what] {
			best[what] = d
		}
	}
	var heap uint64
	for b.Loop() {
		start := time.Now()
		c := Check(fsys, "f.conf", Options{})
		took("", time.Since(start))
		if n, _ := Worst(c.Diagnostics); n != Notice || len(c.Config.Health.Services) != 10000 || len(c.Config.Health.Services[0].Reals) != 10 {
			b.Fatalf("%d services, %v", len(c.Config.Health.Services), c.Diagnostics[:min(3, len(c.Diagnostics))])
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		heap = max(heap, m.Sys)
		b.StopTimer()
		for what, args := range commands {
			took(what, run(b, args))
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(bytes.Count(text, []byte{'\n'})), "lines")
	b.ReportMetric(float64(heap)/(1<<20), "MiB")
	for what := range commands {
		b.ReportMetric(best[what].Seconds(), what+"-s")
	}
	if k := best["keepalived"]; k > 0 {
		for what, d := range best {
			if what != "keepalived" {
				b.ReportMetric(k.Seconds()/d.Seconds(), strings.TrimPrefix(what+"-", "-")+"times-faster")
			}
		}
	}
}

// run gives how long a command takes.
func run(b *testing.B, args []string) time.Duration {
	start := time.Now()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		b.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return time.Since(start)
}
