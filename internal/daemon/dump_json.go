package daemon

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"vipd/internal/conf"
	"vipd/internal/vrrp"
)

// jsonWriter writes JSON in keepalived's form: no blanks, fields in its order, slashes escaped.
type jsonWriter struct {
	b     strings.Builder
	fresh bool // nothing stands in the object or array yet
}

func (j *jsonWriter) comma() {
	if !j.fresh {
		j.b.WriteByte(',')
	}
	j.fresh = false
}

func (j *jsonWriter) open(name string, bracket byte) {
	j.comma()
	if name != "" {
		j.b.WriteString(jsonText(name) + ":")
	}
	j.b.WriteByte(bracket)
	j.fresh = true
}

func (j *jsonWriter) close(bracket byte) { j.b.WriteByte(bracket); j.fresh = false }

// raw writes a field whose value is already JSON.
func (j *jsonWriter) raw(name, value string) {
	j.comma()
	j.b.WriteString(jsonText(name) + ":" + value)
}

func (j *jsonWriter) text(name, value string)         { j.raw(name, jsonText(value)) }
func (j *jsonWriter) number(name string, value int64) { j.raw(name, strconv.FormatInt(value, 10)) }
func (j *jsonWriter) flag(name string, value bool)    { j.raw(name, strconv.FormatBool(value)) }

// bit is a flag that keepalived writes as a number.
func (j *jsonWriter) bit(name string, value bool) {
	if value {
		j.number(name, 1)
	} else {
		j.number(name, 0)
	}
}

// seconds is a duration, as %g prints it.
func (j *jsonWriter) seconds(name string, d time.Duration) {
	j.raw(name, strconv.FormatFloat(d.Seconds(), 'g', 6, 64))
}

// list writes an array of texts, or nothing where there are none.
func (j *jsonWriter) list(name string, texts []string) {
	if len(texts) == 0 {
		return
	}
	j.open(name, '[')
	for _, t := range texts {
		j.comma()
		j.b.WriteString(jsonText(t))
	}
	j.close(']')
}

// jsonText quotes a text. keepalived: bytes that are not UTF-8 are written as they are.
func jsonText(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\' || c == '/':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c < ' ':
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// json is keepalived.json, in the layout that json_version asks for.
//
// keepalived: version 2 also lists tracked processes with their counts, which are not known here; the list is left empty.
func (d *dump) json(w io.Writer) {
	j := &jsonWriter{fresh: true}
	if d.cfg.Global.Manage.JSONVersion == 2 {
		j.open("", '{')
		j.open("vrrp", '[')
		d.jsonRouters(j)
		j.close(']')
		j.open("track_process", '[')
		j.close(']')
		j.close('}')
	} else {
		j.open("", '[')
		d.jsonRouters(j)
		j.close(']')
	}
	_, _ = io.WriteString(w, j.b.String()+"\n")
}

func (d *dump) jsonRouters(j *jsonWriter) {
	for _, r := range d.all() {
		j.open("", '{')
		j.open("data", '{')
		r.jsonSettings(j)
		r.jsonState(j)
		r.jsonScripts(j)
		r.jsonThings(j, d.cfg.Scripts)
		r.jsonAuth(j)
		j.close('}')
		j.open("stats", '{')
		jsonStats(j, statsOf(r.Counters, vrrp.Counters{}))
		j.close('}')
		j.close('}')
	}
}

func (r router) jsonSettings(j *jsonWriter) {
	i := r.Instance
	j.text("iname", i.Name)
	j.bit("dont_track_primary", i.DontTrackOwn)
	j.bit("skip_check_adv_addr", i.SkipCheckAdvAddr)
	j.bit("strict_mode", i.Strict)
	j.text("vmac_ifname", r.Status.Own)
	j.text("ifp_ifname", r.device())
	j.number("master_priority", int64(r.HeardPriority))
	j.raw("last_transition", fmt.Sprintf("%d.%06d", r.Since.Unix(), r.Since.Nanosecond()/1000))
	j.seconds("garp_delay", i.Garp.Delay)
	j.number("garp_refresh", seconds(i.Garp.Refresh))
	j.number("garp_rep", int64(i.Garp.Repeat))
	j.number("garp_refresh_rep", int64(i.Garp.RefreshRepeat))
	j.number("garp_lower_prio_delay", seconds(r.lowerDelay()))
	j.number("garp_lower_prio_rep", r.lowerRepeat())
	j.bit("lower_prio_no_advert", i.LowerPrioNoAdvert)
	j.bit("higher_prio_send_advert", i.HigherPrioSendAdv)
}

func (r router) jsonState(j *jsonWriter) {
	i := r.Instance
	j.number("vrid", int64(i.VRID))
	j.number("base_priority", int64(r.Base))
	j.number("effective_priority", int64(r.Status.Priority))
	j.flag("vipset", r.Holding)
	j.flag("promote_secondaries", i.PromoteSecondaries)
	j.seconds("adver_int", r.Status.AdvertInt)
	j.seconds("master_adver_int", r.masterInt())
	j.bit("accept", i.Accept)
	j.flag("nopreempt", i.NoPreempt)
	j.number("preempt_delay", seconds(i.PreemptDelay))
	j.number("state", int64(r.Status.State))
	j.number("wantstate", int64(r.Status.State))
	j.number("version", int64(r.Status.Version))
	j.flag("smtp_alert", i.SMTPAlert)
	j.flag("notify_deleted", i.Notify.OnDelete)
}

func (r router) jsonScripts(j *jsonWriter) {
	n := r.Instance.Notify
	for _, s := range []struct {
		name   string
		script *conf.Script
	}{{"script_backup", n.Backup}, {"script_master", n.Master}, {"script_fault", n.Fault}, {"script_stop", n.Stop},
		{"script_deleted", n.Deleted}, {"script", n.Any}, {"script_master_rx_lower_pri", n.MasterRxLowerPri}} {
		if s.script != nil {
			j.text(s.name, quoted(s.script.Args))
		}
	}
}

// jsonThings are the addresses, routes and rules, and what is tracked.
func (r router) jsonThings(j *jsonWriter, scripts []conf.VRRPScript) {
	j.list("vips", r.vips(r.Instance.Addresses))
	j.list("evips", r.vips(r.Instance.ExcludedAddresses))
	j.list("vroutes", routeTexts(r.Instance.Routes))
	j.list("vrules", ruleTexts(r.Instance.Rules))
	j.list("track_ifp", trackedNames(r.Instance.Track.Interfaces))
	var commands []string
	for _, tr := range r.Instance.Track.Scripts {
		for _, s := range scripts {
			if s.Name == tr.Name {
				commands = append(commands, quoted(s.Script.Args))
			}
		}
	}
	j.list("track_script", commands)
}

func (r router) vips(list []conf.Address) (out []string) {
	for _, a := range list {
		out = append(out, vipText(a, r.vipDevice(), r.Holding))
	}
	return out
}

// vipDevice is the interface of addresses without one, by keepalived's name: a virtual MAC's has its parent behind it.
func (r router) vipDevice() string {
	if r.Status.Own != "" {
		return r.device() + "@" + r.Instance.Interface
	}
	return r.Instance.Interface
}

func trackedNames(list []conf.Tracked) (out []string) {
	for _, t := range list {
		out = append(out, t.Name)
	}
	return out
}

// jsonAuth prints the password, as keepalived 2.2.7 does: the file is its owner's alone.
func (r router) jsonAuth(j *jsonWriter) {
	j.number("auth_type", int64(r.Instance.AuthType))
	if r.Instance.AuthType != vrrp.AuthNone {
		j.text("auth_data", r.Instance.AuthPass[:min(len(r.Instance.AuthPass), 8)])
	}
}

func jsonStats(j *jsonWriter, s adverts) {
	for _, f := range []struct {
		name string
		n    uint64
	}{{"advert_rcvd", s.received}, {"advert_sent", s.sent}, {"become_master", s.became}, {"release_master", s.released},
		{"packet_len_err", s.length}, {"advert_interval_err", s.interval}, {"ip_ttl_err", s.ttl}, {"invalid_type_rcvd", s.kind},
		{"addr_list_err", s.addresses}, {"invalid_authtype", s.authInvalid}, {"authtype_mismatch", s.authType}, {"auth_failure", s.authFailure},
		{"pri_zero_rcvd", s.zeroReceived}, {"pri_zero_sent", s.zeroSent}} {
		j.raw(f.name, strconv.FormatUint(f.n, 10))
	}
}
