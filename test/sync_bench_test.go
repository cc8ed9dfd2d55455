package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"vipd/internal/connsync"
	"vipd/internal/control"
	"vipd/internal/lb"
)

const (
	changesPerSecond = 50_000
	changesFor       = 20 * time.Second
)

// TestWhatFiftyThousandChangesASecondCost: one director hears of so many changes a second by the kernel's protocol, learns them, and tells
// the other by connection_sync, which learns them too. It says what part of a processor each takes, and what memory grows by.
func TestWhatFiftyThousandChangesASecondCost(t *testing.T) {
	if os.Getenv("VIPD_BENCH") == "" {
		t.Skip("a benchmark: make bench")
	}
	if !alone(t, 10*time.Minute) {
		return
	}
	pairOf(t, fmt.Sprintf("    lvs_sync_daemon eth0 id %d\n", syncID))
	c := &continuity{T: t}
	c.becomes(stronger, "MASTER")
	c.caughtUp()
	teller := groupFrom(t, "vipd-lab-director2")
	var nodes []*node
	for _, name := range []string{stronger, weaker} {
		var st control.Status
		if err := json.Unmarshal([]byte(works(t, "status", "-o", "json", "--instance", name)), &st); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, &node{cmd: &exec.Cmd{Process: &os.Process{Pid: st.PID}}})
	}
	state := lb.Established
	second := func() {
		began := time.Now()
		p := connsync.Packer{ID: syncID, MaxLen: 1472}
		for i := range changesPerSecond {
			one := toldConn(i, "10.0.8.12:80")
			if one.State = state; state != lb.Established {
				one.Flags = connsync.Inactive
			}
			p.Add(&one)
			if i%500 == 499 {
				p.Flush()
				for _, d := range p.Take() {
					if _, err := teller.Write(d); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Until(began.Add(time.Second * time.Duration(i) / changesPerSecond)))
			}
		}
		state = lb.Established + lb.FinWait - state // the other one
	}
	for range 5 {
		second()
	}
	var before []time.Duration
	var memory []int
	for _, n := range nodes {
		before, memory = append(before, ranFor(t, n)), append(memory, ownMemory(t, n))
	}
	learned, from := []uint64{syncOf(t, stronger).Learned, syncOf(t, weaker).Learned}, time.Now()
	for time.Since(from) < changesFor {
		second()
	}
	took := time.Since(from).Seconds()
	for i, name := range []string{stronger, weaker} {
		used := (ranFor(t, nodes[i]) - before[i]).Seconds()
		t.Logf("%s learned %.0f changes a second at %.1f %% of a processor; its memory went from %d to %d MiB", name,
			float64(syncOf(t, name).Learned-learned[i])/took, 100*used/took, memory[i]>>10, ownMemory(t, nodes[i])>>10)
	}
	works(t, "lab", "down")
}
