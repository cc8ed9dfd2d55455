/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* pace.h: what may happen only so often, by CPU and tick: new entries under a flood, ICMP answers, and drop_packet's turn. */
#ifndef VIPD_PACE_H
#define VIPD_PACE_H

#include "conn.h"

enum { SECOND_TICKS = 8, /* about */ IDLE_PACKETS = 8 };

struct pace {
	__u32 tick, opened;      /* entries in this tick */
	__u32 flooded, flood;    /* there was a flood, and its last tick */
	__u32 answer_tick, answers; /* given, less what has passed since */
	__u32 passed;            /* packets since drop_packet dropped one */
	__u32 idle[IDLE_PACKETS]; /* connections met since one was given up, by packets - 1 */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pace);
} paces SEC(".maps");

static __always_inline struct pace *pace_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&paces, &zero);
}

/* Counts an entry that is to be made; says whether that is one too many. */
static __always_inline int pace_flood(struct packet *p, struct tunables *t)
{
	struct pace *n = pace_here();

	if (!t->flood_rate || !n)
		return 0;
	if (n->tick != p->tick) {
		n->tick = p->tick;
		n->opened = 0;
	}
	if (n->opened < t->flood_rate) {
		n->opened++;
		return 0;
	}
	n->flooded = 1;
	n->flood = p->tick;
	return 1;
}

/* Was there a flood within the last minute? Then a connection may have begun without an entry. */
static __always_inline int pace_flooded(struct packet *p, struct tunables *t)
{
	struct pace *n = pace_here();

	if (!n || !n->flooded)
		return 0;
	if (p->tick - n->flood <= t->extend)
		return 1;
	n->flooded = 0;
	return 0;
}

/* ip_vs_todrop: of drop_rate packets the last is dropped. ipvs: counts on all CPUs together. */
static __always_inline int pace_drops(struct tunables *t)
{
	struct pace *n = pace_here();

	if (!t->drop_rate || !n || ++n->passed < t->drop_rate)
		return 0;
	n->passed = 0;
	return 1;
}

/*
 * May an ICMP answer be given? As many as a second's may come at once. RFC 1812 4.3.2.8 and RFC 4443 2.4 f want a limit;
 * Linux exempts what a path's MTU is learned from, and so do we.
 */
static __always_inline int pace_answer(struct tunables *t, __u32 tick)
{
	struct pace *n = pace_here();
	__u64 back;

	if (!t->answer_rate || !n)
		return 1;
	back = (__u64)(tick - n->answer_tick) * t->answer_rate;
	n->answers -= back < n->answers ? back : n->answers;
	n->answer_tick = tick;
	if (n->answers >= t->answer_rate * SECOND_TICKS)
		return 0;
	n->answers++;
	return 1;
}

#endif
