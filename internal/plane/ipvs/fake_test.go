package ipvs

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/genetlink/genltest"
	"github.com/mdlayher/netlink"

	"vipd/internal/lb"
	"vipd/internal/plane"
)

const fakeFamily = 0x21

// fakeKernel answers the family IPVS as a kernel does, with a plane.Memory for its tables.
type fakeKernel struct {
	*plane.Memory
	refuse  syscall.Errno // of every command that changes something
	flushed bool
	syncs   []Sync
	silent  bool // nothing is answered to what changes something, although it is done

	stubborn bool // no daemon starts or stops
}

// fakeConn has the deadline that genltest's connections have not.
type fakeConn struct {
	*genetlink.Conn
	*fakeKernel
	deadline time.Time
}

func (c *fakeConn) Close() error                      { return c.Conn.Close() }
func (c *fakeConn) SetReadDeadline(t time.Time) error { c.deadline = t; return nil }

// Execute gives, of a silent kernel, what a socket gives whose deadline is over; a reader without one would wait for ever.
func (c *fakeConn) Execute(m genetlink.Message, family uint16, flags netlink.HeaderFlags) ([]genetlink.Message, error) {
	answers, err := c.Conn.Execute(m, family, flags)
	if c.silent && flags&netlink.Dump != netlink.Dump {
		if c.deadline.IsZero() {
			panic("a read without a deadline never ends")
		}
		return nil, os.ErrDeadlineExceeded
	}
	return answers, err
}

func newFake(t testing.TB) (*Plane, *fakeKernel) {
	t.Helper()
	k := &fakeKernel{Memory: plane.NewMemory()}
	c, err := newClient(k.dial())
	if err != nil {
		t.Fatal(err)
	}
	p, err := open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	p.sysctls = t.TempDir() + "/"
	for _, s := range plane.Settings {
		if s.Own || strings.HasPrefix(s.Name, "lblc") { // those of lblc come with their schedulers
			continue
		}
		text := strconv.Itoa(int(s.Default)) + "\n"
		switch s.Name {
		case "sync_period":
			continue
		case "sync_threshold":
			text = "3\t50\n"
		}
		if err := os.WriteFile(p.sysctls+s.Name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p, k
}

func (k *fakeKernel) dial() connection {
	return &fakeConn{Conn: genltest.Dial(genltest.ServeFamily(genetlink.Family{ID: fakeFamily, Version: 1, Name: familyName}, k.serve)), fakeKernel: k}
}

func (k *fakeKernel) serve(req genetlink.Message, nl netlink.Message) ([]genetlink.Message, error) {
	if req.Header.Version != familyVersion || nl.Header.Type != fakeFamily {
		return nil, genltest.Error(int(syscall.EINVAL))
	}
	switch cmd := req.Header.Command; cmd {
	case cmdGetService, cmdGetDest, cmdGetDaemon:
		if nl.Header.Flags != netlink.Request|netlink.Dump {
			return nil, genltest.Error(int(syscall.EINVAL))
		}
		return k.dump(cmd, req.Data)
	case cmdGetConfig, cmdGetInfo:
		if nl.Header.Flags != netlink.Request {
			return nil, genltest.Error(int(syscall.EINVAL))
		}
		return []genetlink.Message{{Header: genetlink.Header{Command: cmd - 1, Version: 1}, Data: k.answer(cmd)}}, nil
	}
	err := k.change(req)
	if k.refuse != 0 {
		err = k.refuse
	}
	if err != nil {
		return nil, genltest.Error(int(errnoOf(err)))
	}
	if nl.Header.Flags != netlink.Request|netlink.Acknowledge {
		return nil, genltest.Error(int(syscall.EINVAL))
	}
	return nil, io.EOF
}

func errnoOf(err error) syscall.Errno {
	for e, n := range map[error]syscall.Errno{plane.ErrServiceExists: syscall.EEXIST, plane.ErrRealExists: syscall.EEXIST,
		plane.ErrNoService: syscall.ESRCH, plane.ErrNoReal: syscall.ENOENT, plane.ErrNoScheduler: syscall.ENOENT, plane.ErrRange: syscall.ERANGE} {
		if errors.Is(err, e) {
			return n
		}
	}
	var n syscall.Errno
	if errors.As(err, &n) {
		return n
	}
	return syscall.EINVAL
}

func (k *fakeKernel) answer(cmd uint8) []byte {
	ae := netlink.NewAttributeEncoder()
	if cmd == cmdGetInfo {
		ae.Uint32(infoVersion, 0x010201)
		ae.Uint32(infoTableSize, 4096)
	} else {
		t, _ := k.Timeouts()
		ae.Uint32(attrTimeoutTCP, seconds(t.TCP))
		ae.Uint32(attrTimeoutTCPFin, seconds(t.TCPFin))
		ae.Uint32(attrTimeoutUDP, seconds(t.UDP))
	}
	b, _ := ae.Encode()
	return b
}

func (k *fakeKernel) dump(cmd uint8, data []byte) (out []genetlink.Message, err error) {
	entry := func(kind uint16, fill func(*netlink.AttributeEncoder) error) {
		m, encErr := request(cmd-3, attr{kind, fill})
		if encErr != nil {
			err = encErr
		}
		out = append(out, m)
	}
	have, _ := k.Read()
	switch cmd {
	case cmdGetDaemon:
		for _, s := range k.syncs {
			entry(attrDaemon, func(ae *netlink.AttributeEncoder) error { return encodeSync(ae, s) })
		}
	case cmdGetService:
		for _, p := range have {
			entry(attrService, func(ae *netlink.AttributeEncoder) error { return encodePool(ae, p) })
		}
	default:
		key, _ := keyOf(data)
		for _, p := range have {
			if p.Service.ServiceKey != key {
				continue
			}
			for _, r := range slices.Backward(p.Reals) { // the kernel lists the newest first
				entry(attrDest, func(ae *netlink.AttributeEncoder) error { return encodeCounted(ae, r) })
			}
		}
	}
	if len(out) == 0 && err == nil {
		err = io.EOF
	}
	return out, err
}

func keyOf(data []byte) (lb.ServiceKey, error) {
	b, err := nested(data, attrService)
	if err != nil {
		return lb.ServiceKey{}, err
	}
	p, err := decodeService(b)
	return p.Service.ServiceKey, err
}

func (k *fakeKernel) change(req genetlink.Message) error {
	switch req.Header.Command {
	case cmdFlush:
		k.flushed = true
		return nil
	case cmdSetConfig:
		t, err := decodeTimeouts(req.Data)
		return errors.Join(err, k.SetTimeouts(t))
	case cmdNewDaemon, cmdDelDaemon:
		b, err := nested(req.Data, attrDaemon)
		if err != nil {
			return err
		}
		s, err := decodeSync(b)
		if k.stubborn {
			return err
		}
		if k.syncs = slices.DeleteFunc(k.syncs, func(o Sync) bool { return o.State == s.State }); req.Header.Command == cmdNewDaemon {
			k.syncs = append(k.syncs, s)
		}
		return err
	}
	if req.Header.Command == cmdZero && len(req.Data) == 0 {
		return k.Zero(nil)
	}
	b, err := nested(req.Data, attrService)
	if err != nil {
		return err
	}
	p, err := decodeService(b)
	if err != nil {
		return err
	}
	if req.Header.Command == cmdZero {
		return k.Zero(&p.Service.ServiceKey)
	}
	verbs := map[uint8]plane.Verb{cmdNewService: plane.AddService, cmdSetService: plane.EditService, cmdDelService: plane.DelService,
		cmdNewDest: plane.AddReal, cmdSetDest: plane.EditReal, cmdDelDest: plane.DelReal}
	verb, known := verbs[req.Header.Command]
	if !known {
		return syscall.EOPNOTSUPP
	}
	op := plane.Op{Verb: verb, Service: p.Service}
	if verb >= plane.AddReal {
		b, err := nested(req.Data, attrDest)
		if err != nil {
			return err
		}
		r, err := decodeReal(b, familyOf(p.Service.Addr.Addr()))
		if err != nil {
			return err
		}
		op.Real = r.Real
	}
	return k.Apply([]plane.Op{op})
}

// encodePool is a service as a dump has it.
func encodePool(ae *netlink.AttributeEncoder, p plane.Pool) error {
	if err := encodeService(ae, p.Service); err != nil {
		return err
	}
	ae.Nested(svcStats, encodeStats(p.Total, p.Rate, false))
	ae.Nested(svcStats64, encodeStats(p.Total, p.Rate, true))
	return nil
}

// encodeCounted is a real server as a dump has it.
func encodeCounted(ae *netlink.AttributeEncoder, r plane.Real) error {
	if err := encodeReal(ae, r.Real); err != nil {
		return err
	}
	ae.Uint32(destActive, r.Active)
	ae.Uint32(destInactive, r.Inactive)
	ae.Uint32(destPersist, r.Persist)
	ae.Nested(destStats, encodeStats(r.Total, r.Rate, false))
	ae.Nested(destStats64, encodeStats(r.Total, r.Rate, true))
	return nil
}

func encodeStats(t lb.Counters, r lb.Rates, wide bool) func(*netlink.AttributeEncoder) error {
	return func(ae *netlink.AttributeEncoder) error {
		for i, v := range []uint64{t.Conns, t.InPkts, t.OutPkts, t.InBytes, t.OutBytes, r.Conns, r.InPkts, r.OutPkts, r.InBytes, r.OutBytes} {
			kind := uint16(i + 1)
			if wide || kind == statInBytes || kind == statOutBytes {
				ae.Bytes(kind, binary.NativeEndian.AppendUint64(nil, v))
			} else {
				ae.Uint32(kind, uint32(v))
			}
		}
		ae.Bytes(11, nil) // padding
		return nil
	}
}
