package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"vipd/internal/lab"
)

// view is a moment as the page shows it.
type view struct {
	lab.Moment
	Forum  string // URL
	VIP    string
	Said   string // in one sentence: how the site is
	Well   bool
	Tiers  []tier
	Chart  chart
	Legend []share
}

// tier is a row of hosts.
type tier struct {
	Name, Note string
	Hosts      []card
}

// card is one host.
type card struct {
	Host, Address, Is, State string
	Up, Holder               bool
	Notes                    []string
	Buttons                  []button
}

// button is something that can be done to a host.
type button struct{ What, Words string }

// share is one real server's part in the present traffic.
type share struct {
	Name      string
	Class     string // the colour in the chart
	PerSecond int
}

func newView(m lab.Moment, forum string) view {
	v := view{Moment: m, Forum: forum, VIP: m.Lab.VIP.String()}
	reals := realAddresses(m)
	v.Chart = draw(m, reals)
	v.Legend = shares(m, reals)
	v.Said, v.Well = sentence(m)
	v.Tiers = []tier{
		{Name: "Directors", Note: "One of them holds " + v.VIP + " and forwards to " + cmp.Or(map[string]string{lab.Content: "HAProxy. Both check all pools."}[m.Method], "the real servers.")},
		{Name: "HAProxy", Note: "Each sends requests for attachments to other real servers than the rest."},
		{Name: "Real servers", Note: "Each runs the forum and answers clients " + cmp.Or(map[string]string{lab.NAT: "through the director.", lab.Content: "through HAProxy."}[m.Method], "directly.")},
		{Name: "What they share", Note: "Sessions and pages, attachments, posts; and the operator's mail."},
	}
	row := map[string]int{lab.RoleDirector: 0, lab.RoleProxy: 1, lab.RoleWeb: 2, lab.RoleStore: 3}
	for _, h := range m.Hosts {
		if i, ok := row[h.Role]; ok {
			v.Tiers[i].Hosts = append(v.Tiers[i].Hosts, newCard(m, h))
		}
	}
	v.Tiers = slices.DeleteFunc(v.Tiers, func(t tier) bool { return len(t.Hosts) == 0 })
	return v
}

// realAddresses lists the real servers in the order of their hosts' names.
func realAddresses(m lab.Moment) []string {
	var out []string
	for _, h := range m.Hosts {
		if a, ok := m.Lab.Reals[h.Host]; ok {
			out = append(out, a.String())
		}
	}
	return out
}

func shares(m lab.Moment, reals []string) []share {
	var out []share
	for i, real := range reals {
		s := share{Name: real, Class: fmt.Sprintf("real%d", i+1)}
		if n := len(m.Seconds); n > 0 {
			s.PerSecond = m.Seconds[n-1].ByReal[real]
		}
		out = append(out, s)
	}
	return out
}

// sentence says how the site is, and whether nothing is missing.
func sentence(m lab.Moment) (string, bool) {
	if m.At.IsZero() {
		return "The site is being looked at.", true
	}
	holder := m.Master + " holds the virtual IP"
	if m.Master == "" {
		holder = "No director holds the virtual IP"
	}
	var down []string
	for _, h := range m.Hosts {
		if h.Role != "" && h.PID == 0 {
			down = append(down, h.Host)
		}
	}
	failing := len(m.Seconds) > 0 && m.Seconds[len(m.Seconds)-1].Failed > 0
	switch {
	case failing:
		return holder + ". Requests are failing.", false
	case len(down) == 1:
		return holder + ". " + down[0] + " is down, and every request is answered.", m.Master != ""
	case len(down) > 1:
		return holder + ". " + strings.Join(down[:len(down)-1], ", ") + " and " + down[len(down)-1] + " are down, and every request is answered.", m.Master != ""
	}
	return holder + ". Everything runs, and every request is answered.", m.Master != ""
}

func newCard(m lab.Moment, h lab.HostStatus) card {
	c := card{Host: h.Host, Address: strings.Join(h.Addresses, " "), Is: h.Is(), Up: h.PID != 0, Holder: h.Host == m.Master, State: "running"}
	switch {
	case !c.Up:
		c.State = "down"
		c.Buttons = []button{{"start", "Start"}}
	case h.Role == lab.RoleDirector:
		c.State = h.State
		c.Buttons = []button{{"kill", "Kill"}, {"stop", "Stop"}, {"off", "Power off"}}
	default:
		c.Buttons = []button{{"kill", "Kill"}}
	}
	switch {
	case m.Off[h.Host]:
		c.Notes = append(c.Notes, "without power, its cable pulled")
	case h.Role == lab.RoleDirector && !c.Up && h.VIP:
		c.Notes = append(c.Notes, "its packet path forwards on")
	}
	for _, r := range h.Pool {
		if c.Up {
			note := r.Real + map[bool]string{true: " in the pool", false: " out of the pool"}[r.InPool]
			if r.Pool != "" {
				note += " " + r.Pool
			}
			c.Notes = append(c.Notes, note)
		}
	}
	return c
}

// chart is the last two minutes, in units of its own: a second is 6 wide, and a request 1 high.
type chart struct {
	Width, Height int
	Bars          []bar
	Said          string
}

type bar struct {
	X, Y, H int
	Class   string
}

const (
	secondWidth = 6
	chartHeight = 60
	chartSpan   = 120 // seconds
)

func draw(m lab.Moment, reals []string) chart {
	c := chart{Width: chartSpan * secondWidth, Height: chartHeight}
	answered, failed := 0, 0
	for i, s := range m.Seconds {
		x, y := c.Width-(len(m.Seconds)-i)*secondWidth, chartHeight
		stack := func(n int, class string) {
			if n = min(n, y); n > 0 {
				y -= n
				c.Bars = append(c.Bars, bar{X: x, Y: y, H: n, Class: class})
			}
		}
		for k, real := range reals {
			stack(s.ByReal[real], fmt.Sprintf("real%d", k+1))
			answered += s.ByReal[real]
		}
		stack(s.Failed, "failed")
		failed += s.Failed
	}
	c.Said = fmt.Sprintf("%d requests answered and %d failed in the last %s", answered, failed, time.Duration(len(m.Seconds))*time.Second)
	return c
}
