// Package ipvs drives the kernel's own IPVS as a data plane: services and real servers over its generic netlink family,
// connections as /proc/net/ip_vs_conn lists them.
//
// It is no packet path: ip_vs forwards, schedules and times out, with its own rules and its own defects. It changes no
// sysctl and no address; a virtual address has to be local for ip_vs to see its packets. What belongs to somebody else in
// the same network namespace is in Read too, because the kernel does not tell whose a service is.
//
// Invariant: the kernel is the only state. What this package remembers (the forwarding methods of removed real servers,
// which /proc does not list) only makes a listing richer. Encoders and decoders are pure functions of bytes.
//
// ipvs.Open is called by the daemon when data_plane says so. Numbers are those of linux/ip_vs.h (UAPI, generic netlink
// family IPVS, version 1).
package ipvs
