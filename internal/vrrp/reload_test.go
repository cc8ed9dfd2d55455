package vrrp

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// running makes a speaker with one instance that is master since before noon, its effects taken.
func running(t *testing.T, cfg Config) (*Speaker, time.Time) {
	t.Helper()
	s := NewSpeaker()
	r, err := s.Add(cfg)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	r.SetSource(now, netip.MustParseAddr("10.0.8.25"))
	r.Start(now, false)
	for r.Status().State != Master {
		now = s.Next()
		s.Tick(now)
		takenOf(s)
	}
	return s, now
}

func siteConfig(vips ...string) Config {
	cfg := Config{Name: "VI_1", Interface: "eth0", VRID: 51, Priority: 100}
	for _, v := range vips {
		cfg.VIPs = append(cfg.VIPs, Address{Prefix: netip.MustParsePrefix(v)})
	}
	return cfg
}

// kinds lists the types of effects, without log lines.
func kinds(effects []Effect) (all []string) {
	for _, e := range effects {
		if _, said := e.(Say); !said {
			all = append(all, reflect.TypeOf(e).Name())
		}
	}
	return all
}

func reload(t *testing.T, s *Speaker, now time.Time, cfgs ...Config) (effects []Effect, fresh []Config) {
	t.Helper()
	s.Retire(now, cfgs)
	effects = takenOf(s)
	fresh, err := s.Renew(now, cfgs)
	if err != nil {
		t.Fatal(err)
	}
	return append(effects, takenOf(s)...), fresh
}

func TestAReloadThatChangesNothingDoesNothing(t *testing.T) {
	s, now := running(t, siteConfig("10.0.8.9/32"))
	if effects, fresh := reload(t, s, now, siteConfig("10.0.8.9/32")); len(effects) != 0 || len(fresh) != 0 {
		t.Errorf("effects %v, new %v", effects, fresh)
	}
}

func TestAnInstanceIsTheSameByVRIDAndInterfaceWhateverItsName(t *testing.T) {
	s, now := running(t, siteConfig("10.0.8.9/32"))
	renamed := siteConfig("10.0.8.9/32")
	renamed.Name = "web"
	if effects, _ := reload(t, s, now, renamed); len(kinds(effects)) != 0 {
		t.Errorf("renaming did %v", kinds(effects))
	}
	if r := s.Router("web"); r == nil || r.Status().State != Master || s.Router("VI_1") != nil {
		t.Errorf("after renaming: %+v", r)
	}
}

func TestAMasterStaysMasterAndOnlyTheDifferenceOfItsAddressesIsSet(t *testing.T) {
	s, now := running(t, siteConfig("10.0.8.9/32", "10.0.8.10/32"))
	effects, _ := reload(t, s, now, siteConfig("10.0.8.9/32", "10.0.8.11/32"))
	if got, want := kinds(effects), []string{"Vacate", "AddAddresses", "Announce"}; !reflect.DeepEqual(got, want) {
		t.Fatalf("effects %v, want %v", got, want)
	}
	for _, e := range effects {
		switch e := e.(type) {
		case Vacate:
			if len(e.Addresses) != 1 || e.Addresses[0].Prefix.String() != "10.0.8.10/32" {
				t.Errorf("takes off %v", e.Addresses)
			}
		case Announce:
			if len(e.Targets) != 1 || e.Targets[0].Addr.String() != "10.0.8.11" {
				t.Errorf("announces %v", e.Targets)
			}
		}
	}
	s.Tick(now)
	sent := takenOf(s)
	if got := kinds(sent); len(got) != 1 || got[0] != "Send" {
		t.Errorf("the peers hear of it by %v", got)
	}
	if s.Router("VI_1").Status().State != Master {
		t.Error("it is not master any more")
	}
}

func TestAnInstanceThatIsGoneLeavesProperlyAndANewOneIsReturned(t *testing.T) {
	s, now := running(t, siteConfig("10.0.8.9/32"))
	other := siteConfig("10.0.8.9/32")
	other.VRID = 52
	effects, fresh := reload(t, s, now, other)
	if got, want := kinds(effects), []string{"Send", "Silence", "RemoveAddresses", "Change"}; !reflect.DeepEqual(got, want) {
		t.Errorf("effects %v, want %v", got, want)
	}
	if len(fresh) != 1 || fresh[0].VRID != 52 || len(s.Routers()) != 0 {
		t.Errorf("new %v, left %v", fresh, s.Routers())
	}
}

func TestAnotherPriorityCountsFromTheNextAdvert(t *testing.T) {
	s, now := running(t, siteConfig("10.0.8.9/32"))
	stronger := siteConfig("10.0.8.9/32")
	stronger.Priority = 150
	reload(t, s, now, stronger)
	s.Tick(now)
	for _, e := range takenOf(s) {
		if send, ok := e.(Send); ok {
			if a, err := Parse(send.Packet); err != nil || a.Priority != 150 {
				t.Errorf("advert %+v, %v", a, err)
			}
		}
	}
}

func TestABackupThatLearnsAnotherIntervalWaitsThatLong(t *testing.T) {
	s := NewSpeaker()
	r, _ := s.Add(siteConfig("10.0.8.9/32"))
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	r.SetSource(now, netip.MustParseAddr("10.0.8.25"))
	r.Start(now, false)
	takenOf(s)
	slower := siteConfig("10.0.8.9/32")
	slower.AdvertInt = 5 * time.Second
	reload(t, s, now, slower)
	if wait := s.Next().Sub(now); wait != 15*time.Second+156*time.Second/256 {
		t.Errorf("it waits %v", wait)
	}
}

func TestConfigurationsThatNoSpeakerCanHoldChangeNothing(t *testing.T) {
	s, now := running(t, siteConfig("10.0.8.9/32"))
	twin := siteConfig("10.0.8.10/32")
	twin.Name = "VI_2"
	if _, err := s.Renew(now, []Config{siteConfig("10.0.8.9/32"), twin}); err == nil {
		t.Fatal("two instances of one VRID were accepted")
	}
	if s.Router("VI_1") == nil || len(takenOf(s)) != 0 {
		t.Error("the refused configuration changed something")
	}
}
