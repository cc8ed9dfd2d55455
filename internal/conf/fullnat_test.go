package conf

import (
	"fmt"
	"slices"
	"testing"
	"testing/fstest"
)

func clampedService(line string) fstest.MapFS {
	return fstest.MapFS{"f.conf": {Data: []byte("virtual_server 10.0.8.9 80 {\n\t" + line + "\n" + onePool[len("virtual_server 10.0.8.9 80 {\n"):])}}
}

// TestWordsOfAServiceThatKeepalivedDoesNotHave: what they mean, and what is said of values that mean nothing.
func TestWordsOfAServiceThatKeepalivedDoesNotHave(t *testing.T) {
	for line, want := range map[string]string{
		"mss_clamp":                           "1, ",
		"mss_clamp 1400":                      "1400, ",
		"mss_clamp 87":                        "0, ",
		"mss_clamp 65496":                     "0, ",
		"mss_clamp much":                      "0, ",
		"fullnat 10.0.8.25":                   "0, 10.0.8.25",
		"fullnat 10.0.8.25-28":                "0, 10.0.8.25-10.0.8.28",
		"fullnat 10.0.8.28-25":                "0, ",
		"fullnat pool":                        "0, ",
		"fullnat 10.0.0.0-10.0.1.0":           "0, ",
		"fullnat 10.0.8.25-28\n\tmss_clamp 9": "0, 10.0.8.25-10.0.8.28",
		"fullnat 10.0.8.25\n\tsend_proxy_v2":  "0, 10.0.8.25, PROXY",
		"send_proxy_v2":                       "0, ",
	} {
		cfg, _, diags := Load(clampedService(line), "f.conf", Options{})
		s := cfg.Health.Services[0]
		got := fmt.Sprintf("%d, %v", s.Segment, s.Locals)
		if s.Proxy {
			got += ", PROXY"
		}
		if got != want {
			t.Errorf("%q is %q, want %q", line, got, want)
		}
		bad := want == "0, " || line[len(line)-1] == '9'
		if (len(diags) != 0) != bad {
			t.Errorf("%q: said %v", line, diags)
		}
	}
	for _, word := range []string{"mss_clamp", "fullnat"} {
		out, exit := Test(clampedService(word+" 1400"), "f.conf", host(t))
		if !slices.Contains(out, "(f.conf: Line 2) Unknown keyword '"+word+"'") || exit != 5 {
			t.Errorf("as keepalived: exit %d, %q", exit, out)
		}
	}
}
