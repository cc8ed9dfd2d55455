/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * shared.h: the structs and numbers that both sides know. bpf2go makes Go of them; internal/plane/xdp writes the maps
 * before a packet comes and reads them after. A change here that alters a size, an offset or a meaning in a pinned map
 * raises LAYOUT.
 *
 * Who writes what: user space writes services, pools, members, reals, hops, links, filter and tunables. The connection
 * table and all counts are written by BPF programs alone (never by user space, which may be killed at any instruction);
 * user space maps them for reading.
 */
#ifndef VIPD_SHARED_H
#define VIPD_SHARED_H

enum number {
	LAYOUT       = 1,
	REGION_LINES = 64,
	MAX_POOL     = 1024,     /* members of one pool */
	SH_SLOTS     = 256,      /* slots of the source-hash table */
	FILTER_WORDS = 1024,
	STATES       = 16,
	EVENTS       = 8,        /* none SYN FIN ACK RST; a power of two, so that an index can be masked */
	DEAD_VPORT   = 65535,    /* of a template that can no longer match */
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
	CONN_NOOUTPUT = 0x0080, /* replies do not pass us (DR, TUN): the INPUT_ONLY state table */
	CONN_INACTIVE = 0x0100, /* counted as inactive */
	CONN_TEMPLATE = 0x1000,
	CONN_ASSURED  = 0x2000, /* template: one of its connections was completed */
};

struct conn {
	__u64 life;
	__be32 client, virt;     /* key. A template's client is masked */
	__be16 cport, vport;     /* key. A template has cport 0; a dead one vport 65535 */
	__u8 proto;              /* key */
	__u8 template;           /* key: 1 in a template, which a packet from port 0 must not find */
	__u8 pad[2];             /* key: 0 */
	__u32 expires;           /* tick at which it may go, compared by signed difference */
	__u32 real;              /* index into reals */
	__u32 service;           /* index into services */
	__u32 packets;           /* from the client; not exact under concurrency */
	__u32 parent;            /* line number + 1 of the template that controls it, or 0 */
	__u32 refs;              /* template: connections that it controls */
	__u32 mark;
	__u32 spare[3];
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
};

enum service_flag {
	SERVICE_SH_FALLBACK = 0x08, /* scheduler flag 1 */
	SERVICE_SH_PORT     = 0x10, /* scheduler flag 2 */
};

struct service_key {
	__be32 addr;
	__be16 port;
	__u8 proto;
	__u8 pad;
};

/* A service has two pool slots, 2 * index and 2 * index + 1. User space fills the one that is not in use, then
 * writes service.pool: packets see the old pool or the new one, never a mixture. */
struct service {
	__u32 scheduler;         /* enum scheduler */
	__u32 flags;
	__u32 pool;
	__u32 persist;           /* ticks; 0: not persistent */
	__be32 netmask;          /* of the client, for templates */
	__u32 pad;
};

struct pool {
	__u32 first, count;      /* in members, newest real server first, as IPVS walks them */
	__u32 table;             /* in sh_tables */
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

enum real_flag {
	REAL_GONE       = 1,     /* removed from its service; connections may still refer to it */
	REAL_OVERLOADED = 2,
};

struct real {
	__be32 addr[4];          /* IPv4 in the first word */
	__be16 port;
	__u8 forward;            /* lb.Forward */
	__u8 flags;
	__u32 hop;               /* index into hops; 0: none */
	__s32 weight;
	__u32 service;
	__u32 spare[8];
};

struct real_count {           /* atomic; beside real so that state changes do not touch its line */
	__u32 active, inactive, persist, pad;
};

struct hop {                  /* a neighbour that frames can be sent to */
	__u32 ifindex;           /* 0: not resolved */
	__u8 dst[6], src[6];
};

struct link {                 /* by ifindex: an interface that the program is attached to */
	__u8 mac[6];
	__u8 attached;
	__u8 pad;
} __attribute__((aligned(8)));

/* 65,536 bits: may this address be a service's? A clear bit is a sure no. With a = the address as a little-endian load of
 * its four bytes gives it, the bit's number is n = (a ^ a >> 16) & 65535: bits[n >> 6] >> (n & 63) & 1. */
struct filter {
	__u64 bits[FILTER_WORDS];
};

struct counters {             /* per CPU; lb.Counters */
	__u64 conns, inpkts, outpkts, inbytes, outbytes;
};

/* ---- time -------------------------------------------------------------------------------------------------------
 * A tick is 2^TICK_SHIFT jiffies, about an eighth of a second, so that 31 days fit a signed 32-bit difference. */
struct tunables {
	__u32 tcp[STATES];       /* ticks by state */
	__u32 udp;
	__u32 offset;            /* ticks added to the clock: tests travel in time */
	__u32 extend;            /* ticks that an expired template lives on while it controls connections: 60 s */
	__u32 pad;
};

struct meta {                 /* what a later process must know to adopt the pins */
	__u32 layout;
	__u32 regions;           /* power of two */
	__u32 hz, tick_shift;
	__u64 seed;              /* of the connection hash */
};

/* ---- what user space asks by BPF_PROG_TEST_RUN: the frame is one of these, the answer comes back in it --------------- */
struct order {                /* sweep, forget */
	__u32 first, count;      /* regions; count 0: all from first on */
	__u32 real;              /* forget: connections and templates of this one; NO_REAL: all */
	__u32 done;              /* answer: lines freed */
};

struct instant {              /* clock_probe, answer: the same moment on both clocks */
	__u64 jiffies, ktime;    /* jiffies64; ns of CLOCK_MONOTONIC */
	__u32 tick, pad;         /* as connections see it, tunables.offset included */
};

/* ---- why: every packet is counted under exactly one of these ---------------------------------------------------- */
enum reason {
	/* handed to the host, untouched */
	PASS_NOT_IPV4 = 0,       /* ARP, IPv6, VLAN, … */
	PASS_MALFORMED,          /* shorter than its headers say, or from no host's address: the host decides */
	PASS_NOT_OURS,           /* sent to another MAC, to all or to a group */
	PASS_NOT_SERVICE,        /* no service has this address, protocol and port */
	PASS_ICMP,
	PASS_FRAGMENT,           /* a following fragment to an address of a service */
	PASS_NO_CONNECTION,      /* TCP without SYN and without a connection: the host resets it */
	/* forwarded to a real server */
	FORWARD_HIT,
	FORWARD_NEW,
	/* answered */
	REPLY_NO_SERVER,         /* ICMP port unreachable, as IPVS answers */
	/* dropped */
	DROP_REAL_GONE,          /* the connection's real server was removed */
	DROP_NO_NEIGHBOUR,       /* its MAC address is not known (yet) */
	DROP_TTL,
	DROP_FRAGMENT,           /* a first fragment for a service */
	DROP_TABLE_FULL,
	DROP_BUSY,               /* a lock was not had in time */
	DROP_NO_ROOM,            /* the frame has no room for an answer */
	FORWARD_STATELESS,       /* sh, and the table had no room: no connection, but the right real server */
	REASONS,
};

#endif
