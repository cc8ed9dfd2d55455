package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"vipd/internal/daemon"
)

// defaultConfig is where keepalived's users have their file, ownConfig where one is that vipd alone is to read.
const (
	defaultConfig = "/etc/keepalived/keepalived.conf"
	ownConfig     = "/etc/vipd/vipd.conf"
)

// configOf is the file to run with if none was named: our own, if there is one.
func configOf(own, otherwise string) string {
	if _, err := os.Stat(own); err == nil {
		return own
	}
	return otherwise
}

func newRunCommand(env Env) *cobra.Command {
	var opts daemon.Options
	var journalSize uint16
	cmd := &cobra.Command{
		Use:   "run {-f FILE | --no-config}",
		Short: "Run the director in the foreground",
		Long: `Run the director in the foreground, configured by a keepalived.conf; with --no-config by what ipvsadm says.

SIGTERM or SIGINT stops it: a priority-0 advert is sent, virtual IPs and services are removed, the XDP program is
detached. After SIGKILL everything stays and goes on forwarding; the next start of the same instance adopts it. One that
cannot, because the layout or the size of what is pinned is another, says so and leaves it as it is, unless --discard.

Exit codes: 0 stopped as asked; 1 fatal (interface, kernel, address in use); 2 configuration; 3 already running;
4 missing permission; 6 no configuration file.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case opts.NoConfig:
				opts.Config = ""
			case !cmd.Flags().Changed("file"):
				opts.Config = configOf(ownConfig, defaultConfig)
			}
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			opts.Log, opts.JournalSize = env.Stderr, int64(journalSize)<<20
			return daemon.Run(ctx, opts)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&opts.Config, "file", "f", "", "configuration file (default "+ownConfig+", if there is none "+defaultConfig+")")
	f.BoolVar(&opts.NoConfig, "no-config", false, "no file: services come from ipvsadm alone (see vipd ipvsadm)")
	f.StringVarP(&opts.ID, "config-id", "i", "", "read the file as the director of this name does (lines with @NAME; default: this host's name)")
	f.StringVar(&opts.Instance, "instance", "default", "name of this daemon: its socket /run/vipd/NAME.sock and its pins /sys/fs/bpf/vipd/NAME/")
	f.StringVar(&opts.LogFormat, "log-format", "text", "log lines as text or json")
	f.BoolVarP(&opts.Detail, "log-detail", "D", false, "log details too, such as every gratuitous ARP")
	f.BoolVar(&opts.Strict, "strict", false, "treat every warning in the file as an error")
	f.StringSliceVar(&opts.Interfaces, "interface", nil, "attach the packet path to this interface (repeatable; default: those of the instances and addresses in the file; with --no-config every one that is up but lo)")
	f.StringVar(&opts.HTTP, "http", "", "also serve /status and /metrics, read-only, on this ADDRESS:PORT")
	f.Uint32Var(&opts.Connections, "connections", 0, "connections that the table is made for (default 1,000,000)")
	f.StringVar(&opts.State, "state", env.state(), "folder for what outlives a restart, in STATE/NAME/ ($"+stateVariable+"; empty: nothing is kept)")
	f.Uint16Var(&journalSize, "journal-size", 4, "MiB of one file of the journal of events (vipd events) at most; 0: no journal")
	f.IntVar(&opts.JournalFiles, "journal-files", 4, "files of the journal of events at most")
	f.BoolVar(&opts.Discard, "discard", false, "if a killed process has left a packet path that this version cannot take over (another layout or size), remove it with its connections")
	f.StringVar(&opts.BPFFS, "bpffs", "", "the BPF file system for the pins, where a sandbox shows it elsewhere (default "+daemon.BPFFS+")")
	f.StringVar(&opts.DataPlane, "data-plane", "", "what forwards: xdp, ipvs (the kernel's) or auto, the first of the two that works here (default: data_plane in the file, else xdp)")
	f.BoolVar(&opts.WhileNamed, "while-named", false, "end when the network namespace has no name any more (ip netns delete), and adopt nothing that a killed process has left")
	cmd.MarkFlagsMutuallyExclusive("file", "no-config")
	return cmd
}
