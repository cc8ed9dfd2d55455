package ipvs

import (
	"github.com/mdlayher/netlink"

	"vipd/internal/lb"
)

type stats struct {
	total lb.Counters
	rate  lb.Rates
}

// counted prefers the statistics of 64 bits, which a kernel before 4.1 does not have.
func counted(wide, narrow *stats) (lb.Counters, lb.Rates) {
	switch {
	case wide != nil:
		return wide.total, wide.rate
	case narrow != nil:
		return narrow.total, narrow.rate
	}
	return lb.Counters{}, lb.Rates{}
}

// decodeStats reads either form. In the narrow one all but the two byte counts have 32 bits.
func decodeStats(b []byte, wide bool) (*stats, error) {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return nil, err
	}
	s := &stats{}
	fields := map[uint16]*uint64{
		statConns: &s.total.Conns, statInPkts: &s.total.InPkts, statOutPkts: &s.total.OutPkts,
		statInBytes: &s.total.InBytes, statOutBytes: &s.total.OutBytes,
		statConnRate: &s.rate.Conns, statInPktRate: &s.rate.InPkts, statOutPktRate: &s.rate.OutPkts,
		statInByteRate: &s.rate.InBytes, statOutByteRate: &s.rate.OutBytes,
	}
	for ad.Next() {
		to := fields[ad.Type()]
		switch {
		case to == nil: // padding, or newer than this program
		case wide || ad.Type() == statInBytes || ad.Type() == statOutBytes:
			*to = ad.Uint64()
		default:
			*to = uint64(ad.Uint32())
		}
	}
	return s, ad.Err()
}
