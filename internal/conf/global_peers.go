package conf

import (
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"time"

	"vipd/internal/lb"
)

// ConnectionSync is connection_sync: vipd's own stream to other directors.
type ConnectionSync struct {
	Peers    []netip.Addr  // If empty, there is none.
	Source   netip.Addr    // own address. If invalid, the kernel chooses.
	Port     uint16        // If zero, 8849.
	Key      []byte        // If empty, datagrams are not authenticated.
	Interval time.Duration // If zero, 100 ms.
	Adopt    bool          // adopt_peer_results: begin with what peers' checks found
	MaxWait  time.Duration // that a director holds back at most; zero: it does not
}

// PeerPort is the default of port.
const PeerPort = 8849

const defaultMaxWait = 2 * time.Minute

var peersBlock = &block{name: "connection_sync", rows: []keyword{
	works("peer", "ADDRESS", "", "Another director, by the address that its datagrams come from; one line for each."+byVipd, addSyncPeer).extension(),
	works("source", "ADDRESS", "the kernel's choice", "The address of this director that its peers name."+byVipd, setPeerSource).extension(),
	works("port", "1..65535", "8849", "UDP port, the same on all directors."+byVipd,
		number(1, 65535, "connection_sync port {value} is not from 1 to 65535 - ignoring", func(l *loader, v int64) { l.cfg.Global.Peering.Port = uint16(v) })).extension(),
	works("key", "VALUE", "datagrams are not authenticated", "Sign and verify datagrams (HMAC-SHA-256): 32 to 64 bytes, as hex:DIGITS, file:PATH or the bytes themselves."+byVipd, setPeerKey).extension(),
	works("interval", "0.02..10", "0.1", "Seconds between two looks at the connections; a large table is looked at less often, so that it costs a twentieth of a processor."+byVipd,
		setPeerInterval).extension(),
	works("adopt_peer_results", "[BOOL]", "off", "Begin with what the checks of peers found, at the start and when ha_suspend ends, until this director's own checks have found something; up if one peer has it up."+byVipd,
		gBool("Invalid value '{value}' for adopt_peer_results", func(g *Global) *bool { return &g.Peering.Adopt })).extension(),
	works("max_wait", "0..3600", "120", "Seconds that a stronger director leaves a weaker master alone at most, until it has the master's connections. 0: it does not wait."+byVipd,
		number(0, 3600, "connection_sync max_wait {value} is not from 0 to 3600 - ignoring", func(l *loader, v int64) { l.cfg.Global.Peering.MaxWait = time.Duration(v) * time.Second })).extension(),
}}

var connectionSync = row(Works, "connection_sync", "", "", "Tell other vipd directors of connections, beside or instead of lvs_sync_daemon: see sync.md."+byVipd).
	begin(func(l *loader, s *stmt) {
		if l.cfg.Global.Peering.MaxWait == 0 {
			l.cfg.Global.Peering.MaxWait = defaultMaxWait
		}
		l.peersAt = place{s.file, s.words[0]}
	}).with(peersBlock, endPeers).extension()

func (l *loader) peerAddress(s *stmt, what string) (netip.Addr, bool) {
	a, ok := plain(s.text(1))
	if !ok || a.IsMulticast() || a.IsUnspecified() {
		l.bad(s, 1, "connection_sync %s %s is not the address of a director - ignoring", what, s.text(1)).Expected = what + " ADDRESS"
		return a, false
	}
	return a, true
}

func addSyncPeer(l *loader, s *stmt) {
	c := &l.cfg.Global.Peering
	a, ok := l.peerAddress(s, "peer")
	switch {
	case !ok:
	case slices.Contains(c.Peers, a):
		l.bad(s, 1, "connection_sync peer %s is there already - ignoring", a)
	default:
		c.Peers = append(c.Peers, a)
	}
}

func setPeerSource(l *loader, s *stmt) {
	if a, ok := l.peerAddress(s, "source"); ok {
		l.cfg.Global.Peering.Source = a
	}
}

func setPeerInterval(l *loader, s *stmt) {
	if d, ok := l.decimal(s, 1, second/50, 10*second, "connection_sync interval {value} is not from 0.02 to 10 - ignoring"); ok {
		l.cfg.Global.Peering.Interval = d
	}
}

// setPeerKey reads a key as auth_hmac has them.
func setPeerKey(l *loader, s *stmt) {
	value := s.text(1)
	if path, isFile := strings.CutPrefix(value, "file:"); isFile {
		data, err := fs.ReadFile(l.in.fsys, inside(path))
		if err != nil || len(data) > hmacFileMax {
			d := l.bad(s, 1, "connection_sync key file '%s' cannot be used", path)
			if d.Hint = fmt.Sprint(err); err == nil {
				d.Hint = "it is too large for a key"
			}
			return
		}
		if info, err := fs.Stat(l.in.fsys, inside(path)); err == nil && info.Mode().Perm()&0o077 != 0 {
			l.bad(s, 1, "connection_sync key file '%s' is readable by group or others", path).Hint = "chmod 600 " + path
		}
		value = strings.TrimRight(string(data), "\r\n")
	}
	key, why := decodeKey(value)
	if why != "" || len(key) < hmacKeyMin || len(key) > hmacKeyMax {
		d := l.bad(s, 1, "connection_sync key length %d not in range [%d, %d]", len(key), hmacKeyMin, hmacKeyMax)
		d.Expected, d.Hint = "32 to 64 bytes; make one with: openssl rand -hex 32, and write hex: before it", why
		return
	}
	l.cfg.Global.Peering.Key = key
}

// endPeers drops what cannot be together.
func endPeers(l *loader) {
	c := &l.cfg.Global.Peering
	if len(c.Peers) == 0 {
		l.after(Warning, "no-sync-peer", l.peersAt, "connection_sync has no peer, and no effect").class = classOurs
		return
	}
	family := c.Peers[0]
	if c.Source.IsValid() {
		family = c.Source
	}
	for _, p := range c.Peers {
		switch {
		case p == c.Source:
			l.after(Warning, "peer-is-self", l.peersAt, fmt.Sprintf("connection_sync peer %s is this director's own source - ignoring", p)).class = classOurs
		case p.Is6() != family.Is6():
			l.after(Warning, "mixed-families", l.peersAt, fmt.Sprintf("connection_sync peer %s is of another address family than %s - ignoring", p, family)).class = classOurs
		}
	}
	c.Peers = slices.DeleteFunc(c.Peers, func(p netip.Addr) bool { return p == c.Source || p.Is6() != family.Is6() })
}

// setTelling reads a service's sync.
func setTelling(l *loader, s *stmt) {
	t, err := lb.ParseTelling(s.text(1))
	if err != nil || s.text(1) == "" {
		l.bad(s, 1, "sync %s is none of usual, established, all, none - ignoring", s.text(1)).Expected = "usual, established, all, none"
		return
	}
	l.vs.Telling = t
}
