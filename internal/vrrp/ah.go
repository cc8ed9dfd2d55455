package vrrp

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"slices"
)

// AH is the authentication header of version 2 with auth_type AH (RFC 2402), as keepalived uses it.
type AH struct {
	SPI      [4]byte // keepalived: the sender's address
	Sequence uint32
	ICV      [12]byte
}

const ahLen = 24

// readAH reads the header and returns what follows it.
func (a *Advert) readAH(b []byte) ([]byte, error) {
	if len(b) < ahLen {
		return nil, tooShort(len(b)+ipv4Len, ipv4Len+ahLen+headerLen)
	}
	if b[0] != Protocol || b[1] != ahLen/4-2 {
		return nil, refuse(ReasonHeader, "AH of protocol %d and expect %d", b[0], Protocol).versus("AH next header", b[0], Protocol)
	}
	a.AH = &AH{SPI: [4]byte(b[4:8]), Sequence: binary.BigEndian.Uint32(b[8:]), ICV: [12]byte(b[12:ahLen])}
	return b[ahLen:], nil
}

func (h *AH) append(b []byte) []byte {
	b = append(b, Protocol, ahLen/4-2, 0, 0)
	b = append(b, h.SPI[:]...)
	b = binary.BigEndian.AppendUint32(b, h.Sequence)
	return append(b, h.ICV[:]...)
}

// icv is the integrity check value of a whole IPv4 packet with an AH header. keepalived: HMAC-MD5-96 with the password,
// padded with zeros to 8 bytes, as the key; of the mutable fields of the IP header (RFC 2402 §3.3.3.1.1.1) the TTL counts
// with multicast and not with unicast.
func icv(packet []byte, key [authLen]byte, unicast bool) (out [12]byte) {
	b := slices.Clone(packet)
	header := int(b[0]&0xf) * 4
	b[1], b[6], b[7], b[10], b[11] = 0, 0, 0, 0, 0
	if unicast {
		b[8] = 0
	}
	clear(b[header+12 : header+ahLen])
	mac := hmac.New(md5.New, key[:])
	mac.Write(b)
	copy(out[:], mac.Sum(nil))
	return out
}

// checkAH verifies the header of an advert that was read from packet.
//
// keepalived: it has one counter for what it sends and what it accepts, so that two masters who count in step refuse each
// other for ever. Here a number must be newer than the sender's last; our own follows the highest that was heard, so that
// a keepalived goes on accepting us after a takeover.
func (r *Router) checkAH(a *Advert, packet []byte) error {
	total := int(binary.BigEndian.Uint16(packet[2:]))
	want := icv(packet[:total], r.password, r.cfg.Unicast)
	switch {
	case !hmac.Equal(want[:], a.AH.ICV[:]):
		return refuse(ReasonAHValue, "IPSEC-AH : invalid IPSEC HMAC-MD5 value. Due to fields mutation or bad password !").versus("AH value", "another key", "auth_pass")
	case a.AH.SPI != a.Source.As4():
		return refuse(ReasonAHValue, "IPSEC AH : invalid IPSEC SPI value. %d and expect %d", a.AH.SPI, a.Source.As4()).versus("AH SPI", a.AH.SPI, a.Source)
	}
	i := slices.IndexFunc(r.ahSeen, func(s sender) bool { return s.addr == a.Source })
	if i >= 0 {
		if last := r.ahSeen[i].sequence; uint64(a.AH.Sequence) <= last {
			return refuse(ReasonAHReplay, "IPSEC-AH : sequence number %d already processed. Packet dropped. Local(%d)", a.AH.Sequence, last).
				versus("AH sequence", a.AH.Sequence, last)
		}
		r.ahSeen = slices.Delete(r.ahSeen, i, i+1)
	}
	r.ahSeen = slices.Insert(r.ahSeen, 0, sender{a.Source, uint64(a.AH.Sequence)})
	r.ahSeen = r.ahSeen[:min(len(r.ahSeen), maxSenders)]
	r.sequence = max(r.sequence, a.AH.Sequence)
	return nil
}
