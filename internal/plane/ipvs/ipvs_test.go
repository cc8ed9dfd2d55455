package ipvs

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/genetlink/genltest"
	"github.com/mdlayher/netlink"

	"vipd/internal/lb"
	"vipd/internal/plane"
	"vipd/internal/plane/planetest"
)

func TestTheContractHoldsOnAKernelThatIsAsked(t *testing.T) {
	planetest.Run(t, func(t *testing.T) plane.Plane {
		p, _ := newFake(t)
		return noConns{p}
	})
}

// noConns is for a machine whose /proc has connections of its own, or none.
type noConns struct{ *Plane }

func (noConns) Conns(func(lb.Conn) bool) error { return nil }

var (
	sip = lb.Service{ServiceKey: lb.ServiceKey{Protocol: lb.UDP, Addr: netip.MustParseAddrPort("10.0.8.9:5060")},
		Scheduler: "mh", Flags: lb.SchedFlag1 | lb.SchedFlag2, Persistence: 60 * time.Second, Wild: 0xff00ff, Engine: "sip"}
	ops = lb.Service{ServiceKey: lb.ServiceKey{Protocol: lb.UDP, Addr: netip.MustParseAddrPort("[2001:db8:8::9]:53")},
		Scheduler: "rr", OnePacket: true}
	mark = lb.Service{ServiceKey: lb.ServiceKey{Mark: 7}, Scheduler: "wlc"}
	six  = lb.Service{ServiceKey: lb.ServiceKey{Mark: 7, V6: true}, Scheduler: "none", Persistence: time.Second, Wild: 64}
	gue  = lb.Real{Addr: netip.MustParseAddrPort("10.0.8.12:53"), Forward: lb.Tunnel, Weight: 65535, Upper: 100, Lower: 80,
		Tunnel: lb.TunnelOptions{Type: lb.GUE, Port: 6080, Csum: true}}
	gre = lb.Real{Addr: netip.MustParseAddrPort("[2001:db8:8::12]:53"), Forward: lb.Tunnel,
		Tunnel: lb.TunnelOptions{Type: lb.GRE, RemCsum: true}}
	all = []lb.Pool{{Service: sip, Reals: []lb.Real{{Addr: netip.MustParseAddrPort("10.0.8.12:5061"), Forward: lb.Masq, Weight: 1}}},
		{Service: ops, Reals: []lb.Real{gue, gre}},
		{Service: mark, Reals: []lb.Real{{Addr: netip.MustParseAddrPort("10.0.8.12:0"), Forward: lb.Route, Weight: 3}}},
		{Service: six, Reals: []lb.Real{{Addr: netip.MustParseAddrPort("[2001:db8:8::12]:0"), Forward: lb.Local, Weight: 3}}}}
)

var byAddrPort = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

func TestEveryAttributeOfAServiceAndARealServerComesBack(t *testing.T) {
	p, _ := newFake(t)
	if err := p.Apply(plane.Diff(nil, all)); err != nil {
		t.Fatal(err)
	}
	planetest.Want(t, p, all)
}

func TestCountsComeBackInFullWidth(t *testing.T) {
	p, k := newFake(t)
	if err := p.Apply(plane.Diff(nil, all)); err != nil {
		t.Fatal(err)
	}
	big := lb.Counters{Conns: 1 << 40, InPkts: 2<<40 + 1, OutPkts: 3 << 40, InBytes: 4 << 40, OutBytes: 5 << 40}
	rate := lb.Rates{Conns: 6 << 33, InPkts: 7, OutPkts: 8, InBytes: 9, OutBytes: 1 << 50}
	if err := errors.Join(k.Count(mark.ServiceKey, all[2].Reals[0].Addr, big), k.SetRates(mark.ServiceKey, all[2].Reals[0].Addr, rate)); err != nil {
		t.Fatal(err)
	}
	have, err := p.Read()
	if err != nil {
		t.Fatal(err)
	}
	got := have[slices.IndexFunc(have, func(p plane.Pool) bool { return p.Service.ServiceKey == mark.ServiceKey })]
	if got.Total != big || got.Rate != rate || got.Reals[0].Total != big || got.Reals[0].Rate != rate {
		t.Errorf("got %+v", got)
	}
}

func TestStatisticsOf32BitsAreReadFromAnOldKernel(t *testing.T) {
	want := lb.Counters{Conns: 1, InPkts: 2, OutPkts: 3, InBytes: 1 << 40, OutBytes: 1 << 41}
	b := encoded(t, func(ae *netlink.AttributeEncoder) error {
		encodeRealKey(ae, gue)
		ae.Nested(destStats, encodeStats(want, lb.Rates{Conns: 9}, false))
		return nil
	})
	r, err := decodeReal(b, 0)
	if err != nil || r.Total != want || r.Rate.Conns != 9 {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestARealServerWithoutAFamilyHasThatOfItsService(t *testing.T) {
	b := encoded(t, func(ae *netlink.AttributeEncoder) error {
		putAddr(ae, destAddr, gue.Addr.Addr())
		putPort(ae, destPort, gue.Addr.Port())
		return nil
	})
	if r, err := decodeReal(b, syscall.AF_INET); err != nil || r.Addr != gue.Addr {
		t.Errorf("got %+v, %v", r, err)
	}
}

func encoded(t testing.TB, fill func(*netlink.AttributeEncoder) error) []byte {
	t.Helper()
	ae := netlink.NewAttributeEncoder()
	if err := fill(ae); err != nil {
		t.Fatal(err)
	}
	b, err := ae.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnErrnoGetsTheMeaningThatItHasForTheStep(t *testing.T) {
	for _, c := range []struct {
		errno syscall.Errno
		verb  plane.Verb
		want  error
	}{
		{syscall.EEXIST, plane.AddService, plane.ErrServiceExists},
		{syscall.EEXIST, plane.AddReal, plane.ErrRealExists},
		{syscall.ENOENT, plane.AddService, plane.ErrNoScheduler},
		{syscall.ENOENT, plane.EditService, plane.ErrNoScheduler},
		{syscall.ENOENT, plane.DelReal, plane.ErrNoReal},
		{syscall.ESRCH, plane.AddReal, plane.ErrNoService},
		{syscall.ERANGE, plane.EditReal, plane.ErrRange},
		{syscall.ENOMEM, plane.AddService, plane.ErrFull},
		{syscall.EOPNOTSUPP, plane.AddReal, plane.ErrUnsupported},
		{syscall.EAFNOSUPPORT, plane.AddService, plane.ErrUnsupported},
		{syscall.EPERM, plane.AddService, ErrPermission},
		{syscall.EINVAL, plane.AddReal, plane.ErrInvalid},
		{syscall.EBUSY, plane.AddReal, syscall.EBUSY},
	} {
		p, k := newFake(t)
		k.refuse = c.errno
		err := p.Apply([]plane.Op{{Verb: c.verb, Service: mark, Real: gue}})
		if !errors.Is(err, c.want) || !errors.Is(err, c.errno) {
			t.Errorf("%v after %s: %v, want %v", c.errno, c.verb, err, c.want)
		}
	}
}

func TestWhatCannotBeEncodedIsOutOfRange(t *testing.T) {
	p, _ := newFake(t)
	long := mark
	long.Persistence = 32 * 24 * time.Hour
	if err := p.Apply([]plane.Op{{Verb: plane.AddService, Service: long}}); !errors.Is(err, plane.ErrRange) {
		t.Errorf("persistence of 32 days: %v", err)
	}
	if err := p.SetTimeouts(lb.Timeouts{UDP: -1}); !errors.Is(err, plane.ErrRange) {
		t.Errorf("negative timeout: %v", err)
	}
}

func TestAKernelWithoutIPVSIsNamedSo(t *testing.T) {
	conn := genltest.Dial(func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) {
		return nil, genltest.Error(int(syscall.ENOENT))
	})
	if _, err := newClient(conn); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestMissingRightsAreFoundAtTheOpening(t *testing.T) {
	conn := genltest.Dial(genltest.ServeFamily(genetlink.Family{ID: fakeFamily, Version: 1, Name: familyName},
		func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) {
			return nil, genltest.Error(int(syscall.EPERM))
		}))
	c, err := newClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(c); !errors.Is(err, ErrPermission) {
		t.Errorf("got %v", err)
	}
}

func TestSyncDaemonsAreStartedListedAndStopped(t *testing.T) {
	p, k := newFake(t)
	master := Sync{State: SyncMaster, Interface: "eth0", ID: 51, MaxLen: 1400, Group: netip.MustParseAddr("224.0.0.82"), Port: 8849, TTL: 3}
	backup := Sync{State: SyncBackup, Interface: "eth0", ID: 51, Group: netip.MustParseAddr("ff02::81")}
	if err := errors.Join(p.Client().StartSync(master), p.Client().StartSync(backup)); err != nil {
		t.Fatal(err)
	}
	got, err := p.Client().Syncs()
	if err != nil || !slices.Equal(got, []Sync{master, backup}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := p.Client().StopSync(SyncMaster); err != nil || !slices.Equal(k.syncs, []Sync{backup}) {
		t.Errorf("left %+v, %v", k.syncs, err)
	}
}

// Linux answers nothing when it stops a daemon whose thread never ran.
func TestADaemonThatIsStoppedWithoutAnAnswerIsStopped(t *testing.T) {
	p, k := newFake(t)
	k.syncs = []Sync{{State: SyncMaster, Interface: "eth0", ID: 51}, {State: SyncBackup, Interface: "eth0", ID: 51}}
	k.silent = true
	if err := p.Client().StopSync(SyncMaster); err != nil || len(k.syncs) != 1 {
		t.Errorf("left %+v, %v", k.syncs, err)
	}
	k.stubborn = true
	if err := p.Client().StopSync(SyncBackup); err == nil || !strings.Contains(err.Error(), "runs on") {
		t.Errorf("a daemon that runs on: %v", err)
	}
}

func TestTheKernelsVersionIsPrintedAsIpvsadmPrintsIt(t *testing.T) {
	p, _ := newFake(t)
	if p.Info().String() != "1.2.1" || p.TableSize() != 4096 {
		t.Errorf("got %s, size %d", p.Info(), p.TableSize())
	}
}

func TestAFlushTakesEverything(t *testing.T) {
	p, k := newFake(t)
	if err := p.Client().Flush(); err != nil || !k.flushed {
		t.Errorf("flushed %v, %v", k.flushed, err)
	}
}

// FuzzDecode gives every decoder any bytes: an error or a value, and a value that is one is encoded and read again.
func FuzzDecode(f *testing.F) {
	for _, p := range all {
		f.Add(encoded(f, func(ae *netlink.AttributeEncoder) error { return encodePool(ae, plane.Pool{Service: p.Service}) }))
		for _, r := range p.Reals {
			f.Add(encoded(f, func(ae *netlink.AttributeEncoder) error { return encodeCounted(ae, plane.Real{Real: r, Active: 3}) }))
		}
	}
	f.Add(encoded(f, func(ae *netlink.AttributeEncoder) error {
		return encodeSync(ae, Sync{State: SyncMaster, Interface: "eth0", Group: netip.MustParseAddr("224.0.0.82"), TTL: 1})
	}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := decodeService(b); err == nil {
			again, err := decodeService(encoded(t, func(ae *netlink.AttributeEncoder) error { return encodePool(ae, p) }))
			if err == nil && again.Service != p.Service {
				t.Errorf("%+v became %+v", p.Service, again.Service)
			}
		}
		if r, err := decodeReal(b, syscall.AF_INET); err == nil {
			again, err := decodeReal(encoded(t, func(ae *netlink.AttributeEncoder) error { return encodeCounted(ae, r) }), 0)
			if err != nil || again.Real != r.Real {
				t.Errorf("%+v became %+v, %v", r, again, err)
			}
		}
		_, _ = decodeSync(b)
		_, _ = decodeInfo(b)
		_, _ = decodeTimeouts(b)
		for kind := range uint16(4) {
			_, _ = nested(b, kind)
		}
	})
}
