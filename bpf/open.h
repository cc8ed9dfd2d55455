/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * open.h: a new connection, and the persistence template above it. Everything here happens under the lock of one region;
 * the template's first, which is let go once the template is held (refs), then the connection's.
 */
#ifndef VIPD_OPEN_H
#define VIPD_OPEN_H

#include "find.h"
#include "lock.h"
#include "pace.h"
#include "peer.h"
#include "schedule.h"
#include "sip.h"

/* What a search under the lock found: the line that has the key, and the first that could take it. */
struct place {
	__u32 found, free;       /* REGION_LINES: none */
};

/* What is looked for, and when. */
struct key {
	__u64 ports, hash;
	__be32 addr[8];
	__u32 tick;
	__u32 number;            /* of KIND_SIP: what packets is to be */
	__u32 free;              /* region_search's: the first line that could take it; REGION_LINES: none */
};

/* Not on the stack, which has 512 bytes for a whole chain of calls. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct key);
} scratch SEC(".maps");

static __always_inline struct key *key_of(struct packet *p)
{
	__u32 zero = 0;
	struct key *k = bpf_map_lookup_elem(&scratch, &zero);

	if (!k)
		return NULL;
	k->ports = p->ports;
	k->hash = p->hash;
	k->tick = p->tick;
	__builtin_memcpy(k->addr, p->addr, sizeof(k->addr));
	return k;
}

/* Is it the line of this key, whose ports it has? Global: verified once and not for each line; nearly no other has them. */
__noinline int key_is(struct conn *c, struct key *k)
{
	return c && k && line_is(c, k->addr, k->ports) && (!(k->ports >> 40 & KIND_SIP) || c->packets == k->number);
}

/* A global function: 64 rounds are verified once and not at each call. */
__noinline __u32 region_search(struct region *r, struct key *k)
{
	__u32 first, tick, phase, i = 0;

	if (!r || !k)
		return REGION_LINES << 8 | REGION_LINES;
	first = hash_line(k->hash);
	tick = k->tick;
	k->free = REGION_LINES; /* in memory, of which the verifier knows nothing: else each line that it may be is a case of its own */
	do { /* clang would have a "for" fall back into its own beginning, which 6.1 refuses */
		__u32 at = (first + i) & (REGION_LINES - 1);
		struct conn *c = &r->line[at];

		phase = life_phase(c->life);
		if (phase == PHASE_LIVE && conn_ports(c) == k->ports && key_is(c, k))
			return at << 8 | k->free;
		if (k->free == REGION_LINES && (phase != PHASE_LIVE || conn_expired(c, tick)))
			k->free = at;
	} while (phase != PHASE_EMPTY && ++i < REGION_LINES);
	return REGION_LINES << 8 | k->free;
}

static __always_inline struct place region_place(struct region *r, struct key *k)
{
	__u32 at = region_search(r, k);

	return (struct place){ .found = at >> 8, .free = at & 0xff };
}

/*
 * A real server is overloaded from its upper threshold on, and until fewer than its lower one are left. Looks again when
 * another CPU counted meanwhile: whoever is last sees what all have left.
 */
static __always_inline void real_judge(__u32 real)
{
	struct real_count *n = real_count_at(real);
	struct real *r = real_at(real);

	if (!n || !r)
		return;
	if (likely(!r->upper) && likely(!n->overloaded))
		return;
	for (int i = 0; i < 4; i++) {
		__u32 total = READ_ONCE(n->active) + READ_ONCE(n->inactive);

		/* Exchanges, for their barrier: the count is read again behind it. */
		if (r->upper && total >= r->upper)
			__sync_lock_test_and_set(&n->overloaded, 1);
		else if (total < r->lower || !r->upper)
			__sync_lock_test_and_set(&n->overloaded, 0);
		if (READ_ONCE(n->active) + READ_ONCE(n->inactive) == total)
			break;
	}
}

/*
 * Ends a connection and settles what was counted for it. Its line stays in the chain as PHASE_DEAD. Under the region's lock;
 * packets may move its state meanwhile, hence the tries. Global: verified once, not for each of a region's 64 lines.
 */
__noinline int conn_retire(struct conn *c, struct region_head *head)
{
	if (!c || !head)
		return 0;
	for (int i = 0; i < 8; i++) {
		__u64 life = READ_ONCE(c->life);

		if (life_phase(life) != PHASE_LIVE)
			return 0;
		if (__sync_val_compare_and_swap(&c->life, life, (life & LIFE_GENERATION) | PHASE_DEAD) != life)
			continue;
		if (!(c->kind & KIND_RETURN)) {
			conn_count(c->real, life_flags(life), -1);
			real_judge(c->real);
		}
		template_release(controlled_by(c, life));
		if (c->kind & KIND_SIP)
			sip_forget(line_hash(c), c->packets);
		head->live--;
		return 1;
	}
	return 0;
}

/* Makes sure that the line is free, whatever it is now. */
static __always_inline int conn_clear(struct conn *c, struct region_head *head)
{
	return life_phase(READ_ONCE(c->life)) != PHASE_LIVE || conn_retire(c, head);
}

/* Ends the packet's connection, unless the line has changed hands since `life` was read. */
static __noinline void conn_quit(struct packet *p, struct conn *c, __u64 life)
{
	__u32 index = hash_region(p->hash);
	struct region_head *head = bpf_map_lookup_elem(&region_heads, &index);

	if (!head || !lock(&head->lock))
		return;
	if (!((READ_ONCE(c->life) ^ life) & LIFE_GENERATION))
		conn_retire(c, head);
	unlock(&head->lock);
}

/* Do replies of this real server pass us? */
static __always_inline int heard_back(__u32 real)
{
	struct real *r = real_at(real);

	return r && r->forward == FORWARD_MASQ;
}

static __always_inline void conn_add(__u32 real, __u32 flags, __s32 n)
{
	conn_count(real, flags, n);
	real_judge(real);
}

/*
 * The line's new owner, which is counted already, all of it written before life says so: a reader sees the old one, nobody, or the
 * new one.
 */
static __always_inline void conn_take(struct conn *c, struct region_head *head, struct packet *p, const __be32 *addr, __u64 ports,
				      __u32 flags, __u32 state, __u32 expires)
{
	__u64 generation = c->life + (1ull << 32);

	store64(&c->addr[0], word(addr, 0));
	store64(&c->addr[2], packet_v6(p) ? word(addr, 1) : p->hop);
	store64(&c->addr[4], packet_v6(p) ? word(addr, 2) : 0);
	store64(&c->addr[6], packet_v6(p) ? word(addr, 3) : 0);
	store64(&c->cport, ports);
	c->expires = expires;
	c->real = p->real;
	head->live++;
	WRITE_LAST(c->life, life_make(generation, flags, state));
}

static __always_inline int real_gone(__u32 real)
{
	struct real *r = real_at(real);

	return !r || r->flags & REAL_GONE;
}

/* May new connections of a template's clients not go where it says any more? */
static __always_inline int template_is_useless(struct conn *c)
{
	struct real *r = real_at(c->real);
	struct tunables *t = settings();

	return !r || r->flags & REAL_GONE || (t && t->expire_quiescent_template && !r->weight);
}

/* ---- templates ---------------------------------------------------------------------------------------------------- */

/*
 * The client's network, and no client port. Of a firewall mark's service the mark stands for protocol, address and port; FTP's
 * service, and that of every port, have templates without a port: their clients' other connections belong to them.
 */
static __always_inline struct key *template_key(struct packet *p, struct service *s)
{
	struct key *k = key_of(p);
	__u32 virt = packet_v6(p) ? 4 : 1;

	if (!k)
		return NULL;
	k->ports = (p->ports & 0xffffffff0000ull) | (__u64)KIND_TEMPLATE << 40;
	if (s->mark) {
		k->ports = (p->ports & (__u64)KIND_IPV6 << 40) | (__u64)(KIND_TEMPLATE | KIND_MARK) << 40;
		k->addr[virt] = be32(s->mark);
		for (__u32 i = 5; i < 8; i++)
			k->addr[i] = 0;
	} else if (packet_vport(p) != s->port || s->port == be16(PORT_FTP)) {
		k->ports &= ~0xffff0000ull;
	}
	for (int i = 0; i < 4; i++)
		if (!i || packet_v6(p))
			k->addr[i] &= s->netmask[i];
	if (s->flags & SERVICE_SIP) {
		__u64 call = sip_hash();

		k->ports |= (__u64)KIND_SIP << 40 | call >> 32;
		k->number = call;
	}
	k->hash = key_hash(k->addr, k->ports);
	return k;
}

static __always_inline enum reason template_hold_locked(struct packet *p, struct service *s, struct region *r,
							struct region_head *head, struct key *k, struct tunables *t)
{
	struct place at = region_place(r, k);
	enum reason why;
	struct conn *c;

	if (at.found < REGION_LINES) {
		c = &r->line[at.found & (REGION_LINES - 1)];
		if (template_is_useless(c)) {
			/* It stays until its time, with a port that it can no longer match by. */
			if (c->kind & KIND_SIP) /* its text goes by the line's key; the packet is of the same call */
				sip_forget(line_hash(c), c->packets);
			if (c->vport == DEAD_VPORT) /* the service's own port, by which it would be found again */
				c->cport = DEAD_VPORT;
			c->vport = DEAD_VPORT;
			if (c->kind & KIND_SIP)
				sip_keep(line_hash(c), c->packets);
			at = region_place(r, k);
		} else if (due(p->tick, READ_ONCE(c->expires)) && !controls(c)) {
			at.free = at.found;
		} else {
			if (due(p->tick, READ_ONCE(c->expires)))
				template_late(c, t);
			c->expires = p->tick + (template_timed(c) && c->packets ? c->packets : s->persist);
			__sync_fetch_and_add(&c->control, 1);
			p->real = c->real;
			p->parent = (__u32)(hash_region(k->hash) * REGION_LINES + at.found + 1);
			return FORWARD_NEW;
		}
	}
	if (at.free >= REGION_LINES)
		return DROP_TABLE_FULL;
	c = &r->line[at.free & (REGION_LINES - 1)];
	if (!conn_clear(c, head))
		return DROP_BUSY;
	why = schedule(p);
	if (why != FORWARD_NEW)
		return why;
	conn_add(p->real, CONN_TEMPLATE | CONN_NOOUTPUT | CONN_INACTIVE, 1);
	c->packets = s->flags & SERVICE_SIP ? k->number : s->persist;
	c->control = 1;
	conn_take(c, head, p, k->addr, k->ports, CONN_TEMPLATE | CONN_NOOUTPUT | CONN_INACTIVE, TCP_NONE, p->tick + s->persist);
	if (s->flags & SERVICE_SIP)
		sip_keep(k->hash, k->number);
	p->parent = (__u32)(hash_region(k->hash) * REGION_LINES + at.free + 1);
	return FORWARD_NEW;
}

/* Finds or makes the template of this client, holds it, and takes its real server. Its timer starts anew. */
__noinline enum reason template_hold(struct packet *p)
{
	struct tunables *t = settings();
	struct region_head *head;
	struct service *s;
	struct region *r;
	enum reason why;
	struct key *k;
	__u32 index;

	if (!p || !t)
		return DROP_BUSY;
	s = service_at(p->service);
	if (!s)
		return REPLY_NO_SERVER;
	/* ipvs: a message that the engine cannot read is dropped; what is not UDP too. */
	if (s->flags & SERVICE_SIP && (packet_proto(p) != PROTO_UDP || !sip_hash()))
		return DROP_NO_CALL;
	k = template_key(p, s);
	if (!k)
		return DROP_BUSY;
	index = hash_region(k->hash);
	r = bpf_map_lookup_elem(&regions, &index);
	head = bpf_map_lookup_elem(&region_heads, &index);
	if (!r || !head || !lock(&head->lock))
		return DROP_BUSY;
	why = template_hold_locked(p, s, r, head, k, t);
	unlock(&head->lock);
	return why;
}

/* ---- connections --------------------------------------------------------------------------------------------------- */

/* May the packet, whose key it has, make this entry anew? */
static __always_inline int conn_reusable(struct conn *c, struct packet *p, __u64 life, struct tunables *t)
{
	struct real *r = real_at(c->real);

	if (due(p->tick, READ_ONCE(c->expires))) /* nothing needs a connection but itself */
		return 1;
	if (!r || r->flags & REAL_GONE)
		return packet_begins(p);
	return packet_begins(p) && conn_renewed(c, r, packet_proto(p), life, t);
}

/*
 * What a packet that begins a connection would have made anew ends also when none begins: the scheduler has no server, or there is no
 * service any more. IPVS ends it before it looks. What waits for a removed real server goes on waiting.
 */
static __noinline void conn_outlive(struct packet *p, struct tunables *t)
{
	__u64 life;
	struct conn *c = conn_look(p, &life);
	struct real *r = c ? real_at(c->real) : NULL;

	if (r && !(r->flags & REAL_GONE) && conn_renewed(c, r, packet_proto(p), life, t))
		conn_quit(p, c, life);
}

/* Mostly the connection's own place is free, and nothing is behind it. */
static __always_inline struct place conn_place(struct packet *p, struct region *r)
{
	__u32 first = hash_line(p->hash);
	struct key *k;

	if (likely(life_phase(READ_ONCE(r->line[first].life)) == PHASE_EMPTY))
		return (struct place){ .found = REGION_LINES, .free = first };
	k = key_of(p);
	return k ? region_place(r, k) : (struct place){ .found = REGION_LINES, .free = REGION_LINES };
}

static __always_inline enum reason conn_open_locked(struct packet *p, struct region *r, struct region_head *head, struct tunables *t)
{
	struct place at = conn_place(p, r);
	__u8 proto = packet_proto(p);
	__u32 state, flags;
	int renewed = 0;
	enum reason why;
	struct conn *c;

	if (at.found < REGION_LINES) {
		__u64 life;

		c = &r->line[at.found & (REGION_LINES - 1)];
		life = READ_ONCE(c->life);
		if (!conn_reusable(c, p, life, t)) {
			/* Another CPU was faster with a packet of the same connection. */
			p->real = c->real;
			if (real_gone(c->real))
				return DROP_REAL_GONE;
			conn_move(c, p, life, 0);
			return FORWARD_HIT;
		}
		renewed = !due(p->tick, READ_ONCE(c->expires));
		at.free = at.found;
	}
	if (at.free >= REGION_LINES)
		return DROP_TABLE_FULL;
	c = &r->line[at.free & (REGION_LINES - 1)];
	/*
	 * What is renewed ends when its successor has been chosen and counted: IPVS's goes by its timer, a tick later. Refused: conn_outlive.
	 */
	if (!renewed && !conn_clear(c, head))
		return DROP_BUSY;
	if (!p->parent) {
		why = schedule(p);
		if (why != FORWARD_NEW)
			return why;
	}
	flags = heard_back(p->real) ? 0 : CONN_NOOUTPUT;
	state = state_next(t, proto, p->event, flags ? INPUT_ONLY : INPUT, TCP_NONE);
	flags = flags_in(proto, flags, state);
	conn_add(p->real, flags, 1);
	if (!conn_clear(c, head)) {
		conn_add(p->real, flags, -1);
		return DROP_BUSY;
	}
	c->packets = 1;
	c->control = p->parent;
	conn_take(c, head, p, p->addr, p->ports, flags, state, p->tick + timeout_of(t, proto, state));
	if (unlikely(state_established(proto, state))) /* sloppy */
		template_assure(p->parent);
	count_conn(p);
	return FORWARD_NEW;
}

static __always_inline enum reason conn_open(struct packet *p)
{
	__u32 index = hash_region(p->hash);
	struct region *r = bpf_map_lookup_elem(&regions, &index);
	struct region_head *head = bpf_map_lookup_elem(&region_heads, &index);
	struct tunables *t = settings();
	enum reason why;

	if (!r || !head || !t || !lock(&head->lock))
		return DROP_BUSY;
	why = conn_open_locked(p, r, head, t);
	unlock(&head->lock);
	return why;
}

/*
 * A hash needs no table to send a client to its server: what finds no room in it goes all the same. Not to a NAT real server,
 * whose replies would not find back.
 */
static __always_inline enum reason forward_stateless(struct packet *p, enum reason otherwise)
{
	struct service *s = service_at(p->service);
	enum reason why;

	if (!s || !scheduler_hashes(s))
		return otherwise;
	why = schedule(p);
	if (why != FORWARD_NEW)
		return why;
	return heard_back(p->real) ? otherwise : FORWARD_STATELESS;
}

/*
 * A source that no answer can be sent to (RFC 1122 3.2.1.3; RFC 4291 2.5.2, 2.5.3, 2.7) makes no connection; the host knows
 * it for a martian.
 */
static __always_inline int unicast(const __be32 *addr, int v6)
{
	__u8 first = addr[0] & 0xff;

	if (v6)
		return first != 0xff && (addr[0] | addr[1] | addr[2] || addr[3] & be32(~1u));
	return first != 0 && first != 127 && first < 224;
}

/*
 * A connection that ends with its packet counts for thresholds: a real server with room for one more is overloaded by it, and
 * stays so until fewer than its lower threshold are left.
 */
static __noinline void real_visited(__u32 real)
{
	struct real *r = real_at(real);

	if (!r || likely(!r->upper))
		return;
	conn_add(real, CONN_INACTIVE, 1);
	conn_add(real, CONN_INACTIVE, -1);
}

/*
 * One-packet scheduling: a datagram goes where the scheduler, or its client's template, says, and nothing is kept of it.
 * IPVS makes a connection too that ends with the packet; it shows in the counters, and to thresholds.
 */
static __always_inline enum reason forward_alone(struct packet *p, struct service *s)
{
	enum reason why = s->persist ? template_hold(p) : schedule(p);

	template_release(p->parent);
	if (why != FORWARD_NEW)
		return why;
	real_visited(p->real);
	count_conn(p);
	return why;
}

/* May it make a connection? sloppy_tcp and sloppy_sctp: anything may that does not end one; of a service that carries on too. */
static __always_inline int packet_schedules(struct packet *p, struct service *s, struct tunables *t)
{
	if (packet_opens(p))
		return 1;
	if (packet_proto(p) == PROTO_TCP)
		return (t->sloppy_tcp || s->flags & SERVICE_CARRY) && p->event != EVENT_RST;
	return t->sloppy_sctp && p->event != SCTP_ABORT;
}

/*
 * Whom the scheduler has no server for. When an FTP service stands in for the ports beside it, what goes to them is passed on,
 * because it is not its business to refuse them (ip_vs_leave).
 */
static __always_inline enum reason refused(struct packet *p, struct service *s)
{
	if (s->port == be16(PORT_FTP) && packet_vport(p) != s->port)
		return PASS_NOT_SERVICE;
	return REPLY_NO_SERVER;
}

static __always_inline enum reason open_by(struct packet *p, struct service *s)
{
	enum reason why;

	p->parent = 0;
	/* A service of other ports than its own has them by persistence alone; those of firewall marks have no port. */
	if (!s->persist && !s->mark && packet_vport(p) != s->port)
		return REPLY_NO_SERVER;
	if (s->flags & SERVICE_ONE_PACKET && packet_proto(p) == PROTO_UDP)
		return forward_alone(p, s);
	why = s->persist ? template_hold(p) : FORWARD_NEW;
	if (why == FORWARD_NEW)
		why = conn_open(p);
	if (why != FORWARD_NEW)
		template_release(p->parent);
	return why;
}

/*
 * More connections begin than a CPU is to remember: while that lasts, a hash scheduler's are sent on without an entry, so that a
 * flood from invented addresses takes no room from those that live. Who answers, with a packet that is not the first, gets one.
 */
static __always_inline enum reason open_paced(struct packet *p, struct service *s, struct tunables *t)
{
	enum reason why;

	if (scheduler_hashes(s) && !s->persist && pace_flood(p, t)) {
		why = forward_stateless(p, FORWARD_NEW);
		if (why != FORWARD_NEW)
			return why;
	}
	why = open_by(p, s);
	return why == DROP_TABLE_FULL ? forward_stateless(p, why) : why;
}

/* Nobody knows it. A reset of the host's would be final, and another director may be about to tell of it. */
static __always_inline enum reason stranger(struct packet *p, struct tunables *t)
{
	return t->patience && !due(p->tick, t->patience) ? DROP_AWAITED : PASS_NO_CONNECTION;
}

/* A packet that begins nothing, and has no connection: it may have begun during a flood, or when there was no room. */
static __always_inline enum reason admit_later(struct packet *p, struct service *s, struct tunables *t)
{
	if (scheduler_hashes(s) && !s->persist && p->event != EVENT_RST && pace_flooded(p, t))
		return open_paced(p, s, t);
	return p->crowded ? forward_stateless(p, PASS_NO_CONNECTION) : stranger(p, t);
}

static __always_inline enum reason admit_first(struct packet *p, struct tunables *t)
{
	struct service *s;
	enum reason why;

	if (!service_find(p))
		return PASS_NOT_SERVICE;
	s = service_at(p->service);
	if (!s)
		return PASS_NOT_SERVICE;
	if (unlikely(s->flags & SERVICE_DIRECTORS && t->have & HAVE_PEERS) && from_director(p))
		return PASS_FROM_DIRECTOR;
	if (!unicast(p->addr, packet_v6(p)))
		return PASS_MALFORMED;
	if (!packet_schedules(p, s, t))
		return admit_later(p, s, t);
	if (pace_drops(t))
		return DROP_DEFENCE;
	if ((__u16)p->ports == be16(PORT_FTP_DATA))
		return PASS_FTP_DATA;
	why = open_paced(p, s, t);
	return why == REPLY_NO_SERVER ? refused(p, s) : why;
}

/* The road of a packet without a connection. Global, and so verified once; sets packet.real and packet.service. */
__noinline enum reason admit(struct packet *p)
{
	struct tunables *t = settings();
	enum reason why;

	if (!p || !t)
		return DROP_BUSY;
	why = admit_first(p, t);
	if (unlikely(packet_begins(p) && !forwards(why)))
		conn_outlive(p, t);
	return why;
}

#endif
