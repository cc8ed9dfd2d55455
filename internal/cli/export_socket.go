package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"vipd/internal/haproxy"
)

// What is taken of HAProxy at most: a server is a line of about 200 bytes.
const (
	maxHAProxyAnswer = 32 << 20
	haproxyTime      = 5 * time.Second
	haproxyBatch     = 40 // commands on one line: HAProxy's buffer has 16 KiB
)

// tellHAProxy makes the HAProxy behind a runtime API as want is, and returns the servers that it does not have. What it refuses does
// not keep the rest from it.
func tellHAProxy(ctx context.Context, socket string, want []haproxy.Backend) (missing []string, err error) {
	answer, err := askHAProxy(ctx, socket, haproxy.ShowState)
	if err != nil {
		return nil, err
	}
	have, err := haproxy.ParseState(answer)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", socket, err)
	}
	commands, missing := haproxy.Commands(have, want)
	var refused error // the first
	for len(commands) > 0 {
		n := min(len(commands), haproxyBatch)
		answer, err := askHAProxy(ctx, socket, strings.Join(commands[:n], ";"))
		if err != nil {
			return missing, errors.Join(refused, err)
		}
		// "no answer" is success: each command ends with an empty line.
		if said := strings.TrimSpace(string(answer)); said != "" && refused == nil {
			refused = fmt.Errorf("HAProxy at %s refuses some of %q: %.200s", socket, strings.Join(commands[:n], "; "), said)
			if n == 1 {
				refused = fmt.Errorf("HAProxy at %s refuses %q: %.200s", socket, commands[0], said)
			}
		}
		commands = commands[n:]
	}
	return missing, refused
}

// askHAProxy sends one line and reads the answer to its end.
func askHAProxy(ctx context.Context, socket, line string) ([]byte, error) {
	network := "tcp"
	if strings.Contains(socket, "/") {
		network = "unix"
	}
	d := net.Dialer{Timeout: haproxyTime}
	conn, err := d.DialContext(ctx, network, socket)
	if err != nil {
		return nil, fmt.Errorf("ask HAProxy: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(haproxyTime)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return nil, fmt.Errorf("ask HAProxy at %s: %w", socket, err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, maxHAProxyAnswer+1))
	if err == nil && len(answer) > maxHAProxyAnswer {
		err = fmt.Errorf("more than %d bytes", maxHAProxyAnswer)
	}
	if err != nil {
		return nil, fmt.Errorf("read the answer of HAProxy at %s: %w", socket, err)
	}
	if strings.HasPrefix(string(answer), "Permission denied") {
		return nil, fmt.Errorf("HAProxy at %s permits nothing: its stats socket needs \"level admin\"", socket)
	}
	return answer, nil
}
