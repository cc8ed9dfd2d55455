package bpf

import (
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// stacks are the stack bytes of a program's functions and whom each calls, bpf_loop's callbacks included.
type stacks struct {
	bytes map[string]int
	calls map[string][]string
}

func stacksOf(p *ebpf.ProgramSpec) stacks {
	s, in := stacks{map[string]int{}, map[string][]string{}}, ""
	for _, ins := range p.Instructions {
		if name := ins.Symbol(); name != "" {
			if _, known := s.bytes[name]; !known {
				in = name
				s.bytes[in] = 0
			}
		}
		if ins.IsFunctionReference() {
			s.calls[in] = append(s.calls[in], ins.Reference())
		}
		s.bytes[in] = max(s.bytes[in], below(ins))
	}
	return s
}

// below is how far under the frame pointer an instruction reaches.
func below(ins asm.Instruction) int {
	switch c := ins.OpCode.Class(); {
	case c == asm.LdXClass && ins.Src == asm.RFP, (c == asm.StClass || c == asm.StXClass) && ins.Dst == asm.RFP:
		return -int(ins.Offset)
	case c == asm.ALU64Class && ins.OpCode.ALUOp() == asm.Add && ins.OpCode.Source() == asm.ImmSource && ins.Constant >= -512:
		return int(-min(ins.Constant, 0)) // a pointer to the stack, if it is one
	}
	return 0
}

// deepest is the most that a chain of calls from a function needs, each frame in units of 32 bytes, and how it goes.
func (s stacks) deepest(name string) (bytes int, how string) {
	for _, callee := range s.calls[name] {
		if b, h := s.deepest(callee); callee != name && b > bytes {
			bytes, how = b, " > "+h
		}
	}
	return bytes + (max(s.bytes[name], 1)+31)/32*32, fmt.Sprintf("%s (%d)%s", name, s.bytes[name], how)
}

// TestStackOfEveryProgramFitsOlderKernels: 512 bytes for a chain of calls. Linux 6.1 counts in units of 32 bytes, newer ones
// of 16: what passes here may not pass there.
func TestStackOfEveryProgramFitsOlderKernels(t *testing.T) {
	spec, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range spec.Programs {
		bytes, how := stacksOf(p).deepest(p.Name)
		t.Logf("%s: %d: %s", name, bytes, how)
		if bytes > 512 {
			t.Errorf("%s needs %d bytes of stack: %s", name, bytes, how)
		}
	}
}
