package realserver

import (
	"fmt"
	"slices"
	"strings"
)

// Manager is what keeps a host's addresses over a boot.
type Manager string

// The managers.
const (
	Networkd Manager = "networkd"
	Netplan  Manager = "netplan"
	Ifupdown Manager = "ifupdown"
)

// Managers are all of them.
var Managers = []Manager{Networkd, Netplan, Ifupdown}

func (m Manager) title() string {
	if m == Networkd {
		return "systemd-networkd"
	}
	return string(m)
}

// File is one that makes steps last.
type File struct {
	Path string `json:"path"`
	Mode uint32 `json:"mode"`
	Text string `json:"text"`
	// Then is what makes the system read it without a boot. If nil, the next boot does.
	Then []string `json:"then,omitempty"`
}

// String is the file as a line for a shell that writes it.
func (f File) String() string {
	text := "cat >" + f.Path + " <<'EOF'\n" + f.Text + "EOF"
	if f.Mode != 0o644 {
		text += fmt.Sprintf("\nchmod %o %s", f.Mode, f.Path)
	}
	if f.Then != nil {
		text += "\n" + strings.Join(f.Then, " ")
	}
	return text
}

const header = "# Made by \"vipd realserver prepare\"; \"vipd realserver undo\" removes it.\n"

// Files are what makes steps last on a host with that manager. Sysctls and addresses have files of their own everywhere;
// what the managers have no word for (a decapsulator, a route's advmss, somebody else's default route) is done by a unit at
// the end of the boot, or with ifupdown by a script.
func Files(m Manager, steps []Step) []File {
	var out []File
	if text := sysctlText(steps); text != "" {
		out = append(out, File{Path: "/etc/sysctl.d/90-vipd-realserver.conf", Mode: 0o644, Text: header + text, Then: []string{"sysctl", "-p", "/etc/sysctl.d/90-vipd-realserver.conf"}})
	}
	if adds := added(steps); len(adds) > 0 {
		out = append(out, addressFile(m, adds))
	}
	if rest := others(steps); len(rest) > 0 {
		out = append(out, restFile(m, rest))
	}
	return out
}

// sysctlText is for sysctl.d(5). A setting of an interface is lost when the interface comes later than systemd-sysctl, but for
// systemd's own rule, which applies those of an interface as it appears.
func sysctlText(steps []Step) string {
	text := ""
	for _, s := range steps {
		if s.Sysctl != "" {
			text += s.Sysctl + " = " + s.Value + "\n"
		}
	}
	return text
}

func added(steps []Step) []Step {
	var out []Step
	for _, s := range steps {
		if s.Address.IsValid() && !slices.ContainsFunc(out, func(o Step) bool { return o.Address == s.Address }) {
			out = append(out, s)
		}
	}
	return out
}

// others are commands that a boot must repeat. What takes a misplaced address away is none: where it comes from is a file of
// somebody else's.
func others(steps []Step) []Step {
	return slices.DeleteFunc(slices.Clone(steps), func(s Step) bool {
		return s.Sysctl != "" || s.Address.IsValid() || s.Mends == VIPOnSegment || s.Mends == VIPPrefix || s.Mends == VIPRefused
	})
}

func addressFile(m Manager, adds []Step) File {
	switch m {
	case Netplan:
		return netplanFile(adds)
	case Ifupdown:
		return ifupdownFile(adds)
	}
	text := header + "[Match]\nName=lo\n\n[Network]\nKeepConfiguration=static\n"
	for _, s := range adds {
		text += "\n[Address]\nAddress=" + s.Address.String() + "\n"
		if s.Address.Addr().Is6() {
			text += "PreferredLifetime=0\nDuplicateAddressDetection=none\n"
		} else {
			text += "Scope=host\n"
		}
	}
	return File{Path: "/etc/systemd/network/90-vipd-realserver.network", Mode: 0o644, Text: text, Then: []string{"networkctl", "reload"}}
}

func netplanFile(adds []Step) File {
	text := header + "network:\n  version: 2\n  ethernets:\n    lo:\n      match:\n        name: lo\n      addresses:\n"
	for _, s := range adds {
		if s.Address.Addr().Is6() {
			text += "        - \"" + s.Address.String() + "\":\n            lifetime: 0\n"
		} else {
			text += "        - \"" + s.Address.String() + "\"\n"
		}
	}
	return File{Path: "/etc/netplan/90-vipd-realserver.yaml", Mode: 0o600, Text: text, Then: []string{"netplan", "apply"}}
}

// ifupdownFile gives each address a name of its own: lo:vipd0. The commands are its own too, as inet and inet6 differ in what
// they make of such a name.
func ifupdownFile(adds []Step) File {
	text, up := header, []string{"ifup"}
	for i, s := range adds {
		name := fmt.Sprintf("lo:vipd%d", i)
		text += fmt.Sprintf("\nauto %s\niface %s inet manual\n    up %s\n    down %s || true\n", name, name, s, s.Back())
		up = append(up, name)
	}
	return File{Path: "/etc/network/interfaces.d/vipd-realserver", Mode: 0o644, Text: text, Then: up}
}

// restFile runs commands at boot.
func restFile(m Manager, rest []Step) File {
	if m == Ifupdown {
		// It is run for each interface, those of the addresses too, and where it fails ifupdown says that the interface has.
		text := "#!/bin/sh\n" + header + "case \"$IFACE\" in lo | lo:*) exit 0 ;; esac\n"
		for _, s := range rest {
			text += s.String() + "\n"
		}
		text += "exit 0 # an interface that comes before the one that is meant is well\n"
		return File{Path: "/etc/network/if-up.d/vipd-realserver", Mode: 0o755, Text: text}
	}
	text := header + "[Unit]\nDescription=What a real server of vipd needs\nWants=network-online.target\nAfter=network-online.target\n\n" +
		"[Service]\nType=oneshot\nRemainAfterExit=yes\n"
	for _, s := range rest {
		text += "ExecStart=/usr/bin/env " + s.String() + "\n"
	}
	for _, s := range slices.Backward(rest) {
		if s.Undo != nil {
			text += "ExecStop=-/usr/bin/env " + s.Back() + "\n"
		}
	}
	text += "\n[Install]\nWantedBy=multi-user.target\n"
	return File{Path: "/etc/systemd/system/vipd-realserver.service", Mode: 0o644, Text: text,
		Then: []string{"systemctl", "enable", "vipd-realserver.service"}}
}
