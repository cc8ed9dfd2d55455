package xdp

// slots hands out the indices of an array, the lowest first, and takes them back.
type slots struct {
	used []bool
	low  int // everything below is used
}

func newSlots(n uint32) *slots { return &slots{used: make([]bool, n)} }

// take returns a free index; false if there is none.
func (s *slots) take() (uint32, bool) {
	first, ok := s.run(1)
	return first, ok
}

// run returns the first of n free indices in a row; false if there are none.
func (s *slots) run(n int) (uint32, bool) {
	for s.low < len(s.used) && s.used[s.low] {
		s.low++
	}
	length := 0
	for i := s.low; i < len(s.used); i++ {
		if length++; s.used[i] {
			length = 0
		}
		if length == n {
			first := i - n + 1
			for j := first; j <= i; j++ {
				s.used[j] = true
			}
			return uint32(first), true
		}
	}
	return 0, false
}

// claim marks an index as used, as found in a pinned map. It reports false if it is out of range or taken.
func (s *slots) claim(i uint32) bool {
	if int(i) >= len(s.used) || s.used[i] {
		return false
	}
	s.used[i] = true
	return true
}

// free takes n indices back.
func (s *slots) free(first uint32, n int) {
	for i := range n {
		s.used[int(first)+i] = false
	}
	s.low = min(s.low, int(first))
}

// blockSize is the number of members in one block, the unit in which pools get their members.
const blockSize = 16

// blocks is how many of them count members need.
func blocks(count int) int { return (count + blockSize - 1) / blockSize }
