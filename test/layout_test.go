package test

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

// TestAnotherLayoutIsSaidAndLeft: a packet path of another version is left as it is, and the start says which it is, that it
// forwards still, and what to do; --discard begins anew.
func TestAnotherLayoutIsSaidAndLeft(t *testing.T) {
	if !alone(t, 2*time.Minute) {
		return
	}
	addCables(t)
	before := left(t)
	text := strings.Replace(siteFile(t, "eth0"), "priority 100", "priority 255", 1)
	file := write(t, t.TempDir(), "owner.conf", text)
	run := startRun(t, "-f", file)
	eventually(t, 40*time.Second, "the address is there", func() bool { return strings.Contains(strings.Join(links(t), "\n"), "10.0.8.9/32") })
	run.end(t, syscall.SIGKILL)
	meta, err := ebpf.LoadPinnedMap("/sys/fs/bpf/vipd/default/meta", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer meta.Close()
	value, err := meta.LookupBytes(uint32(0))
	if err != nil {
		t.Fatal(err)
	}
	value[0], value[24] = 99, 99 // layout, and since which one its words mean the same
	if err := meta.Put(uint32(0), value); err != nil {
		t.Fatal(err)
	}
	stands := standing(t)
	o := vipd(t, "run", "-f", file)
	for _, said := range []string{"it has layout ", ", this version needs ", "; nothing was touched; it goes on forwarding on eth0, ", "hint: ", "--discard"} {
		if o.code != 1 || !strings.Contains(o.stderr, said) {
			t.Errorf("without %q: %s", said, o)
		}
	}
	if now := standing(t); !slices.Equal(stands, now) {
		t.Errorf("stood before:\n%q\nand after:\n%q", stands, now)
	}
	run = startRun(t, "-f", file, "--discard")
	eventually(t, 40*time.Second, "the next one is master", func() bool { return strings.Contains(vipd(t, "status").stdout, "MASTER") })
	if code := run.end(t, syscall.SIGTERM); code != 0 || !strings.Contains(run.log.String(), "is removed and its connections are lost: ") {
		t.Errorf("the next one ended with exit code %d and said:\n%s", code, run.log)
	}
	nothingNew(t, before)
}
