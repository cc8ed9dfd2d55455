package conf

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"vipd/internal/health"
)

const talkFile = `
global_defs {
	checker_share
}
virtual_server 10.0.8.9 443 {
	protocol TCP
	lb_algo rr
	lb_kind DR
	max_eject 50
	slow_start 30
	rise 2
	fall 3
	jitter 10
	real_server 10.0.8.12 443 {
		SSL_GET {
			url {
				path /
			}
			http_protocol 2
			tls_verify
			tls_ca /ca
			tls_expiry 14
			rise 4
		}
		REDIS_CHECK {
			password secret
			connect_port 6379
		}
		MEMCACHED_CHECK {
		}
		MYSQL_CHECK {
			user check
		}
		POSTGRESQL_CHECK {
			user check
			database db
		}
		FTP_CHECK {
			fall 1
		}
		GRPC_CHECK {
			service pay
			tls
		}
		AGENT_CHECK {
			send hello
		}
	}
	real_server 10.0.8.13 443 {
		slow_start 0
		TCP_CHECK {
			jitter 0
		}
	}
}
`

func TestChecksOfOurOwn(t *testing.T) {
	cfg, _, diags := Load(fstest.MapFS{"f.conf": {Data: []byte(talkFile)}}, "f.conf", Options{})
	for _, d := range diags {
		t.Errorf("said %s", d.Text)
	}
	s := cfg.Health.Services[0]
	if !cfg.Health.Share || s.MaxEject != 50 || s.Reals[0].SlowStart != 30*time.Second || s.Reals[1].SlowStart != 0 {
		t.Errorf("%+v", s)
	}
	page := s.Reals[0].Checkers[0]
	if v := page.HTTP.Verify; page.HTTP.Protocol != "2" || v == nil || *v != (health.Verify{Chain: true, CA: "/ca", Expiry: 14 * 24 * time.Hour}) {
		t.Errorf("%+v", page.HTTP)
	}
	if page.Rise != 4 || page.Retry != 2 || page.Jitter != 10 {
		t.Errorf("rise %d, retry %d, jitter %d", page.Rise, page.Retry, page.Jitter)
	}
	if c := s.Reals[1].Checkers[0]; c.Rise != 2 || c.Retry != 2 || c.Jitter != 0 {
		t.Errorf("rise %d, retry %d, jitter %d", c.Rise, c.Retry, c.Jitter)
	}
	want := map[health.Kind]health.Talk{health.RedisCheck: {Password: "secret"}, health.MySQLCheck: {User: "check"},
		health.PostgreSQLCheck: {User: "check", Database: "db"}, health.GRPCCheck: {Service: "pay", TLS: true}, health.AgentCheck: {Send: "hello"}}
	for _, c := range s.Reals[0].Checkers[1:] {
		var talk health.Talk
		if c.Talk != nil {
			talk = *c.Talk
		}
		if talk != want[c.Kind] {
			t.Errorf("%s: %+v, want %+v", c.Kind, talk, want[c.Kind])
		}
	}
	if n := len(s.Reals[0].Checkers); n != 8 {
		t.Errorf("%d checkers", n)
	}
	if text := s.Reals[0].Checkers[1].Particulars(); strings.Contains(text, "secret") {
		t.Errorf("it tells the password: %s", text)
	}
}
