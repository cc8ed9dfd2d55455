package lab

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// patience bounds every wait for something that must come true.
const patience = 45 * time.Second

// Ready waits until the site works: one master, every running real server in every pool, and a first answer over the
// virtual IP, to an address that sends nothing else for now. A lab without directors is ready at once.
func (l *Lab) Ready(ctx context.Context) error {
	var running []string
	for _, host := range l.Directors {
		if !l.Without[host] {
			running = append(running, host)
		}
	}
	if len(running) == 0 {
		return nil
	}
	return l.until(ctx, func(all []Sight) error {
		for _, s := range all {
			if err := l.works(s); err != nil {
				return err
			}
		}
		if _, err := active(all); err != nil {
			return err
		}
		return l.built.inside("client", func() error {
			_, err := get(l.Clients[len(l.Clients)-1], l.VIP, time.Now().Add(loadTimeout))
			return err
		})
	})
}

// works wants a director that was started to answer and to have the right pool.
func (l *Lab) works(s Sight) error {
	if l.Without[s.Host] {
		return nil
	}
	if proc := l.procs[s.Host]; proc != nil && !proc.alive() {
		return final{l.dead(s.Host)}
	}
	if !s.Up {
		return fmt.Errorf("vipd on %s does not answer yet", s.Host)
	}
	for host, addr := range l.servers() {
		if err := l.everywhere([]Sight{s}, addr, true); err != nil && !l.Without[host] {
			return err
		}
	}
	return nil
}

// final is a reason that waiting does not change.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// until waits until ready returns nil; its last error is why it did not come true.
func (l *Lab) until(ctx context.Context, ready func([]Sight) error) error {
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); {
		all := l.Look(ctx)
		if err = ready(all); err == nil {
			return nil
		}
		if f, ok := err.(final); ok {
			return f.error
		}
		if e := sleep(ctx, 50*time.Millisecond); e != nil {
			return e
		}
	}
	return fmt.Errorf("after %s: %w", patience, err)
}

func (l *Lab) dead(host string) error {
	return fmt.Errorf("vipd on %s has ended; it said: %s", host, l.lastWords(host))
}

// everywhere wants the real server in (or out of) the pool of every director that runs.
func (l *Lab) everywhere(all []Sight, real netip.Addr, in bool) error {
	for _, s := range all {
		if s.Up && s.InPool(l.VIP, real) != in {
			return fmt.Errorf("%s: in the pool of %s: %t", real, s.Host, !in)
		}
	}
	return nil
}
