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
static __always_inline void eth_write(struct eth *eth, struct hop *hop)
{
	__u32 *to = (__u32 *)eth, *from = (__u32 *)hop->dst;

	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
}

/* Writes the frame for its real server, or turns packet.why into a drop. Sets the interface that it leaves by. */
static __always_inline void direct(struct xdp_md *ctx, struct packet *p, __u32 *ifindex)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv4 *ip = data + sizeof(struct eth);
	struct real *r = real_at(p->real);
	struct hop *hop;
	__u32 index;

	if ((void *)(ip + 1) > end || !r) {
		p->why = DROP_REAL_GONE;
		return;
	}
	index = r->hop;
	hop = bpf_map_lookup_elem(&hops, &index);
	if (!hop || !index || !hop->ifindex) {
		p->why = DROP_NO_NEIGHBOUR;
		return;
	}
	if (ip->ttl <= 1) {
		p->why = DROP_TTL;
		return;
	}
	ttl_less_one(ip);
	eth_write(data, hop);
	*ifindex = hop->ifindex;
}

#endif
