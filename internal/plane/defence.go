package plane

// Defence is what IPVS does when memory is short, by its settings: ip_vs_ctl.c, update_defense_level.
type Defence struct {
	DropEntry, DropPacket, SecureTCP uint32 // 0 never, 1 when memory is short, 2 it is, 3 always
	DropRate                         uint32 // am_droprate
	Threshold                        uint32 // amemthresh, pages
}

// Stance is what follows for now.
type Stance struct {
	DropEntries bool
	Rate        uint32 // of so many packets that would make a connection one is dropped. If zero, none.
}

// Look takes the pages that are free now, and turns the settings that follow memory from 1 to 2 or back.
func (d *Defence) Look(free uint64) Stance {
	short := free < uint64(d.Threshold)
	for _, mode := range []*uint32{&d.DropEntry, &d.DropPacket, &d.SecureTCP} {
		switch {
		case *mode == 1 && short:
			*mode = 2
		case *mode == 2 && !short:
			*mode = 1
		}
	}
	s := Stance{DropEntries: d.DropEntry >= 2}
	switch {
	case d.DropPacket == 3:
		s.Rate = d.DropRate
	case d.DropPacket == 2:
		s.Rate = uint32(uint64(d.Threshold) / (uint64(d.Threshold) - free))
	}
	return s
}
