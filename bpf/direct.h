/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* direct.h: forwarding to a real server on the same network: the MAC addresses and the TTL change, and nothing else. */
#ifndef VIPD_DIRECT_H
#define VIPD_DIRECT_H

#include "service.h"

/* RFC 1624 for the one word that changes: TTL - 1 in the high byte takes 0x0100 from it, so the checksum gains it. */
static __always_inline void ttl_less_one(struct ipv4 *ip)
{
	__u32 check = ip->check + be16(0x0100);

	ip->check = check + (check >= 0xffff);
	ip->ttl--;
}

/* Twelve bytes in three loads. */
static __always_inline void eth_write(void *eth, struct real *r)
{
	__u32 *to = eth, *from = (void *)r->dst;

	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
}

/* Writes the frame for its real server, or says why not. */
static __always_inline enum step direct(struct frame *f, struct real *r, struct packet *p)
{
	if (unlikely(!r->ifindex))
		return leave(p, DROP_NO_NEIGHBOUR);
	if (unlikely(f->ip->ttl <= 1))
		return leave(p, DROP_TTL);
	ttl_less_one(f->ip);
	eth_write(f->eth, r);
	return NEXT;
}

#endif
