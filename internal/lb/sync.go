package lb

import "net/netip"

// SyncDaemon is one half of connection synchronisation, as ipvsadm --start-daemon describes it.
type SyncDaemon struct {
	Master    bool       `json:"master"` // sends; else it receives
	Interface string     `json:"interface"`
	ID        uint8      `json:"syncid"` // A backup of 0 takes every one.
	MaxLen    uint16     `json:"maxlen"` // bytes of a datagram. If zero, 1472, or 1452 with a group of IPv6; of a backup as many as the interface takes.
	Group     netip.Addr `json:"group"`  // multicast. If invalid, 224.0.0.81.
	Port      uint16     `json:"port"`   // If zero, 8848.
	TTL       uint8      `json:"ttl"`    // If zero, 1.
}

// SyncGroup is where directors tell each other of connections unless something else is said, SyncPort the port.
var SyncGroup = netip.AddrFrom4([4]byte{224, 0, 0, 81})

// SyncPort is the UDP port of connection synchronisation.
const SyncPort = 8848

// Normal is On an Ethernet.
func (d SyncDaemon) Normal() SyncDaemon { return d.On(1500) }

// On fills in what is not said, as the kernel does (ip_vs_sync.c), for an interface of this MTU, which counts for a backup alone. A
// backup's buffer has at least 1,024 bytes, and nobody's more than a datagram.
func (d SyncDaemon) On(mtu int) SyncDaemon {
	if !d.Group.IsValid() {
		d.Group = SyncGroup
	}
	headers, least := 20+8, 1 // of IP and UDP
	if d.Group.Is6() {
		headers = 40 + 8
	}
	if d.Master {
		mtu = 1500
	} else {
		least = 1024
	}
	most := min(max(mtu, 1500), 65535) - headers
	if d.MaxLen != 0 {
		most = min(max(int(d.MaxLen), least), 65535-headers)
	}
	d.MaxLen = uint16(most)
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
