package xdp

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"vipd/bpf"
)

// xdpPass is what the object's own programs return when they did their work.
const xdpPass = 2

// run executes one of the object's programs by BPF_PROG_TEST_RUN; answer, if there is one, receives the frame.
func (p *Plane) run(name string, frame []byte, answer any) error {
	out := make([]byte, len(frame)+256)
	opts := &ebpf.RunOptions{Data: frame, DataOut: out}
	verdict, err := p.progs[name].Run(opts)
	if err != nil {
		return explain("run "+name, err)
	}
	if verdict != xdpPass {
		return fmt.Errorf("run %s: it ended with %d", name, verdict)
	}
	if answer != nil {
		if _, err := binary.Decode(opts.DataOut, binary.NativeEndian, answer); err != nil {
			return fmt.Errorf("run %s: %w", name, err)
		}
	}
	return nil
}

// runOn executes one of them on a frame that holds the answer then, of the same length: without a copy, as often as it takes.
func (p *Plane) runOn(name string, frame []byte) error {
	verdict, err := p.progs[name].Run(&ebpf.RunOptions{Data: frame, DataOut: frame})
	if err != nil {
		return explain("run "+name, err)
	}
	if verdict != xdpPass {
		return fmt.Errorf("run %s: it ended with %d", name, verdict)
	}
	return nil
}

// tick is the moment as connections see it.
func (p *Plane) tick() (uint32, error) {
	var i bpf.LbInstant
	err := p.run(bpf.LbProgClockProbe, make([]byte, binary.Size(i)), &i)
	return i.Tick, err
}

// Sweep ends what has expired now and returns how many lines became free. The timer does it within about a second.
func (p *Plane) Sweep() (int, error) {
	o := bpf.LbOrder{Real: noReal}
	frame, err := binary.Append(nil, binary.NativeEndian, o)
	if err != nil {
		return 0, err
	}
	err = p.run(bpf.LbProgSweep, frame, &o)
	return int(o.Done), err
}

// Travel moves the connections' clock forward by d, for tests: what should expire in d, expires at the next sweep.
func (p *Plane) Travel(d time.Duration) error {
	var t bpf.LbTunables
	if err := p.maps.get(bpf.LbMapTuning, 0, &t); err != nil {
		return err
	}
	t.Offset += p.clock.ticks(d)
	return p.maps.put(bpf.LbMapTuning, 0, t)
}
