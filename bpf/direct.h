/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* direct.h: forwarding to a real server on the same network: the destination MAC and the TTL change, and nothing else. */
#ifndef VIPD_DIRECT_H
#define VIPD_DIRECT_H

#include "service.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct hop);
} hops SEC(".maps");

/* RFC 1624 for the one word that changes: TTL - 1 in the high byte takes 0x0100 from it, so the checksum gains it. */
static __always_inline void ttl_less_one(struct ipv4 *ip)
{
	__u32 check = ip->check + be16(0x0100);

	ip->check = check + (check >= 0xffff);
	ip->ttl--;
}

/* Twelve bytes in three loads. */
static __always_inline void eth_write(void *eth, struct hop *hop)
{
	void *macs = hop->dst;
	__u32 *to = eth, *from = macs;

	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
}

/* Writes the frame for its real server, or says why not. Sets the interface that it leaves by. */
static __always_inline enum step direct(struct frame *f, struct real *r, struct packet *p, __u32 *ifindex)
{
	__u32 index = r->hop;
	struct hop *hop = bpf_map_lookup_elem(&hops, &index);

	if (unlikely(!hop || !hop->ifindex)) /* hops[0] is nobody's and stays empty */
		return leave(p, DROP_NO_NEIGHBOUR);
	if (unlikely(f->ip->ttl <= 1))
		return leave(p, DROP_TTL);
	ttl_less_one(f->ip);
	eth_write(f->eth, hop);
	*ifindex = hop->ifindex;
	return NEXT;
}

#endif
