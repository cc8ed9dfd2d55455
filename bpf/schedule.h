/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * schedule.h: which real server gets a new connection. The order of picks is the one of IPVS, which people see: members are
 * walked newest first, rr and wrr go on from the last pick, ties go to whom is met first.
 *
 * "Fit" is: weight over 0 and not overloaded.
 */
#ifndef VIPD_SCHEDULE_H
#define VIPD_SCHEDULE_H

#include "hash.h"
#include "lblc.h"
#include "least.h"
#include "pool.h"

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

	if (from >= to)
		return NO_REAL;
	if (fit_weight(pool_member(pool, from)) >= weight)
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

/* The schedulers that go on from where they were, under the pool's lock. */
__noinline __u32 pick_next(struct pool *pool, __u32 scheduler)
{
	struct member *m;
	__u32 at;

	if (!pool)
		return NO_REAL;
	at = scheduler == SCHED_RR ? pick_rr(pool) : pick_wrr(pool);
	if (at == NO_REAL)
		return NO_REAL;
	pool->pos = at;
	m = pool_member(pool, at);
	return m ? m->real : NO_REAL;
}

static __always_inline __u32 pick(struct packet *p, struct service *s, struct pool *pool)
{
	switch (s->scheduler) {
	case SCHED_RR:
	case SCHED_WRR:
		return pick_next(pool, s->scheduler);
	case SCHED_LBLC:
	case SCHED_LBLCR:
		return pick_local(p, pool, s->scheduler);
	case SCHED_SH:
		return pick_sh(p, pool->table, s->flags);
	case SCHED_DH:
		return pick_dh(p, pool->table);
	case SCHED_MH:
		return pick_mh(p, pool->table, s->flags);
	case SCHED_TWOS:
		return pick_twos(pool);
	case SCHED_NONE:
		return NO_REAL;
	}
	return pick_least(pool, s->scheduler);
}

/* Do two picks at once have to wait for each other? */
static __always_inline int scheduler_locks(struct service *s)
{
	return s->scheduler == SCHED_RR || s->scheduler == SCHED_WRR || s->scheduler == SCHED_LBLCR;
}

/* Do equal packets get equal answers, with no state? */
static __always_inline int scheduler_hashes(struct service *s)
{
	return s->scheduler == SCHED_SH || s->scheduler == SCHED_DH || s->scheduler == SCHED_MH;
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
	int locks;

	if (!p)
		return REPLY_NO_SERVER;
	s = service_at(p->service);
	if (!s)
		return REPLY_NO_SERVER;
	index = s->pool;
	pool = bpf_map_lookup_elem(&pools, &index);
	if (!pool)
		return REPLY_NO_SERVER;
	locks = scheduler_locks(s);
	if (locks && !lock(&pool->lock))
		return DROP_BUSY;
	p->real = pick(p, s, pool);
	if (locks)
		unlock(&pool->lock);
	return p->real == NO_REAL ? REPLY_NO_SERVER : FORWARD_NEW;
}

#endif
