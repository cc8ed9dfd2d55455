package plane

// What a plane computes of its weights before a packet comes. All lists here are newest real server first, the order in
// which IPVS's schedulers walk (a new one is put at the head). Measured on Linux 6.1 IPVS.

// HashSlots is the size of the source-hash table.
const HashSlots = 256

// SourceHash fills the table of scheduler sh: each server takes as many consecutive slots as its weight (0 takes one, as
// 1 does), around the list until the table is full. It holds positions in weights; all are -1 when weights is empty.
func SourceHash(weights []int32) (table [HashSlots]int) {
	at, taken := 0, int32(0)
	for slot := range table {
		if len(weights) == 0 {
			table[slot] = -1
			continue
		}
		table[slot] = at
		if taken++; taken >= weights[at] {
			at, taken = (at+1)%len(weights), 0
		}
	}
	return table
}

// WRR returns what weighted round robin needs: the step di, the greatest common divisor of the positive weights (1 if
// there are none), and the level mw at which a round begins, the greatest weight less di-1.
func WRR(weights []int32) (di, mw int32) {
	var top int32
	for _, w := range weights {
		if w > 0 {
			di, top = gcd(w, di), max(top, w)
		}
	}
	di = max(di, 1)
	return di, top - (di - 1)
}

func gcd(a, b int32) int32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// WRRLevel returns the level cw at which weighted round robin goes on after any change of its servers: it stays where it
// was, brought onto the new steps, and starts over if it was above or had not begun (0). A service that is filled one
// server at a time therefore starts at the first one's level, not at the top, as IPVS does.
func WRRLevel(cw, di, mw int32) int32 {
	switch {
	case cw == 0 || cw > mw:
		return mw
	case di > 1:
		return cw/di*di + 1
	}
	return cw
}
