/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* icmp.h: what a client is told when no server can be had. */
#ifndef VIPD_ICMP_H
#define VIPD_ICMP_H

#include "csum.h"
#include "packet.h"

enum { ICMP_UNREACHABLE = 3, ICMP_PORT = 3 };

/* What goes in front of the quoted packet, and the words of the longest answer: header with options, and 8 bytes. */
enum { ICMP_FRONT = sizeof(struct ipv4) + sizeof(struct icmp), ICMP_WORDS = (sizeof(struct icmp) + 60 + 8) / 2 };

struct answer {
	struct eth eth;
	struct ipv4 ip;
	struct icmp icmp;
} __attribute__((packed, aligned(2)));

/* Cuts the frame to header and 8 bytes, as RFC 792 quotes it, and makes room in front. */
static __always_inline enum step answer_room(struct xdp_md *ctx, struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv4 *ip = data + sizeof(struct eth);
	int quoted;

	if ((void *)(ip + 1) > end)
		return leave(p, DROP_NO_ROOM);
	quoted = sizeof(struct eth) + (ip->version_ihl & 15) * 4 + 8;
	if (bpf_xdp_adjust_tail(ctx, quoted - (int)(end - data)))
		return leave(p, DROP_NO_ROOM);
	if (bpf_xdp_adjust_head(ctx, -(int)ICMP_FRONT))
		return leave(p, DROP_NO_ROOM);
	return NEXT;
}

/*
 * Destination unreachable, port unreachable, from the virtual address, to TCP clients too: what IPVS answers. Back to the MAC
 * that the packet came from.
 */
static __noinline enum reason answer_unreachable(struct xdp_md *ctx)
{
	struct packet p = {};
	struct answer *a;
	struct eth *old;
	struct ipv4 *ip;
	void *end;

	if (answer_room(ctx, &p) == DONE)
		return p.why;
	a = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	old = (void *)a + ICMP_FRONT;
	ip = (void *)(old + 1);
	if ((void *)(ip + 1) > end)
		return DROP_NO_ROOM;
	__builtin_memcpy(a->eth.dst, old->src, 6);
	__builtin_memcpy(a->eth.src, old->dst, 6);
	a->eth.type = be16(ETH_IPV4);
	a->ip = (struct ipv4){
		.version_ihl = 0x45,
		.tos = 0xc0, /* RFC 1812 4.3.2.5: precedence "internetwork control" */
		.length = be16(end - (void *)&a->ip),
		.frag = be16(IP_DF),
		.ttl = 64,
		.proto = PROTO_ICMP,
		.src = ip->dst,
		.dst = ip->src,
	};
	a->ip.check = csum(&a->ip, end, sizeof(a->ip) / 2);
	a->icmp = (struct icmp){ .type = ICMP_UNREACHABLE, .code = ICMP_PORT };
	a->icmp.check = csum(&a->icmp, end, ICMP_WORDS);
	return REPLY_NO_SERVER;
}

#endif
