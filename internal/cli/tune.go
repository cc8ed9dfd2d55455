package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"vipd/internal/control"
	"vipd/internal/daemon"
	"vipd/internal/lb"
	"vipd/internal/plane"
)

// Classes and settings of a running daemon. With a configuration they belong in the file: a reload puts back what it says.

// newClassCommand is "vipd class".
func newClassCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{Use: "class", Short: "List and change which packets have a firewall mark (ipvsadm -f)",
		Long: `List and change which packets have a firewall mark. XDP sees packets before netfilter marks them, so
"ipvsadm -A -f 7" has here the packets of the classes with mark 7. The first class that a packet fits says its mark.

  vipd class add 7 tcp 10.0.8.9 80
  vipd class add 7 tcp 10.0.8.9 443

A class is: ` + lb.ClassGrammar + `

In a configuration it is a line of global_defs: fwmark_class 7 tcp 10.0.8.9 80`,
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return listClasses(env, cmd) }}
	cmd.PersistentFlags().String("instance", env.instance(), "name of the daemon to ask ($"+instanceVariable+")")
	cmd.AddCommand(&cobra.Command{Use: "list", Short: "List the classes, in the order in which they are tried", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return listClasses(env, cmd) }})
	for name, do := range map[string]control.Do{"add": control.AddClass, "delete": control.DeleteClass} {
		short := map[string]string{"add": "Add a class behind the others", "delete": "Delete a class, given as list prints it"}[name]
		cmd.AddCommand(&cobra.Command{Use: name + " " + lb.ClassGrammar, Short: short, RunE: func(cmd *cobra.Command, args []string) error {
			c, at, err := lb.ParseClass(args)
			if err != nil {
				return &daemon.Failure{Code: exitUsage, Err: fmt.Errorf("class, word %d: %w", at+1, err), Hint: "want " + lb.ClassGrammar}
			}
			return byHand(env, cmd, control.Change{Do: do, Class: c})
		}})
	}
	cmd.AddCommand(&cobra.Command{Use: "flush", Short: "Delete all classes", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return byHand(env, cmd, control.Change{Do: control.FlushClasses})
		}})
	return cmd
}

func listClasses(env Env, cmd *cobra.Command) error {
	t, err := tableOf(env, cmd)
	if err != nil {
		return err
	}
	for _, c := range t.Classes {
		fmt.Fprintln(env.Stdout, c)
	}
	return nil
}

// newSysctlCommand is "vipd sysctl".
func newSysctlCommand(env Env) *cobra.Command {
	b := strings.Builder{}
	for _, s := range plane.Settings {
		fmt.Fprintf(&b, "  %-26s %6d  %s\n", s.Name, s.Default, s.Text)
	}
	cmd := &cobra.Command{Use: "sysctl [NAME[=VALUE]]…", Short: "Print and change the settings that IPVS has under net.ipv4.vs",
		Long: `Print and change the settings that IPVS has under net.ipv4.vs, as sysctl(8) does: all without a name, one by its
name, and NAME=VALUE to set it. In a configuration it is a line of global_defs: lvs_sysctl NAME VALUE

Settings and their defaults:
` + b.String(),
		RunE: func(cmd *cobra.Command, args []string) error { return sysctl(env, cmd, args) }}
	cmd.Flags().String("instance", env.instance(), "name of the daemon to ask ($"+instanceVariable+")")
	return cmd
}

func sysctl(env Env, cmd *cobra.Command, args []string) error {
	var changes []control.Change
	var show []string
	for _, arg := range args {
		name, text, set := strings.Cut(strings.TrimPrefix(arg, "net.ipv4.vs."), "=")
		if _, err := plane.FindSetting(name); err != nil {
			return &daemon.Failure{Code: exitUsage, Err: err, Hint: "vipd sysctl --help lists them"}
		}
		if !set {
			show = append(show, name)
			continue
		}
		if numbers := strings.Fields(text); name == "sync_threshold" && len(numbers) == 2 {
			pair, err := thresholdOf(numbers)
			if err != nil {
				return &daemon.Failure{Code: exitUsage, Err: err}
			}
			changes = append(changes, pair...)
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
		if err == nil {
			_, err = plane.CheckSetting(name, uint32(n))
		}
		if err != nil {
			s, _ := plane.FindSetting(name)
			return &daemon.Failure{Code: exitUsage, Err: fmt.Errorf("%s=%.40s: want a number, %s", name, text, s.Bounds())}
		}
		changes = append(changes, control.Change{Do: control.Tune, Setting: name, Value: uint32(n)})
	}
	if len(changes) > 0 {
		if err := byHand(env, cmd, changes...); err != nil {
			return err
		}
		if show == nil {
			return nil
		}
	}
	t, err := tableOf(env, cmd)
	if err != nil {
		return err
	}
	if show == nil {
		show = slices.Sorted(maps.Keys(t.Settings))
	}
	for _, name := range show {
		value, ok := t.Settings[name]
		if !ok {
			return fmt.Errorf("%s: the data plane has it not", name)
		}
		fmt.Fprintf(env.Stdout, "%s = %d\n", name, value)
	}
	return nil
}

// thresholdOf are the changes that make both numbers of sync_threshold others: on the way from one pair to another none may be wrong.
func thresholdOf(numbers []string) (changes []control.Change, err error) {
	var pair [2]uint32
	for i, text := range numbers {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("sync_threshold=%.40s: want two numbers, 0 to 65535", strings.Join(numbers, " "))
		}
		pair[i] = uint32(n)
	}
	if err := plane.CheckThreshold(pair[0], pair[1]); err != nil {
		return nil, err
	}
	tune := func(name string, value uint32) {
		changes = append(changes, control.Change{Do: control.Tune, Setting: name, Value: value})
	}
	tune("sync_period", 0)
	tune("sync_threshold", pair[0])
	tune("sync_period", pair[1])
	return changes, nil
}

// tableOf asks the daemon that cmd's --instance names for what its data plane holds.
func tableOf(env Env, cmd *cobra.Command) (t control.Table, err error) {
	src, err := sourceOf(env, cmd)
	if err != nil {
		return t, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	t, err = src.Table(ctx)
	return t, asked(err)
}

func sourceOf(env Env, cmd *cobra.Command) (control.Source, error) {
	name, err := cmd.Flags().GetString("instance")
	if err != nil {
		return nil, err
	}
	src, err := env.dial(name)
	if err != nil {
		return nil, &daemon.Failure{Code: exitUsage, Err: err}
	}
	return src, nil
}

// byHand makes changes, and fails with the first that was refused.
func byHand(env Env, cmd *cobra.Command, changes ...control.Change) error {
	src, err := sourceOf(env, cmd)
	if err != nil {
		return err
	}
	c, ok := src.(control.Changer)
	if !ok {
		return errors.New("this daemon takes no changes")
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	answers, err := c.Change(ctx, changes)
	if err != nil {
		return asked(err)
	}
	for _, a := range answers {
		if a.Errno != "" {
			return errors.New(a.Error)
		}
	}
	return nil
}
