package health

import "container/heap"

// queue holds the checks that wait for their time, earliest first: Next is one look, a turn costs the logarithm of the
// number of checks. A check knows its slot, -1 while it is not waiting. Equal times run in the order of the file.
type queue []*check

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if q[i].due.Equal(q[j].due) {
		return q[i].id < q[j].id
	}
	return q[i].due.Before(q[j].due)
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].slot, q[j].slot = i, j
}

func (q *queue) Push(x any) {
	c := x.(*check)
	c.slot = len(*q)
	*q = append(*q, c)
}

func (q *queue) Pop() any {
	old := *q
	c := old[len(old)-1]
	old[len(old)-1] = nil
	c.slot = -1
	*q = old[:len(old)-1]
	return c
}

// take removes and returns the earliest.
func (q *queue) take() *check { return heap.Pop(q).(*check) }

// put makes c wait until c.due.
func (q *queue) put(c *check) {
	if c.slot >= 0 {
		heap.Fix(q, c.slot)
		return
	}
	heap.Push(q, c)
}

// drop takes c off, wherever it stands.
func (q *queue) drop(c *check) {
	if c.slot >= 0 {
		heap.Remove(q, c.slot)
	}
}
