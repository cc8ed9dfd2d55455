/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * learn.h: a connection that another director told of, put into the table as if its packets had come here (ip_vs_proc_conn).
 * User space says which real server it is of and by which flags; what is counted, and which line it gets, is decided here,
 * under the lock of its region. It is on no packet's way.
 */
#ifndef VIPD_LEARN_H
#define VIPD_LEARN_H

#include "open.h"

/* Connections are learned with room left in their region for those that begin here. */
enum { LEARN_FULL = REGION_LINES * 3 / 4 };

static __always_inline __u32 learn_expires(struct learned *l, __u32 tick)
{
	struct tunables *t = settings();

	if (l->ticks)
		return tick + l->ticks;
	return tick + (t ? timeout_of(t, l->proto, l->state & (STATES - 1)) : 0);
}

/* Was the line used here after its teller last used it? Both know how long ago that was, so no two clocks are compared. */
static __always_inline int learn_older(struct conn *c, struct learned *l, __u32 tick)
{
	struct tunables *t = settings();
	__u32 whole = l->whole;

	if (!l->idle || !t)
		return 0;
	if (!(l->flags & CONN_TEMPLATE))
		whole = timeout_of(t, l->proto, life_state(READ_ONCE(c->life)) & (STATES - 1));
	return (__s32)(tick + whole - READ_ONCE(c->expires)) < (__s32)(l->idle - 1);
}

/* The line holds this connection already. What packets move meanwhile is looked at again. */
static __always_inline enum learn_outcome learn_again(struct conn *c, struct learned *l, __u32 tick)
{
	__u32 changes = l->flags & CONN_TEMPLATE ? CONN_ASSURED : CONN_INACTIVE;

	for (int i = 0; i < 8; i++) {
		__u64 life = READ_ONCE(c->life);
		__u32 flags = (life_flags(life) & ~changes) | (l->flags & changes);

		if (life_phase(life) != PHASE_LIVE)
			return LEARN_BUSY;
		if (__sync_val_compare_and_swap(&c->life, life, life_make(life, flags, l->state)) != life)
			continue;
		if ((flags ^ life_flags(life)) & CONN_INACTIVE) {
			conn_count(c->real, flags, 1);
			conn_count(c->real, life_flags(life), -1);
		}
		WRITE_ONCE(c->expires, learn_expires(l, tick));
		c->packets = l->packets;
		l->generation = life >> 32;
		return LEARN_AGAIN;
	}
	return LEARN_BUSY;
}

static __always_inline void learn_take(struct conn *c, struct region_head *head, struct learned *l, struct key *k)
{
	__u64 generation = c->life + (1ull << 32);

	__builtin_memcpy(c->addr, k->addr, sizeof(c->addr));
	*(__u64 *)(void *)&c->cport = k->ports;
	c->expires = learn_expires(l, k->tick);
	c->real = l->real;
	c->packets = l->packets;
	c->control = 0; /* ipvs: a learned connection holds no template either */
	conn_count(l->real, l->flags, 1);
	real_judge(l->real);
	head->live++;
	l->generation = generation >> 32;
	__sync_lock_test_and_set(&c->life, life_make(generation, l->flags | CONN_SYNC, l->state));
}

static __always_inline enum learn_outcome learn_locked(struct learned *l, struct region *r, struct region_head *head, struct key *k)
{
	struct place at = region_place(r, k);
	struct conn *c;

	if (at.found < REGION_LINES) {
		c = &r->line[at.found & (REGION_LINES - 1)];
		l->line = at.found;
		if (conn_expired(c, k->tick)) {
			at.free = at.found;
		} else if (learn_older(c, l, k->tick)) {
			return LEARN_STALE;
		} else if (READ_ONCE(c->real) == l->real || l->flags & CONN_TEMPLATE) {
			return learn_again(c, l, k->tick);
		} else if (l->flags & CONN_INACTIVE) {
			return LEARN_STALE;
		} else {
			at.free = at.found;
		}
	} else if (head->live >= LEARN_FULL) {
		return LEARN_NO_ROOM;
	}
	if (at.free >= REGION_LINES)
		return LEARN_NO_ROOM;
	c = &r->line[at.free & (REGION_LINES - 1)];
	l->line = at.free;
	if (!conn_clear(c, head))
		return LEARN_BUSY;
	learn_take(c, head, l, k);
	return LEARN_NEW;
}

/* Global, and so verified once. */
__noinline enum learn_outcome learn_one(struct learned *l)
{
	struct region_head *head;
	enum learn_outcome out;
	struct tunables *t = settings();
	struct region *r;
	__u32 zero = 0, index;
	struct key *k = bpf_map_lookup_elem(&scratch, &zero);

	if (!l || !k || !t)
		return LEARN_BUSY;
	k->ports = load64(&l->cport);
	__builtin_memcpy(k->addr, l->addr, sizeof(k->addr));
	k->hash = key_hash(k->addr, k->ports);
	k->tick = tick_now(t);
	k->number = l->packets;
	index = hash_region(k->hash);
	r = bpf_map_lookup_elem(&regions, &index);
	head = bpf_map_lookup_elem(&region_heads, &index);
	if (!r || !head || !real_at(l->real) || !lock(&head->lock))
		return LEARN_BUSY;
	out = learn_locked(l, r, head, k);
	unlock(&head->lock);
	l->line += index * REGION_LINES;
	return out;
}

/* One of the frame is worked on here, where a global function may have it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct learned);
} lesson SEC(".maps");

struct lessons {
	struct xdp_md *ctx;
	struct learned *one;
	__u32 done;
};

static int learn_next(__u32 i, struct lessons *all)
{
	struct learned *l = all->one;

	/* The frame's end ends it. */
	if (!l || bpf_xdp_load_bytes(all->ctx, i * sizeof(*l), l, sizeof(*l)))
		return 1;
	l->outcome = learn_one(l);
	if (bpf_xdp_store_bytes(all->ctx, i * sizeof(*l), l, sizeof(*l)))
		return 1;
	all->done = 1; /* a count would have the verifier go through every round */
	return 0;
}

#endif
