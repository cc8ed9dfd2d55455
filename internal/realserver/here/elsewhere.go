//go:build !linux

package here

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/spf13/cobra"

	"vipd/internal/realserver"
)

const stateFile = ""

var errElsewhere = errors.New("this looks at Linux hosts only; for Windows Server: --windows prints a script")

func look(*realserver.Need) (realserver.Facts, error) { return realserver.Facts{}, errElsewhere }
func execute(string, plan) error                      { return errElsewhere }
func takeBack(string, io.Writer) error                { return errElsewhere }

func newDecap(io.Writer) *cobra.Command {
	return &cobra.Command{Use: "decap", Short: "On Linux: unpack tunnels", RunE: func(*cobra.Command, []string) error { return failed(errElsewhere) }}
}

// ownAddresses lists this host's.
func ownAddresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var out []netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out, nil
}
