package connsync

// Reason is why a datagram, or an entry of one, was not taken. It names a counter.
type Reason string

// Of a whole datagram.
const (
	ShortDatagram Reason = "short-datagram" // not even a header
	WrongSize     Reason = "wrong-size"     // the header says another length
	OtherID       Reason = "other-syncid"
	Empty         Reason = "no-connections"
)

// Of a whole datagram of a Stream.
const (
	OtherProtocol Reason = "other-protocol" // of another version, or no datagram of vipd's
	BadMAC        Reason = "mac"            // not signed with the key
	OwnDatagram   Reason = "own-datagram"   // sent by this director itself
	OtherSession  Reason = "other-session"  // of another life of one of the two
	Replayed      Reason = "replayed"       // a state that is not later than the one before
	BeyondWindow  Reason = "beyond-window"  // further ahead than a sender may go
	Foreign       Reason = "foreign"        // from an address that is no peer's
)

// Of an entry, and of what follows it in the datagram: where it ends is not sure.
const (
	ShortEntry     Reason = "short-entry"     // shorter than its kind
	CutEntry       Reason = "cut-entry"       // longer than what is left
	EntryVersion   Reason = "entry-version"   // not 0
	EntryType      Reason = "entry-type"      // neither IPv4 nor IPv6
	CutOption      Reason = "cut-option"      // longer than what is left of the entry, or empty
	OptionSize     Reason = "option-size"     // not the size of its kind
	RepeatedOption Reason = "repeated-option" // one that may be there once
)

// Of one entry alone.
const (
	UnknownOption Reason = "unknown-option" // one that must be understood
	BadProtocol   Reason = "protocol"
	BadState      Reason = "state"
	BadFlags      Reason = "flags"
	EngineData    Reason = "engine-data" // of no engine, or not of a template
)

// Of an entry of a Stream.
const LocalEnd Reason = "local-end" // no local end of a connection of FULLNAT can be that

// Of what a receiver cannot keep.
const (
	UnknownServer  Reason = "unknown-server"  // and too many of those wait already
	UnknownEngine  Reason = "unknown-engine"  // a persistence engine that is not here
	NoClient       Reason = "no-client-port"  // FTP's data connection whose client is not known
	AddressRewrite Reason = "source-rewrite"  // its real server has clients rewritten (FULLNAT), which the protocol cannot say
	OtherLocal     Reason = "other-local"     // its local address is none of its real server's here, or its port none that is given
	LocalTaken     Reason = "local-taken"     // another connection has its local end, and was used later or began here
	Stale          Reason = "stale"           // the end of a connection that has been replaced
	TableFull      Reason = "table-full"      // or nearly
	OtherFamily    Reason = "address-family"  // real server and client are of different families
	NotTaken       Reason = "table-busy"      // a lock was not had in time
	Unroutable     Reason = "no-host-address" // no client can have this address
)
