package cli

import (
	"context"
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"vipd/internal/lab"
)

// liveLab plays with a live view. The view only looks on: it ends when the play has ended, and the play ends when the
// person says so or a signal comes.
func liveLab(ctx context.Context, env Env, l *lab.Lab, cfg lab.PlayConfig) (lab.Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	prog := tea.NewProgram(labModel{stop: cancel, lab: l}, tea.WithInput(env.Stdin), tea.WithOutput(env.Stdout), tea.WithoutSignalHandler())
	cfg.Show = func(v lab.View) { prog.Send(v) }
	cfg.Say = func(line string) { prog.Send(labLine(line)) }
	var report lab.Report
	var err error
	played := make(chan struct{})
	go func() {
		defer close(played)
		report, err = l.Play(ctx, cfg)
		prog.Send(labOver{})
	}()
	_, viewErr := prog.Run()
	if viewErr != nil {
		cancel() // nobody sees the play any more
	}
	<-played
	if viewErr != nil {
		return report, fmt.Errorf("show the live view (--plain does without): %w", viewErr)
	}
	return report, err
}

// The messages of the view, beside lab.View itself.
type (
	labLine string
	labOver struct{}
)

// labModel is what the view knows.
type labModel struct {
	view     lab.View
	lines    []string // the last few things that were said
	width    int
	stopping bool
	stop     func()
	lab      *lab.Lab
}

// saidLines is how many of the last lines are shown.
const saidLines = 4

func (m labModel) Init() tea.Cmd { return nil }

func (m labModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case lab.View:
		m.view = msg
	case labLine:
		m.lines = append(m.lines, string(msg))
		m.lines = m.lines[max(0, len(m.lines)-saidLines):]
	case labOver:
		return m, tea.Quit
	case tea.WindowSizeMsg:
		m.width = msg.Width
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "ctrl+c", "esc":
			m.stopping = true
			m.stop()
		}
	}
	return m, nil
}

// The view's few colours. Without them every fact is still there in words.
var (
	bold = lipgloss.NewStyle().Bold(true)
	dim  = lipgloss.NewStyle().Faint(true)
	good = lipgloss.NewStyle().Foreground(lipgloss.Green)
	bad  = lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true)
)

func (m labModel) View() tea.View {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  the site on this machine%s\n\n", bold.Render("vipd lab"), dim.Render(fmt.Sprintf("%28.0f s", m.view.Elapsed.Seconds())))
	m.drawSteps(&b)
	m.drawDirectors(&b)
	m.drawTraffic(&b)
	b.WriteString("\n")
	for _, line := range m.lines {
		b.WriteString(dim.Render("  "+line) + "\n")
	}
	if m.stopping {
		b.WriteString("\n" + bold.Render("stopping and removing the site …"))
	} else {
		b.WriteString("\n" + dim.Render("q or Ctrl-C stops and removes everything"))
	}
	v := tea.NewView(clip(b.String(), m.width))
	v.AltScreen = true
	v.WindowTitle = "vipd lab"
	return v
}

// clip cuts lines at the terminal's edge, where the view would otherwise wrap and jump.
func clip(text string, width int) string {
	if width <= 0 {
		return text
	}
	return lipgloss.NewStyle().MaxWidth(width).Render(text)
}

func (m labModel) drawSteps(b *strings.Builder) {
	for _, s := range m.view.Steps {
		switch {
		case s.Report != nil && s.Report.OK:
			fmt.Fprintf(b, " %s %-17s%s\n", good.Render("held"), s.Name, stepWords(s.Report))
		case s.Report != nil:
			fmt.Fprintf(b, " %s %-17s%s\n", bad.Render("NOT "), s.Name, stepWords(s.Report))
		case s.Progress > 0:
			fmt.Fprintf(b, " %s %-17s%s %s\n", bold.Render(" >> "), s.Name, bar(s.Progress, 24), m.view.Doing)
		default:
			fmt.Fprintf(b, "      %s\n", dim.Render(s.Name))
		}
	}
	b.WriteString("\n")
}

func stepWords(r *lab.StepReport) string {
	return fmt.Sprintf("%5d requests  %4d failed  longest gap %5.0f ms", r.Requests, r.Failed, r.LongestGapMS)
}

// bar is a progress bar of width cells.
func bar(part float64, width int) string {
	full := min(width, max(0, int(part*float64(width)+0.5)))
	return good.Render(strings.Repeat("█", full)) + dim.Render(strings.Repeat("░", width-full))
}

func (m labModel) drawDirectors(b *strings.Builder) {
	for _, d := range m.view.Directors {
		state := dim.Render(fmt.Sprintf("%-7s", d.State()))
		if d.Master() {
			state = bold.Render(fmt.Sprintf("%-7s", d.State()))
		}
		vip := ""
		if d.VIP {
			vip = "has " + m.lab.VIP.Addr().String()
		}
		fmt.Fprintf(b, " %-10s %s %-13s", d.Host, state, vip)
		for _, r := range m.lab.Pool(d) {
			word := good.Render("in ")
			if !r.InPool {
				word = bad.Render("OUT")
			}
			fmt.Fprintf(b, "  %s %s", r.Real, word)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

func (m labModel) drawTraffic(b *strings.Builder) {
	failed := fmt.Sprintf("%d failed", m.view.Failed)
	if m.view.Failed > 0 {
		failed = bad.Render(failed)
	}
	fmt.Fprintf(b, " %3d requests/s   %d so far, %s\n", m.view.PerSecond, m.view.Requests, failed)
	for _, host := range []string{"real1", "real2"} {
		addr := m.lab.Reals[host].String()
		n := m.view.ByReal[addr]
		fmt.Fprintf(b, "   %-11s %s %d/s\n", addr, bar(float64(n)/float64(max(1, m.view.PerSecond)), 24), n)
	}
}
