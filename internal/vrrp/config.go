package vrrp

import (
	"errors"
	"fmt"
	"time"
)

// maxVIPs is what the count field of an advert can say.
const maxVIPs = 255

// Check names the first thing that no instance can have. NewRouter expects a Config that passes.
func (c Config) Check() error {
	switch {
	case c.VRID == 0:
		return errors.New("virtual_router_id is missing")
	case c.Version != 0 && c.Version != 2 && c.Version != 3:
		return fmt.Errorf("there is no VRRP version %d", c.Version)
	case c.AuthType == AuthAH && c.V6:
		return errors.New("authentication type AH exists for IPv4 only")
	case c.Interface == "" && !(c.Unicast && c.Source.IsValid()):
		return errors.New("no interface; only unicast with unicast_src_ip can be without")
	case c.HMAC.On() && c.HMAC.Keys[c.HMAC.Active] == nil:
		return fmt.Errorf("auth_hmac active_key %d is none of its keys", c.HMAC.Active)
	}
	for _, vip := range c.VIPs {
		if vip.Prefix.Addr().Is6() != c.V6 {
			return fmt.Errorf("virtual_ipaddress %s is of another family than the instance", vip.Prefix)
		}
	}
	return c.checkPeers()
}

func (c Config) checkPeers() error {
	for _, p := range c.Peers {
		if p.Addr.Is6() != c.V6 {
			return fmt.Errorf("unicast_peer %s is of another family than the instance", p.Addr)
		}
	}
	if c.Source.IsValid() && c.Source.Unmap().Is6() != c.V6 {
		return fmt.Errorf("source address %s is of another family than the instance", c.Source)
	}
	if c.Unicast && len(c.Peers) == 0 {
		return errors.New("unicast without a unicast_peer")
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
	if c.V6 {
		setDefault(&c.Version, 3)
		setDefault(&c.McastDst, GroupIPv6)
	}
	setDefault(&c.Version, 2)
	setDefault(&c.DownTimerAdverts, 3)
	setDefault(&c.McastDst, GroupIPv4)
	if c.Priority == 0 {
		c.Priority = 100
		if c.InitialMaster {
			c.Priority = 255
		}
	}
	c.fillInterval()
	c.fillAuth()
	setDefault(&c.GarpMasterDelay, 5*time.Second)
	setDefault(&c.GarpMasterRepeat, 5)
	setDefault(&c.GarpRefreshRepeat, 1)
	setDefault(&c.GarpLowerPrioDelay, c.GarpMasterDelay)
	setDefault(&c.GarpLowerPrioRepeat, c.GarpMasterRepeat)
}

// fillInterval rounds the interval to what the version can carry.
func (c *Config) fillInterval() {
	setDefault(&c.AdvertInt, time.Second)
	if c.Version == 3 {
		// RFC 9568 §5.2.7: "The Maximum Advertise Interval is a 12-bit field that indicates the time interval (in
		// centiseconds) between advertisements."
		c.AdvertInt = min(max(c.AdvertInt.Round(centisecond), centisecond), maxCentisecond*centisecond)
		return
	}
	// RFC 3768 §5.3.7: the interval is one byte of whole seconds.
	c.AdvertInt = min(max(c.AdvertInt.Round(time.Second), time.Second), 255*time.Second)
}

// fillAuth resolves the kinds of authentication. keepalived: auth_hmac drops the old one, and version 3 has only it.
func (c *Config) fillAuth() {
	if c.Version == 3 || c.HMAC.On() {
		c.AuthType = AuthNone
	}
	if c.AuthType == AuthNone {
		c.AuthPass = ""
	}
	if c.HMAC.On() && c.HMAC.Window == 0 {
		c.HMAC.Window = min(max(3*c.AdvertInt, 5*time.Second), 300*time.Second)
	}
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
