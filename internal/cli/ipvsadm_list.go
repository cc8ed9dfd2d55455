package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"vipd/internal/control"
	"vipd/internal/lb"
)

// listing answers -L and -S.
type listing struct {
	cmd *ipvsCommand
	src control.Source
	out *bufio.Writer
	printer
}

func newListing(c *ipvsCommand, src control.Source, names Names, w io.Writer) *listing {
	l := &listing{cmd: c, src: src, out: bufio.NewWriterSize(w, 64<<10)}
	l.engines = c.given.has(optPersistentConn)
	l.exact = c.given.has(optExact)
	if l.format = formatOf(c.given); c.verb == save {
		l.format = saveCommands
	}
	if !c.given.has(optNumeric) {
		l.names = names
	}
	return l
}

func (l *listing) run(ctx context.Context) error {
	given := l.cmd.given
	var err error
	switch {
	case given.has(optConnection):
		err = l.connections(ctx)
	case given.has(optTimeout):
		err = l.timeouts(ctx)
	case given.has(optDaemon):
		err = l.daemons(ctx)
	default:
		err = l.services(ctx)
	}
	if err != nil {
		return err
	}
	return l.out.Flush()
}

// daemons lists those of connection synchronisation that run, one a line, master first.
func (l *listing) daemons(ctx context.Context) error {
	t, err := l.src.Table(ctx)
	if err != nil {
		return err
	}
	for _, d := range t.Daemons {
		fmt.Fprintf(l.out, "%s sync daemon (mcast=%s, syncid=%d, maxlen=%d, group=%s, port=%d, ttl=%d)\n",
			d.Part(), d.Interface, d.ID, d.MaxLen, addrText(d.Group), d.Port, d.TTL)
	}
	return nil
}

func (l *listing) services(ctx context.Context) error {
	s, err := l.src.Table(ctx)
	if err != nil {
		return err
	}
	services := inKernelOrder(s.Services)
	if l.cmd.given.has(optService) {
		services = slices.DeleteFunc(services, func(s control.Service) bool { return s.ServiceKey != l.cmd.service.ServiceKey })
		if len(services) == 0 {
			return &usageError{code: exitListing, text: "No such service"}
		}
	}
	if !l.cmd.given.has(optNosort) {
		services = sortedLikeIpvsadm(services)
	}
	if l.format == saveCommands {
		for i := range services {
			for _, line := range l.saved(&services[i]) {
				fmt.Fprintln(l.out, line)
			}
		}
		return nil
	}
	l.title(s.Size)
	for i := range services {
		fmt.Fprintln(l.out, l.service(&services[i]))
		for j := range services[i].Reals {
			fmt.Fprintln(l.out, l.server(&services[i].Service, &services[i].Reals[j]))
		}
	}
	return nil
}

// title says IPVS 1.2.1, since scripts look for it; the size is that of the daemon's connection table.
func (l *listing) title(size uint32) {
	if !l.cmd.given.has(optService) {
		fmt.Fprintf(l.out, "IP Virtual Server version 1.2.1 (size=%d)\n", size)
	}
	t := titles[l.format]
	fmt.Fprintf(l.out, "%s\n%s\n", t[0], t[1])
}

// connections lists the connection table.
//
// ipvs: the original prints the kernel's order, which is random at every boot; here a client's connections stand together
// and in the same order every time. --nosort, which the original ignores here, prints them as they come: a table of
// any size at no memory.
func (l *listing) connections(ctx context.Context) error {
	fmt.Fprintln(l.out, "IPVS connection entries")
	if l.cmd.given.has(optPersistentConn) {
		fmt.Fprintln(l.out, connNameTitle+"        pe name          pe_data")
	} else {
		fmt.Fprintln(l.out, connNameTitle)
	}
	if l.cmd.given.has(optNosort) {
		return l.src.Conns(ctx, func(c lb.Conn) bool {
			_, err := fmt.Fprintln(l.out, l.conn(c))
			return err == nil
		})
	}
	var all []lb.Conn
	if err := l.src.Conns(ctx, func(c lb.Conn) bool { all = append(all, c); return true }); err != nil {
		return err
	}
	slices.SortFunc(all, compareConns)
	for _, c := range all {
		if _, err := fmt.Fprintln(l.out, l.conn(c)); err != nil {
			return err
		}
	}
	return nil
}

func (l *listing) timeouts(ctx context.Context) error {
	t, err := l.src.Timeouts(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(l.out, "Timeout (tcp tcpfin udp): %d %d %d\n", t.TCP/time.Second, t.TCPFin/time.Second, t.UDP/time.Second)
	return nil
}
