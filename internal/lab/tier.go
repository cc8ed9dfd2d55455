package lab

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// store is a server of the third tier: a real program, in a host of its own, that every real server uses.
type store struct {
	host    string
	addr    netip.Addr
	port    int
	is      string                                 // what a person calls it
	needs   []string                               // programs
	from    string                                 // the Debian package that has them
	prepare func(l *Lab, dir string) error         // before its first start; dir is its own. If nil, nothing.
	run     func(l *Lab, s store) (program, error) // how it is started
}

// stores are the third tier of the site.
func stores() []store {
	return []store{
		{host: "cache", addr: netip.MustParseAddr("10.0.8.31"), port: 11211, is: "memcached", needs: []string{"memcached"}, from: "memcached",
			run: func(_ *Lab, s store) (program, error) {
				return program{path: tool("memcached"), user: "nobody", args: []string{"-l", s.addr.String(), "-p", strconv.Itoa(s.port), "-U", "0", "-m", "32"}}, nil
			}},
		{host: "files", addr: netip.MustParseAddr("10.0.8.32"), port: 21, is: "FTP server", needs: []string{"vsftpd"}, from: "vsftpd",
			prepare: prepareFTP, run: func(l *Lab, s store) (program, error) {
				return program{path: tool("vsftpd"), args: []string{filepath.Join(l.storeDir(s.host), "vsftpd.conf")}}, nil
			}},
		{host: "posts", addr: netip.MustParseAddr("10.0.8.33"), port: 5432, is: "PostgreSQL", needs: []string{"initdb", "postgres"}, from: "postgresql",
			prepare: preparePostgres, run: runPostgres},
		{host: "mail", addr: netip.MustParseAddr("10.0.8.34"), port: 25, is: "mail server", needs: []string{"exim4"}, from: "exim4-daemon-light",
			prepare: prepareMail, run: func(l *Lab, s store) (program, error) {
				return program{path: tool("exim4"), args: []string{"-C", filepath.Join(l.storeDir(s.host), "exim.conf"), "-bdf"}}, nil
			}},
	}
}

func storeOf(host string) (store, bool) {
	for _, s := range stores() {
		if s.host == host {
			return s, true
		}
	}
	return store{}, false
}

// addTier puts the third tier's hosts on the site's switch.
func (s *Site) addTier() {
	for _, st := range stores() {
		s.Hosts = append(s.Hosts, Host{Name: st.host, Routes: s.inside})
		s.Cables = append(s.Cables, patch(st.host, st.addr, false))
	}
}

// MissingError says which programs the third tier needs and this machine lacks.
type MissingError struct{ Programs, Packages []string }

func (e *MissingError) Error() string {
	verb := "is"
	if len(e.Programs) > 1 {
		verb = "are"
	}
	return fmt.Sprintf("%s %s missing", strings.Join(e.Programs, ", "), verb)
}

// Furnish gives the lab its third tier: the real servers run the forum, a program of that path, and share a memcached, an FTP
// server, a PostgreSQL and a mail server. It returns a MissingError if the machine lacks one of them.
func (l *Lab) Furnish(forum string) error {
	var missing MissingError
	for _, s := range stores() {
		for _, name := range s.needs {
			if tool(name) == "" {
				missing.Programs, missing.Packages = append(missing.Programs, name), append(missing.Packages, s.from)
			}
		}
	}
	if len(missing.Programs) > 0 {
		missing.Packages = slices.Compact(missing.Packages)
		return &missing
	}
	l.Forum = forum
	l.Site.addTier()
	return nil
}

// tool finds a program in PATH, and where Debian keeps those that are in no PATH. Empty: it is missing.
func tool(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, pattern := range []string{"/usr/sbin/", "/usr/lib/postgresql/*/bin/"} {
		if found, _ := filepath.Glob(pattern + name); len(found) > 0 {
			return found[len(found)-1]
		}
	}
	return ""
}

// storeDir is where a store keeps its files.
func (l *Lab) storeDir(host string) string { return filepath.Join(l.Dir, host) }

// startStores prepares and starts the third tier.
func (l *Lab) startStores() error {
	for _, s := range stores() {
		dir := l.storeDir(s.host)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if s.prepare != nil {
			if err := s.prepare(l, dir); err != nil {
				return fmt.Errorf("prepare the %s: %w", s.is, err)
			}
		}
		if l.Without[s.host] {
			continue
		}
		if err := l.StartStore(s.host); err != nil {
			return err
		}
	}
	return nil
}

// StartStore starts the third tier's program of host. What it kept before is still there.
func (l *Lab) StartStore(host string) error {
	s, ok := storeOf(host)
	if !ok || l.Forum == "" {
		return fmt.Errorf("host %s has no program", host)
	}
	prog, err := s.run(l, s)
	if err != nil {
		return err
	}
	return l.track(l.spawn(host, RoleStore, prog, false))
}

// belongsTo gives a file or directory to a user of this machine, which a package has made.
func belongsTo(path, name string) error {
	uid, gid, err := ids(name)
	if err != nil {
		return err
	}
	return os.Chown(path, int(uid), int(gid))
}

func ids(name string) (uid, gid uint32, err error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, err
	}
	uid64, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return 0, 0, err
	}
	gid64, err := strconv.ParseUint(u.Gid, 10, 32)
	return uint32(uid64), uint32(gid64), err
}
