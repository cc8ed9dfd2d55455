/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * learn.h: a connection that another director told of, put into the table as if its packets had come here (ip_vs_proc_conn).
 * User space says which real server it is of and by which flags; what is counted, and which line it gets, is decided here,
 * under the lock of its region. It is on no packet's way.
 *
 * A connection of FULLNAT is told with its local end, and gets the line for its replies with its own: both regions are held
 * meanwhile, that of the connection first. Nobody else holds two, so none waits for the other.
 */
#ifndef VIPD_LEARN_H
#define VIPD_LEARN_H

#include "fullnat.h"

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

/* Where the line for the replies to a connection of FULLNAT is, or is to be. Of another connection its own region, and no more. */
struct learn_back {
	struct key key;
	struct region *r;
	struct region_head *head;
	struct conn *line;       /* that has the key; NULL: none has */
	__u32 index, free;       /* the region's; as struct place has it */
};

/* The region of a told local end. */
static __always_inline int learn_find_back(struct learn_back *b, struct learned *l, struct real *r, struct key *k)
{
	b->key.tick = k->tick;
	local_address(&b->key, r, l->local);
	return_key(&b->key, r, k->ports, l->local_port);
	b->index = hash_region(b->key.hash);
	b->r = bpf_map_lookup_elem(&regions, &b->index);
	b->head = bpf_map_lookup_elem(&region_heads, &b->index);
	return b->r && b->head;
}

static __always_inline void learn_look_back(struct learn_back *b)
{
	struct place at = region_place(b->r, &b->key);
	__u32 found = at.found;

	b->free = found < REGION_LINES ? found : at.free;
	if (found >= REGION_LINES)
		return;
	forget_bounds(found);
	b->line = &b->r->line[found & (REGION_LINES - 1)];
}

/* Is the local end that is told the one that this connection has? */
static __always_inline int learn_same_end(struct learn_back *b, struct conn *c, __u32 line)
{
	__u64 life = READ_ONCE(c->life);

	if (!b->line || b->line->control != line || b->line->packets != life >> 32)
		return 0;
	return c->kind & KIND_IPV6 || local_read(c) == local_make(b->key.addr[0], b->key.ports, life);
}

/* What is told of the PROXY protocol, unless more is known here. */
static __always_inline void learn_proxy(struct conn *back, struct learned *l)
{
	__u64 life = READ_ONCE(back->life);

	if (!l->proxy || (life_state(life) >= l->proxy && READ_ONCE(back->real) == l->initial))
		return;
	WRITE_ONCE(back->real, l->initial);
	__sync_val_compare_and_swap(&back->life, life, life_make(life, life_flags(life), l->proxy));
}

/* May the local end be taken from the connection that has it? From one that was used last before its teller used it, which has ended. */
static __always_inline int learn_displace(struct learn_back *b, struct learned *l, __u32 line)
{
	struct conn *owner;
	__u64 life;

	owner = return_conn(b->line, &life);
	if (!owner || b->line->control == line || due(b->key.tick, READ_ONCE(owner->expires)))
		return 1;
	if (learn_older(owner, l, b->key.tick))
		return 0;
	WRITE_ONCE(owner->expires, b->key.tick);
	return 1;
}

/* Takes the line for the replies to the connection in that line (if it has one), which leads nowhere until learn_take says where. */
static __always_inline enum learn_outcome learn_take_back(struct learn_back *b, struct learned *l, __u32 line)
{
	struct conn *back;
	__u32 free;

	if (b->line && !learn_displace(b, l, line))
		return LEARN_TAKEN;
	if (b->free >= REGION_LINES || (!b->line && b->head->live >= LEARN_FULL))
		return LEARN_NO_ROOM;
	free = b->free;
	forget_bounds(free);
	back = &b->r->line[free & (REGION_LINES - 1)];
	if (!conn_clear(back, b->head))
		return LEARN_BUSY;
	__builtin_memcpy(back->addr, b->key.addr, sizeof(back->addr));
	*(__u64 *)(void *)&back->cport = b->key.ports;
	back->control = NO_REAL;
	back->expires = b->key.tick + 1; /* nearly due: it lives by its connection, for which there must be another line than this one */
	back->real = l->initial;
	b->head->live++;
	__sync_lock_test_and_set(&back->life, life_make(back->life + (1ull << 32), CONN_INACTIVE, l->proxy));
	b->line = back;
	return LEARN_NEW;
}

/* The connection that is made in a line gets its local end, and the line for its replies leads to it. */
static __always_inline void learn_join(struct learn_back *b, struct conn *c, struct learned *l, __u64 generation, __u32 line)
{
	b->line->control = line;
	b->line->packets = generation >> 32;
	if (c->kind & KIND_IPV6) {
		c->control = b->index * REGION_LINES + b->free + 1;
		l->flags |= CONN_LOCAL;
	} else {
		*local_of(c) = local_make(b->key.addr[0], b->key.ports, generation);
	}
}

static __always_inline void learn_take(struct conn *c, struct region_head *head, struct learned *l, struct key *k, struct learn_back *b, __u32 line)
{
	__u64 generation = c->life + (1ull << 32);

	__builtin_memcpy(c->addr, k->addr, sizeof(c->addr));
	*(__u64 *)(void *)&c->cport = k->ports;
	c->expires = learn_expires(l, k->tick);
	c->real = l->real;
	c->packets = l->packets;
	c->control = 0; /* ipvs: a learned connection holds no template either */
	if (l->local_port && b->line)
		learn_join(b, c, l, generation, line);
	conn_count(l->real, l->flags, 1);
	real_judge(l->real);
	head->live++;
	l->generation = generation >> 32;
	__sync_lock_test_and_set(&c->life, life_make(generation, l->flags | CONN_SYNC, l->state));
}

/* Both regions are held. `first` is the number of the first line of the connection's. */
static __always_inline enum learn_outcome learn_locked(struct learned *l, struct region *r, struct region_head *head, struct key *k,
							struct learn_back *b, __u32 first)
{
	struct place at = region_place(r, k);
	__u32 line = NO_REAL, free;
	enum learn_outcome out;
	struct conn *c;

	if (l->local_port)
		learn_look_back(b);
	if (at.found < REGION_LINES) {
		c = &r->line[at.found & (REGION_LINES - 1)];
		l->line = at.found;
		line = first + at.found;
		if (conn_expired(c, k->tick)) {
			at.free = at.found;
		} else if (learn_older(c, l, k->tick)) {
			return LEARN_STALE;
		} else if (l->flags & CONN_TEMPLATE || (READ_ONCE(c->real) == l->real && (!l->local_port || learn_same_end(b, c, line)))) {
			if (l->local_port && b->line)
				learn_proxy(b->line, l);
			return learn_again(c, l, k->tick);
		} else if (l->flags & CONN_INACTIVE) {
			return LEARN_STALE;
		} else {
			at.free = at.found;
		}
	} else if (head->live >= LEARN_FULL) {
		return LEARN_NO_ROOM;
	}
	if (l->local_port) {
		out = learn_take_back(b, l, line);
		if (out != LEARN_NEW)
			return out;
		if (b->index * REGION_LINES == first) { /* it may have taken the place */
			at = region_place(r, k);
			at.free = at.found < REGION_LINES ? at.found : at.free;
		}
	}
	if (at.free >= REGION_LINES)
		return LEARN_NO_ROOM;
	free = at.free;
	forget_bounds(free);
	free &= REGION_LINES - 1;
	c = &r->line[free];
	l->line = free;
	if (!conn_clear(c, head))
		return LEARN_BUSY;
	learn_take(c, head, l, k, b, first + free);
	return LEARN_NEW;
}

/* Global, and so verified once. */
__noinline enum learn_outcome learn_one(struct learned *l)
{
	struct learn_back b = {};
	struct region_head *head;
	enum learn_outcome out;
	struct tunables *t = settings();
	struct region *r;
	struct real *real;
	__u32 zero = 0, index;
	struct key *k = bpf_map_lookup_elem(&scratch, &zero);

	if (!l || !k || !t)
		return LEARN_BUSY;
	k->ports = load64(&l->cport) & 0xffffffffffffull;
	__builtin_memcpy(k->addr, l->addr, sizeof(k->addr));
	k->hash = key_hash(k->addr, k->ports);
	k->tick = tick_now(t);
	k->number = l->packets;
	index = hash_region(k->hash);
	r = bpf_map_lookup_elem(&regions, &index);
	head = bpf_map_lookup_elem(&region_heads, &index);
	real = real_at(l->real);
	if (!r || !head || !real)
		return LEARN_BUSY;
	b.r = r;
	b.head = head;
	b.index = index;
	if ((l->local_port && !learn_find_back(&b, l, real, k)) || !lock(&head->lock))
		return LEARN_BUSY;
	if (b.index == index || lock(&b.head->lock)) {
		out = learn_locked(l, r, head, k, &b, index * REGION_LINES);
		if (b.index != index)
			unlock(&b.head->lock);
	} else {
		out = LEARN_BUSY;
	}
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
