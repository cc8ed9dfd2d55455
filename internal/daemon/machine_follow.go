package daemon

import (
	"context"
	"net/netip"

	"vipd/internal/host"
)

func (m *machine) RunCommand(ctx context.Context, c host.Command) host.Exit { return c.Run(ctx) }

func (m *machine) ReadHead(path string, limit int) ([]byte, error) { return host.ReadHead(path, limit) }

func (m *machine) WatchFiles(ctx context.Context, paths []string, begun func(), changed func(string)) error {
	w, err := host.WatchFiles(paths)
	if err != nil {
		return err
	}
	begun()
	return w.Run(ctx, changed)
}

func (m *machine) CountProcesses(matches map[string]host.ProcessMatch) (map[string]int, error) {
	return host.CountProcesses(matches)
}

func (m *machine) WatchProcesses(ctx context.Context, matches map[string]host.ProcessMatch, counted func(map[string]int), polls func(error)) error {
	w, err := host.WatchProcesses(matches)
	if err != nil {
		return err
	}
	if w.Polls != nil {
		polls(w.Polls)
	}
	counted(w.Counts())
	return w.Run(ctx, counted)
}

func (m *machine) ListenBFD(port uint16) (BFDListener, error) {
	l, err := host.ListenBFD(port)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (m *machine) DialBFD(source netip.Addr, to netip.AddrPort, ttl uint8) (BFDSender, error) {
	s, err := host.DialBFD(source, to, ttl)
	if err != nil {
		return nil, err
	}
	return s, nil
}
