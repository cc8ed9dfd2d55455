/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * least.h: schedulers that look at every member: lc, wlc, sed, nq, fo, ovf and twos. One walk serves them all; a member takes
 * the place of the one met before it only if it is strictly better, so ties go to the newest.
 *
 * The walk is a bpf_loop over blocks of members and a plain loop within: a plain loop of 1,024 rounds is more than the
 * verifier follows (8,192 jumps), and a bpf_loop of 1,024 calls costs five times as much as the loop itself.
 */
#ifndef VIPD_LEAST_H
#define VIPD_LEAST_H

#include "pool.h"

enum { SCAN_BLOCK = 16, SCAN_BLOCKS = MAX_POOL / SCAN_BLOCK };

/* What a new connection costs at a real server. ipvs: 6.1.192 and later count all connections here, older ones the inactive. */
static __always_inline __s64 overhead(struct real_count *n)
{
	return ((__s64)n->active << 8) + n->active + n->inactive;
}

struct scan {
	struct pool *pool;
	__u32 scheduler;
	__u32 found;             /* real; NO_REAL: none yet */
	__s64 load;              /* its */
	__s64 weight;            /* its */
};

/*
 * Looks at one member; says whether the walk may end. Loads are compared by cross-multiplication: load / weight without
 * fractions. Of fo and ovf the "load" is 1, so that the greater weight is the better.
 */
static __always_inline int scan_one(struct scan *s, struct member *m, struct real_count *n)
{
	__s64 weight = m->weight, load = 1;

	if (weight <= 0 || n->overloaded)
		return 0;
	switch (s->scheduler) {
	case SCHED_LC:
		weight = 1;
		load = overhead(n);
		break;
	case SCHED_SED:
	case SCHED_NQ:
		load = (__s64)n->active + 1;
		break;
	case SCHED_OVF:
		if (n->active > weight)
			return 0;
		break;
	case SCHED_FO:
		break;
	default:
		load = overhead(n);
	}
	if (s->found != NO_REAL && s->load * weight <= load * s->weight && !(s->scheduler == SCHED_NQ && !n->active))
		return 0;
	s->found = m->real;
	s->load = load;
	s->weight = weight;
	return s->scheduler == SCHED_NQ && !n->active;
}

static int scan_block(__u32 block, struct scan *s)
{
	for (__u32 i = 0; i < SCAN_BLOCK; i++) {
		__u32 at = block * SCAN_BLOCK + i;
		struct real_count *n;
		struct member *m;

		if (at >= s->pool->count)
			return 1;
		m = pool_member(s->pool, at);
		n = m ? real_count_at(m->real) : NULL;
		if (n && scan_one(s, m, n))
			return 1;
	}
	return 0;
}

/*
 * The best of all members by this scheduler's rule; NO_REAL if none is fit. Global, as all that schedule calls: what one needs
 * of the stack is then not added to what the next needs.
 */
__noinline __u32 pick_least(struct pool *pool, __u32 scheduler)
{
	struct scan s = { .pool = pool, .scheduler = scheduler, .found = NO_REAL };

	if (!pool)
		return NO_REAL;
	bpf_loop(SCAN_BLOCKS, scan_block, &s, 0);
	return s.found;
}

/* ---- twos: the better of two that chance chose ------------------------------------------------------------------------ */

struct draw {
	struct pool *pool;
	__s64 total;
	__s64 left[2];           /* of each drawn number, as the weights are taken from it */
	__u32 found[2];
	__s64 load[2];
	__s32 weight[2];
};

static int total_block(__u32 block, struct draw *d)
{
	for (__u32 i = 0; i < SCAN_BLOCK; i++) {
		__u32 at = block * SCAN_BLOCK + i;

		if (at >= d->pool->count)
			return 1;
		d->total += fit_weight(pool_member(d->pool, at));
	}
	return 0;
}

static __always_inline void draw_one(struct draw *d, __u32 which, struct member *m, struct real_count *n)
{
	d->left[which] -= m->weight;
	if (d->left[which] > 0 || d->found[which] != NO_REAL)
		return;
	d->found[which] = m->real;
	d->load[which] = overhead(n);
	d->weight[which] = m->weight;
}

static int draw_block(__u32 block, struct draw *d)
{
	for (__u32 i = 0; i < SCAN_BLOCK; i++) {
		__u32 at = block * SCAN_BLOCK + i;
		struct real_count *n;
		struct member *m;

		if (at >= d->pool->count)
			return 1;
		m = pool_member(d->pool, at);
		if (!fit_weight(m))
			continue;
		n = m ? real_count_at(m->real) : NULL;
		if (!n)
			continue;
		draw_one(d, 0, m, n);
		draw_one(d, 1, m, n);
	}
	return d->found[0] != NO_REAL && d->found[1] != NO_REAL;
}

/* IPVS draws from 0 to the sum of the weights, both included. */
__noinline __u32 pick_twos(struct pool *pool)
{
	struct draw d = { .pool = pool, .found = { NO_REAL, NO_REAL } };

	if (!pool)
		return NO_REAL;
	bpf_loop(SCAN_BLOCKS, total_block, &d, 0);
	if (d.total <= 0)
		return NO_REAL;
	d.left[0] = bpf_get_prandom_u32() % ((__u64)d.total + 1);
	d.left[1] = bpf_get_prandom_u32() % ((__u64)d.total + 1);
	bpf_loop(SCAN_BLOCKS, draw_block, &d, 0);
	if (d.found[1] != NO_REAL && d.load[0] * d.weight[1] > d.load[1] * d.weight[0])
		return d.found[1];
	return d.found[0];
}

#endif
