package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// vsftpdConf lets anonymous users keep files in attachments/. vsftpd allows nobody to write at the root that it shuts them
// into. Its seccomp filter is of another decade than some kernels.
const vsftpdConf = `listen=YES
listen_ipv6=NO
background=NO
anonymous_enable=YES
write_enable=YES
anon_upload_enable=YES
anon_umask=022
anon_world_readable_only=NO
anon_root=DIR/root
secure_chroot_dir=DIR/empty
seccomp_sandbox=NO
`

func prepareFTP(_ *Lab, dir string) error {
	for _, d := range []string{"root/attachments", "empty"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "vsftpd.conf"), []byte(strings.ReplaceAll(vsftpdConf, "DIR", dir)), 0o644); err != nil {
		return err
	}
	return belongsTo(filepath.Join(dir, "root/attachments"), "ftp")
}

// eximConf is a mail server that takes everything, and keeps it in one file.
const eximConf = `primary_hostname = mail.example.org
spool_directory = DIR/spool
log_file_path = DIR/%slog
pid_file_path = DIR/spool/pid
daemon_smtp_ports = PORT
local_interfaces = ADDR
host_lookup =
acl_smtp_rcpt = accept
acl_smtp_data = accept
begin routers
all:
  driver = accept
  transport = keep
begin transports
keep:
  driver = appendfile
  file = DIR/box/mail
  user = Debian-exim
  group = Debian-exim
`

// mailUser is whom Debian's exim runs as.
const mailUser = "Debian-exim"

// MailBox is the file that the mail server keeps all mails in.
func (l *Lab) MailBox() string { return filepath.Join(l.storeDir("mail"), "box", "mail") }

func prepareMail(l *Lab, dir string) error {
	s, _ := storeOf("mail")
	for _, d := range []string{dir, filepath.Join(dir, "box"), filepath.Join(dir, "spool")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
		if err := belongsTo(d, mailUser); err != nil {
			return err
		}
	}
	text := strings.NewReplacer("DIR", dir, "PORT", strconv.Itoa(s.port), "ADDR", s.addr.String()).Replace(eximConf)
	return os.WriteFile(filepath.Join(dir, "exim.conf"), []byte(text), 0o644)
}

// preparePostgres makes a database cluster with the user and the database that the forum uses.
func preparePostgres(l *Lab, dir string) error {
	if err := belongsTo(dir, "postgres"); err != nil {
		return err
	}
	prog := program{path: tool("initdb"), user: "postgres", args: []string{"-D", filepath.Join(dir, "data"), "-U", "forum", "-A", "trust",
		"--no-sync", "--wal-segsize=1", "--locale=C.UTF-8"}}
	attr, err := prog.attributes()
	if err != nil {
		return err
	}
	cmd := exec.Command(prog.path, prog.args...)
	cmd.Dir, cmd.SysProcAttr = "/", attr
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	// Whoever is on this network is trusted: it is a network inside this machine.
	return os.WriteFile(filepath.Join(dir, "data", "pg_hba.conf"), []byte("host all all 10.0.0.0/8 trust\n"), 0o644)
}

// runPostgres lets it survive a kill: what it was told is in the machine's memory, if not on its disk (fsync=off). Its shared
// memory is in an IPC namespace and a directory of its own, so that nothing outlives the lab.
func runPostgres(l *Lab, s store) (program, error) {
	args := []string{"-D", filepath.Join(l.storeDir(s.host), "data")}
	for _, set := range []string{"listen_addresses=" + s.addr.String(), "port=" + strconv.Itoa(s.port), "unix_socket_directories=",
		"dynamic_shared_memory_type=mmap", "fsync=off", "shared_buffers=16MB", "max_connections=20"} {
		args = append(args, "-c", set)
	}
	return program{path: tool("postgres"), user: "postgres", ipc: true, args: args}, nil
}

// program is something that a lab can start.
type program struct {
	path string
	args []string
	user string // whom it runs as. If empty, as the lab does.
	ipc  bool   // with an IPC namespace of its own
}

func (p program) attributes() (*syscall.SysProcAttr, error) {
	// A session of its own: Ctrl-C at the terminal is for the lab, which ends its processes in order.
	attr := &syscall.SysProcAttr{Setsid: true}
	if p.ipc {
		attr.Cloneflags = syscall.CLONE_NEWIPC
	}
	if p.user != "" {
		uid, gid, err := ids(p.user)
		if err != nil {
			return nil, err
		}
		attr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	return attr, nil
}
