package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"vipd/internal/conf"
	"vipd/internal/health"
	"vipd/internal/host"
	"vipd/internal/mail"
	"vipd/internal/vrrp"
)

// actors are scripts that never run: it is noted when each begins and ends.
type actors struct {
	mu    sync.Mutex
	begin time.Time
	notes []string
	takes map[string]time.Duration // by the first argument; others end at once
}

func (a *actors) note(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.notes = append(a.notes, fmt.Sprintf("%.0f ", time.Since(a.begin).Seconds())+fmt.Sprintf(format, args...))
}

func (a *actors) run(ctx context.Context, c host.Command) host.Exit {
	words := strings.Join(c.Args[1:], " ")
	a.note("+ %s", words)
	e := host.Exit{PID: 1}
	select {
	case <-ctx.Done():
		e.Stopped = true
		a.note("killed %s", words)
		return e
	case <-time.After(a.takes[c.Args[1]]):
	}
	a.note("- %s", words)
	return e
}

func (a *actors) said() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.notes)
}

// toldBy makes a teller of cfg whose scripts are actors. The bubble must end it.
func toldBy(t *testing.T, log *journal, a *actors, cfg *conf.Config) *teller {
	t.Helper()
	a.begin = time.Now()
	tell := newTeller(quiet(t, log), a.run)
	tell.configure(cfg)
	return tell
}

func script(word string) *conf.Script { return &conf.Script{Args: []string{"/usr/bin/true", word}} }

func toldConfig() *conf.Config {
	return &conf.Config{Global: conf.Global{Scripts: conf.GlobalScripts{Security: true, User: "root"}},
		Routers: []*conf.Instance{{Config: siteInstance(), Notify: conf.Notify{Master: script("master"), Backup: script("backup"), Fault: script("fault"),
			Stop: script("stop"), Any: script("any"), MasterRxLowerPri: script("lower")}}},
		SyncGroups: []conf.SyncGroup{{Name: "G", Notify: conf.Notify{Master: script("gmaster"), Any: script("gany")}}},
		VirtualServers: []*conf.VirtualServer{{Service: siteHealth().Services[0], QuorumUp: script("qup"), QuorumDown: script("qdown"),
			Servers: []conf.RealServer{{Real: siteHealth().Services[0].Reals[0], NotifyUp: script("up"), NotifyDown: script("down")}}}},
	}
}

func TestScriptsGetKeepalivedsArguments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := new(actors)
		tell := toldBy(t, new(journal), a, toldConfig())
		tell.changed("VI_1", vrrp.Backup, 100)
		tell.changed("VI_1", vrrp.Master, 90)
		tell.lowerHeard("VI_1", 90)
		tell.changed("VI_1", vrrp.Fault, 90)
		tell.changed("VI_1", vrrp.Init, 90)
		tell.changed("no such instance", vrrp.Master, 1)
		synctest.Wait()
		want := []string{"+ backup", "- backup", "+ any INSTANCE VI_1 BACKUP 100", "- any INSTANCE VI_1 BACKUP 100",
			"+ master", "- master", "+ any INSTANCE VI_1 MASTER 90", "- any INSTANCE VI_1 MASTER 90", "+ lower", "- lower",
			"+ fault", "- fault", "+ any INSTANCE VI_1 FAULT 90", "- any INSTANCE VI_1 FAULT 90", "+ stop", "- stop", "+ any INSTANCE VI_1 STOP 90", "- any INSTANCE VI_1 STOP 90"}
		if got := a.said(); !slices.EqualFunc(got, want, func(g, w string) bool { return g == "0 "+w }) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		a.notes = nil
		tell.groupChanged("G", vrrp.Master)
		synctest.Wait()
		if got := a.said(); !slices.Contains(got, "0 + gmaster") || !slices.Contains(got, "0 + gany GROUP G MASTER 0") {
			t.Errorf("of the group: %q", got)
		}
		tell.end()
	})
}

func TestTheNextStateWaitsForTheScriptsOfTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &actors{takes: map[string]time.Duration{"master": 20 * time.Second}}
		cfg := toldConfig()
		cfg.Routers[0].Notify.Any = nil
		tell := toldBy(t, new(journal), a, cfg)
		tell.changed("VI_1", vrrp.Master, 100)
		tell.realChanged(webKey, real12, false, "") // somebody else's do not wait
		time.Sleep(time.Second)
		tell.changed("VI_1", vrrp.Backup, 100)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		want := []string{"0 + master", "0 + down", "0 - down", "20 - master", "20 + backup", "20 - backup"}
		got := a.said()
		slices.Sort(got[:3])
		slices.Sort(want[:3])
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		tell.end()
	})
}

func TestAScriptMayTakeAsLongAsItsStateLastsAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &actors{takes: map[string]time.Duration{"master": time.Hour}}
		log := new(journal)
		cfg := toldConfig()
		cfg.Global.Scripts.NotifyTimeout = 10 * time.Second
		tell := toldBy(t, log, a, cfg)
		tell.changed("VI_1", vrrp.Master, 100)
		time.Sleep(100 * time.Second)
		tell.changed("VI_1", vrrp.Backup, 100)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		// The generic script of the same state does not wait for long.
		want := []string{"0 + master", "5 + any INSTANCE VI_1 MASTER 100", "5 - any INSTANCE VI_1 MASTER 100", "110 killed master", "110 + backup", "110 - backup",
			"110 + any INSTANCE VI_1 BACKUP 100", "110 - any INSTANCE VI_1 BACKUP 100"}
		if got := a.said(); !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		if !log.has("notify script '/usr/bin/true' 'master' of INSTANCE VI_1 MASTER: was still running when the next state waited for it") {
			t.Errorf("the log says %s", log.buf.String())
		}
		tell.end()
	})
}

func TestBehindAScriptThatHangsTheNewestStatesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &actors{takes: map[string]time.Duration{"master": time.Hour}}
		log := new(journal)
		cfg := toldConfig()
		cfg.Routers[0].Notify.Any = script("any")
		tell := toldBy(t, log, a, cfg)
		tell.changed("VI_1", vrrp.Master, 100)
		synctest.Wait()
		for i := range 3 * queueLimit {
			tell.changed("VI_1", vrrp.Backup, uint8(i))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		got := a.said()
		if last := got[len(got)-1]; !strings.HasSuffix(last, fmt.Sprintf("any INSTANCE VI_1 BACKUP %d", 3*queueLimit-1)) || len(got) > 4*queueLimit+10 {
			t.Errorf("%d notes, the last is %q", len(got), last)
		}
		if !log.has("64 states behind: BACKUP is left out") {
			t.Error("nothing was said")
		}
		tell.end()
	})
}

func TestAStopIsBoundedWhateverScriptsDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &actors{takes: map[string]time.Duration{"master": time.Hour, "stop": time.Hour}}
		cfg := toldConfig()
		cfg.Routers[0].Notify.Any = nil
		tell := toldBy(t, new(journal), a, cfg)
		tell.changed("VI_1", vrrp.Master, 100)
		synctest.Wait()
		tell.changed("VI_1", vrrp.Init, 100)
		begin := time.Now()
		tell.end()
		if took := time.Since(begin); took > 6*time.Second || !slices.Contains(a.said(), "1 killed master") || !slices.Contains(a.said(), "1 + stop") {
			t.Errorf("it took %s: %q", took, a.said())
		}
	})
}

func TestWhatAReloadRemovesIsToldAsKeepalivedTellsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := new(actors)
		cfg := toldConfig()
		tell := toldBy(t, new(journal), a, cfg)
		without := toldConfig()
		without.Routers = nil
		remove := func() []string {
			tell.configure(without)
			tell.retire(true)
			tell.changed("VI_1", vrrp.Init, 100)
			tell.retire(false)
			tell.settled(without)
			synctest.Wait()
			defer func() { a.notes = nil }()
			return a.said()
		}
		if got := remove(); !slices.Equal(got, []string{"0 + any INSTANCE VI_1 FAULT 100", "0 - any INSTANCE VI_1 FAULT 100"}) {
			t.Errorf("without notify_deleted: %q", got)
		}
		cfg.Routers[0].Notify.OnDelete, cfg.Routers[0].Notify.Deleted = true, script("deleted")
		tell.configure(cfg)
		tell.settled(cfg)
		if got := remove(); !slices.Contains(got, "0 + deleted") || !slices.Contains(got, "0 + any INSTANCE VI_1 DELETED 100") {
			t.Errorf("with it: %q", got)
		}
		tell.changed("VI_1", vrrp.Master, 100)
		synctest.Wait()
		if got := a.said(); len(got) > 0 {
			t.Errorf("it is told of still: %q", got)
		}
		tell.end()
	})
}

// memoryPipe is a FIFO that the test reads.
type memoryPipe struct {
	mu    sync.Mutex
	lines []string
	full  bool
	gone  bool
}

func (p *memoryPipe) Write(line []byte, wait time.Duration) error {
	p.mu.Lock()
	full := p.full
	if !full {
		p.lines = append(p.lines, string(line))
	}
	p.mu.Unlock()
	if full {
		time.Sleep(wait)
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (p *memoryPipe) Current() bool { p.mu.Lock(); defer p.mu.Unlock(); return !p.gone }
func (p *memoryPipe) Close() error  { return nil }
func (p *memoryPipe) set(full, gone bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.full, p.gone = full, gone
}

func (p *memoryPipe) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lines
	p.lines = nil
	return l
}

func withPipe(t *testing.T, tell *teller, i int) *memoryPipe {
	t.Helper()
	p := new(memoryPipe)
	f := &fifo{cfg: conf.FIFO{Path: "/run/test.fifo"}, events: tell.events, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}), end: func() {},
		open: func() (pipe, error) { p.set(p.full, false); return p, nil }}
	go f.serve(p)
	tell.setPipe(i, f)
	return p
}

func TestFIFOsGetKeepalivedsLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := toldConfig()
		yes := true
		cfg.Routers[0].Notify.PriorityChanges = &yes
		tell := toldBy(t, new(journal), new(actors), cfg)
		all, vr, lvs := withPipe(t, tell, fifoAll), withPipe(t, tell, fifoVRRP), withPipe(t, tell, fifoLVS)
		tell.changed("VI_1", vrrp.Backup, 150)
		tell.prioritySet("VI_1", vrrp.Backup, 90)
		tell.changed("VI_1", vrrp.Master, 90)
		tell.lowerHeard("VI_1", 90)
		tell.prioritySet("VI_1", vrrp.Master, 150)
		tell.groupChanged("G", vrrp.Master)
		tell.realChanged(webKey, real12, false, "")
		tell.quorumChanged(webKey, true, "")
		tell.changed("VI_1", vrrp.Init, 150)
		synctest.Wait()
		wantVRRP := []string{"INSTANCE \"VI_1\" BACKUP 150\n", "INSTANCE \"VI_1\" BACKUP_PRIORITY 90\n", "INSTANCE \"VI_1\" MASTER 90\n",
			"INSTANCE \"VI_1\" MASTER_RX_LOWER_PRI 90\n", "INSTANCE \"VI_1\" MASTER_PRIORITY 150\n", "GROUP \"G\" MASTER 0\n", "INSTANCE \"VI_1\" STOP 150\n"}
		wantLVS := []string{"RS [10.0.8.12]:tcp:80 [10.0.8.9]:tcp:80 DOWN\n", "VS [10.0.8.9]:tcp:80 UP\n"}
		if got := vr.take(); !slices.Equal(got, wantVRRP) {
			t.Errorf("vrrp_notify_fifo: %q", got)
		}
		if got := lvs.take(); !slices.Equal(got, wantLVS) {
			t.Errorf("lvs_notify_fifo: %q", got)
		}
		if got := all.take(); len(got) != len(wantVRRP)+len(wantLVS) || !slices.Contains(got, wantLVS[0]) {
			t.Errorf("notify_fifo: %q", got)
		}
		tell.end()
	})
}

func TestAFIFOThatNobodyReadsHoldsNothingUpAndKeepsTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(journal)
		tell := toldBy(t, log, new(actors), toldConfig())
		p := withPipe(t, tell, fifoVRRP)
		p.set(true, false)
		begin := time.Now()
		for i := range fifoLimit + 10 {
			tell.prioritySet("VI_1", vrrp.Master, uint8(i)) // not asked for: nothing is written
			tell.changed("VI_1", vrrp.Backup, uint8(i))
		}
		if time.Since(begin) != 0 {
			t.Error("a loop waited")
		}
		time.Sleep(time.Minute)
		if !log.has("notify fifo /run/test.fifo: nobody reads it and it is full") {
			t.Errorf("the log says %s", log.buf.String())
		}
		p.set(false, true)
		time.Sleep(2 * time.Second)
		got := p.take()
		if len(got) != fifoLimit || got[len(got)-1] != fmt.Sprintf("INSTANCE \"VI_1\" BACKUP %d\n", uint8((fifoLimit+9)%256)) {
			t.Errorf("%d lines, the last is %q", len(got), got[len(got)-1])
		}
		if !log.has("was gone and is made again") {
			t.Error("nothing was said of the new FIFO")
		}
		tell.end()
	})
}

func TestTheFIFOOfAFileIsMadeAndItsReaderStarted(t *testing.T) {
	dir := t.TempDir()
	a, log := new(actors), new(journal)
	cfg := toldConfig()
	cfg.Global.Process.Umask = 0o177
	cfg.Global.Scripts.NotifyVRRP = conf.FIFO{Path: filepath.Join(dir, "fifo"), Script: script("reader")}
	tell := toldBy(t, log, a, cfg)
	r, err := os.Open(cfg.Global.Scripts.NotifyVRRP.Path)
	if err != nil {
		t.Fatal(err, log.buf.String())
	}
	defer r.Close()
	tell.changed("VI_1", vrrp.Backup, 100)
	buf := make([]byte, 100)
	if n, err := r.Read(buf); err != nil || string(buf[:n]) != "INSTANCE \"VI_1\" BACKUP 100\n" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	if info, err := os.Stat(cfg.Global.Scripts.NotifyVRRP.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	tell.configure(cfg) // a reload that changes nothing keeps it
	if _, err := os.Stat(cfg.Global.Scripts.NotifyVRRP.Path); err != nil {
		t.Error(err)
	}
	tell.end()
	if _, err := os.Stat(cfg.Global.Scripts.NotifyVRRP.Path); err == nil {
		t.Error("it is still there after the end")
	}
	if !slices.Contains(a.said(), "0 + reader "+cfg.Global.Scripts.NotifyVRRP.Path) {
		t.Errorf("the reader: %q", a.said())
	}
}

// caught are mails that go nowhere.
type caught struct{ got *[]string }

func catchMail(got *[]string) poster { return caught{got} }

func (c caught) Put(_ time.Time, _ mail.Server, m mail.Message) {
	*c.got = append(*c.got, m.Subject+"|"+m.Body)
}
func (c caught) Settle(time.Duration) int { return 0 }

func TestMailsHaveKeepalivedsSubjectsAndBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := toldConfig()
		cfg.Global.RouterID, cfg.Global.EmailFrom, cfg.Global.SMTPHelo = "NODE_a", "a@b", "me"
		cfg.Global.SMTPServer, cfg.Global.NotificationEmail = "192.0.2.1", []string{"ops@b"}
		cfg.Routers[0].SMTPAlert, cfg.SyncGroups[0].SMTPAlert = true, true
		cfg.VirtualServers[0].SMTPAlert, cfg.VirtualServers[0].Servers[0].SMTPAlert = true, true
		tell := toldBy(t, new(journal), new(actors), cfg)
		defer tell.end()
		var got []string
		tell.post = catchMail(&got)
		tell.changed("VI_1", vrrp.Backup, 100)
		tell.changed("VI_1", vrrp.Backup, 100) // the same state again: no mail
		tell.changed("VI_1", vrrp.Master, 100)
		tell.changed("VI_1", vrrp.Fault, 100)
		tell.changed("VI_1", vrrp.Init, 100)
		tell.groupChanged("G", vrrp.Master)
		tell.checkerChanged(health.CheckerTurned{Service: webKey, Real: real12, Kind: health.TCPCheck, RealTurned: true})
		tell.checkerChanged(health.CheckerTurned{Service: webKey, Real: real13, Kind: health.TCPCheck})
		tell.checkerChanged(health.CheckerTurned{Service: webKey, Real: real12, Kind: health.TCPCheck, Up: true, RealUp: true})
		tell.checkerChanged(health.CheckerTurned{Service: webKey, Real: real12, Kind: health.SSLGet})
		tell.checkerChanged(health.CheckerTurned{Service: webKey, Real: real12, Kind: health.MiscCheck, Last: health.Result{Timeout: true}})
		tell.checkerChanged(health.CheckerTurned{Service: webKey, Real: real12, Kind: health.SMTPCheck, Last: health.Result{Said: "Bad greeting banner from server [10.0.8.12]:tcp:80"}})
		tell.checkerChanged(health.CheckerTurned{Service: webKey, Real: real12, Kind: health.FileCheck})
		tell.quorumChanged(webKey, true, "Gained quorum 1+0=1 <= 2")
		tell.quorumChanged(webKey, false, "Lost quorum 1-0=1 > 0")
		tell.quorumChanged(webKey, false, "Shutting down")
		tell.realChanged(webKey, real12, false, "=> Shutting down <=")
		want := []string{
			"[NODE_a] VRRP Instance VI_1 - Entering BACKUP state|=> VRRP Instance is no longer owning VRRP VIPs <=",
			"[NODE_a] VRRP Instance VI_1 - Entering MASTER state|=> VRRP Instance is now owning VRRP VIPs <=",
			"[NODE_a] VRRP Instance VI_1 - Entering FAULT state|=> VRRP Instance is no longer owning VRRP VIPs <=",
			"[NODE_a] VRRP Instance VI_1 - Stopping|=> VRRP Instance stopping <=",
			"[NODE_a] VRRP Group G - Entering MASTER state|=> All VRRP group instances are now in MASTER state <=",
			"[NODE_a] Realserver [10.0.8.12]:tcp:80 of virtual server [10.0.8.9]:tcp:80 - DOWN|=> TCP CHECK failed on service <=",
			"[NODE_a] Realserver [10.0.8.12]:tcp:80 of virtual server [10.0.8.9]:tcp:80 - UP|=> TCP CHECK succeed on service <=",
			"[NODE_a] Realserver [10.0.8.12]:tcp:80 of virtual server [10.0.8.9]:tcp:80 - DOWN|=> CHECK failed on service : HTTP request failed <=",
			"[NODE_a] Realserver [10.0.8.12]:tcp:80 of virtual server [10.0.8.9]:tcp:80 - DOWN|=> MISC CHECK timed out on service <=",
			"[NODE_a] Realserver [10.0.8.12]:tcp:80 of virtual server [10.0.8.9]:tcp:80 - DOWN|=> CHECK failed on service : Bad greeting banner from server [10.0.8.12]:tcp:80 <=",
			"[NODE_a] Virtualserver [10.0.8.9]:tcp:80 - UP|=> Gained quorum 1+0=1 <= 2 <=",
			"[NODE_a] Virtualserver [10.0.8.9]:tcp:80 - DOWN|=> Lost quorum 1+0=1 <= 0 <=",
			"[NODE_a] Virtualserver [10.0.8.9]:tcp:80 - DOWN|=> Shutting down <=",
			"[NODE_a] Realserver [10.0.8.12]:tcp:80 of virtual server [10.0.8.9]:tcp:80 - DOWN|=> Shutting down <=",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

func TestMailsThatAreNotWantedAreNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := toldConfig()
		cfg.Global.SMTPServer, cfg.Global.NotificationEmail = "192.0.2.1", []string{"ops@b"}
		cfg.Global.RouterID, cfg.Global.EmailFrom, cfg.Global.SMTPHelo = "r", "a@b", "me"
		cfg.Global.NoEmailFaults, cfg.Global.NoCheckerEmails = true, true
		cfg.VirtualServers[0].Servers[0].SMTPAlert = true
		tell := toldBy(t, new(journal), new(actors), cfg)
		defer tell.end()
		var got []string
		tell.post = catchMail(&got)
		tell.changed("VI_1", vrrp.Master, 100) // without smtp_alert
		tell.checkerChanged(health.CheckerTurned{Service: webKey, Real: real12, Kind: health.TCPCheck})
		cfg.Routers[0].SMTPAlert = true
		tell.changed("VI_1", vrrp.Fault, 100)
		cfg.Global.SMTPServer = ""
		tell.configure(cfg)
		tell.changed("VI_1", vrrp.Backup, 100)
		if len(got) > 0 {
			t.Errorf("sent %q", got)
		}
	})
}

func TestACheckThatFailsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, end := runPool(t, siteHealth(), nil)
		a := new(actors)
		r.m.tell = toldBy(t, r.log, a, toldConfig())
		r.prober.set(real12, true)
		time.Sleep(time.Minute)
		if got := strings.Join(a.said(), ","); !strings.Contains(got, "+ down") {
			t.Errorf("told %q", got)
		}
		end()
		r.m.tell.end()
	})
}

func TestAGroupOfServicesIsToldByItsName(t *testing.T) {
	text := `virtual_server_group web {
 10.0.8.9 80
 10.0.8.10 80
}
virtual_server group web {
 lb_algo rr
 lb_kind DR
 protocol TCP
 quorum_up "/usr/bin/true qup"
 real_server 10.0.8.12 80 {
  weight 1
  notify_up "/usr/bin/true up"
 }
}
`
	cfg, _, _ := conf.Load(fstest.MapFS{"f.conf": {Data: []byte(text)}}, "f.conf", conf.Options{})
	if len(cfg.Health.Services) != 1 {
		t.Fatalf("%d services", len(cfg.Health.Services))
	}
	key := cfg.Health.Services[0].ServiceKey
	synctest.Test(t, func(t *testing.T) {
		a := new(actors)
		tell := toldBy(t, new(journal), a, cfg)
		p := withPipe(t, tell, fifoLVS)
		tell.realChanged(key, real12, true, "")
		tell.quorumChanged(key, true, "Gained quorum 1+0=1 <= 1")
		synctest.Wait()
		if got := p.take(); !slices.Equal(got, []string{"RS [10.0.8.12]:tcp:80 [web]:0 UP\n", "VS [web]:0 UP\n"}) {
			t.Errorf("got %q", got)
		}
		if got := a.said(); !slices.Contains(got, "0 + up") || !slices.Contains(got, "0 + qup") {
			t.Errorf("scripts: %q", got)
		}
		tell.end()
	})
}
