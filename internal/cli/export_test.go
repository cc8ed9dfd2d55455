package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vipd/internal/conf"
	"vipd/internal/control"
	"vipd/internal/haproxy"
	"vipd/internal/health"
	"vipd/internal/lb"
	"vipd/internal/need"
)

// routed is a configuration with all that the export has to do with.
const routed = `virtual_server_group topics {
    fwmark 1
}
virtual_server_group web {
    10.0.8.9-10 80
}
virtual_server group topics {
    lb_algo rr
    lb_kind DR
    persistence_timeout 10
    persistence_granularity 255.255.255.0
    delay_loop 6
    real_server 10.0.8.12 80 {
        weight 5
        HTTP_GET {
            url {
                path "/it's a #page"
                status_code 200-204 301
            }
            connect_timeout 3
        }
    }
    real_server 10.0.8.13 80 {
        HTTP_GET {
            url {
                path "/it's a #page"
                status_code 200-204 301
            }
            connect_timeout 3
        }
    }
}
virtual_server group web {
    protocol TCP
    lb_algo sh
    lb_kind NAT
    sorry_server 10.0.8.99 8080
    real_server 10.0.8.14 8080 {
        TCP_CHECK {
        }
    }
    real_server 10.0.8.15 8080 {
        MISC_CHECK {
            misc_path /bin/true
        }
    }
}
virtual_server 2001:db8::9 443 {
    protocol TCP
    lb_algo lc
    lb_kind NAT
    real_server 2001:db8::12 8443 {
        SSL_GET {
            http_protocol 1.1
            url {
                path /
                digest 0123456789abcdef0123456789abcdef
            }
        }
    }
}
virtual_server 2001:db8::9 0 {
    protocol TCP
    persistence_timeout 10
    lb_algo mh
    lb_kind DR
    real_server 2001:db8::12 0 {
    }
}
virtual_server 10.0.8.9 53 {
    protocol UDP
    lb_algo rr
    lb_kind NAT
    real_server 10.0.8.12 53 {
    }
}
`

func exported(t *testing.T, d director, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(Env{Args: append([]string{"export", "haproxy"}, args...), Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" },
		Dial: func(string) (control.Source, error) { return d, nil }})
	return out.String(), errs.String(), code
}

// haproxyTakes asks the real one.
func haproxyTakes(t *testing.T, texts ...string) {
	t.Helper()
	args := []string{"-c"}
	for _, text := range texts {
		args = append(args, "-f", write(t, fmt.Sprint(len(args), ".cfg"), text))
	}
	if out, err := exec.Command(need.Tool(t, "haproxy"), args...).CombinedOutput(); err != nil || strings.Contains(string(out), "WARNING") {
		t.Errorf("haproxy -c: %v\n%s\n%s", err, out, strings.Join(texts, "\n"))
	}
}

// own is what an operator writes beside the backends.
const own = `defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend site
    bind 127.0.0.1:8
    use_backend vipd_web if { path_beg /attachment- } || { hdr(host) -i files.example.org }
    default_backend vipd_topics
`

func TestAFileBecomesAConfigurationOfHAProxy(t *testing.T) {
	file := write(t, "keepalived.conf", routed)
	out, errs, code := exported(t, nil, file)
	if code != 0 || errs != "vipd: left out: udp/10.0.8.9:53: HAProxy forwards TCP and HTTP, not UDP\n" {
		t.Errorf("exit %d: %s", code, errs)
	}
	for _, want := range []string{
		"backend vipd_topics\n", "stick on src,ipmask(24)\n", `http-check send meth GET uri '/it'\''s a #page' ver HTTP/1.0` + "\n", "http-check expect status 200-204,301\n",
		"server 10.0.8.12:80 10.0.8.12:80 weight 1 check", "    bind 10.0.8.9:80\n    bind 10.0.8.10:80\n    default_backend vipd_web\n",
		"server sorry_10.0.8.99:8080 10.0.8.99:8080 weight 1 backup\n", "# MISC_CHECK has no equivalent: vipd alone makes it\n", "server 10.0.8.15:8080 10.0.8.15:8080 weight 1\n",
		"    bind [2001:db8::9]:443\n", "hdr Host '[2001:db8::9]'\n", "weight 1 check inter 60s fastinter 3s downinter 60s fall 2 rise 1 check-ssl verify none\n",
		"# digest: HAProxy looks at the status alone\n", "backend vipd_2001:db8::9:0\n", "server 2001:db8::12:0 [2001:db8::12] weight 1\n", "# udp/10.0.8.9:53 is left out",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
	haproxyTakes(t, out)
	out, _, code = exported(t, nil, file, "--backends", "--mode", "http")
	if code != 0 || strings.Contains(out, "frontend") || !strings.Contains(out, "option forwardfor\n") {
		t.Errorf("backends: exit %d\n%s", code, out)
	}
	haproxyTakes(t, own, out)
	if t.Failed() {
		t.Log(out)
	}
}

func TestWhatCannotBeExportedIsRefusedInWords(t *testing.T) {
	file := write(t, "keepalived.conf", routed)
	none := write(t, "none.conf", "vrrp_instance x {\n interface lo\n virtual_router_id 1\n}\n")
	for line, want := range map[string]string{
		file + " --service udp/10.0.8.9:53":  "1 vipd: export: HAProxy can have none of the services: udp/10.0.8.9:53: HAProxy forwards TCP and HTTP, not UDP",
		file + " --service topics":           "1 vipd: export: no service has an address and port that HAProxy could listen at\nhint: --backends",
		file + " --service 10.0.8.77":        `2 vipd: no service "10.0.8.77"`,
		none:                                 "1 vipd: export: there is no virtual server",
		none + "x":                           "6 vipd: " + none + "x: no such file",
		file + " --watch x":                  "2 vipd: --watch and --socket follow a running daemon",
		file + " --mode udp":                 "2 vipd: --mode \"udp\": want tcp or http",
		"--reload true":                      "2 vipd: --reload needs --watch",
		"--while-master --socket /tmp/x/y/z": "2 vipd: --while-master needs --watch",
		"a b":                                "2 vipd: accepts at most 1 arg(s), received 2",
	} {
		out, errs, code := exported(t, nil, strings.Fields(line)...)
		if got := fmt.Sprint(code, " ", errs); out != "" || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s%s", line, got, out)
		}
	}
}

// following is a director whose states change.
type following struct {
	*toldDirector
	mu     sync.Mutex
	config json.RawMessage
	broken error
}

func (f *following) Config(context.Context) (json.RawMessage, error) { return f.config, nil }

func (f *following) Status(context.Context) (control.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	s.VRRP = append([]control.Router{}, s.VRRP...)
	s.Services = nil
	for _, svc := range f.status.Services {
		svc.Reals = append([]control.Real{}, svc.Reals...)
		s.Services = append(s.Services, svc)
	}
	return s, f.broken
}

func (f *following) change(do func(*control.Status)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do(&f.status)
}

// newFollowing is a daemon that runs text, and in which everything is up.
func newFollowing(t *testing.T, text string) *following {
	t.Helper()
	cfg, _, diags := conf.Load(os.DirFS("/"), write(t, "keepalived.conf", text), conf.Options{})
	if worst, any := conf.Worst(diags); any && worst == conf.Error {
		t.Fatal(diags)
	}
	f := &following{toldDirector: &toldDirector{fakeDaemon: &fakeDaemon{control.Status{Instance: "x", VRRP: []control.Router{{State: "MASTER"}}}}}}
	var err error
	if f.config, err = json.Marshal(cfg); err != nil {
		t.Fatal(err)
	}
	for _, st := range startedPools(cfg.Health) {
		s := control.Service{Service: st.Service, Group: st.Group}
		for _, r := range st.Reals {
			s.Reals = append(s.Reals, control.Real{Real: r.Real, InPool: r.Listed, Healthy: r.Healthy, Why: r.Why})
		}
		f.status.Services = append(f.status.Services, s)
	}
	return f
}

func startedPools(cfg health.Config) []health.ServiceStatus {
	p := health.New(cfg, nil)
	p.Start(eventNoon)
	return p.Status()
}

func TestTheStatesOfARunningDaemonAreMarked(t *testing.T) {
	d := newFollowing(t, routed)
	d.change(func(s *control.Status) {
		topics := s.Services[0].Reals
		if topics[0].Addr.Port() != 0 {
			t.Errorf("of a mark the pool has %s", topics[0].Addr) // and the export the file's port
		}
		topics[0].Weight, topics[0].Operator = 0, &control.Hand{Do: "drain", By: "root"}
		topics[1].InPool, topics[1].Healthy, topics[1].Why = false, false, "HTTP_GET 10.0.8.13:80: status code 500"
		web := &s.Services[1]
		web.Reals[0].InPool, web.Reals[0].Operator = false, &control.Hand{Do: "disable", By: "root"}
		web.Reals[1].InPool = false
		web.Reals = append(web.Reals, control.Real{Real: lb.Real{Addr: web.Reals[0].Addr, Weight: 1}, InPool: true, Healthy: true})
		web.Reals[2].Addr = netip.MustParseAddrPort("10.0.8.99:8080") // the sorry server, which stands in
		s.Services = append(s.Services, control.Service{Service: lb.Service{ServiceKey: lb.ServiceKey{Protocol: lb.TCP, Addr: netip.MustParseAddrPort("10.0.8.20:25")}, Scheduler: "rr"},
			Reals: []control.Real{{Real: lb.Real{Addr: netip.MustParseAddrPort("10.0.8.21:25"), Weight: 3}, InPool: true, Healthy: true}}})
	})
	out, errs, code := exported(t, d)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, want := range []string{
		"    # drain by root\n    server 10.0.8.12:80 10.0.8.12:80 weight 0 check", "    # down: HTTP_GET 10.0.8.13:80: status code 500\n    server 10.0.8.13:80 10.0.8.13:80 weight 1 check",
		"rise 1 disabled\n", "    # disable by root\n    server 10.0.8.14:8080", "    # displaced by the sorry server\n    server 10.0.8.15:8080 10.0.8.15:8080 weight 1 disabled\n",
		"    server sorry_10.0.8.99:8080 10.0.8.99:8080 weight 1 backup\n", "backend vipd_10.0.8.20:25\n", "    server 10.0.8.21:25 10.0.8.21:25 weight 1",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Count(out, "10.0.8.99:8080 weight") != 1 {
		t.Errorf("the sorry server is there twice:\n%s", out)
	}
	haproxyTakes(t, out)
}

// realHAProxy runs with the files, and ends with the test.
func realHAProxy(t *testing.T, socket string, files ...string) {
	t.Helper()
	args := []string{"-db"}
	for _, f := range files {
		args = append(args, "-f", f)
	}
	var log bytes.Buffer
	cmd := exec.Command(need.Tool(t, "haproxy"), args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("haproxy: %s", log.String())
		}
	})
	until(t, "HAProxy answers", func() bool { _, err := askHAProxy(t.Context(), socket, haproxy.ShowState); return err == nil })
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("after half a minute not so: %s", what)
}

// TestADrainReachesHAProxy: the real one, by its runtime API, without a reload; a change that needs one is followed by one; and what
// somebody else has set in HAProxy is put right.
func TestADrainReachesHAProxy(t *testing.T) {
	need.Tool(t, "haproxy")
	dir, err := os.MkdirTemp("", "vipd-export-") // a socket's path has at most 107 characters
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, file, mine, reloads := dir+"/s", dir+"/vipd.cfg", dir+"/own.cfg", dir+"/reloads"
	text := strings.Replace(own, "defaults\n", "global\n    stats socket "+socket+" level admin\ndefaults\n", 1)
	if err := os.WriteFile(mine, []byte(strings.Replace(text, "127.0.0.1:8\n", "unix@"+dir+"/front\n", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	d := newFollowing(t, routed)
	var errs lockedBuffer
	env := Env{Stderr: &errs, Getenv: func(string) string { return "" }, ExportEvery: 10 * time.Millisecond, Dial: func(string) (control.Source, error) { return d, nil }}
	o := exporting{Options: haproxy.Options{Mode: "http", Backends: true, NoChecks: true}, watch: file, reload: "echo x >>" + reloads, sockets: []string{socket}, whileMaster: true}
	cmd := newExportHAProxy(env)
	var looks atomic.Int64
	asker := &configAsker{}
	w := watcher{exporting: o, env: env, ask: func(ctx context.Context) (haproxy.File, bool, error) {
		looks.Add(1)
		return o.ask(ctx, env, cmd, asker)
	}}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { w.run(ctx) })
	defer group.Wait()
	defer cancel()
	until(t, "the file is written, and read", func() bool { b, err := os.ReadFile(reloads); return err == nil && string(b) == "x\n" })
	realHAProxy(t, socket, mine, file)

	state := func(server string) haproxy.Running {
		answer, err := askHAProxy(t.Context(), socket, haproxy.ShowState)
		if err != nil {
			t.Fatal(err)
		}
		all, err := haproxy.ParseState(answer)
		if err != nil {
			t.Fatal(err)
		}
		return all[server]
	}
	const server = "vipd_topics/10.0.8.12:80"
	until(t, "its weight is there", func() bool { return state(server) == haproxy.Running{Weight: 1} })
	d.change(func(s *control.Status) { s.Services[0].Reals[0].Weight = 0 })
	until(t, "the drain is there", func() bool { return state(server) == haproxy.Running{} })
	d.change(func(s *control.Status) { s.Services[0].Reals[0].Weight, s.Services[0].Reals[0].InPool = 1, false })
	until(t, "so is the failure", func() bool { return state(server) == haproxy.Running{Weight: 1, Maint: true} })
	d.change(func(s *control.Status) { s.Services[0].Reals[0].InPool = true })
	until(t, "and the return", func() bool { return state(server) == haproxy.Running{Weight: 1} })
	if _, err := askHAProxy(t.Context(), socket, "set server "+server+" state maint"); err != nil {
		t.Fatal(err)
	}
	until(t, "another hand is put right", func() bool { return state(server) == haproxy.Running{Weight: 1} })

	d.change(func(s *control.Status) { s.VRRP[0].State, s.Services[0].Reals[0].Weight = "BACKUP", 0 })
	seen := looks.Load()
	until(t, "it has looked twice", func() bool { return looks.Load() > seen+2 })
	if got := state(server); got.Weight != 1 {
		t.Errorf("a backup has told HAProxy: %+v", got)
	}
	d.change(func(s *control.Status) { s.VRRP[0].State = "MASTER" })
	until(t, "a master takes it up", func() bool { return state(server) == haproxy.Running{} })

	d.mu.Lock()
	d.broken = fmt.Errorf("the daemon is away")
	d.mu.Unlock()
	until(t, "it is said that the daemon is away", func() bool { return strings.Contains(errs.String(), "the daemon is away (HAProxy stays as it is)") })
	d.mu.Lock()
	d.broken = nil
	d.mu.Unlock()
	until(t, "and that it is back", func() bool { return strings.Contains(errs.String(), "vipd: export: the daemon: well again") })
	if b, _ := os.ReadFile(reloads); string(b) != "x\n" {
		t.Errorf("weights and states led to a reload: %q", b)
	}
	d.change(func(s *control.Status) {
		s.Services[1].Reals = append(s.Services[1].Reals, control.Real{Real: lb.Real{Addr: netip.MustParseAddrPort("10.0.8.16:8080"), Weight: 1, Forward: lb.Masq}, InPool: true, Healthy: true})
	})
	until(t, "a new server leads to one", func() bool { b, err := os.ReadFile(reloads); return err == nil && string(b) == "x\nx\n" })
	text2, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text2), "server 10.0.8.16:8080 10.0.8.16:8080 weight 1\n") {
		t.Errorf("%v: the file is\n%s", err, text2)
	}
	haproxyTakes(t, own, string(text2))
	if left, _ := filepath.Glob(dir + "/.*"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// TestAReloadThatFailsIsTriedAgain, and said.
func TestAReloadThatFailsIsTriedAgain(t *testing.T) {
	dir := t.TempDir()
	var errs lockedBuffer
	w := watcher{exporting: exporting{watch: dir + "/vipd.cfg", reload: "echo no such unit >&2; false"}, env: Env{Stderr: &errs}, said: map[string]string{},
		ask: func(context.Context) (haproxy.File, bool, error) { return haproxy.File{Text: "backend x\n"}, true, nil }}
	w.look(t.Context())
	if !w.stale || !strings.Contains(errs.String(), "exit status 1: no such unit (again in 10s)") {
		t.Errorf("stale %t: %s", w.stale, errs.String())
	}
	w.reload, w.retryAt = "true", time.Time{}
	w.look(t.Context())
	if w.stale || !strings.Contains(errs.String(), "the reload: well again") {
		t.Errorf("stale %t: %s", w.stale, errs.String())
	}
}

// lockedBuffer is written and read by several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// TestTheCommandsOfTheContentChapter: those that end do what they say, with the chapter's own pools; of the one that does not the
// options are good, and so is the configuration beside.
func TestTheCommandsOfTheContentChapter(t *testing.T) {
	chapter, err := os.ReadFile("../../docs/content.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("\n```[a-z0-9 ]*\n").Split(string(chapter), -1)
	find := func(first string) string {
		for i := 1; i < len(blocks); i += 2 {
			if strings.HasPrefix(blocks[i], first) {
				return blocks[i] + "\n"
			}
		}
		t.Fatalf("no block begins with %q", first)
		return ""
	}
	text := strings.Replace(find("virtual_server_group topics"), "    …\n", "", 1)
	text += strings.ReplaceAll(strings.ReplaceAll(text, "topics", "attachments"), "10.0.8.21", "10.0.8.22")
	file, frontends := write(t, "keepalived.conf", text), find("defaults\n")
	d := newFollowing(t, text)
	n := 0
	for line := range strings.Lines(string(chapter)) {
		line, _, _ = strings.Cut(strings.TrimPrefix(line, "ExecStart=/usr/sbin/"), " #")
		words, ok := strings.CutPrefix(strings.TrimSpace(line), "vipd export haproxy ")
		if !ok {
			continue
		}
		n++
		if strings.Contains(words, "--watch ") {
			words, command, _ := strings.Cut(words, " --reload ")
			cmd := newExportHAProxy(Env{})
			if err := cmd.ParseFlags(append(strings.Fields(words), "--reload", strings.Trim(command, "'"))); err != nil || cmd.Flags().NArg() > 0 {
				t.Errorf("%s: %v", words, err)
			}
			continue
		}
		out, errs, code := exported(t, d, strings.Fields(strings.ReplaceAll(words, "/etc/keepalived/keepalived.conf", file))...)
		if code != 0 || errs != "" {
			t.Errorf("vipd export haproxy %s: exit %d: %s", words, code, errs)
		}
		if strings.Contains(words, "--backends") {
			haproxyTakes(t, strings.Replace(frontends, "    use_backend vipd_attachments ", "    #", 1), out)
		} else {
			haproxyTakes(t, out)
			haproxyTakes(t, frontends, strings.ReplaceAll(out, "mode tcp", "mode http"))
		}
	}
	if n != 4 {
		t.Errorf("%d commands", n)
	}
}

// counting counts how often its configuration is asked for.
type counting struct {
	*following
	n int
}

func (c *counting) Config(ctx context.Context) (json.RawMessage, error) {
	c.n++
	return c.following.Config(ctx)
}

func TestALargeConfigurationIsNotAskedForAtEveryLook(t *testing.T) {
	d := &counting{following: newFollowing(t, routed)}
	a := &configAsker{}
	look := func(after time.Duration, want int) {
		t.Helper()
		s, _ := d.Status(t.Context())
		if _, err := a.config(t.Context(), d, &s, eventNoon.Add(after)); err != nil || d.n != want {
			t.Errorf("after %s it was asked %d times, want %d (%v)", after, d.n, want, err)
		}
	}
	look(0, 1)
	d.change(func(s *control.Status) { s.Services[0].Reals[0].Weight = 0 })
	look(time.Second, 1)
	d.change(func(s *control.Status) { s.Services[0].Reals = s.Services[0].Reals[:1] })
	look(2*time.Second, 2)
	look(11*time.Second, 2)
	look(13*time.Second, 3)
	look(0, 4) // the clock was set back
}

func TestTheSameFailureIsOneText(t *testing.T) {
	for _, pair := range [][2]error{
		{&fs.PathError{Op: "open", Path: "/x/.a1", Err: syscall.EROFS}, &fs.PathError{Op: "open", Path: "/x/.a2", Err: syscall.EROFS}},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET, Source: &net.TCPAddr{Port: 1}}, &net.OpError{Op: "read", Err: syscall.ECONNRESET, Source: &net.TCPAddr{Port: 2}}},
	} {
		if a, b := steady("write f", pair[0]), steady("write f", pair[1]); a != b || !strings.HasPrefix(a, "write f: ") {
			t.Errorf("%q and %q", a, b)
		}
	}
}

func TestAnExportForNothingIsAMistake(t *testing.T) {
	if code, out, errs := vipd(t, "", "export", "hapoxy"); code != exitUsage || out != "" || !strings.Contains(errs, "haproxy") {
		t.Errorf("%d, %q, %q", code, out, errs)
	}
}
