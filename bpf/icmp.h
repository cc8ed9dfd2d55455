/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* icmp.h: what a client is told when its packet cannot go on: no server, too large, or too far. */
#ifndef VIPD_ICMP_H
#define VIPD_ICMP_H

#include "csum.h"
#include "packet.h"
#include "tunnel.h"

/* RFC 4443 2.4 c: as much of the packet as fits into the least MTU. */
enum { ICMP6_UNREACHABLE = 1, ICMP6_PORT = 4, ICMP6_TOO_BIG = 2, ICMP6_TIME_EXCEEDED = 3 };
enum { ICMP6_FRONT = sizeof(struct ipv6) + sizeof(struct icmp), ICMP6_QUOTE = 1280 - ICMP6_FRONT };

enum { ICMP_UNREACHABLE = 3, ICMP_PORT = 3, ICMP_FRAG_NEEDED = 4, ICMP_TIME_EXCEEDED = 11 };

/* RFC 1812 4.3.2.3: as much of the packet as fits 576 bytes. In front of it go two headers. */
enum {
	ICMP_FRONT = sizeof(struct ipv4) + sizeof(struct icmp),
	ICMP_QUOTE = 576 - ICMP_FRONT,
};

static __always_inline int answers(enum reason why)
{
	return why >= REPLY_NO_SERVER && why <= REPLY_TOO_BIG;
}

/*
 * RFC 1812 4.3.2.7: "An ICMP error message MUST NOT be sent as the result of receiving: ... A packet fragment other than the
 * first fragment". RFC 4443 2.4 has no such rule; of IPv6 IPVS too says "too big" to first fragments only.
 */
static __always_inline enum reason untold(enum reason why, int v6)
{
	if (why == REPLY_TOO_BIG)
		return DROP_TOO_BIG;
	return why == REPLY_TTL && !v6 ? DROP_TTL : why;
}

/* The largest packet that a client may send to this real server. */
static __always_inline __u32 told_mtu(struct real *r)
{
	return real_room(r, r->forward == FORWARD_TUNNEL ? outer_header(r) + tunnel_front(r) : 0);
}

/* Cuts the frame to what is quoted, and makes room in front. The link header, tags and all, moves there. */
static __always_inline enum step answer_room(struct xdp_md *ctx, __u32 at, __u32 quoted, __u32 front)
{
	void *end;
	__u32 *from, *to;

	if (bpf_xdp_adjust_tail(ctx, (int)(at + quoted) - (int)bpf_xdp_get_buff_len(ctx)))
		return DONE;
	if (bpf_xdp_adjust_head(ctx, -(int)front))
		return DONE;
	to = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	from = (void *)to + front;
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
 * An error about the packet at `at`, from its destination, the virtual address, as IPVS answers: to TCP clients too. The link
 * header is turned round: back to the MAC that the packet came from.
 */
static __noinline enum step tell(struct xdp_md *ctx, __u32 at, __u32 type, __u32 code, __u32 rest)
{
	__u32 most, have = bpf_xdp_get_buff_len(ctx) - at;
	struct ipv4 *ip, *quoted;
	struct icmp *icmp;
	struct eth *eth;
	void *end;

	ip = (void *)(long)ctx->data + at;
	if (at > MAX_LINK || (void *)(ip + 1) > (void *)(long)ctx->data_end)
		return DONE;
	most = be16(ip->length);
	if (most > ICMP_QUOTE)
		most = ICMP_QUOTE;
	if (most > have) /* of what was quoted already */
		most = have;
	if (answer_room(ctx, at, most, ICMP_FRONT) == DONE)
		return DONE;
	eth = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	ip = (void *)eth + at;
	icmp = (void *)(ip + 1);
	quoted = (void *)(icmp + 1);
	if (at > MAX_LINK || (void *)(eth + 1) > end || (void *)(quoted + 1) > end)
		return DONE;
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
	ip->check = csum_header(ip);
	*icmp = (struct icmp){ .type = type, .code = code, .rest = be32(rest) };
	icmp->check = ~csum_bytes(ctx, at + sizeof(*ip), most + sizeof(*icmp));
	return NEXT;
}

/* `mtu` is for REPLY_TOO_BIG. RFC 1191 4: it stands in the low half of the second word. */
static __always_inline enum reason answer(struct xdp_md *ctx, enum reason why, __u32 at, __u32 mtu)
{
	enum step s;

	if (why == REPLY_TTL)
		s = tell(ctx, at, ICMP_TIME_EXCEEDED, 0, 0);
	else if (why == REPLY_TOO_BIG)
		s = tell(ctx, at, ICMP_UNREACHABLE, ICMP_FRAG_NEEDED, mtu);
	else
		s = tell(ctx, at, ICMP_UNREACHABLE, ICMP_PORT, 0);
	return s == NEXT ? why : DROP_NO_ROOM;
}

/* The same for IPv6 (RFC 4443 3). `rest` is the second word. */
static __noinline enum step tell6(struct xdp_md *ctx, __u32 at, __u32 type, __u32 code, __u32 rest)
{
	__u32 most, have = bpf_xdp_get_buff_len(ctx) - at;
	struct ipv6 *ip, *quoted;
	struct icmp *icmp;
	struct eth *eth;
	void *end;

	ip = (void *)(long)ctx->data + at;
	if (at > MAX_LINK || (void *)(ip + 1) > (void *)(long)ctx->data_end)
		return DONE;
	most = be16(ip->length) + sizeof(*ip);
	if (most > ICMP6_QUOTE)
		most = ICMP6_QUOTE;
	if (most > have) /* of what was quoted already */
		most = have;
	if (answer_room(ctx, at, most, ICMP6_FRONT) == DONE)
		return DONE;
	eth = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	ip = (void *)eth + at;
	icmp = (void *)(ip + 1);
	quoted = (void *)(icmp + 1);
	if (at > MAX_LINK || (void *)(eth + 1) > end || (void *)(quoted + 1) > end)
		return DONE;
	eth_turn(eth);
	*ip = (struct ipv6){ .version_class_flow = 0x60, .length = be16(most + sizeof(*icmp)), .next = PROTO_ICMPV6, .hop_limit = 64 };
	__builtin_memcpy(ip->src, quoted->dst, sizeof(ip->src));
	__builtin_memcpy(ip->dst, quoted->src, sizeof(ip->dst));
	*icmp = (struct icmp){ .type = type, .code = code, .rest = be32(rest) };
	/* RFC 4443 2.3: a pseudo header is summed too. */
	icmp->check = ~csum_fold(csum_add6(ip->src) + csum_add6(ip->dst) + ip->length + be16(PROTO_ICMPV6) +
				 csum_bytes(ctx, at + sizeof(*ip), most + sizeof(*icmp)));
	return NEXT;
}

static __always_inline enum reason answer6(struct xdp_md *ctx, enum reason why, __u32 at, __u32 mtu)
{
	enum step s;

	if (why == REPLY_TTL)
		s = tell6(ctx, at, ICMP6_TIME_EXCEEDED, 0, 0);
	else if (why == REPLY_TOO_BIG)
		s = tell6(ctx, at, ICMP6_TOO_BIG, 0, mtu);
	else
		s = tell6(ctx, at, ICMP6_UNREACHABLE, ICMP6_PORT, 0);
	return s == NEXT ? why : DROP_NO_ROOM;
}

#endif
