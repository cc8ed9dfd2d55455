package daemon

import (
	"fmt"
	"net/netip"
	"strings"

	"vipd/internal/conf"
	"vipd/internal/health"
	"vipd/internal/lb"
)

func upDown(up bool) string {
	if up {
		return "UP"
	}
	return "DOWN"
}

// goneMails are the bodies of mails about a real server that is taken away, by the machine's reason.
var goneMails = map[string]string{"removed from the configuration": "=> Removing <=", "shutting down": "=> Shutting down <="}

// realChanged tells that a real server came or went. Mails about it are checkers' (checkerChanged), but for those of a
// real server that is taken away: body is then theirs, else "".
func (t *teller) realChanged(key lb.ServiceKey, addr netip.AddrPort, up bool, body string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.real(key, addr)
	if r == nil {
		return
	}
	script := r.NotifyDown
	if up {
		script = r.NotifyUp
	}
	rs, vs := lb.EndpointName(key.Protocol, addr), t.serviceName(key)
	t.tell(notice{about: "RS " + rs + " " + vs, what: upDown(up), scripts: []*conf.Script{script},
		line: fmt.Sprintf("RS %s %s %s\n", rs, vs, upDown(up)), fifo: fifoLVS})
	if body != "" && r.SMTPAlert {
		t.mailReal(key, addr, up, body)
	}
}

// quorumChanged tells that a service gained or lost its quorum. why is the machine's.
func (t *teller) quorumChanged(key lb.ServiceKey, up bool, why string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.services[key]
	if v == nil {
		return
	}
	script := v.QuorumDown
	if up {
		script = v.QuorumUp
	}
	vs := t.serviceName(key)
	t.tell(notice{about: "VS " + vs, what: upDown(up), scripts: []*conf.Script{script},
		line: fmt.Sprintf("VS %s %s\n", vs, upDown(up)), fifo: fifoLVS})
	if v.SMTPAlert {
		t.mailAbout(fmt.Sprintf("Virtualserver %s - %s", vs, upDown(up)), "=> "+mailedQuorum(v, why)+" <=")
	}
}

// mailedQuorum is a quorum's why in the words of a mail.
//
// keepalived: its mails, unlike its log, have "+" and "<=" also where the quorum is lost.
func mailedQuorum(v *conf.VirtualServer, why string) string {
	if why == "Removing" {
		quorum := max(v.Quorum, 1)
		return fmt.Sprintf("Lost quorum %d+%d=%d <= 0", quorum, v.Hysteresis, quorum-v.Hysteresis)
	}
	return strings.Replace(strings.Replace(why, "-", "+", 1), " > ", " <= ", 1)
}

// checkerMails are the bodies of mails about checkers: of a success and of a failure.
var checkerMails = map[health.Kind][2]string{
	health.TCPCheck:  {"=> TCP CHECK succeed on service <=", "=> TCP CHECK failed on service <="},
	health.HTTPGet:   {"=> CHECK succeed on service <=", "=> CHECK failed on service : HTTP request failed <="},
	health.SSLGet:    {"=> CHECK succeed on service <=", "=> CHECK failed on service : HTTP request failed <="},
	health.UDPCheck:  {"=> UDP CHECK succeed on service <=", "=> UDP CHECK failed on service <="},
	health.PingCheck: {"=> ICMP CHECK succeed on service <=", "=> ICMP CHECK failed on service <="},
	health.DNSCheck:  {"=> DNS_CHECK: succeed on service <=", "=> DNS_CHECK: failed on service <="},
	health.MiscCheck: {"=> MISC CHECK succeeded on service <=", "=> MISC CHECK failed on service <="},
}

// checkerMail is the body for a checker of any kind.
func checkerMail(c health.CheckerTurned) string {
	switch {
	case c.Kind == health.MiscCheck && !c.Up && c.Last.Timeout:
		return "=> MISC CHECK timed out on service <="
	case c.Kind == health.BFDCheck:
		return fmt.Sprintf("=> BFD CHECK %s %s on service <=", c.Session, map[bool]string{true: "succeeded", false: "failed"}[c.Up])
	case c.Kind == health.SMTPCheck && !c.Up && c.Last.Said != "":
		return "=> CHECK failed on service : " + c.Last.Said + " <="
	}
	texts, ok := checkerMails[c.Kind]
	if !ok {
		texts = [2]string{"=> CHECK succeed on service <=", "=> CHECK failed on service <="}
	}
	if c.Up {
		return texts[0]
	}
	return texts[1]
}

// checkerChanged mails that a checker came to another verdict; with no_checker_emails only if that changed its real
// server. up is the checker's verdict, c.RealUp the real server's.
func (t *teller) checkerChanged(c health.CheckerTurned) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.Kind == health.FileCheck {
		return // keepalived: sends none for it
	}
	if r := t.real(c.Service, c.Real); r != nil && r.SMTPAlert && (c.RealTurned || !t.global.NoCheckerEmails) {
		t.mailReal(c.Service, c.Real, c.RealUp, checkerMail(c))
	}
}

func (t *teller) mailReal(key lb.ServiceKey, addr netip.AddrPort, up bool, body string) {
	t.mailAbout(fmt.Sprintf("Realserver %s of virtual server %s - %s", lb.EndpointName(key.Protocol, addr), t.serviceName(key), upDown(up)), body)
}

// toldServices are the services of a configuration by the key and the name that verdicts about them have: of a group, those
// of its first member and of the group.
func toldServices(cfg *conf.Config) (all []*conf.VirtualServer) {
	grouped := map[string]lb.ServiceKey{}
	for _, s := range cfg.Health.Services {
		if s.Name != "" {
			grouped[s.Name] = s.ServiceKey
		}
	}
	for _, v := range cfg.VirtualServers {
		if v.Group == "" {
			all = append(all, v)
			continue
		}
		name := fmt.Sprintf("[%s]:%d", v.Group, v.Member)
		if key, ok := grouped[name]; ok {
			named := *v
			named.ServiceKey, named.Name = key, name
			all = append(all, &named)
		}
	}
	return all
}

// serviceName is how keepalived names a service: by its group, if it has one.
func (t *teller) serviceName(key lb.ServiceKey) string {
	if v := t.services[key]; v != nil && v.Name != "" {
		return v.Name
	}
	return key.String()
}

func (t *teller) real(key lb.ServiceKey, addr netip.AddrPort) *conf.RealServer {
	v := t.services[key]
	if v == nil {
		return nil
	}
	for i := range v.Servers {
		if v.Servers[i].Addr == addr {
			return &v.Servers[i]
		}
	}
	return nil
}
