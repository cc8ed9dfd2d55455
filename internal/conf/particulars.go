package conf

import (
	"cmp"

	"vipd/internal/health"
)

// particulars gives a check that is to be made what its kind has of its own.
func (l *loader) particulars(v *service, r *realServer, c *HealthCheck) {
	c.Checker.LogAllFailures = c.Checker.LogAllFailures || l.cfg.Global.LogAllFailures
	switch c.Kind {
	case health.HTTPGet, health.SSLGet:
		page := *c.HTTP
		page.VirtualHost = cmp.Or(page.VirtualHost, r.VirtualHost, v.VirtualHost)
		page.Client = l.cfg.TLS
		c.Checker.HTTP = &page
	case health.DNSCheck:
		c.DNS = &health.DNS{Name: c.DNSName, Type: c.DNSType}
	case health.UDPCheck:
		c.UDP = &health.UDP{Payload: c.Payload, NeedReply: c.NeedReply, Reply: c.Reply, ReplyMask: c.ReplyMask, Min: c.MinReply, Max: c.MaxReply}
	case health.MiscCheck:
		c.Script = &health.Script{Timeout: c.Timeout, Dynamic: c.Dynamic}
		if c.Command != nil {
			c.Script.Args, c.Script.User, c.Script.Group = c.Command.Args, c.Command.User, c.Command.Group
		}
	case health.BFDCheck:
		c.Checker.BFD = c.BFD
	case health.FileCheck:
		c.File = &health.File{Weight: c.Weight, Reverse: c.Reverse}
		for _, f := range l.files { // TrackFiles is made of them later
			if f.Name == c.TrackFile {
				c.File.Path = f.Path
			}
		}
	}
}
