package plane

import "testing"

// TestDefenceFollowsMemory: what each mode does, and becomes, with memory and without.
func TestDefenceFollowsMemory(t *testing.T) {
	for _, row := range []struct {
		name       string
		mode, free uint32
		next, rate uint32
		drop       bool
	}{
		{"never", 0, 0, 0, 0, false},
		{"auto, enough", 1, 1024, 1, 0, false},
		{"auto, short", 1, 1023, 2, 1024, true},
		{"auto, half", 1, 512, 2, 2, true},
		{"auto, none", 1, 0, 2, 1, true},
		{"short before, and still", 2, 256, 2, 1, true},
		{"short before, enough now", 2, 4096, 1, 0, false},
		{"always, enough", 3, 1 << 20, 3, 10, true},
		{"always, short", 3, 0, 3, 10, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := Defence{DropEntry: row.mode, DropPacket: row.mode, SecureTCP: row.mode, DropRate: 10, Threshold: 1024}
			s := d.Look(uint64(row.free))
			if want := (Stance{row.drop, row.rate}); s != want {
				t.Errorf("%+v, want %+v", s, want)
			}
			if d.DropEntry != row.next || d.DropPacket != row.next || d.SecureTCP != row.next {
				t.Errorf("modes %d, %d, %d; want %d", d.DropEntry, d.DropPacket, d.SecureTCP, row.next)
			}
		})
	}
}
