// Package xdp is the plane of this project: it loads the packet path (package bpf), pins it, writes its maps before a
// packet comes and reads them after.
//
// It is not the packet path and it resolves nobody: who needs a next hop is asked by Hops, and the daemon answers by
// SetHop. It starts no goroutine; Sample is called every 2 s by the daemon. Its methods are called from one goroutine.
//
// Invariants. Packets are forwarded by what is pinned, with or without a process: no write of this package, ended at any
// instruction by SIGKILL, leaves a state that the next Open cannot use or clean up. An index (of a service, a real server,
// a hop) is not given to another as long as a connection or a running packet may refer to it. User space writes no
// connection and no count, except to zero the counts of an index that nothing refers to.
//
// The pin directory holds one pin for each map, link_IFINDEX for each interface, and meta, which says what they are. It
// is filled under the name DIR~ and then renamed: the rename makes it live, and the other rename, in Remove, ends that.
package xdp
