package conf

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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

// Ten thousand services with ten real servers each, about a million lines, beside keepalived -t of the same file.
func BenchmarkLarge(b *testing.B) {
	text := large(10000)
	fsys := fstest.MapFS{"f.conf": {Data: text}}
	var peak uint64
	for b.Loop() {
		c, _, d := Load(fsys, "f.conf", Options{})
		if len(d) != 0 || len(c.Health.Services) != 10000 || len(c.Health.Services[0].Reals) != 10 {
			b.Fatalf("%d services, %v", len(c.Health.Services), d[:min(3, len(d))])
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.Sys)
	}
	b.ReportMetric(float64(bytes.Count(text, []byte{'\n'})), "lines")
	b.ReportMetric(float64(peak)/(1<<20), "MiB-peak")
	keepalived, err := exec.LookPath("keepalived")
	if err != nil || os.Geteuid() != 0 {
		return
	}
	name := filepath.Join(b.TempDir(), "f.conf")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	if out, err := exec.Command(keepalived, "-t", "-f", name).CombinedOutput(); err != nil {
		b.Fatalf("keepalived -t: %v: %s", err, out)
	}
	b.ReportMetric(float64(time.Since(start).Nanoseconds()), "keepalived-ns/op")
}
