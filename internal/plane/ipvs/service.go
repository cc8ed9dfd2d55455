package ipvs

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"vipd/internal/lb"
	"vipd/internal/plane"
)

// maxPeriod is the longest persistence and timeout, as ipvsadm has it.
const maxPeriod = 31 * 24 * time.Hour

// encodeKey is what names a service: enough to delete, to look up and to zero it.
func encodeKey(ae *netlink.AttributeEncoder, k lb.ServiceKey) {
	if k.Mark != 0 {
		family := uint16(unix.AF_INET)
		if k.V6 {
			family = unix.AF_INET6
		}
		ae.Uint16(svcFamily, family)
		ae.Uint32(svcMark, k.Mark)
		return
	}
	ae.Uint16(svcFamily, familyOf(k.Addr.Addr()))
	ae.Uint16(svcProtocol, uint16(k.Protocol))
	putAddr(ae, svcAddr, k.Addr.Addr())
	putPort(ae, svcPort, k.Addr.Port())
}

// encodeService is a whole service, for its addition or edit. ErrRange is a persistence that is negative or too long;
// ErrUnsupported what the kernel's IPVS never had.
func encodeService(ae *netlink.AttributeEncoder, s lb.Service) error {
	if s.Locals.Len() != 0 {
		return fmt.Errorf("local addresses (FULLNAT): %w", plane.ErrUnsupported)
	}
	if s.Segment != 0 {
		return fmt.Errorf("a largest segment (iptables -j TCPMSS has it): %w", plane.ErrUnsupported)
	}
	if s.CarryOn {
		return fmt.Errorf("carry_on of one service (sysctl net.ipv4.vs.sloppy_tcp is all services'): %w", plane.ErrUnsupported)
	}
	if s.Persistence < 0 || s.Persistence > maxPeriod {
		return fmt.Errorf("persistence %v: %w", s.Persistence, plane.ErrRange)
	}
	s = plane.Normal(s)
	encodeKey(ae, s.ServiceKey)
	ae.String(svcScheduler, s.Scheduler)
	if s.Engine != "" {
		ae.String(svcEngine, s.Engine)
	}
	flags := uint32(s.Flags) << schedShift
	if s.Persistence != 0 {
		flags |= flagPersistent
	}
	if s.OnePacket {
		flags |= flagOnePacket
	}
	// Of the mask all bits, so that an edit takes away what is not wanted any more; the kernel keeps its own ones.
	ae.Bytes(svcFlags, binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, flags), math.MaxUint32))
	ae.Uint32(svcTimeout, seconds(s.Persistence))
	putMask(ae, s)
	return nil
}

// putMask writes a netmask for IPv4 and a prefix length for IPv6, as the kernel wants it; there is always one.
func putMask(ae *netlink.AttributeEncoder, s lb.Service) {
	if s.Is6() {
		ae.Uint32(svcNetmask, 128-s.Wild)
		return
	}
	ae.Bytes(svcNetmask, binary.BigEndian.AppendUint32(nil, ^s.Wild))
}

// seconds rounds up, so that a short time does not become none.
func seconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }

// rawService gathers the attributes of a service; which of them mean what depends on others.
type rawService struct {
	family, protocol, port uint16
	addr, netmask          []byte
	mark, flags, timeout   uint32
	scheduler, engine      string
	stats, stats64         *stats
}

// decodeService reads the inside of a service attribute: the service and what was counted of it.
func decodeService(b []byte) (plane.Pool, error) {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return plane.Pool{}, fmt.Errorf("service: %w", err)
	}
	var raw rawService
	for ad.Next() {
		if err := raw.attribute(ad); err != nil {
			return plane.Pool{}, fmt.Errorf("service: attribute %d: %w", ad.Type(), err)
		}
	}
	if err := ad.Err(); err != nil {
		return plane.Pool{}, fmt.Errorf("service: %w", err)
	}
	s, err := raw.service()
	if err != nil {
		return plane.Pool{}, fmt.Errorf("service: %w", err)
	}
	p := plane.Pool{Service: s}
	p.Total, p.Rate = counted(raw.stats64, raw.stats)
	return p, nil
}

func (r *rawService) attribute(ad *netlink.AttributeDecoder) (err error) {
	switch ad.Type() {
	case svcFamily:
		r.family = ad.Uint16()
	case svcProtocol:
		r.protocol = ad.Uint16()
	case svcAddr:
		r.addr = ad.Bytes()
	case svcPort:
		r.port, err = be16(ad.Bytes())
	case svcMark:
		r.mark = ad.Uint32()
	case svcScheduler:
		r.scheduler = ad.String()
	case svcFlags:
		if b := ad.Bytes(); len(b) >= 4 {
			r.flags = binary.NativeEndian.Uint32(b)
		} else {
			err = errTruncated
		}
	case svcTimeout:
		r.timeout = ad.Uint32()
	case svcNetmask:
		r.netmask = ad.Bytes()
	case svcStats:
		r.stats, err = decodeStats(ad.Bytes(), false)
	case svcEngine:
		r.engine = ad.String()
	case svcStats64:
		r.stats64, err = decodeStats(ad.Bytes(), true)
	}
	return err
}

func (r *rawService) service() (lb.Service, error) {
	s := lb.Service{Scheduler: r.scheduler, Engine: r.engine, OnePacket: r.flags&flagOnePacket != 0,
		Flags: lb.SchedFlags(r.flags >> schedShift & 7)}
	if r.mark != 0 {
		if r.family != unix.AF_INET && r.family != unix.AF_INET6 {
			return s, fmt.Errorf("address family %d is neither IPv4 nor IPv6", r.family)
		}
		s.ServiceKey = lb.ServiceKey{Mark: r.mark, V6: r.family == unix.AF_INET6}
	} else {
		addr, err := addrOf(r.family, r.addr)
		if err != nil {
			return s, err
		}
		if r.protocol > math.MaxUint8 {
			return s, fmt.Errorf("protocol %d", r.protocol)
		}
		s.ServiceKey = lb.ServiceKey{Protocol: lb.Protocol(r.protocol), Addr: netip.AddrPortFrom(addr, r.port)}
	}
	if r.flags&flagPersistent != 0 {
		s.Persistence = time.Duration(r.timeout) * time.Second
	}
	if err := r.mask(&s); err != nil {
		return s, err
	}
	return plane.Normal(s), nil
}

func (r *rawService) mask(s *lb.Service) error {
	switch {
	case r.netmask == nil:
		return nil
	case len(r.netmask) < 4:
		return errTruncated
	case s.Is6():
		s.Wild = 128 - min(binary.NativeEndian.Uint32(r.netmask), 128)
	default:
		s.Wild = ^binary.BigEndian.Uint32(r.netmask)
	}
	return nil
}
