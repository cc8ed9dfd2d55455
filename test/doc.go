// Package test runs the whole binary as people run it: the scene, the site by hand, kills, real keepalived as a peer,
// and starts that fail. It holds tests only, and knows of vipd what a person knows: its commands, its files, the wire.
//
// Invariant: every test has a machine of its own (alone in machine_test.go): namespaces for processes, mounts and the
// network. So they run beside each other and beside a lab that somebody has up, and whatever a test leaves, also one that
// is killed, ends with it. That nothing is left is still tested, inside.
package test
