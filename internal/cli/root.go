// Package cli is the command line: vipd's own commands, and the names ipvsadm and keepalived that people's fingers
// know. It parses words and prints answers; what a command does is in the packages below.
//
// The rules of this interface: a command that succeeds and changes something prints nothing; an error is one line that
// names the thing, followed where it helps by a line "hint: …"; exit codes are those of exit.go; everything that a
// program may read is available as -o json.
package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"vipd/internal/daemon"
	"vipd/internal/host"
	"vipd/internal/probe"
	"vipd/internal/realserver/here"
)

// Main runs the command that args (with the program's name first) ask for and returns the exit code.
func Main(args []string) int {
	env := Env{Args: args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}
	if filepath.Base(args[0]) == "ipvsadm" {
		return Ipvsadm(args[0], env.Args, env)
	}
	if filepath.Base(args[0]) == "keepalived" {
		return Keepalived(args[0], env.Args, env)
	}
	name := filepath.Base(args[0])
	if len(env.Args) > 0 && env.Args[0] == probe.CellWord {
		return report(env, probe.ServeCell(env.Args[1:]))
	}
	if name == "genhash" || len(env.Args) > 0 && slices.Contains(readers, env.Args[0]) {
		if err := host.Confine(); err != nil {
			return report(env, err)
		}
	}
	if name == "genhash" {
		return Genhash(env.Args, env)
	}
	return run(env)
}

// readers are the commands that read what others have written, and neither write a file nor start a program.
var readers = []string{"check", "migrate", "keywords", "lsp", "genhash"}

// run executes vipd's own command tree. ipvsadm's words are not for cobra: its grammar is popt's.
func run(env Env) int {
	if len(env.Args) > 0 && env.Args[0] == "ipvsadm" {
		return Ipvsadm("ipvsadm", env.Args[1:], env)
	}
	root := newRootCommand(env)
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	return report(env, root.Execute())
}

func newRootCommand(env Env) *cobra.Command {
	root := &cobra.Command{
		Use:           "vipd",
		Short:         "A layer-4 load balancer: virtual IPs, health checks and an XDP packet path, from keepalived.conf",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       daemon.Version(),
	}
	root.SetVersionTemplate("vipd {{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newRunCommand(env), newStatusCommand(env), newVRRPCommand(env), newReloadCommand(env), newUpgradeCommand(env), newFailoverCommand(env), newMaintenanceCommand(env), newApplyCommand(env), newConfirmCommand(env), newPlanCommand(env),
		newWhyCommand(env), newEventsCommand(env), newDrainCommand(env), newReadyCommand(env), newWeightCommand(env), newDisableCommand(env), newIpvsadmHelp(), newLabCommand(env))
	root.AddCommand(newCheckCommand(env), newFmtCommand(env), newKeywordsCommand(env), newMigrateCommand(env), newLSPCommand(env), newGenhashCommand(env), newClassCommand(env), newSysctlCommand(env), newManCommand(env))
	root.AddCommand(here.New(env.Stdout), newDoctorCommand(env), newExportCommand(env))
	return root
}

// newIpvsadmHelp makes ipvsadm appear in the list of commands; run never lets cobra parse its words.
func newIpvsadmHelp() *cobra.Command {
	return &cobra.Command{Use: "ipvsadm [--instance NAME] OPTION…", Short: "List and change services and connections as ipvsadm(8) does (try: vipd ipvsadm -ln)",
		DisableFlagParsing: true, RunE: func(*cobra.Command, []string) error { return errors.New("not reached") }}
}

// report prints err as the interface's rules want it and returns its exit code.
func report(env Env, err error) int {
	if err == nil {
		return 0
	}
	var exit *exitCode
	if errors.As(err, &exit) {
		return exit.code
	}
	var real *here.Error
	if errors.As(err, &real) {
		return here.Report(env.Stderr, err)
	}
	fmt.Fprintf(env.Stderr, "vipd: %v\n", err)
	var fail *daemon.Failure
	if errors.As(err, &fail) {
		if fail.Hint != "" {
			fmt.Fprintf(env.Stderr, "hint: %s\n", fail.Hint)
		}
		return fail.Code
	}
	return daemon.ExitFatal
}

// exitCode ends a command that has already said what there is to say.
type exitCode struct{ code int }

func (e *exitCode) Error() string { return fmt.Sprintf("exit %d", e.code) }
