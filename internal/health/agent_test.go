package health

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestParseAgent(t *testing.T) {
	for line, want := range map[string]Agent{
		"up":                             {Percent: -1, State: "up"},
		" up\t75%\r\n":                   {Percent: 75, State: "up"},
		"ready,100%,maxconn:30":          {Percent: 100, Admin: "ready"},
		"up 100%;drain":                  {Percent: -1, State: "up"},
		"down,#x#y":                      {Percent: -1, State: "down", Reason: "x#y"},
		"drain":                          {Percent: -1, Admin: "drain"},
		"down # out of disk, I am sorry": {Percent: -1, State: "down", Reason: "out of disk, I am sorry"},
		"stopped #":                      {Percent: -1, State: "stopped"},
		"up # well":                      {Percent: -1, State: "up"},
		"READY Drain":                    {Percent: -1, Admin: "drain"},
		"down up":                        {Percent: -1, State: "up"},
		"0% what else":                   {Percent: 0},
		"99999%":                         {Percent: 25600},
		"maxconn:3":                      {Percent: -1},
	} {
		if got, err := ParseAgent(line); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", line, got, err, want)
		}
	}
	for _, line := range []string{"", "%", "-5%", "#up", "down#x", "1.5%", strings.Repeat("x", 1000)} {
		if got, err := ParseAgent(line); err == nil {
			t.Errorf("%q: %+v", line, got)
		}
	}
}

func FuzzParseAgent(f *testing.F) {
	for _, seed := range []string{"up 75%", "down # reason", "maint,drain;ready", "\xff#\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		a, err := ParseAgent(line)
		if err != nil {
			return
		}
		if a.Percent < -1 || a.Percent > maxPercent || len(a.Reason) > maxReason || !utf8.ValidString(a.Reason) ||
			strings.ContainsFunc(a.Reason, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q: %+v", line, a)
		}
	})
}
