package test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"vipd/examples/site"
)

// dialFrom connects as a patient client does: a SYN that is lost is sent again.
func dialFrom(from string) (conn net.Conn, err error) {
	d := net.Dialer{Timeout: 30 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, KeepAlive: -1}
	err = insideErr("vipd-lab-client", func() (err error) {
		conn, err = d.Dial("tcp4", virtual)
		return err
	})
	return conn, err
}

// continuity is a pair of directors that tell each other of their connections. director1 is the stronger one.
type continuity struct {
	*testing.T
}

const stronger, weaker = "lab-director1", "lab-director2"

func (c *continuity) becomes(director, want string) time.Duration {
	c.Helper()
	began := time.Now()
	eventually(c.T, time.Minute, director+" is "+want, func() bool {
		return strings.Contains(vipd(c.T, "vrrp", "--instance", director).stdout, "VI_1: "+want)
	})
	return time.Since(began)
}

func logOf(t *testing.T, director string) string {
	t.Helper()
	text, err := os.ReadFile("/run/vipd/lab/" + director + ".log")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// caughtUp waits until both directors have all of each other.
func (c *continuity) caughtUp() {
	c.Helper()
	for _, d := range []string{stronger, weaker} {
		eventually(c.T, time.Minute, d+" has caught up", func() bool {
			return strings.Contains(vipd(c.T, "status", "--instance", d).stdout, "caught up: ")
		})
	}
}

// returns starts director1 again and waits until it is master; it must have caught up before.
func (c *continuity) returns() time.Duration {
	c.Helper()
	began := len(logOf(c.T, "director1"))
	start := time.Now()
	works(c.T, "lab", "start", "director1")
	c.becomes(stronger, "MASTER")
	said := logOf(c.T, "director1")
	if len(said) >= began { // a start appends
		said = said[began:]
	}
	caught, master := strings.Index(said, "caught up with peer"), strings.Index(said, "Entering MASTER STATE")
	if caught < 0 || master < caught {
		c.Errorf("it took over before it had caught up:\n%s", said)
	}
	return time.Since(start)
}

// pairOf raises the lab with connection_sync between the directors, and further lines of global_defs for each, if there are any.
func pairOf(t *testing.T, more ...string) {
	t.Helper()
	pairSaying(t, func(i int, own, other string) string {
		return "    connection_sync {\n        peer " + other + "\n        source " + own +
			"\n        key hex:" + strings.Repeat("5a", 32) + "\n    }\n" + strings.Join(more[min(i, len(more)):min(i+1, len(more))], "")
	})
}

// pairSaying brings up the lab with two directors, of which the first is stronger; each has in global_defs what global says.
func pairSaying(t *testing.T, global func(i int, own, other string) string) {
	t.Helper()
	dir := t.TempDir()
	var args []string
	for i, own := range []string{"10.0.8.25", "10.0.8.55"} {
		name := fmt.Sprintf("director%d.conf", i+1)
		text, err := site.Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		other := []string{"10.0.8.55", "10.0.8.25"}[i]
		said := strings.Replace(string(text), "    router_id LVS_DEVEL\n", "    router_id LVS_DEVEL\n"+global(i, own, other), 1)
		said = strings.Replace(said, "persistence_timeout 10", "# no persistence", 1)
		if i == 0 {
			said = strings.Replace(said, "priority 100", "priority 150", 1)
		}
		args = append(args, fmt.Sprintf("--config%d", i+1), write(t, dir, name, said))
	}
	works(t, append([]string{"lab", "up"}, args...)...)
}
