/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * schedule.h: which real server gets a new connection. The order of picks is the one of IPVS, which people see: members are
 * walked newest first, rr and wrr go on from the last pick, ties go to whom is met first.
 *
 * "Fit" is: weight over 0 and not overloaded.
 */
#ifndef VIPD_SCHEDULE_H
#define VIPD_SCHEDULE_H

#include "lock.h"
#include "service.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2048);
	__type(key, __u32);
	__type(value, struct pool);
} pools SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct member);
} members SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2048);
	__type(key, __u32);
	__type(value, struct sh_table);
} sh_tables SEC(".maps");

/* The weight with which a real server counts now: 0 while it is overloaded. */
static __always_inline __s32 fit_weight(struct member *m)
{
	struct real_count *n;

	if (!m || m->weight <= 0)
		return 0;
	n = real_count_at(m->real);
	return n && !n->overloaded ? m->weight : 0;
}

static __always_inline struct member *pool_member(struct pool *pool, __u32 at)
{
	__u32 i = pool->first + at;

	return bpf_map_lookup_elem(&members, &i);
}

struct pool_walk {
	struct pool *pool;
	__u32 from, end;
	__s32 weight;            /* at least; in pool_heaviest the most so far */
	__u32 found;
};

/* Counts by i, which the verifier does not know: with a sum of its own it would walk all 1,024 rounds (6.6 and later). */
static int pool_step(__u32 i, struct pool_walk *w)
{
	__u32 at = w->from + i;

	if (at >= w->end)
		return 1;
	if (fit_weight(pool_member(w->pool, at)) < w->weight)
		return 0;
	w->found = at;
	return 1;
}

/*
 * The first member from `from` to before `to` that has at least this weight; NO_REAL if none. Most picks end at the first
 * look. bpf_loop costs more a round than a plain loop, but one of 1,024 rounds is too long for the verifier (8,192 jumps).
 */
static __always_inline __u32 pool_find(struct pool *pool, __u32 from, __u32 to, __s32 weight)
{
	struct pool_walk w = { .pool = pool, .from = from, .end = to, .weight = weight, .found = NO_REAL };

	if (from < to && fit_weight(pool_member(pool, from)) >= weight)
		return from;
	bpf_loop(MAX_POOL, pool_step, &w, 0);
	return w.found;
}

/* The next fit one after the last pick, once round; from the head if there was none. */
static __always_inline __u32 pick_rr(struct pool *pool)
{
	__u32 start = pool->pos < pool->count ? pool->pos + 1 : 0;
	__u32 at = pool_find(pool, start, pool->count, 1);

	if (at == NO_REAL)
		at = pool_find(pool, 0, start, 1);
	return at;
}

static int heaviest_step(__u32 i, struct pool_walk *w)
{
	__s32 weight;

	if (i >= w->end)
		return 1;
	weight = fit_weight(pool_member(w->pool, i));
	if (weight > w->weight)
		w->weight = weight;
	return 0;
}

static __always_inline __s32 pool_heaviest(struct pool *pool)
{
	struct pool_walk w = { .pool = pool, .end = pool->count };

	bpf_loop(MAX_POOL, heaviest_step, &w, 0);
	return w.weight;
}

/*
 * Walk on from the last pick; the first with weight >= cw wins. At the end of the list cw sinks by di, and starts over from
 * mw below 1. The heaviest fit one is met in any whole round; only if it is overloaded, rounds are jumped over that would
 * find nobody.
 */
static __always_inline __u32 pick_wrr(struct pool *pool)
{
	__u32 start = pool->pos < pool->count ? pool->pos + 1 : 0, at;
	__s32 di = pool->di, cw = pool->cw, most;

	if (pool->mw <= 0 || di <= 0)
		return NO_REAL;
	at = pool_find(pool, start, pool->count, cw);
	if (at != NO_REAL)
		return at;
	cw = cw - di > 0 ? cw - di : pool->mw;
	at = pool_find(pool, 0, pool->count, cw);
	if (at == NO_REAL) {
		most = pool_heaviest(pool);
		if (!most) {
			/* All are overloaded. IPVS leaves cw at mw, unless it stood in the last round when it began there. */
			if (pool->cw > di || !start)
				pool->cw = pool->mw;
			return NO_REAL;
		}
		if (cw > most)
			cw -= (__u32)(cw - most + di - 1) / (__u32)di * di;
		at = pool_find(pool, 0, pool->count, cw);
	}
	pool->cw = cw;
	return at;
}

/* IPVS's hash: the golden ratio, upper eight bits. */
static __always_inline __u32 sh_slot(__u32 value, __u32 turn)
{
	return (turn + (value * 0x61c88647u >> 24)) & (SH_SLOTS - 1);
}

static __always_inline __u32 sh_fit(struct sh_table *t, __u32 slot)
{
	__u32 real = t->real[slot & (SH_SLOTS - 1)];
	struct real_count *n = real_count_at(real);
	struct real *r = real_at(real);

	if (!r || !n || r->weight <= 0 || r->flags & REAL_GONE || n->overloaded)
		return NO_REAL;
	return real;
}

static __always_inline __u32 pick_sh(struct packet *p, __u32 table, __u32 flags)
{
	struct sh_table *t = bpf_map_lookup_elem(&sh_tables, &table);
	__u32 value = be32((__u32)p->ends), slot, real;

	if (!t)
		return NO_REAL;
	if (flags & SERVICE_PORT)
		value += be16((__u16)p->ports);
	slot = sh_slot(value, 0);
	real = sh_fit(t, slot);
	if (real != NO_REAL || !(flags & SERVICE_FALLBACK))
		return real;
	for (__u32 i = 0; i < SH_SLOTS; i++) {
		__u32 next = sh_slot(value, i + slot);

		if (t->real[next] == NO_REAL)
			return NO_REAL;
		real = sh_fit(t, next);
		if (real != NO_REAL)
			return real;
	}
	return NO_REAL;
}

static __always_inline enum reason pick_in_turn(struct packet *p, struct service *s, struct pool *pool)
{
	struct member *m = NULL;
	__u32 at;

	if (!lock(&pool->lock))
		return DROP_BUSY;
	at = s->scheduler == SCHED_RR ? pick_rr(pool) : pick_wrr(pool);
	if (at != NO_REAL) {
		pool->pos = at;
		m = pool_member(pool, at);
	}
	unlock(&pool->lock);
	p->real = m ? m->real : NO_REAL;
	return m ? FORWARD_NEW : REPLY_NO_SERVER;
}

/*
 * Sets packet.real and says FORWARD_NEW, or says why not. A global function: the verifier looks at its loops once, whoever
 * calls.
 */
__noinline enum reason schedule(struct packet *p)
{
	struct service *s;
	struct pool *pool;
	__u32 index;

	if (!p)
		return REPLY_NO_SERVER;
	s = service_at(p->service);
	if (!s)
		return REPLY_NO_SERVER;
	index = s->pool;
	pool = bpf_map_lookup_elem(&pools, &index);
	if (!pool)
		return REPLY_NO_SERVER;
	if (s->scheduler == SCHED_RR || s->scheduler == SCHED_WRR)
		return pick_in_turn(p, s, pool);
	if (s->scheduler != SCHED_SH)
		return REPLY_NO_SERVER;
	p->real = pick_sh(p, pool->table, s->flags);
	return p->real == NO_REAL ? REPLY_NO_SERVER : FORWARD_NEW;
}

#endif
