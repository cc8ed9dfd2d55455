package daemon

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"vipd/internal/bfd"
	"vipd/internal/host"
	"vipd/internal/vrrp"
)

// trackFile is a file with one instance that follows a script, a file, a process and a second link, all without weight.
func trackFile(script, dir string) string {
	return fmt.Sprintf(`
global_defs { script_user root }
vrrp_script chk { script "%s"
 interval 2
 fall 2 }
track_file f { file %s/f
 weight 0 }
vrrp_track_process p { process haproxy
 terminate_delay 1 }
vrrp_instance VI_1 {
	interface eth0
	virtual_router_id 51
	virtual_ipaddress { 10.0.8.9 }
	track_script { chk }
	track_file { f }
	track_process { p }
	track_interface { eth1 }
}
`, script, dir)
}

func (h *fakeHost) followable() {
	h.links = map[string]bool{"eth1": true}
	h.exits, h.takes, h.files = map[string]host.Exit{}, map[string]time.Duration{}, map[string]string{}
	h.counts, h.changed, h.counted = map[string]int{"p": 1}, make(chan string, 10), make(chan struct{}, 10)
}

// state is that of VI_1 with the causes of a fault.
func (d *daemon) vi1(t *testing.T) vrrp.Status {
	t.Helper()
	synctest.Wait()
	return d.ha.status()[0]
}

func TestWhatAnInstanceFollowsPutsItIntoFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		d, r, h, end := runDaemonWith(t, trackFile(scriptFile(t, "chk"), dir), (*fakeHost).followable)
		defer end()
		expect := func(when string, state vrrp.State, causes ...string) {
			t.Helper()
			if st := d.vi1(t); st.State != state || !slices.Equal(st.Faults, causes) {
				t.Errorf("%s: %s because of %q, want %s because of %q", when, st.State, st.Faults, state, causes)
			}
		}
		time.Sleep(4 * time.Second)
		expect("start", vrrp.Master)
		h.set(func() { h.exits["chk"] = host.Exit{Code: 3} })
		time.Sleep(3 * time.Second)
		expect("one failure of two", vrrp.Master)
		time.Sleep(time.Second)
		expect("two failures", vrrp.Fault, "script chk failed")
		h.set(func() { h.files["f"] = "1" })
		h.changed <- filepath.Join(dir, "f")
		expect("the file", vrrp.Fault, "script chk failed", "tracked file f")
		h.set(func() { h.counts["p"] = 0 })
		h.counted <- struct{}{}
		expect("its delay", vrrp.Fault, "script chk failed", "tracked file f")
		time.Sleep(time.Second)
		expect("the process", vrrp.Fault, "script chk failed", "tracked file f", "tracked process p quorum not achieved")
		h.mu.Lock()
		h.links["eth1"] = false
		h.mu.Unlock()
		d.ha.changed(host.Resync{})
		expect("the link", vrrp.Fault, "script chk failed", "tracked file f", "tracked process p quorum not achieved", "interface eth1 down")
		if !r.log.has("Netlink reports eth1 down") || !r.log.has("Quorum lost for tracked process p") || !r.log.has("VRRP_Script(chk) failed (exited with status 3)") {
			t.Errorf("the log:\n%s", r.log)
		}

		h.set(func() { h.exits["chk"], h.files["f"], h.counts["p"] = host.Exit{}, "0", 1 })
		h.changed <- filepath.Join(dir, "f")
		h.counted <- struct{}{}
		time.Sleep(3 * time.Second)
		expect("all but the link", vrrp.Fault, "interface eth1 down")
		if out := d.Reload(t.Context()); out.Error != "" {
			t.Fatal(out.Error)
		}
		expect("a reload", vrrp.Fault, "interface eth1 down")
		h.mu.Lock()
		h.links["eth1"] = true
		h.mu.Unlock()
		d.ha.changed(host.Resync{})
		expect("all", vrrp.Backup)
		time.Sleep(4 * time.Second)
		expect("later", vrrp.Master)
	})
}

func TestAnInstanceStartsInFaultIfWhatItFollowsFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, _, end := runDaemonWith(t, trackFile(scriptFile(t, "chk"), t.TempDir()), func(h *fakeHost) {
			h.followable()
			h.counts["p"] = 0
		})
		defer end()
		if st := d.vi1(t); st.State != vrrp.Fault || st.Counters.Sent != 0 || r.log.has("Entering BACKUP STATE") {
			t.Errorf("%+v\n%s", st, r.log)
		}
	})
}

func TestAScriptThatRunsTooLongIsEndedAndFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := strings.Replace(trackFile(scriptFile(t, "chk"), t.TempDir()), "fall 2", "timeout 1", 1)
		d, r, h, end := runDaemonWith(t, text, func(h *fakeHost) {
			h.followable()
			h.takes["chk"] = time.Hour
		})
		defer end()
		time.Sleep(900 * time.Millisecond)
		if st := d.vi1(t); st.State != vrrp.Init || st.Waiting != "script chk has not run yet" {
			t.Errorf("before its end: %+v", st)
		}
		time.Sleep(200 * time.Millisecond)
		if st := d.vi1(t); st.State != vrrp.Fault || !r.log.has("VRRP_Script(chk) timed_out") {
			t.Errorf("after it: %+v", st)
		}
		time.Sleep(time.Second)
		h.set(func() {
			if h.running["chk"] != 1 || h.ran["chk"] != 2 {
				t.Errorf("%d run, %d ran", h.running["chk"], h.ran["chk"])
			}
		})
	})
}

func TestReloadsLeaveNoScriptBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		one, other := trackFile(scriptFile(t, "chk"), dir), trackFile(scriptFile(t, "other"), dir)
		none := strings.Replace(one, "track_script { chk }", "", 1)
		d, _, h, end := runDaemonWith(t, one, func(h *fakeHost) {
			h.followable()
			h.takes = map[string]time.Duration{"chk": time.Minute, "other": time.Minute}
		})
		defer end()
		for i := range 200 {
			d.write(t, []string{one, other, none, one}[i%4])
			if out := d.Reload(t.Context()); out.Error != "" {
				t.Fatal(out.Error)
			}
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			h.set(func() {
				want := []map[string]int{{"chk": 1}, {"other": 1}, {}, {"chk": 1}}[i%4]
				if h.running["chk"] != want["chk"] || h.running["other"] != want["other"] {
					t.Fatalf("reload %d: %v run", i, h.running)
				}
			})
		}
	})
}

func TestASyncGroupMovesTogetherAndFollowsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := fmt.Sprintf(`
vrrp_script chk { script "%s"
 interval 1
 weight -30 }
vrrp_sync_group G {
	group { VI_1 VI_2 }
	track_script { chk }
	sync_group_tracking_weight
}
vrrp_instance VI_1 { interface eth0
 virtual_router_id 51
 virtual_ipaddress { 10.0.8.9 } }
vrrp_instance VI_2 { interface eth0
 virtual_router_id 52
 virtual_ipaddress { 10.0.8.10 } 
 track_file { f } }
track_file f { file %s/f
 weight 0 }
`, scriptFile(t, "chk"), t.TempDir())
		text = text[strings.Index(text, "track_file f { file"):] + text[:strings.Index(text, "track_file f { file")]
		d, r, h, end := runDaemonWith(t, text, (*fakeHost).followable)
		defer end()
		time.Sleep(4 * time.Second)
		h.set(func() { h.exits["chk"] = host.Exit{Code: 1} })
		time.Sleep(time.Second)
		synctest.Wait()
		for _, st := range d.ha.status() {
			if st.State != vrrp.Master || st.Priority != 70 || st.Group != "G" {
				t.Errorf("%+v", st)
			}
		}
		h.set(func() { h.files["f"] = "1" })
		h.changed <- d.ha.track.now.files["f"]
		synctest.Wait()
		for i, st := range d.ha.status() {
			if st.State != vrrp.Fault || st.Faults[0] != []string{"sync group G: VI_2 tracked file f", "tracked file f"}[i] {
				t.Errorf("%+v", st)
			}
		}
		if !r.log.has("VRRP_Group(G) Syncing instances to FAULT state") {
			t.Errorf("the log:\n%s", r.log)
		}
	})
}

func TestAScriptThatCannotBeRunIsLeftOutAndSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r, _, end := runDaemonWith(t, trackFile("/nonexistent/chk", t.TempDir()), (*fakeHost).followable)
		defer end()
		time.Sleep(4 * time.Second)
		if st := d.vi1(t); st.State != vrrp.Master || !r.log.has("Disabling track script chk since not found/accessible") {
			t.Errorf("%+v\n%s", st, r.log)
		}
	})
}

func TestABFDSessionThatIsDownIsAFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := `
bfd_instance b { neighbor_ip 10.0.8.3
 min_rx 100
 min_tx 100 }
vrrp_instance VI_1 { interface eth0
 virtual_router_id 51
 virtual_ipaddress { 10.0.8.9 }
 track_bfd { b } }
`
		d, r, h, end := runDaemonWith(t, text, func(h *fakeHost) { h.bfdIn, h.bfdOut = make(chan fakeBFDPacket), make(chan []byte, 1) })
		defer end()
		if st := d.vi1(t); st.State != vrrp.Fault || !slices.Equal(st.Faults, []string{"BFD b down"}) {
			t.Fatalf("%+v", st)
		}
		hear := func(state bfd.State) {
			t.Helper()
			ours, err := bfd.Parse(<-h.bfdOut)
			if err != nil {
				t.Fatal(err)
			}
			p := bfd.Packet{State: state, DetectMult: 3, MyDiscr: 1, YourDiscr: ours.MyDiscr, MinTx: 200 * time.Millisecond, MinRx: 100 * time.Millisecond}
			h.bfdIn <- fakeBFDPacket{host.BFDPacket{From: netip.MustParseAddr("10.0.8.3"), To: netip.MustParseAddr("10.0.8.25"), TTL: 255}, p.Append(nil)}
			synctest.Wait()
		}
		hear(bfd.Init)
		if st := d.vi1(t); st.State != vrrp.Backup || !r.log.has("VRRP_Instance(VI_1) Tracked BFD instance b is UP") {
			t.Fatalf("%+v\n%s", st, r.log)
		}
		if out := d.Reload(t.Context()); out.Error != "" {
			t.Fatal(out.Error)
		}
		if st := d.vi1(t); st.State != vrrp.Backup {
			t.Fatalf("after a reload: %+v", st)
		}
		time.Sleep(650 * time.Millisecond)
		if st := d.vi1(t); st.State != vrrp.Fault || !r.log.has("VRRP_Instance(VI_1) Tracked BFD instance b is DOWN") {
			t.Errorf("%+v\n%s", st, r.log)
		}
	})
}
