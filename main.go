//go:build linux

// Command vipd is a layer-4 load balancer in one static binary: virtual IPs that move between directors (VRRP),
// health-checked real servers and an eBPF/XDP packet path, configured by keepalived.conf.
//
// The name it is called by and its first word choose a command; everything else is in internal/cli.
package main

import (
	"os"

	"vipd/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args))
}
