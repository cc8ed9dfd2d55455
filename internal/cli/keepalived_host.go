package cli

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"vipd/internal/conf"
)

// thisHost answers what keepalived -t asks the machine that it runs on: interfaces, users, the files of scripts, names.
func thisHost() conf.TestOptions {
	return conf.TestOptions{Interfaces: hostInterface, User: hostUser, Script: hostScript,
		Resolve: hostResolves, Name: hostName, Namespace: hostNamespace, CPUs: runtime.NumCPU()}
}

func hostInterface(name string) (conf.Interface, bool) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return conf.Interface{}, false
	}
	kind, _ := os.ReadFile(filepath.Join("/sys/class/net", filepath.Base(name), "uevent"))
	c := conf.Interface{MTU: i.MTU, Loopback: i.Flags&net.FlagLoopback != 0, NoMulticast: i.Flags&net.FlagMulticast == 0,
		VRF: strings.Contains(string(kind), "DEVTYPE=vrf\n")}
	addrs, _ := i.Addrs()
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		switch {
		case err != nil:
		case p.Addr().Is4() && !c.V4.IsValid():
			c.V4 = p.Addr()
		case p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() && !c.V6.IsValid():
			c.V6 = p.Addr()
		}
	}
	return c, true
}

func hostUser(name, group string) bool {
	if _, err := user.Lookup(name); err != nil {
		if _, err := user.LookupId(name); err != nil {
			return false
		}
	}
	if group == "" {
		return true
	}
	_, err := user.LookupGroup(group)
	if err != nil {
		_, err = user.LookupGroupId(group)
	}
	return err == nil
}

// hostScript looks at the file of a command. A name without a slash is looked for in the path.
// keepalived: with a slash or without, what cannot be executed by its user is no program.
func hostScript(command, who, _ string) conf.ScriptState {
	path := command
	if !strings.Contains(command, "/") {
		path = ""
		dirs := cmp.Or(os.Getenv("PATH"), "/bin:/usr/bin")
		if !runsAsRoot(who) {
			dirs = "" // keepalived: its search as another user always fails
		}
		for _, dir := range strings.Split(dirs, ":") {
			if info, err := os.Stat(filepath.Join(dir, command)); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				path = filepath.Join(dir, command)
				break
			}
		}
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil || path == "" {
		return conf.ScriptState{Missing: true}
	}
	info, err := os.Stat(real)
	if err != nil {
		return conf.ScriptState{Missing: true}
	}
	if info.IsDir() {
		return conf.ScriptState{Refused: true}
	}
	return conf.ScriptState{NotProgram: !info.Mode().IsRegular() || info.Mode()&0o111 == 0, Insecure: info.Mode().IsRegular() && runsAsRoot(who) && insecurePath(real)}
}

// runsAsRoot tells whether a script of this user runs as root. keepalived: without a user, keepalived_script if there is
// one.
func runsAsRoot(who string) bool {
	if who == "" {
		_, err := user.Lookup("keepalived_script")
		return err != nil
	}
	u, err := user.Lookup(who)
	return err == nil && u.Uid == "0"
}

// insecurePath tells whether others than root could change a file or a directory above it.
func insecurePath(path string) bool {
	for ; ; path = filepath.Dir(path) {
		info, err := os.Lstat(path)
		if err != nil {
			return true
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || st.Uid != 0 {
			return true
		}
		mode := info.Mode()
		if (mode&0o002 != 0 || mode&0o020 != 0 && st.Gid != 0) && mode&fs.ModeSticky == 0 {
			return true
		}
		if path == filepath.Dir(path) {
			return false
		}
	}
}

// hostNamespace tells whether ip-netns(8) knows a network namespace of this name.
func hostNamespace(name string) bool {
	_, err := os.Stat(filepath.Join("/run/netns", filepath.Base(name)))
	return err == nil
}

// resolveTime bounds the wait for a name server.
const resolveTime = 5 * time.Second

func hostResolves(name string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), resolveTime)
	defer cancel()
	_, err := net.DefaultResolver.LookupHost(ctx, name)
	return err == nil
}

// hostName tells whether a file of iproute2 (rt_tables, rt_protos, …) has a name. Lines are "NUMBER NAME".
func hostName(kind, word string) bool {
	if kind == "protocols" || kind == "ipproto" {
		return nameIn("/etc/protocols", word, 0)
	}
	for _, dir := range []string{"/etc/iproute2", "/usr/share/iproute2", "/usr/lib/iproute2"} {
		if nameIn(filepath.Join(dir, kind), word, 1) {
			return true
		}
		more, _ := filepath.Glob(filepath.Join(dir, kind+".d", "*.conf"))
		for _, m := range more {
			if nameIn(m, word, 1) {
				return true
			}
		}
	}
	return false
}

func nameIn(file, word string, column int) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if f := strings.Fields(line); len(f) > column && f[column] == word {
			return true
		}
	}
	return false
}

// unreadByKeepalived says what keepalived says of a main file that is none, or "".
func unreadByKeepalived(file string) string {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err != nil:
		return "" // it is said where includes that match nothing are
	case info.IsDir():
		return "Configuration file '" + strings.TrimSuffix(file, "/") + "/' is a directory - skipping"
	case !info.Mode().IsRegular() || info.Mode()&0o111 != 0:
		return "Configuration file '" + file + "' is not a regular non-executable file - skipping"
	}
	return ""
}
