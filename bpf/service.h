/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* service.h: virtual services, their real servers, and what is counted for them. find.h looks for the service of a packet. */
#ifndef VIPD_SERVICE_H
#define VIPD_SERVICE_H

#include "packet.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct service_key);
	__type(value, __u32);
} service_index SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct service_key6);
	__type(value, __u32);
} service_index6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct service);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct real);
} reals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct real_count);
} real_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct counters);
} real_counters SEC(".maps");

/* Keys are copied to the stack: before 6.2 a map helper takes no key out of a global function's argument. */
static __always_inline struct service *service_at(__u32 index)
{
	return bpf_map_lookup_elem(&services, &index);
}

static __always_inline struct real *real_at(__u32 index)
{
	return bpf_map_lookup_elem(&reals, &index);
}

static __always_inline struct real_count *real_count_at(__u32 index)
{
	return bpf_map_lookup_elem(&real_counts, &index);
}

static __always_inline struct counters *counters_at(__u32 real)
{
	return bpf_map_lookup_elem(&real_counters, &real);
}

/* Of a connection: the key lies in its line, and need not be on the stack. */
static __always_inline struct real *real_of(const __u32 *real)
{
	return bpf_map_lookup_elem(&reals, real);
}

/*
 * Before forwarding, as IPVS does: a packet that then meets a TTL of 1 or a missing neighbour is counted. A service's
 * counts are the sum of its real servers': nothing is counted twice here.
 */
static __always_inline void count_in(struct packet *p)
{
	struct counters *c = counters_at(p->real);

	if (unlikely(!c))
		return;
	c->inpkts++;
	c->inbytes += p->length;
}

/* The same of a packet of the fast road, which is counted as FORWARD_HIT by this alone: one line of memory and not two. */
static __always_inline void count_hit(const __u32 *real, __u32 length)
{
	struct counters *c = bpf_map_lookup_elem(&real_counters, real);

	if (unlikely(!c))
		return;
	c->hits++;
	c->inbytes += length;
}

/* At the creation of a connection. */
static __always_inline void count_conn(struct packet *p)
{
	struct counters *c = counters_at(p->real);

	if (c)
		c->conns++;
}

#endif
