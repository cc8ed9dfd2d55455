package control

import "vipd/internal/lb"

// Sync is what has passed between the connection table and other directors since the start of the daemon. Of data_plane ipvs
// the daemons alone: the kernel counts nothing.
type Sync struct {
	Daemons   []lb.SyncDaemon   `json:"daemons"` // that run, master first
	Told      uint64            `json:"connections_told"`
	Sent      uint64            `json:"datagrams_sent"`
	Unsent    uint64            `json:"datagrams_unsent"` // for want of room, or of an address
	Received  uint64            `json:"datagrams_received"`
	Learned   uint64            `json:"connections_learned"`
	Waiting   int               `json:"connections_waiting"` // of real servers that are not configured
	Refused   map[string]uint64 `json:"refused,omitempty"`   // datagrams and connections, by reason
	LookNanos int64             `json:"look_ns"`             // that the last look at the whole table took
}

var (
	mSyncRuns    = newMetric("sync_running", "1 for each half of connection synchronisation that runs.", gauge, "part", "if")
	mSyncTold    = newMetric("sync_connections_told_total", "Connections told to other directors.", counter)
	mSyncSent    = newMetric("sync_datagrams_sent_total", "Datagrams sent to other directors.", counter)
	mSyncUnsent  = newMetric("sync_datagrams_unsent_total", "Datagrams that could not be sent.", counter)
	mSyncHeard   = newMetric("sync_datagrams_received_total", "Datagrams received from other directors.", counter)
	mSyncLearned = newMetric("sync_connections_learned_total", "Connections learned from other directors.", counter)
	mSyncWaiting = newMetric("sync_connections_waiting", "Connections learned of real servers that are not configured.", gauge)
	mSyncRefused = newMetric("sync_refused_total", "Datagrams and connections of other directors that were refused, by reason.", counter, "reason")
	mSyncLook    = newMetric("sync_look_seconds", "What the last look at the whole connection table took.", gauge)
)

func putSync(put putFunc, s *Sync) {
	for _, d := range s.Daemons {
		put(mSyncRuns, 1, d.Part(), d.Interface)
	}
	put(mSyncTold, float64(s.Told))
	put(mSyncSent, float64(s.Sent))
	put(mSyncUnsent, float64(s.Unsent))
	put(mSyncHeard, float64(s.Received))
	put(mSyncLearned, float64(s.Learned))
	put(mSyncWaiting, float64(s.Waiting))
	put(mSyncLook, float64(s.LookNanos)/1e9)
	for why, n := range s.Refused {
		put(mSyncRefused, float64(n), why)
	}
}
