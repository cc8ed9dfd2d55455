package control

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"vipd/internal/lb"
)

// connJSON is a connection as one line of /v1/conns.
type connJSON struct {
	Protocol string         `json:"protocol"`
	Client   netip.AddrPort `json:"client"`
	Virtual  netip.AddrPort `json:"virtual"`
	Real     netip.AddrPort `json:"real"`
	Forward  string         `json:"forward"`
	State    uint8          `json:"state"`      // number, as on the wire of the sync protocol
	Name     string         `json:"state_name"` // the same for people: ESTABLISHED, UDP, ASSURED
	Template bool           `json:"template"`
	Assured  bool           `json:"assured"`
	Packets  uint32         `json:"packets"`
	Expires  int64          `json:"expires_ms"`
	Engine   string         `json:"engine,omitempty"`      // of a template
	Data     []byte         `json:"engine_data,omitempty"` // base64: it comes from clients
}

// appendConn writes c as one line. By hand, since a listing has a million of them; TestConnLines holds it against connJSON.
func appendConn(b []byte, c lb.Conn) []byte {
	b = append(b, `{"protocol":"`...)
	b = append(b, protocolName(c.Protocol)...)
	b = append(b, `","client":"`...)
	b = appendAddr(b, c.Client)
	b = append(b, `","virtual":"`...)
	b = appendAddr(b, c.Virtual)
	b = append(b, `","real":"`...)
	b = appendAddr(b, c.Real)
	b = append(b, `","forward":"`...)
	b = append(b, nameOf(forwards, uint8(c.Forward))...)
	b = append(b, `","state":`...)
	b = strconv.AppendUint(b, uint64(c.State), 10)
	b = append(b, `,"state_name":"`...)
	b = append(b, c.StateName()...)
	b = append(b, `","template":`...)
	b = strconv.AppendBool(b, c.Template)
	b = append(b, `,"assured":`...)
	b = strconv.AppendBool(b, c.Assured)
	b = append(b, `,"packets":`...)
	b = strconv.AppendUint(b, uint64(c.Packets), 10)
	b = append(b, `,"expires_ms":`...)
	b = strconv.AppendInt(b, c.Expires.Milliseconds(), 10)
	if c.Engine != "" {
		name, _ := json.Marshal(c.Engine)
		b = append(append(b, `,"engine":`...), name...)
	}
	if c.EngineData != "" {
		b = append(b, `,"engine_data":"`...)
		b = append(base64.StdEncoding.AppendEncode(b, []byte(c.EngineData)), '"')
	}
	return append(b, '}', '\n')
}

// appendAddr drops a zone: it is free text, and no connection has one.
func appendAddr(b []byte, a netip.AddrPort) []byte {
	if !a.Addr().IsValid() {
		return b
	}
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port()).AppendTo(b)
}

// parseConn reads one line of /v1/conns: quickly if it is written as appendConn writes it, else as any JSON.
func parseConn(line []byte) (lb.Conn, error) {
	if c, ok := scanConn(line); ok {
		return c, nil
	}
	var j connJSON
	if err := json.Unmarshal(line, &j); err != nil {
		return lb.Conn{}, fmt.Errorf("read a connection: %w", err)
	}
	c := lb.Conn{Client: j.Client, Virtual: j.Virtual, Real: j.Real, State: lb.State(j.State), Template: j.Template,
		Assured: j.Assured, Packets: j.Packets, Engine: j.Engine, EngineData: string(j.Data)}
	if j.Protocol != "ip" {
		p, err := numberOf(protocols, j.Protocol)
		if err != nil {
			return lb.Conn{}, fmt.Errorf("read a connection: %w", err)
		}
		c.Protocol = lb.Protocol(p)
	}
	f, err := numberOf(forwards, j.Forward)
	if err != nil {
		return lb.Conn{}, fmt.Errorf("read a connection: %w", err)
	}
	c.Forward = lb.Forward(f)
	const most = int64(1<<63-1) / int64(time.Millisecond)
	c.Expires = time.Duration(max(0, min(j.Expires, most))) * time.Millisecond
	return c, nil
}

// scanConn takes a line of appendConn apart, field by field; encoding/json needs ten times as long.
func scanConn(line []byte) (c lb.Conn, ok bool) {
	ok = true
	field := func(before, after string) []byte {
		value, rest, found := bytes.Cut(line, []byte(after))
		value, starts := bytes.CutPrefix(value, []byte(before))
		ok, line = ok && found && starts, rest
		return value
	}
	number := func(name string, bits int) uint64 {
		n, err := strconv.ParseUint(string(field(`"`+name+`":`, ",")), 10, bits)
		ok = ok && err == nil
		return n
	}
	truth := func(name string) bool {
		v := string(field(`"`+name+`":`, ","))
		ok = ok && (v == "true" || v == "false")
		return v == "true"
	}
	end := func(name string) netip.AddrPort {
		a, err := netip.ParseAddrPort(string(field(`"`+name+`":"`, `",`)))
		ok = ok && err == nil
		return a
	}
	proto, known := quickProtocols[string(field(`{"protocol":"`, `",`))]
	ok = ok && known
	c = lb.Conn{Protocol: proto, Client: end("client"), Virtual: end("virtual"), Real: end("real")}
	forward, err := numberOf(forwards, string(field(`"forward":"`, `",`)))
	ok = ok && err == nil
	c.Forward, c.State = lb.Forward(forward), lb.State(number("state", 8))
	field(`"state_name":"`, `",`)
	c.Template, c.Assured, c.Packets = truth("template"), truth("assured"), uint32(number("packets", 32))
	ms, err := strconv.ParseUint(string(field(`"expires_ms":`, "}\n")), 10, 43) // what a duration can hold
	c.Expires = time.Duration(ms) * time.Millisecond
	return c, ok && err == nil && len(line) == 0
}

var quickProtocols = map[string]lb.Protocol{"tcp": lb.TCP, "udp": lb.UDP, "sctp": lb.SCTP, "ip": lb.IP}
