/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sweep.h: the end of connections. One timer for the whole table walks a part of it every SWEEP_NS, so that all of it is
 * passed about once a second; a timer for each connection would cost 175 ns a packet and fail with -ENOMEM in bursts.
 * It needs no process: the timer lives while its map is pinned (a map without user reference loses its timers).
 */
#ifndef VIPD_SWEEP_H
#define VIPD_SWEEP_H

#include "defend.h"
#include "open.h"

/* Small parts: a million connections cost 10 ms a pass, and packets of this CPU wait while the timer works. */
enum { SWEEP_NS = 10 * 1000 * 1000, SWEEP_PARTS = 100 };

struct sweeper {
	struct bpf_timer timer;
	__u32 next;              /* region */
	__u32 turns;             /* calls so far: who looks sees that it lives */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sweeper);
} sweep_timer SEC(".maps");

/* Whom a walk over the regions ends. */
enum ending { END_EXPIRED, END_CONNS_OF_REAL, END_TEMPLATES_OF_REAL, END_DISPENSABLE };

struct walk {
	__u32 first;
	__u32 tick;
	__u32 real;
	__u32 ending;
	__u32 done;
};

static __always_inline int conn_ends_now(struct conn *c, struct walk *w)
{
	__u64 life = READ_ONCE(c->life);
	__u32 template = life_flags(life) & CONN_TEMPLATE;

	if (life_phase(life) != PHASE_LIVE)
		return 0;
	if (w->ending == END_EXPIRED)
		return due(w->tick, READ_ONCE(c->expires));
	if (w->ending == END_DISPENSABLE)
		return conn_dispensable(c, life, w->tick);
	if (c->kind & KIND_RETURN) /* behind its connection, which may be anywhere */
		return w->ending == END_TEMPLATES_OF_REAL && !needed(c);
	if (w->real != NO_REAL && w->real != c->real)
		return 0;
	return !template == (w->ending == END_CONNS_OF_REAL) && !controls(c);
}

/* What something else needs lives on when its time has come: a template, a way back. */
static __always_inline int conn_extend(struct conn *c, __u32 tick)
{
	struct tunables *t = settings();

	if (!needed(c))
		return 0;
	if (t) {
		c->expires = tick + t->extend;
		template_late(c, t);
	}
	return 1;
}

/* The lines that the chain of the connection in line i passes, as bits. Global, as line_end: verified once, not 64 times. */
__noinline __u64 line_chain(struct conn *c, __u32 i)
{
	__u32 home;
	__u64 chain;

	if (!c || life_phase(c->life) != PHASE_LIVE)
		return 0;
	home = hash_line(line_hash(c));
	chain = (2ull << ((i - home) & 63)) - 1;
	return home ? chain << home | chain >> (64 - home) : chain;
}

/*
 * Dead lines that no chain passes over become empty again. Chains are the lines from where a hash begins to where its
 * connection lies; 64 lines are the bits of a word.
 */
static __always_inline void region_tidy(struct region *r)
{
	__u64 passed = 0;

	for (__u32 i = 0; i < REGION_LINES; i++)
		passed |= line_chain(&r->line[i], i);
	for (__u32 i = 0; i < REGION_LINES; i++) {
		struct conn *c = &r->line[i];

		if (life_phase(c->life) == PHASE_DEAD && !(passed >> i & 1))
			WRITE_ONCE(c->life, (c->life & LIFE_GENERATION) | PHASE_EMPTY);
	}
}

/* Global, as line_end. */
__noinline int line_due(struct conn *c, struct walk *w)
{
	return c && w && conn_ends_now(c, w);
}

/*
 * A look without the lock: most regions have nothing due. Global, so that its 64 rounds are verified once. What the timer looks
 * for, with which every line of the table is met once a second, is no call.
 */
__noinline int region_due(struct region *r, struct walk *w)
{
	if (!r || !w)
		return 0;
	for (__u32 i = 0; i < REGION_LINES; i++) {
		struct conn *c = &r->line[i];

		if (w->ending == END_EXPIRED ? life_phase(READ_ONCE(c->life)) == PHASE_LIVE && due(w->tick, READ_ONCE(c->expires)) : line_due(c, w))
			return 1;
	}
	return 0;
}

/* Ends the connection in a line if its time has come; how many were ended. */
__noinline __u32 line_end(struct conn *c, struct region_head *head, struct walk *w)
{
	if (!c || !head || !w)
		return 0;
	if (!conn_ends_now(c, w) || (w->ending == END_EXPIRED && conn_extend(c, w->tick)))
		return 0;
	if (w->ending == END_DISPENSABLE && !conn_turn(c))
		return 0;
	return conn_retire(c, head);
}

__noinline __u32 region_end(struct region *r, struct region_head *head, struct walk *w)
{
	__u32 done = 0;

	if (!r || !head || !w)
		return 0;
	for (__u32 i = 0; i < REGION_LINES; i++)
		done += line_end(&r->line[i], head, w);
	if (done)
		region_tidy(r);
	return done;
}

static int region_visit(__u32 i, struct walk *w)
{
	__u32 index = (w->first + i) & region_mask;
	struct region_head *head = bpf_map_lookup_elem(&region_heads, &index);
	struct region *r;

	if (!head || !READ_ONCE(head->live))
		return 0;
	r = bpf_map_lookup_elem(&regions, &index);
	/* A region whose lock is not had is left for the next time. */
	if (!r || !region_due(r, w) || !lock(&head->lock))
		return 0;
	w->done += region_end(r, head, w);
	unlock(&head->lock);
	return 0;
}

static __always_inline struct walk walk_of(enum ending ending, __u32 real)
{
	struct tunables *t = settings();

	return (struct walk){ .tick = t ? tick_now(t) : 0, .real = real, .ending = ending };
}

static int sweep_turn(void *map, __u32 *key, struct sweeper *s)
{
	__u32 part = region_mask / SWEEP_PARTS + 1;
	struct walk w = walk_of(END_EXPIRED, NO_REAL);

	w.first = s->next;
	bpf_loop(part, region_visit, &w, 0);
	s->next = (w.first + part) & region_mask;
	s->turns++;
	bpf_timer_start(&s->timer, SWEEP_NS, 0);
	return 0;
}

static __always_inline struct order *order_of(struct xdp_md *ctx)
{
	struct order *o = (void *)(long)ctx->data;

	return (void *)(o + 1) > (void *)(long)ctx->data_end ? NULL : o;
}

static __always_inline __u32 walk_over(struct order *o, struct walk *w)
{
	w->first = o->first;
	bpf_loop(o->count ? o->count : region_mask + 1, region_visit, w, 0);
	return w->done;
}

#endif
