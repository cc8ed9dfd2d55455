package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"vipd/internal/conf"
	"vipd/internal/daemon"
)

func newFmtCommand(env Env) *cobra.Command {
	var write, diff bool
	cmd := &cobra.Command{
		Use:   "fmt [-w|-d] FILE…",
		Short: "Print a configuration in its canonical layout",
		Long: `Print a configuration in its canonical layout: four blanks for each block, one statement per line, comments in a column.
Comments and definitions stay, and the daemon reads the same from it. Lines that keepalived reads as a whole (@id, ~SEQ,
include, and those with a $) keep their shape. Included files are not touched.

-w writes the files that change, -d prints what would change. "-" reads the standard input.

Exit codes: 0 done; 1 -d, and there is something to change; 2 a file cannot be read or written.`,
		Args: mistaken(cobra.MinimumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			if write && diff {
				return &daemon.Failure{Code: exitUsage, Err: fmt.Errorf("-w and -d exclude each other")}
			}
			return runFmt(env, args, write, diff)
		},
	}
	cmd.Flags().BoolVarP(&write, "write", "w", false, "write the files instead of printing them")
	cmd.Flags().BoolVarP(&diff, "diff", "d", false, "print what would change")
	return cmd
}

func runFmt(env Env, args []string, write, diff bool) error {
	changes := false
	for _, arg := range args {
		s, err := openSource(env, arg)
		if err != nil {
			return &daemon.Failure{Code: exitUsage, Err: err}
		}
		out := conf.Format(s.text)
		switch {
		case diff:
			if out != s.text {
				changes = true
				_, err = io.WriteString(env.Stdout, unifiedDiff(s.shown, s.text, out))
			}
		case !write:
			_, err = io.WriteString(env.Stdout, out)
		case arg == "-":
			err = fmt.Errorf("-w needs a file: the standard input cannot be written")
		case out != s.text:
			err = replaceFile(s.name, out)
		}
		if err != nil {
			return &daemon.Failure{Code: exitUsage, Err: err}
		}
	}
	if changes {
		return &exitCode{1}
	}
	return nil
}

// replaceFile gives a file another text at once: a reader sees the old one or the new one. A symbolic link stays one.
func replaceFile(name, text string) error {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("write %s: not a regular file", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".vipd-fmt-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = io.WriteString(f, text)
	for _, step := range []func() error{func() error { return f.Chmod(info.Mode().Perm()) }, func() error { return keepOwner(f, info) }, f.Sync} {
		if err == nil {
			err = step()
		}
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return os.Rename(f.Name(), name)
}
