/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * peer.h: two directors that are each other's real servers. What the other one has balanced to us is for our own host: we
 * must not balance it again, to and fro until its TTL ends.
 */
#ifndef VIPD_PEER_H
#define VIPD_PEER_H

#include "packet.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct peer_key);
	__type(value, struct peer);
} peers SEC(".maps");

/* Did another director choose us? What it sends from its own address is its own traffic, as any client's. */
static __always_inline int from_director(struct frame *f, struct packet *p)
{
	struct peer_key key = {};
	struct peer *peer;

	__builtin_memcpy(key.mac, f->eth->src, 6);
	peer = bpf_map_lookup_elem(&peers, &key);
	if (!peer)
		return 0;
	for (int i = 0; i < 4; i++)
		if ((!i || packet_v6(p)) && peer->addr[i] != p->addr[i])
			return 1;
	return 0;
}

#endif
