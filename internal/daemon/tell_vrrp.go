package daemon

import (
	"fmt"
	"strconv"

	"vipd/internal/conf"
	"vipd/internal/vrrp"
)

// told is a state as scripts, FIFOs and mails name it.
type told string

const (
	toldMaster  told = "MASTER"
	toldBackup  told = "BACKUP"
	toldFault   told = "FAULT"
	toldStop    told = "STOP"
	toldDeleted told = "DELETED"
)

// toldOf names a state. INIT is a stop, or the end of an instance that a reload removed.
func toldOf(s vrrp.State, deleted bool) told {
	switch s {
	case vrrp.Master:
		return toldMaster
	case vrrp.Backup:
		return toldBackup
	case vrrp.Fault:
		return toldFault
	}
	if deleted {
		return toldDeleted
	}
	return toldStop
}

// of is the script of a state.
func (s told) of(n conf.Notify) *conf.Script {
	return map[told]*conf.Script{toldMaster: n.Master, toldBackup: n.Backup, toldFault: n.Fault, toldStop: n.Stop, toldDeleted: n.Deleted}[s]
}

// changed tells that an instance went to another state.
func (t *teller) changed(name string, to vrrp.State, priority uint8) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.routers[name]
	if i == nil {
		return
	}
	state := toldOf(to, t.retiring)
	script := state.of(i.Notify)
	if state == toldDeleted && !i.Notify.OnDelete {
		// keepalived: tells FAULT then, but does not run notify_fault.
		state, script = toldFault, nil
	}
	t.tell(notice{about: "INSTANCE " + name, what: string(state), scripts: []*conf.Script{script}, generic: i.Notify.Any,
		extra: []string{"INSTANCE", name, string(state), strconv.Itoa(int(priority))}, line: vrrpLine("INSTANCE", name, string(state), priority),
		fifo: fifoVRRP})
	if i.SMTPAlert {
		t.mailState("VRRP Instance "+name, state, instanceMails)
	}
}

// groupChanged tells that a sync group went to another state.
func (t *teller) groupChanged(name string, to vrrp.State) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.groups[name]
	if g == nil {
		return
	}
	state := toldOf(to, false)
	t.tell(notice{about: "GROUP " + name, what: string(state), scripts: []*conf.Script{state.of(g.Notify)}, generic: g.Notify.Any,
		extra: []string{"GROUP", name, string(state), "0"}, line: vrrpLine("GROUP", name, string(state), 0), fifo: fifoVRRP})
	if g.SMTPAlert {
		t.mailState("VRRP Group "+name, state, groupMails)
	}
}

// lowerHeard tells that a master heard an advert of a lower priority.
func (t *teller) lowerHeard(name string, priority uint8) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := t.routers[name]; i != nil {
		const what = "MASTER_RX_LOWER_PRI"
		t.tell(notice{about: "INSTANCE " + name, what: what, scripts: []*conf.Script{i.Notify.MasterRxLowerPri},
			line: vrrpLine("INSTANCE", name, what, priority), fifo: fifoVRRP})
	}
}

// prioritySet tells a new effective priority where notify_priority_changes asks for it.
func (t *teller) prioritySet(name string, state vrrp.State, priority uint8) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.routers[name]
	if i == nil || !t.tellsPriority(i) {
		return
	}
	what := "BACKUP_PRIORITY"
	if state == vrrp.Master {
		what = "MASTER_PRIORITY"
	}
	t.tell(notice{line: vrrpLine("INSTANCE", name, what, priority), fifo: fifoVRRP})
}

func (t *teller) tellsPriority(i *conf.Instance) bool {
	if own := i.Notify.PriorityChanges; own != nil {
		return *own
	}
	return t.global.Scripts.PriorityChanges
}

// statesAgain writes the state of every instance to the FIFOs, where fifo_write_vrrp_states_on_reload asks for it.
func (t *teller) statesAgain(all []vrrp.Status) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.global.Scripts.StatesOnReload {
		return
	}
	for _, s := range all {
		t.tell(notice{line: vrrpLine("INSTANCE", s.Name, string(toldOf(s.State, false)), s.Priority), fifo: fifoVRRP})
	}
}

func vrrpLine(kind, name, state string, priority uint8) string {
	return fmt.Sprintf("%s \"%s\" %s %d\n", kind, name, state, priority)
}

// stateMail is the end of the subject, and the body.
type stateMail struct{ subject, body string }

var instanceMails = map[told]stateMail{
	toldMaster:  {"Entering MASTER state", "=> VRRP Instance is now owning VRRP VIPs <="},
	toldBackup:  {"Entering BACKUP state", "=> VRRP Instance is no longer owning VRRP VIPs <="},
	toldFault:   {"Entering FAULT state", "=> VRRP Instance is no longer owning VRRP VIPs <="},
	toldStop:    {"Stopping", "=> VRRP Instance stopping <="},
	toldDeleted: {"Deleted", "=> VRRP Deleted at reload <="},
}

var groupMails = map[told]stateMail{
	toldMaster: {"Entering MASTER state", "=> All VRRP group instances are now in MASTER state <="},
	toldBackup: {"Entering BACKUP state", "=> All VRRP group instances are now in BACKUP state <="},
	toldFault:  {"Entering FAULT state", "=> All VRRP group instances are now in FAULT state <="},
	toldStop:   {"Stopping", "=> All VRRP group instances are now stopping <="},
}

// mailState sends a mail about a state, unless the last one was about the same. t.mu is held.
func (t *teller) mailState(about string, state told, texts map[told]stateMail) {
	text, ok := texts[state]
	if !ok || t.mailed[about] == string(state) || state == toldFault && t.global.NoEmailFaults {
		return
	}
	t.mailed[about] = string(state)
	t.mailAbout(about+" - "+text.subject, text.body)
}
