package lab

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// haproxyConf is what is said beside the backends, which are the director's pools. A check of the director is a connection that
// says nothing, which is not worth a line.
const haproxyConf = `global
    stats socket ipv4@ADDR level admin
    log stdout format raw local0 info
defaults
    mode http
    log global
    option httplog
    option dontlognull
    timeout connect 2s
    timeout client 30s
    timeout server 30s
frontend site
    bind :PORT
    http-request del-header X-Forwarded-For
    http-response set-header X-Proxy HOST
    use_backend vipd_attachments if { path_beg /attachment- } || { hdr(host) -i files.example.org }
    default_backend vipd_topics
`

// runtimePort is where a proxy takes commands.
const runtimePort = 9999

// exportArgs are what makes the directors' pools into a proxy's backends.
var exportArgs = []string{"export", "haproxy", "--backends", "--mode", "http", "--service", "topics", "--service", "attachments"}

// startProxies writes the proxies' configurations and starts them, and beside each director what tells them of its pools.
func (l *Lab) startProxies() error {
	if len(l.Proxies) == 0 {
		return nil
	}
	backends, err := exec.Command(l.Program, append(slices.Clone(exportArgs), l.ConfigFile(l.Directors[0]))...).Output()
	if err != nil {
		return fmt.Errorf("write the backends of HAProxy: %w%s", err, stderrOf(err))
	}
	for host := range l.Proxies {
		own := strings.NewReplacer("ADDR", l.runtime(host), "PORT", strconv.Itoa(int(l.VIP.Port())), "HOST", host).Replace(haproxyConf)
		if err := os.MkdirAll(l.storeDir(host), 0o755); err != nil {
			return err
		}
		for name, text := range map[string]string{"own.cfg": own, "vipd.cfg": string(backends)} {
			if err := os.WriteFile(filepath.Join(l.storeDir(host), name), []byte(text), 0o644); err != nil {
				return err
			}
		}
		if l.Without[host] {
			continue
		}
		if err := l.StartProxy(host); err != nil {
			return err
		}
	}
	for _, host := range l.Directors {
		if err := l.startExporter(host); err != nil {
			return err
		}
	}
	return nil
}

// StartProxy starts HAProxy on a proxy's host.
func (l *Lab) StartProxy(host string) error {
	dir := l.storeDir(host)
	return l.track(l.spawn(host, RoleProxy, program{path: tool("haproxy"), args: []string{"-db", "-f", filepath.Join(dir, "own.cfg"), "-f", filepath.Join(dir, "vipd.cfg")}}, false))
}

// startExporter lets a director's pools reach the proxies, while it is master. It waits for the director, and outlives it.
func (l *Lab) startExporter(host string) error {
	args := append(slices.Clone(exportArgs), "--instance", l.InstanceOf(host), "--watch", filepath.Join(l.Dir, host+".haproxy"), "--while-master")
	for proxy := range l.Proxies {
		args = append(args, "--socket", l.runtime(proxy))
	}
	p, err := l.start(host, RoleExport, false, args...)
	if err == nil {
		l.procs[host+" "+RoleExport] = p
	}
	return err
}

// runtime is where a proxy takes commands.
func (l *Lab) runtime(host string) string { return fmt.Sprintf("%s:%d", l.Proxies[host], runtimePort) }

// proxyAddrs are the addresses of the proxies, comma-separated.
func (l *Lab) proxyAddrs() string {
	var all []string
	for _, a := range l.Proxies {
		all = append(all, a.String())
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// The columns of HAProxy's "show servers state" that are read here (management guide, 9.3).
const (
	columnServer = 3
	columnAdmin  = 6
	columnWeight = 7
)

// proxied wants every proxy that runs to have a real server with a weight, or in maintenance.
func (l *Lab) proxied(real string, weight string, maint bool) error {
	for host := range l.Proxies {
		if _, runs := l.running(host); !runs {
			continue
		}
		answer, err := l.askProxy(host, "show servers state")
		if err != nil {
			return err
		}
		found := false
		for line := range strings.Lines(answer) {
			words := strings.Fields(line)
			if len(words) <= columnWeight || words[columnServer] != real {
				continue
			}
			found = true
			if words[columnWeight] != weight || forced(words[columnAdmin]) != maint {
				return fmt.Errorf("%s: %s has weight %s and state %s", host, real, words[columnWeight], words[columnAdmin])
			}
		}
		if !found {
			return fmt.Errorf("%s does not have %s", host, real)
		}
	}
	return nil
}

// forced tells whether srv_admin_state has SRV_ADMF_FMAINT.
func forced(state string) bool {
	n, err := strconv.Atoi(state)
	return err == nil && n&1 != 0
}

// askProxy gives a proxy a command from its own host, and returns its answer.
func (l *Lab) askProxy(host, command string) (string, error) {
	var conn net.Conn
	err := l.built.inside(host, func() (err error) {
		conn, err = net.DialTimeout("tcp", l.runtime(host), time.Second)
		return err
	})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(io.LimitReader(conn, 1<<20))
	return string(answer), err
}
