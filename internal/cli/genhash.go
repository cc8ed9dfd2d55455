package cli

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vipd/internal/health"
	"vipd/internal/probe"
)

// genhash prints the digest that "digest" of a url compares with, as keepalived's genhash(1) does.
type genhash struct {
	server, url, vhost, protocol string
	port                         uint16
	mark                         uint32
	timeout                      int
	tls, sni, verbose            bool
}

func (g *genhash) flags(f *pflag.FlagSet) {
	f.BoolVarP(&g.tls, "use-ssl", "S", false, "use TLS")
	f.BoolVarP(&g.sni, "use-sni", "I", false, "send the virtual host's name in the TLS handshake")
	f.StringVarP(&g.server, "server", "s", "", "`ADDRESS` of the real server")
	f.Uint16VarP(&g.port, "port", "p", 0, "its `PORT`; 80 or 443 if there is none")
	f.StringVarP(&g.url, "url", "u", "", "`PATH` of the page")
	f.StringVarP(&g.vhost, "use-virtualhost", "V", "", "`HOST` header")
	f.BoolVarP(&g.verbose, "verbose", "v", false, "print what came, too")
	f.Uint32VarP(&g.mark, "fwmark", "m", 0, "mark of the packets")
	f.StringVarP(&g.protocol, "protocol", "P", "1.0", "1.0, 1.0c or 1.1")
	f.IntVarP(&g.timeout, "timeout", "t", 5, "`SECONDS`")
}

// newGenhashCommand is "vipd genhash".
func newGenhashCommand(env Env) *cobra.Command {
	g := &genhash{}
	c := &cobra.Command{
		Use:   "genhash -s ADDRESS -p PORT -u PATH",
		Short: "Print the digest of a page, for HTTP_GET and SSL_GET",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return g.run(env.Stdout) },
	}
	g.flags(c.Flags())
	return c
}

// Genhash is the program by its own name: exit code 1 for a line that it does not understand, else 0.
//
// keepalived: what goes wrong with the page is a line on the standard output, and the exit code is 0.
func Genhash(args []string, env Env) int {
	g := &genhash{}
	f := pflag.NewFlagSet("genhash", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	g.flags(f)
	if err := f.Parse(args); err != nil || f.NArg() > 0 || g.server == "" || g.url == "" {
		fmt.Fprint(env.Stderr, "Usage: genhash -s server-address -p port -u url [OPTIONS]\n", f.FlagUsages())
		return 1
	}
	if err := g.run(env.Stdout); err != nil {
		fmt.Fprintln(env.Stdout, err)
	}
	return 0
}

// checker is the check whose page is asked for.
func (g *genhash) checker() (c health.Checker, err error) {
	addr, err := netip.ParseAddr(g.server)
	if err != nil {
		return c, fmt.Errorf("server %q is no address", g.server)
	}
	if g.port == 0 {
		g.port = 80
		if g.tls {
			g.port = 443
		}
	}
	protocol := strings.ToUpper(g.protocol)
	if protocol != "1.0" && protocol != "1.0C" && protocol != "1.1" {
		return c, fmt.Errorf("protocol %q is none of 1.0, 1.0c and 1.1", g.protocol)
	}
	return health.Checker{Kind: health.HTTPGet, Target: netip.AddrPortFrom(addr, g.port), Mark: g.mark, ConnectTimeout: time.Duration(max(g.timeout, 1)) * time.Second,
		HTTP: &health.HTTP{TLS: g.tls, SNI: g.sni, VirtualHost: g.vhost, Protocol: protocol, URLs: []health.URL{{Path: g.url}}}}, nil
}

func (g *genhash) run(out io.Writer) error {
	c, err := g.checker()
	if err != nil {
		return err
	}
	if g.url == "" {
		return fmt.Errorf("there is no page to ask for: add -u PATH")
	}
	start := time.Now()
	page, failed := probe.Fetch(context.Background(), c)
	if failed.Why != "" {
		if failed.Said == "" {
			failed.Said = "Connection failed"
		}
		return fmt.Errorf("%s (%s)", strings.TrimSpace(failed.Said), failed.Why)
	}
	sum := hex.EncodeToString(page.Digest[:])
	if !g.verbose {
		fmt.Fprintln(out, sum)
		return nil
	}
	title := func(s string) { fmt.Fprintf(out, "-----------------------[%s]-----------------------\n", s) }
	head := append(page.Head, "\r\n\r\n"...)
	title("    HTTP Header Buffer    ")
	dump(out, head)
	title(" HTTP Header Ascii Buffer ")
	fmt.Fprintf(out, "%s\n", strings.ReplaceAll(string(head), "\r\n", "\n"))
	title("        HTML Buffer        ")
	dump(out, page.Body)
	fmt.Fprintln(out)
	title("    HTML hash resulting    ")
	dump(out, page.Digest[:])
	title(" HTML hash final resulting ")
	fmt.Fprintf(out, "%s\n\nGlobal response time for [%s] = %d usecs\n", sum, g.url, time.Since(start).Microseconds())
	return nil
}

// dump prints bytes in rows of sixteen, as numbers and as text.
func dump(out io.Writer, b []byte) {
	for at := 0; at < len(b); at += 16 {
		row := b[at:min(at+16, len(b))]
		numbers, text := "", ""
		for i := range 16 {
			if i == 8 {
				numbers += "- "
			}
			if i >= len(row) {
				numbers, text = numbers+"   ", text+" "
				continue
			}
			numbers += fmt.Sprintf("%02x ", row[i])
			if row[i] < 0x20 || row[i] > 0x7e {
				text += "."
			} else {
				text += string(rune(row[i]))
			}
		}
		fmt.Fprintf(out, "%04d  %s  %s\n", at, numbers, text)
	}
}
