/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* icmp.h: what a client is told when its packet cannot go on: no server, too large, or too far. */
#ifndef VIPD_ICMP_H
#define VIPD_ICMP_H

#include "csum.h"
#include "packet.h"
#include "tunnel.h"

enum { ICMP_UNREACHABLE = 3, ICMP_PORT = 3, ICMP_FRAG_NEEDED = 4, ICMP_TIME_EXCEEDED = 11 };

/* RFC 1812 4.3.2.3: as much of the packet as fits 576 bytes. In front of it go two headers. */
enum {
	ICMP_FRONT = sizeof(struct ipv4) + sizeof(struct icmp),
	ICMP_QUOTE = 576 - ICMP_FRONT,
	ICMP_WORDS = (576 - sizeof(struct ipv4)) / 2,
};

static __always_inline int answers(enum reason why)
{
	return why >= REPLY_NO_SERVER && why <= REPLY_TOO_BIG;
}

/* The largest packet that a client may send to this real server. */
static __always_inline __u32 told_mtu(struct real *r)
{
	return real_room(r, r->forward == FORWARD_TUNNEL ? sizeof(struct ipv4) + tunnel_front(r) : 0);
}

/* Cuts the frame to what is quoted, and makes room in front. The link header, tags and all, moves there. */
static __always_inline enum step answer_room(struct xdp_md *ctx, __u32 at)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv4 *ip = data + at;
	__u32 *from, *to, quoted;

	if (at > MAX_LINK || (void *)(ip + 1) > end)
		return DONE;
	quoted = be16(ip->length);
	if (quoted > ICMP_QUOTE)
		quoted = ICMP_QUOTE;
	if (bpf_xdp_adjust_tail(ctx, (int)(at + quoted) - (int)bpf_xdp_get_buff_len(ctx)))
		return DONE;
	if (bpf_xdp_adjust_head(ctx, -(int)ICMP_FRONT))
		return DONE;
	to = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	from = (void *)to + ICMP_FRONT;
	if ((void *)from + MAX_LINK + 2 > end)
		return DONE;
	for (int i = 0; i < (MAX_LINK + 2) / 4; i++)
		to[i] = from[i];
	return NEXT;
}

/* To whom the frame came from. */
static __always_inline void eth_turn(struct eth *eth)
{
	__u8 mac[6];

	__builtin_memcpy(mac, eth->dst, 6);
	__builtin_memcpy(eth->dst, eth->src, 6);
	__builtin_memcpy(eth->src, mac, 6);
}

/*
 * Answers the packet from its destination, the virtual address, as IPVS does: port unreachable to TCP clients too. Back to the
 * MAC that it came from. `mtu` is for REPLY_TOO_BIG.
 */
static __noinline enum reason answer(struct xdp_md *ctx, enum reason why, __u32 at, __u32 mtu)
{
	struct ipv4 *ip, *quoted;
	struct icmp *icmp;
	struct eth *eth;
	void *end;

	if (answer_room(ctx, at) == DONE)
		return DROP_NO_ROOM;
	eth = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	ip = (void *)eth + at;
	icmp = (void *)(ip + 1);
	quoted = (void *)(icmp + 1);
	if (at > MAX_LINK || (void *)(eth + 1) > end || (void *)(quoted + 1) > end)
		return DROP_NO_ROOM;
	eth_turn(eth);
	*ip = (struct ipv4){
		.version_ihl = 0x45,
		.tos = 0xc0, /* RFC 1812 4.3.2.5: precedence "internetwork control" */
		.length = be16(end - (void *)ip),
		.id = quoted->id,
		.ttl = 64,
		.proto = PROTO_ICMP,
		.src = quoted->dst,
		.dst = quoted->src,
	};
	ip->check = csum(ip, end, sizeof(*ip) / 2);
	*icmp = (struct icmp){ .type = ICMP_UNREACHABLE, .code = ICMP_PORT };
	if (why == REPLY_TTL)
		*icmp = (struct icmp){ .type = ICMP_TIME_EXCEEDED };
	else if (why == REPLY_TOO_BIG) /* RFC 1191 4: the next hop's MTU in the low half of the second word */
		*icmp = (struct icmp){ .type = ICMP_UNREACHABLE, .code = ICMP_FRAG_NEEDED, .rest = be32(mtu) };
	icmp->check = csum(icmp, end, ICMP_WORDS);
	return why;
}

#endif
