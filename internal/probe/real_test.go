package probe

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/md5"
	"crypto/rand"
	"crypto/x509"
	_ "embed"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"vipd/internal/health"
	"vipd/internal/need"
)

// realServers are servers of the kinds, as Debian has them. DIR in their arguments and files is a folder of their own.
var realServers = []struct {
	program string
	args    []string
	files   map[string]string
	checks  []health.Checker          // each must be good; the target's address is 127.0.0.1
	before  string                    // for a shell, in DIR, before it starts
	bad     map[string]health.Checker // by the beginning of what is wrong
}{
	{"redis-server", []string{"--port", "6379", "--bind", "127.0.0.1", "--save", "", "--dir", "DIR"}, nil,
		[]health.Checker{{Kind: health.RedisCheck, Target: at(6379)}}, "", nil},
	{"redis-server", []string{"--port", "6379", "--bind", "127.0.0.1", "--save", "", "--dir", "DIR", "--requirepass", "secret"}, nil,
		[]health.Checker{{Kind: health.RedisCheck, Target: at(6379), Talk: &health.Talk{Password: "secret"}}}, "",
		map[string]health.Checker{`it says "-NOAUTH`: {Kind: health.RedisCheck, Target: at(6379)}, `it says "-WRONGPASS`: {Kind: health.RedisCheck, Target: at(6379), Talk: &health.Talk{Password: "other"}}}},
	{"memcached", []string{"-u", "root", "-l", "127.0.0.1", "-p", "11211", "-U", "0"}, nil,
		[]health.Checker{{Kind: health.MemcachedCheck, Target: at(11211)}}, "", nil},
	{"vsftpd", []string{"DIR/vsftpd.conf"}, map[string]string{"vsftpd.conf": "listen=YES\nlisten_ipv6=NO\nbackground=NO\nsecure_chroot_dir=DIR\nanonymous_enable=YES\n"},
		[]health.Checker{{Kind: health.FTPCheck, Target: at(21)}}, "", nil},
	{"dnsmasq", []string{"--no-daemon", "--port=53", "--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv", "--no-hosts",
		"--conf-file=/dev/null", "--address=/example.com/10.0.8.9", "--user=root", "--pid-file="}, nil,
		[]health.Checker{{Kind: health.DNSCheck, Target: at(53), DNS: &health.DNS{Name: "example.com", Type: "A"}}}, "",
		map[string]health.Checker{"the name server answers REFUSED": {Kind: health.DNSCheck, Target: at(53), DNS: &health.DNS{Name: "other.example.org", Type: "A"}}}},
	{"exim4", []string{"-bdf", "-C", "DIR/exim.conf", "-oP", "DIR/pid"}, map[string]string{"exim.conf": "primary_hostname = mail.example.org\n" +
		"daemon_smtp_ports = 2525\nlocal_interfaces = 127.0.0.1\nspool_directory = DIR\nlog_file_path = DIR/%slog\nexim_user = root\nexim_group = root\nnever_users =\n"},
		[]health.Checker{{Kind: health.SMTPCheck, Target: at(2525), Helo: "director.example.org"}}, "", nil},
	{"nginx", []string{"-c", "DIR/nginx.conf"}, map[string]string{"nginx.conf": "daemon off;\nmaster_process off;\npid DIR/pid;\nerror_log DIR/log;\n" +
		"events {}\nhttp {\naccess_log off;\nclient_body_temp_path DIR/1;\nproxy_temp_path DIR/2;\nfastcgi_temp_path DIR/3;\nuwsgi_temp_path DIR/4;\nscgi_temp_path DIR/5;\n" +
		"server { listen 127.0.0.1:443 ssl http2; listen 127.0.0.1:80; server_name www.example.com;\nssl_certificate DIR/cert; ssl_certificate_key DIR/key;\n" +
		"location / { return 200 well; }\nlocation /gone { return 410; } }\nserver { listen 127.0.0.1:81 http2; location / { return 204; } }\n}\n"},
		[]health.Checker{
			web11(80, health.HTTP{Protocol: "1.1"}, health.URL{Path: "/", Digest: wellDigest}),
			web11(443, health.HTTP{TLS: true, SNI: true}, health.URL{Path: "/", Regex: "^we"}),
			web11(443, health.HTTP{TLS: true, SNI: true, Protocol: "2", Verify: &health.Verify{Chain: true, CA: "DIR/ca"}}, health.URL{Path: "/", Digest: wellDigest}),
			web11(443, health.HTTP{TLS: true, Protocol: "2"}, health.URL{Path: "/gone", Codes: [][2]int{{410, 410}}}),
			web11(81, health.HTTP{Protocol: "2"}, health.URL{Path: "/", Codes: [][2]int{{204, 204}}}),
		}, "", nil},
	{"/usr/bin/python3", []string{"-c", grpcServer, "DIR"}, nil, // not one that somebody else has put into the path: python3-grpcio is Debian's
		[]health.Checker{
			{Kind: health.GRPCCheck, Target: at(50051)},
			{Kind: health.GRPCCheck, Target: at(50052), Talk: &health.Talk{TLS: true, Name: "www.example.com"}},
		}, "/usr/bin/python3 -c 'import grpc'",
		map[string]health.Checker{
			"it says NOT_SERVING, expected SERVING": {Kind: health.GRPCCheck, Target: at(50051), Talk: &health.Talk{Service: "pay"}},
			`gRPC status "5": "unknown service"`:    {Kind: health.GRPCCheck, Target: at(50052), Talk: &health.Talk{TLS: true, Service: "other"}},
		}},
	{"setpriv", []string{"--reuid=postgres", "--regid=postgres", "--clear-groups", "sh", "-c", "exec $(ls -d /usr/lib/postgresql/*/bin | head -1)/postgres " +
		"-D DIR/data -p 5432 -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"}, nil,
		[]health.Checker{
			{Kind: health.PostgreSQLCheck, Target: at(5432)},
			{Kind: health.PostgreSQLCheck, Target: at(5432), Talk: &health.Talk{User: "check", Database: "template1"}},
			{Kind: health.PostgreSQLCheck, Target: at(5432), Talk: &health.Talk{User: "nobody-here"}},
		}, "echo secret >pw && chown postgres . pw && chmod 755 .. && setpriv --reuid=postgres --regid=postgres --clear-groups $(ls -d /usr/lib/postgresql/*/bin | head -1)/initdb -N -D data -U check -A scram-sha-256 --pwfile=pw", nil},
	{"mariadbd", []string{"--no-defaults", "--user=root", "--datadir=DIR/data", "--bind-address=127.0.0.1", "--port=3306", "--socket=DIR/socket", "--pid-file=DIR/pid",
		"--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M", "--innodb-use-native-aio=0", "--init-file=DIR/init.sql"},
		map[string]string{"init.sql": "create user 'check'@'%';\ncreate user 'locked'@'%' identified by 'secret';\n"},
		[]health.Checker{
			{Kind: health.MySQLCheck, Target: at(3306)},
			{Kind: health.MySQLCheck, Target: at(3306), Talk: &health.Talk{User: "check"}},
		}, "mkdir data && (echo 'create database mysql;'; echo 'use mysql;'; cat /usr/share/mysql/mysql_system_tables.sql /usr/share/mysql/mysql_system_tables_data.sql) | " +
			"mariadbd --no-defaults --bootstrap --user=root --datadir=$PWD/data --innodb-log-file-size=4M --innodb-buffer-pool-size=8M --innodb-use-native-aio=0",
		map[string]health.Checker{
			"error 1045": {Kind: health.MySQLCheck, Target: at(3306), Talk: &health.Talk{User: "locked"}},
		}},
}

//go:embed testdata/grpc_health.py
var grpcServer string

var wellDigest = func() string { sum := md5.Sum([]byte("well")); return hex.EncodeToString(sum[:]) }()

func at(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
}

func web11(port uint16, h health.HTTP, u health.URL) health.Checker {
	h.URLs, h.VirtualHost = []health.URL{u}, "www.example.com"
	kind := health.HTTPGet
	if h.TLS {
		kind = health.SSLGet
	}
	return health.Checker{Kind: kind, Target: at(port), HTTP: &h}
}

// TestRealServersOfEachKind: each is good while its server runs, and refused when it has been killed.
func TestRealServersOfEachKind(t *testing.T) {
	for i, s := range realServers {
		program := need.Tool(t, s.program)
		t.Run(fmt.Sprintf("%d %s", i, filepath.Base(program)), func(t *testing.T) {
			inEmptyNamespace(t, func() {
				lo, err := netlink.LinkByName("lo")
				if err == nil {
					err = netlink.LinkSetUp(lo)
				}
				if err != nil {
					t.Error(err)
					return
				}
				dir := t.TempDir()
				here := strings.NewReplacer("DIR", dir)
				writeServer(t, dir, s.files)
				if out, err := before(dir, s.before); err != nil {
					t.Errorf("%v: %s", err, out)
					return
				}
				var args []string
				for _, a := range s.args {
					args = append(args, here.Replace(a))
				}
				cmd := exec.Command(program, args...)
				var out lockedBuffer
				cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = &out, &out, &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
				if err := cmd.Start(); err != nil {
					t.Error(err)
					return
				}
				end := sync.OnceFunc(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); _ = cmd.Wait() })
				defer end()
				for _, c := range s.checks {
					c.ConnectTimeout = 10 * time.Second
					if c.HTTP != nil && c.HTTP.Verify != nil {
						h := *c.HTTP
						h.Verify = &health.Verify{Chain: true, CA: here.Replace(h.Verify.CA)}
						c.HTTP = &h
					}
					res := Run(t.Context(), c)
					for limit := time.Now().Add(30 * time.Second); !res.OK && time.Now().Before(limit); res = Run(t.Context(), c) {
						time.Sleep(50 * time.Millisecond) // it starts
					}
					if !res.OK {
						t.Errorf("%s %s: %+v\n%s", c.Kind, c.Target, res, out.String())
					}
				}
				for why, c := range s.bad {
					c.ConnectTimeout = 10 * time.Second
					if res := Run(t.Context(), c); res.OK || res.Inconclusive || !strings.HasPrefix(res.Why, why) {
						t.Errorf("%+v, want %s", res, why)
					}
				}
				end()
				c := s.checks[0]
				c.ConnectTimeout = 10 * time.Second
				if res := Run(t.Context(), c); res.OK || res.Why != "connection refused" {
					t.Errorf("killed: %+v", res)
				}
			})
		})
	}
}

// before runs what prepares a server in its folder.
func before(dir, line string) ([]byte, error) {
	cmd := exec.Command("bash", "-c", line)
	cmd.Dir = dir
	return cmd.CombinedOutput()
}

// writeServer puts the files of a server into its folder, and a certificate.
func writeServer(t *testing.T, dir string, files map[string]string) {
	ca := newAuthority(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Error(err)
		return
	}
	cert := ca.make(t, &x509.Certificate{DNSNames: []string{"www.example.com"}, NotAfter: time.Now().AddDate(0, 1, 0)}, key)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Error(err)
		return
	}
	authority, _ := os.ReadFile(ca.file)
	all := map[string]string{"ca": string(authority), "cert": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})),
		"key": string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))}
	for name, text := range files {
		all[name] = strings.ReplaceAll(text, "DIR", dir)
	}
	for name, text := range all {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// lockedBuffer is written by a program while the test reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
