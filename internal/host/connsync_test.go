package host

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestConnectionsGoToTheGroupAndComeFromIt(t *testing.T) {
	c := newCable(t)
	linkLocal(t, c.near)
	for _, group := range []string{"224.0.0.81", "239.1.2.3", "ff02::81"} {
		d := SyncEndpoint{Dev: c.far, Group: addr(group), Port: 8849, TTL: 1}
		var far *SyncSocket
		c.do(func() {
			var err error
			linkLocal(t, c.far)
			far, err = ListenSync(d)
			check(t, err)
		})
		d.Dev = c.near
		own, err := ListenSync(d)
		check(t, err)
		near, err := DialSync(d)
		check(t, err)
		// Whoever has joined a moment ago may not be known everywhere yet.
		got := make(chan string)
		go func() {
			buf := make([]byte, 100)
			n, err := far.Recv(buf)
			if err != nil {
				t.Error(err)
			}
			got <- string(buf[:n])
		}()
		text := ""
		waitFor(t, "a datagram to "+group+" arrives", func() bool {
			if err := near.Send([]byte("hello")); err != nil {
				t.Error(err)
			}
			select {
			case text = <-got:
				return true
			default:
				return false
			}
		})
		if text != "hello" {
			t.Errorf("%s: %q", group, text)
		}
		ended := make(chan error)
		go func() {
			_, err := own.Recv(make([]byte, 100))
			ended <- err
		}()
		check(t, own.Close())
		if err := <-ended; !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: what this host sends comes back to it, or Close does not end the wait: %v", group, err)
		}
		check(t, near.Close())
		check(t, far.Close())
	}
}

func TestSynchronisationNeedsItsInterface(t *testing.T) {
	d := SyncEndpoint{Dev: "nosuch0", Group: addr("224.0.0.81"), Port: 8848, TTL: 1}
	for _, open := range []func(SyncEndpoint) (*SyncSocket, error){DialSync, ListenSync} {
		if _, err := open(d); !errors.Is(err, ErrNoInterface) || !strings.Contains(err.Error(), "nosuch0") {
			t.Errorf("%v", err)
		}
	}
}
