package bpf

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
)

func TestLoad(t *testing.T) {
	spec, err := LoadLb()
	if err != nil {
		t.Fatal(err)
	}
	var o LbObjects
	err = spec.LoadAndAssign(&o, &ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{LogLevel: ebpf.LogLevelBranch, LogSizeStart: 16 << 20}})
	var ve *ebpf.VerifierError
	if errors.As(err, &ve) {
		n := len(ve.Log)
		if n > 60 { n = 60 }
		for _, l := range ve.Log[len(ve.Log)-n:] { t.Log(l) }
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*ebpf.Program{o.Lb, o.Sweep, o.Forget, o.StartSweep, o.ClockProbe} {
		i, _ := p.Info()
		n, _ := i.VerifiedInstructions()
		t.Log(p, n)
	}
}
