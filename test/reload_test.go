package test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"vipd/examples/site"
)

// A second service, and the same as another reload wants it: one real server less and another weight.
const (
	secondService = `
virtual_server 10.0.8.9 8080 {
	lb_algo wrr
	lb_kind DR
	protocol TCP
	real_server 10.0.8.12 8080 {
		weight 1
	}
	real_server 10.0.8.13 8080 {
		weight 1
	}
}
`
	secondServiceChanged = `
virtual_server 10.0.8.9 8080 {
	lb_algo wrr
	lb_kind DR
	protocol TCP
	real_server 10.0.8.12 8080 {
		weight 7
	}
}
`
)

func TestTwoHundredReloadsLoseNothingOfTheServicesThatStay(t *testing.T) {
	if !alone(t, 2*time.Minute) {
		return
	}
	before := left(t)
	works(t, "lab", "up", "--without", "director2")
	const file = "/run/vipd/lab/director1.conf"
	base, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	short, long := &tally{}, &connection{from: "10.0.4.102"}
	load.Go(func() { newConnections(ctx, short) })
	load.Go(func() { long.run(ctx) })
	time.Sleep(time.Second)

	for n := range 200 {
		second := secondService
		if n%2 == 1 {
			second = secondServiceChanged
		}
		if err := os.WriteFile(file, append(base[:len(base):len(base)], second...), 0o600); err != nil {
			t.Fatal(err)
		}
		if o := vipd(t, "reload", "--instance", "lab-director1"); o.code != 0 {
			t.Fatalf("reload %d: %s", n+1, o)
		}
		list := works(t, "ipvsadm", "--instance", "lab-director1", "-ln")
		if has := strings.Contains(list, "10.0.8.13:8080"); has != (n%2 == 0) {
			t.Fatalf("after reload %d the list is\n%s", n+1, list)
		}
	}
	stop()
	load.Wait()
	short.judge(t, "requests on connections of their own", 100)
	long.judge(t, "requests on one connection", 50)
	log := works(t, "lab", "exec", "director1", "cat", "/run/vipd/lab/director1.log")
	if n := strings.Count(log, "Entering MASTER STATE"); n != 1 {
		t.Errorf("it entered MASTER %d times", n)
	}
	if n := strings.Count(log, "Reload complete"); n != 200 {
		t.Errorf("%d reloads were completed", n)
	}
	works(t, "lab", "down")
	nothingNew(t, before)
}

// A file that plan, apply and check are shown: the site's own.
func TestThePlanOfTheRunningFileIsNoChange(t *testing.T) {
	if !alone(t, time.Minute) {
		return
	}
	works(t, "lab", "up", "--without", "director2")
	if out := works(t, "plan", "--instance", "lab-director1", "/run/vipd/lab/director1.conf"); out != "no change\n" {
		t.Errorf("plan of the file in force:\n%s", out)
	}
	text, err := site.Files.ReadFile("director1.conf")
	if err != nil {
		t.Fatal(err)
	}
	changed := t.TempDir() + "/changed.conf"
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), "10.0.8.13 80", "10.0.8.14 80", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	out := works(t, "plan", "--instance", "lab-director1", changed)
	for _, want := range []string{"- real 10.0.8.13:80 of [10.0.8.9]:tcp:80", "+ real 10.0.8.14:80", "1 added, 1 removed, 0 changed"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	works(t, "lab", "down")
}
