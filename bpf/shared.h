/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * shared.h: the structs and numbers that both sides know. bpf2go makes Go of them; internal/plane/xdp writes the maps
 * before a packet comes and reads them after. A change here that alters a size, an offset or a meaning in a pinned map
 * raises LAYOUT; of a meaning LAYOUT_SINCE too. Another layout is taken over by the names of members (internal/plane/xdp/migrate.go).
 *
 * Who writes what: user space writes services, pools, members, reals, hops, links, filter and tunables. The connection
 * table and all counts are written by BPF programs alone (never by user space, which may be killed at any instruction);
 * user space maps them for reading.
 */
#ifndef VIPD_SHARED_H
#define VIPD_SHARED_H

enum number {
	LAYOUT       = 5,
	LAYOUT_SINCE = 4,        /* the oldest layout whose members mean what those of the same name mean now, wherever they stand */
	REGION_LINES = 64,
	MAX_POOL     = 1024,     /* members of one pool */
	SH_SLOTS     = 256,      /* slots of the tables of sh and dh */
	MH_SLOTS     = 4093,     /* slots of a Maglev table: IPVS's fifth prime */
	MH_LINE      = 64,       /* slots in one entry of mh_lines */
	MH_LINES     = 64,       /* entries that a table takes, in a row */
	MAX_CLASSES  = 256,      /* in each of the two halves of classes */
	CALL_LENGTH  = 255,      /* of a Call-ID */
	CACHE_SET    = 8,       /* real servers that lblcr remembers of one destination */
	FILTER_SIZE  = 65536,
	NEAR         = 512,
	HINTS        = 1024,
	STATES       = 16,
	EVENTS       = 16,       /* of enum event; a power of two, so that an index can be masked */
	DEAD_VPORT   = 65535,    /* of a template that can no longer match */
	LEARN_MOST   = 256,      /* connections in one order */
	/* FULLNAT's ports are below those that Linux gives to its own connections (ip_local_port_range begins with 32768): a health
	 * check from the same address is never mistaken for a connection. */
	LOCAL_FIRST_PORT = 1024,
	LOCAL_PORTS  = 31744,
	LOCAL_TRIES  = 16,
	NO_REAL      = 0xffffffff,
};

/* ---- the connection table ---------------------------------------------------------------------------------------
 * One connection is one cache line. REGION_LINES lines make a region, which is one page and one element of an mmapable
 * array. A connection's region and first line come from its hash; probing goes line by line and wraps inside the
 * region, so that one lock per region orders all writers of one connection. Readers take no lock: they compare the
 * key and then look at life once more.
 */
/* life = generation << 32 | flags << 16 | state << 8 | phase. A line changes hands only by a new generation. */
enum phase {
	PHASE_EMPTY = 0, /* never used since the chain was last cleaned: a search ends here */
	PHASE_DEAD  = 1, /* free, but a chain may go on behind it */
	PHASE_LIVE  = 2,
};

/* conn flags, in life's bits 16..31. The low ones have the positions of the IPVS sync protocol where it has them. */
enum conn_flag {
	CONN_SYNC     = 0x0020, /* learned from a peer */
	CONN_NOOUTPUT = 0x0080, /* replies do not pass us, or have not yet: the INPUT_ONLY state table */
	CONN_INACTIVE = 0x0100, /* counted as inactive */
	CONN_TEMPLATE = 0x1000,
	CONN_ASSURED  = 0x2000, /* template: one of its connections was completed */
	CONN_LOCAL    = 0x4000, /* FULLNAT of IPv6, learned: control says where the line for its replies is, and no template */
};

/* What a line is: part of its key. */
enum conn_kind {
	KIND_TEMPLATE = 1,       /* a packet from port 0 must not find it */
	KIND_IPV6     = 2,
	KIND_MARK     = 4,       /* template of a firewall-mark service: virt is the mark, protocol and ports are 0 */
	KIND_SIP      = 16,      /* template of one call: cport and packets are the hash of its Call-ID */
	KIND_RETURN   = 8,       /* where replies to a local address of FULLNAT are found: client is that address */
};

/*
 * Both families have the same line: of an IPv4 address the first word of four is used, and what is left serves FULLNAT.
 * A connection's region and first line come from the hash of its client, client port and protocol alone, so that a reply
 * from a real server, which does not name the virtual address, is looked for at the same place. A template's come from
 * all of its key.
 */
struct conn {
	__u64 life;
	__be16 cport, vport;     /* key. A template has cport 0; a dead one vport 65535 */
	__u8 proto;              /* key */
	__u8 kind;               /* key: enum conn_kind */
	__u8 pad[2];             /* key: 0 */
	__u32 expires;           /* tick at which it may go, compared by signed difference */
	__u32 real;              /* index into reals, which know the service. KIND_RETURN: see enum proxy */
	__u32 packets;           /* from the client; not exact under concurrency. Template: its time in ticks, 0: its service's; of KIND_SIP key */
	__u32 control;           /* connection: number + 1 of the template line that controls it (or see CONN_LOCAL), or 0. Template: how many it controls */
	__be32 addr[8];          /* key. IPv4: client, virt, and 6 words that are not key. IPv6: client[4], virt[4] */
};

/* Words of conn.addr that IPv4 leaves over. */
enum spare {
	SPARE_HOP      = 2,      /* where replies go: the client's neighbour's MAC and, in bits 48.., the interface; 0: not known */
	SPARE_HOP_TICK = 4,      /* when the routing table said so */
	SPARE_HOP_MTU  = 5,      /* of that way; 0: not known */
	SPARE_LOCAL    = 6,      /* FULLNAT: two words, the local address and, above, port and the low half of life's generation */
};

/*
 * A line of KIND_RETURN has the local end as client and the real server's as virt. The connection is what stands in line
 * `control` as long as that one's generation is `packets`. For the PROXY protocol `real` is the client's initial sequence
 * number and the state in life one of these.
 */
enum proxy {
	PROXY_NONE = 0,          /* nothing is put in front of what the client says */
	PROXY_DUE,               /* the real server has answered the SYN, and not yet acknowledged the header */
	PROXY_DONE,
};

struct region {
	struct conn line[REGION_LINES];
};

struct region_head {
	__u32 lock;
	__u32 live;              /* lines in PHASE_LIVE */
};

/* ---- services and real servers ---------------------------------------------------------------------------------- */
enum scheduler {
	SCHED_NONE = 0,
	SCHED_RR,
	SCHED_WRR,
	SCHED_SH,
	SCHED_LC,
	SCHED_WLC,
	SCHED_SED,
	SCHED_NQ,
	SCHED_DH,
	SCHED_MH,
	SCHED_LBLC,
	SCHED_LBLCR,
	SCHED_FO,
	SCHED_OVF,
	SCHED_TWOS,
};

enum service_flag {
	SERVICE_ONE_PACKET = 0x04,
	SERVICE_FALLBACK   = 0x08, /* scheduler flag 1, of sh and mh */
	SERVICE_PORT       = 0x10, /* scheduler flag 2, of sh and mh */
	SERVICE_SCHED_3    = 0x20,
	SERVICE_SIP        = 0x40, /* persistence engine */
	SERVICE_DIRECTORS  = 0x80, /* this host or another director is among its real servers */
	SERVICE_PROXY      = 0x100, /* for a later process: see REAL_PROXY */
	SERVICE_CARRY      = 0x200, /* sh and mh: what is in the middle of a TCP connection goes where another director has it */
};

enum service_kind {
	SERVICE_IPV4  = 0,       /* by protocol, address and port; port 0: every port */
	SERVICE_MARK  = 1,       /* addr is the mark, protocol and port are 0; of IPv4 packets */
	SERVICE_MARK6 = 2,       /* of IPv6 packets */
	SERVICE_IPV6  = 3,       /* in service_key6 alone */
};

struct service_key {
	__be32 addr;
	__be16 port;
	__u8 proto;
	__u8 kind;
};

struct service_key6 {
	__be32 addr[4];
	__be16 port;
	__u8 proto;
	__u8 kind;
};

/* A service has two pool slots, 2 * index and 2 * index + 1. User space fills the one that is not in use, then
 * writes service.pool: packets see the old pool or the new one, never a mixture. */
struct service {
	__u32 scheduler;         /* enum scheduler */
	__u32 flags;
	__u32 pool;
	__u32 persist;           /* ticks; 0: not persistent */
	__be32 netmask[4];       /* of the client, for templates. IPv4 in the first word */
	__u32 mark;
	__u16 kind;              /* enum service_kind */
	__be16 port;             /* 0: every port */
	__u32 serial;            /* another one each time that its scheduler begins anew */
	/* for a later process: FULLNAT's first local address and how many there are, and the largest segment; see real */
	__be32 local[4];
	__u16 locals, segment;
	struct service_key6 owner; /* whose entry it is, IPv4 in the first word: written behind service_index, and cleared before */
};

/* Which service a packet's key led to last: a hint, which holds if the service's owner is that key. Written by packets. */
struct hints {
	__u32 service[HINTS];
};

struct pool {
	__u32 first, count;      /* in members, newest real server first, as IPVS walks them */
	__u32 table;             /* sh, dh: in sh_tables. mh: its first entry in mh_lines */
	__s32 di, mw;            /* wrr: gcd of the positive weights; max weight - (di - 1) */
	/* written by packets, under lock */
	__u32 lock;
	__u32 pos;               /* rr, wrr: member picked last; count: none yet (list head) */
	__s32 cw;                /* wrr: current weight */
};

struct member {
	__u32 real;
	__s32 weight;
};

struct sh_table {
	__u32 real[SH_SLOTS];    /* NO_REAL: empty */
};

struct mh_line {
	__u32 real[MH_LINE];     /* NO_REAL: empty, in all slots or none, and behind MH_SLOTS */
};

struct call_key {             /* a template of KIND_SIP: hash of its line's key, and its packets */
	__u64 line;
	__u32 number;
	__u32 pad;
};

struct call {
	__u32 length;
	__u8 text[CALL_LENGTH + 1]; /* the Call-ID, and zeros */
};

struct cache_key {
	__u32 service;           /* its serial */
	__be32 addr[4];          /* destination. IPv4 in the first word */
};

struct cached {
	__u32 real;
	__u32 serial;            /* real.serial when it was remembered */
	__u32 stamp;             /* the greater, the later it was; 0: this place is free */
};

struct cache {                /* lblc, lblcr: what is remembered of a destination */
	__u32 used, changed;     /* ticks: of the last look, of the set's last change */
	__u32 count;             /* in set; lblc has one, in the first place */
	__u32 stamp;             /* the last that was given */
	struct cached set[CACHE_SET];
};

enum forward {               /* lb.Forward, and ip_vs.h's */
	FORWARD_MASQ   = 0,
	FORWARD_LOCAL  = 1,
	FORWARD_TUNNEL = 2,
	FORWARD_ROUTE  = 3,
};

enum real_flag {
	REAL_GONE     = 1,       /* removed from its service; connections may still refer to it */
	REAL_IPV6     = 2,
	REAL_LOWER    = 4,       /* for a later process: lower was given, and not made of upper */
	REAL_LOCAL    = 8,       /* its address is this host's: no next hop, the host takes its packets */
	REAL_PEER     = 16,      /* another director of these services */
	REAL_PROXY    = 32,      /* FULLNAT of TCP: it is told who the client is, by the PROXY protocol's version 2 */
};

enum tunnel {
	TUNNEL_IPIP = 0,         /* lb.TunnelType */
	TUNNEL_GUE  = 1,
	TUNNEL_GRE  = 2,
};

enum tunnel_flag {
	TUNNEL_CSUM    = 1,
	TUNNEL_REMCSUM = 2,
};

/* The fast road's way to a real server: nothing is asked there but whether the packet is at most real.room bytes long. */
enum plain {
	PLAIN_NOT = 0,           /* another road's matter: it is gone or local, has no next hop, wants tags, FULLNAT, … */
	PLAIN_ROUTE,
	PLAIN_MASQ,
	/*
	 * Tunnels, with IPv4 outside: each a number, so that what is put in front is a constant behind one branch. 3 to 7 were those of
	 * an earlier version, which did not fill in all that they need now.
	 */
	PLAIN_IPIP = 8,
	PLAIN_GUE,
	PLAIN_GUE_CHECKED,
	PLAIN_GRE,
	PLAIN_GRE_CHECKED,
	PLAIN_IPIP_OVER6,        /* the same in the same order, with IPv6 outside */
	PLAIN_GUE_OVER6,
	PLAIN_GUE_CHECKED_OVER6,
	PLAIN_GRE_OVER6,
	PLAIN_GRE_CHECKED_OVER6,
};

/* Written by user space alone. The first 64 bytes are all that a packet of direct routing reads. */
struct real {
	__be32 addr[4];          /* IPv4 in the first word */
	__be16 port;             /* 0: the packet's own */
	__u8 forward;            /* lb.Forward */
	__u8 flags;
	__u32 ifindex;           /* next hop: the interface that frames leave by; 0: not resolved */
	__u8 dst[6], src[6];     /* and their MAC addresses */
	__u16 mtu;               /* of the way there; 0: not known, no limit */
	__u8 tunnel;             /* enum tunnel */
	__u8 locals;             /* FULLNAT: of so many addresses, from source on, one is the sender of what goes there; 0: no FULLNAT */
	__s32 weight;
	__u32 service;           /* index into services */
	__be16 tci[2];           /* tags that frames leave with (enum vlan_tag), outer first; 0: none */
	__be16 tunnel_port;      /* GUE */
	__u16 tunnel_flags;
	__u32 room;              /* the largest packet that the fast road may send; SetPlain in fill.go fills in these three */
	__u8 plain;              /* enum plain */
	__u8 pad;
	__u16 ends;              /* sum of the IPv6 addresses outside, folded */
	/* the second line */
	__be32 source[4];        /* outer source address of tunnels; first local address of FULLNAT */
	struct service_key6 owner; /* for a later process: its service, which service_index may no longer have */
	__u32 serial;            /* another one for each that had this index */
	__s32 last_weight;       /* for a later process: the last that was not 0, which mh counts with */
	__be16 given;            /* for a later process: the port that was asked for, of which port may be 0 */
	__u16 mss;               /* TCP's largest segment is made this at most; 0: as it is */
	__u32 upper, lower;      /* connections; upper 0: no thresholds. User space fills lower in */
	__u32 spare[2];
};

/* Atomic, by packets alone; beside real so that state changes do not touch its line. */
struct real_count {
	__u32 active, inactive, persist;
	__u32 overloaded;        /* 1 from upper connections until there are fewer than lower */
};

struct link {                 /* by ifindex: an interface that frames come in or leave by */
	__u8 attached;           /* 1: frames to that address, without a tag, are ours where the program is */
	__u8 pad;                /* 0; up to here one word, which link_is compares */
	__u8 mac[6];
	__u32 lower;             /* of a VLAN's: the interface that its frames leave by in truth. 0: itself */
	__be16 tci[2];           /* and the tags that they have there, as real.tci */
} __attribute__((aligned(8)));

/* The first word of the links of low ifindex once more, where it costs no lookup. */
struct near {
	__u64 word[NEAR];
};

enum vlan_tag {               /* of a tag as we keep it: without priority, and 0 for none */
	VLAN_ID = 0x0fff,
	VLAN_AD = 0x1000,        /* the tag is 802.1ad's, 0x88a8; else 802.1Q's, 0x8100 */
};

/*
 * Which packets have a firewall mark, as netfilter would give it: the first class that a packet fits. Two halves, of which
 * tunables.classes says the one in use.
 */
struct class {
	__be32 to[4], to_mask[4];     /* destination network. IPv4 in the first word */
	__be32 from[4], from_mask[4]; /* of the client */
	__u32 mark;
	__u32 ifindex;           /* 0: any; NO_REAL: an interface that is not there */
	__u16 first, last;       /* destination ports, as numbers */
	__u8 proto;              /* 0: any */
	__u8 six;                /* of IPv6 */
	__be16 tci[2];           /* VLAN identifiers on that interface, outer first */
	__u8 pad[2];
	char name[16];           /* for a later process: the interface */
};

/* What more is ours at an interface that the program is attached to, than its own address without a tag: what a VLAN's
 * interface on it has, or a virtual one (macvlan). The value is that one's ifindex. */
struct station {
	__u32 ifindex;
	__be16 tci[2];           /* outer first; 0: none */
	__u8 mac[6];
	__u8 pad[2];
};

/* Another director that may choose this host as a real server: by its MAC address alone, and once more with each of its own
 * addresses, from which it sends as any client does. */
struct peer_key {
	__be32 addr[4];          /* IPv4 in the first word. 0: by its MAC address */
	__u8 mac[6];
	__u8 v6;                 /* of which family */
	__u8 pad;
};

struct fragment_key {         /* RFC 791 3.2, RFC 8200 4.5 */
	__be32 addr[8];          /* source, destination; IPv4 in the first word of each */
	__be32 id;
	__u8 proto;
	__u8 pad[3];
};

struct fragment {
	__u32 real;
	__u32 tick;              /* of the first fragment */
	__u64 hop;               /* of a reply: as SPARE_HOP; 0: it is a request */
	__be32 virt[4];          /* of a reply: where it comes from now. FULLNAT, of a request: its local address */
	__be32 client[4];        /* of a reply under FULLNAT: where it goes; else 0 */
};

/* IPv6's lines have no words to spare: how replies of NAT reach a client stands by its address. */
struct client_key {
	__be32 addr[4];
};

struct client {
	__u64 hop;               /* as SPARE_HOP */
	__u32 tick;              /* as SPARE_HOP_TICK */
	__u32 mtu;
};

/* May this address be a service's? 0 is a sure no. The index is an IPv4 address's last two bytes as a little-endian load gives
 * them; of an IPv6 address the exclusive or of all its eight pairs. A byte each and not a bit, which costs four instructions more. */
struct filter {
	__u8 may[FILTER_SIZE];
};

struct counters {             /* per CPU; lb.Counters */
	__u64 conns, inpkts, outpkts, inbytes, outbytes;
	__u64 hits;              /* packets in that are not in inpkts: those of the fast road, which are FORWARD_HIT's too */
};

/* ---- time -------------------------------------------------------------------------------------------------------
 * A tick is 2^TICK_SHIFT jiffies, about an eighth of a second, so that 31 days fit a signed 32-bit difference. */
enum road {                   /* programs that lb goes on to: index into roads */
	ROAD_IPV4,
	ROAD_IPV6,
	ROAD_BACK,               /* replies of NAT real servers, and ICMP errors */
	ROAD_BACK6,
	ROAD_FULL,               /* to real servers of FULLNAT */
	ROAD_FULL6,
	ROADS,
};

/* ---- connections that this host itself opens to a service (socket.h) ------------------------------------------------- */
enum socket_outcome {         /* each attempt is counted under one of these */
	SOCKET_SENT = 0,         /* to a real server */
	SOCKET_HERE,             /* the real server is this host: to the address that was asked for */
	SOCKET_REFUSED,          /* there is no real server */
	SOCKET_FAMILY,           /* the real server is of another family: to the address that was asked for */
	SOCKET_OUTCOMES,
};

struct socket_key {           /* a socket, and an address that it has spoken to. Cookie 0: all sockets, and what a template is kept by */
	__u64 cookie;
	__be32 addr[4];          /* IPv4 in the first word */
	__be16 port;
	__u8 proto;
	__u8 v6;
	__u32 pad;
};

struct socket_choice {        /* the real server that was chosen for a datagram, or for all of a persistent service */
	__u32 real, serial;
	__u32 tick;              /* when it was last used */
	__u32 pad;
};

struct socket_name {          /* what a socket asked for, by the real server's address that it got */
	__be32 addr[4];
	__be16 port;
	__be16 pad;
};

enum have {                   /* what packets need to look for */
	HAVE_NAT   = 1,          /* a real server whose replies pass us: source_filter */
	HAVE_MARKS = 2,
	HAVE_FTP   = 4,          /* a TCP service of port 21 */
	HAVE_PORT0 = 8,
	HAVE_PEERS = 16,         /* other directors of these services */
	HAVE_TUNNEL = 32,        /* a real server behind a tunnel: ICMP errors about it come to us */
	HAVE_STATIONS = 0x100,
	HAVE_SIP = 0x200,        /* a service with this persistence engine */
	HAVE_NAT6  = 64,         /* the same of real servers of IPv6 */
	HAVE_TUNNEL6 = 128,
	HAVE_FULL  = 0x400,      /* a real server of FULLNAT */
	HAVE_MSS   = 0x800,      /* a real server with real.mss */
};

struct tunables {
	__u32 tcp[STATES];       /* ticks by state */
	__u32 sctp[STATES];
	__u32 udp;
	__u32 offset;            /* ticks added to the clock: tests travel in time */
	__u32 extend;            /* ticks that an expired template lives on while it controls connections: 60 s */
	__u32 have;              /* enum have */
	/* the sysctls of /proc/sys/net/ipv4/vs, with their values there */
	__u32 conn_reuse_mode, expire_nodest_conn, expire_quiescent_template;
	__u32 sloppy_tcp, sloppy_sctp, secure_tcp;
	__u32 drop_entry, drop_packet;
	__u32 schedule_icmp, nat_icmp_send, pmtu_disc, cache_bypass;
	__u32 lblc_expiration, lblcr_expiration; /* ticks */
	__u32 am_droprate, amemthresh;
	/* ours */
	__u32 icmp_msgs_per_sec, syn_flood_rate;
	/* made of them */
	__u32 drop_rate;         /* drop_packet at work: of so many packets that would make a connection one is dropped; 0: none */
	__u32 classes;           /* first | count << 16 */
	__u32 flood_rate;        /* connections in a tick on one CPU, above which hash schedulers make no entries; 0: no limit */
	__u32 answer_rate;       /* ICMP answers in a tick on one CPU, saved up for a second; 0: no limit */
	/* told by whoever learns connections from another director */
	__u32 patience;          /* tick until which what is in the middle of an unknown connection is dropped, and not left to the host; 0: never */
};

struct meta {                 /* what a later process must know to adopt the pins */
	__u32 layout;
	__u32 regions;           /* power of two */
	__u32 hz, tick_shift;
	__u64 seed;              /* of the connection hash */
	/* of layout 5 on; who adds something adds it behind this */
	__u32 since;             /* LAYOUT_SINCE; 0: the layout itself */
	__u32 pad;
};

/* ---- what user space asks by BPF_PROG_TEST_RUN: the frame is one of these, the answer comes back in it --------------- */
struct order {                /* sweep, forget */
	__u32 first, count;      /* regions; count 0: all from first on */
	__u32 real;              /* forget: connections and templates of this one; NO_REAL: all */
	__u32 done;              /* answer: lines freed */
};

enum learn_outcome {
	LEARN_NEW = 0,           /* it has a line */
	LEARN_AGAIN,             /* it had one, which says now what was told */
	LEARN_STALE,             /* used here later than there; or inactive, and of another real server: it has been replaced */
	LEARN_NO_ROOM,
	LEARN_BUSY,              /* a lock was not had in time */
	LEARN_TAKEN,             /* FULLNAT: another connection has its local end, and was used later than this one */
};

struct learned {              /* learn: one connection that another director told of. The frame is up to LEARN_MOST of them */
	__be32 addr[8];          /* as in conn, with 0 in all words that are not key */
	__be16 cport, vport;
	__u8 proto, kind;
	__be16 local_port;       /* FULLNAT: of its local end; 0: of another method, or a template */
	__u32 real;
	__u16 flags;             /* as in conn.life */
	__u8 state;
	__u8 proxy;              /* FULLNAT: enum proxy, and the client's initial sequence number */
	__u32 initial;
	__u32 ticks;             /* until it expires; 0: as its state has it */
	__u32 packets;           /* as in conn */
	__u32 idle;              /* ticks since it was used there, and 1: what was used here later stays. 0: not said, it is what holds */
	__u32 whole;             /* ticks that it has after a use, of a template */
	__u16 local;             /* FULLNAT: which of its real server's local addresses it has */
	/* the answer */
	__u16 outcome;           /* enum learn_outcome */
	__u32 line, generation;  /* of LEARN_NEW and LEARN_AGAIN: where it is */
};

struct instant {              /* clock_probe, answer: the same moment on both clocks */
	__u64 jiffies, ktime;    /* jiffies64; ns of CLOCK_MONOTONIC */
	__u32 tick, pad;         /* as connections see it, tunables.offset included */
};

/* ---- why: every packet is counted under exactly one of these. The first word is the verdict, and the groups stand in this
 * order: settle compares with the first of the next group. */
enum reason {
	/* handed to the host, untouched */
	PASS_NOT_IP = 0,         /* ARP, LLDP, … */
	PASS_MALFORMED,          /* shorter than its headers say, or from no host's address: the host decides */
	PASS_NOT_OURS,           /* sent to another MAC, to all or to a group, or in a VLAN that is not ours */
	PASS_NOT_SERVICE,        /* no service has this address, protocol and port */
	PASS_ICMP,
	PASS_FRAGMENT,           /* a following fragment whose first one was not seen */
	PASS_NO_CONNECTION,      /* TCP without SYN and without a connection: the host resets it */
	PASS_LOCAL,              /* the real server is this host */
	PASS_NO_ROAD,            /* user space has not filled roads yet */
	PASS_FROM_DIRECTOR,      /* another director chose this host as a real server */
	PASS_FTP_DATA,           /* from port 20, without a connection: never scheduled */
	/* forwarded to a real server, or back */
	FORWARD_HIT,
	FORWARD_NEW,
	FORWARD_STATELESS,       /* sh, and the table had no room: no connection, but the right real server */
	FORWARD_FRAGMENT,        /* a following fragment, to where the first one went */
	FORWARD_REPLY,           /* of a NAT real server, to its client */
	FORWARD_ICMP,            /* an error that belongs to a connection, either way */
	/* answered */
	REPLY_NO_SERVER,         /* ICMP port unreachable, as IPVS answers */
	REPLY_TTL,               /* ICMP time exceeded */
	REPLY_TOO_BIG,           /* ICMP fragmentation needed */
	/* dropped */
	DROP_REAL_GONE,          /* the connection's real server was removed */
	DROP_NO_NEIGHBOUR,       /* a MAC address is not known (yet), or there is no route */
	DROP_TOO_BIG,            /* for the way to the real server; it may be fragmented, which is not done here */
	DROP_TTL,                /* it ends here, and nobody may be told: a following fragment */
	DROP_LOCAL_NAT,          /* NAT to this host itself with another port: replies would not pass here */
	DROP_ICMP,               /* an error that cannot go on; nobody is told of errors about errors (RFC 1122 3.2.2) */
	DROP_NO_CALL,            /* the service's persistence engine found no Call-ID */
	DROP_AWAITED,            /* in the middle of a connection of which another director may still tell: its client sends it again */
	DROP_NO_LOCAL,           /* FULLNAT: no local address and port is free, or a fragment's is not known */
	DROP_TABLE_FULL,
	DROP_DEFENCE,            /* drop_packet */
	DROP_ANSWER,             /* an answer above the rate of answers */
	DROP_BUSY,               /* a lock was not had in time */
	DROP_NO_ROOM,            /* the frame has no room for an answer or another header */
	REASONS,                 /* in the map one entry more, which user space writes: hits of real servers whose counters began anew */
};

#endif
