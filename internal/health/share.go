package health

import (
	"encoding/json"
	"time"

	"vipd/internal/lb"
)

// checker_share: checks that ask the same of the same place, with the same times, are made once; the result is that of all.
// A checker then has a lead, which is checked in its place, or twins.

// shared are the kinds whose answer does not depend on whose check it is. The others run a command of ours or read a file.
var shared = map[Kind]bool{TCPCheck: true, HTTPGet: true, SSLGet: true, SMTPCheck: true, DNSCheck: true, UDPCheck: true, PingCheck: true,
	RedisCheck: true, MemcachedCheck: true, MySQLCheck: true, PostgreSQLCheck: true, FTPCheck: true, GRPCCheck: true, AgentCheck: true}

// pair finds leads and twins anew, after a start or a reload.
func (p *Pools) pair(now time.Time) {
	leads := map[string]*check{}
	for _, s := range p.services {
		for _, c := range s.checks() {
			c.lead, c.twins = nil, nil
			if !p.cfg.Share || !shared[c.cfg.Kind] {
				continue
			}
			key := c.shareKey()
			if lead := leads[key]; lead != nil {
				c.lead = lead
				lead.twins = append(lead.twins, c)
				p.waiting.drop(c)
				continue
			}
			leads[key] = c
		}
	}
	for _, c := range p.checks {
		if c.lead == nil && !c.running && c.slot < 0 && c.cfg.Kind != BFDCheck {
			p.schedule(c, now.Add(c.cfg.DelayLoop)) // its lead has gone
		}
	}
}

// shareKey is all that matters of a check: what it asks, and when. With ha_suspend services are checked each for itself.
func (c *check) shareKey() string {
	key := struct {
		Checker
		Of *lb.ServiceKey
	}{Checker: c.cfg}
	if c.service.cfg.HASuspend {
		key.Of = &c.service.cfg.ServiceKey
	}
	text, err := json.Marshal(key)
	if err != nil {
		return c.name() + c.service.name() // which nobody else has
	}
	return string(text)
}

// asked is the check that is made for c.
func (c *check) asked() *check {
	if c.lead != nil {
		return c.lead
	}
	return c
}
