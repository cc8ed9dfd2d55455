// Package here is "vipd realserver": it looks at the host that it runs on (facts), judges and plans by package
// realserver, and executes, remembers and takes back what was planned. It is the whole program on systems other than Linux,
// where it prints what is for Windows and for other hosts.
//
// It is not the judgement (realserver) and asks no daemon. Nothing but the tunnels' decapsulator is kept in the kernel by it.
//
// Invariant: what Apply did is in the state file before it is done, so that undo finds it whatever ends the program.
package here

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vipd/internal/realserver"
)

// Exit codes: what is wrong is 1, and what could not be looked at or done is 2.
const (
	ExitWrong  = 1
	ExitFailed = 2
)

// Error is an error with its exit code. Quiet: all is said already.
type Error struct {
	Code  int
	Err   error
	Quiet bool
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

func failed(err error) error {
	var is *Error
	if err == nil || errors.As(err, &is) {
		return err
	}
	return &Error{Code: ExitFailed, Err: err}
}

// options are the flags that say what the real server is for.
type options struct {
	vips, directors []string
	method, tunnel  string
	ports           []uint
	tunnelPort      uint16
	iface, file, as string
	mtu             int
	decap, windows  bool
	output, state   string
}

// New is the command.
func New(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "realserver",
		Short: "Check and set up a real server, Linux or Windows: run it there",
		Long: `Check and set up the host that this runs on as a real server: no daemon is needed. What it is for is said by options, or is
read from the director's configuration (--file), in which this host is found by its addresses.

  vipd realserver check --vip 10.0.8.9 --method dr --port 80
  vipd realserver prepare --vip 10.0.8.9 --method dr                     shows what would be done
  vipd realserver prepare --vip 10.0.8.9 --method dr --apply --persist   does it, and keeps it over a boot
  vipd realserver undo                                                   takes it back
  vipd realserver prepare --windows --vip 10.0.8.9 --method dr           prints the script for Windows Server

Exit codes: 0 nothing is wrong, or done; 1 something is wrong; 2 it could not be looked at or done.`,
		SilenceUsage: true,
	}
	cmd.AddCommand(newCheck(stdout), newPrepare(stdout), newUndo(stdout), newDecap(stdout))
	return cmd
}

func (o *options) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&o.vips, "vip", nil, "virtual `ADDRESS`, or several")
	f.StringVar(&o.method, "method", "", "how packets get here: dr, tun or nat")
	f.StringSliceVar(&o.directors, "director", nil, "`ADDRESS` of the director; of nat the virtual one that is the gateway")
	f.UintSliceVar(&o.ports, "port", nil, "`PORT` of a service: who listens is looked at")
	f.StringVar(&o.tunnel, "tunnel", "ipip", "of tun: ipip, gue or gre")
	f.Uint16Var(&o.tunnelPort, "tunnel-port", realserver.GUEPort, "of gue")
	f.StringVar(&o.iface, "interface", "", "towards the director (default: that of the route to it, or the default route)")
	f.IntVar(&o.mtu, "mtu", 0, "of tun: of the way between the director and here (default 1500)")
	f.BoolVar(&o.decap, "decap", false, "of tun: use vipd's own decapsulator also where the kernel has a tunnel device")
	f.StringVarP(&o.file, "file", "f", "", "read the services of this keepalived.conf")
	f.StringVar(&o.as, "as", "", "with --file: which real server (default: the one whose address is here)")
	f.BoolVar(&o.windows, "windows", false, "print the PowerShell script for Windows Server")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.StringVar(&o.state, "state", stateFile, "`FILE` that remembers what was done")
	_ = f.MarkHidden("state")
}

// needs are what the options or the configuration say, one for each way of forwarding.
func (o *options) needs() ([]realserver.Need, error) {
	if o.output != "text" && o.output != "json" {
		return nil, fmt.Errorf("-o %q: want text or json", o.output)
	}
	if o.file != "" {
		return o.fromFile()
	}
	n := realserver.Need{Method: realserver.Method(strings.ToLower(o.method)), Tunnel: o.tunnel, TunPort: o.tunnelPort, Interface: o.iface,
		Decap: o.decap, OuterMTU: o.mtu}
	var err error
	if n.VIPs, err = addresses(o.vips); err != nil {
		return nil, fmt.Errorf("--vip: %w", err)
	}
	if n.Directors, err = addresses(o.directors); err != nil {
		return nil, fmt.Errorf("--director: %w", err)
	}
	for _, p := range o.ports {
		if p == 0 || p > 65535 {
			return nil, fmt.Errorf("--port %d: want 1 to 65535", p)
		}
		n.Ports = append(n.Ports, uint16(p))
	}
	return []realserver.Need{n}, n.Check()
}

func addresses(words []string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, w := range words {
		a, err := netip.ParseAddr(strings.TrimSpace(w))
		if err != nil {
			return nil, fmt.Errorf("%q: want an IPv4 or IPv6 address", w)
		}
		out = append(out, a.Unmap())
	}
	return out, nil
}

// scripts prints what is for Windows.
func scripts(w io.Writer, what string, all []realserver.Need) error {
	for _, n := range all {
		text, err := realserver.PowerShell(what, n)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}

func newCheck(stdout io.Writer) *cobra.Command {
	var o options
	cmd := &cobra.Command{Use: "check", Short: "Say what is wrong with this host as a real server", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error { return failed(o.check(stdout)) }}
	o.flags(cmd)
	return cmd
}

func (o *options) check(stdout io.Writer) error {
	needs, err := o.needs()
	if err != nil {
		return err
	}
	if o.windows {
		return scripts(stdout, realserver.WindowsCheck, needs)
	}
	found := []realserver.Finding{}
	for _, n := range needs {
		f, err := look(&n)
		if err != nil {
			return err
		}
		found = append(found, realserver.Check(n, f)...)
	}
	if o.output == "json" {
		err = printJSON(stdout, found)
	} else {
		err = printFindings(stdout, found)
	}
	if err == nil && slices.ContainsFunc(found, func(f realserver.Finding) bool { return !f.Warning }) {
		return &Error{Code: ExitWrong, Err: errors.New("something is wrong"), Quiet: true}
	}
	return err
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printFindings shows what is wrong, how it is known and what mends it at once.
func printFindings(w io.Writer, all []realserver.Finding) error {
	var b strings.Builder
	for _, f := range all {
		fmt.Fprintf(&b, "%s %s: %s\n", map[bool]string{true: "warning", false: "wrong"}[f.Warning], f.Subject, f.What)
		fmt.Fprintf(&b, "  known by: %s (%s)\n", f.How, f.Code)
		for _, c := range f.Cures {
			if !strings.Contains(c.For, "last") && !strings.HasPrefix(c.For, "Windows") {
				fmt.Fprintf(&b, "  mend, %s:\n    %s\n", c.For, strings.ReplaceAll(c.Text, "\n", "\n    "))
			}
		}
	}
	if len(all) == 0 {
		b.WriteString("nothing is wrong\n")
	} else {
		b.WriteString("\nall of it at once, and over a boot: vipd realserver prepare with the same options, --apply and --persist\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func newPrepare(stdout io.Writer) *cobra.Command {
	var o options
	var apply, persist bool
	var manager string
	cmd := &cobra.Command{Use: "prepare", Short: "Show, or with --apply do, what this host lacks as a real server", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error { return failed(o.prepare(stdout, apply, persist, manager)) }}
	o.flags(cmd)
	cmd.Flags().BoolVar(&apply, "apply", false, "do it")
	cmd.Flags().BoolVar(&persist, "persist", false, "also as files that keep it over a boot")
	cmd.Flags().StringVar(&manager, "for", "", "what keeps this host's addresses: networkd, netplan or ifupdown (default: as found)")
	return cmd
}

// plan is what is to be done on this host.
type plan struct {
	Steps []realserver.Step `json:"steps"`
	Files []realserver.File `json:"files,omitempty"`
}

func (o *options) prepare(stdout io.Writer, apply, persist bool, manager string) error {
	needs, err := o.needs()
	if err != nil {
		return err
	}
	if o.windows {
		return scripts(stdout, realserver.WindowsPrepare, needs)
	}
	p, err := planned(needs, persist, manager)
	switch {
	case err != nil:
		return err
	case apply:
		return execute(o.state, p)
	case o.output == "json":
		return printJSON(stdout, p)
	}
	_, err = io.WriteString(stdout, p.String())
	return err
}

// planned is what needs lack here; with persist as files too, those of what is there already included.
func planned(needs []realserver.Need, persist bool, manager string) (plan, error) {
	p := plan{Steps: []realserver.Step{}}
	for _, n := range needs {
		f, err := look(&n)
		if err != nil {
			return p, err
		}
		for _, s := range realserver.Plan(n, f) {
			if !slices.ContainsFunc(p.Steps, func(o realserver.Step) bool { return o.String() == s.String() }) {
				p.Steps = append(p.Steps, s)
			}
		}
	}
	if !persist {
		return p, nil
	}
	m := realserver.Manager(manager)
	if m == "" {
		m = detect("/")
	}
	if !slices.Contains(realserver.Managers, m) {
		return p, fmt.Errorf("--for %q: want networkd, netplan or ifupdown", manager)
	}
	p.Files = realserver.Files(m, p.Steps)
	return p, nil
}

// String is a script for a shell; # stands before what is for a reader.
func (p plan) String() string {
	if len(p.Steps) == 0 {
		return "# nothing is to be done\n"
	}
	var b strings.Builder
	b.WriteString("# now:\n")
	for _, s := range p.Steps {
		b.WriteString(s.String() + "\n")
	}
	if len(p.Files) > 0 {
		b.WriteString("\n# over a boot:\n")
	}
	for _, f := range p.Files {
		f.Then = nil
		if strings.HasSuffix(f.Path, ".service") {
			f.Then = []string{"systemctl", "enable", filepath.Base(f.Path)}
		}
		b.WriteString(f.String() + "\n")
	}
	b.WriteString("\n# taken back by:\n")
	for _, s := range slices.Backward(p.Steps) {
		if s.Sysctl != "" || s.Undo != nil {
			b.WriteString("#   " + s.Back() + "\n")
		}
	}
	for _, f := range p.Files {
		b.WriteString("#   rm " + f.Path + "\n")
	}
	return b.String()
}

// detect finds what keeps the addresses of the host whose files are below root.
func detect(root string) realserver.Manager {
	has := func(pattern string) bool {
		found, _ := filepath.Glob(filepath.Join(root, pattern))
		return len(found) > 0
	}
	switch {
	case has("etc/netplan/*.yaml"):
		return realserver.Netplan
	case has("etc/systemd/network/*.network"), has("run/systemd/netif/links/*"):
		return realserver.Networkd
	case has("etc/network/interfaces"), has("sbin/ifup"), has("usr/sbin/ifup"):
		return realserver.Ifupdown
	}
	return realserver.Networkd
}

func newUndo(stdout io.Writer) *cobra.Command {
	var o options
	cmd := &cobra.Command{Use: "undo", Short: "Take back what prepare did", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error {
			if !o.windows {
				return failed(takeBack(o.state, stdout))
			}
			needs, err := o.needs()
			if err != nil {
				return failed(err)
			}
			return failed(scripts(stdout, realserver.WindowsUndo, needs))
		}}
	o.flags(cmd)
	return cmd
}

// Report writes what err says to w and returns the exit code.
func Report(w io.Writer, err error) int {
	var e *Error
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &e):
		e = &Error{Code: ExitFailed, Err: err}
	}
	if !e.Quiet {
		fmt.Fprintf(w, "vipd: realserver: %v\n", e.Err)
	}
	return e.Code
}

// Main is the whole program on systems that the rest of it is not built for.
func Main(args []string) int {
	root := &cobra.Command{Use: "vipd", Short: "On this system: what is for real servers alone", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(New(os.Stdout))
	root.SetArgs(args[1:])
	return Report(os.Stderr, root.Execute())
}
