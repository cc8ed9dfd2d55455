package cli

// ipvsadmVersion is what scripts that ask for a version look for.
const ipvsadmVersion = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n"

const ipvsadmHelp = `Usage:
  ipvsadm [--instance NAME] COMMAND [OPTION]...

This is vipd's ipvsadm: it shows and changes what the daemon NAME (else $VIPD_INSTANCE, else "default") forwards, with the
command line, layout and exit codes of ipvsadm 1.31. Without a command it lists the services.

Show:
  -L, -l, --list [SERVICE]   services and their real servers
      -n, --numeric          addresses and ports as numbers
      --stats, --rate        totals, or figures per second
      --exact, -X            numbers in full
      --thresholds           limits of connections
      --persistent-conn      persistence templates
      --tun-info             encapsulations
      --nosort               in the data plane's order
  -L -c, --connection        the connection table
  -L --timeout               timeouts (tcp tcpfin udp), in seconds
  -L --daemon                sync daemons
  -S, --save [-n]            services as the commands that make them
  -h, --help; -v, --version

Change (beside a configuration file it holds until the next reload):
  -A, -E SERVICE             add, edit a service
      -s SCHEDULER           rr, wrr, lc, wlc (if not given), lblc, lblcr, dh, sh, sed, nq, fo, ovf, mh
      -b FLAG,...            sh-fallback, sh-port, mh-fallback, mh-port, flag-1, flag-2, flag-3
      -p [SECONDS]           persistence, 360 s if no number is given;  -M NETMASK  its granularity
      --pe ENGINE            persistence engine
      -o, --ops              every packet anew (UDP)
  -D SERVICE                 delete a service;  -C  all of them
  -a, -e SERVICE -r SERVER   add, edit a real server
      -g, -i, -m             direct routing (if not given), tunnel, masquerading
      --tun-type TYPE        ipip (if not given), gue, gre; with --tun-port, --tun-nocsum, --tun-csum, --tun-remcsum
      -w WEIGHT              1 if not given;  -x, -y CONNECTIONS  upper and lower limit
  -d SERVICE -r SERVER       delete a real server
  -Z [SERVICE]               zero counters
  -R                         read commands from standard input
  --set TCP TCPFIN UDP       timeouts, in seconds; 0 keeps one
  --start-daemon, --stop-daemon master|backup   connection synchronization
      --syncid, --sync-maxlen, --mcast-interface, --mcast-group, --mcast-port, --mcast-ttl

SERVICE is -t HOST[:PORT] (TCP), -u HOST[:PORT] (UDP), --sctp-service HOST[:PORT] or -f MARK [-6]; SERVER is HOST[:PORT].
IPv6 addresses with a port stand in brackets.
`
