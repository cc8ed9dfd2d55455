package plane

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// MaglevSlots is the size of scheduler mh's table: a prime (Eisenbud et al., "Maglev", NSDI 2016, 3.4), and of the ones
// that IPVS can be built with the one that kernels have.
const MaglevSlots = 4093

// The keys of mh's two hashes, each used for both halves of a SipHash key.
const (
	maglevOffset = 2654435761
	maglevSkip   = 2654446892
)

// MaglevReal is what the table of scheduler mh is made of.
type MaglevReal struct {
	Addr   netip.AddrPort
	Weight int32 // the last one that was not 0: a server that is only paused keeps its slots
}

// Maglev fills the table of scheduler mh from real servers, newest first. It holds positions in reals; all are -1 when no
// server has a weight. Equal lists make equal tables, on every director and in IPVS. six: the service is one of IPv6.
func Maglev(six bool, reals []MaglevReal) []int {
	table := make([]int, MaglevSlots)
	for i := range table {
		table[i] = -1
	}
	places := maglevPlaces(six, reals)
	for left := len(table); left > 0 && len(places) > 0; {
		for i := range places {
			left -= places[i].take(table, min(places[i].turns, left))
		}
	}
	return table
}

// maglevPlace is where a server takes its next slots.
type maglevPlace struct{ real, at, skip, turns int }

// take gives the server its next n slots, past those that are taken.
func (p *maglevPlace) take(table []int, n int) int {
	for range n {
		for table[p.at] >= 0 {
			p.at = (p.at + p.skip) % len(table)
		}
		table[p.at] = p.real
	}
	return n
}

// maglevPlaces are the servers that have turns. Turns are weights without their common divisor, brought below 64.
func maglevPlaces(six bool, reals []MaglevReal) (places []maglevPlace) {
	var di, top int32
	for _, r := range reals {
		di, top = gcd(max(r.Weight, 0), di), max(top, r.Weight)
	}
	di = max(di, 1)
	shift := max(0, bits.Len32(uint32(top/di))-6)
	for i, r := range reals {
		if r.Weight <= 0 {
			continue
		}
		n := addrNumber(six, r.Addr.Addr()) + uint32(r.Addr.Port())
		places = append(places, maglevPlace{
			real:  i,
			at:    int(sipHash13(n, maglevOffset) % MaglevSlots),
			skip:  int(sipHash13(n, maglevSkip)%(MaglevSlots-1)) + 1,
			turns: max(1, int(r.Weight/di)>>shift),
		})
	}
	return places
}

// addrNumber is an address as IPVS's hash schedulers see it: with a service of IPv6 the exclusive or of its four words, with one of
// IPv4 the first of them, also of a real server of IPv6 behind a tunnel.
func addrNumber(six bool, a netip.Addr) (n uint32) {
	b := a.AsSlice()
	if !six {
		return binary.BigEndian.Uint32(b)
	}
	for ; len(b) > 0; b = b[4:] {
		n ^= binary.BigEndian.Uint32(b)
	}
	return n
}

// sipHash13 is SipHash (Aumasson, Bernstein, INDOCRYPT 2012) with one round per block and three at the end, of four
// little-endian bytes and a key whose halves are equal; the lower 32 bits of it.
func sipHash13(message uint32, key uint64) uint32 {
	a, b := key^0x736f6d6570736575, key^0x646f72616e646f6d
	c, d := key^0x6c7967656e657261, key^0x7465646279746573
	block := uint64(4)<<56 | uint64(message)
	d ^= block
	a, b, c, d = sipRound(a, b, c, d)
	a ^= block
	c ^= 0xff
	for range 3 {
		a, b, c, d = sipRound(a, b, c, d)
	}
	return uint32(a ^ b ^ c ^ d)
}

func sipRound(a, b, c, d uint64) (uint64, uint64, uint64, uint64) {
	a, c = a+b, c+d
	b, d = bits.RotateLeft64(b, 13)^a, bits.RotateLeft64(d, 16)^c
	a = bits.RotateLeft64(a, 32)
	c, a = c+b, a+d
	b, d = bits.RotateLeft64(b, 17)^c, bits.RotateLeft64(d, 21)^a
	return a, b, bits.RotateLeft64(c, 32), d
}
