package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// eximConfig is a relay that takes anything on port 2525, and on 2587 (STARTTLS) and 2465 (TLS) from who has logged in. It
// writes every mail into one file, as the user that Debian's exim runs as.
const eximConfig = `primary_hostname = relay.example.org
spool_directory = DIR/spool
log_file_path = DIR/%%slog
pid_file_path = DIR/pid
daemon_smtp_ports = 2525 : 2587 : 2465
local_interfaces = 127.0.0.1
tls_on_connect_ports = 2465
tls_advertise_hosts = *
tls_certificate = DIR/cert.pem
tls_privatekey = DIR/key.pem
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
host_lookup =
begin acl
rcpt:
  deny condition = ${if !eq{$received_port}{2525}}
       !authenticated = *
       message = log in first
  accept
begin routers
all:
  driver = accept
  transport = keep
begin transports
keep:
  driver = appendfile
  file = DIR/mail
  user = Debian-exim
  group = Debian-exim
begin authenticators
login:
  driver = plaintext
  public_name = AUTHENTICATOR
  server_prompts = PROMPTS
  server_condition = ${if and{{eq{$authN}{vipd}}{eq{$authM}{secret}}}}
  server_advertise_condition = ${if def:tls_in_cipher}
`

// startExim starts a relay with one way to log in, PLAIN or LOGIN.
func startExim(t *testing.T, namespace, method string) (dir string, start func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "vipd-exim-") // not below the test's own directory, which other users cannot enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	words := map[string][]string{"PLAIN": {":", "auth2", "auth3"}, "LOGIN": {"Username:: : Password::", "auth1", "auth2"}}[method]
	text := strings.NewReplacer("DIR", dir, "%%s", "%s", "AUTHENTICATOR", method, "PROMPTS", words[0], "authN", words[1], "authM", words[2]).Replace(eximConfig)
	if words[0] == ":" {
		text = strings.Replace(text, "  server_prompts = :\n", "", 1)
	}
	certificate(t, dir)
	if err := os.WriteFile(dir+"/exim.conf", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, dir + "/spool"} {
		_ = os.Mkdir(d, 0o777)
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return dir, func() {
		cmd := exec.Command("exim4", "-C", dir+"/exim.conf", "-bdf")
		inside(t, namespace, cmd.Start)
		t.Cleanup(func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
		})
	}
}

// certificate writes a key and a certificate of 127.0.0.1 that signs itself.
func certificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestARealRelayTakesMails: Debian's exim, in the clear, by STARTTLS and by TLS, with both ways to log in. It starts after
// vipd, whose first mails so have to wait for it.
func TestARealRelayTakesMails(t *testing.T) {
	if !alone(t, time.Minute, "exim4") {
		return
	}
	for k, method := range []string{"PLAIN", "LOGIN"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, fmt.Sprintf("mail%d", k))
			dir, relay := startExim(t, p.lab.Namespace("a"), method)
			var ends []func()
			for i, way := range []struct{ name, port, more string }{
				{"clear", "2525", ""},
				{"starttls", "2587", "smtp_tls starttls insecure\n smtp_auth vipd secret"},
				{"tls", "2465", "smtp_tls tls insecure\n smtp_auth vipd secret"},
				{"stranger", "2465", "smtp_tls tls\n smtp_auth vipd secret"}, // nobody vouches for the certificate
				{"thief", "2465", "smtp_tls tls insecure\n smtp_auth vipd guess"},
			} {
				ends = append(ends, mailing(t, p, dir, i, way.name, way.port, way.more))
			}
			time.Sleep(500 * time.Millisecond)
			relay()
			mails := func() string { text, _ := os.ReadFile(dir + "/mail"); return string(text) }
			arrived := func(state string) bool {
				for _, name := range []string{"clear", "starttls", "tls"} {
					if !strings.Contains(mails(), "Subject: ["+name+"] VRRP Instance VI_1 - "+state+"\n") {
						return false
					}
				}
				return true
			}
			eventually(t, 15*time.Second, "the first mails have arrived", func() bool { return arrived("Entering BACKUP state") })
			for _, end := range ends {
				end()
			}
			eventually(t, 10*time.Second, "the last mails have arrived", func() bool { return arrived("Stopping") })
			if text := mails(); strings.Contains(text, "[stranger]") || strings.Contains(text, "[thief]") {
				t.Errorf("the relay took what it should not have got:\n%s", text)
			}
			if !strings.Contains(mails(), "\nFrom: Director <director@example.org>\n") || !strings.Contains(mails(), "\nDelivered-To") && !strings.Contains(mails(), "From director@example.org ") {
				t.Errorf("a mail as it arrived:\n%.1500s", mails())
			}
		})
	}
}

// mailing starts a vipd that mails, and returns how it is ended.
func mailing(t *testing.T, p *pair, dir string, i int, name, port, more string) func() {
	t.Helper()
	file := filepath.Join(p.lab.Dir, name+".conf")
	text := fmt.Sprintf(`global_defs {
 router_id %s
 notification_email {
  root@localhost
 }
 notification_email_from "Director <director@example.org>"
 smtp_server 127.0.0.1 %s
 smtp_connect_timeout 5
 %s
}
vrrp_instance VI_1 {
 interface eth0
 virtual_router_id %d
 priority 10
 smtp_alert
 virtual_ipaddress {
  10.9.0.%d
 }
}
`, name, port, more, 60+i, 60+i)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd := exec.Command(program(), "run", "-f", file, "--instance", p.name+name, "-D")
	cmd.Stdout, cmd.Stderr = &log, &log
	inside(t, p.lab.Namespace("a"), cmd.Start)
	return func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		t.Logf("log of %s:\n%s", name, log.String())
		if name == "stranger" && !strings.Contains(log.String(), "certificate") || name == "thief" && !strings.Contains(log.String(), "SMTP status code = 535") {
			t.Errorf("%s: the log does not say why no mail is sent", name)
		}
		if strings.Contains(log.String(), "guess") || strings.Contains(log.String(), "secret") {
			t.Errorf("%s: the log has the password", name)
		}
	}
}
