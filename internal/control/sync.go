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
	Peers     []SyncPeer        `json:"peers,omitempty"`     // of connection_sync
	Foreign   uint64            `json:"datagrams_foreign"`   // of addresses that are no peer's
}

// SyncPeer is how this director and one peer of connection_sync stand. Lags are -1 while they are not known.
type SyncPeer struct {
	Address       string            `json:"address"`
	Alive         bool              `json:"alive"`
	Why           string            `json:"why,omitempty"`            // it is not
	Signed        bool              `json:"signed"`                   // datagrams are authenticated
	Total         uint32            `json:"connections"`              // that there are to tell it
	Has           uint32            `json:"connections_acknowledged"` // of those
	LagNanos      int64             `json:"lag_ns"`                   // what is older is with the peer
	Told          uint64            `json:"connections_told"`
	Sent          uint64            `json:"datagrams_sent"`
	Resent        uint64            `json:"datagrams_resent"`
	TheyRefused   uint64            `json:"connections_refused_there"`
	CaughtUp      bool              `json:"caught_up"`          // what it has is here
	TheirTotal    uint32            `json:"connections_theirs"` // that it has to tell
	Taken         uint64            `json:"connections_taken"`
	TheirLagNanos int64             `json:"lag_theirs_ns"`
	Heard         uint64            `json:"datagrams_received"`
	Bulks         uint64            `json:"bulks"`   // times that it asked for everything
	Resyncs       uint64            `json:"resyncs"` // times that everything was asked for again, because of a gap
	Refused       map[string]uint64 `json:"refused,omitempty"`
}

// Coverage is the part of what there is to tell that the peer has acknowledged, in percent, rounded down.
func (p SyncPeer) Coverage() float64 {
	if p.Total == 0 {
		return 100
	}
	return float64(uint64(min(p.Has, p.Total))*10000/uint64(p.Total)) / 100
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
	mPeerAlive   = newMetric("sync_peer_alive", "1 if the peer of connection_sync is heard.", gauge, "peer")
	mPeerCaught  = newMetric("sync_peer_caught_up", "1 if what the peer has is here.", gauge, "peer")
	mPeerTotal   = newMetric("sync_peer_connections", "Connections that there are to tell the peer.", gauge, "peer")
	mPeerHas     = newMetric("sync_peer_connections_acknowledged", "Connections of those that the peer has.", gauge, "peer")
	mPeerLag     = newMetric("sync_peer_lag_seconds", "What is older than this is with the peer; absent while it is not known.", gauge, "peer")
	mPeerResent  = newMetric("sync_peer_datagrams_resent_total", "Datagrams sent to the peer again.", counter, "peer")
	mPeerRefused = newMetric("sync_peer_refused_total", "Datagrams and entries of the peer that were refused, by reason.", counter, "peer", "reason")
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
	for _, p := range s.Peers {
		putPeer(put, p)
	}
}

func putPeer(put putFunc, p SyncPeer) {
	one := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	put(mPeerAlive, one(p.Alive), p.Address)
	put(mPeerCaught, one(p.CaughtUp), p.Address)
	put(mPeerTotal, float64(p.Total), p.Address)
	put(mPeerHas, float64(p.Has), p.Address)
	if p.LagNanos >= 0 {
		put(mPeerLag, float64(p.LagNanos)/1e9, p.Address)
	}
	put(mPeerResent, float64(p.Resent), p.Address)
	for why, n := range p.Refused {
		put(mPeerRefused, float64(n), p.Address, why)
	}
}
