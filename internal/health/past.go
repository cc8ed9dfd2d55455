package health

import "time"

// kept is how many results a checker remembers for Status.
const kept = 8

// past has the last results of a checker, in a ring. Most of thousands of checkers have nothing but successes to tell of, which
// need a third of the room that results have.
type past struct {
	all  [kept]passed
	size int
	next int // where the next one goes
}

type passed struct {
	at   time.Time
	took time.Duration
	url  int
	more *Result // nil: a success without anything to say
}

func (p *past) add(o Observed) {
	entry := passed{at: o.At, url: o.URL, took: o.Took}
	if (o.Result != Result{OK: true, Took: o.Took}) {
		more := o.Result
		entry.more = &more
	}
	p.all[p.next] = entry
	p.next = (p.next + 1) % kept
	p.size = min(p.size+1, kept)
}

// last is the newest result, the zero Result if there is none.
func (p *past) last() (r Result) {
	if p.size > 0 {
		r = p.all[(p.next+kept-1)%kept].observed().Result
	}
	return r
}

// at is when the newest came. Zero: none has.
func (p *past) at() (at time.Time) {
	if p.size > 0 {
		at = p.all[(p.next+kept-1)%kept].at
	}
	return at
}

// list is all of them, oldest first.
func (p *past) list() (all []Observed) {
	for i := range p.size {
		all = append(all, p.all[(p.next+kept-p.size+i)%kept].observed())
	}
	return all
}

func (p passed) observed() Observed {
	o := Observed{At: p.at, URL: p.url, Result: Result{OK: true, Took: p.took}}
	if p.more != nil {
		o.Result = *p.more
	}
	return o
}
