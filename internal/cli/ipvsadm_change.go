package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"vipd/internal/control"
	"vipd/internal/lb"
)

// ipvsSession carries out commands of ipvsadm one after the other: one, or the lines of -R.
type ipvsSession struct {
	argv0, instance string
	env             Env
	names           Names
	src             control.Source   // nil: the daemon was not asked yet
	waiting         []control.Change // of lines of -R; the daemon takes many at once
	code            int              // exit code of the last change that was answered
}

func (s *ipvsSession) daemon() (control.Source, error) {
	if s.src != nil {
		return s.src, nil
	}
	src, err := s.env.dial(s.instance)
	if err != nil {
		return nil, noDaemon{err}
	}
	s.src = src
	return src, nil
}

// errEnd ends the lines of -R with success.
var errEnd = errors.New("end")

// run carries out a command, but for changes, which wait for flush.
func (s *ipvsSession) run(c *ipvsCommand) error {
	switch c.verb {
	case showHelp, showVersion:
		text := ipvsadmVersion
		if c.verb == showHelp {
			text += ipvsadmHelp
		}
		if err := s.flush(); err != nil {
			return err
		}
		if _, err := io.WriteString(s.env.Stdout, text); err != nil {
			return err
		}
		return errEnd
	case list, save:
		if err := s.flush(); err != nil {
			return err
		}
		src, err := s.daemon()
		if err != nil {
			return err
		}
		s.code = 0
		return newListing(c, src, s.names, s.env.Stdout).run(context.Background())
	}
	s.waiting = append(s.waiting, c.change())
	return nil
}

var changes = map[verb]control.Do{addService: control.AddService, editService: control.EditService, deleteService: control.DeleteService,
	addServer: control.AddServer, editServer: control.EditServer, deleteServer: control.DeleteServer, flush: control.Flush, zero: control.Zero,
	setTimeouts: control.Set, startDaemon: control.StartDaemon, stopDaemon: control.StopDaemon}

func (c *ipvsCommand) change() control.Change {
	ch := control.Change{Do: changes[c.verb]}
	switch c.verb {
	case addServer, editServer, deleteServer:
		ch.Service, ch.Real = lb.Service{ServiceKey: c.service.ServiceKey}, c.real
	case addService, editService:
		ch.Service = c.service
	case deleteService:
		ch.Service.ServiceKey = c.service.ServiceKey
	case zero:
		if c.given.has(optService) {
			ch.Service.ServiceKey = c.service.ServiceKey
		}
	case setTimeouts:
		ch.Timeouts = c.timeouts
	case startDaemon, stopDaemon:
		ch.Daemon = c.daemon
	}
	return ch
}

// changeTime is how long a daemon may take for many changes.
const changeTime = time.Minute

// flush sends the changes that wait, and prints what the data plane says against them.
func (s *ipvsSession) flush() error {
	if len(s.waiting) == 0 {
		return nil
	}
	src, err := s.daemon()
	if err != nil {
		return err
	}
	to, ok := src.(control.Changer)
	if !ok {
		return fmt.Errorf("instance %s takes no changes", s.instance)
	}
	answers, err := s.change(to)
	if err != nil {
		return err
	}
	for i, a := range answers {
		if s.code = 0; a.Errno == "" {
			continue
		}
		s.code = exitPopt
		if _, err := fmt.Fprintln(s.env.Stderr, kernelMessage(s.waiting[i].Do, a)); err != nil {
			return err
		}
	}
	s.waiting = nil
	return nil
}

// change sends them, if need be to a daemon that is started for it.
func (s *ipvsSession) change(to control.Changer) ([]control.Answer, error) {
	answers, err := changeWithin(to, s.waiting)
	if !errors.Is(err, control.ErrNotRunning) || !s.env.starts(s.instance) {
		return answers, err
	}
	if err := startDirector(s.instance, s.env); err != nil {
		return nil, noDaemon{err}
	}
	return changeWithin(to, s.waiting)
}

func changeWithin(to control.Changer, changes []control.Change) ([]control.Answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), changeTime)
	defer cancel()
	return to.Change(ctx, changes)
}

// kernelMessages are ipvsadm's words for an errno of the kernel, by command where they differ.
var kernelMessages = map[string]map[control.Do]string{
	"EEXIST": {control.AddService: "Service already exists", control.AddServer: "Destination already exists", control.StartDaemon: "Daemon has already run"},
	"ENODEV": {"": "No such device"},
	"ENOENT": {control.AddService: "Scheduler or persistence engine not found", control.EditService: "Scheduler or persistence engine not found",
		control.EditServer: "No such destination", control.DeleteServer: "No such destination"},
	"ESRCH": {"": "No such service", control.AddServer: "Service not defined", control.EditServer: "Service not defined",
		control.DeleteServer: "Service not defined", control.StopDaemon: "No daemon is running"},
	"ERANGE": {"": "Numerical result out of range"},
	"EINVAL": {"": "Invalid operation.  Possibly wrong module version, address not unicast, ..."},
	"ENOMEM": {"": "Memory allocation problem"},
}

// kernelMessage is the line for a change that was refused. What IPVS would not have refused says itself why.
func kernelMessage(do control.Do, a control.Answer) string {
	texts := kernelMessages[a.Errno]
	if text := texts[do]; text != "" {
		return text
	}
	if text := texts[""]; text != "" {
		return text
	}
	return a.Error
}

// most is how many lines of -R wait for the daemon at most.
const most = 1000

// restore executes the lines of standard input. Whatever is there already goes to the daemon together; a line that has
// come alone does not wait for the next.
func (s *ipvsSession) restore() error {
	in := bufio.NewReaderSize(s.env.Stdin, 64<<10)
	for {
		line, readErr := in.ReadString('\n')
		if readErr != nil && readErr != io.EOF {
			return fmt.Errorf("read standard input: %w", readErr)
		}
		if err := s.line(line); err != nil {
			return err
		}
		if readErr != nil || len(s.waiting) >= most || !lineWaits(in) {
			if err := s.flush(); err != nil {
				return err
			}
		}
		if readErr != nil {
			return s.ended()
		}
	}
}

// lineWaits reports whether a whole line has been read ahead.
func lineWaits(in *bufio.Reader) bool {
	ahead, _ := in.Peek(in.Buffered())
	return bytes.IndexByte(ahead, '\n') >= 0
}

// ended is how the run ends after its last line: with what came of that.
func (s *ipvsSession) ended() error {
	if s.code != 0 {
		return &exitCode{s.code}
	}
	return nil
}

func dividesWords(r rune) bool { return strings.ContainsRune(" \t\r\n", r) }

// line executes one line of -R. An error ends the run.
//
// ipvs: a mistake that popt finds, and what the kernel refuses, is said, and the next line is read; any other ends the run.
func (s *ipvsSession) line(line string) error {
	var words []string
	for _, w := range strings.FieldsFunc(line, dividesWords) {
		w, _, _ = strings.Cut(w, "\x00") // where words of C end
		if w != "ipvsadm" {
			words = append(words, w)
		}
	}
	if len(words) == 0 {
		return nil
	}
	c, bad := parseIpvsadm(s.argv0, words, s.names)
	if bad == nil && c.verb == restore {
		bad = tryHelp(s.argv0)
	}
	if bad == nil {
		return s.run(c)
	}
	if err := s.flush(); err != nil {
		return err
	}
	if !bad.popt {
		return bad
	}
	s.code = bad.code
	_, err := fmt.Fprintln(s.env.Stderr, bad)
	return err
}
