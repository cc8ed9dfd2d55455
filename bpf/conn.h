/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * conn.h: which connection. The table's words, and the road of a packet that finds its connection; open.h makes new ones
 * and sweep.h ends them.
 *
 * Every change of life is a compare-and-swap that holds the generation, and whoever wins it adjusts the counts: they are
 * exact whatever the CPUs do. expires and packets are plain stores.
 */
#ifndef VIPD_CONN_H
#define VIPD_CONN_H

#include "config.h"
#include "service.h"
#include "states.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct region);
} regions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct region_head);
} region_heads SEC(".maps");

/* An address that the verifier knows. Looked up, it would cost ten instructions and a branch, in most packets. */
struct tunables tuning SECTION(".data.tuning");

#define LIFE_GENERATION 0xffffffff00000000ull

static __always_inline __u32 life_phase(__u64 life)
{
	return life & 0xff;
}

static __always_inline __u32 life_state(__u64 life)
{
	return life >> 8 & (STATES - 1);
}

static __always_inline __u32 life_flags(__u64 life)
{
	return life >> 16 & 0xffff;
}

static __always_inline __u64 life_make(__u64 generation, __u32 flags, __u32 state)
{
	return (generation & LIFE_GENERATION) | (__u64)flags << 16 | state << 8 | PHASE_LIVE;
}

static __always_inline __u64 conn_ends(struct conn *c)
{
	return load64(&c->addr[0]);
}

static __always_inline __u64 word(const __be32 *addr, __u32 at)
{
	return load64(addr + 2 * at);
}

static __always_inline int same6(const __be32 *a, const __be32 *b)
{
	return word(a, 0) == word(b, 0) && word(a, 1) == word(b, 1);
}

static __always_inline __u64 conn_ports(struct conn *c)
{
	return load64(&c->cport);
}

/* Two multiplications; the upper half chooses the region, the six bits below it the line. */
static __always_inline __u64 hash_mix(__u64 h, __u64 value)
{
	h = (h ^ value) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 32;
}

/*
 * Client, client port, protocol and kind: what a packet and its reply both know. The last multiplication is by a secret too:
 * multiply-shift, which is universal for the client addresses of one port.
 */
static __always_inline __u64 conn_hash(__be32 client, __u64 ports)
{
	__u64 h = hash_mix(hash_seed, ports & 0xffffffff0000ffffull);

	return (h ^ client) * hash_factor;
}

static __always_inline __u64 conn_hash6(const __be32 *client, __u64 ports)
{
	__u64 h = hash_mix(hash_seed, ports & 0xffffffff0000ffffull);

	return hash_mix(hash_mix(h, word(client, 0)), word(client, 1)) * hash_factor;
}

/* Of a template: all of the key. */
static __always_inline __u64 key_hash(const __be32 *addr, __u64 ports)
{
	__u64 h = hash_seed;

	if (!(ports >> 40 & (KIND_TEMPLATE | KIND_IPV6)))
		return conn_hash(addr[0], ports);
	if (!(ports >> 40 & KIND_TEMPLATE))
		return conn_hash6(addr, ports);
	h = hash_mix(h, word(addr, 0));
	if (ports >> 40 & KIND_IPV6)
		h = hash_mix(hash_mix(hash_mix(h, word(addr, 1)), word(addr, 2)), word(addr, 3));
	return hash_mix(h, ports) * 0xd6e8feb86659fd93ull;
}

static __always_inline __u64 line_hash(struct conn *c)
{
	return key_hash(c->addr, conn_ports(c));
}

static __always_inline int line_is6(struct conn *c, const __be32 *addr, __u64 ports)
{
	return conn_ports(c) == ports && word(c->addr, 1) == word(addr, 1) && word(c->addr, 0) == word(addr, 0) &&
	       word(c->addr, 3) == word(addr, 3) && word(c->addr, 2) == word(addr, 2);
}

/* Of an IPv4 line the first two addresses are the key. */
static __always_inline int line_is(struct conn *c, const __be32 *addr, __u64 ports)
{
	if (ports >> 40 & KIND_IPV6)
		return line_is6(c, addr, ports);
	return conn_ports(c) == ports && conn_ends(c) == word(addr, 0);
}

static __always_inline __u32 hash_region(__u64 hash)
{
	return hash >> 32 & region_mask;
}

static __always_inline __u32 hash_line(__u64 hash)
{
	return hash >> 26 & (REGION_LINES - 1);
}

static __always_inline struct tunables *settings(void)
{
	return &tuning;
}

/* jiffies64 costs a quarter of a nanosecond where ktime costs 33. */
static __always_inline __u32 tick_now(struct tunables *t)
{
	return (bpf_jiffies64() >> tick_shift) + t->offset;
}

static __always_inline int due(__u32 tick, __u32 expires)
{
	return (__s32)(tick - expires) >= 0;
}

static __always_inline int controls(struct conn *c)
{
	return c->kind & KIND_TEMPLATE && READ_ONCE(c->control);
}

/* Has the line a time of its own? A call's template has not, whose key stands there. */
static __always_inline int template_timed(struct conn *c)
{
	return (c->kind & (KIND_TEMPLATE | KIND_SIP)) == KIND_TEMPLATE;
}

/* A template whose time has come while it controls connections lives on by steps of 60 s, and has no more from then on, as in IPVS. */
static __always_inline void template_late(struct conn *c, struct tunables *t)
{
	if (template_timed(c))
		c->packets = t->extend;
}

static __always_inline __u32 controlled_by(struct conn *c, __u64 life)
{
	return c->kind & (KIND_TEMPLATE | KIND_RETURN) || life_flags(life) & CONN_LOCAL ? 0 : READ_ONCE(c->control);
}

static __always_inline struct conn *conn_at(__u32 line)
{
	__u32 index = line / REGION_LINES;
	struct region *r = bpf_map_lookup_elem(&regions, &index);

	return r ? &r->line[line & (REGION_LINES - 1)] : NULL;
}

/* The connection that a line of KIND_RETURN leads to; NULL: it has ended. */
static __always_inline struct conn *return_conn(struct conn *back, __u64 *life)
{
	struct conn *c = conn_at(READ_ONCE(back->control));

	if (!c)
		return NULL;
	*life = READ_ONCE(c->life);
	return life_phase(*life) == PHASE_LIVE && *life >> 32 == READ_ONCE(back->packets) ? c : NULL;
}

/*
 * Does something else need this line, whatever its own time? A template that controls connections, a way back. Global: verified
 * once, and not for each line of a region.
 */
__noinline int needed(struct conn *c)
{
	__u64 life;

	if (!c)
		return 0;
	return c->kind & KIND_RETURN ? return_conn(c, &life) != NULL : controls(c);
}

/* May this line be taken? */
static __always_inline int conn_expired(struct conn *c, __u32 tick)
{
	return due(tick, READ_ONCE(c->expires)) && !needed(c);
}

/* ---- counts ------------------------------------------------------------------------------------------------------ */

static __always_inline void conn_count(__u32 real, __u32 flags, __s32 by)
{
	struct real_count *n = real_count_at(real);

	if (!n)
		return;
	if (flags & CONN_TEMPLATE)
		__sync_fetch_and_add(&n->persist, by);
	else if (flags & CONN_INACTIVE)
		__sync_fetch_and_add(&n->inactive, by);
	else
		__sync_fetch_and_add(&n->active, by);
}

static __always_inline void template_release(__u32 parent)
{
	struct conn *t = parent ? conn_at(parent - 1) : NULL;

	if (t)
		__sync_fetch_and_add(&t->control, -1);
}

/* The template knows from now on that one of its connections was completed. It is held, so its line is still its own. */
static __always_inline void template_assure(__u32 parent)
{
	struct conn *t = parent ? conn_at(parent - 1) : NULL;

	if (t && t->kind & KIND_TEMPLATE && !(life_flags(READ_ONCE(t->life)) & CONN_ASSURED))
		__sync_fetch_and_or(&t->life, (__u64)CONN_ASSURED << 16);
}

static __always_inline __u32 flags_in(__u8 proto, __u32 flags, __u32 state)
{
	if (state_active(proto, state))
		return flags & ~CONN_INACTIVE;
	return flags | CONN_INACTIVE;
}

/* ---- the road of every packet but the first ------------------------------------------------------------------------ */

/*
 * The line of this connection, and its life as it was read; NULL if there is none, or it has expired, or the line changed
 * hands meanwhile. Loads stay in order on x86; another architecture would need an acquire here.
 *
 * At most 64 lines, without a lock: no line of a chain becomes PHASE_EMPTY while a connection behind it lives.
 */
static __always_inline struct conn *conn_find(struct packet *p, __u64 *life)
{
	__u32 index = hash_region(p->hash), first = hash_line(p->hash);
	struct region *r = bpf_map_lookup_elem(&regions, &index);
	struct conn *c;

	p->crowded = 0;
	if (!r)
		return NULL;
	/* Mostly it is the first; a loop's round would cost more. */
	c = &r->line[first];
	*life = READ_ONCE(c->life);
	if (likely(conn_ends(c) == p->ends && conn_ports(c) == p->ports && life_phase(*life) == PHASE_LIVE))
		return unlikely(due(p->tick, READ_ONCE(c->expires))) ? NULL : c;
	if (likely(life_phase(*life) == PHASE_EMPTY))
		return NULL;
	for (__u32 i = 1; i < REGION_LINES; i++) {
		c = &r->line[(first + i) & (REGION_LINES - 1)];
		*life = READ_ONCE(c->life);
		if (conn_ends(c) != p->ends || conn_ports(c) != p->ports || life_phase(*life) != PHASE_LIVE) {
			if (unlikely(life_phase(*life) == PHASE_EMPTY))
				return NULL;
			continue;
		}
		return unlikely(due(p->tick, READ_ONCE(c->expires))) ? NULL : c;
	}
	p->crowded = 1;
	return NULL;
}

/* ---- the same on roads where a call more is no matter ------------------------------------------------------------------ */

/* The live line that has this key, plus 1; 0: there is none. Global: its rounds are verified once. */
__noinline __u32 line_find(struct packet *p)
{
	struct region *r;
	__u32 index, first;

	if (!p)
		return 0;
	p->crowded = 0;
	index = hash_region(p->hash);
	first = hash_line(p->hash);
	r = bpf_map_lookup_elem(&regions, &index);
	if (!r)
		return 0;
	for (__u32 i = 0; i < REGION_LINES; i++) {
		struct conn *c = &r->line[(first + i) & (REGION_LINES - 1)];
		__u64 seen = READ_ONCE(c->life);

		if (life_phase(seen) == PHASE_EMPTY)
			return 0;
		if (life_phase(seen) == PHASE_LIVE && line_is(c, p->addr, p->ports))
			return index * REGION_LINES + ((first + i) & (REGION_LINES - 1)) + 1;
	}
	p->crowded = 1;
	return 0;
}

/* conn_find for either family, by p->addr. */
static __always_inline struct conn *conn_look(struct packet *p, __u64 *life)
{
	__u32 line = line_find(p);
	struct conn *c = line ? conn_at(line - 1) : NULL;

	if (!c)
		return NULL;
	*life = READ_ONCE(c->life);
	if (life_phase(*life) != PHASE_LIVE || !line_is(c, p->addr, p->ports) || due(p->tick, READ_ONCE(c->expires)))
		return NULL; /* it has changed hands just now */
	return c;
}

/*
 * Does a SYN or INIT whose client, ports and service have this entry get a new one? A closed one where conn_reuse_mode allows
 * it, FIN_WAIT too by its bit 2 where only the client is heard; of these one that a template holds stays. And with
 * expire_nodest_conn one of a server of weight 0, which then goes where its template says.
 * ipvs: also where the real server was removed; IPVS drops that SYN until the entry has expired.
 */
static __always_inline int conn_renewed(struct conn *c, struct real *r, __u8 proto, __u64 life, struct tunables *t)
{
	__u32 state = life_state(life);

	if (t->expire_nodest_conn && !r->weight)
		return 1;
	if (controlled_by(c, life) || !t->conn_reuse_mode)
		return 0;
	return state_reusable(proto, state) ||
	       (t->conn_reuse_mode & 2 && proto == PROTO_TCP && state == TCP_FIN_WAIT && life_flags(life) & CONN_NOOUTPUT);
}

/* The table for a client's packet. A bit of life as it stands: this is on the road of every packet. */
static __always_inline enum direction direction_in(__u64 life)
{
	return life >> 23 & 1; /* CONN_NOOUTPUT << 16 */
}

/*
 * Moves the connection by the packet's event and winds its timer. Says whether it was still the same connection. A packet
 * that loses the swap to another tries again from the state that the other left, so no event is lost. output: it is a reply.
 * Global: its tries are verified once, and not with each of what follows.
 */
__noinline int conn_move(struct conn *c, struct packet *p, __u64 life, int output)
{
	struct tunables *t = settings();
	__u32 state = life_state(life);
	__u8 proto;

	if (!c || !p)
		return 0;
	proto = packet_proto(p);
	for (int i = 0; i < 4 && proto != PROTO_UDP; i++) {
		__u32 next = state_next(t, proto, p->event, output ? OUTPUT : direction_in(life), state), flags, parent;
		__u64 was;

		if (likely(next == state) && !(output && life_flags(life) & CONN_NOOUTPUT))
			break;
		flags = flags_in(proto, life_flags(life), next);
		if (output)
			flags &= ~CONN_NOOUTPUT;
		parent = READ_ONCE(c->control); /* before the swap, which says that the line was still its own */
		was = __sync_val_compare_and_swap(&c->life, life, life_make(life, flags, next));
		if (was == life) {
			if ((flags ^ life_flags(life)) & CONN_INACTIVE) {
				conn_count(p->real, flags, 1);
				conn_count(p->real, life_flags(life), -1);
			}
			if (state_established(proto, next))
				template_assure(parent);
			state = next;
			break;
		}
		if ((was ^ life) & LIFE_GENERATION || life_phase(was) != PHASE_LIVE)
			return 0;
		life = was;
		state = life_state(life);
	}
	/* Between the look at life and here the line may change hands only if it was just expiring: the next packet mends it. */
	WRITE_ONCE(c->expires, p->tick + timeout_of(t, proto, state));
	if (!output)
		c->packets++;
	return 1;
}

#endif
