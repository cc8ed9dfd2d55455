/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* pool.h: the real servers of a service in the order in which schedulers walk them: newest first. */
#ifndef VIPD_POOL_H
#define VIPD_POOL_H

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

#endif
