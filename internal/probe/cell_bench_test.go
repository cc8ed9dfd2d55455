package probe

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"vipd/internal/health"
)

// onProcessor is what the threads of a process have been on a processor for (proc(5), schedstat): of a process alone, without
// those who serve it.
func onProcessor(b *testing.B, pid int) (sum time.Duration) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		b.Fatal(err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, task.Name()))
		if err != nil {
			continue // it has ended
		}
		on, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(on)
	}
	return sum
}

// BenchmarkPages tells what an HTTP_GET costs where this process reads the answer, and where another one does. The figure has the
// real server's part, which is in this process and the same for both.
func BenchmarkPages(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var server sync.WaitGroup
	server.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			server.Go(func() {
				defer conn.Close()
				if _, err := conn.Read(make([]byte, 4096)); err == nil {
					_, _ = conn.Write([]byte("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
				}
			})
		}
	})
	defer server.Wait()
	defer l.Close()
	page := health.Checker{Kind: health.HTTPGet, Target: netip.MustParseAddrPort(l.Addr().String()), ConnectTimeout: 10 * time.Second,
		HTTP: &health.HTTP{URLs: []health.URL{{Path: "/", Codes: [][2]int{{200, 200}}}}}}
	for _, apart := range []bool{false, true} {
		b.Run(map[bool]string{false: "here", true: "apart"}[apart], func(b *testing.B) {
			var cell *Cell
			if apart {
				cell = NewCell(nobodys, func(bool, string) {})
			}
			r := NewRunner(nil, cell)
			defer r.Close()
			ask := func(n int) {
				var wg sync.WaitGroup
				wg.Add(n)
				slots := make(chan struct{}, 64)
				for range n {
					slots <- struct{}{}
					r.Start(page, func(res health.Result) {
						if !res.OK {
							b.Errorf("%+v", res)
						}
						<-slots
						wg.Done()
					})
				}
				wg.Wait()
			}
			used := func() (sum time.Duration) {
				sum = onProcessor(b, os.Getpid())
				if apart {
					sum += onProcessor(b, cell.State().PID)
				}
				return sum
			}
			ask(100)
			before := used()
			b.ResetTimer()
			ask(b.N)
			b.StopTimer()
			b.ReportMetric(float64((used()-before).Microseconds())/float64(b.N), "µs-processor/check")
		})
	}
}
