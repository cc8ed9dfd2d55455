package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"vipd/internal/lab"
)

// playLab plays the scene, prints what came of it and removes the site, whatever happened.
func playLab(env Env, opts labOptions) error {
	bound, err := opts.takeover()
	if err != nil {
		return err
	}
	cfg := lab.PlayConfig{Takeover: bound, PowerOff: opts.powerOff, Lasts: opts.lasts}
	return withLab(env, opts, func(ctx context.Context, l *lab.Lab) error {
		l.Hold = true
		report, err := watchLab(ctx, env, opts, l, cfg)
		held := err == nil && report.OK
		err = errors.Join(err, saveLogs(l, opts.logs))
		if !held && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
			showLogs(env.Stderr, l)
		}
		if err = errors.Join(err, l.Down()); err != nil {
			report.OK, report.Why = false, append(report.Why, err.Error())
			return errors.Join(err, saveReport(report, opts.json))
		}
		if err := errors.Join(printReport(env.Stdout, report), saveReport(report, opts.json)); err != nil {
			return err
		}
		if !report.OK {
			return &exitCode{1}
		}
		return nil
	})
}

// saveReport writes the figures to path. If path is empty, nowhere.
func saveReport(r lab.Report, path string) error {
	if path == "" {
		return nil
	}
	return r.WriteJSON(path)
}

// watchLab plays, with the live view where there is a terminal and with lines elsewhere.
func watchLab(ctx context.Context, env Env, opts labOptions, l *lab.Lab, cfg lab.PlayConfig) (lab.Report, error) {
	if !opts.plain && isTerminal(env.Stdout) && env.Getenv("TERM") != "dumb" {
		return liveLab(ctx, env, l, cfg)
	}
	start := time.Now()
	cfg.Say = func(line string) { fmt.Fprintf(env.Stdout, "%5.1fs  %s\n", time.Since(start).Seconds(), line) }
	return l.Play(ctx, cfg)
}

// saveLogs copies the logs to dir. If dir is empty, nowhere.
func saveLogs(l *lab.Lab, dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var errs []error
	for _, host := range hostNames(l) {
		data, err := os.ReadFile(l.LogFile(host))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, host+".log"), data, 0o644)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// logTail is how many lines of a director's log are shown when the scene did not hold.
const logTail = 15

func showLogs(w io.Writer, l *lab.Lab) {
	for _, host := range l.Directors {
		if lines := l.Tail(host, logTail); len(lines) > 0 {
			fmt.Fprintf(w, "the end of %s's log:\n  %s\n", host, strings.Join(lines, "\n  "))
		}
	}
}

func printReport(w io.Writer, r lab.Report) error {
	if len(r.Steps) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	if err := r.WriteTable(w); err != nil {
		return err
	}
	if r.Active != "" {
		fmt.Fprintf(w, "\n%s is master; the virtual IP is on %s. ipvsadm -lcn there:\n", r.Active, strings.Join(r.Holders, " and "))
		fmt.Fprint(w, excerpt(r.Connections))
	}
	word := "The scene held"
	if !r.OK {
		word = "The scene did NOT hold"
	}
	_, err := fmt.Fprintf(w, "\n%s (%.0f s).\n", word, r.Seconds)
	return err
}

// shownTemplates is how many persistence templates of a connection list are shown, beside one connection per client.
const shownTemplates = 10

// excerpt keeps the head of an `ipvsadm -lcn` listing, its templates (client port 0) and a connection of every client.
func excerpt(listing string) string {
	var out strings.Builder
	templates, left, shown := 0, 0, map[string]bool{}
	for i, line := range strings.Split(strings.TrimRight(listing, "\n"), "\n") {
		client, port := clientOf(line)
		switch {
		case i < 2:
		case port == "0" && templates < shownTemplates:
			templates++
		case port != "0" && !shown[client]:
			shown[client] = true
		default:
			left++
			continue
		}
		out.WriteString(line + "\n")
	}
	if left > 0 {
		fmt.Fprintf(&out, "… and %d more\n", left)
	}
	return out.String()
}

// clientOf takes the client's address and port out of a line of `ipvsadm -lcn`.
func clientOf(line string) (addr, port string) {
	f := strings.Fields(line)
	if len(f) < 4 {
		return "", ""
	}
	colon := strings.LastIndexByte(f[3], ':')
	if colon < 0 {
		return f[3], ""
	}
	return f[3][:colon], f[3][colon+1:]
}
