// Package conf reads keepalived.conf and turns it into values: vrrp.Config, health.Config and a few globals.
//
// The way of a line is one way: file → lines → definitions and conditions replaced → tokens → statements → the keyword
// table, whose rows put values where they belong → checks over the whole file. Beside it stands the Tree, which keeps
// every byte of every file with its position, for tools that print, edit or explain.
//
// Test reads as keepalived's processes do, one after the other, and gives the answer of keepalived -t. Effective lists
// every value in force.
//
// It is not a judge of the host: whether eth0 exists is asked by the daemon. Files come through fs.FS, so the same text
// says the same on a laptop, in a test and on a director. It never stops at the first fault: all Diagnostics are
// gathered, and a Config comes back even then.
//
// Invariant: a file that keepalived 2.2.7 starts with gives no Error here (without Options.Strict), and a file that
// makes it stop does. keepalived's own words are kept in Diagnostic.Text where the same situation exists there.
//
// Callers: internal/daemon (run, reload) and internal/cli (check and its kin).
//
// Source of the language: keepalived.conf(5), and the behaviour of keepalived 2.2.7 as measured with `keepalived -t`.
package conf
