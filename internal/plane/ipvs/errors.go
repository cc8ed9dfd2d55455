package ipvs

import (
	"errors"
	"syscall"

	"vipd/internal/plane"
)

// The errors of Open.
var (
	// ErrNoIPVS is a kernel without IPVS, or without its module at hand.
	ErrNoIPVS = errors.New("no ip_vs in this kernel")
	// ErrPermission is a missing capability CAP_NET_ADMIN.
	ErrPermission = errors.New("missing permission")
)

// refusal is an errno of the kernel with the meaning that it has for a plane.
type refusal struct {
	errno   syscall.Errno
	meaning error
}

func (r *refusal) Error() string   { return r.meaning.Error() }
func (r *refusal) Unwrap() []error { return []error{r.meaning, r.errno} }

// meanings are those of every command.
var meanings = map[syscall.Errno]error{
	syscall.ESRCH: plane.ErrNoService, syscall.ERANGE: plane.ErrRange, syscall.EINVAL: plane.ErrInvalid, syscall.ENOMEM: plane.ErrFull,
	syscall.EOPNOTSUPP: plane.ErrUnsupported, syscall.EAFNOSUPPORT: plane.ErrUnsupported,
	syscall.EPROTONOSUPPORT: plane.ErrUnsupported, syscall.EPERM: ErrPermission,
}

// meaning gives an error of the kernel the meaning that it has after an op of this verb. Others stay as they are.
func meaning(verb plane.Verb, err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	m := meanings[errno]
	switch {
	case errno == syscall.EEXIST && verb == plane.AddService:
		m = plane.ErrServiceExists
	case errno == syscall.EEXIST:
		m = plane.ErrRealExists
	case errno == syscall.ENOENT && verb < plane.AddReal:
		m = plane.ErrNoScheduler
	case errno == syscall.ENOENT:
		m = plane.ErrNoReal
	case m == nil:
		return errno // without the words of the netlink library
	}
	return &refusal{errno, m}
}
