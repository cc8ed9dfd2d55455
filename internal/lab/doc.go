// Package lab builds networks of namespaces on one machine and plays a scene in them: real programs on real (virtual)
// cables, so that what a user would see on several machines can be seen, measured and broken on one.
//
// A Network is data: hosts, cables, addresses, routes, sysctls. A Lab is one network with the programs that run in it
// (director, web server, load); Play is the scene of the project's site: directors and real servers die and return
// while a client keeps asking, and every step is held against what it promises.
//
// It is not a test framework and no container runtime: only the network is separate, files and processes are the
// machine's own. Nothing here knows XDP or VRRP; directors are the same program that people run, asked over its own
// control socket.
//
// Invariant: what a lab makes can be found again by name alone, by any later process, and is removed by Down:
// namespaces by the network's name, processes by a mark in their environment (see mark.go), files by the lab's
// directory, pins and sockets by the instance names. So neither a crash nor a kill -9 leaves something for good.
//
// internal/cli/lab*.go is the caller.
package lab
