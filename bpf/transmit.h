/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* transmit.h: how a packet reaches its real server, by the real server's method. */
#ifndef VIPD_TRANSMIT_H
#define VIPD_TRANSMIT_H

#include "nat.h"
#include "tunnel.h"
#include "vlan.h"

/*
 * Sends the packet on, or changes p->why. Pointers into the frame are void after this. DONE: it is untouched, and ROAD_FULL's to
 * send.
 */
static __always_inline enum step transmit(struct xdp_md *ctx, struct frame *f, struct real *r, struct packet *p, int v6)
{
	__u32 at = f->at, tci = f->tci;

	if (likely(r->forward == FORWARD_ROUTE)) {
		if (unlikely((v6 ? depart6(f->ip6, r, p, 0) : depart(f->ip, r, p, 0)) == DONE))
			return NEXT;
		eth_write(f->eth, r);
		if (likely(tci == load32(r->tci)))
			return NEXT;
	} else if (r->forward == FORWARD_LOCAL) {
		p->why = PASS_LOCAL;
	} else if (r->forward == FORWARD_MASQ) {
		if (unlikely(r->locals))
			return DONE;
		p->why = v6 ? nat_request6(ctx, r, p, nat6_where(f)) : nat_request(ctx, r, at, packet_vport(p), p->why);
	} else {
		if (unlikely(r->flags & REAL_IPV6))
			p->why = tunnel_over6(ctx, r, at, p->hash >> 32, p->why);
		else if (v6)
			p->why = tunnel_6in4(ctx, r, at, p->hash >> 32, p->why);
		else
			p->why = tunnel_request(ctx, r, at, p->hash >> 32, p->why);
		at = sizeof(struct eth);
		tci = 0;
	}
	if (unlikely(tci != load32(r->tci)) && forwards(p->why) && relink(ctx, at, load32(r->tci)) == DONE)
		p->why = DROP_NO_ROOM;
	return NEXT;
}

#endif
