package ipvs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"vipd/internal/lb"
	"vipd/internal/plane"
)

// Plane is the IPVS of a network namespace.
type Plane struct {
	client  *Client
	info    Info
	methods methods
	sysctls string        // the directory of the kernel's settings
	there   chan<- func() // has functions run in the network namespace whose IPVS it is. If nil, that is the process's own.
}

var _ plane.Plane = (*Plane)(nil)

// Open uses the IPVS of the network namespace of the calling thread, and loads the module if the kernel has it. What is
// in its tables stays. Errors: ErrNoIPVS, ErrPermission.
func Open() (*Plane, error) { return openIn(nil) }

// OpenIn is Open for another network namespace, a file such as /run/netns/NAME.
func OpenIn(path string) (*Plane, error) {
	ns, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open IPVS of another network namespace: %w", err)
	}
	defer ns.Close()
	there, err := inhabit(ns)
	if err != nil {
		return nil, err
	}
	p, err := openIn(ns)
	if err != nil {
		close(there)
		return nil, err
	}
	p.there = there
	return p, nil
}

func openIn(ns *os.File) (*Plane, error) {
	c, err := dial(ns)
	if errors.Is(err, os.ErrNotExist) {
		if loadErr := loadModule("ip_vs"); loadErr != nil {
			return nil, fmt.Errorf("%w (%w)", ErrNoIPVS, loadErr)
		}
		c, err = dial(ns)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNoIPVS
	}
	if err != nil {
		return nil, err
	}
	p, err := open(c)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("open IPVS: %w", err)
	}
	return p, nil
}

// inhabit has a thread live in a network namespace and do there what comes by the channel, until that is closed. It goes there
// now: later the process may not have the capability any more.
func inhabit(ns *os.File) (chan<- func(), error) {
	work, entered := make(chan func()), make(chan error)
	go func() { // whose thread is not given back: it ends with it
		runtime.LockOSThread()
		err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		entered <- err
		for fn := range work {
			fn()
		}
	}()
	if err := <-entered; err != nil {
		close(work)
		return nil, fmt.Errorf("enter network namespace %s: %w", ns.Name(), err)
	}
	return work, nil
}

// within runs fn, which opens files of proc(5), in the network namespace of the plane.
func (p *Plane) within(fn func() error) (err error) {
	if p.there == nil {
		return fn()
	}
	done := make(chan struct{})
	p.there <- func() { err = fn(); close(done) }
	<-done
	return err
}

// loadModule asks for a module as keepalived and ipvsadm ask for ip_vs.
func loadModule(name string) error {
	path, err := exec.LookPath("modprobe")
	if err != nil {
		if path = "/sbin/modprobe"; !executable(path) {
			return errors.New("there is no modprobe program")
		}
	}
	if err := exec.Command(path, "-q", "--", name).Run(); err != nil {
		return fmt.Errorf("modprobe %s: %w", name, err)
	}
	return nil
}

func executable(path string) bool {
	s, err := os.Stat(path)
	return err == nil && s.Mode()&0o111 != 0
}

func open(c *Client) (*Plane, error) {
	info, err := c.Info()
	if errors.Is(err, syscall.EPERM) {
		return nil, fmt.Errorf("%w: IPVS wants CAP_NET_ADMIN", ErrPermission)
	}
	if err != nil {
		return nil, err
	}
	p := &Plane{sysctls: sysctls, client: c, info: info}
	have, err := p.Read()
	if err != nil {
		return nil, err
	}
	p.methods = methodsOf(have)
	return p, nil
}

// Read asks the kernel for everything. ipvs: counters and rates are those of the last 2 s tick of its estimator, and
// stay 0 while net.ipv4.vs.run_estimation is 0; active and inactive counts are of now.
func (p *Plane) Read() ([]plane.Pool, error) {
	pools, err := p.client.Services()
	if err != nil {
		return nil, fmt.Errorf("list the services: %w", err)
	}
	for i := range pools {
		k := pools[i].Service.ServiceKey
		if pools[i].Reals, err = p.client.Reals(k); err != nil {
			return nil, fmt.Errorf("list the real servers of %s: %w", k, err)
		}
	}
	return pools, nil
}

// Apply executes ops in order, each by one command.
func (p *Plane) Apply(ops []plane.Op) error {
	for _, op := range ops {
		if err := p.do(op); err != nil {
			return fmt.Errorf("%s: %w", op, meaning(op.Verb, err))
		}
	}
	return nil
}

func (p *Plane) do(op plane.Op) error {
	k := op.Service.ServiceKey
	switch op.Verb {
	case plane.AddService:
		p.loadScheduler(op.Service.Scheduler)
		return p.client.AddService(op.Service)
	case plane.EditService:
		p.loadScheduler(op.Service.Scheduler)
		return p.client.EditService(op.Service)
	case plane.DelService:
		return p.client.DelService(k)
	case plane.DelReal:
		return p.client.DelReal(k, op.Real)
	}
	send := p.client.AddReal
	if op.Verb == plane.EditReal {
		send = p.client.EditReal
	}
	if err := send(k, op.Real); err != nil {
		return err
	}
	p.methods.note(k, op.Real)
	return nil
}

// loadScheduler loads a scheduler that registers with every network namespace before the kernel does, which holds the lock of its
// IPVS meanwhile: a namespace with IPVS that ends in that moment keeps the module out while it waits for the same lock, and neither
// ends (seen with Linux 6.1). Where this process may not load a module, the kernel does.
func (p *Plane) loadScheduler(name string) {
	if name != "lblc" && name != "lblcr" {
		return
	}
	if _, err := os.Stat("/sys/module/ip_vs_" + name); err != nil { // one that is built in may not stand there: then it is asked for in vain
		_ = loadModule("ip_vs_" + name)
	}
}

// Zero begins the counts of a service anew, or of all if k is nil. ErrNoService.
func (p *Plane) Zero(k *lb.ServiceKey) error {
	if err := p.client.Zero(k); err != nil {
		return fmt.Errorf("zero the counters: %w", meaning(plane.EditService, err))
	}
	return nil
}

// Timeouts are those that ipvsadm --set changes, in whole seconds.
func (p *Plane) Timeouts() (lb.Timeouts, error) {
	t, err := p.client.Timeouts()
	if err != nil {
		return t, fmt.Errorf("read the timeouts: %w", err)
	}
	return t, nil
}

// SetTimeouts holds from the next packet of each connection. A zero field keeps its value. ErrRange is a negative value,
// one above 31 days, or one that this kernel cannot count in its ticks.
func (p *Plane) SetTimeouts(t lb.Timeouts) error {
	err := p.client.SetTimeouts(t)
	if errors.Is(err, syscall.EINVAL) {
		err = &refusal{syscall.EINVAL, plane.ErrRange}
	}
	if err != nil {
		return fmt.Errorf("set the timeouts: %w", err)
	}
	return nil
}

// TableSize is the number of hash rows of the connection table, which ipvsadm prints; it limits nothing.
func (p *Plane) TableSize() int { return int(p.info.TableSize) }

// Info is what the kernel said of its IPVS at Open.
func (p *Plane) Info() Info { return p.info }

// Client is the connection to the kernel, for what is not part of a plane: synchronisation daemons, flushing.
func (p *Plane) Client() *Client { return p.client }

// Close ends the connection to the kernel, which goes on forwarding.
func (p *Plane) Close() error {
	if p.there != nil {
		close(p.there)
	}
	return p.client.Close()
}
