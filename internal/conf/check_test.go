package conf

import (
	"net/netip"
	"testing"
	"testing/fstest"

	"vipd/internal/health"
	"vipd/internal/lb"
)

const checkedFile = `
global_defs { 
	checker_log_all_failures
	rs_init_notifies
	lvs_flush_on_stop VS
}
SSL {
	certificate /c
	key /k
	password secret
}
bfd_instance edge {
	neighbor_ip 10.0.8.12
	source_ip 10.0.8.2
}
virtual_server 10.0.8.9 443 {
	protocol TCP
	lb_kind DR
	lb_algo rr
	ha_suspend
	virtualhost www.example.com
	sorry_server 10.0.8.99 443
	sorry_server_lvs_method TUN
	sorry_server_inhibit
	real_server 10.0.8.12 443 {
		BFD_CHECK {
			name edge
			alpha
		}
		SSL_GET {
			url { 
				path /
			}
		}
	}
	real_server 10.0.8.13 443 {
		virtualhost rs.example.com
		SSL_GET {
			url {
				path /
			}
		}
	}
}
`

func TestWhatChecksGoByReachesTheMachine(t *testing.T) {
	cfg, _, diags := Load(fstest.MapFS{"f.conf": {Data: []byte(checkedFile)}}, "f.conf", Options{})
	for _, d := range diags {
		t.Errorf("said %s", d.Text)
	}
	if h := cfg.Health; !h.InitNotifies || !h.Flush || len(h.Services) != 1 {
		t.Fatalf("%+v", h)
	}
	s := cfg.Health.Services[0]
	if !s.HASuspend || !s.SorryInhibit || s.Sorry == nil || s.Sorry.Forward != lb.Tunnel || s.Sorry.Addr != netip.MustParseAddrPort("10.0.8.99:443") {
		t.Errorf("service %+v, sorry server %+v", s, s.Sorry)
	}
	bfd, page, other := s.Reals[0].Checkers[0], s.Reals[0].Checkers[1], s.Reals[1].Checkers[0]
	if bfd.Kind != health.BFDCheck || bfd.BFD != "edge" || !bfd.Alpha || page.Alpha {
		t.Errorf("BFD_CHECK is %+v", bfd)
	}
	if page.HTTP.VirtualHost != "www.example.com" || other.HTTP.VirtualHost != "rs.example.com" || !page.LogAllFailures {
		t.Errorf("SSL_GET is %+v and %+v", page.HTTP, other.HTTP)
	}
	if c := page.HTTP.Client; c == nil || *c != (health.TLS{Password: "secret", Certificate: "/c", Key: "/k"}) {
		t.Errorf("the SSL block is %+v", page.HTTP.Client)
	}
}
