package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Dir is where the sockets of all instances are.
const Dir = "/run/vipd"

var instanceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// CheckInstance says whether name may name an instance: it becomes a file name twice, once in a BPF file system, which
// refuses dots: letters, digits,
// dash and underscore, 64 at most.
func CheckInstance(name string) error {
	if !instanceName.MatchString(name) {
		return fmt.Errorf("instance name %.80q: want letters, digits, dash and underscore, at most 64", name)
	}
	return nil
}

// SocketPath is the socket of an instance.
func SocketPath(instance string) string { return filepath.Join(Dir, instance+".sock") }

// ErrRunning says that the socket answers: a daemon of this name is running.
var ErrRunning = errors.New("a daemon of this name is already running")

// Group may ask a daemon too, if there is one of that name: root's packages make it.
const Group = "vipd"

// Listen makes the socket that people ask, mode 0660, of Group, and its directory, mode 0755. A socket that a dead process has
// left is replaced; a live one is ErrRunning. Closing the listener removes the socket.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chmod(path, 0o660), giveTo(path, Group)); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

func giveTo(path, group string) error {
	g, err := user.LookupGroup(group)
	if err != nil {
		return nil // there is none: the socket is its maker's
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return nil
	}
	return os.Chown(path, -1, gid)
}

// lockDir keeps two daemons that start at the same moment from both finding a stale socket. A lock on the directory
// itself leaves no lock file behind.
func lockDir(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		d.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { d.Close() }, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("listen on %s: it is there already and is not a socket", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
		return fmt.Errorf("listen on %s: %w", path, ErrRunning)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("listen on %s: is it in use? %w", path, err)
	}
	return os.Remove(path)
}
