package conf

import (
	goflag "flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = goflag.Bool("update", false, "write the expected messages of testdata/bad anew")

// There is one bad file per mistake, with what a person is told about it beside it.
func TestBadFiles(t *testing.T) {
	names, err := filepath.Glob("testdata/bad/*.conf")
	if err != nil || len(names) == 0 {
		t.Fatalf("no bad files: %v", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			_, _, all := Load(os.DirFS(filepath.Dir(name)), filepath.Base(name), Options{})
			if len(all) == 0 {
				t.Error("nothing is said about it")
			}
			var b strings.Builder
			for _, d := range all {
				b.WriteString(d.Long())
			}
			golden := strings.TrimSuffix(name, ".conf") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}
