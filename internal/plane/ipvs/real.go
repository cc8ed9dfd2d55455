package ipvs

import (
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"vipd/internal/lb"
	"vipd/internal/plane"
)

// encodeRealKey is what names a real server in its service.
func encodeRealKey(ae *netlink.AttributeEncoder, r lb.Real) {
	ae.Uint16(destFamily, familyOf(r.Addr.Addr()))
	putAddr(ae, destAddr, r.Addr.Addr())
	putPort(ae, destPort, r.Addr.Port())
}

// encodeReal is a whole real server, for its addition or edit.
func encodeReal(ae *netlink.AttributeEncoder, r lb.Real) error {
	if r.Forward != lb.Tunnel {
		r.Tunnel = lb.TunnelOptions{}
	}
	encodeRealKey(ae, r)
	ae.Uint32(destMethod, uint32(r.Forward))
	ae.Uint32(destWeight, uint32(r.Weight)) // what is out of range is for the kernel to refuse
	ae.Uint32(destUpper, r.Upper)
	ae.Uint32(destLower, r.Lower)
	ae.Uint8(destTunType, uint8(r.Tunnel.Type))
	putPort(ae, destTunPort, r.Tunnel.Port)
	flags := uint16(0)
	if r.Tunnel.Csum {
		flags |= tunCsum
	}
	if r.Tunnel.RemCsum {
		flags |= tunRemCsum
	}
	ae.Uint16(destTunFlags, flags)
	return nil
}

// decodeReal reads the inside of a real server's attribute. family is that of its service, for kernels before 3.18,
// which send none.
func decodeReal(b []byte, family uint16) (plane.Real, error) {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return plane.Real{}, fmt.Errorf("real server: %w", err)
	}
	raw := rawReal{family: family}
	for ad.Next() {
		if err := raw.attribute(ad); err != nil {
			return plane.Real{}, fmt.Errorf("real server: attribute %d: %w", ad.Type(), err)
		}
	}
	if err := ad.Err(); err != nil {
		return plane.Real{}, fmt.Errorf("real server: %w", err)
	}
	addr, err := addrOf(raw.family, raw.addr)
	if err != nil {
		return plane.Real{}, fmt.Errorf("real server: %w", err)
	}
	raw.out.Addr = netip.AddrPortFrom(addr, raw.port)
	if raw.out.Forward != lb.Tunnel { // the kernel keeps what it was given
		raw.out.Tunnel = lb.TunnelOptions{}
	}
	raw.out.Total, raw.out.Rate = counted(raw.stats64, raw.stats)
	return raw.out, nil
}

type rawReal struct {
	family, port   uint16
	addr           []byte
	stats, stats64 *stats
	out            plane.Real
}

func (r *rawReal) attribute(ad *netlink.AttributeDecoder) (err error) {
	switch ad.Type() {
	case destAddr:
		r.addr = ad.Bytes()
	case destPort:
		r.port, err = be16(ad.Bytes())
	case destMethod:
		r.out.Forward = lb.Forward(ad.Uint32() & methodMask)
	case destWeight:
		r.out.Weight = int32(ad.Uint32())
	case destUpper:
		r.out.Upper = ad.Uint32()
	case destLower:
		r.out.Lower = ad.Uint32()
	case destActive:
		r.out.Active = ad.Uint32()
	case destInactive:
		r.out.Inactive = ad.Uint32()
	case destPersist:
		r.out.Persist = ad.Uint32()
	case destStats:
		r.stats, err = decodeStats(ad.Bytes(), false)
	case destStats64:
		r.stats64, err = decodeStats(ad.Bytes(), true)
	case destFamily:
		// 0 is what a kernel says of a real server that was added without one.
		if f := ad.Uint16(); f != unix.AF_UNSPEC {
			r.family = f
		}
	case destTunType:
		r.out.Tunnel.Type = lb.TunnelType(ad.Uint8())
	case destTunPort:
		r.out.Tunnel.Port, err = be16(ad.Bytes())
	case destTunFlags:
		f := ad.Uint16()
		r.out.Tunnel.Csum, r.out.Tunnel.RemCsum = f&tunCsum != 0, f&tunRemCsum != 0
	}
	return err
}
