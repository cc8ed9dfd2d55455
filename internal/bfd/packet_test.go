package bfd

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"
)

// A packet of keepalived 2.2.7 in state Down, default timers.
const sample = "204005180a0b0c0d00000000000f42400000271000000000"

func TestAPacketIsWhatItSays(t *testing.T) {
	b, err := hex.DecodeString(sample)
	if err != nil {
		t.Fatal(err)
	}
	want := Packet{State: Down, DetectMult: 5, MyDiscr: 0x0a0b0c0d, MinTx: time.Second, MinRx: 10 * time.Millisecond}
	p, err := Parse(b)
	if err != nil || p != want {
		t.Fatalf("%+v %v", p, err)
	}
	if got := hex.EncodeToString(want.Append(nil)); got != sample {
		t.Errorf("%s", got)
	}
	full := Packet{Diag: 3, State: Up, Poll: true, Demand: true, DetectMult: 255, MyDiscr: 1, YourDiscr: 1<<32 - 1, MinTx: time.Hour, MinRx: time.Microsecond, MinEchoRx: time.Second}
	if p, err := Parse(full.Append(nil)); err != nil || p != full {
		t.Errorf("%+v %v", p, err)
	}
}

// RFC 5880 §6.8.6, the checks without a session.
func TestBadPacketsAreRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		want   string
	}{
		{"short", func(b []byte) []byte { return b[:23] }, "too small: 23"},
		{"version", func(b []byte) []byte { b[0] = 2 << 5; return b }, "version 2"},
		{"length below 24", func(b []byte) []byte { b[3] = 23; return b }, "length field says 23"},
		{"length above", func(b []byte) []byte { b[3] = 25; return b }, "length field says 25"},
		{"longer than it says", func(b []byte) []byte { return append(b, 0) }, "25 were received"},
		{"auth without section", func(b []byte) []byte { b[1] |= flagAuth; return b }, "length field says 24"},
		{"multiplier", func(b []byte) []byte { b[2] = 0; return b }, "multiplier is zero"},
		{"multipoint", func(b []byte) []byte { b[1] |= flagMultipoint; return b }, "multipoint"},
		{"my discriminator", func(b []byte) []byte { copy(b[4:8], "\x00\x00\x00\x00"); return b }, "my discriminator"},
		{"your discriminator", func(b []byte) []byte { b[1] = byte(Up) << 6; return b }, "your discriminator is zero in state Up"},
		{"poll and final", func(b []byte) []byte { b[1] |= flagPoll | flagFinal; return b }, "both poll and final"},
		{"diagnostic", func(b []byte) []byte { b[0] |= 9; return b }, "diagnostic 9"},
	} {
		b, _ := hex.DecodeString(sample)
		if _, err := Parse(c.change(b)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func FuzzPacket(f *testing.F) {
	b, _ := hex.DecodeString(sample)
	f.Add(b)
	f.Add(append(b, 1, 2, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil || p.Auth {
			return
		}
		if again, err := Parse(p.Append(nil)); err != nil || again != p {
			t.Errorf("%+v became %+v: %v", p, again, err)
		}
	})
}
