package conf

import (
	"encoding/hex"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"vipd/internal/vrrp"
)

var hmacBlock = &block{name: "auth_hmac", rows: []keyword{
	works("key", "ID VALUE", "", "A key, 32 to 64 bytes: hex:DIGITS, file:PATH or the bytes themselves.", hmacKey),
	works("active_key", "ID", "", "The key that signs.", number(1, 255, "({vi}) auth_hmac active_key '{value}' must be between 1 and 255", func(l *loader, v int64) { l.vi.HMAC.Active = uint8(v) })),
	works("time_window", "1..300", "three advert_int, at least 5", "Seconds that clocks may differ.", number(1, 300, "({vi}) auth_hmac time_window '{value}' must be between 1 and 300 seconds", func(l *loader, v int64) { l.vi.HMAC.Window = time.Duration(v) * time.Second })),
	works("anti_replay", "time|monotonic", "time", "How old adverts are refused.", choice("({vi}) auth_hmac anti_replay '{value}' must be time or monotonic", func(l *loader, v string) { l.vi.HMAC.Monotonic = v == "monotonic" }, "time", "monotonic")),
	works("mode", "enforce|permissive|receive-only", "enforce", "What happens to adverts without a signature.", choice("({vi}) auth_hmac mode '{value}' must be enforce, permissive or receive-only", setHMACMode, "enforce", "permissive", "receive-only")),
}}

// Lengths of keys, and how much of a key file is read: "hex:", the digits of the longest key and some more.
const (
	hmacKeyMin  = 32
	hmacKeyMax  = 64
	hmacFileMax = 4 + 2*hmacKeyMax + 8
)

func setHMACMode(l *loader, v string) {
	for _, m := range []vrrp.HMACMode{vrrp.HMACEnforce, vrrp.HMACPermissive, vrrp.HMACReceiveOnly} {
		if m.String() == v {
			l.vi.HMAC.Mode = m
		}
	}
}

// hmacKey keeps one key: ID VALUE.
func hmacKey(l *loader, s *stmt) {
	id, ok := l.integer(s, 1, 1, 255, "({vi}) auth_hmac key id '{value}' must be between 1 and 255")
	if !ok {
		return
	}
	value := s.text(2)
	if path, isFile := strings.CutPrefix(value, "file:"); isFile {
		if value, ok = l.keyFile(s, path); !ok {
			return
		}
	}
	key, why := decodeKey(value)
	switch {
	case why != "" || len(key) < hmacKeyMin || len(key) > hmacKeyMax:
		d := l.bad(s, 2, "(%s) auth_hmac key %d length %d not in range [%d, %d]", l.vi.Name, id, len(key), hmacKeyMin, hmacKeyMax)
		d.Expected = "32 to 64 bytes; make one with: openssl rand -hex 32, and write hex: before it"
		if why != "" {
			d.Hint = why
		}
	case l.vi.HMAC.Keys[uint8(id)] != nil:
		l.bad(s, 1, "(%s) duplicate auth_hmac key id %d", l.vi.Name, id)
	default:
		if l.vi.HMAC.Keys == nil {
			l.vi.HMAC.Keys = map[uint8][]byte{}
		}
		l.vi.HMAC.Keys[uint8(id)] = key
	}
}

// decodeKey reads a value: after hex: the digits of the bytes, else the bytes. The second value says what is wrong.
func decodeKey(value string) ([]byte, string) {
	digits, isHex := strings.CutPrefix(value, "hex:")
	if !isHex {
		return []byte(value), ""
	}
	key, err := hex.DecodeString(digits)
	if err != nil {
		return nil, "hex: wants pairs of hexadecimal digits"
	}
	return key, ""
}

// keyFile reads a key from a file, which keeps the secret out of the configuration.
func (l *loader) keyFile(s *stmt, path string) (string, bool) {
	data, err := fs.ReadFile(l.in.fsys, inside(path))
	switch {
	case err != nil:
		l.bad(s, 2, "(%s) auth_hmac key file '%s' cannot be opened", l.vi.Name, path).Hint = fmt.Sprint(err)
		return "", false
	case len(data) > hmacFileMax:
		l.bad(s, 2, "(%s) auth_hmac key file '%s' is too large", l.vi.Name, path)
		return "", false
	}
	if info, err := fs.Stat(l.in.fsys, inside(path)); err == nil && info.Mode().Perm()&0o077 != 0 {
		l.bad(s, 2, "(%s) auth_hmac key file '%s' is readable by group or others", l.vi.Name, path).Hint = "chmod 600 " + path
	}
	return strings.TrimRight(string(data), "\r\n"), true
}

// settleHMAC resolves auth_hmac with what else the instance says.
func (l *loader) settleHMAC(v *instance) {
	h := &v.HMAC
	if !v.hmacSet {
		return
	}
	if v.AuthType != vrrp.AuthNone {
		l.conflict(v, "auth_hmac cannot be combined with authentication, dropping legacy auth")
		v.AuthType = vrrp.AuthNone
	}
	if h.Keys[h.Active] == nil {
		l.conflict(v, fmt.Sprintf("auth_hmac active_key %d is not defined, disabling extension", h.Active)).
			Hint = "adverts are neither signed nor verified: add a key of that id"
		*h = vrrp.HMAC{}
		return
	}
	if v.Strict && h.Mode != vrrp.HMACEnforce {
		l.conflict(v, "strict mode requires auth_hmac mode enforce")
		h.Mode = vrrp.HMACEnforce
	}
}
