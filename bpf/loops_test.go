package bpf

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// program is where a program's instructions lead: by their index, and by the slot that jumps count in (some take two).
type program struct {
	all  asm.Instructions
	slot []int
	at   map[int]int    // by slot
	name map[string]int // by symbol
}

func programOf(p *ebpf.ProgramSpec) program {
	f := program{all: p.Instructions, at: map[int]int{}, name: map[string]int{}}
	slot := 0
	for i, ins := range f.all {
		f.slot = append(f.slot, slot)
		f.at[slot], f.name[ins.Symbol()] = i, i
		slot += int(ins.Width())
	}
	return f
}

// next are the instructions that may follow, in the verifier's order, and whether it takes a way back for a loop.
func (f program) next(i int) (next []int, loops bool) {
	ins := f.all[i]
	to := func() int {
		if name := ins.Reference(); name != "" {
			return f.name[name]
		}
		return f.at[f.slot[i]+1+int(ins.Offset)]
	}
	switch op := ins.OpCode.JumpOp(); {
	case !ins.OpCode.Class().IsJump(), op == asm.Call:
		return []int{i + 1}, false
	case op == asm.Exit:
		return nil, false
	case op == asm.Ja:
		return []int{to()}, true
	}
	return []int{i + 1, to()}, true
}

// fallsBack finds an instruction that is no jump and falls into a loop's beginning, which the walk is in the middle of.
func (f program) fallsBack(from int, seen map[int]bool) (int, bool) {
	type step struct{ i, branch int }
	on := map[int]bool{from: true}
	seen[from] = true
	for path := []step{{from, 0}}; len(path) > 0; {
		s := &path[len(path)-1]
		next, loops := f.next(s.i)
		if s.branch == len(next) {
			on[s.i] = false
			path = path[:len(path)-1]
			continue
		}
		to := next[s.branch]
		s.branch++
		if on[to] && !loops {
			return s.i, true
		}
		if !seen[to] {
			seen[to], on[to] = true, true
			path = append(path, step{to, 0})
		}
	}
	return 0, false
}

// TestLoopsAreThoseThatOlderVerifiersFollow: Linux 6.1 takes a jump back for a loop, but refuses a program ("back-edge") where
// clang has put a loop's end in front of its beginning and lets it fall into it. Newer kernels do not mind.
func TestLoopsAreThoseThatOlderVerifiersFollow(t *testing.T) {
	spec, err := loadSpec()
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range spec.Programs {
		f, seen := programOf(p), map[int]bool{}
		for i, ins := range p.Instructions {
			if seen[i] || ins.Symbol() == "" {
				continue
			}
			if at, found := f.fallsBack(i, seen); found {
				t.Errorf("%s: in %s, %v falls back into a loop at slot %d", name, ins.Symbol(), p.Instructions[at], f.slot[at]+1)
			}
		}
	}
}
