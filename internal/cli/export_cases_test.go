package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryConfigurationAtHandBecomesOneThatHAProxyTakes: those of package conf's tests, with all that its language can say.
func TestEveryConfigurationAtHandBecomesOneThatHAProxyTakes(t *testing.T) {
	var files []string
	err := filepath.WalkDir("../conf/testdata", func(path string, d os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".conf") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	for _, file := range files {
		switch out, errs, code := exported(t, nil, file); {
		case code == 0:
			taken++
			haproxyTakes(t, out)
		case code == 1 && strings.HasPrefix(errs, "vipd: export: "), code == 2 && strings.Contains(errs, "is refused: a director would not start with it"):
		default:
			t.Errorf("%s: exit %d: %s", file, code, errs)
		}
	}
	if taken < 20 {
		t.Errorf("of %d files %d were written", len(files), taken)
	}
}
