package control

import (
	"bytes"
	"encoding/json"
	"testing"

	"vipd/internal/lb"
)

// FuzzAnswer reads what a hostile server may send: it must not panic, and what is taken must survive another trip.
func FuzzAnswer(f *testing.F) {
	full, _ := json.Marshal(fullStatus())
	f.Add(full)
	f.Add(appendConn(appendConn(nil, someConn(3)), lb.Conn{}))
	f.Add([]byte(`{"services":[{"protocol":"tcp","address":"10.0.8.9","port":80,"flags":["flag-9"],"persistence_seconds":-1}]}`))
	f.Add([]byte(`{"protocol":"256","client":"x","forward":"300"}`))
	f.Add([]byte(`{"tcp":9223372036854775807,"udp":-5}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s Status
		if readAnswer(bytes.NewReader(b), 1<<20, &s) == nil {
			if _, err := json.Marshal(s); err != nil {
				t.Errorf("a status that was read cannot be written: %v", err)
			}
		}
		var times timeoutsJSON
		if readAnswer(bytes.NewReader(b), 1<<20, &times) == nil {
			if got := times.timeouts(); got.TCP < 0 || got.TCPFin < 0 || got.UDP < 0 {
				t.Errorf("negative timeouts %v", got)
			}
		}
		readConns(bytes.NewReader(b), func(c lb.Conn) bool {
			if c.Expires < 0 {
				t.Errorf("negative expiry %v", c.Expires)
			}
			line := appendConn(nil, c)
			quick, err := parseConn(line)
			slow, err2 := parseConn(append([]byte(" "), line...))
			if err != nil || err2 != nil || quick != slow {
				t.Errorf("%+v was read; its line %q gives %+v, %v and %+v, %v", c, line, quick, err, slow, err2)
			}
			return true
		})
	})
}
