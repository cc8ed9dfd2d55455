package vm

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vipd/internal/need"
)

func TestArchiveIsReadByCpio(t *testing.T) {
	need.Root(t) // for the device
	cpio := exec.Command(busybox, "cpio", "-i", "-d")
	cpio.Dir = t.TempDir()
	a := newArchive()
	a.file("/a/b/text", 0o640, []byte("odd"))
	a.file("/a/b/text", 0o600, []byte("a second one is not written"))
	a.link("/a/link", "b/text")
	a.device("/dev/console", 5, 1)
	cpio.Stdin = strings.NewReader(string(a.end()))
	if out, err := cpio.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(cpio.Dir, "a/link"))
	if err != nil || string(text) != "odd" {
		t.Errorf("through the link: %q, %v", text, err)
	}
	for name, want := range map[string]os.FileMode{"a": os.ModeDir | 0o755, "a/b/text": 0o640, "dev/console": os.ModeDevice | os.ModeCharDevice | 0o600} {
		if info, err := os.Lstat(filepath.Join(cpio.Dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestProgramComesWithTheLibrariesThatTheLoaderNames(t *testing.T) {
	ldd, err := exec.Command(need.Tool(t, "ldd"), need.Tool(t, "tcpdump")).Output()
	if err != nil {
		t.Fatal(err)
	}
	a := newArchive()
	if err := a.program("/usr/bin/tcpdump", need.Tool(t, "tcpdump")); err != nil {
		t.Fatal(err)
	}
	want := 0
	for line := range strings.Lines(string(ldd)) {
		name := strings.Fields(line)[0] // libc.so.6 => …, or the interpreter's path
		if strings.HasPrefix(name, "linux-vdso") {
			continue
		}
		want++
		if !a.have[name] && !a.have["/lib/"+name] {
			t.Errorf("%s is not there", name)
		}
	}
	if want < 2 {
		t.Errorf("ldd names %d files", want)
	}
}

const dep = `kernel/net/a-b.ko:
kernel/net/c.ko.xz: kernel/net/a-b.ko kernel/lib/d.ko
kernel/lib/d.ko:
kernel/net/ab.ko:
`

func TestModulesComeWithThoseTheyNeed(t *testing.T) {
	d := parseDependencies(dep)
	for want, files := range map[string][]string{
		"c":   {"kernel/lib/d.ko", "kernel/net/a-b.ko", "kernel/net/c.ko.xz"},
		"a_b": {"kernel/net/a-b.ko"},
		"a*":  {"kernel/net/a-b.ko", "kernel/net/ab.ko"},
		"x*":  nil,
	} {
		got, err := d.find([]string{want})
		if err != nil || !cmp.Equal(got, files) {
			t.Errorf("%s: %v, %v", want, got, err)
		}
	}
	if _, err := d.find([]string{"nosuch"}); err == nil {
		t.Error("a module that the kernel does not have is not missed")
	}
	if got := aliases("# x\nalias net-pf-1 c\nalias net-pf-2 d\nodd\n", map[string]bool{"c": true}); got != "alias net-pf-1 c\n" {
		t.Errorf("aliases: %q", got)
	}
}

func FuzzModules(f *testing.F) {
	f.Add(dep, "c")
	f.Add(": :\nkernel/x.ko", "*")
	f.Fuzz(func(t *testing.T, text, want string) {
		d := parseDependencies(text)
		files, err := d.find([]string{want})
		if err != nil && len(files) > 0 {
			t.Errorf("%q of %q: %v and %v", want, text, files, err)
		}
	})
}
