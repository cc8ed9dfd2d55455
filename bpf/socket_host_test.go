package bpf

import (
	"bytes"
	"errors"
	"maps"
	"net"
	"net/netip"
	"os"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	ebpflink "github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ownHost is a host whose own sockets the programs of socket.bpf.c see: this thread, in a network namespace and a cgroup of its own. All
// addresses of the rows are the host's, and its sockets' real servers are its sockets too. Their services are the rig's.
type ownHost struct {
	*rig
	socketObjects
	servers []ownServer
}

type socketObjects struct {
	SocketPrograms
	Choices  *ebpf.Map `ebpf:"socket_choices"`
	Names    *ebpf.Map `ebpf:"socket_names"`
	Outcomes *ebpf.Map `ebpf:"socket_outcomes"`
}

// ownServer listens at an address.
type ownServer struct {
	at       netip.AddrPort
	tcp, udp int
}

// attached says which program goes where.
func (o *socketObjects) attached() map[ebpf.AttachType]*ebpf.Program {
	return map[ebpf.AttachType]*ebpf.Program{
		ebpf.AttachCGroupInet4Connect: o.Connect4, ebpf.AttachCGroupInet6Connect: o.Connect6,
		ebpf.AttachCGroupUDP4Sendmsg: o.Sendmsg4, ebpf.AttachCGroupUDP6Sendmsg: o.Sendmsg6,
		ebpf.AttachCGroupUDP4Recvmsg: o.Recvmsg4, ebpf.AttachCGroupUDP6Recvmsg: o.Recvmsg6,
		ebpf.AttachCgroupInet4GetPeername: o.Getpeername4, ebpf.AttachCgroupInet6GetPeername: o.Getpeername6,
	}
}

// newOwnHost has servers at these addresses. Its clock moves by travel and advance alone.
func newOwnHost(t *testing.T, servers ...string) *ownHost {
	t.Helper()
	return ownHostOf(stillRig(t, 4), servers...)
}

func ownHostOf(r *rig, servers ...string) *ownHost {
	r.Helper()
	h := &ownHost{rig: r}
	h.neighbourhood()
	h.allAddresses()
	h.load(h.namespace())
	h.attach(h.cgroup())
	for _, at := range servers {
		h.listen(netip.MustParseAddrPort(at))
	}
	return h
}

// allAddresses gives this network namespace the networks that the rows speak of.
func (h *ownHost) allAddresses() {
	h.Helper()
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		h.Fatal(err)
	}
	for _, network := range []string{"10.0.8.0/24", "2001:db8::/32", "0:0:1::/48", "::8:0/112"} {
		_, to, err := net.ParseCIDR(network)
		if err == nil {
			err = netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: to, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST})
		}
		if err != nil {
			h.Fatalf("%s: %v", network, err)
		}
	}
	for path, text := range map[string]string{"/proc/sys/net/ipv4/ping_group_range": "0 0", "/proc/sys/net/ipv6/conf/all/disable_ipv6": "0"} {
		if err := os.WriteFile(path, []byte(text), 0); err != nil {
			h.Fatal(err)
		}
	}
}

// namespace is the kernel's name for the network namespace of this thread.
func (h *ownHost) namespace() uint64 {
	h.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		h.Fatal(err)
	}
	defer unix.Close(fd)
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		h.Fatal(err)
	}
	return cookie
}

// load has the object use the rig's maps, as the plane does.
func (h *ownHost) load(own uint64) {
	h.Helper()
	spec, err := otherSpec("socket.bpf.c", LoadSocket)
	if err != nil {
		h.Fatal(err)
	}
	Named(spec)
	h.set(spec, SocketVarOwnNamespace, own)
	if h.shift != 0 {
		h.set(spec, SocketVarTickShift, h.shift)
	}
	with := ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{}}
	if o := options(spec); o != nil {
		maps.Copy(with.MapReplacements, o.MapReplacements)
	}
	for _, all := range []any{h.LbMaps, h.Sections} {
		of := reflect.ValueOf(all)
		for _, f := range reflect.VisibleFields(of.Type()) {
			name, m := f.Tag.Get("ebpf"), of.FieldByIndex(f.Index).Interface().(*ebpf.Map)
			if s := spec.Maps[name]; s != nil {
				s.MaxEntries = m.MaxEntries()
				with.MapReplacements[name] = m
			}
		}
	}
	if err := spec.LoadAndAssign(&h.socketObjects, &with); err != nil {
		h.Fatalf("load: %+v", err)
	}
	h.Cleanup(func() {
		_ = errors.Join(h.SocketPrograms.Close(), h.Choices.Close(), h.Names.Close(), h.Outcomes.Close())
	})
}

// cgroup makes one below this process's and puts this thread alone into it, until the test is over.
func (h *ownHost) cgroup() *os.File {
	h.Helper()
	fs, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		h.Fatal(err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		h.Fatal(err)
	}
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { unix.Close(root) })
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		h.Fatal(err)
	}
	above := ""
	for line := range strings.Lines(string(text)) {
		if in, found := strings.CutPrefix(strings.TrimSpace(line), "0::"); found {
			above = path.Join(".", in)
		}
	}
	thread := strconv.Itoa(unix.Gettid())
	own := path.Join(above, "vipd-rows-"+thread)
	err = unix.Mkdirat(root, own, 0o700)
	if err == unix.EEXIST { // of a run that was killed
		err = errors.Join(unix.Unlinkat(root, own, unix.AT_REMOVEDIR), unix.Mkdirat(root, own, 0o700))
	}
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() {
		if err := unix.Unlinkat(root, own, unix.AT_REMOVEDIR); err != nil {
			h.Errorf("remove the cgroup: %v", err)
		}
	})
	write := func(file, text string) error {
		fd, err := unix.Openat(root, file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		_, err = unix.Write(fd, []byte(text))
		return err
	}
	if err := errors.Join(write(path.Join(own, "cgroup.type"), "threaded"), write(path.Join(own, "cgroup.threads"), thread)); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() {
		if err := write(path.Join(above, "cgroup.threads"), thread); err != nil {
			h.Errorf("leave the cgroup: %v", err)
		}
	})
	fd, err := unix.Openat(root, own, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		h.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), own)
	h.Cleanup(func() { f.Close() })
	return f
}

func (h *ownHost) attach(cgroup *os.File) {
	h.Helper()
	for at, p := range h.attached() {
		l, err := ebpflink.AttachRawLink(ebpflink.RawLinkOptions{Target: int(cgroup.Fd()), Program: p, Attach: at})
		if err != nil {
			h.Fatalf("attach %v: %v", at, err)
		}
		h.Cleanup(func() { l.Close() })
	}
}

func (h *ownHost) listen(at netip.AddrPort) {
	h.Helper()
	s := ownServer{at: at, tcp: h.socket(at.Addr().Is6(), unix.SOCK_STREAM, 0), udp: h.socket(at.Addr().Is6(), unix.SOCK_DGRAM, 0)}
	for _, fd := range []int{s.tcp, s.udp} {
		if err := unix.Bind(fd, sockaddr(at, at.Addr().Is6())); err != nil {
			h.Fatalf("%v: %v", at, err)
		}
	}
	if err := unix.Listen(s.tcp, 64); err != nil {
		h.Fatal(err)
	}
	h.servers = append(h.servers, s)
}

// socket is closed when the test is over. It may be bound to addresses that are the host's by a route.
func (h *ownHost) socket(six bool, kind, proto int) int {
	h.Helper()
	fd, err := unix.Socket(map[bool]int{false: unix.AF_INET, true: unix.AF_INET6}[six], kind|unix.SOCK_CLOEXEC, proto)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1)
	}
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { unix.Close(fd) })
	return fd
}

// sockaddr is an address as a socket takes it: one of IPv6 speaks to IPv4 by mapped addresses.
func sockaddr(a netip.AddrPort, six bool) unix.Sockaddr {
	if six {
		return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// ownSocket is one of this host.
type ownSocket struct {
	*ownHost
	fd        int
	six, tcp  bool
	connected bool
}

// open makes one: tcp4, tcp6, udp4 or udp6.
func (h *ownHost) open(network string) *ownSocket {
	h.Helper()
	s := &ownSocket{ownHost: h, six: strings.HasSuffix(network, "6"), tcp: strings.HasPrefix(network, "tcp")}
	s.fd = h.socket(s.six, map[bool]int{true: unix.SOCK_STREAM, false: unix.SOCK_DGRAM}[s.tcp], 0)
	return s
}

func (s *ownSocket) connect(to netip.AddrPort) error {
	s.connected = true
	return unix.Connect(s.fd, sockaddr(to, s.six))
}

// peer is whom the kernel says that it is connected to.
func (s *ownSocket) peer() netip.AddrPort {
	s.Helper()
	sa, err := unix.Getpeername(s.fd)
	if err != nil {
		s.Fatal(err)
	}
	return addrPort(sa)
}

// ready is the first of these that has something to read, or an error; -1: none has, for seconds.
func (h *ownHost) ready(fds ...int) int {
	h.Helper()
	all := make([]unix.PollFd, len(fds))
	for i, fd := range fds {
		all[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	n, err := unix.Poll(all, 5000)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Poll(all, 5000)
	}
	if err != nil {
		h.Fatal(err)
	}
	if n == 0 {
		return -1
	}
	return slices.IndexFunc(all, func(p unix.PollFd) bool { return p.Revents != 0 })
}

// said is what came of a connection, or of a datagram.
type said struct {
	server string // who had it; "refused" if nobody
	peer   string // of a connected socket
	from   string // whom a datagram's answer is from
}

// ask opens a connection to an address, or sends a datagram.
func (s *ownSocket) ask(to netip.AddrPort) (r said) {
	s.Helper()
	var err error
	switch {
	case s.tcp:
		err = s.connect(to)
	case s.connected:
		_, err = unix.Write(s.fd, []byte("who?"))
	default:
		err = unix.Sendto(s.fd, []byte("who?"), 0, sockaddr(to, s.six))
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		return said{server: "refused"}
	}
	if err != nil {
		s.Fatalf("%v: %v", to, err)
	}
	var fds []int
	for _, server := range s.servers {
		fds = append(fds, map[bool]int{true: server.tcp, false: server.udp}[s.tcp])
	}
	at := s.ready(fds...)
	if at < 0 {
		return said{server: "nobody"}
	}
	r.server = s.servers[at].at.String()
	if s.connected {
		r.peer = s.peer().String()
	}
	if s.tcp {
		fd, _, err := unix.Accept4(fds[at], unix.SOCK_CLOEXEC)
		if err != nil {
			s.Fatal(err)
		}
		unix.Close(fd)
		return r
	}
	r.from = s.answered(fds[at])
	return r
}

// answered has a server answer a datagram, and says whom this socket hears it from.
func (s *ownSocket) answered(server int) string {
	s.Helper()
	buf := make([]byte, 16)
	n, client, err := unix.Recvfrom(server, buf, 0)
	if err == nil {
		err = unix.Sendto(server, buf[:n], 0, client)
	}
	if err != nil {
		s.Fatal(err)
	}
	if s.ready(s.fd) < 0 {
		return "nobody"
	}
	n, from, err := unix.Recvfrom(s.fd, buf, 0)
	if err != nil || !bytes.Equal(buf[:n], []byte("who?")) {
		s.Fatalf("%q: %v", buf[:n], err)
	}
	return addrPort(from).String()
}

// dial is ask of a new socket; "udp4 connected" and "udp6 connected" are networks too.
func (h *ownHost) dial(network string, to netip.AddrPort) said {
	h.Helper()
	s, connected := h.open(strings.TrimSuffix(network, " connected")), strings.HasSuffix(network, " connected")
	if connected {
		if err := s.connect(to); errors.Is(err, unix.ECONNREFUSED) {
			return said{server: "refused"}
		} else if err != nil {
			h.Fatalf("%v: %v", to, err)
		}
	}
	return s.ask(to)
}

// outcomes are what the connections came to until now, by enum socket_outcome.
func (h *ownHost) outcomes() (n [SocketSocketOutcomeSOCKET_OUTCOMES]uint64) {
	h.Helper()
	for i, v := range perCPU[uint64](h.rig, h.Outcomes, len(n)) {
		n[i/cpus()] += v
	}
	return n
}

const nothing = SocketSocketOutcomeSOCKET_OUTCOMES // is counted

// countsOne fails unless f counts one of an outcome, and, where that has a real server, one connection (of this real server, if it is not 0).
func (h *ownHost) countsOne(what string, want SocketSocketOutcome, real uint32, f func()) {
	h.Helper()
	conns := func() (all, its uint64) {
		for i := range h.nextReal {
			n := h.counters(h.RealCounters, i+1).Conns
			if all += n; i+1 == real {
				its = n
			}
		}
		return all, its
	}
	before := h.outcomes()
	all, its := conns()
	f()
	for i, n := range h.outcomes() {
		if d := n - before[i]; d != map[bool]uint64{true: 1}[SocketSocketOutcome(i) == want] {
			h.Fatalf("%s: outcome %d is counted %d times", what, i, d)
		}
	}
	one := map[SocketSocketOutcome]uint64{SocketSocketOutcomeSOCKET_SENT: 1, SocketSocketOutcomeSOCKET_HERE: 1, SocketSocketOutcomeSOCKET_FAMILY: 1}[want]
	nowAll, nowIts := conns()
	if nowAll-all != one || real != 0 && nowIts-its != one {
		h.Fatalf("%s: %d connections more, of its real server %d", what, nowAll-all, nowIts-its)
	}
}

// seen is an address as a socket says it.
func seen(a netip.AddrPort, network string) string {
	if network[3] == '6' {
		a = netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
	}
	return a.String()
}
