package vm

import (
	"bufio"
	"cmp"
	"crypto/md5"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vipd/internal/need"
	"vipd/internal/vm"
)

var (
	//go:embed testdata/checks.sh
	checksScript string
	//go:embed testdata/checks.conf
	checksConf string
)

// played is for how long the schedule is played, by the machine's clock.
const played = 35 * time.Second

// TestChecksDoWhatKeepalivedsDo has keepalived and vipd, each in a namespace of its own with the kernel's IPVS, check the same
// servers by every kind of checker that both have, which misbehave towards both by the same schedule. What both log, write to their FIFOs, mail and run must be the
// same in the same order for each real server and service, at the same second since the start.
//
// keepalived 2.2.7, unlike later versions, makes retries while a TCP server is down too: ports are opened again when both are
// about to look.
//
// The machine's clock counts instructions, so that waiting takes no time and nothing is late.
func TestChecksDoWhatKeepalivedsDo(t *testing.T) {
	t.Parallel()
	binary := ""
	if os.Getenv(need.InVM) == "" {
		binary = filepath.Join(t.TempDir(), "vipd")
		buildProgram(t, binary)
	}
	if !vm.Inside(t, vm.Config{Tools: []string{"ip", "ipvsadm", "keepalived"}, Script: checksScript, CountInstructions: true,
		Files: map[string]string{"/vm/vipd": binary}}) {
		return
	}
	directors := []*director{
		newDirector(t, "keepalived", "keepalived", "-n", "-l", "-C", "-f", "/run/keepalived/conf"),
		newDirector(t, "vipd", "/vm/vipd", "run", "--data-plane", "ipvs", "--log-format", "json", "-f", "/run/vipd/conf"),
	}
	var all sync.WaitGroup
	for _, d := range directors {
		all.Go(func() { d.play(t) })
	}
	all.Wait()
	theirs, ours := directors[0].seen(t), directors[1].seen(t)
	for _, subject := range slices.Sorted(maps.Keys(theirs)) {
		compareEvents(t, subject, theirs[subject], ours[subject])
	}
	for subject, events := range ours {
		if theirs[subject] == nil {
			t.Errorf("%s: keepalived has none of %v", subject, events)
		}
	}
	if directors[0].table != directors[1].table {
		t.Errorf("IPVS: keepalived\n%s\nvipd\n%s", directors[0].table, directors[1].table)
	}
}

// event is a line of a log, a FIFO, a mail or a script. at is since the first checker was activated.
type event struct {
	at   time.Duration
	text string
}

// compareEvents wants the same events in the same order, within one second, which is the least time between checks.
func compareEvents(t *testing.T, subject string, theirs, ours []event) {
	t.Helper()
	const tick = time.Second
	show := func(all []event) (out string) {
		for _, e := range all {
			out += fmt.Sprintf("\t%6.2f %s\n", e.at.Seconds(), e.text)
		}
		return out
	}
	same := slices.EqualFunc(theirs, ours, func(a, b event) bool { return a.text == b.text && (a.at-b.at).Abs() <= tick })
	if !same {
		t.Errorf("%s: keepalived\n%svipd\n%s", subject, show(theirs), show(ours))
		return
	}
	t.Logf("%s: %d events\n%s", subject, len(ours), show(ours))
}

// director is a program under test, and all that it does.
type director struct {
	name    string
	command []string
	process *exec.Cmd
	mu      sync.Mutex
	events  []event // at is since the machine's start
	started time.Time
	table   string
}

func newDirector(t *testing.T, name string, command ...string) *director {
	dir := "/run/" + name
	text := strings.NewReplacer("DIR", dir, "DIGEST", fmt.Sprintf("%x", md5.Sum([]byte(goodPage)))).Replace(checksConf)
	for file, content := range map[string]string{"conf": text, "misc13": scheduleOfMisc + "\n", "misc74": scheduleOfSlow + "\n", "factor": "0\n", "verdict": "0\n"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, fifo := range []string{"fifo", "told"} {
		if err := syscall.Mkfifo(filepath.Join(dir, fifo), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &director{name: name, command: command, started: time.Now()}
}

func (d *director) note(stream, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, event{time.Since(d.started), stream + " " + text})
}

// play runs the program through the schedule and stops it.
func (d *director) play(t *testing.T) {
	var serving sync.WaitGroup
	for _, name := range []string{"fifo", "told"} {
		f, err := os.OpenFile("/run/"+d.name+"/"+name, os.O_RDWR, 0)
		if err != nil {
			t.Error(err)
			return
		}
		stream := map[string]string{"fifo": "FIFO", "told": "RUN"}[name]
		serving.Go(func() { d.lines(f, func(line string) { d.note(stream, line) }) })
		defer f.Close()
	}
	if err := in(d.name, func() error { return d.serve(t) }); err != nil {
		t.Error(err)
		return
	}
	d.process = exec.Command("ip", append([]string{"netns", "exec", d.name}, d.command...)...)
	out, err := d.process.StdoutPipe()
	if err != nil {
		t.Error(err)
		return
	}
	d.process.Stderr = d.process.Stdout
	if err := d.process.Start(); err != nil {
		t.Error(err)
		return
	}
	read := make(chan struct{})
	go func() { d.lines(out, d.logged); close(read) }()
	time.Sleep(played)
	table, err := exec.Command("ip", "netns", "exec", d.name, "ipvsadm", "-Sn").CombinedOutput()
	if d.table = string(table); err != nil {
		t.Errorf("%s: ipvsadm: %v: %s", d.name, err, table)
	}
	_ = d.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-read:
	case <-time.After(20 * time.Second):
		t.Errorf("%s does not end", d.name)
		_ = d.process.Process.Kill()
	}
	_ = d.process.Wait()
	time.Sleep(2 * time.Second) // mails
}

func (d *director) lines(r io.Reader, line func(string)) {
	for in := bufio.NewScanner(r); in.Scan(); {
		line(in.Text())
	}
}

// keepalived's lines have a date before them.
var dated = regexp.MustCompile(`^\w{3} \w{3} .{16}: `)

// logged keeps the lines that are about real servers and services, without what surrounds them.
func (d *director) logged(line string) {
	text := dated.ReplaceAllString(line, "")
	var entry struct{ Msg string }
	if json.Unmarshal([]byte(line), &entry) == nil {
		text = entry.Msg
	}
	if strings.Contains(text, "[10.") {
		d.note("log", text)
	}
	if strings.Contains(text, "Deactivating healthchecker") {
		go d.visit()
		go d.write()
	}
}

// visit has the address of the service with ha_suspend come and go.
func (d *director) visit() {
	for _, verb := range []string{"add", "del", "add"} {
		time.Sleep(4 * time.Second) // between two checks
		if out, err := exec.Command("ip", "-n", d.name, "address", verb, "10.9.9.5/32", "dev", "lo").CombinedOutput(); err != nil {
			d.note("log", "[10. "+string(out))
		}
	}
}

// written is what the files of FILE_CHECK say one after the other; an empty one is left as it is.
var written = []struct{ factor, verdict string }{{"2", "1"}, {"-4", "0"}, {"", "-7"}, {"-2147483648", ""}, {"1", "0"}}

// write has the files change, each at once as a whole.
func (d *director) write() {
	for _, step := range written {
		time.Sleep(4 * time.Second)
		for name, text := range map[string]string{"factor": step.factor, "verdict": step.verdict} {
			if text == "" {
				continue
			}
			file := "/run/" + d.name + "/" + name
			err := os.WriteFile(file+".new", []byte(text+"\n"), 0o600)
			if err = errors.Join(err, os.Rename(file+".new", file)); err != nil {
				d.note("log", "[10. "+err.Error())
			}
		}
	}
}

var endpoint = regexp.MustCompile(`\[10\.[0-9.]*\]:`)

// seen are the events by what they are about: the real server or service that they name first, or the script's. Times are
// since the first checker was activated.
func (d *director) seen(t *testing.T) map[string][]event {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.events, func(e event) bool { return strings.Contains(e.text, "Activating healthchecker") })
	if i < 0 {
		t.Fatalf("%s: no checker was activated: %v", d.name, d.events)
	}
	zero := d.events[i].at
	all := map[string][]event{}
	for _, e := range d.events {
		stream, _, _ := strings.Cut(e.text, " ")
		if stream == "MAIL" && strings.HasSuffix(e.text, "=> Shutting down <=") {
			continue // keepalived: makes them and ends before they are sent
		}
		subject := stream + " " + cmp.Or(endpoint.FindString(e.text), e.text[len(e.text)-2:])
		e.at -= zero
		all[subject] = append(all[subject], e)
	}
	return all
}
