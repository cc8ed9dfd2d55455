package control

import (
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metric is one line of the table of everything that is exported. Labels are the log's keys: vi, vs, rs, if.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func newMetric(name, help string, kind prometheus.ValueType, labels ...string) metric {
	return metric{prometheus.NewDesc("vipd_"+name, help, labels, nil), kind}
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

var (
	mInfo      = newMetric("info", "The daemon: always 1.", gauge, "instance", "version")
	mStarted   = newMetric("start_time_seconds", "When the daemon was started, in Unix time.", gauge)
	mLink      = newMetric("interface_info", "An interface that the packet path is attached to: always 1.", gauge, "if", "mode")
	mVerdict   = newMetric("packets_total", "Packets by what became of them and why.", counter, "verdict", "reason")
	mOwn       = newMetric("own_connections_total", "Connections that the director itself opened to a service, by what became of them.", counter, "outcome")
	mMaster    = newMetric("vrrp_master", "1 if the VRRP instance is master.", gauge, "vi", "if")
	mHoldsBack = newMetric("vrrp_holds_back_seconds", "For how long at most the VRRP instance still leaves a weaker master alone; absent if it does not.", gauge, "vi", "if")
	mFault     = newMetric("vrrp_fault", "1 if the VRRP instance is in FAULT.", gauge, "vi", "if")
	mPriority  = newMetric("vrrp_priority", "Effective priority of the VRRP instance.", gauge, "vi", "if")
	mSince     = newMetric("vrrp_state_since_seconds", "When the VRRP instance entered its state, in Unix time.", gauge, "vi", "if")
	mSent      = newMetric("vrrp_adverts_sent_total", "Adverts sent.", counter, "vi", "if")
	mReceived  = newMetric("vrrp_adverts_received_total", "Adverts received.", counter, "vi", "if")
	mRefused   = newMetric("vrrp_adverts_refused_total", "Adverts refused, by reason.", counter, "vi", "if", "reason")
	mBecame    = newMetric("vrrp_became_master_total", "Times that the VRRP instance became master.", counter, "vi", "if")
	mLate      = newMetric("vrrp_adverts_late_total", "Adverts that left later than a fifth of their interval.", counter, "vi", "if")
	mWorstLate = newMetric("vrrp_advert_worst_late_seconds", "The most that an advert was late.", gauge, "vi", "if")
	mStalls    = newMetric("stalls_total", "Times that the machine did not schedule the daemon for a tenth of a second or more.", counter)
	mStallMost = newMetric("stall_worst_seconds", "The longest of these times.", gauge)
	mPauseMost = newMetric("gc_pause_worst_seconds", "The longest that the garbage collector stopped the daemon.", gauge)
	mChecks    = newMetric("checks_process_starts_total", "Times that the process which reads answers to checks was started; absent while no check has needed it.", counter)
	mQuorum    = newMetric("service_quorum", "1 if enough weight of the service is alive.", gauge, "vs")
	mConns     = newMetric("service_connections_total", "Connections of a service.", counter, "vs")
	mPackets   = newMetric("service_packets_total", "Packets of a service.", counter, "vs", "direction")
	mBytes     = newMetric("service_bytes_total", "Bytes of a service.", counter, "vs", "direction")
	mInPool    = newMetric("real_in_pool", "1 if the real server gets connections.", gauge, "vs", "rs")
	mHealthy   = newMetric("real_healthy", "1 if the real server's checks succeed.", gauge, "vs", "rs")
	mCertEnd   = newMetric("real_certificate_end_seconds", "When the certificate ends that the real server shows to its checks, in Unix time; of several the first.", gauge, "vs", "rs")
	mWeight    = newMetric("real_weight", "Weight of the real server.", gauge, "vs", "rs")
	mHeld      = newMetric("real_held", "1 if an operator holds the real server: drain, disable or weight.", gauge, "vs", "rs", "do")
	mActive    = newMetric("real_active_connections", "Connections in an active state.", gauge, "vs", "rs")
	mInactive  = newMetric("real_inactive_connections", "Other connections.", gauge, "vs", "rs")
	mPersist   = newMetric("real_persistence_templates", "Persistence templates.", gauge, "vs", "rs")
	mRealConns = newMetric("real_connections_total", "Connections of a real server.", counter, "vs", "rs")
	mRealPkts  = newMetric("real_packets_total", "Packets of a real server.", counter, "vs", "rs", "direction")
	mRealBytes = newMetric("real_bytes_total", "Bytes of a real server.", counter, "vs", "rs", "direction")
	mTableSize = newMetric("connection_table_size", "Lines of the connection table.", gauge)
)

// metricsHandler serves one Status as metrics. It asks once per request, so figures of one page belong together.
func metricsHandler(src Source) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := src.Status(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		reg := prometheus.NewRegistry()
		reg.MustRegister(&collector{status: s})
		promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}).ServeHTTP(w, r)
	})
}

// collector prints one Status. It describes nothing beforehand: which metrics there are depends on the configuration.
type collector struct {
	status Status
	once   sync.Mutex
	seen   map[string]bool
}

func (*collector) Describe(chan<- *prometheus.Desc) {}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.once.Lock()
	defer c.once.Unlock()
	c.seen = map[string]bool{}
	put := func(m metric, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
	}
	s := &c.status
	put(mInfo, 1, s.Instance, s.Version)
	put(mStarted, float64(s.Started.Unix()))
	put(mTableSize, float64(s.TableSize))
	put(mStalls, float64(s.Timing.Stalls))
	put(mStallMost, s.Timing.WorstStall.Seconds())
	if c := s.Checks; c != nil {
		put(mChecks, float64(c.Starts))
	}
	put(mPauseMost, s.Timing.WorstPause.Seconds())
	for _, l := range s.Links {
		if c.first("link", l.Name) {
			put(mLink, 1, l.Name, l.Mode)
		}
	}
	for _, v := range s.Verdicts {
		if c.first("verdict", v.Verdict, v.Name) {
			put(mVerdict, float64(v.Packets), v.Verdict, v.Name)
		}
	}
	for _, o := range s.Own {
		if c.first("own", o.Name) {
			put(mOwn, float64(o.Count), o.Name)
		}
	}
	if s.Sync != nil {
		putSync(put, s.Sync)
	}
	for i := range s.VRRP {
		if r := &s.VRRP[i]; c.first("vi", r.Name) {
			putRouter(put, r)
		}
	}
	for i := range s.Services {
		c.service(put, &s.Services[i])
	}
}

// first keeps a name that stands twice from spoiling the whole page.
func (c *collector) first(parts ...string) bool {
	key := ""
	for _, p := range parts {
		key += p + "\x00"
	}
	was := c.seen[key]
	c.seen[key] = true
	return !was
}

type putFunc func(m metric, v float64, labels ...string)

func putRouter(put putFunc, r *Router) {
	put(mMaster, one(r.State == "MASTER"), r.Name, r.Interface)
	if r.HoldsBack != "" {
		put(mHoldsBack, float64(r.HoldsNanos)/1e9, r.Name, r.Interface)
	}
	put(mFault, one(r.State == "FAULT"), r.Name, r.Interface)
	put(mPriority, float64(r.Priority), r.Name, r.Interface)
	put(mSince, float64(r.Since.Unix()), r.Name, r.Interface)
	put(mSent, float64(r.Sent), r.Name, r.Interface)
	put(mReceived, float64(r.Received), r.Name, r.Interface)
	put(mBecame, float64(r.BecameMaster), r.Name, r.Interface)
	put(mLate, float64(r.Late), r.Name, r.Interface)
	put(mWorstLate, r.WorstLate.Seconds(), r.Name, r.Interface)
	for why, n := range r.Refused {
		put(mRefused, float64(n), r.Name, r.Interface, why)
	}
}

func (c *collector) service(put putFunc, s *Service) {
	vs := s.ServiceKey.String()
	if s.V6 {
		vs += " IPv6"
	}
	if !c.first("vs", vs) {
		return
	}
	put(mQuorum, one(s.Quorum), vs)
	put(mConns, float64(s.Total.Conns), vs)
	put(mPackets, float64(s.Total.InPkts), vs, "in")
	put(mPackets, float64(s.Total.OutPkts), vs, "out")
	put(mBytes, float64(s.Total.InBytes), vs, "in")
	put(mBytes, float64(s.Total.OutBytes), vs, "out")
	for i := range s.Reals {
		r := &s.Reals[i]
		rs := r.Addr.String()
		if !c.first("rs", vs, rs) {
			continue
		}
		put(mInPool, one(r.InPool), vs, rs)
		put(mHealthy, one(r.Healthy), vs, rs)
		if r.Certificate != nil {
			put(mCertEnd, float64(r.Certificate.Ends.Unix()), vs, rs)
		}
		put(mWeight, float64(r.Weight), vs, rs)
		if r.Operator != nil {
			put(mHeld, 1, vs, rs, r.Operator.Do)
		}
		put(mActive, float64(r.Active), vs, rs)
		put(mInactive, float64(r.Inactive), vs, rs)
		put(mPersist, float64(r.Persist), vs, rs)
		put(mRealConns, float64(r.Total.Conns), vs, rs)
		put(mRealPkts, float64(r.Total.InPkts), vs, rs, "in")
		put(mRealPkts, float64(r.Total.OutPkts), vs, rs, "out")
		put(mRealBytes, float64(r.Total.InBytes), vs, rs, "in")
		put(mRealBytes, float64(r.Total.OutBytes), vs, rs, "out")
	}
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
