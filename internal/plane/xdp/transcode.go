package xdp

import (
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// A struct of another layout is read by the names of its members, which its map's BTF tells.

// move is bytes that stand at one offset there and at another here.
type move struct{ from, to, size uint32 }

// shape is how a value of another layout becomes one of this: what it does not have stays as it is.
type shape struct {
	moves []move
	size  uint32 // of this layout's
}

// into fills in what value, of the other layout, says.
func (s shape) into(own, value []byte) {
	for _, m := range s.moves {
		copy(own[m.to:m.to+m.size], value[m.from:m.from+m.size])
	}
}

// of is a value of this layout, and zero in what the other does not have.
func (s shape) of(value []byte) []byte {
	own := make([]byte, s.size)
	s.into(own, value)
	return own
}

// shapeOf compares two types. A number may have become wider, and an array longer.
func shapeOf(theirs, ours btf.Type) (shape, error) {
	size, err := btf.Sizeof(ours)
	if err != nil {
		return shape{}, err
	}
	s := shape{size: uint32(size)}
	return s, s.add(theirs, ours, 0, 0)
}

func (s *shape) add(theirs, ours btf.Type, from, to uint32) error {
	theirs, ours = btf.UnderlyingType(theirs), btf.UnderlyingType(ours)
	switch ours := ours.(type) {
	case *btf.Struct:
		their, ok := theirs.(*btf.Struct)
		if !ok {
			return fmt.Errorf("struct %s is a %T there", ours.Name, theirs)
		}
		return s.addMembers(their, ours, from, to)
	case *btf.Array:
		their, ok := theirs.(*btf.Array)
		if !ok {
			return fmt.Errorf("an array is a %T there", theirs)
		}
		return s.addElements(their, ours, from, to)
	}
	have, err := btf.Sizeof(theirs)
	if err != nil {
		return err
	}
	want, err := btf.Sizeof(ours)
	if err != nil {
		return err
	}
	if have > want {
		return fmt.Errorf("a number of %d bytes has %d there", want, have)
	}
	s.join(move{from, to, uint32(have)}) // little-endian: the lower bytes stand first
	return nil
}

func (s *shape) addMembers(theirs, ours *btf.Struct, from, to uint32) error {
	at := map[string]btf.Member{}
	for _, m := range theirs.Members {
		at[m.Name] = m
	}
	for _, m := range ours.Members {
		their, ok := at[m.Name]
		if !ok {
			continue
		}
		if m.BitfieldSize != 0 || their.BitfieldSize != 0 {
			return fmt.Errorf("struct %s: %s is a bit field", ours.Name, m.Name)
		}
		if err := s.add(their.Type, m.Type, from+their.Offset.Bytes(), to+m.Offset.Bytes()); err != nil {
			return fmt.Errorf("struct %s: %s: %w", ours.Name, m.Name, err)
		}
	}
	return nil
}

func (s *shape) addElements(theirs, ours *btf.Array, from, to uint32) error {
	have, err := btf.Sizeof(theirs.Type)
	if err != nil {
		return err
	}
	want, err := btf.Sizeof(ours.Type)
	if err != nil {
		return err
	}
	for i := range min(theirs.Nelems, ours.Nelems) {
		if err := s.add(theirs.Type, ours.Type, from+i*uint32(have), to+i*uint32(want)); err != nil {
			return err
		}
	}
	return nil
}

// join adds bytes, to those before them if they follow on both sides.
func (s *shape) join(m move) {
	if n := len(s.moves); n > 0 {
		if last := &s.moves[n-1]; last.from+last.size == m.from && last.to+last.size == m.to {
			last.size += m.size
			return
		}
	}
	s.moves = append(s.moves, m)
}

// lacks names a member that ours has and theirs does not; empty: none.
func lacks(theirs, ours *btf.Struct) string {
	for _, m := range ours.Members {
		found := false
		for _, their := range theirs.Members {
			found = found || their.Name == m.Name
		}
		if !found {
			return m.Name
		}
	}
	return ""
}
