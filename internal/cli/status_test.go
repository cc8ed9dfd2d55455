package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"vipd/internal/control"
	"vipd/internal/daemon"
)

func runStatus(src control.Source, args ...string) (string, error) {
	if args == nil { // cobra takes nil for os.Args
		args = []string{}
	}
	var out bytes.Buffer
	env := Env{Stdout: &out, Stderr: &out, Now: func() time.Time { return noon },
		Dial: func(string) (control.Source, error) { return src, nil }}
	cmd := newStatusCommand(env)
	cmd.SilenceErrors = true
	cmd.SetArgs(args)
	err := cmd.Execute()
	return out.String(), err
}

const wantScreen = `vipd 1.0, instance default, pid 42, up 1d2h, /etc/x.conf

VRRP
  VI_1  MASTER for 1m30s (no advert from the master)  eth0, VRID 51, priority 100
        addresses 10.0.8.9/32
        adverts 90 sent, 7 received, refused: 2 ttl   1 × master
  VI_2  FAULT for 5s                                  eth1, VRID 52, priority 90
        addresses none                                master is 10.0.9.2
        fault: eth1 is down
        priority: 110 -30 script chk +10 file f
        sync group G
        adverts 0 sent, 0 received                    0 × master

Services
  TCP  10.0.8.9:80 wrr persistent 10, 12 conns/s
    real server   forward  weight  active  inactive  conns/s  pool
    10.0.8.12:80  Route    2       3       1         12       in via eth0 02:00:00:00:00:0c
    10.0.8.13:80  Route    2       0       0         0        out for 1h1m: connection refused?[31m?
    10.0.8.14:80  Route    0       0       0         0        in, quiesced
  FWM  7 rr, quorum lost, 0 conns/s
    no real server

Interfaces
  eth0  native

Packets
  drop     full          5
  drop     no_neighbour  1
  forward  hit           100
  pass     not_ours      9
`

func TestStatusIsAScreenThatAPersonReadsFirst(t *testing.T) {
	got, err := runStatus(&world{status: siteStatus()})
	if err != nil {
		t.Fatal(err)
	}
	if got != wantScreen {
		t.Errorf("got\n%s\nwant\n%s", got, wantScreen)
	}
}

func TestStatusSaysWhichDataPlaneForwardsAndWhy(t *testing.T) {
	s := siteStatus()
	s.DataPlane, s.Verdicts = control.Path{Name: "ipvs", Why: "auto: xdp does not work here"}, nil
	got, err := runStatus(&world{status: s})
	if err != nil || !strings.Contains(got, "/etc/x.conf\ndata plane ipvs, auto: xdp does not work here\n") || strings.Contains(got, "Packets") {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestStatusAsJSONIsTheWholeSnapshot(t *testing.T) {
	got, err := runStatus(&world{status: siteStatus()}, "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var s control.Status
	if err := json.Unmarshal([]byte(got), &s); err != nil || len(s.Services[0].Reals) != 3 || s.Services[0].Reals[0].Active != 3 {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestStatusOfNobodySaysWhatToDo(t *testing.T) {
	unreachable := &control.Unreachable{Instance: "a", Path: "/x", Err: control.ErrPermission, Advice: "ask as root"}
	_, err := runStatus(&world{err: unreachable})
	var f *daemon.Failure
	if !errors.As(err, &f) || f.Code != daemon.ExitPermission || f.Hint != "ask as root" {
		t.Errorf("%v", err)
	}
	if _, err := runStatus(&world{}, "-o", "xml"); err == nil || !strings.Contains(err.Error(), `"xml": want text or json`) {
		t.Errorf("%v", err)
	}
}
