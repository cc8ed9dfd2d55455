package daemon

import (
	"sync"

	"vipd/internal/conf"
	"vipd/internal/health"
	"vipd/internal/host"
)

// checkCommands makes the commands of MISC_CHECK ready, by the rules of one configuration. Checks ask from many goroutines.
type checkCommands struct {
	mu sync.Mutex
	c  *commands
}

func (k *checkCommands) configure(ev events, g conf.GlobalScripts) {
	c := newCommands(ev, g)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.c != nil {
		c.said = k.c.said // what was said once is not said again at a reload
	}
	k.c = c
}

func (k *checkCommands) ready(s *health.Script) (host.Command, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.c == nil {
		return host.Command{}, false
	}
	return k.c.ready(&conf.Script{Args: s.Args, User: s.User, Group: s.Group})
}
