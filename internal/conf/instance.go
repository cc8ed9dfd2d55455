package conf

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"vipd/internal/vrrp"
)

// instance is a vrrp_instance while it is read. What is nil is taken from global_defs.
type instance struct {
	Instance
	place
	famKnown   bool
	hasIf      bool // Interface is there, as far as we know
	authAt     Token
	unicastSet bool // a keyword of unicast was used
	hmacSet    bool
	backup     bool // state BACKUP was written
	sync       *groupAt
	trackedAt  map[string]place // interfaces, by name

	strict, accept, lowerNoAdvert, higherSendAdvert, smtp *bool
	owner, v3sum, checkSrc                                *bool
	delay, refresh, lowerDelay, extra                     *time.Duration
	repeat, refreshRepeat, lowerRepeat                    *uint32
	downAdverts                                           *int
	ttl                                                   *int
}

// noAddress is what an address is before it is set.
var noAddress netip.Addr

// place is a word somewhere in a file.
type place struct {
	file *File
	tok  Token
}

// beginInstance handles vrrp_instance NAME.
func beginInstance(l *loader, s *stmt) {
	if len(s.words) != 2 {
		l.warn(s.arg(2), "instance-name", "vrrp_instance must have a name").Hint = "one word, or several in double quotes"
		l.skip = true
		return
	}
	name := s.text(1)
	for _, o := range l.vis {
		if o.Name == name {
			d := l.warn(s.words[1], "duplicate-instance", "vrrp instance "+name+" already defined")
			d.Hint = fmt.Sprintf("the one at line %d of %s counts, this block is ignored", o.tok.Line, o.file.Name)
			l.skip = true
			return
		}
	}
	l.vi = &instance{Instance: Instance{Config: vrrp.Config{Name: name, OldChecksum: vrrp.ChecksumAuto}}, place: place{s.file, s.words[1]}}
	l.vis = append(l.vis, l.vi)
}

func endInstance(l *loader) {
	v := l.vi
	if v.unicastSet && (v.VMAC != nil || v.IPVLAN != nil) {
		switch {
		case !v.hasIf:
			l.warn(l.at.arg(0), "settings-conflict", "("+v.Name+"): Cannot use VMAC/ipvlan with unicast and no interface - clearing use_vmac")
			v.VMAC, v.IPVLAN = nil, nil
		case !v.XmitBase:
			l.warn(l.at.arg(0), "settings-conflict", "("+v.Name+") unicast with use_vmac requires vmac_xmit_base - setting").Hint = "add: vmac_xmit_base"
			v.XmitBase = true
		}
	}
	if len(v.Peers) == 0 && v.ttl != nil {
		l.warn(l.at.arg(0), "settings-conflict", "("+v.Name+"): Cannot use unicast_ttl without unicast peers - resetting")
		v.ttl = nil
	}
	l.vi = nil
}

func setState(l *loader, s *stmt) {
	switch v := s.text(1); v {
	case "MASTER":
		l.vi.InitialMaster, l.vi.backup = true, false
	case "BACKUP":
		if l.vi.InitialMaster {
			l.bad(s, 1, "(%s) state previously set as MASTER - ignoring BACKUP", l.vi.Name)
			return
		}
		l.vi.backup = true
	default:
		d := l.badValue(s, 1, "", "({vi}) unknown state '{value}', defaulting to BACKUP")
		d.Expected = "MASTER or BACKUP, in capitals"
		l.vi.InitialMaster, l.vi.backup = false, true
	}
}

func setPriority(l *loader, s *stmt) {
	v, ok := l.integer(s, 1, 1, 255, "({vi}) Priority not valid! must be between 1 & 255. Using default 100")
	if !ok {
		v = 100
	}
	l.vi.Priority = uint8(v)
}

func setVersion(l *loader, s *stmt) {
	v, ok := l.signed(s, 1, 2, 3, "({vi}): Version must be either 2 or 3")
	if !ok {
		return
	}
	if l.vi.Version != 0 && int64(l.vi.Version) != v || v == 2 && l.vi.famKnown && l.vi.V6 {
		l.bad(s, 1, "(%s) vrrp_version %d conflicts with configured or deduced version %d; ignoring.", l.vi.Name, v, l.vi.Version)
		return
	}
	l.vi.Version = uint8(v)
}

func setAdvertInt(l *loader, s *stmt) {
	if v, ok := l.decimal(s, 1, second/100, 255*second, "({vi}) Advert interval ({value}) not valid! Must be > 0 - ignoring"); ok {
		l.vi.AdvertInt = v
	}
}

func setPreemptDelay(l *loader, s *stmt) {
	v, _ := l.decimal(s, 1, 0, 1000*second, "({vi}) Preempt_delay not valid! must be between 0-1000")
	l.vi.PreemptDelay = v
}

func setInterface(l *loader, s *stmt) {
	name := s.text(1)
	if len(name) > 15 {
		l.bad(s, 1, "Interface name '%s' too long - ignoring", name).Expected = "at most 15 bytes"
		return
	}
	host, ok := l.iface(name)
	switch l.vi.Interface, l.vi.hasIf = name, ok; {
	case !ok:
		l.warn(s.arg(1), "no-such-interface", "WARNING - interface "+name+" for vrrp_instance "+l.vi.Name+" doesn't exist")
	case host.Loopback:
		l.warn(s.arg(1), "loopback", "("+l.vi.Name+") cannot use a loopback interface ("+name+") for vrrp - ignoring")
		l.vi.Interface, l.vi.hasIf = "", false
	}
}

func setVRF(l *loader, s *stmt) {
	name, v := s.text(1), l.vi
	switch {
	case len(name) > 15:
		l.bad(s, 1, "(%s) VRF interface name '%s' too long - ignoring", v.Name, name)
	case v.hasIf:
		l.bad(s, 1, "(%s) Cannot specify VRF interface and interface - ignoring", v.Name)
	case v.VRF != "":
		l.bad(s, 1, "(%s) VRF interface already specified as '%s' - ignoring", v.Name, v.VRF)
	default:
		if _, ok := l.iface(name); !ok {
			l.bad(s, 1, "(%s) WARNING - VRF interface %s doesn't exist", v.Name, name)
			return
		}
		v.VRF = name
	}
}

func setAuthType(l *loader, s *stmt) {
	switch s.text(1) {
	case "PASS":
		l.vi.AuthType = vrrp.AuthPass
	case "AH":
		l.vi.AuthType = vrrp.AuthAH
	default:
		l.badValue(s, 1, "", "({vi}) unknown authentication type '{value}'").Expected = "PASS or AH, in capitals"
		return
	}
	l.vi.authAt = s.words[0]
}

func setAuthPass(l *loader, s *stmt) {
	pass := s.text(1)
	if len(pass) > 8 {
		d := l.warn(s.arg(1), "auth-pass-cut", "Truncating auth_pass to 8 characters")
		d.Hint = "both routers must have the same first 8 bytes; the rest was never on the wire"
		pass = pass[:8]
	}
	l.vi.AuthPass = pass
}

// family takes the family of an address of the instance; the first one decides.
func (v *instance) family(a netip.Addr) bool {
	if !v.famKnown {
		v.famKnown, v.V6 = true, a.Is6()
	}
	return a.Is6() == v.V6
}

func (v *instance) familyName() string {
	if v.V6 {
		return "IPv6"
	}
	return "IPv4"
}

// addVIP and addExcluded take one line of virtual_ipaddress and virtual_ipaddress_excluded.
func addVIP(l *loader, s *stmt) {
	a, ok := l.addressLine(s, false)
	if !ok {
		return
	}
	if !l.vi.family(a.Prefix.Addr()) {
		d := l.warn(s.words[0], "mixed-families", fmt.Sprintf("(%s): address family must match VRRP instance [%s] - ignoring", l.vi.Name, s.text(0)))
		d.Hint = "put it into virtual_ipaddress_excluded, or into an instance of its own"
		return
	}
	if l.newVIP(s, a) {
		l.vi.Addresses = append(l.vi.Addresses, a)
	}
}

func addExcluded(l *loader, s *stmt) {
	if a, ok := l.addressLine(s, false); ok && l.newVIP(s, a) {
		l.vi.ExcludedAddresses = append(l.vi.ExcludedAddresses, a)
	}
}

// newVIP reports an address that the instance has already.
// keepalived: 2.2.7 is silent and adds it twice, 2.4 warns as here.
func (l *loader) newVIP(s *stmt, a Address) bool {
	for _, list := range [][]Address{l.vi.Addresses, l.vi.ExcludedAddresses} {
		for _, o := range list {
			if o.Prefix == a.Prefix && o.Dev == a.Dev {
				l.own(s.words[0], "duplicate-vip", fmt.Sprintf("(%s) VIP duplicates a VIP %s - ignoring", l.vi.Name, s.text(0)))
				return false
			}
		}
	}
	return true
}

func setSource(l *loader, s *stmt) {
	a, ok := plain(s.text(1))
	if !ok {
		l.badValue(s, 1, "", "Configuration error: VRRP instance[{vi}] malformed src address[{value}]. Skipping...").Expected = "an address"
		return
	}
	if l.vi.Source, l.vi.SourceSet = a, true; !l.vi.family(a) {
		l.badValue(s, 1, "", "Configuration error: VRRP instance[{vi}] and src address[{value}] MUST be of the same family !!! Skipping...")
		l.vi.Source, l.vi.SourceSet = netip.Addr{}, false
	}
}

func setUnicastSource(l *loader, s *stmt) {
	l.vi.unicastSet = true
	setSource(l, s)
}

func setMcastDst(l *loader, s *stmt) {
	a, ok := plain(s.text(1))
	switch {
	case !ok:
		l.badValue(s, 1, "", "({vi}) malformed mcast dest address {value}. Skipping...")
	case !l.vi.family(a):
		l.badValue(s, 1, "", "({vi}) mcast dest address {value} MUST match VRRP instance family. Skipping...")
		l.vi.McastDst = netip.Addr{}
	case a.Is4() && !a.IsMulticast():
		l.badValue(s, 1, "", "({vi}) mcast_dst_ip {value} not multicast. Skipping...")
		l.vi.McastDst = netip.Addr{}
	case a.Is6() && !a.IsLinkLocalMulticast():
		l.badValue(s, 1, "", "({vi}) mcast_dst_ip {value} not link-local multicast. Skipping...")
		l.vi.McastDst = netip.Addr{}
	default:
		l.vi.McastDst = a
	}
}

// addPeer takes a line of unicast_peer: ADDR [min_ttl N] [max_ttl N].
func addPeer(l *loader, s *stmt) {
	v := l.vi
	a, ok := plain(s.text(0))
	if !ok {
		l.badValue(s, 0, "", "Configuration error: VRRP instance[{vi}] malformed unicast peer address[{value}]. Skipping...").Expected = "an address"
		return
	}
	if !v.family(a) {
		l.badValue(s, 0, "", "Configuration error: VRRP instance[{vi}] and unicast peer address[{value}] MUST be of the same family !!! Skipping...")
		return
	}
	p := vrrp.Peer{Addr: a, MaxTTL: 255}
	for i := 1; i < len(s.words); i += 2 {
		if i+1 >= len(s.words) {
			l.bad(s, i, "(%s) %s is missing a value", v.Name, s.text(i))
			break
		}
		n, ok := l.integer(s, i+1, 0, 255, "")
		if !ok {
			continue
		}
		switch s.text(i) {
		case "min_ttl":
			p.MinTTL = uint8(n)
		case "max_ttl":
			p.MaxTTL = uint8(n)
		default:
			l.bad(s, i, "(%s) unknown unicast_peer option %s", v.Name, s.text(i)).Expected = "min_ttl or max_ttl"
			i = len(s.words)
			continue
		}
		yes := true
		v.checkSrc = &yes
	}
	if p.MinTTL > p.MaxTTL {
		l.bad(s, 0, "(%s) min_ttl %d > max_ttl %d - all packets will be discarded", v.Name, p.MinTTL, p.MaxTTL)
	}
	v.Peers = append(v.Peers, p)
}

func setOldChecksum(l *loader, s *stmt) {
	l.vi.unicastSet = true
	switch {
	case len(s.words) < 2:
		l.vi.OldChecksum = vrrp.ChecksumOld
	case s.text(1) == "never":
		l.vi.OldChecksum = vrrp.ChecksumNever
	default:
		l.badValue(s, 1, "", "({vi}) Unknown old_unicast_chksum mode {value} - ignoring").Expected = "never, or nothing"
	}
}

func setNativeV6(l *loader, s *stmt) {
	if l.vi.famKnown && !l.vi.V6 {
		l.warn(s.words[0], "settings-conflict", "("+l.vi.Name+") Cannot specify native_ipv6 with IPv4 addresses")
		return
	}
	l.vi.famKnown, l.vi.V6, l.vi.Version = true, true, 3
}

func setLinkbeat(l *loader, s *stmt) {
	l.vi.Linkbeat = true
	l.warn(s.words[0], "deprecated", "("+l.vi.Name+") 'linkbeat_use_polling' in vrrp instance deprecated - use linkbeat_interfaces block")
}

// setSyncInterface is lvs_sync_daemon_interface, out of use for long.
func setSyncInterface(l *loader, s *stmt) {
	v := l.vi
	l.warn(s.words[0], "deprecated", "("+v.Name+") Specifying lvs_sync_daemon_interface against a vrrp is deprecated.").More = []string{
		"      " + strings.Repeat(" ", max(len(v.Name)-2, 2-len(v.Name))) + "Please use global lvs_sync_daemon"}
	d := &l.cfg.Global.SyncDaemon
	if _, ok := l.want(s, 1); !ok {
		return
	}
	if d.Interface != "" {
		l.bad(s, 1, "(%s) lvs_sync_daemon_interface has already been specified as %s - ignoring", v.Name, d.Interface)
		return
	}
	d.Interface, d.Instance, l.syncAt = s.text(1), v.Name, place{s.file, s.words[0]}
}

// setExtraIf reads [all] SECS.
func setExtraIf(l *loader, s *stmt) {
	v, name := l.vi, s.text(0)
	if name == "vmac_garp_intvl" {
		l.warn(s.words[0], "deprecated", `Keyword "vmac_garp_intvl" is deprecated - please use "garp_extra_if"`)
	}
	set := false
	for i := 1; i < len(s.words); i++ {
		if s.text(i) == "all" {
			v.ExtraAll = true
			continue
		}
		n, ok := l.integer(s, i, 0, 86400, "({vi}): "+name+" '{value}' invalid - ignoring")
		if !ok {
			return
		}
		d := time.Duration(n) * time.Second
		v.extra, set = &d, true
	}
	if !set {
		l.warn(s.words[0], "bad-value", "("+v.Name+"): "+name+" specified without time - ignoring")
	}
}

// garpSeconds, garpCount and garpRepeat set what announcements an instance makes.
func garpSeconds(hi int64, also string, at func(v *instance) **time.Duration) setter {
	return number(0, hi, also, func(l *loader, v int64) {
		d := time.Duration(v) * time.Second
		*at(l.vi) = &d
	})
}

func garpCount(hi int64, also string, at func(v *instance) **uint32) setter {
	return number(0, hi, also, func(l *loader, v int64) {
		n := uint32(v)
		*at(l.vi) = &n
	})
}

func garpRepeat(at func(v *instance) **uint32) setter {
	return func(l *loader, s *stmt) {
		v, ok := l.integer(s, 1, 0, 1<<32-1, "({vi}): "+s.text(0)+" '{value}' invalid - ignoring")
		if !ok {
			return
		}
		if v == 0 {
			l.bad(s, 1, "(%s): %s must be greater than 0, setting to 1", l.vi.Name, s.text(0))
			v = 1
		}
		n := uint32(v)
		*at(l.vi) = &n
	}
}

func vmacFlag(put func(v *instance)) setter { return func(l *loader, _ *stmt) { put(l.vi) } }

// onKey names what two instances must not share: VRID, family and interface.
func (v *instance) onKey() string {
	return strconv.Itoa(int(v.VRID)) + " with " + v.familyName() + " on interface " + v.Interface
}

// notifyDeleted asks to be told when a reload removes the instance, with a command or without.
func notifyDeleted(l *loader, s *stmt) {
	n := &l.vi.Notify
	if n.OnDelete {
		l.warn(s.words[0], "repeated", "("+l.vi.Name+") notify_deleted already specified - ignoring "+s.text(1))
		return
	}
	n.OnDelete = true
	if len(s.words) > 1 {
		n.Deleted = l.commandOf(s)
	}
}

func setRxBuf(l *loader, s *stmt) {
	v, bad := int64(0), ""
	if len(s.words) == 2 {
		if v, bad = whole(s.text(1), 0, 1<<32-1, false, false); bad == "" {
			l.vi.RxBuf = uint32(v)
			return
		}
		l.badValue(s, 1, bad, "({vi}) invalid kernel_rx_buf_size specified")
		return
	}
	l.warn(s.words[0], "bad-value", "("+l.vi.Name+") invalid kernel_rx_buf_size specified")
}

func setTimerExpired(l *loader, s *stmt) {
	if l.vi.TimerExpired = 1; len(s.words) > 1 {
		if v, ok := l.integer(s, 1, 1, 254, "({vi}) invalid timer_expired_backup {value}"); ok {
			l.vi.TimerExpired = int(v)
		}
	}
}
