package vrrp

import (
	"slices"
	"testing"
	"time"
)

// taken are the effects on a host that has addresses as soon as it is asked for them.
func taken(r *Router) []Effect {
	return drained(r.Take, func(string) *Router { return r })
}

func takenOf(s *Speaker) []Effect { return drained(s.Take, s.Router) }

func drained(take func() []Effect, router func(string) *Router) (all []Effect) {
	for effects := take(); len(effects) > 0; effects = take() {
		all = append(all, effects...)
		for _, e := range effects {
			if add, ok := e.(AddAddresses); ok && add.Term > 0 {
				r := router(add.Instance)
				r.Confirm(r.since, add.Term)
			}
		}
	}
	return all
}

// asked is a router that is about to take over at 3.609375 s, and the term that it waits for.
func asked(t *testing.T, change ...func(*Config)) (*Router, uint64) {
	t.Helper()
	r := started(change...)
	r.Take()
	r.Tick(r.Next())
	effects := r.Take()
	if got := doings(effects); !slices.Equal(got, []string{"add"}) {
		t.Fatalf("a takeover begins with %v", got)
	}
	i := slices.IndexFunc(effects, func(e Effect) bool { _, ok := e.(AddAddresses); return ok })
	return r, effects[i].(AddAddresses).Term
}

func TestNobodyHearsOfAMasterBeforeItHasItsAddresses(t *testing.T) {
	r, term := asked(t)
	if s := r.Status(); s.State != Backup || s.Counters.BecameMaster != 0 {
		t.Fatalf("%s, became master %d times", s.State, s.Counters.BecameMaster)
	}
	r.Confirm(r.since.Add(time.Millisecond), term)
	expect(t, r, "confirmed", "send", "announce", "BACKUP→MASTER")
	if s := r.Status(); s.State != Master || s.Counters.BecameMaster != 1 || s.Why != "no advert for 3.609s" {
		t.Fatalf("%+v", s)
	}
	if want := r.since.Add(time.Second); r.Next() != want {
		t.Errorf("the next advert is due at %s, want %s", r.Next(), want)
	}
	r.Confirm(r.since, term)
	expect(t, r, "confirmed twice")
}

// Two routers whose priorities differ by one expire 1/256 s apart: the first advert does not wait for so long.
func TestAHostThatSetsAddressesSlowlyDelaysNoAdvert(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   time.Duration
	}{
		"version 2": {func(*Config) {}, time.Second / 512},
		"version 3": {func(c *Config) { c.Version, c.AdvertInt = 3, 100*time.Millisecond }, 100 * time.Millisecond / 512},
	} {
		t.Run(name, func(t *testing.T) {
			r, term := asked(t, c.change)
			due := r.since.Add(c.want)
			if r.Next() != due {
				t.Fatalf("the first advert waits until %s, want %s", r.Next(), due)
			}
			r.Tick(due)
			expect(t, r, "out of patience", "send")
			r.Tick(r.Next())
			expect(t, r, "an interval later", "send")
			next := r.Next()
			r.Confirm(r.sentAt.Add(time.Millisecond), term)
			expect(t, r, "confirmed", "announce", "BACKUP→MASTER")
			if r.Next() != next {
				t.Error("the confirmation moved the next advert")
			}
		})
	}
}

func TestATakeoverThatIsGivenUpIsNotHeardOf(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(*Router)
		want    []string
	}{
		"the host refuses":      {func(r *Router) { r.Fault(r.since, "a virtual address cannot be set", true) }, []string{"remove", "BACKUP→FAULT"}},
		"a stronger one speaks": {func(r *Router) { r.Receive(r.since, from("10.0.8.55", 200)) }, []string{"remove"}},
		"it is stopped":         {func(r *Router) { r.Stop(r.since) }, []string{"remove", "BACKUP→INIT"}},
		"a weaker one speaks":   {func(r *Router) { r.Receive(r.since, from("10.0.8.55", 50)) }, nil},
		"another leaves":        {func(r *Router) { r.Receive(r.since, from("10.0.8.55", 0)) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r, term := asked(t)
			c.happens(r)
			expect(t, r, name, c.want...)
			over := r.state != Master
			r.Confirm(r.since.Add(time.Millisecond), term)
			if got := doings(r.Take()); over && len(got) > 0 || !over && !slices.Equal(got, []string{"send", "announce", "BACKUP→MASTER"}) {
				t.Errorf("then it is confirmed: %v", got)
			}
		})
	}
}

func TestATakeoverThatHasSpokenEndsWithPriorityZero(t *testing.T) {
	r, _ := asked(t)
	r.Tick(r.Next())
	r.Take()
	r.Fault(r.since, "a virtual address cannot be set", true)
	expect(t, r, "refused late", "send 0", "remove", "BACKUP→FAULT")
}
