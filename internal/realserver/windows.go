package realserver

import (
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// What is asked of Windows.
const (
	WindowsPrepare = "prepare"
	WindowsCheck   = "check"
	WindowsUndo    = "undo"
)

var (
	//go:embed windows_head.ps1
	windowsHead string
	//go:embed windows_adapter.ps1
	windowsAdapter string
	//go:embed windows_prepare.ps1
	windowsPrepare string
	//go:embed windows_check.ps1
	windowsCheck string
	//go:embed windows_undo.ps1
	windowsUndo string
	//go:embed windows_nat.ps1
	windowsNAT string
)

// ErrWindowsTunnel says why there is no script for tunnels.
var ErrWindowsTunnel = errors.New("Windows cannot unpack IP in IP, GUE or plain GRE: a Windows real server takes method dr or nat")

// PowerShell is the script that prepares a Windows Server for n, judges it or takes back what prepare did. It is for Windows
// Server 2016 and later, and is run as Administrator.
func PowerShell(what string, n Need) (string, error) {
	if err := n.Check(); err != nil {
		return "", err
	}
	if n.Method == TUN {
		return "", ErrWindowsTunnel
	}
	head := fmt.Sprintf("# vipd realserver %s --windows %s\n", what, n.words()) + windowsHead + windowsWords(n)
	if n.Method == NAT {
		return head + fmt.Sprintf("$mode = '%s'\n", what) + windowsNAT, nil
	}
	switch what {
	case WindowsPrepare:
		return head + windowsAdapter + windowsPrepare, nil
	case WindowsCheck:
		return head + windowsCheck, nil
	case WindowsUndo:
		return head + windowsAdapter + windowsUndo, nil
	}
	return "", fmt.Errorf("%q: want prepare, check or undo", what)
}

// windowsWords are n as PowerShell's variables. Addresses and numbers alone: nothing in them needs quoting.
func windowsWords(n Need) string {
	list := func(all []netip.Addr, v6 bool) string {
		var out []string
		for _, a := range all {
			if a.Is6() == v6 {
				out = append(out, "'"+a.String()+"'")
			}
		}
		return "@(" + strings.Join(out, ", ") + ")"
	}
	var ports []string
	for _, p := range n.Ports {
		ports = append(ports, fmt.Sprint(p))
	}
	return fmt.Sprintf("$vips = @{ IPv4 = %s; IPv6 = %s }\n$directors = @{ IPv4 = %s; IPv6 = %s }\n$ports = @(%s)\n$segment = '%s'\n",
		list(n.VIPs, false), list(n.VIPs, true), list(n.Directors, false), list(n.Directors, true), strings.Join(ports, ", "),
		strings.ReplaceAll(n.Interface, "'", "''"))
}

// windowsCure is what mends a finding on Windows: the part of the script for it, or the whole.
func windowsCure(n Need, code string) string {
	n.Interface = ""
	switch code {
	case VIPMissing, VIPOnSegment, ARPIgnore, VIPPrefix, RPFilter, Gateway:
		if n.Method == TUN {
			return "# " + ErrWindowsTunnel.Error()
		}
		text, err := PowerShell(WindowsPrepare, n)
		if err != nil {
			return ""
		}
		return text
	}
	return ""
}
