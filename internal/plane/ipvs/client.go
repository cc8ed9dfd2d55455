package ipvs

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"vipd/internal/lb"
	"vipd/internal/plane"
)

// Client speaks with the IPVS of the network namespace in which it was dialled. Errors wrap the kernel's errno.
type Client struct {
	conn   connection
	family uint16
}

// connection is what a *genetlink.Conn does.
type connection interface {
	Execute(m genetlink.Message, family uint16, flags netlink.HeaderFlags) ([]genetlink.Message, error)
	GetFamily(name string) (genetlink.Family, error)
	SetReadDeadline(t time.Time) error
	Close() error
}

// Dial connects with the IPVS of the calling thread's network namespace. The error wraps os.ErrNotExist if the kernel has
// no IPVS now.
func Dial() (*Client, error) { return dial(nil) }

// dial connects in a network namespace. If nil, the calling thread's.
func dial(namespace *os.File) (*Client, error) {
	var in *netlink.Config
	if namespace != nil {
		in = &netlink.Config{NetNS: int(namespace.Fd())}
	}
	conn, err := genetlink.Dial(in)
	if err != nil {
		return nil, fmt.Errorf("open generic netlink: %w", err)
	}
	return newClient(conn)
}

func newClient(conn connection) (*Client, error) {
	family, err := conn.GetFamily(familyName)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("find netlink family %s: %w", familyName, err)
	}
	return &Client{conn, family.ID}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// attr is one nested attribute of a request.
type attr struct {
	kind uint16
	fill func(*netlink.AttributeEncoder) error
}

func service(s lb.Service) attr {
	return attr{attrService, func(ae *netlink.AttributeEncoder) error { return encodeService(ae, s) }}
}

func serviceKey(k lb.ServiceKey) attr {
	return attr{attrService, func(ae *netlink.AttributeEncoder) error { encodeKey(ae, k); return nil }}
}

func realServer(r lb.Real) attr {
	return attr{attrDest, func(ae *netlink.AttributeEncoder) error { return encodeReal(ae, r) }}
}

func realKey(r lb.Real) attr {
	return attr{attrDest, func(ae *netlink.AttributeEncoder) error { encodeRealKey(ae, r); return nil }}
}

// request makes the message of a command.
func request(cmd uint8, attrs ...attr) (genetlink.Message, error) {
	ae := netlink.NewAttributeEncoder()
	for _, a := range attrs {
		ae.Nested(a.kind, a.fill)
	}
	data, err := ae.Encode()
	return genetlink.Message{Header: genetlink.Header{Command: cmd, Version: familyVersion}, Data: data}, err
}

// do sends a command that changes something.
func (c *Client) do(cmd uint8, attrs ...attr) error {
	m, err := request(cmd, attrs...)
	if err != nil {
		return err
	}
	_, err = c.conn.Execute(m, c.family, netlink.Request|netlink.Acknowledge)
	return err
}

// dump asks for all entries of a kind and gives visit the inside of each.
func (c *Client) dump(cmd uint8, kind uint16, visit func(b []byte) error, attrs ...attr) error {
	m, err := request(cmd, attrs...)
	if err != nil {
		return err
	}
	entries, err := c.conn.Execute(m, c.family, netlink.Request|netlink.Dump)
	if err != nil {
		return err
	}
	for _, e := range entries {
		b, err := nested(e.Data, kind)
		if err == nil {
			err = visit(b)
		}
		if err != nil {
			return fmt.Errorf("read the kernel's answer: %w", err)
		}
	}
	return nil
}

// get asks for one answer. It asks for no acknowledgement: that would be a second one.
func (c *Client) get(cmd uint8) ([]byte, error) {
	m, err := request(cmd)
	if err != nil {
		return nil, err
	}
	answers, err := c.conn.Execute(m, c.family, netlink.Request)
	if err != nil {
		return nil, err
	}
	if len(answers) != 1 {
		return nil, fmt.Errorf("read the kernel's answer: %d messages, want 1", len(answers))
	}
	return answers[0].Data, nil
}

// Services lists the services without their real servers, in no particular order.
func (c *Client) Services() (all []plane.Pool, err error) {
	err = c.dump(cmdGetService, attrService, func(b []byte) error {
		s, err := decodeService(b)
		all = append(all, s)
		return err
	})
	return all, err
}

// Reals lists the real servers of a service in order of addition; none if there is no such service.
func (c *Client) Reals(k lb.ServiceKey) (all []plane.Real, err error) {
	family := uint16(unix.AF_INET)
	if k.Is6() {
		family = unix.AF_INET6
	}
	err = c.dump(cmdGetDest, attrDest, func(b []byte) error {
		r, err := decodeReal(b, family)
		all = append(all, r)
		return err
	}, serviceKey(k))
	slices.Reverse(all) // the kernel puts the newest first
	return all, err
}

// AddService, EditService and DelService change services; the key is enough for the last.
func (c *Client) AddService(s lb.Service) error    { return c.do(cmdNewService, service(s)) }
func (c *Client) EditService(s lb.Service) error   { return c.do(cmdSetService, service(s)) }
func (c *Client) DelService(k lb.ServiceKey) error { return c.do(cmdDelService, serviceKey(k)) }

// AddReal, EditReal and DelReal change the real servers of a service; Addr is enough for the last.
func (c *Client) AddReal(k lb.ServiceKey, r lb.Real) error {
	return c.do(cmdNewDest, serviceKey(k), realServer(r))
}

func (c *Client) EditReal(k lb.ServiceKey, r lb.Real) error {
	return c.do(cmdSetDest, serviceKey(k), realServer(r))
}

func (c *Client) DelReal(k lb.ServiceKey, r lb.Real) error {
	return c.do(cmdDelDest, serviceKey(k), realKey(r))
}

// Zero sets what was counted of a service to nothing, or of all and the total if k is nil.
func (c *Client) Zero(k *lb.ServiceKey) error {
	if k == nil {
		return c.do(cmdZero)
	}
	return c.do(cmdZero, serviceKey(*k))
}

// Flush removes every service, whoever made it.
func (c *Client) Flush() error { return c.do(cmdFlush) }

// Info asks for the version and the size of the connection table.
func (c *Client) Info() (Info, error) {
	data, err := c.get(cmdGetInfo)
	if err != nil {
		return Info{}, err
	}
	return decodeInfo(data)
}

// Timeouts asks for those that ipvsadm --set changes.
func (c *Client) Timeouts() (lb.Timeouts, error) {
	data, err := c.get(cmdGetConfig)
	if err != nil {
		return lb.Timeouts{}, err
	}
	return decodeTimeouts(data)
}

// SetTimeouts changes those that are not zero.
func (c *Client) SetTimeouts(t lb.Timeouts) error {
	data, err := encodeTimeouts(t)
	if err != nil {
		return err
	}
	m := genetlink.Message{Header: genetlink.Header{Command: cmdSetConfig, Version: familyVersion}, Data: data}
	_, err = c.conn.Execute(m, c.family, netlink.Request|netlink.Acknowledge)
	return err
}

func decodeTimeouts(data []byte) (lb.Timeouts, error) {
	v, err := uint32s(data)
	s := func(kind uint16) time.Duration { return time.Duration(v[kind]) * time.Second }
	return lb.Timeouts{TCP: s(attrTimeoutTCP), TCPFin: s(attrTimeoutTCPFin), UDP: s(attrTimeoutUDP)}, err
}

func encodeTimeouts(t lb.Timeouts) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	for _, f := range []struct {
		kind uint16
		d    time.Duration
	}{{attrTimeoutTCP, t.TCP}, {attrTimeoutTCPFin, t.TCPFin}, {attrTimeoutUDP, t.UDP}} {
		if f.d < 0 || f.d > maxPeriod {
			return nil, fmt.Errorf("timeout %v: %w", f.d, plane.ErrRange)
		}
		if f.d != 0 {
			ae.Uint32(f.kind, seconds(f.d))
		}
	}
	return ae.Encode()
}

// Syncs lists the synchronisation daemons that run: none, one or two.
func (c *Client) Syncs() (all []Sync, err error) {
	err = c.dump(cmdGetDaemon, attrDaemon, func(b []byte) error {
		s, err := decodeSync(b)
		all = append(all, s)
		return err
	})
	return all, err
}

// StartSync starts a synchronisation daemon: EEXIST if one of its part runs, ENODEV if there is no such interface,
// EINVAL while a real server of another family than its service exists.
func (c *Client) StartSync(s Sync) error {
	return c.do(cmdNewDaemon, attr{attrDaemon, func(ae *netlink.AttributeEncoder) error { return encodeSync(ae, s) }})
}

// StopSync ends the daemon of a part; ESRCH if there is none.
func (c *Client) StopSync(s SyncState) error {
	// Linux: a daemon that is stopped before its thread ever ran gives EINTR, and of EINTR netlink tells nobody. The kernel
	// works on a request while it is sent, so an answer that is not there soon never comes.
	if err := c.conn.SetReadDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	err := c.do(cmdDelDaemon, attr{attrDaemon, func(ae *netlink.AttributeEncoder) error {
		ae.Uint32(daemonState, uint32(s))
		return nil
	}})
	if clearErr := c.conn.SetReadDeadline(time.Time{}); clearErr != nil {
		return clearErr
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	left, err := c.Syncs()
	if err == nil && slices.ContainsFunc(left, func(d Sync) bool { return d.State == s }) {
		err = fmt.Errorf("stop the %s daemon: the kernel does not answer, and it runs on", s)
	}
	return err
}

// answerTime is how long an answer is waited for that the kernel may swallow.
const answerTime = time.Second
