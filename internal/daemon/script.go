package daemon

import (
	"errors"
	"fmt"
	"strings"

	"vipd/internal/conf"
	"vipd/internal/host"
)

// defaultScriptUser runs scripts where the file names nobody, if this host has it; else root does.
const defaultScriptUser = "keepalived_script"

// commands makes the scripts of one configuration ready to be run: by whom, and whether they may be. What is wrong with
// one is said once, in keepalived's words.
type commands struct {
	events   events
	scripts  conf.GlobalScripts
	user     host.Identity
	any      bool // there is a script …
	insecure bool // … and one that others than root could change
	said     map[string]bool
}

func newCommands(ev events, g conf.GlobalScripts) *commands {
	c := &commands{events: ev, scripts: g, said: map[string]bool{}}
	c.user, _ = host.LookupIdentity("", "") // this process's own
	switch id, err := host.LookupIdentity(defaultScriptUser, ""); {
	case g.User != "":
		id, err = host.LookupIdentity(g.User, g.Group)
		if err != nil {
			c.warn("script_user: " + err.Error() + " - root runs the scripts without a user")
			break
		}
		c.user = c.grouped(id, g.User)
	case err == nil:
		c.user = c.grouped(id, defaultScriptUser)
	}
	return c
}

// grouped adds the further groups of a user where set_supplementary_groups asks for them.
func (c *commands) grouped(id host.Identity, name string) host.Identity {
	if c.scripts.Supplementary {
		id.Groups = host.Supplementary(name)
	}
	return id
}

func (c *commands) warn(text string) {
	if !c.said[text] {
		c.said[text] = true
		c.events.Warn(text)
	}
}

// identity is who runs a script.
func (c *commands) identity(s *conf.Script) (host.Identity, error) {
	if s.User == "" {
		return c.user, nil
	}
	id, err := host.LookupIdentity(s.User, s.Group)
	return c.grouped(id, s.User), err
}

// ready makes a script a command. It is false where there is none or it must not run.
func (c *commands) ready(s *conf.Script) (host.Command, bool) {
	if s == nil {
		return host.Command{}, false
	}
	cmd, err := c.command(s)
	return cmd, err == nil
}

// command is ready with the reason: one of the user, host.ErrScriptMissing, ErrScriptRefused or ErrScriptInsecure.
func (c *commands) command(s *conf.Script) (host.Command, error) {
	id, err := c.identity(s)
	if err != nil {
		c.warn(fmt.Sprintf("Unable to set uid/gid for script %s: %v - disabling", quoted(s.Args), err))
		return host.Command{}, err
	}
	c.any = true
	found, err := host.FindScript(s.Args, id, c.scripts.SymlinkPaths)
	switch {
	case errors.Is(err, host.ErrScriptMissing) && found.Searched:
		c.warn(fmt.Sprintf("Cannot find script %s in path - disabling", s.Args[0]))
		return host.Command{}, err
	case errors.Is(err, host.ErrScriptMissing):
		c.warn(fmt.Sprintf("Unable to access script `%s` - disabling", s.Args[0]))
		return host.Command{}, err
	case err != nil:
		c.warn(fmt.Sprintf("WARNING - script '%s' is not executable for uid:gid %d:%d - disabling.", s.Args[0], id.UID, id.GID))
		return host.Command{}, err
	}
	if found.Searched {
		c.warn(fmt.Sprintf("WARNING - script `%s` resolved by path search to `%s`. Please specify full path.", s.Args[0], found.Args[0]))
	}
	if found.Insecure {
		c.insecure = true
		disabling := ""
		if c.scripts.Security {
			disabling = " - disabling"
		}
		c.warn(fmt.Sprintf("Unsafe permissions found for script '%s'%s.", found.Args[0], disabling))
		if c.scripts.Security {
			return host.Command{}, host.ErrScriptInsecure
		}
	}
	return host.Command{Args: found.Args, As: id}, nil
}

// judge says at the end what keepalived says of scripts without enable_script_security.
func (c *commands) judge() {
	if !c.any || c.scripts.Security {
		return
	}
	text := "SECURITY VIOLATION - scripts are being executed but script_security not enabled."
	if c.insecure {
		text += " There are insecure scripts."
	}
	c.warn(text)
}

// quoted writes a command as keepalived shows it: 'program' 'argument'.
func quoted(args []string) string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = "'" + a + "'"
	}
	return strings.Join(out, " ")
}

// disabling is keepalived's line about a vrrp_script that cannot be run.
func disabling(name string, err error) string {
	if errors.Is(err, host.ErrScriptInsecure) || errors.Is(err, host.ErrScriptRefused) {
		return "Disabling track script " + name + " due to insecure"
	}
	return "Disabling track script " + name + " since not found/accessible"
}
