// Package look gathers the facts that package doctor judges: it asks a real server by frames of its own making, exactly such as
// the packet path would send, listens for who claims virtual addresses, and reads what this host says of itself.
//
// It is not the judgement (doctor), and changes nothing: connections that it begins are reset, addresses that it asks for are
// asked for without a sender's address (RFC 5227 2.1.1), so that nobody learns one.
//
// Invariant: it ends within the time that it is given, whatever the segment says.
package look
