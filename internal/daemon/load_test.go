package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"
)

// TestAFileThatIsNoneIsRefused: and one with a NUL in a line runs without that line, as with keepalived.
func TestAFileThatIsNoneIsRefused(t *testing.T) {
	const text = "vrrp_instance A {\n interface lo\n virtual_router_id 1\n virtual_ipaddress {\n 10.0.0.9\n }\n}\n"
	wide := ""
	for _, c := range utf16.Encode([]rune(text)) {
		wide += string([]byte{byte(c), byte(c >> 8)})
	}
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		text    string
		refused bool
	}{
		"a program":             {string(program[:1<<16]), true},
		"UTF-16":                {wide, true},
		"a NUL in one line":     {"! \x00\n" + text, false},
		"an empty file":         {"", false},
		"nothing but a comment": {"# later\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "vipd.conf")
			if err := os.WriteFile(path, []byte(row.text), 0o644); err != nil {
				t.Fatal(err)
			}
			d := &daemon{events: quiet(t, &strings.Builder{})}
			_, err := d.read(path)
			var failure *Failure
			if refused := errors.As(err, &failure) && failure.Code == ExitConfig; refused != row.refused || err != nil && !refused {
				t.Errorf("%v, want it refused: %t", err, row.refused)
			}
		})
	}
}
