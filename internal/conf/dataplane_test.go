package conf

import (
	"errors"
	"slices"
	"testing"
	"testing/fstest"

	"vipd/internal/lb"
)

const onePool = "virtual_server 10.0.8.9 80 {\n\tlb_algo lblc\n\tlb_kind NAT\n\tprotocol TCP\n\treal_server 10.0.8.12 80 {\n\t\tTCP_CHECK {\n\t\t\tconnect_timeout 3\n\t\t}\n\t}\n}\n"

func dataPlane(line string) fstest.MapFS {
	return fstest.MapFS{"f.conf": {Data: []byte("global_defs {\n\t" + line + "\n}\n" + onePool)}}
}

func TestDataPlaneIsOneOfThreeWordsAndNothingElse(t *testing.T) {
	for line, want := range map[string]string{"data_plane xdp": "xdp", "data_plane ipvs": "ipvs", "data_plane auto": "auto", "data_plane IPVS": "", "": ""} {
		cfg, _, diags := Load(dataPlane(line), "f.conf", Options{})
		if cfg.Global.DataPlane != want || (len(diags) == 0) != (want != "" || line == "") {
			t.Errorf("%q is %q, said %v", line, cfg.Global.DataPlane, diags)
		}
	}
}

func TestDataPlaneIsUnknownToKeepalived(t *testing.T) {
	out, exit := Test(dataPlane("data_plane ipvs"), "f.conf", host(t))
	if !slices.Contains(out, "(Line 2) Unknown keyword 'data_plane'") || exit != 5 {
		t.Errorf("exit %d, %q", exit, out)
	}
}

func TestWhatTheXDPPlaneRefusesIsNotSaidWhereTheKernelForwards(t *testing.T) {
	refuse := func(lb.Service, []lb.Real) error { return errors.New("no NAT") }
	said := func(line string) bool {
		diags := Check(dataPlane(line), "f.conf", Options{Refuses: refuse}).Diagnostics
		return slices.ContainsFunc(diags, func(d Diagnostic) bool { return d.Code == "not-yet" })
	}
	if !said("data_plane xdp") || !said("data_plane auto") || said("data_plane ipvs") {
		t.Errorf("said with xdp %v, auto %v, ipvs %v; want the first two", said("data_plane xdp"), said("data_plane auto"), said("data_plane ipvs"))
	}
}

// TestOfAGroupEachServiceIsAskedFor: as the services that it makes, and one that is refused is enough.
func TestOfAGroupEachServiceIsAskedFor(t *testing.T) {
	files := fstest.MapFS{"f.conf": {Data: []byte(`virtual_server_group web {
    10.0.8.9-10 80
}
virtual_server group web {
    protocol TCP
    lb_kind DR
    real_server 10.0.8.12 8080 {
    }
}
`)}}
	for _, bad := range []string{"", "10.0.8.9:80", "10.0.8.10:80"} {
		var asked []string
		diags := Check(files, "f.conf", Options{Refuses: func(s lb.Service, reals []lb.Real) error {
			asked = append(asked, s.Addr.String()+" "+reals[0].Addr.String())
			if s.Addr.String() == bad {
				return errors.New("no")
			}
			return nil
		}}).Diagnostics
		if got := slices.ContainsFunc(diags, func(d Diagnostic) bool { return d.Code == "not-yet" }); got != (bad != "") {
			t.Errorf("%q is refused: said %t", bad, got)
		}
		if bad == "" && !slices.Equal(asked, []string{"10.0.8.9:80 10.0.8.12:80", "10.0.8.10:80 10.0.8.12:80"}) {
			t.Errorf("asked for %q", asked)
		}
	}
}

func TestConnectionsAreANumberInReach(t *testing.T) {
	for line, want := range map[string]uint32{"lvs_connections 1024": 1024, "lvs_connections 200000000": 200_000_000, "lvs_connections 1023": 0,
		"lvs_connections 200000001": 0, "lvs_connections many": 0, "": 0} {
		cfg, _, diags := Load(dataPlane(line), "f.conf", Options{})
		if cfg.Global.Connections != want || (len(diags) == 0) != (want != 0 || line == "") {
			t.Errorf("%q is %d, said %v", line, cfg.Global.Connections, diags)
		}
	}
}
