package bfd

import (
	"encoding/binary"
	"fmt"
	"time"
)

// PacketLen is the length of a control packet without authentication.
const PacketLen = 24

// version is RFC 5880's.
const version = 1

// State is RFC 5880 §4.1's Sta.
type State uint8

// States.
const (
	AdminDown State = 0
	Down      State = 1
	Init      State = 2
	Up        State = 3
)

func (s State) String() string { return [...]string{"AdminDown", "Down", "Init", "Up"}[s&3] }

// Diag is RFC 5880 §4.1's Diagnostic: why the session last left Up.
type Diag uint8

// Diagnostics that are made here.
const (
	NoDiagnostic     Diag = 0
	DetectionExpired Diag = 1
	NeighborDown     Diag = 3
)

// lastDiag is the last one that RFC 5880 gives a meaning.
const lastDiag Diag = 8

// String has keepalived's words.
func (d Diag) String() string {
	if d > lastDiag {
		return "Unknown"
	}
	return [...]string{"No Diagnostic", "Control Detection Time Expired", "Echo Function Failed", "Neighbor Signaled Session Down",
		"Forwarding Plane Reset", "Path Down", "Concatenated Path Down", "Administratively Down", "Reverse Concatenated Path Down"}[d]
}

// Packet is a control packet, RFC 5880 §4.1. Intervals are whole microseconds.
type Packet struct {
	Diag                Diag
	State               State
	Poll, Final, Demand bool
	Auth                bool // has an authentication section
	DetectMult          uint8
	MyDiscr, YourDiscr  uint32
	MinTx, MinRx        time.Duration
	MinEchoRx           time.Duration
}

// Flags of the second byte.
const (
	flagPoll       = 0x20
	flagFinal      = 0x10
	flagAuth       = 0x04
	flagDemand     = 0x02
	flagMultipoint = 0x01
)

// Append encodes the packet.
func (p *Packet) Append(b []byte) []byte {
	second := byte(p.State) << 6
	for flag, set := range map[byte]bool{flagPoll: p.Poll, flagFinal: p.Final, flagDemand: p.Demand} {
		if set {
			second |= flag
		}
	}
	b = append(b, version<<5|byte(p.Diag), second, p.DetectMult, PacketLen)
	for _, n := range [...]uint32{p.MyDiscr, p.YourDiscr, micros(p.MinTx), micros(p.MinRx), micros(p.MinEchoRx)} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

func micros(d time.Duration) uint32 { return uint32(min(max(d/time.Microsecond, 0), 1<<32-1)) }

// Parse decodes a control packet and makes the checks of RFC 5880 §6.8.6 that need no session.
func Parse(b []byte) (Packet, error) {
	if len(b) < PacketLen {
		return Packet{}, fmt.Errorf("packet is too small: %d bytes", len(b))
	}
	var p Packet
	p.Diag, p.State = Diag(b[0]&0x1f), State(b[1]>>6)
	p.Poll, p.Final, p.Auth, p.Demand = b[1]&flagPoll != 0, b[1]&flagFinal != 0, b[1]&flagAuth != 0, b[1]&flagDemand != 0
	p.DetectMult = b[2]
	word := func(i int) uint32 { return binary.BigEndian.Uint32(b[i:]) }
	interval := func(i int) time.Duration { return time.Duration(word(i)) * time.Microsecond }
	p.MyDiscr, p.YourDiscr, p.MinTx, p.MinRx, p.MinEchoRx = word(4), word(8), interval(12), interval(16), interval(20)
	switch {
	// "If the version number is not correct (1), the packet MUST be discarded."
	case b[0]>>5 != version:
		return p, fmt.Errorf("packet is of unsupported version %d", b[0]>>5)
	// "If the Length field is less than the minimum correct value (24 if the A bit is clear, or 26 if the A bit is set),
	// the packet MUST be discarded." "If the Length field is greater than the payload of the encapsulating protocol, the
	// packet MUST be discarded."
	case b[3] < PacketLen, int(b[3]) > len(b), p.Auth && b[3] < PacketLen+2:
		return p, fmt.Errorf("length field says %d bytes, %d were received", b[3], len(b))
	// keepalived: what is longer than it says is discarded too.
	case int(b[3]) != len(b):
		return p, fmt.Errorf("length field says %d bytes, %d were received", b[3], len(b))
	// "If the Detect Mult field is zero, the packet MUST be discarded."
	case p.DetectMult == 0:
		return p, fmt.Errorf("detection multiplier is zero")
	// "If the Multipoint (M) bit is nonzero, the packet MUST be discarded."
	case b[1]&flagMultipoint != 0:
		return p, fmt.Errorf("multipoint bit is set")
	// "If the My Discriminator field is zero, the packet MUST be discarded."
	case p.MyDiscr == 0:
		return p, fmt.Errorf("my discriminator is zero")
	// "If the Your Discriminator field is zero and the State field is not Down or AdminDown, the packet MUST be discarded."
	case p.YourDiscr == 0 && p.State != Down && p.State != AdminDown:
		return p, fmt.Errorf("your discriminator is zero in state %s", p.State)
	// §6.5: "A BFD Control packet MUST NOT have both the Poll (P) and Final (F) bits set."
	case p.Poll && p.Final:
		return p, fmt.Errorf("both poll and final bit are set")
	case p.Diag > lastDiag:
		return p, fmt.Errorf("diagnostic %d is unknown", p.Diag)
	}
	return p, nil
}
