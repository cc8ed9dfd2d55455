package vrrp

import (
	"errors"
	"fmt"
	"time"
)

// maxVIPs is what the count field of an advert can say.
const maxVIPs = 255

// Check names the first thing that the configuration asks for and this package cannot do, or that no instance can
// have. NewRouter expects a Config that passes.
func (c Config) Check() error {
	switch {
	case c.VRID == 0:
		return errors.New("virtual_router_id is missing")
	case c.Version != 0 && c.Version != 2:
		return fmt.Errorf("VRRP version %d is not supported", c.Version)
	case c.AuthType == AuthAH:
		return errors.New("authentication type AH is not supported")
	case len(c.VIPs) == 0:
		return errors.New("no virtual_ipaddress")
	}
	for _, vip := range c.VIPs {
		if !vip.Prefix.Addr().Is4() {
			return fmt.Errorf("virtual_ipaddress %s: only IPv4 is supported with VRRP version 2", vip.Prefix)
		}
	}
	return nil
}

// Normal fills the defaults and resolves settings that exclude each other, as keepalived does, with its messages about
// that (without file and line). NewRouter applies it itself; it is exported for those who want the messages.
func (c Config) Normal() (Config, []string) {
	var notes []string
	note := func(format string, args ...any) {
		notes = append(notes, fmt.Sprintf("(%s) ", c.Name)+fmt.Sprintf(format, args...))
	}
	c.fillDefaults()
	c.resolvePreemption(note)
	if len(c.VIPs) > maxVIPs {
		note("Number of VIPs (%d) exceeds maximum/space available in packet (max %d addresses) - excess moved to eVIPs", len(c.VIPs), maxVIPs)
		rest := c.VIPs[maxVIPs:]
		c.VIPs = c.VIPs[:maxVIPs:maxVIPs]
		c.Excluded = append(rest[:len(rest):len(rest)], c.Excluded...)
	}
	return c, notes
}

func (c *Config) fillDefaults() {
	setDefault(&c.Version, 2)
	if c.Priority == 0 {
		c.Priority = 100
		if c.InitialMaster {
			c.Priority = 255
		}
	}
	// RFC 3768 §5.3.7: the interval is one byte of whole seconds.
	c.AdvertInt = min(max(c.AdvertInt.Round(time.Second), time.Second), 255*time.Second)
	if c.AuthType == AuthNone {
		c.AuthPass = ""
	}
	setDefault(&c.GarpMasterDelay, 5*time.Second)
	setDefault(&c.GarpMasterRepeat, 5)
	setDefault(&c.GarpRefreshRepeat, 1)
	setDefault(&c.GarpLowerPrioDelay, c.GarpMasterDelay)
	setDefault(&c.GarpLowerPrioRepeat, c.GarpMasterRepeat)
}

func (c *Config) resolvePreemption(note func(string, ...any)) {
	// keepalived: the owner message wins over the one about state MASTER.
	if c.NoPreempt && c.Priority == 255 {
		note("nopreempt is incompatible with priority 255. resetting nopreempt")
		c.NoPreempt = false
	}
	if c.NoPreempt && c.InitialMaster {
		note("Warning - nopreempt will not work with initial state MASTER - clearing")
		c.NoPreempt = false
	}
	switch {
	case c.PreemptDelay == 0:
	case c.InitialMaster:
		note("Warning - preempt delay will not work with initial state MASTER - clearing")
		c.PreemptDelay = 0
	case c.NoPreempt:
		note("preempt_delay is incompatible with nopreempt mode - resetting")
		c.PreemptDelay = 0
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
