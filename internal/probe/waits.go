package probe

import "time"

// waits are knocks by their ends. Those that have the same timeout end in the order in which they began, so each timeout has a
// list, and there are few timeouts.
type waits map[time.Duration]*knock // a ring; what is in the map is no knock, but stands between the last and the first

func (w waits) put(n *knock) {
	timeout := n.end.Sub(n.began)
	ring := w[timeout]
	if ring == nil {
		ring = &knock{}
		ring.prev, ring.next = ring, ring
		w[timeout] = ring
	}
	n.prev, n.next = ring.prev, ring
	ring.prev.next, ring.prev = n, n
}

func (w waits) drop(n *knock) {
	n.prev.next, n.next.prev = n.next, n.prev
	n.prev, n.next = nil, nil
	// An empty ring stays, it is likely to be used again.
}

// first is the one that ends first, nil if there is none.
func (w waits) first() *knock {
	var first *knock
	for _, ring := range w {
		if n := ring.next; n != ring && (first == nil || n.end.Before(first.end)) {
			first = n
		}
	}
	return first
}
