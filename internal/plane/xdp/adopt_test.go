package xdp

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"vipd/bpf"
	"vipd/internal/lb"
	"vipd/internal/plane"
	"vipd/internal/plane/planetest"
)

// kill does to p what the end of its process does: descriptors are closed and nothing else happens.
func kill(p *Plane) { p.release() }

func TestASuccessorFindsEverything(t *testing.T) {
	opts := small
	opts.PinDir = pinDir(t)
	first := opened(t, opts)
	sticky := planetest.Web
	sticky.Persistence, sticky.Wild = time.Minute, lb.WildOf(24, false)
	do(t, first, add(sticky, planetest.Server(12, 1), planetest.Server(13, 2), planetest.Server(14, 0))...)
	do(t, first, add(planetest.DNS, planetest.Server(12, 1))...)
	if err := first.SetTimeouts(lb.Timeouts{UDP: 70 * time.Second}); err != nil {
		t.Fatal(err)
	}
	traffic := runner{first}
	traffic.Connect(t, sticky, port(40000))
	traffic.Connect(t, planetest.DNS, port(40001))
	_, to := traffic.pass(t, sticky.ServiceKey, port(40000), "A")
	if err := first.Zero(&planetest.DNS.ServiceKey); err != nil {
		t.Fatal(err)
	}
	before, _ := first.Read()
	if before[0].Total.Conns != 1 || before[1].Total.Conns != 0 || before[1].Reals[0].Active+before[1].Reals[0].Inactive != 1 {
		t.Fatalf("counted %+v", before)
	}
	listed := conns(t, first)
	if len(listed) != 3 {
		t.Fatalf("%d connections, want two and a template: %+v", len(listed), listed)
	}
	kill(first)

	second := opened(t, opts)
	if !second.Adopted() {
		t.Fatal("not adopted")
	}
	after, err := second.Read()
	if err != nil {
		t.Fatal(err)
	}
	if len(after) != len(before) {
		t.Fatalf("%d services, want %d", len(after), len(before))
	}
	for i := range before {
		if before[i].Service != after[i].Service || before[i].Total != after[i].Total || !slices.Equal(before[i].Reals, after[i].Reals) {
			t.Errorf("before %+v\nafter %+v", before[i], after[i])
		}
	}
	if d, _ := second.Timeouts(); d.UDP != 70*time.Second {
		t.Errorf("timeouts %+v", d)
	}
	if again := conns(t, second); len(again) != len(listed) {
		t.Errorf("%d connections, want %d", len(again), len(listed))
	}
	verdict, now := runner{second}.pass(t, sticky.ServiceKey, port(40000), "A")
	if verdict != xdpTX || now != to {
		t.Errorf("verdict %d, to %x; before to %x", verdict, now, to)
	}
	if hop, ok := second.Hop(planetest.Server(13, 0).Addr.Addr()); !ok || hop.Ifindex != 1 {
		t.Errorf("hop %+v, %v", hop, ok)
	}
	do(t, second, plane.Diff(plane.Pools(after), plane.Pools(after))...)
	sweeps(t, second)
}

// sweeps fails unless the sweep's timer runs.
func sweeps(t *testing.T, p *Plane) {
	t.Helper()
	turns := func() uint32 {
		var s bpf.LbSweeper
		if err := p.maps.get(bpf.LbMapSweepTimer, 0, &s); err != nil {
			t.Fatal(err)
		}
		return s.Turns
	}
	first := turns()
	for range 100 {
		if turns() != first {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("the sweep's timer does not run")
}

func TestARemovedRealServerIsKnownToTheSuccessor(t *testing.T) {
	opts := small
	opts.PinDir = pinDir(t)
	first := opened(t, opts)
	do(t, first, add(planetest.Web, planetest.Server(12, 1))...)
	runner{first}.Connect(t, planetest.Web, port(40000))
	do(t, first, plane.Op{Verb: plane.DelService, Service: planetest.Web})
	kill(first)

	second := opened(t, opts)
	if err := second.reap(true); err != nil {
		t.Fatal(err)
	}
	if list := conns(t, second); len(list) != 1 || list[0].Real != planetest.Server(12, 0).Addr {
		t.Fatalf("connections %+v", list)
	}
	do(t, second, add(planetest.Web, planetest.Server(14, 1), planetest.Server(12, 1))...)
	pools, _ := second.Read()
	if r := pools[0].Reals[1]; r.Active != 1 {
		t.Errorf("real server %+v, want its connection", r)
	}
	if verdict, to := (runner{second}).pass(t, planetest.Web.ServiceKey, port(40000), "A"); verdict != xdpTX || to[5] != 12 {
		t.Errorf("verdict %d, to %x", verdict, to)
	}
}

func TestAnotherLayoutIsRefusedAndLeftAlone(t *testing.T) {
	opts := small
	opts.PinDir = pinDir(t)
	first := opened(t, opts)
	do(t, first, add(planetest.Web, planetest.Server(12, 1))...)
	roads := roadOf(t, first)
	spoil := func(m meta) {
		if err := first.maps.put(metaMap, 0, m); err != nil {
			t.Fatal(err)
		}
		first.lock.Close() // the lock is the process's
	}
	refused := func(opts Options, text string) {
		t.Helper()
		before := pinned(opts.PinDir)
		_, err := Open(opts)
		if !errors.Is(err, ErrLayout) || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v, want ErrLayout with %q", err, text)
		}
		if after := pinned(opts.PinDir); !slices.Equal(before, after) {
			t.Errorf("pins %v, were %v", after, before)
		}
		if road := roadOf(t, first); road != roads {
			t.Errorf("road %d is another program than %d: something was touched", road, roads)
		}
	}
	good := first.meta
	for _, c := range []struct {
		text   string
		change func(*meta)
	}{
		{"it has layout 99, this version needs", func(m *meta) { m.Layout, m.Since = 99, 99 }},
		{"it counts time in", func(m *meta) { m.Hz++ }},
		{"it says 3 regions", func(m *meta) { m.Regions = 3 }},
		{"map region", func(m *meta) { m.Regions *= 2 }},
	} {
		bad := good
		c.change(&bad)
		spoil(bad)
		any := opts
		any.TableSize = 0
		refused(any, c.text)
	}
	spoil(good)
	larger := opts
	larger.TableSize *= 4
	refused(larger, "has 1024 lines, 4096 are wanted")
	more := opts
	more.Reals *= 2
	refused(more, "map members: MaxEntries: ")
	var whole bpf.LbPool
	index := first.services[planetest.Web.ServiceKey].pool
	if err := first.maps.get(bpf.LbMapPools, index, &whole); err != nil {
		t.Fatal(err)
	}
	first.maps.put(bpf.LbMapPools, index, bpf.LbPool{First: 7, Count: 1})
	refused(opts, "at member 7; nothing was touched; it is on no interface")
	first.maps.put(bpf.LbMapPools, index, whole)
	stray := filepath.Join(opts.PinDir, linkPrefix+"9999")
	if other, err := first.maps[metaMap].Clone(); err != nil || other.Pin(stray) != nil {
		t.Fatal("a map under a link's name: ", err)
	}
	refused(opts, "pin link_9999: ")
	os.Remove(stray)
	os.Remove(filepath.Join(opts.PinDir, bpf.LbMapMembers))
	refused(opts, "map members: ")
	os.Remove(filepath.Join(opts.PinDir, metaMap))
	refused(opts, "there is no meta")

	kill(first)
	if err := Remove(opts.PinDir); err != nil {
		t.Fatal(err)
	}
	if err := Remove(opts.PinDir); err != nil {
		t.Errorf("nothing to remove: %v", err)
	}
}

// roadOf is the id of the program that IPv4's road is.
func roadOf(t *testing.T, p *Plane) (id uint32) {
	t.Helper()
	if err := p.maps.get(bpf.LbMapRoads, uint32(bpf.LbRoadROAD_IPV4), &id); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestMapsThatDoNotFitTogetherAreRefused(t *testing.T) {
	p := opened(t, small)
	do(t, p, add(planetest.Web, planetest.Server(12, 1))...)
	do(t, p, add(planetest.DNS, planetest.Server(12, 1))...)
	web := p.services[planetest.Web.ServiceKey]
	refused := func(text string) {
		t.Helper()
		if _, err := readState(p.maps, p.clock); !errors.Is(err, ErrLayout) || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v, want ErrLayout with %q", err, text)
		}
	}
	member := bpf.LbMember{Real: p.services[planetest.DNS.ServiceKey].reals[0].index}
	p.maps.put(bpf.LbMapMembers, web.first, member)
	refused("is in two pools")
	member.Real = noReal
	p.maps.put(bpf.LbMapMembers, web.first, member)
	refused("is in two pools")
	p.maps.put(bpf.LbMapPools, web.pool, bpf.LbPool{First: 7, Count: 1})
	refused("at member 7")
	entry := web.entry(p.clock)
	entry.Pool = 1 << 30
	p.maps.put(bpf.LbMapServices, web.index, entry)
	refused("read pools")
	if err := p.maps[bpf.LbMapServiceIndex].Update(keyOf(planetest.Web.ServiceKey), uint32(1<<30), ebpf.UpdateExist); err != nil {
		t.Fatal(err)
	}
	refused("have index")
}

func TestOneDirectoryHasOneProcess(t *testing.T) {
	opts := small
	opts.PinDir = pinDir(t)
	opened(t, opts)
	if _, err := Open(opts); !errors.Is(err, ErrBusy) {
		t.Errorf("error %v, want ErrBusy", err)
	}
	if err := Remove(opts.PinDir); !errors.Is(err, ErrBusy) {
		t.Errorf("error %v, want ErrBusy", err)
	}
}

func TestWhatADeadProcessLeftHalfDoneIsClearedAway(t *testing.T) {
	opts := small
	opts.PinDir = pinDir(t)
	temp := opts.PinDir + "~"
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, dir := range []string{temp, opts.PinDir} { // killed in create; a directory that somebody made
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Pin(filepath.Join(temp, "regions")); err != nil {
		t.Fatal(err)
	}
	p := opened(t, opts)
	if p.Adopted() {
		t.Error("adopted an empty directory")
	}
	if _, err := os.Stat(temp); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is there: %v", temp, err)
	}
}

func TestAPinDirectoryMustBeInABPFFileSystem(t *testing.T) {
	opts := small
	opts.PinDir = filepath.Join(t.TempDir(), "one")
	if _, err := Open(opts); !errors.Is(err, ErrNoBPFFS) {
		t.Errorf("error %v, want ErrNoBPFFS", err)
	}
	opts.PinDir = "/sys/fs/bpf/vipd/a.b"
	if _, err := Open(opts); err == nil || !strings.Contains(err.Error(), "dots") {
		t.Errorf("error %v", err)
	}
}

func TestWithoutTheRightToBPFTheErrorSaysSo(t *testing.T) {
	if dir := os.Getenv("XDP_TEST_NOBODY"); dir != "" {
		_, err := Open(Options{PinDir: dir, TableSize: 64})
		fmt.Println(errors.Is(err, ErrPermission), err)
		return
	}
	dir := pinDir(t)
	child := exec.Command(os.Args[0], "-test.run=^TestWithoutTheRightToBPFTheErrorSaysSo$")
	child.Env = append(os.Environ(), "XDP_TEST_NOBODY="+dir)
	child.Dir = "/"
	// A user's namespace: uid 0 there, and no right here.
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 65534, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 65534, Size: 1}}}
	out, err := child.Output()
	if err != nil {
		t.Fatalf("run without rights: %v", err)
	}
	want := "true open " + dir + ": ask the kernel for BPF: not permitted to use BPF: root or CAP_BPF and CAP_NET_ADMIN are needed\n"
	if !strings.HasPrefix(string(out), want) {
		t.Errorf("%s\nwant %s", out, want)
	}
}

// A process that changes its services without pause is killed in the middle of it. Its successor finds a state that it
// understands, with the connection that was there and the services that are not changed, and can go on.
func TestKilledWhileItWrites(t *testing.T) {
	opts := small
	if dir := os.Getenv("XDP_TEST_CHANGE_FOR_EVER"); dir != "" {
		opts.PinDir = dir
		changeForEver(t, opts)
		return
	}
	opts.PinDir = pinDir(t)
	first := opened(t, opts)
	do(t, first, add(planetest.DNS, planetest.Server(12, 1))...)
	runner{first}.Connect(t, planetest.DNS, port(40000))
	kill(first)
	for i := range 3 {
		child := exec.Command(os.Args[0], "-test.run=^TestKilledWhileItWrites$")
		child.Env = append(os.Environ(), "XDP_TEST_CHANGE_FOR_EVER="+opts.PinDir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		time.Sleep(time.Duration(3+7*i) * time.Millisecond)
		child.Process.Kill()
		child.Wait()
		if line != "changing\n" {
			t.Fatalf("the child said %q, %v", line, err)
		}
	}
	second := opened(t, opts)
	have, err := second.Read()
	if err != nil {
		t.Fatal(err)
	}
	want := []lb.Pool{{Service: planetest.DNS, Reals: []lb.Real{planetest.Server(12, 1)}}}
	do(t, second, plane.Diff(plane.Pools(have), want)...)
	planetest.Want(t, second, want)
	if list := conns(t, second); len(list) != 1 {
		t.Errorf("connections %+v", list)
	}
	emptied(t, second)
}

func changeForEver(t *testing.T, opts Options) {
	p, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString("changing\n")
	for i := 0; ; i++ {
		want := []lb.Pool{{Service: planetest.DNS, Reals: []lb.Real{planetest.Server(12, 1)}}}
		if i%3 != 0 {
			web := lb.Pool{Service: planetest.Web}
			for j := range 1 + i%5 {
				web.Reals = append(web.Reals, planetest.Server(byte(20+(i+j)%7), int32(i%4)))
			}
			want = append(want, web)
		}
		have, err := p.Read()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Apply(plane.Diff(plane.Pools(have), want)); err != nil {
			t.Fatal(err)
		}
	}
}
