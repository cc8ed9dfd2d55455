package host

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestConnectionsGoToTheGroupAndComeFromIt(t *testing.T) {
	c := newCable(t)
	linkLocal(t, c.near)
	for _, group := range []string{"224.0.0.81", "239.1.2.3", "ff02::81"} {
		d := SyncEndpoint{Dev: c.far, Group: addr(group), Port: 8849, TTL: 1, Room: 8}
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
		got := make(chan []string)
		go func() {
			var all []string
			for len(all) < 2 { // however many come at once
				if err := far.Recv(func(b []byte) { all = append(all, string(b)) }); err != nil {
					t.Error(err)
					break
				}
			}
			got <- all
		}()
		var all []string
		waitFor(t, "datagrams to "+group+" arrive", func() bool {
			if n, err := near.Send([][]byte{[]byte("hello"), []byte("cut off here")}); err != nil || n != 2 {
				t.Error(n, err)
			}
			select {
			case all = <-got:
				return true
			default:
				return false
			}
		})
		if slices.Sort(all[:2]); !slices.Equal(all[:2], []string{"cut off ", "hello"}) {
			t.Errorf("%s: %q", group, all)
		}
		ended := make(chan error)
		go func() {
			ended <- own.Recv(func([]byte) { t.Error(group + ": what this host sends comes back to it") })
		}()
		check(t, own.Close())
		if err := <-ended; !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: Close does not end the wait: %v", group, err)
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
