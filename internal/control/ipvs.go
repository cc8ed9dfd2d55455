package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"vipd/internal/lb"
)

// Table is what the data plane holds, whoever put it there: what ipvsadm lists. A Service or Real of it has what the plane
// knows and nothing of checks; real servers stand in order of addition.
type Table struct {
	Size     uint32    `json:"size"` // lines of the connection table
	Services []Service `json:"services"`
	// Classes are those that give packets their firewall marks, in the words of lb.ClassGrammar.
	Classes []string `json:"classes,omitempty"`
	// Settings are net.ipv4.vs's, by name.
	Settings map[string]uint32 `json:"settings,omitempty"`
	// Daemons of connection synchronisation, master first.
	Daemons []lb.SyncDaemon `json:"daemons,omitempty"`
}

// Change is one step that ipvsadm asks for.
type Change struct {
	Do       Do
	Service  lb.Service  // of all but Flush and Set; of Zero without a key: all services
	Real     lb.Real     // of the three for servers
	Timeouts lb.Timeouts // of Set; zero keeps
	Class    lb.Class    // of AddClass and DeleteClass
	Setting  string      // of Tune: its name, and
	Value    uint32
	Daemon   lb.SyncDaemon // of StartDaemon; of StopDaemon its part
}

// Do is what a Change does, by the names of ipvsadm's commands.
type Do string

// What can be done.
const (
	AddService    Do = "add-service"
	EditService   Do = "edit-service"
	DeleteService Do = "delete-service"
	AddServer     Do = "add-server"
	EditServer    Do = "edit-server"
	DeleteServer  Do = "delete-server"
	Flush         Do = "flush"
	Zero          Do = "zero"
	Set           Do = "set"
	AddClass      Do = "add-class" // behind the others
	DeleteClass   Do = "delete-class"
	FlushClasses  Do = "flush-classes"
	Tune          Do = "tune"
	StartDaemon   Do = "start-daemon"
	StopDaemon    Do = "stop-daemon"
)

// All reports whether c is a Zero of everything.
func (c Change) All() bool { return c.Do == Zero && c.Service.ServiceKey == lb.ServiceKey{} }

// Answer is what came of a Change. The zero value: it is done.
type Answer struct {
	Errno string `json:"errno,omitempty"` // EEXIST, ESRCH, ENOENT, ERANGE, EINVAL, ENOMEM, EOPNOTSUPP or EIO: why not
	Error string `json:"error,omitempty"` // the same in words
}

// Changer changes the data plane by hand. It is called from several goroutines at once.
type Changer interface {
	// Change executes all changes in order, also after one that fails, and answers each.
	Change(ctx context.Context, changes []Change) ([]Answer, error)
}

// Bounds of one request.
const (
	MaxChanges     = 100_000
	maxChangeBytes = 64 << 20
)

// OfService reports whether a step names a service.
func (d Do) OfService() bool {
	switch d {
	case Flush, Set, AddClass, DeleteClass, FlushClasses, Tune, StartDaemon, StopDaemon:
		return false
	}
	return true
}

// Names longer than these never reach the kernel either (ip_vs.h).
const (
	maxScheduler = 15
	maxEngine    = 16
)

// changeJSON is a Change as it is sent.
type changeJSON struct {
	Do       Do             `json:"do"`
	Service  *serviceWords  `json:"service,omitempty"`
	Real     *realWords     `json:"real,omitempty"`
	Timeouts *timeoutsJSON  `json:"timeouts,omitempty"`
	Class    string         `json:"class,omitempty"` // lb.ClassGrammar
	Setting  *settingJSON   `json:"setting,omitempty"`
	Daemon   *lb.SyncDaemon `json:"daemon,omitempty"`
}

type settingJSON struct {
	Name  string `json:"name"`
	Value uint32 `json:"value"`
}

func encodeChanges(changes []Change) ([]byte, error) {
	list := make([]changeJSON, len(changes))
	for i, c := range changes {
		j := changeJSON{Do: c.Do}
		if c.Do.OfService() && !c.All() {
			w := serviceWordsOf(c.Service)
			j.Service = &w
		}
		switch c.Do {
		case AddServer, EditServer, DeleteServer:
			w := realWordsOf(c.Real)
			j.Real = &w
		case Set:
			w := timeoutsOf(c.Timeouts)
			j.Timeouts = &w
		case AddClass, DeleteClass:
			j.Class = c.Class.String()
		case Tune:
			j.Setting = &settingJSON{c.Setting, c.Value}
		case StartDaemon, StopDaemon:
			j.Daemon = &c.Daemon
		}
		list[i] = j
	}
	return json.Marshal(list)
}

// decodeChanges reads what encodeChanges writes, from anybody: what comes out of it names whole services and servers,
// of values that can be asked for. Whether they make sense together is the plane's to say.
func decodeChanges(r io.Reader) ([]Change, error) {
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	var list []changeJSON
	if err := dec.Decode(&list); err != nil {
		return nil, fmt.Errorf("read the changes: %w", err)
	}
	if dec.More() {
		return nil, errors.New("read the changes: something follows them")
	}
	if len(list) > MaxChanges {
		return nil, fmt.Errorf("read the changes: more than %d", MaxChanges)
	}
	changes := make([]Change, len(list))
	for i, j := range list {
		var err error
		if changes[i], err = j.change(); err != nil {
			return nil, fmt.Errorf("change %d, %.40q: %w", i+1, j.Do, err)
		}
	}
	return changes, nil
}

func (j changeJSON) change() (c Change, err error) {
	c.Do = j.Do
	service, server := true, false
	switch j.Do {
	case AddService, EditService, DeleteService:
	case AddServer, EditServer, DeleteServer:
		server = true
	case Zero:
		service = j.Service != nil
	case Flush, Set, AddClass, DeleteClass, FlushClasses, Tune, StartDaemon, StopDaemon:
		service = false
	default:
		return c, errors.New("unknown")
	}
	if (j.Service != nil) != service || (j.Real != nil) != server || (j.Timeouts != nil) != (j.Do == Set) ||
		(j.Class != "") != (j.Do == AddClass || j.Do == DeleteClass) || (j.Setting != nil) != (j.Do == Tune) || (j.Daemon != nil) != (j.Do == StartDaemon || j.Do == StopDaemon) {
		return c, errors.New("wants other parts than it has")
	}
	if service {
		if c.Service, err = j.Service.service(); err == nil {
			err = checkService(c.Service)
		}
	}
	if server && err == nil {
		if c.Real, err = j.Real.real(); err == nil && !c.Real.Addr.Addr().IsValid() {
			err = errors.New("a real server without an address")
		}
	}
	if j.Class != "" {
		c.Class, _, err = lb.ParseClass(strings.Fields(j.Class))
	}
	if j.Setting != nil {
		c.Setting, c.Value = j.Setting.Name, j.Setting.Value
	}
	if j.Daemon != nil {
		c.Daemon = *j.Daemon
		err = checkDaemon(c.Daemon)
	}
	if j.Timeouts != nil {
		if j.Timeouts.TCP < 0 || j.Timeouts.TCPFin < 0 || j.Timeouts.UDP < 0 {
			err = errors.New("a negative timeout")
		}
		c.Timeouts = j.Timeouts.timeouts()
	}
	return c, err
}

// maxInterface is the longest name that the kernel gives an interface (IFNAMSIZ).
const maxInterface = 15

func checkDaemon(d lb.SyncDaemon) error {
	if len(d.Interface) > maxInterface {
		return fmt.Errorf("interface %.20q: the name is too long", d.Interface)
	}
	if d.Group.IsValid() && (!d.Group.IsMulticast() || d.Group.Zone() != "") {
		return fmt.Errorf("group %s: not multicast", d.Group)
	}
	return nil
}

func checkService(s lb.Service) error {
	switch {
	case s.Mark == 0 && s.Addr == netip.AddrPort{}:
		return errors.New("a service without an address or a mark")
	case s.Mark == 0 && !s.Addr.Addr().IsValid():
		return errors.New("a service without an address")
	case len(s.Scheduler) > maxScheduler || len(s.Engine) > maxEngine:
		return fmt.Errorf("scheduler %.20q or engine %.20q: the name is too long", s.Scheduler, s.Engine)
	}
	return nil
}

// serveChanges adds the change by hand.
func serveChanges(mux *http.ServeMux, c Changer) {
	mux.HandleFunc("POST /v1/ipvs", func(w http.ResponseWriter, r *http.Request) {
		conn := http.NewResponseController(w)
		conn.SetReadDeadline(time.Now().Add(writeTime))
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxChangeBytes))
		conn.SetReadDeadline(time.Time{}) // else it would end the request's context
		var changes []Change
		if err == nil {
			changes, err = decodeChanges(bytes.NewReader(body))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answers, err := c.Change(r.Context(), changes)
		conn.SetWriteDeadline(time.Now().Add(writeTime))
		answer(w, answers, err)
	})
}

// Table asks for what the data plane holds.
func (c *Client) Table(ctx context.Context) (t Table, err error) {
	return t, c.get(ctx, "/v1/ipvs", maxStatus, &t)
}

// Change implements Changer, at most MaxChanges at once. There are as many answers as changes, or an error.
func (c *Client) Change(ctx context.Context, changes []Change) ([]Answer, error) {
	raw, err := encodeChanges(changes)
	if err != nil {
		return nil, err
	}
	body, err := c.do(ctx, http.MethodPost, "/v1/ipvs", bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var answers []Answer
	if err := readAnswer(body, maxOutcome, &answers); err != nil {
		return nil, err
	}
	if len(answers) != len(changes) {
		return nil, fmt.Errorf("instance %s answers %d of %d changes", c.instance, len(answers), len(changes))
	}
	return answers, nil
}
