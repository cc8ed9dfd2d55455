/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lblc.h: locality: a destination address stays with the real server that has its content, until that one has too much to do.
 * lblc remembers one server for an address, lblcr a set.
 *
 * ipvs: has a table for each service, of at most 24,576 addresses, and looks every minute for those that were not asked for.
 * Here all services share one map, which lets go of the least used when it is full. IPVS ends what was not asked for within
 * lblc_expiration when it next looks through all of a table, every 30 minutes; here it is unknown after the sum of both. A set
 * holds CACHE_SET servers, the latest; IPVS's has no bound.
 */
#ifndef VIPD_LBLC_H
#define VIPD_LBLC_H

#include "conn.h"
#include "least.h"

enum { CACHE_MINUTES = 30 };

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct cache_key);
	__type(value, struct cache);
} caches SEC(".maps");

/* Is it still the server that was meant, and a member? An index may have another owner meanwhile, a serial may not. */
static __always_inline struct real *cached_real(struct cached *c)
{
	struct real *r = real_at(c->real);

	return r && r->serial == c->serial && !(r->flags & REAL_GONE) ? r : NULL;
}

static __always_inline __u32 serial_of(__u32 real)
{
	struct real *r = real_at(real);

	return r ? r->serial : 0;
}

struct idle {
	struct pool *pool;
	__u32 found;
};

static int idle_block(__u32 block, struct idle *w)
{
	for (__u32 i = 0; i < SCAN_BLOCK; i++) {
		__u32 at = block * SCAN_BLOCK + i;
		struct real_count *n;
		struct member *m;

		if (at >= w->pool->count)
			return 1;
		m = pool_member(w->pool, at);
		n = m ? real_count_at(m->real) : NULL;
		if (n && (__s64)n->active * 2 < m->weight) {
			w->found = 1;
			return 1;
		}
	}
	return 0;
}

/* More active connections than its weight, while another has less than half of its own. */
__noinline int has_too_much(struct pool *pool, __u32 real)
{
	struct real_count *n = real_count_at(real);
	struct real *r = real_at(real);
	struct idle w = { .pool = pool };

	if (!pool || !n || !r || (__s64)n->active <= r->weight)
		return 0;
	bpf_loop(SCAN_BLOCKS, idle_block, &w, 0);
	return w.found;
}

static __always_inline struct cache_key cache_key_of(struct packet *p)
{
	__u32 v4 = (__u32)(p->ports >> 41 & 1) - 1; /* KIND_IPV6; no branch, which the verifier would follow through all below */
	struct service *s = service_at(p->service);
	struct cache_key key = { .service = s ? s->serial : 0 };

	/* Behind IPv4's two addresses stands what a packet of IPv6 has left there (lb.bpf.c, arrive). */
	forget_bounds(v4);
	for (int i = 0; i < 4; i++)
		key.addr[i] = p->addr[4 + i] & ~v4;
	key.addr[0] |= p->addr[1] & v4;
	return key;
}

/* What is remembered of the packet's destination; NULL if nothing, or it was too long ago. */
static __always_inline struct cache *cache_find(struct cache_key *key, __u32 now, struct tunables *t, __u32 expiration)
{
	struct cache *c = bpf_map_lookup_elem(&caches, key);

	if (!c || (__s32)(now - c->used - expiration - CACHE_MINUTES * t->extend) > 0)
		return NULL;
	c->used = now;
	return c;
}

/* Where a new entry is made: it is too long for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cache);
} new_cache SEC(".maps");

static __always_inline void cache_new(struct cache_key *key, __u32 now, __u32 real)
{
	__u32 zero = 0;
	struct cache *c = bpf_map_lookup_elem(&new_cache, &zero);

	if (!c)
		return;
	c->used = now;
	c->changed = now;
	c->count = 1;
	c->stamp = 1;
	c->set[0] = (struct cached){ real, serial_of(real), 1 };
	bpf_map_update_elem(&caches, key, c, 0);
}

/* The threshold of the remembered server is not looked at, as in IPVS. */
static __always_inline __u32 set_only(struct cache *c)
{
	struct real *r = cached_real(&c->set[0]);

	return r && r->weight > 0 ? c->set[0].real : NO_REAL;
}

/*
 * Does a's load by its weight come before b's? Of equal ones the one that was added later, which is what a walk from the
 * latest on meets first.
 */
static __always_inline int before(__s64 a, __s64 b, __u32 stamp_a, __u32 stamp_b)
{
	return a < b || (a == b && stamp_a > stamp_b);
}

/* Whom a walk over a set has met that goes before all others. */
struct best {
	__s64 load, weight;
	__u32 stamp;             /* 0: nobody */
	__u32 real, at;          /* and its place in the set */
};

/* Looks at one of the set; global, as the other: verified once for all places. */
__noinline int least_meets(struct best *b, struct cached *one)
{
	struct real_count *n;
	struct real *r;

	if (!b || !one)
		return 0;
	r = cached_real(one);
	n = real_count_at(one->real);
	if (!one->stamp || !r || !n || r->weight <= 0 || n->overloaded)
		return 0;
	if (b->stamp && !before(overhead(n) * b->weight, b->load * r->weight, one->stamp, b->stamp))
		return 0;
	*b = (struct best){ overhead(n), r->weight, one->stamp, one->real, 0 };
	return 1;
}

/* The least loaded of the set, as wlc has it. b: room for the walk, of which the stack has no more than one. */
static __always_inline __u32 set_least(struct cache *c, struct best *b)
{
	*b = (struct best){ .real = NO_REAL };
	for (__u32 i = 0; i < CACHE_SET; i++) {
		forget_bounds(c); /* else clang keeps eight addresses on the stack */
		least_meets(b, &c->set[i]);
	}
	return b->real;
}

__noinline int most_meets(struct best *b, struct cached *one, __u32 at)
{
	struct real_count *n;
	struct real *r;

	if (!b || !one)
		return 0;
	r = real_at(one->real);
	n = real_count_at(one->real);
	if (!one->stamp || !r || !n || r->serial != one->serial || r->weight <= 0)
		return 0;
	if (b->stamp && !before(b->load * r->weight, overhead(n) * b->weight, one->stamp, b->stamp))
		return 0;
	*b = (struct best){ overhead(n), r->weight, one->stamp, one->real, at };
	return 1;
}

/* Forgets the most loaded of the set. One that was removed from its service counts with the weight that it had. */
static __always_inline void set_drop_most(struct cache *c, struct best *b, __u32 now)
{
	*b = (struct best){};
	for (__u32 i = 0; i < CACHE_SET; i++) {
		forget_bounds(c); /* as there */
		most_meets(b, &c->set[i], i);
	}
	if (!b->stamp)
		return;
	c->set[b->at & (CACHE_SET - 1)].stamp = 0;
	c->count--;
	c->changed = now;
}

/* In a free place, or that of the earliest. */
static __always_inline void set_add(struct cache *c, __u32 real, __u32 now)
{
	__u32 serial = serial_of(real), least = 0xffffffff, at = 0;

	for (__u32 i = 0; i < CACHE_SET; i++) {
		struct cached *one = &c->set[i];

		if (one->stamp && one->real == real && one->serial == serial)
			return;
		if (one->stamp < least) {
			least = one->stamp;
			at = i;
		}
	}
	c->set[at & (CACHE_SET - 1)] = (struct cached){ real, serial, ++c->stamp };
	c->count += !least;
	c->changed = now;
}

/* Whom the service's cache names for the packet's destination; NO_REAL if nobody. */
__noinline __u32 cache_pick(struct packet *p, __u32 scheduler)
{
	struct tunables *t = settings();
	struct cache_key key;
	struct cache *c;
	struct best b;
	__u32 real;

	if (!p || !t)
		return NO_REAL;
	key = cache_key_of(p);
	c = cache_find(&key, p->tick, t, scheduler == SCHED_LBLC ? t->lblc_expiration : t->lblcr_expiration);
	if (!c)
		return NO_REAL;
	real = scheduler == SCHED_LBLC ? set_only(c) : set_least(c, &b);
	if (scheduler == SCHED_LBLCR && c->count > 1 && (__s32)(p->tick - c->changed - t->lblcr_expiration) > 0)
		set_drop_most(c, &b, p->tick);
	return real;
}

/* Remembers whom the scheduler picked: instead of the one before, or in addition. */
__noinline int cache_keep(struct packet *p, __u32 scheduler)
{
	struct tunables *t = settings();
	struct cache_key key;
	struct cache *c;

	if (!p || !t)
		return 0;
	key = cache_key_of(p);
	c = scheduler == SCHED_LBLC ? NULL : cache_find(&key, p->tick, t, t->lblcr_expiration);
	if (c)
		set_add(c, p->real, p->tick);
	else
		cache_new(&key, p->tick, p->real);
	return 0;
}

static __always_inline __u32 pick_local(struct packet *p, struct pool *pool, __u32 scheduler)
{
	__u32 real = cache_pick(p, scheduler);

	if (real != NO_REAL && !has_too_much(pool, real))
		return real;
	real = pick_least(pool, SCHED_WLC);
	p->real = real;
	if (real != NO_REAL)
		cache_keep(p, scheduler);
	return real;
}

#endif
