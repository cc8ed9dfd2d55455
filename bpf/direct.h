/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * direct.h: what every way to forward does first, and direct routing, which does no more: the MAC addresses and the TTL
 * change, and nothing else.
 */
#ifndef VIPD_DIRECT_H
#define VIPD_DIRECT_H

#include "csum.h"
#include "service.h"

/*
 * RFC 1624 for the one word that changes: TTL - 1 in the high byte takes 0x0100 from it, so the checksum gains it, which is one
 * as this machine reads it; of its two zeros and the one, the one that follows all ones is skipped. TTL is the low byte of its
 * word of the header, the checksum the upper half. The TTL is not 0. That word as it is now.
 */
static __always_inline __u32 ttl_less_one(struct ipv4 *ip)
{
	enum { CHECK_ONE = 1 << 16, CHECK_ONES = 0xffff0000u };
	any32 *word = (void *)&ip->ttl;
	__u64 sum = (__u64)*word + CHECK_ONE - 1;

	if (unlikely(sum >= CHECK_ONES))
		sum += CHECK_ONE;
	*word = sum;
	return sum;
}

/* The word of an IPv6 header that ends with the hop limit, as it is when that is one less. */
static __always_inline __u32 hop_less_one(struct ipv6 *ip)
{
	any32 *word = (void *)&ip->length;
	__u32 now = *word - (1 << 24);

	*word = now;
	return now;
}

/* An IPv6 address, in two loads where clang, which sees words of four bytes, would take four. */
static __always_inline void copy6(__be32 *to, const __be32 *from)
{
	*(any64 *)to = *(const any64 *)from;
	*(any64 *)(to + 2) = *(const any64 *)(from + 2);
}

/* Twelve bytes in two loads. */
static __always_inline void eth_write(void *eth, struct real *r)
{
	const any64 *macs = (const void *)r->dst;
	const any32 *rest = (const void *)(macs + 1);

	*(any64 *)eth = *macs;
	*(any32 *)(eth + 8) = *rest;
}

/* The largest packet that reaches the real server when `more` bytes are put in front of it; 0: not known. */
static __always_inline __u32 real_room(struct real *r, __u32 more)
{
	return r->mtu ? r->mtu - more : 0;
}

/*
 * May the packet go to its real server, and grow by `more` bytes on the way? Takes one from its TTL, as IPVS does before it
 * looks at the size. NEXT, or DONE and why not.
 * ipvs: what is too large and may be fragmented is dropped; XDP cannot fragment.
 */
static __always_inline enum step depart(struct ipv4 *ip, struct real *r, struct packet *p, __u32 more)
{
	if (unlikely(!r->ifindex))
		return leave(p, r->flags & REAL_LOCAL ? PASS_LOCAL : DROP_NO_NEIGHBOUR);
	if (unlikely(ip->ttl <= 1))
		return leave(p, REPLY_TTL);
	ttl_less_one(ip);
	if (unlikely(p->length + more > r->mtu) && r->mtu)
		return leave(p, ip->frag & be16(IP_DF) ? REPLY_TOO_BIG : DROP_TOO_BIG);
	return NEXT;
}

/* Routers do not fragment IPv6 (RFC 8200 4.5). */
static __always_inline enum step depart6(struct ipv6 *ip, struct real *r, struct packet *p, __u32 more)
{
	if (unlikely(!r->ifindex))
		return leave(p, r->flags & REAL_LOCAL ? PASS_LOCAL : DROP_NO_NEIGHBOUR);
	if (unlikely(ip->hop_limit <= 1))
		return leave(p, REPLY_TTL);
	ip->hop_limit--;
	if (unlikely(p->length + more > r->mtu) && r->mtu)
		return leave(p, REPLY_TOO_BIG);
	return NEXT;
}

#endif
