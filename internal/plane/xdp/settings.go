package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	stdmaps "maps"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"

	"vipd/bpf"
	"vipd/internal/plane"
)

// tuned is where a setting stands, and how.
type tuned struct {
	at   func(*bpf.LbTunables) *uint32
	unit unit
}

// unit is in what the packet path has a value.
type unit uint8

const (
	asGiven    unit = iota
	inTicks         // given in seconds
	perTick         // given by second
	notCarried      // it can be no other than 0
)

var settings = map[string]tuned{
	"am_droprate":               {func(t *bpf.LbTunables) *uint32 { return &t.AmDroprate }, asGiven},
	"amemthresh":                {func(t *bpf.LbTunables) *uint32 { return &t.Amemthresh }, asGiven},
	"cache_bypass":              {func(t *bpf.LbTunables) *uint32 { return &t.CacheBypass }, notCarried},
	"conn_reuse_mode":           {func(t *bpf.LbTunables) *uint32 { return &t.ConnReuseMode }, asGiven},
	"drop_entry":                {func(t *bpf.LbTunables) *uint32 { return &t.DropEntry }, asGiven},
	"drop_packet":               {func(t *bpf.LbTunables) *uint32 { return &t.DropPacket }, asGiven},
	"expire_nodest_conn":        {func(t *bpf.LbTunables) *uint32 { return &t.ExpireNodestConn }, asGiven},
	"expire_quiescent_template": {func(t *bpf.LbTunables) *uint32 { return &t.ExpireQuiescentTemplate }, asGiven},
	"icmp_msgs_per_sec":         {func(t *bpf.LbTunables) *uint32 { return &t.IcmpMsgsPerSec }, asGiven},
	"lblc_expiration":           {func(t *bpf.LbTunables) *uint32 { return &t.LblcExpiration }, inTicks},
	"lblcr_expiration":          {func(t *bpf.LbTunables) *uint32 { return &t.LblcrExpiration }, inTicks},
	"nat_icmp_send":             {func(t *bpf.LbTunables) *uint32 { return &t.NatIcmpSend }, notCarried},
	"pmtu_disc":                 {func(t *bpf.LbTunables) *uint32 { return &t.PmtuDisc }, asGiven},
	"schedule_icmp":             {func(t *bpf.LbTunables) *uint32 { return &t.ScheduleIcmp }, notCarried},
	"secure_tcp":                {func(t *bpf.LbTunables) *uint32 { return &t.SecureTcp }, asGiven},
	"sloppy_sctp":               {func(t *bpf.LbTunables) *uint32 { return &t.SloppySctp }, asGiven},
	"sloppy_tcp":                {func(t *bpf.LbTunables) *uint32 { return &t.SloppyTcp }, asGiven},
	"syn_flood_rate":            {func(t *bpf.LbTunables) *uint32 { return &t.SynFloodRate }, asGiven},
}

// CheckSetting says why this plane cannot have a setting; nil if it can. It needs no kernel.
func CheckSetting(name string, value uint32) error {
	if _, err := plane.CheckSetting(name, value); err != nil {
		return err
	}
	if settings[name].unit == notCarried && value != 0 {
		return unsupported("%s %d", name, value)
	}
	return nil
}

// into is a setting's value as the packet path has it; of is the way back.
func (u unit) into(c clock, value uint32) uint32 {
	if u == inTicks {
		return c.ticks(time.Duration(value) * time.Second)
	}
	return value
}

func (u unit) of(c clock, value uint32) uint32 {
	if u == inTicks {
		return uint32(c.seconds(value) / time.Second)
	}
	return value
}

// Settings implements plane.Tuner.
func (p *Plane) Settings() (map[string]uint32, error) {
	var t bpf.LbTunables
	if err := p.maps.get(bpf.LbMapTuning, 0, &t); err != nil {
		return nil, err
	}
	all := map[string]uint32{}
	for name, s := range settings {
		all[name] = s.unit.of(p.clock, *s.at(&t))
	}
	stdmaps.Copy(all, p.syncSettings)
	return all, nil
}

// Set implements plane.Tuner.
func (p *Plane) Set(name string, value uint32) error {
	if err := CheckSetting(name, value); err != nil {
		return err
	}
	if _, ok := p.syncSettings[name]; ok {
		return p.setSync(name, value)
	}
	var t bpf.LbTunables
	if err := p.maps.get(bpf.LbMapTuning, 0, &t); err != nil {
		return err
	}
	*settings[name].at(&t) = settings[name].unit.into(p.clock, value)
	p.clock.rates(&t)
	if err := p.maps.put(bpf.LbMapTuning, 0, t); err != nil {
		return err
	}
	return p.defend()
}

// defaultSync is what the sync daemon begins with. The packet path has no room for it: whoever opened the plane keeps what is set.
func defaultSync() map[string]uint32 {
	all := map[string]uint32{}
	for _, s := range plane.Settings {
		if s.Sync() {
			all[s.Name] = s.Default
		}
	}
	return all
}

func (p *Plane) setSync(name string, value uint32) error {
	next := stdmaps.Clone(p.syncSettings)
	next[name] = value
	if err := plane.CheckThreshold(next["sync_threshold"], next["sync_period"]); err != nil {
		return err
	}
	p.syncSettings = next
	return nil
}

// setDefaultsOf writes the value that each setting begins with.
func (p *Plane) setDefaultsOf(t *bpf.LbTunables) {
	for _, s := range plane.Settings {
		if !s.Sync() {
			*settings[s.Name].at(t) = settings[s.Name].unit.into(p.clock, s.Default)
		}
	}
	p.clock.rates(t)
}

// rates makes rates by tick of those by second, at least one.
func (c clock) rates(t *bpf.LbTunables) {
	perTick := func(rate uint32) uint32 {
		return uint32((uint64(rate)*uint64(c.duration(1)) + uint64(time.Second) - 1) / uint64(time.Second))
	}
	t.AnswerRate, t.FloodRate = perTick(t.IcmpMsgsPerSec), perTick(t.SynFloodRate)
}

// defend looks at memory, as IPVS does every second, and takes the stance that the settings want.
func (p *Plane) defend() error {
	var t bpf.LbTunables
	if err := p.maps.get(bpf.LbMapTuning, 0, &t); err != nil {
		return err
	}
	d := plane.Defence{DropEntry: t.DropEntry, DropPacket: t.DropPacket, SecureTCP: t.SecureTcp, DropRate: t.AmDroprate, Threshold: t.Amemthresh}
	free, err := freePages()
	if err != nil {
		return err
	}
	s := d.Look(free)
	next := t
	next.DropEntry, next.DropPacket, next.SecureTcp, next.DropRate = d.DropEntry, d.DropPacket, d.SecureTCP, s.Rate
	if next != t {
		if err := p.maps.put(bpf.LbMapTuning, 0, next); err != nil {
			return err
		}
	}
	if !s.DropEntries {
		return nil
	}
	return p.dropEntries()
}

// entriesPart is what of the table is looked through every 2 s: IPVS takes a 32nd every second.
const entriesPart = 16

func (p *Plane) dropEntries() error {
	o := bpf.LbOrder{First: rand.Uint32N(p.meta.Regions), Count: max(p.meta.Regions/entriesPart, 1)}
	frame, err := binary.Append(nil, binary.NativeEndian, o)
	if err != nil {
		return err
	}
	return p.run(bpf.LbProgDefend, frame, nil)
}

// freePages is the memory that IPVS calls available: free, and in buffers.
func freePages() (uint64, error) {
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		return 0, fmt.Errorf("look for free memory: %w", err)
	}
	return (uint64(s.Freeram) + uint64(s.Bufferram)) * uint64(s.Unit) / uint64(unix.Getpagesize()), nil
}

// forgetGone ends the connections of the real servers that have just been removed, with expire_nodest_conn; and, as in IPVS, of
// those that were removed before it was set.
func (p *Plane) forgetGone(list []*real) error {
	var t bpf.LbTunables
	if err := p.maps.get(bpf.LbMapTuning, 0, &t); err != nil || t.ExpireNodestConn == 0 || len(list) == 0 {
		return err
	}
	var errs []error
	for _, s := range p.services {
		for _, r := range s.gone {
			var n bpf.LbRealCount
			if r.removed == p.epoch || r.fresh {
				continue // it is in a list
			}
			if errs = append(errs, p.maps.get(bpf.LbMapRealCounts, r.index, &n)); n.Active+n.Inactive+n.Persist > 0 {
				list = append(list, r)
			}
		}
	}
	for _, r := range list {
		frame, err := binary.Append(nil, binary.NativeEndian, bpf.LbOrder{Real: r.index})
		errs = append(errs, err, p.run(bpf.LbProgForget, frame, nil))
	}
	return errors.Join(errs...)
}
