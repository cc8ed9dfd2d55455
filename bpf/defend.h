/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * defend.h: whom drop_entry gives up (ip_vs_random_dropentry): what nobody has answered yet, templates that none of their
 * connections has assured, and of idle connections those with few packets, by turns. What controls others stays.
 *
 * ipvs: a template goes with the last of its connections; here when it is met itself.
 */
#ifndef VIPD_DEFEND_H
#define VIPD_DEFEND_H

#include "pace.h"

/* Might it? Without its turn, which is taken once. */
static __always_inline int conn_dispensable(struct conn *c, __u64 life, __u32 tick)
{
	struct tunables *t = settings();
	__u32 state = life_state(life);
	__s32 left = READ_ONCE(c->expires) - tick;

	if (!t || controls(c) || c->kind & KIND_RETURN)
		return 0;
	if (life_flags(life) & CONN_TEMPLATE)
		return !(life_flags(life) & CONN_ASSURED);
	if (c->proto != PROTO_UDP && !state_established(c->proto, state))
		return state_embryonic(c->proto, state);
	return c->packets - 1 < IDLE_PACKETS && (__s32)timeout_of(t, c->proto, state) - left >= (__s32)t->extend;
}

/* Of those with n packets every n-th. The others have no turn to wait for. */
static __always_inline int conn_turn(struct conn *c)
{
	struct pace *n = pace_here();
	__u64 life = READ_ONCE(c->life);
	__u32 class = c->packets - 1;

	if (life_flags(life) & CONN_TEMPLATE || (c->proto != PROTO_UDP && !state_established(c->proto, life_state(life))))
		return 1;
	if (!n || class >= IDLE_PACKETS)
		return 0;
	class &= IDLE_PACKETS - 1;
	if (n->idle[class]) {
		n->idle[class]--;
		return 0;
	}
	n->idle[class] = class;
	return 1;
}

#endif
