package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vipd/internal/daemon"
	"vipd/internal/journal"
)

// eventsEvery is how often "vipd events -f" looks for more.
const eventsEvery = 250 * time.Millisecond

func newEventsCommand(env Env) *cobra.Command {
	var o struct {
		instance, state, since, until, output string
		kinds                                 []string
		follow                                bool
	}
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened: checks, VRRP, configuration, operators; also of a daemon that does not run",
		Long: `Show the journal of events of an instance, the oldest first. It is read from the files in STATE/NAME/, so that it
needs no daemon, and tells of the times before the last restarts and crashes. How much is kept: vipd run --journal-size,
--journal-files.

TIME is how long ago (90s, 15m, 1h30m, 2d), a time of today (14:05, 14:05:30), a local time ("2026-01-31 14:05") or RFC 3339.
Kinds are ` + strings.Join(journal.Kinds, ", ") + `. -o json prints one object a line.`,
		Args: mistaken(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f := journal.Filter{Kinds: o.kinds}
			for _, k := range o.kinds {
				if !slices.Contains(journal.Kinds, k) {
					return misused("--kind %.20q: want some of %s", k, strings.Join(journal.Kinds, ", "))
				}
			}
			for _, t := range []struct {
				name, word string
				at         *time.Time
			}{{"--since", o.since, &f.Since}, {"--until", o.until, &f.Until}} {
				if t.word == "" {
					continue
				}
				at, err := parseTime(t.word, env.now())
				if err != nil {
					return misused("%s %w", t.name, err)
				}
				*t.at = at
			}
			if o.output != "text" && o.output != "json" {
				return misused("-o %q: want text or json", o.output)
			}
			dir := filepath.Join(stateFolder(env, cmd, o.state, o.instance), o.instance)
			return showEvents(env, dir, f, o.output == "json", o.follow)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&o.instance, "instance", env.instance(), "name of the daemon whose events are meant ($"+instanceVariable+")")
	fl.StringVar(&o.state, "state", "", "folder that the daemon was started with (default: what it says if it runs, else $"+stateVariable+" or "+daemon.StateDir+")")
	fl.StringVar(&o.since, "since", "", "from this TIME on")
	fl.StringVar(&o.until, "until", "", "up to this TIME")
	fl.StringSliceVar(&o.kinds, "kind", nil, "these kinds alone, separated by commas")
	fl.BoolVarP(&o.follow, "follow", "f", false, "go on with what happens from now on")
	fl.StringVarP(&o.output, "output", "o", "text", "text or json")
	return cmd
}

// stateFolder is the folder of the journals: as it is said, else as a running daemon has it, else the usual one.
func stateFolder(env Env, cmd *cobra.Command, said, instance string) string {
	if cmd.Flags().Changed("state") {
		return said
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if src, err := env.dial(instance); err == nil {
		if s, err := src.Status(ctx); err == nil && s.State != "" {
			return s.State
		}
	}
	return env.state()
}

func showEvents(env Env, dir string, f journal.Filter, asJSON, follow bool) error {
	r, err := journal.NewReader(dir, f)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &daemon.Failure{Code: daemon.ExitNoConfig, Err: fmt.Errorf("there is no journal in %s", dir),
			Hint: "is it the right --instance? A daemon that was started with another folder than this: --state"}
	case err != nil:
		return &daemon.Failure{Code: daemon.ExitNoConfig, Err: err}
	}
	defer r.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	enc := json.NewEncoder(env.Stdout)
	enc.SetEscapeHTML(false)
	var printErr error
	for {
		err := r.All(func(e journal.Event) bool {
			if asJSON {
				printErr = enc.Encode(e)
			} else {
				_, printErr = fmt.Fprintln(env.Stdout, eventText(e))
			}
			return printErr == nil
		})
		if err != nil || printErr != nil || !follow {
			return errors.Join(err, printErr)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(eventsEvery):
		}
	}
}

// eventText is an event for a person.
func eventText(e journal.Event) string {
	level := ""
	if e.Level != "" {
		level = strings.ToUpper(e.Level) + " "
	}
	return clean(fmt.Sprintf("%s  %-8s  %s%s", e.At.Local().Format("2006-01-02 15:04:05.000"), e.Kind, level, text(e)))
}

// text is what happened, to whom if the words do not say so.
func text(e journal.Event) string {
	t, _, _ := strings.Cut(e.Text, "\n") // what follows in a diagnostic is the line of the file
	for _, who := range []string{e.RS, e.VS, e.VI} {
		if who != "" && !strings.Contains(t, who) {
			t += " " + who
		}
	}
	return t
}

// parseTime reads a time that people say.
func parseTime(word string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(word, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.Add(-time.Duration(n) * 24 * time.Hour), nil
		}
	}
	if d, err := time.ParseDuration(word); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, form := range []string{"15:04", "15:04:05"} {
		if t, err := time.ParseInLocation(form, word, now.Location()); err == nil {
			y, m, d := now.Date()
			return time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), 0, now.Location()), nil
		}
	}
	for _, form := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(form, word, now.Location()); err == nil {
			return t, nil
		}
	}
	return now, fmt.Errorf("%.40q: want such as 1h, 2d, 14:05, \"2026-01-31 14:05\" or RFC 3339", word)
}
