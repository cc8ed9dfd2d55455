package conf

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// global gives setters for the values of global_defs.
func gBool(also string, at func(g *Global) *bool) setter {
	return boolean(also, func(l *loader, v bool) { *at(&l.cfg.Global) = v })
}

func gFlag(at func(g *Global) *bool) setter {
	return func(l *loader, _ *stmt) { *at(&l.cfg.Global) = true }
}

func gWord(at func(g *Global) *string) setter {
	return func(l *loader, s *stmt) { *at(&l.cfg.Global) = s.text(1) }
}

func gOnce(also string, at func(g *Global) *string) setter {
	return once(also, func(l *loader) *string { return at(&l.cfg.Global) })
}

// gAlert is one of the smtp_alert keywords.
func gAlert(name string, at func(g *Global) **bool) setter {
	return boolean("Invalid value '{value}' for global "+name+" specified", func(l *loader, v bool) { *at(&l.cfg.Global) = &v })
}

func gSeconds(hi int64, also string, put func(g *Garp, d time.Duration)) setter {
	return number(0, hi, also, func(l *loader, v int64) { put(&l.cfg.Global.VRRP.Garp, time.Duration(v)*time.Second) })
}

// gRepeat sets a number of announcements, which is at least 1.
func gRepeat(at func(g *Garp) *uint32) setter {
	return func(l *loader, s *stmt) {
		v, ok := l.integer(s, 1, 0, 1<<32-1, s.text(0)+" '{value}' invalid - ignoring")
		if !ok {
			return
		}
		if v == 0 {
			l.bad(s, 1, "%s must be greater than 0, setting to 1", s.text(0))
			v = 1
		}
		*at(&l.cfg.Global.VRRP.Garp) = uint32(v)
	}
}

// noMail says once that there is none, where somebody asks for it.
func (l *loader) noMail(s *stmt) {
	name := s.text(0)
	if l.mailed || name != "notification_email" && !strings.HasPrefix(name, "smtp_alert") {
		return
	}
	l.mailed = true
	l.notice(s.words[0], "no-mail", name+" is accepted without effect: "+MailWhy).Hint = "let the metrics or the log raise the alarm until then"
}

func addEmail(l *loader, s *stmt) {
	for i := range s.words {
		l.cfg.Global.NotificationEmail = append(l.cfg.Global.NotificationEmail, s.text(i))
	}
}

func endMail(l *loader) {
	if len(l.cfg.Global.NotificationEmail) == 0 {
		l.warn(l.at.words[0], "empty-block", "Warning - empty notification_email block")
	}
}

func setSMTP(l *loader, s *stmt) {
	host, port := s.text(1), s.text(2)
	if len(s.words) < 3 {
		port = "25"
	}
	n, bad := whole(port, 1, 65535, false, false)
	if bad != "" && !strings.ContainsAny(host, "-/") {
		l.bad(s, 2, "%s", bad) // keepalived: it tries the name twice, as an address and as a name
		if l.pass == passAll {
			l.diags.drop(l.diags.list[len(l.diags.list)-1])
		}
	}
	_, isAddr := plain(host)
	if _, old := netmask(host); old {
		isAddr = true // inet_aton(3) takes fewer numbers too
	}
	switch {
	case bad != "":
		l.badValue(s, 2, bad, "Invalid smtp server "+host+" "+port)
	case !isAddr && l.host != nil && l.host.Resolve != nil && !l.host.Resolve(host):
		l.bad(s, 1, "Invalid smtp server %s %s", host, port)
	default:
		l.cfg.Global.SMTPServer, l.cfg.Global.SMTPPort = host, uint16(n)
	}
}

func setSMTPTimeout(l *loader, s *stmt) {
	v, ok := l.integer(s, 1, 0, 4294, "smtp_connect_timeout '{value}' must be in [0, 4294] - ignoring")
	if !ok {
		return
	}
	if v == 0 {
		l.bad(s, 1, "smtp_conect_timeout must be greater than 0, setting to 1")
		v = 1
	}
	l.cfg.Global.SMTPConnectTimeout = time.Duration(v) * time.Second
}

// interval reads the pacing of announcements. 0, which many files have, is out of range for keepalived too.
func interval(at func(g *GlobalVRRP) *time.Duration) setter {
	return func(l *loader, s *stmt) {
		v, ok := l.decimal(s, 1, 1, micros32, s.text(0)+" '{value}' is invalid")
		if !ok {
			if d := l.diags.list[len(l.diags.list)-1]; s.text(1) == "0" {
				d.Hint = "leave the line out: announcements are not spaced by default"
			}
			return
		}
		*at(&l.cfg.Global.VRRP) = v
		l.notYet(s.words[0], s.text(0)+" is accepted without effect in this version")
	}
}

// setTimeouts reads lvs_timeouts [tcp N] [tcpfin N] [udp N].
func setTimeouts(l *loader, s *stmt) {
	t := &l.cfg.Global.Timeouts
	to := map[string]*time.Duration{"tcp": &t.TCP, "tcpfin": &t.TCPFin, "udp": &t.UDP}
	if len(s.words) < 3 {
		l.warn(s.words[0], "bad-value", "lvs_timeouts requires at least one option").Expected = l.kw.Args
		return
	}
	for i := 1; i < len(s.words); i++ {
		name := s.text(i)
		at := to[name]
		switch {
		case at == nil:
			l.badValue(s, i, "", "Unknown option {value} specified for lvs_timeouts")
		case i == len(s.words)-1:
			l.bad(s, i, "No value specified for lvs_timeout %s - ignoring", name)
		default:
			i++
			if v, ok := l.integer(s, i, 0, 31*24*3600, "Invalid lvs_timeout "+name+" ({value}) - ignoring"); ok {
				*at = time.Duration(v) * time.Second
			}
		}
	}
}

// DataPlanes are the words of data_plane.
var DataPlanes = []string{"xdp", "ipvs", "auto"}

func setDataPlane(l *loader, s *stmt) {
	if !slices.Contains(DataPlanes, s.text(1)) {
		l.bad(s, 1, "Unknown data_plane %s - ignoring", s.text(1)).Expected = strings.Join(DataPlanes, ", ")
		return
	}
	l.cfg.Global.DataPlane = s.text(1)
}

// setSyncDaemon reads lvs_sync_daemon IF [inst VI] [id N] [maxlen N] [port N] [ttl N] [group ADDR].
func setSyncDaemon(l *loader, s *stmt) {
	d := &l.cfg.Global.SyncDaemon
	if d.Interface != "" {
		l.bad(s, 1, "lvs_sync_daemon has already been specified as %s %s - ignoring", d.Interface, d.Instance)
		return
	}
	if len(s.text(1)) >= 16 {
		l.bad(s, 1, "lvs_sync_daemon interface name '%s' too long - ignoring", s.text(1))
		return
	}
	d.Interface = s.text(1)
	for i := 2; i < len(s.words); i++ {
		w := s.text(i)
		_, known := syncNumbers[w]
		switch {
		case w == "inst":
			v, ok := l.want(s, i+1)
			if !ok {
				return
			}
			if d.Instance != "" {
				l.bad(s, i, "lvs_sync_daemon vrrp instance has already been specified as %s - ignoring", d.Instance)
			} else {
				d.Instance = v
			}
			i++
		case (known || w == "group") && i == len(s.words)-1:
			if w == "id" {
				l.bad(s, i, "No value specified for lvs_sync_daemon id, defaulting to vrid")
			} else {
				l.bad(s, i, "No value specified for lvs_sync_daemon %s - ignoring", w)
			}
		case known:
			i++
			l.syncNumber(s, i, w, d)
		case w == "group":
			i++
			l.syncGroup(s, i, d)
		case i == 2:
			d.Instance = w
		case i == 3:
			if v, ok := l.integer(s, 3, 0, 255, "Invalid syncid ({value}) - defaulting to vrid"); ok {
				l.bad(s, 3, `Please use keyword "id" before lvs_sync_daemon SYNCID`)
				d.ID = int(v)
			}
		default:
			l.bad(s, i, "Unknown option %s specified for lvs_sync_daemon", w)
		}
	}
}

// syncNumbers are the numbers of lvs_sync_daemon: their bounds and what is said of a bad one.
var syncNumbers = map[string]struct {
	lo, hi int64
	bad    string
}{"id": {0, 255, "Invalid syncid ({value}) - defaulting to vrid"}, "maxlen": {1, 65507, "Invalid lvs_sync_daemon maxlen ({value}) - ignoring"},
	"port": {1, 65535, "Invalid lvs_sync_daemon port ({value}) - ignoring"}, "ttl": {1, 255, "Invalid lvs_sync_daemon ttl ({value}) - ignoring"}}

func (l *loader) syncNumber(s *stmt, i int, w string, d *SyncDaemon) {
	n := syncNumbers[w]
	v, ok := l.integer(s, i, n.lo, n.hi, n.bad)
	if !ok {
		return
	}
	switch w {
	case "id":
		d.ID = int(v)
	case "maxlen":
		d.MaxLen = uint16(v)
	case "port":
		d.Port = uint16(v)
	case "ttl":
		d.TTL = uint8(v)
	}
}

func (l *loader) syncGroup(s *stmt, i int, d *SyncDaemon) {
	a, ok := plain(s.text(i))
	switch {
	case !ok:
		l.bad(s, i, "Invalid lvs_sync_daemon group (%s) - ignoring", s.text(i))
	case !a.IsMulticast():
		l.bad(s, i, "lvs_sync_daemon group address %s is not multicast - ignoring", s.text(i))
	default:
		d.Group = a
	}
}

func setFlushStop(l *loader, s *stmt) {
	switch {
	case len(s.words) == 1:
		l.cfg.Global.FlushStop = "full"
	case s.text(1) == "VS":
		l.cfg.Global.FlushStop = "VS"
	default:
		l.bad(s, 1, "Unknown lvs_flush_on_stop type %s", s.text(1)).Expected = "VS, or nothing"
	}
}

// setMcastGroup reads vrrp_mcast_group4 and vrrp_mcast_group6.
func setMcastGroup(v6 bool, at func(g *GlobalVRRP) *netip.Addr) setter {
	return func(l *loader, s *stmt) {
		name := s.text(0)
		a, ok := plain(s.text(1))
		switch {
		case !ok:
			l.bad(s, 1, "Can't parse %s [%s]. Skipping", name, s.text(1))
		case a.Is6() != v6:
			l.bad(s, 1, "%s [%s] is not IPv%s. Skipping", name, s.text(1), map[bool]string{true: "6", false: "4"}[v6])
		case !a.IsMulticast():
			l.bad(s, 1, "%s [%s] is not multicast. Skipping", name, s.text(1))
		default:
			if v6 && !a.IsLinkLocalMulticast() {
				l.bad(s, 1, "%s [%s] should be link-local multicast.", name, s.text(1))
			}
			*at(&l.cfg.Global.VRRP) = a
		}
	}
}

func setMinGarp(l *loader, s *stmt) {
	on := true
	if len(s.words) > 1 {
		var ok bool
		if on, ok = l.yes(s, "Invalid value for vrrp_min_garp specified"); !ok {
			return
		}
	}
	// keepalived: the word alone does nothing in 2.2.7, a defect.
	if g := &l.cfg.Global.VRRP.Garp; on && (l.pass == passAll || len(s.words) > 1) {
		if g.Repeat == 5 {
			g.Repeat = 1
		}
		if g.Delay == 5*time.Second {
			g.Delay = 0
		}
		if g.RefreshRepeat == 1 {
			g.RefreshRepeat = 0
		}
	}
}

// setGlobalExtraIf reads [all] SECS.
func setGlobalExtraIf(l *loader, s *stmt) {
	g, name := &l.cfg.Global.VRRP, s.text(0)
	if name == "vrrp_vmac_garp_intvl" {
		l.warn(s.words[0], "deprecated", `Keyword "vrrp_vmac_garp_intvl" is deprecated - please use "vrrp_garp_extra_if"`)
	}
	set := false
	for i := 1; i < len(s.words); i++ {
		if s.text(i) == "all" {
			g.ExtraAll = true
			continue
		}
		n, ok := l.integer(s, i, 1, 86400, name+" '{value}' invalid - ignoring")
		if !ok {
			return
		}
		g.ExtraIf, set = time.Duration(n)*time.Second, true
	}
	if !set {
		l.warn(s.words[0], "bad-value", name+" specified without time - ignoring")
	}
}

func setDynamic(l *loader, s *stmt) {
	g := &l.cfg.Global
	g.DynamicInterfaces = true
	if len(s.words) > 1 {
		if g.AllowIfChanges = s.text(1) == "allow_if_changes"; !g.AllowIfChanges {
			l.bad(s, 1, "Unknown dynamic_interfaces option '%s'", s.text(1)).Expected = "allow_if_changes, or nothing"
		}
	}
}

func setRxPolicy(l *loader, s *stmt) {
	g := &l.cfg.Global.VRRP
	mtu, advert, size := false, false, false
	for i := 1; i < len(s.words); i++ {
		switch strings.ToUpper(s.text(i)) {
		case "MTU":
			mtu = true
		case "ADVERT":
			advert = true
		default: // keepalived: it looks at the first word again
			if v, ok := l.integer(s, 1, 0, 1<<32-1, "Invalid vrrp_rx_bufs_policy "+s.text(i)); ok {
				g.RxSize, size = uint32(v), true
			}
		}
	}
	switch {
	case size && (mtu || advert):
		l.warn(s.words[0], "settings-conflict", "Cannot set vrrp_rx_bufs_policy size and policy, ignoring policy")
	case mtu && advert:
		l.warn(s.words[0], "settings-conflict", "Cannot set both vrrp_rx_bufs_policy MTU and ADVERT, ignoring ADVERT")
		g.RxPolicy = "MTU"
	case mtu:
		g.RxPolicy = "MTU"
	case advert:
		g.RxPolicy = "ADVERT"
	}
}

func setRxMultiplier(l *loader, s *stmt) {
	if len(s.words) != 2 {
		l.warn(s.words[0], "extra-words", "Invalid vrrp_rx_bufs_multiplier")
		return
	}
	if v, ok := l.integer(s, 1, 1, 1<<32-1, "Invalid vrrp_rx_bufs_multiplier {value}"); ok {
		l.cfg.Global.VRRP.RxMultiplier = uint32(v)
	}
}

// setTable reads nftables and nftables_ipvs.
func setTable(prefix, def string, at func(g *GlobalVRRP) *string) setter {
	return func(l *loader, s *stmt) {
		p := at(&l.cfg.Global.VRRP)
		switch {
		case *p != "":
			l.warn(s.words[0], "repeated", prefix+"nftables already specified - ignoring")
		case len(s.words) < 2:
			*p = def
		case len(s.text(1)) >= 256:
			l.bad(s, 1, "%snftables table name too long - ignoring", prefix)
		default:
			*p = s.text(1)
		}
	}
}

func setIptables(l *loader, s *stmt) {
	g := &l.cfg.Global.VRRP
	l.warn(s.words[0], "iptables", "iptables not supported, using nftables instead. Please replace 'vrrp_iptables and 'vrrp_ipsets' with 'nftables' config option")
	g.IptablesAskedFor = true
	if g.Table == "" {
		g.Table = "keepalived"
	}
}

func setIpsets(l *loader, s *stmt) {
	l.own(s.words[0], "iptables", "vrrp_ipsets is accepted without effect: nftables is used")
}

func setScriptUser(l *loader, s *stmt) {
	g := &l.cfg.Global.Scripts
	l.users.asked = true
	if !l.userExists(s.text(1), s.text(2)) {
		l.users.fails = true
		l.bad(s, 1, "Error setting global script uid/gid").Hint = "the user or group does not exist here"
		return
	}
	g.User, g.Group = s.text(1), s.text(2)
}

// globalScript keeps startup_script or shutdown_script.
func globalScript(what string, at func(g *GlobalScripts) **Script) setter {
	return func(l *loader, s *stmt) {
		p := at(&l.cfg.Global.Scripts)
		if *p != nil {
			l.warn(s.words[0], "repeated", what+" script already specified")
			return
		}
		if *p = l.commandOf(s); *p == nil {
			l.warn(s.words[0], "bad-value", "Invalid "+what+" script")
		}
	}
}

// fifo and fifoScript keep the three FIFOs; prefix is vrrp_, lvs_ or "".
func fifo(prefix string, at func(g *GlobalScripts) *FIFO) setter {
	return func(l *loader, s *stmt) {
		f := at(&l.cfg.Global.Scripts)
		if f.Path != "" {
			l.bad(s, 1, "%snotify_fifo already specified - ignoring %s", prefix, s.text(1))
			return
		}
		if user := s.text(2); user == "" && l.defaultUserFails() || user != "" && !l.userExists(user, s.text(3)) {
			return
		}
		f.Path, f.User, f.Group = s.text(1), s.text(2), s.text(3)
	}
}

func fifoScript(prefix string, at func(g *GlobalScripts) *FIFO) setter {
	return func(l *loader, s *stmt) {
		f := at(&l.cfg.Global.Scripts)
		if f.Script != nil {
			l.bad(s, 1, "%snotify_fifo_script already specified - ignoring %s", prefix, s.text(1))
			return
		}
		f.Script = l.commandOf(s)
	}
}

// Tuning of keepalived's processes.

func tuning(g *Global, process string) *Tuning {
	switch process {
	case "vrrp":
		return &g.Process.VRRP
	case "checker":
		return &g.Process.Checker
	}
	return &g.Process.BFD
}

// processRow gives the setter of NAME with the process before it.
func processRow(process, name string) setter {
	at := func(l *loader) *Tuning { return tuning(&l.cfg.Global, process) }
	switch name {
	case "priority":
		return signedNumber(-20, 19, "Invalid "+process+" process priority specified", func(l *loader, v int64) { at(l).Nice = int8(v) })
	case "no_swap":
		return flag(func(l *loader) { at(l).NoSwap = true })
	case "rt_priority":
		return func(l *loader, s *stmt) { l.realtime(s, process, at(l)) }
	case "cpu_affinity":
		return func(l *loader, s *stmt) { l.affinity(s, process, at(l)) }
	case "rlimit_rttime", "rlimit_rtime":
		return number(1, 1<<32-1, "Invalid "+process+" real-time limit - {value}", func(l *loader, v int64) { at(l).RTLimit = uint32(max(2, v)) })
	}
	return processName_(func(l *loader) *string { return &at(l).Name })
}

func (l *loader) realtime(s *stmt, process string, t *Tuning) {
	v, ok := l.signed(s, 1, -1<<31, 1<<31-1, process+" process real-time priority '{value}' invalid")
	switch {
	case !ok:
		return
	case v < 1:
		l.bad(s, 1, "%s process real-time priority %d less than minimum 1 - setting to minimum", process, v)
	case v > 99:
		l.bad(s, 1, "%s process real-time priority %d greater than maximum 99 - setting to maximum", process, v)
	}
	t.Realtime = uint8(min(max(v, 1), 99))
}

func (l *loader) affinity(s *stmt, process string, t *Tuning) {
	n := int64(1024)
	if l.host != nil && l.host.CPUs > 0 {
		n = int64(l.host.CPUs)
	}
	var cpus []int
	for i := 1; i < len(s.words); i++ {
		neg, num, _, _ := cutNumber(s.text(i), false)
		shown := int32(num)
		if neg {
			shown = -shown
		}
		v, ok := l.signed(s, i, 0, n-1, fmt.Sprintf("Invalid cpu_id:%d specified for %s process", shown, process))
		if !ok {
			return
		}
		cpus = append(cpus, int(v))
	}
	t.CPUs = cpus
}

// processName_ keeps a name of at most 15 bytes.
func processName_(at func(l *loader) *string) setter {
	return func(l *loader, s *stmt) {
		n := s.text(1)
		if len(n) > 15 {
			l.bad(s, 1, "Process name %s more than 15 characters, truncating", n)
			n = n[:15]
		}
		*at(l) = n
	}
}

func setProcessNames(l *loader, _ *stmt) {
	p := &l.cfg.Global.Process
	p.VRRP.Name, p.Checker.Name, p.BFD.Name = "keepalived_vrrp", "keepalived_lvs", "keepalived_bfd"
}

func setMaxAuto(l *loader, s *stmt) {
	p := &l.cfg.Global.Process
	if len(s.words) < 2 {
		p.MaxAutoPriority = 99
	} else if v, ok := l.signed(s, 1, -1, 99, "max_auto_priority '{value}' must be in [0, 99] (or -1 to disable) - ignoring"); ok {
		p.MaxAutoPriority = int(v)
	}
}

// setBuffer keeps the size of a netlink buffer.
func setBuffer(name string) setter {
	return number(0, 1<<32-1, name+" size ({value}) invalid", func(l *loader, v int64) { l.cfg.Global.Process.Buffers[name] = uint32(v) })
}

func setForce(name string) setter {
	return boolean("Invalid value '{value}' for global "+name+" specified", func(l *loader, v bool) { l.cfg.Global.Process.Force[name] = v })
}

var umaskBits = map[string]uint32{"IRUSR": 0o400, "IWUSR": 0o200, "IXUSR": 0o100, "IRGRP": 0o40, "IWGRP": 0o20, "IXGRP": 0o10,
	"IROTH": 4, "IWOTH": 2, "IXOTH": 1}

// setUmask reads a number in C notation, or bits joined by |.
func setUmask(l *loader, s *stmt) {
	w := s.text(1)
	if w != "" && w[0] >= '0' && w[0] <= '9' {
		neg, v, rest, over := cutNumber(w, true)
		switch {
		case len(s.words) != 2:
			l.bad(s, 2, "Extra parameter(s) to umask option")
		case neg || rest != "" || over || v > 0o777:
			l.bad(s, 1, "invalid umask value %s", w)
		default:
			l.cfg.Global.Process.Umask = uint32(v)
		}
		return
	}
	bits, or := uint32(0), false
	for i := 1; i < len(s.words); i++ {
		for p := s.text(i); p != ""; {
			if or {
				if p[0] != '|' {
					l.bad(s, i, "Invalid umask syntax %s", s.text(i))
					return
				}
				or, p = false, p[1:]
				continue
			}
			b, ok := umaskBits[p[:min(5, len(p))]]
			if !ok {
				l.bad(s, i, "Unknown umask bit %s", p)
				return
			}
			bits, or, p = bits|b, true, p[5:]
		}
	}
	if !or {
		l.bad(s, 1, "umask missing bit value")
		return
	}
	l.cfg.Global.Process.Umask = bits
}

func setNamespaceIPVS(l *loader, s *stmt) {
	p := &l.cfg.Global.Process
	if p.NamespaceIPVS != nil {
		l.bad(s, 1, "Duplicate net_namespace_ipvs definition %s - ignoring", s.text(1))
		return
	}
	name := s.text(1)
	p.NamespaceIPVS = &name
}

func setSNMPSocket(l *loader, s *stmt) {
	m := &l.cfg.Global.Manage
	switch {
	case len(s.words) > 2:
		l.bad(s, 2, "Too many parameters specified for snmp_socket - ignoring")
	case m.SNMPSocket != "":
		l.bad(s, 1, "SNMP socket already set to %s - ignoring", m.SNMPSocket)
	default:
		m.SNMPSocket = s.text(1)
	}
}

func setReloadCheck(l *loader, s *stmt) {
	if l.cfg.Global.Manage.CheckReload = "/dev/null"; len(s.words) > 1 {
		l.cfg.Global.Manage.CheckReload = s.text(1)
	}
}

func setReloadTime(l *loader, s *stmt) {
	if len(s.words) != 2 {
		l.warn(s.words[0], "extra-words", "reload_time_file invalid")
		return
	}
	l.cfg.Global.Manage.ReloadTimeFile = s.text(1)
}

func setReloadFile(l *loader, s *stmt) {
	if l.cfg.Global.Manage.ReloadFile = "/run/keepalived.reload"; len(s.words) > 1 {
		l.cfg.Global.Manage.ReloadFile = s.text(1)
	}
}

func setTmpDir(l *loader, s *stmt) {
	if m := &l.cfg.Global.Manage; m.TmpDir != "" {
		l.warn(s.words[0], "repeated", s.text(0)+" already specified - ignoring")
	} else {
		m.TmpDir = s.text(1)
	}
}

// setIncludeCheck changes which faults of includes count: [+|-]read, match, wildcard_match, brace_match; nothing is all.
func setIncludeCheck(l *loader, s *stmt) {
	c := &l.in.check
	if len(s.words) < 2 {
		*c = checkAll
		return
	}
	kinds := map[string]includeCheck{"read": checkRead, "readable": checkRead, "match": checkMatch, "wildcard_match": checkWildcard, "brace_match": checkBrace}
	if l.pass != passAll {
		delete(kinds, "readable")
	}
	for i := 1; i < len(s.words); i++ {
		w := s.text(i)
		sign, name := byte(0), w
		if w != "" && (w[0] == '+' || w[0] == '-') {
			sign, name = w[0], w[1:]
		} else if i == 1 {
			*c = 0
		} else {
			l.bad(s, i, "Duplicate include_check '%s' specified - ignoring", w)
			continue
		}
		k, known := kinds[name]
		switch {
		case !known:
			l.bad(s, i, "Unknown include_check type '%s' - ignoring", name)
		case sign == 0:
			*c = checkRead | k
		case sign == '+':
			*c |= k
		default:
			*c &^= k
		}
	}
}
