package host

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAProcThatHidesProcessesIsKnown(t *testing.T) {
	const plain = "22 1 0:21 / /proc rw,relatime shared:5 - proc proc rw\n"
	for _, tt := range []struct {
		name, mounts string
		want         bool
	}{
		{"as usual", plain, false},
		{"by number", "22 1 0:21 / /proc rw - proc proc rw,hidepid=2\n", true},
		{"by word", "22 1 0:21 / /proc rw shared:5 master:1 - proc proc rw,gid=4,hidepid=invisible\n", true},
		{"zero", "22 1 0:21 / /proc rw - proc proc rw,hidepid=0\n", false},
		{"off", "22 1 0:21 / /proc rw - proc proc rw,hidepid=off\n", false},
		{"one that is mounted over", "22 1 0:21 / /proc rw - proc proc rw,hidepid=2\n" + plain, false},
		{"another one that hides", plain + "23 1 0:22 / /srv/proc rw - proc proc rw,hidepid=2\n", false},
		{"nothing", "", false},
		{"a line that is cut", "22 1 0:21 /\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "mountinfo")
			if err := os.WriteFile(path, []byte(tt.mounts), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := hidesProcesses(path); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
