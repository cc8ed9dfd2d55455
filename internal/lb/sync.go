package lb

import "net/netip"

// SyncDaemon is one half of connection synchronisation, as ipvsadm --start-daemon describes it.
type SyncDaemon struct {
	Master    bool       `json:"master"` // sends; else it receives
	Interface string     `json:"interface"`
	ID        uint8      `json:"syncid"` // A backup of 0 takes every one.
	MaxLen    uint16     `json:"maxlen"` // bytes of a datagram. If zero, 1472, or 1452 with a group of IPv6.
	Group     netip.Addr `json:"group"`  // multicast. If invalid, 224.0.0.81.
	Port      uint16     `json:"port"`   // If zero, 8848.
	TTL       uint8      `json:"ttl"`    // If zero, 1.
}

// SyncGroup is where directors tell each other of connections unless something else is said, SyncPort the port.
var SyncGroup = netip.AddrFrom4([4]byte{224, 0, 0, 81})

// SyncPort is the UDP port of connection synchronisation.
const SyncPort = 8848

// Normal fills in what is not said, as the kernel does (ip_vs_sync.c); a backup's buffer has at least 1,024 bytes.
func (d SyncDaemon) Normal() SyncDaemon {
	if !d.Group.IsValid() {
		d.Group = SyncGroup
	}
	if d.MaxLen == 0 {
		if d.MaxLen = 1472; d.Group.Is6() { // 1,500 without the headers of IP and UDP
			d.MaxLen = 1452
		}
	}
	if !d.Master {
		d.MaxLen = max(d.MaxLen, 1024)
	}
	if d.Port == 0 {
		d.Port = SyncPort
	}
	d.TTL = max(d.TTL, 1)
	return d
}

// Part is the word of ipvsadm --start-daemon: master or backup.
func (d SyncDaemon) Part() string {
	if d.Master {
		return "master"
	}
	return "backup"
}
